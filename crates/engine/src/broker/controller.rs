//! The controller: the one task that changes which topics and groups exist.
//!
//! A change is a document: it is decided on the table as it stands, written to the catalog, and only then
//! shown to everybody by replacing the table. Removal leaves a note (`removed/<id>`) first, so that a crash
//! half-way is finished by the next start instead of leaving records nobody owns.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use storage::Expected;
use storage::supervisor::Owner;
use tokio::sync::mpsc;

use super::command::{Command, NewTopic};
use super::documents::group_key;
use super::topic_removal::delete;
use super::topic_table::{check_total, configure, create_as, open, show, store};
use super::{Inner, exchange_table, kept, policies, queue_table, transfer, vhosts};
use crate::group::Group;
use crate::memory::StateShare;
use crate::owner::{self, OwnedGroup};
use crate::partition::Partition;
use crate::topic::{Topic, name};
use crate::{Error, Result};

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

async fn create(inner: &Arc<Inner>, new: NewTopic, dry_run: bool) -> Result<Arc<Topic>> {
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
