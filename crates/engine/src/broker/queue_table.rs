//! The controller's work on queues: which ones there are, and how they are set.
//!
//! A queue is a document beside its topic's. Made: the queue first, then the topic that is its own, so that a crash in
//! between leaves a queue without a topic, which a start forgets; a topic without its queue would never be missed, and
//! would lease its records to the next queue of that name. Removed: with its own topic, whose note decides; else a
//! note, the document, the queue partitions. A start finishes what it finds a note of.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage::Expected;
use uuid::Uuid;

use super::command::{ConfigChange, NewTopic, QueueChange, Removal};
use super::documents::encode;
use super::prepared::Prepared;
use super::queue_removal::{key, remove};
use super::{Inner, queue_partitions, topic_removal, topic_table};
use crate::queue::{NewQueue, Numbers, Ordering, Queue, QueueDocument, QueueSettings};
use crate::topic::Topic;
use crate::{Error, Result, vhost};

/// Most annotation and tag bytes together: a document has its limit, and this leaves room.
const TEXT_BYTES_MAX: usize = 256 << 10;

pub(super) async fn create(
    inner: &Arc<Inner>,
    new: NewQueue,
    prepared: Option<Prepared>,
) -> Result<Arc<Queue>> {
    let (vhost, name) = vhost::split(&new.name);
    vhost::check_name(vhost)?;
    vhost::check_name(name)?;
    if !inner.routing_tables.has(vhost) {
        return Err(Error::UnknownVhost);
    }
    check(inner, &new)?;
    if inner.queues.named(&new.name).is_some() {
        return Err(Error::QueueExists(new.name));
    }
    let there = topic_of(inner, &new)?;
    check_order(&new, there.as_deref())?;
    let now = inner.clock.wall_ms();
    let own = there.is_none().then(|| own_topic(&new));
    let document = QueueDocument {
        id: inner.random.fresh_id(),
        topic: there
            .as_ref()
            .map_or_else(|| inner.random.fresh_id(), |t| t.id()),
        owns_topic: own.is_some(),
        created_ms: now,
        changed_ms: now,
        settings: new.settings.shared(),
    };
    let mut queue = Queue {
        effective: inner
            .policies
            .load()
            .settings(&new.name, &document.settings),
        name: Arc::from(new.name),
        partitions: there.map_or(1, |topic| queue_partitions_of(&topic)),
        document: Arc::new(document),
        version: 0,
        numbers: Arc::new(Numbers::new(
            Arc::clone(&inner.metrics),
            Arc::clone(&inner.queue_state),
        )),
    };
    // Queues that live as long as their clients are what answers are waited for in.
    let lifetime = queue.settings().lifetime;
    let is_vital = lifetime.transient || lifetime.auto_delete;
    queue.version = if is_vital {
        let value = encode(&*queue.document);
        let key = key(&queue.name);
        inner
            .catalog
            .put_vital(&key, Expected::Absent, value)
            .await?
    } else {
        store(inner, &queue, Expected::Absent).await?
    };
    if let Some(own) = own {
        let id = (queue.document.topic, is_vital);
        match topic_table::create_as(inner, id, own, false).await {
            // One text for both.
            Ok(topic) => queue.name = Arc::clone(&topic.name),
            Err(error) => {
                let key = key(&queue.name);
                inner.catalog.put_if(&key, Expected::Any, None).await?;
                return Err(error);
            }
        }
    }
    open(inner, Arc::new(queue), prepared).await
}

/// Gives a new queue its queue partitions, and shows it.
async fn open(
    inner: &Arc<Inner>,
    queue: Arc<Queue>,
    prepared: Option<Prepared>,
) -> Result<Arc<Queue>> {
    if let Err(error) = queue_partitions::open_queue_partitions(inner, &queue, prepared).await {
        // Nobody has seen it.
        drop_queue(inner, &queue).await?;
        return Err(error);
    }
    if let Some(owner) = queue.settings().lifetime.owner {
        inner.consumer_registry.own(owner, queue.id());
    }
    inner.queues.insert(Arc::clone(&queue));
    inner.touch(&queue);
    Ok(queue)
}

fn check(inner: &Inner, new: &NewQueue) -> Result<()> {
    new.settings.check()?;
    check_text(&new.settings.annotations, &new.settings.tags)?;
    if inner.queues.len() >= inner.settings.queues_max {
        let most = inner.settings.queues_max;
        return Err(Error::InvalidRequest(format!(
            "the broker holds at most {most} queues"
        )));
    }
    Ok(())
}

/// Producers put keys into partitions each in a way of its own: in order is only what is in one.
fn check_order(new: &NewQueue, topic: Option<&Topic>) -> Result<()> {
    let partitions = topic.map_or(1, |topic| topic.document.partitions);
    if new.settings.ordering != Ordering::Key || partitions == 1 {
        return Ok(());
    }
    Err(Error::InvalidConfig(format!(
        "an ordered queue needs a topic with one partition, and this one has {partitions}: producers that choose \
         partitions differently would put messages of one group into several"
    )))
}

/// Refuses more partitions where a queue delivers in order.
pub(super) fn check_growth(inner: &Inner, topic: &Topic) -> Result<()> {
    let queues = inner.queues.of_topic(topic.id());
    let ordered = queues
        .iter()
        .find(|queue| queue.settings().ordering == Ordering::Key);
    match ordered {
        Some(queue) => Err(Error::InvalidPartitions(format!(
            "The queue {} delivers the messages of topic {} in order per message group: more partitions would break \
             the order, the lock of groups and deduplication.",
            vhost::split(&queue.name).1,
            topic.name
        ))),
        None => Ok(()),
    }
}

fn check_text(
    annotations: &BTreeMap<String, String>,
    tags: &BTreeMap<String, String>,
) -> Result<()> {
    let texts = annotations.iter().chain(tags);
    let bytes: usize = texts.map(|(name, value)| name.len() + value.len()).sum();
    if bytes > TEXT_BYTES_MAX {
        return Err(Error::InvalidConfig(
            "tags and annotations of a queue are too large".into(),
        ));
    }
    Ok(())
}

fn queue_partitions_of(topic: &Topic) -> u32 {
    topic.document.partitions
}

/// The topic a new queue leases from, if it is there; else the queue gets its own.
fn topic_of(inner: &Inner, new: &NewQueue) -> Result<Option<Arc<Topic>>> {
    let name = new.topic.as_deref().unwrap_or(&new.name);
    let there = inner.topics.load().named(name).cloned();
    if there.is_none() && new.topic.is_some() {
        return Err(Error::UnknownTopic);
    }
    Ok(there)
}

/// The topic that is made for a queue.
fn own_topic(new: &NewQueue) -> NewTopic {
    let age = new.settings.retention_ms.to_string();
    // How old a message is counts from when it came, whatever time it bears.
    let append_time = "LogAppendTime".to_owned();
    let mut overrides = BTreeMap::from([
        ("retention.ms".to_owned(), age),
        ("message.timestamp.type".to_owned(), append_time),
    ]);
    if new.settings.lifetime.transient {
        // Nobody waits for a sync of what a restart throws away.
        overrides.insert("durability".to_owned(), "flush".to_owned());
    }
    NewTopic {
        name: new.name.clone(),
        partitions: Some(1),
        replication: None,
        overrides,
    }
}

/// Writes a queue's document; returns its version.
async fn store(inner: &Inner, queue: &Queue, expected: Expected) -> Result<u64> {
    let value = Some(encode(&*queue.document));
    let key = key(&queue.name);
    Ok(inner.catalog.put_if(&key, expected, value).await?)
}

/// Refuses to change what a queue has for as long as it lives.
fn check_fixed(old: &QueueSettings, new: &QueueSettings) -> Result<()> {
    let changed = [
        ("ordering", old.ordering != new.ordering),
        ("priorities", old.priorities != new.priorities),
        ("type", old.queue_type() != new.queue_type()),
        ("lifetime", old.lifetime != new.lifetime),
    ];
    match changed.iter().find(|(_, changed)| *changed) {
        Some((name, _)) => Err(Error::InvalidConfig(format!(
            "the {name} of a queue cannot be changed: create another queue"
        ))),
        None => Ok(()),
    }
}

pub(super) async fn configure(
    inner: &Arc<Inner>,
    name: &str,
    change: QueueChange,
) -> Result<Arc<Queue>> {
    let queue = inner.queues.named(name).ok_or(Error::UnknownQueue)?;
    let old = &*queue.document.settings;
    let mut new = old.clone();
    change(&mut new)?;
    if new == *old {
        return Ok(queue);
    }
    new.check()?;
    check_text(&new.annotations, &new.tags)?;
    check_fixed(old, &new)?;
    let (was, retention) = (old.retention_ms, new.retention_ms);
    let topic = queue.document.topic;
    let keeps = (was != retention && queue.document.owns_topic).then_some(topic);
    // Longer: the topic first; shorter: the queue first. A crash in between leaves records that are kept for nothing,
    // never a queue that promises what its topic forgets.
    if let Some(topic) = keeps.filter(|_| retention > was) {
        keep_for(inner, topic, retention).await?;
    }
    let document = QueueDocument {
        changed_ms: inner.clock.wall_ms(),
        settings: new.shared(),
        ..QueueDocument::clone(&queue.document)
    };
    let mut changed = Queue {
        effective: inner.policies.load().settings(name, &document.settings),
        document: Arc::new(document),
        ..Queue::clone(&queue)
    };
    changed.version = store(inner, &changed, Expected::Version(queue.version)).await?;
    let queue = Arc::new(changed);
    inner.queues.insert(Arc::clone(&queue));
    queue_partitions::configure_queue_partitions(inner, &queue)?;
    if let Some(topic) = keeps.filter(|_| retention < was) {
        keep_for(inner, topic, retention).await?;
    }
    Ok(queue)
}

/// Has a queue's own topic keep its records for as long as the queue says.
async fn keep_for(inner: &Arc<Inner>, topic: Uuid, retention_ms: u64) -> Result<()> {
    let set = ConfigChange::Set("retention.ms".into(), retention_ms.to_string());
    let topic = inner.topics.load().with_id(topic).cloned();
    match topic {
        Some(topic) => topic_table::configure(inner, &topic.name, &[set], false).await,
        None => Ok(()),
    }
}

/// Removes a queue on conditions; returns how many messages were ready or waited.
pub(super) async fn delete(inner: &Arc<Inner>, name: &str, removal: Removal) -> Result<u64> {
    let queue = inner.queues.named(name);
    let is_that = |queue: &Arc<Queue>| removal.id.is_none_or(|id| id == queue.id());
    let queue = queue.filter(is_that).ok_or(Error::UnknownQueue)?;
    if removal.if_unused && inner.consumer_registry.count(queue.id()) > 0 {
        return Err(Error::InUse);
    }
    let (mut held, mut removing) = (0, 0);
    for at in queue_partitions::of_queue(&queue) {
        let counts = queue_partitions::commit(inner, at, |round| round.depth(at.queue)).await?;
        held += counts.ready + counts.waiting;
        removing += counts.removing;
    }
    if removal.if_empty && held + removing > 0 {
        return Err(Error::NotEmpty);
    }
    drop_queue(inner, &queue).await?;
    Ok(held)
}

async fn drop_queue(inner: &Arc<Inner>, queue: &Arc<Queue>) -> Result<()> {
    let own_topic = inner.topics.load().with_id(queue.document.topic).cloned();
    if let Some(topic) = own_topic.filter(|_| queue.document.owns_topic) {
        // The topic takes its queues with it.
        return topic_removal::delete(inner, &topic.name, topic.id()).await;
    }
    remove(inner, queue).await
}

/// Removes what does not outlive a restart.
pub(super) async fn remove_transient(inner: &Arc<Inner>) -> Result<()> {
    for queue in inner.queues.page("", None, usize::MAX) {
        if queue.settings().lifetime.transient {
            drop_queue(inner, &queue).await?;
        }
    }
    Ok(())
}

/// Gives queues queue partitions for the partitions a topic has got.
pub(super) async fn grow(inner: &Inner, topic: &Topic) -> Result<()> {
    for queue in inner.queues.of_topic(topic.id()) {
        let mut grown = Queue::clone(&queue);
        grown.partitions = queue_partitions_of(topic);
        let grown = Arc::new(grown);
        for at in queue_partitions::of_queue(&grown).skip(queue.partitions as usize) {
            queue_partitions::open_queue_partition(inner, &grown, at).await?;
        }
        queue_partitions::configure_queue_partitions(inner, &grown)?;
        inner.queues.insert(grown);
    }
    Ok(())
}

/// Finishes removals a crash has interrupted; before topics and queues are recovered.
pub(super) async fn finish_removals(inner: &Inner) -> Result<()> {
    for (note, stored) in inner.catalog.list("removed-queues/").await? {
        let damaged = || Error::Storage(format!("document {note} is not a removal"));
        let id = note.strip_prefix("removed-queues/").unwrap_or(&note);
        let id = Uuid::parse_str(id).map_err(|_| damaged())?;
        let queue_partitions = std::str::from_utf8(&stored.value)
            .ok()
            .and_then(|n| n.parse().ok());
        queue_partitions::forget_queue_partitions(
            &*inner.log,
            id,
            queue_partitions.ok_or_else(damaged)?,
        )?;
        for (key, document) in inner.catalog.list("queues/").await? {
            if decode(&key, &document.value)?.id == id {
                inner.catalog.put_if(&key, Expected::Any, None).await?;
            }
        }
        inner.catalog.put_if(&note, Expected::Any, None).await?;
    }
    Ok(())
}

fn decode(key: &str, value: &[u8]) -> Result<QueueDocument> {
    serde_json::from_slice(value)
        .map_err(|error| Error::Storage(format!("document {key}: {error}")))
}

/// Restores all queues; topics are there already.
pub(super) async fn recover(inner: &Inner) -> Result<()> {
    let topics = inner.topics.load_full();
    for (key, stored) in inner.catalog.list("queues/").await? {
        let document = decode(&key, &stored.value)?;
        let name = key.strip_prefix("queues/").unwrap_or(&key);
        let Some(topic) = topics.with_id(document.topic) else {
            // Its topic went, and the crash came before the queue did.
            queue_partitions::forget_queue_partitions(
                &*inner.log,
                document.id,
                inner.settings.queue_partitions_max,
            )?;
            inner.catalog.put_if(&key, Expected::Any, None).await?;
            continue;
        };
        let is_its_name = *topic.name == *name;
        let queue = Arc::new(Queue {
            effective: inner.policies.load().settings(name, &document.settings),
            name: if is_its_name {
                Arc::clone(&topic.name)
            } else {
                Arc::from(name)
            },
            document: Arc::new(document),
            version: stored.version,
            partitions: queue_partitions_of(topic),
            numbers: Arc::new(Numbers::new(
                Arc::clone(&inner.metrics),
                Arc::clone(&inner.queue_state),
            )),
        });
        for at in queue_partitions::of_queue(&queue) {
            inner.controls.turn();
            queue_partitions::open_queue_partition(inner, &queue, at).await?;
        }
        inner.queues.insert(queue);
    }
    inner.owners.queues_restored()?;
    Ok(())
}
