//! The controller's work on topics: which ones there are, and how they are set.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use storage::Expected;
use uuid::Uuid;

use super::Inner;
use super::command::{ConfigChange, NewTopic};
use super::documents::{encode, topic_key};
use crate::owner::Opening;
use crate::partition::Partition;
use crate::topic::{Config, Overrides, Topic, TopicDocument, Topics, settings};
use crate::{Error, Result};

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

pub(super) fn check_total(inner: &Inner, topics: &Topics, more: usize) -> Result<()> {
    let most = inner.settings.partitions_max;
    if topics.partitions().saturating_add(more) > most {
        return Err(Error::InvalidPartitions(format!(
            "the broker holds at most {most} partitions"
        )));
    }
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

/// Writes a changed topic's document.
pub(super) async fn store(inner: &Inner, mut topic: Topic) -> Result<Arc<Topic>> {
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
pub(super) fn open(inner: &Inner, topic: &Topic, first: usize) {
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

pub(super) fn show(inner: &Inner, topics: &Topics, topic: &Arc<Topic>) {
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
