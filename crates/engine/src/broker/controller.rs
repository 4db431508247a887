//! The controller: the one task that changes which topics and groups exist.
//!
//! A change is a document: it is decided on the table as it stands, written to the catalog, and only then
//! shown to everybody by replacing the table. Removal leaves a note (`removed/<id>`) first, so that a crash
//! half-way is finished by the next start instead of leaving records nobody owns.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use storage::Expected;
use storage::supervisor::Owner;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::queues::QueueChange;
use super::queues::Removal;
use super::topics::{ConfigChange, NewTopic};
use super::{
    Inner, exchange_table, kept, policies, queue_partitions, queue_table, transfer, vhosts,
};
use crate::group::Group;
use crate::memory::StateShare;
use crate::owner::{self, Opening, OwnedGroup};
use crate::partition::Partition;
use crate::queue::{NewQueue, Queue};
use crate::topic::{Config, Overrides, Topic, TopicDocument, Topics, name, settings};
use crate::{Error, Result};

/// What the controller can be asked.
pub(super) enum Command {
    /// Only to be answered: shows that the owner is not stuck.
    Ping,
    Create {
        topic: NewTopic,
        dry_run: bool,
        done: oneshot::Sender<Result<Arc<Topic>>>,
    },
    Delete {
        name: Arc<str>,
        id: Uuid,
        done: oneshot::Sender<Result<()>>,
    },
    Grow {
        name: Arc<str>,
        count: u32,
        dry_run: bool,
        done: oneshot::Sender<Result<()>>,
    },
    Configure {
        name: Arc<str>,
        changes: Vec<ConfigChange>,
        dry_run: bool,
        done: oneshot::Sender<Result<()>>,
    },
    CreateQueue {
        queue: Box<NewQueue>,
        prepared: Option<Box<queue_partitions::Prepared>>,
        done: oneshot::Sender<Result<Arc<Queue>>>,
    },
    DeleteQueue {
        name: Arc<str>,
        removal: Removal,
        done: oneshot::Sender<Result<u64>>,
    },
    StartMove {
        queue: Arc<Queue>,
        destination: Option<String>,
        rate_max: Option<u32>,
        done: oneshot::Sender<Result<Uuid>>,
    },
    ConfigureQueue {
        name: Arc<str>,
        change: QueueChange,
        done: oneshot::Sender<Result<Arc<Queue>>>,
    },
    Keep(kept::Command),
    Policy(policies::Command),
    Exchange(exchange_table::Command),
    Vhost(vhosts::Command),
    CreateGroup {
        name: Arc<str>,
        /// Bytes of memory that its first command adds.
        adds: u64,
        done: oneshot::Sender<Result<()>>,
    },
    RemoveGroup {
        name: Arc<str>,
        done: oneshot::Sender<Result<()>>,
    },
}

/// Serves commands one at a time until the broker is gone.
pub(super) async fn run(inner: Weak<Inner>, owner: Owner, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        owner.turn();
        let Some(inner) = inner.upgrade() else { return };
        match command {
            Command::Ping => {}
            Command::Create {
                topic,
                dry_run,
                done,
            } => drop(done.send(create(&inner, topic, dry_run).await)),
            Command::Delete { name, id, done } => drop(done.send(delete(&inner, &name, id).await)),
            Command::Grow {
                name,
                count,
                dry_run,
                done,
            } => {
                drop(done.send(grow(&inner, &name, count, dry_run).await));
            }
            Command::Configure {
                name,
                changes,
                dry_run,
                done,
            } => {
                drop(done.send(configure(&inner, &name, &changes, dry_run).await));
            }
            Command::CreateQueue {
                queue,
                prepared,
                done,
            } => {
                let prepared = prepared.map(|prepared| *prepared);
                drop(done.send(queue_table::create(&inner, *queue, prepared).await));
            }
            Command::DeleteQueue {
                name,
                removal,
                done,
            } => {
                drop(done.send(queue_table::delete(&inner, &name, removal).await));
            }
            Command::StartMove {
                queue,
                destination,
                rate_max,
                done,
            } => {
                let started = transfer::start_move(&inner, &queue, destination, rate_max).await;
                drop(done.send(started));
            }
            Command::ConfigureQueue { name, change, done } => {
                drop(done.send(queue_table::configure(&inner, &name, change).await));
            }
            Command::Exchange(command) => exchange_table::handle(&inner, command).await,
            Command::Vhost(command) => vhosts::handle(&inner, command).await,
            Command::Keep(command) => kept::handle(&inner, command).await,
            Command::Policy(command) => policies::handle(&inner, command).await,
            Command::CreateGroup { name, adds, done } => {
                drop(done.send(create_group(&inner, name, adds).await));
            }
            Command::RemoveGroup { name, done } => {
                drop(done.send(remove_group(&inner, &name).await));
            }
        }
    }
}

pub(super) fn topic_key(name: &str) -> String {
    format!("topics/{name}")
}

pub(super) fn group_key(name: &str) -> String {
    format!("groups/{name}")
}

pub(super) fn removed_key(id: Uuid) -> String {
    format!("removed/{id}")
}

pub(super) async fn create(inner: &Arc<Inner>, new: NewTopic, dry_run: bool) -> Result<Arc<Topic>> {
    name::check(&new.name)?;
    let known = inner.topics.load();
    if let Some(other) = known.colliding(&new.name) {
        return Err(Error::InvalidName(format!(
            "Topic '{}' collides with existing topic: {}",
            new.name, other.name
        )));
    }
    create_as(inner, (inner.random.fresh_id(), false), new, dry_run).await
}

/// Makes a topic of this identity, whose name was checked; on a full disk too, if it is vital.
pub(super) async fn create_as(
    inner: &Arc<Inner>,
    (id, is_vital): (Uuid, bool),
    new: NewTopic,
    dry_run: bool,
) -> Result<Arc<Topic>> {
    let topics = inner.topics.load_full();
    let document = decide_create(inner, &topics, &new, id)?;
    let config = config_of(inner, &document.overrides)?;
    if dry_run {
        return Ok(Arc::new(make_topic(&new.name, document, config, 0)));
    }
    let value = encode(&document);
    let key = topic_key(&new.name);
    let version = if is_vital {
        inner.catalog.put_vital(&key, Expected::Absent, value)
    } else {
        inner.catalog.put_if(&key, Expected::Absent, Some(value))
    };
    let version = version.await?;
    let topic = Arc::new(make_topic(&new.name, document, config, version));
    open(inner, &topic, 0);
    show(inner, &topics, &topic);
    Ok(topic)
}

fn decide_create(
    inner: &Inner,
    topics: &Topics,
    new: &NewTopic,
    id: Uuid,
) -> Result<TopicDocument> {
    if topics.named(&new.name).is_some() {
        return Err(Error::TopicExists(new.name.clone()));
    }
    let partitions = new.partitions.unwrap_or(inner.settings.default_partitions);
    if partitions == 0 {
        return Err(Error::InvalidPartitions(
            "Number of partitions must be larger than 0.".into(),
        ));
    }
    check_total(inner, topics, partitions as usize)?;
    let replication = new.replication.unwrap_or(1);
    if replication == 0 {
        return Err(Error::InvalidReplication(
            "Replication factor must be larger than 0.".into(),
        ));
    }
    if replication > inner.settings.replication_max {
        return Err(Error::InvalidReplication(format!(
            "Unable to replicate the partition {replication} time(s): The target replication factor of {replication} \
             cannot be reached because only 1 broker(s) are registered or some brokers have all their log \
             directories cordoned."
        )));
    }
    Ok(TopicDocument {
        id,
        partitions,
        replication,
        overrides: new.overrides.clone().into(),
    })
}

fn check_total(inner: &Inner, topics: &Topics, more: usize) -> Result<()> {
    let most = inner.settings.partitions_max;
    if topics.partitions().saturating_add(more) > most {
        return Err(Error::InvalidPartitions(format!(
            "the broker holds at most {most} partitions"
        )));
    }
    Ok(())
}

pub(super) async fn delete(inner: &Arc<Inner>, name: &str, id: Uuid) -> Result<()> {
    let topics = inner.topics.load_full();
    let topic = topics
        .named(name)
        .filter(|t| t.id() == id)
        .ok_or(Error::UnknownTopic)?;
    let note = encode(&topic.document);
    let noted = inner
        .catalog
        .put_vital(&removed_key(id), Expected::Any, note)
        .await;
    let forget = (topic_key(name), Expected::Version(topic.version));
    let finish = match noted {
        Ok(_) => {
            inner.catalog.put_if(&forget.0, forget.1, None).await?;
            (removed_key(id), Expected::Any)
        }
        // No room for the note, and removing is what makes room: the records go first. A crash in between
        // leaves an empty topic, which was not acknowledged as removed and can be removed again.
        Err(storage::Error::DiskFull) => forget,
        Err(error) => return Err(error.into()),
    };
    let mut next = Topics::clone(&topics);
    next.remove(name);
    inner.topics.store(Arc::new(next));
    close(inner, id).await?;
    // Behind the note and the records: a queue that went before them would leave records which a queue made again
    // under its name would lease once more.
    queue_table::remove_of_topic(inner, id).await?;
    inner.catalog.put_if(&finish.0, finish.1, None).await?;
    Ok(())
}

/// Has the owners give up a topic's partitions and records, and groups their offsets for it.
async fn close(inner: &Inner, id: Uuid) -> Result<()> {
    inner.owners.close(id).await?;
    inner.owners.topic_removed(id);
    Ok(())
}

async fn grow(inner: &Arc<Inner>, name: &str, count: u32, dry_run: bool) -> Result<()> {
    let topics = inner.topics.load_full();
    let topic = topics.named(name).ok_or(Error::UnknownTopic)?;
    let before = topic.document.partitions;
    if count <= before {
        return Err(Error::InvalidPartitions(if count == before {
            format!("Topic already has {before} partition(s).")
        } else {
            format!(
                "The topic {name} currently has {before} partition(s); {count} would not be an increase."
            )
        }));
    }
    check_total(inner, &topics, (count - before) as usize)?;
    queue_table::check_growth(inner, topic)?;
    if dry_run {
        return Ok(());
    }
    let mut next = Topic::clone(topic);
    next.document.partitions = count;
    next.partitions
        .extend((before..count).map(|i| Arc::new(Partition::new(topic.id(), i, 0, 0))));
    let next = store(inner, next).await?;
    open(inner, &next, before as usize);
    // Before records are published there: what one queue is done with must not go before the others know of it.
    queue_table::grow(inner, &next).await?;
    show(inner, &topics, &next);
    Ok(())
}

pub(super) async fn configure(
    inner: &Arc<Inner>,
    name: &str,
    changes: &[ConfigChange],
    dry_run: bool,
) -> Result<()> {
    let topics = inner.topics.load_full();
    let topic = topics.named(name).ok_or(Error::UnknownTopic)?;
    let mut next = Topic::clone(topic);
    let mut overrides = Values::from(next.document.overrides);
    for change in changes {
        let defaults = inner.topic_defaults.load();
        change_overrides(&mut overrides, &defaults, change)?;
    }
    next.document.overrides = overrides.into();
    next.config = config_of(inner, &next.document.overrides)?;
    if dry_run {
        return Ok(());
    }
    let next = store(inner, next).await?;
    inner.configure_partitions(next.id(), next.config)?;
    show(inner, &topics, &next);
    Ok(())
}

type Values = BTreeMap<String, String>;

fn change_overrides(
    overrides: &mut Values,
    defaults: &Values,
    change: &ConfigChange,
) -> Result<()> {
    match change {
        ConfigChange::Set(name, value) => {
            overrides.insert(name.clone(), value.clone());
        }
        ConfigChange::Reset(name) => {
            overrides.remove(name);
        }
        ConfigChange::Append(name, value) => {
            change_list(overrides, defaults, ("APPEND", name), |list| {
                // Either may be as long as a document, and what a peer made up.
                let mut have: HashSet<String> = list.iter().cloned().collect();
                let items = value.split(',').map(str::to_owned);
                list.extend(items.filter(|item| have.insert(item.clone())));
            })?;
        }
        ConfigChange::Subtract(name, value) => {
            change_list(overrides, defaults, ("SUBTRACT", name), |list| {
                let gone: HashSet<&str> = value.split(',').collect();
                list.retain(|have| !gone.contains(&**have));
            })?;
        }
        ConfigChange::ResetAll => overrides.clear(),
    }
    Ok(())
}

fn change_list(
    overrides: &mut Values,
    defaults: &Values,
    (verb, name): (&str, &str),
    change: impl FnOnce(&mut Vec<String>),
) -> Result<()> {
    let list = settings::find(name).filter(|setting| setting.kind.is_list());
    let setting = list.ok_or_else(|| {
        Error::InvalidConfig(format!(
            "Can't {verb} to key {name} because its type is not LIST."
        ))
    })?;
    let now = overrides.get(name).or_else(|| defaults.get(name));
    let now = now.map_or(setting.default, String::as_str);
    let mut list: Vec<String> = now
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect();
    change(&mut list);
    overrides.insert(name.to_owned(), list.join(","));
    Ok(())
}

/// Makes a group, when there is memory for it and the bytes that its first command `adds`: nothing is left of one that is
/// refused.
async fn create_group(inner: &Arc<Inner>, name: Arc<str>, adds: u64) -> Result<()> {
    let count = {
        let groups = inner
            .groups
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if groups.contains_key(&name) {
            return Ok(());
        }
        groups.len()
    };
    if count >= inner.settings.groups_max {
        return Err(Error::InvalidRequest(format!(
            "the broker holds at most {count} groups"
        )));
    }
    let bytes = owner::group_bytes(&name).saturating_add(adds);
    inner.group_state.check(bytes)?;
    let id = inner.random.fresh_id();
    let value = Bytes::from(id.to_string());
    inner
        .catalog
        // Who joins reads, and commits what it has done with.
        .put_vital(&group_key(&name), Expected::Absent, value)
        .await?;
    let group = Group::new(inner.settings.group.clone());
    let share = StateShare::new(&inner.group_state);
    inner
        .owners
        .open_group(&name, OwnedGroup::new(id, group, 0, share));
    inner
        .groups
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .insert(name, id);
    Ok(())
}

/// Forgets a group that is dead: its log goes first, so that a crash in between leaves an empty group, which
/// maintenance finds again.
async fn remove_group(inner: &Arc<Inner>, name: &Arc<str>) -> Result<()> {
    if !inner.owners.close_group(name).await? {
        return Ok(());
    }
    inner
        .catalog
        .put_if(&group_key(name), Expected::Any, None)
        .await?;
    inner
        .groups
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .remove(name);
    Ok(())
}

/// Writes a changed topic's document.
async fn store(inner: &Inner, mut topic: Topic) -> Result<Arc<Topic>> {
    let expected = Expected::Version(topic.version);
    topic.version = inner
        .catalog
        .put_if(
            &topic_key(&topic.name),
            expected,
            Some(encode(&topic.document)),
        )
        .await?;
    Ok(Arc::new(topic))
}

/// Hands a topic's partitions from `first` on to their owners.
fn open(inner: &Inner, topic: &Topic, first: usize) {
    for partition in &topic.partitions[first..] {
        inner.controls.turn();
        inner
            .owners
            .open(partition, Opening::default(), topic.config);
    }
}

impl Inner {
    /// Changes the settings of a topic's partitions.
    pub(super) fn configure_partitions(&self, topic: Uuid, config: Config) -> Result<()> {
        for owner in self.owners.of_topic(topic) {
            owner.run(|round| round.owned.config = config)?;
        }
        Ok(())
    }
}

fn show(inner: &Inner, topics: &Topics, topic: &Arc<Topic>) {
    let mut next = topics.clone();
    next.insert(Arc::clone(topic));
    inner.topics.store(Arc::new(next));
}

fn make_topic(name: &str, document: TopicDocument, config: Config, version: u64) -> Topic {
    let partitions = (0..document.partitions)
        .map(|i| Arc::new(Partition::new(document.id, i, 0, 0)))
        .collect();
    Topic {
        name: Arc::from(name),
        document,
        version,
        config,
        partitions,
    }
}

/// A topic's effective settings: built-in defaults, then the broker's, then the topic's own.
pub(super) fn config_of(inner: &Inner, overrides: &Overrides) -> Result<Config> {
    let mut all = Values::clone(&inner.topic_defaults.load());
    all.extend(
        overrides
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Config::new(&all)
}

pub(super) fn encode(document: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(document).expect("plain data always serializes"))
}
