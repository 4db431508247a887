//! Starting: the state is folded out of the catalog and the logs, then the owners begin to serve.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, RwLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use storage::supervisor::Work;
use storage::{Chunk, Expected, Log, Read, StreamId, Trim};
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

use super::command::Command;
use super::consumer_registry::{ConsumerRegistry, ExpiryMessage};
use super::producer_ids::ProducerIds;
use super::read_ahead::ReadAhead;
use super::topic_table::config_of;
use super::workers::Workers;
use super::{
    Broker, Inner, Parts, Settings, controller, exchange_table, kept, maintenance, policies,
    queue_expiry, queue_table, timekeeper, transfer, vhosts,
};
use crate::exchange::RoutingTables;
use crate::group::{self, Group, GroupEvent};
use crate::memory::{StateMemory, StateShare};
use crate::metrics::Metrics;
use crate::owner::{DeadLetterJob, DeadLetterJobs, Opening, OwnedGroup, Owners};
use crate::partition::{Partition, PartitionState, Snapshot};
use crate::queue::Queues;
use crate::topic::{Config, Overrides, Topic, TopicDocument, Topics, settings};
use crate::{Error, Result};

/// Bytes read per step of a recovery.
const READ_BYTES: usize = 1 << 20;
/// Commands the controller holds before senders wait.
const CONTROLLER_MAILBOX_MAX: usize = 1024;

impl Broker {
    /// Recovers everything that was durable, and starts the owners. Errors: `Storage` when a document or a
    /// group's log is damaged.
    pub async fn start(parts: Parts, settings: Settings) -> Result<Self> {
        let metrics = Arc::new(Metrics::default());
        let clock = timekeeper::recover(&parts).await?;
        let (dead_letter_jobs, removing) = DeadLetterJobs::new();
        let owners = Owners::start(
            Arc::clone(&parts.log),
            (Arc::clone(&clock), Arc::clone(&metrics)),
            &parts.supervisor,
            dead_letter_jobs.clone(),
        );
        let (controller, commands) = mpsc::channel(CONTROLLER_MAILBOX_MAX);
        // No more than there are sessions and queues that come and go.
        let (queue_expiry, reaped) = mpsc::unbounded_channel();
        let cluster_id = match settings.cluster_id.clone() {
            Some(id) => id,
            None => cluster_id(&*parts.catalog, parts.random.fresh_id()).await?,
        };
        let topic_defaults = ArcSwap::from_pointee(settings.topic_defaults.clone());
        let inner = Arc::new(Inner {
            publishing: Arc::new(Semaphore::new(settings.publish_bytes_max)),
            read_ahead: ReadAhead::new(settings.read_ahead_bytes),
            producer_ids: ProducerIds::new(Arc::clone(&parts.catalog)),
            routing_tables: RoutingTables::new(&settings.internal_exchanges),
            queue_state: Arc::new(StateMemory::new(
                settings.queue_state_bytes_max,
                Error::QueueStateFull,
            )),
            group_state: Arc::new(StateMemory::new(
                settings.group_state_bytes_max,
                Error::Group(group::Error::StateFull),
            )),
            settings,
            log: parts.log,
            catalog: parts.catalog,
            clock,
            random: parts.random,
            authorizer: parts.authorizer,
            controls: parts.supervisor.owner("controller", Work::AwaitsDisk),
            supervisor: parts.supervisor,
            metrics,
            topics: ArcSwap::from_pointee(Topics::default()),
            groups: RwLock::new(HashMap::new()),
            owners,
            dead_letter_jobs,
            queue_expiry,
            consumer_registry: ConsumerRegistry::default(),
            rights: AtomicU64::new(0),
            policies: ArcSwap::default(),
            queues: Queues::default(),
            turn: AtomicUsize::new(0),
            moves: Mutex::new(BTreeMap::new()),
            controller,
            draining: watch::Sender::new(false),
            workers: Workers::default(),
            kept: ArcSwap::default(),
            topic_defaults,
            cluster_id,
        });
        recover(&inner).await?;
        inner.controls.rest();
        spawn_global(&inner, commands, removing, reaped);
        transfer::resume(&inner);
        Ok(Self { inner })
    }

    /// Asks the owners that have a mailbox for an answer; to be called once a second. One whose mailbox is full
    /// has enough to show that it is alive.
    pub fn ping(&self) {
        self.inner.owners.ping();
        let _ = self.inner.controller.try_send(Command::Ping);
    }

    /// Ends waiting fetches early from now on: the broker is about to stop.
    pub fn drain(&self) {
        self.inner.draining.send_replace(true);
    }

    /// Lets the owners finish: everything handed over is durable, and snapshots make the next start quick.
    ///
    /// Errors: `Unavailable` when one of them has ended before, or ends without having finished. What it held must be
    /// recovered from the log then.
    pub async fn stop(&self) -> Result<()> {
        self.drain();
        self.inner.supervisor.stopping();
        timekeeper::keep(&self.inner).await;
        let mut outcome = self.inner.owners.stop().await;
        if self.inner.supervisor.failure().is_some() {
            outcome = Err(Error::Unavailable);
        }
        outcome
    }
}

/// Starts the owners there is one of.
fn spawn_global(
    inner: &Arc<Inner>,
    commands: mpsc::Receiver<Command>,
    removing: Vec<mpsc::Receiver<DeadLetterJob>>,
    reaped: mpsc::UnboundedReceiver<ExpiryMessage>,
) {
    let owner = |name: &str, work| inner.supervisor.owner(name, work);
    let weak = || Arc::downgrade(inner);
    let controls = inner.controls.clone();
    tokio::spawn(
        controls
            .clone()
            .task(controller::run(weak(), controls, commands)),
    );
    let maintenance = owner("maintenance", Work::Background);
    tokio::spawn(
        maintenance
            .clone()
            .task(maintenance::run(weak(), maintenance)),
    );
    let clock = owner("clock", Work::AwaitsDisk);
    tokio::spawn(clock.clone().task(timekeeper::run(weak(), clock)));
    for (number, jobs) in removing.into_iter().enumerate() {
        let worker = owner(&format!("dead-letter worker {number}"), Work::Background);
        let run = transfer::run_dead_letter_jobs(weak(), worker.clone(), jobs);
        tokio::spawn(worker.task(run));
    }
    let removals = owner("queue expiry", Work::Background);
    tokio::spawn(
        removals
            .clone()
            .task(queue_expiry::run(weak(), removals, reaped)),
    );
}

/// Folds everything that was durable into what is known.
async fn recover(inner: &Arc<Inner>) -> Result<()> {
    kept::recover(inner).await?;
    queue_table::finish_removals(inner).await?;
    finish_removals(inner).await?;
    recover_topics(inner).await?;
    vhosts::recover(inner).await?;
    policies::recover(inner).await?;
    queue_table::recover(inner).await?;
    queue_table::remove_transient(inner).await?;
    exchange_table::recover(inner).await?;
    policies::recovered(inner)?;
    vhosts::finish_removals(inner).await?;
    recover_groups(inner).await?;
    for queue in inner.queues.page("", None, usize::MAX) {
        inner.touch(&queue);
    }
    Ok(())
}

/// Digits of the usual form of such an identity: 16 bytes in URL-safe base 64.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The installation's identity: made once, kept as a document.
async fn cluster_id(catalog: &dyn storage::Catalog, fresh: Uuid) -> Result<String> {
    const KEY: &str = "cluster/id";
    if let Some(document) = catalog.get(KEY).await? {
        return String::from_utf8(document.value.to_vec())
            .map_err(|_| Error::Storage("the cluster id is not text".into()));
    }
    let bits = fresh.as_u128();
    let digit =
        |i: u32| char::from(DIGITS[usize::try_from((bits >> (6 * i)) & 63).expect("six bits")]);
    let id: String = (0..22).map(digit).collect();
    catalog
        .put_if(KEY, Expected::Absent, Some(Bytes::from(id.clone())))
        .await?;
    Ok(id)
}

/// Finishes removals a crash has interrupted.
async fn finish_removals(inner: &Inner) -> Result<()> {
    for (key, note) in inner.catalog.list("removed/").await? {
        let document: TopicDocument = decode(&key, &note.value)?;
        for (topic_key, other) in inner.catalog.list("topics/").await? {
            if decode::<TopicDocument>(&topic_key, &other.value)?.id == document.id {
                inner
                    .catalog
                    .put_if(&topic_key, Expected::Version(other.version), None)
                    .await?;
            }
        }
        for part in 0..document.partitions * 2 {
            let stream = StreamId {
                owner: document.id,
                part,
            };
            match inner.log.trim(stream, Trim::All) {
                // Never written to, or removed before the crash.
                Ok(_) | Err(storage::Error::Missing) => {}
                Err(error) => return Err(error.into()),
            }
        }
        inner.catalog.put_if(&key, Expected::Any, None).await?;
    }
    Ok(())
}

fn decode<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value)
        .map_err(|error| Error::Storage(format!("document {key}: {error}")))
}

/// A setting that this version refuses must neither keep the broker from starting, nor the others from counting.
fn stored_config(inner: &Inner, topic: &str, overrides: &Overrides) -> Result<Config> {
    let is_sound = |(setting, value): &(&str, &str)| {
        let checked = settings::require(setting).and_then(|known| known.check(value));
        if let Err(error) = &checked {
            tracing::error!(topic, %error, "stored topic setting ignored");
        }
        checked.is_ok()
    };
    let sound = overrides.iter().filter(is_sound);
    let sound = sound.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sound: BTreeMap<String, String> = sound.collect();
    config_of(inner, &sound.into()).or_else(|error| {
        tracing::error!(topic, %error, "stored topic settings ignored");
        config_of(inner, &Overrides::default())
    })
}

async fn recover_topics(inner: &Inner) -> Result<()> {
    let mut topics = Topics::default();
    for (key, stored) in inner.catalog.list("topics/").await? {
        let document: TopicDocument = decode(&key, &stored.value)?;
        let name = key.strip_prefix("topics/").unwrap_or(&key);
        let config = stored_config(inner, name, &document.overrides)?;
        let mut partitions = Vec::with_capacity(document.partitions as usize);
        for index in 0..document.partitions {
            let opening =
                recover_partition(&*inner.log, document.id, index, inner.clock.now_ms()).await?;
            let (start, end) = (opening.state.start, opening.state.end);
            let partition = Arc::new(Partition::new(document.id, index, start, end));
            inner.owners.open(&partition, opening, config);
            partitions.push(partition);
        }
        topics.insert(Arc::new(Topic {
            name: Arc::from(name),
            document,
            version: stored.version,
            config,
            partitions,
        }));
    }
    inner.topics.store(Arc::new(topics));
    Ok(())
}

/// A partition's ledger: its snapshot, and every batch since.
async fn recover_partition(log: &dyn Log, topic_id: Uuid, index: u32, now: u64) -> Result<Opening> {
    let blank = Partition::new(topic_id, index, 0, 0);
    let Some(bounds) = log.bounds(blank.records()) else {
        return Ok(Opening::default());
    };
    let mut snapshot_upto = 0;
    let mut state = PartitionState {
        start: bounds.start,
        end: bounds.start,
        ..PartitionState::default()
    };
    if let Some(snapshot) = last_snapshot(log, blank.state()).await?
        && (bounds.start..=bounds.end).contains(&snapshot.upto)
    {
        snapshot_upto = snapshot.upto;
        state.end = snapshot.upto;
        state.producers = snapshot.producers;
    }
    let mut bytes = 0;
    let mut first = true;
    while state.end < bounds.end {
        let chunk = read(log, blank.records(), state.end, bounds.end).await?;
        if chunk.next_offset <= state.end {
            return Err(Error::Storage(format!(
                "partition {index} of {topic_id} ends before it should"
            )));
        }
        for batch in chunk.batches()? {
            bytes += batch.bytes() as u64;
            // A trim may have cut into the first batch; all others must continue where the one before ended.
            if std::mem::take(&mut first) {
                state.end = batch.header.base_offset;
            }
            // Seen now: the batch's own time is whatever its producer says, and a producer of old records
            // must not be forgotten while it still repeats its last batches.
            state.apply(&batch.header, now);
        }
    }
    Ok(Opening {
        state,
        snapshot_upto,
        bytes_since_snapshot: bytes,
    })
}

async fn last_snapshot(log: &dyn Log, stream: StreamId) -> Result<Option<Snapshot>> {
    let Some(bounds) = log.bounds(stream) else {
        return Ok(None);
    };
    let mut snapshot = None;
    let mut from = bounds.start;
    while from < bounds.end {
        let chunk = read(log, stream, from, bounds.end).await?;
        if chunk.next_offset <= from {
            break;
        }
        for batch in chunk.batches()? {
            for record in batch.records().flatten() {
                snapshot = record
                    .value
                    .as_deref()
                    .and_then(Snapshot::decode)
                    .or(snapshot);
            }
        }
        from = chunk.next_offset;
    }
    Ok(snapshot)
}

async fn recover_groups(inner: &Inner) -> Result<()> {
    for (key, stored) in inner.catalog.list("groups/").await? {
        let name: Arc<str> = Arc::from(key.strip_prefix("groups/").unwrap_or(&key));
        let id = std::str::from_utf8(&stored.value)
            .ok()
            .and_then(|text| Uuid::parse_str(text).ok());
        let id = id.ok_or_else(|| Error::Storage(format!("document {key} is not an identity")))?;
        let (mut group, end) = recover_group(inner, id).await?;
        group.restored(inner.clock.now_ms());
        let share = StateShare::new(&inner.group_state);
        inner
            .owners
            .open_group(&name, OwnedGroup::new(id, group, end, share));
        inner
            .groups
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(name, id);
    }
    Ok(())
}

async fn recover_group(inner: &Inner, id: Uuid) -> Result<(Group, u64)> {
    let stream = StreamId { owner: id, part: 0 };
    let mut group = Group::new(inner.settings.group.clone());
    let Some(bounds) = inner.log.bounds(stream) else {
        return Ok((group, 0));
    };
    let mut from = bounds.start;
    while from < bounds.end {
        let chunk = read(&*inner.log, stream, from, bounds.end).await?;
        if chunk.next_offset <= from {
            return Err(Error::Storage(format!(
                "the log of group {id} ends before it should"
            )));
        }
        for batch in chunk.batches()? {
            for record in batch.records() {
                let value = record?.value.unwrap_or_default();
                let event = GroupEvent::decode(&value)
                    .map_err(|error| Error::Storage(format!("an event of group {id}: {error}")))?;
                group.apply(&event);
            }
        }
        from = chunk.next_offset;
    }
    Ok((group, bounds.end))
}

async fn read(log: &dyn Log, stream: StreamId, from: u64, until: u64) -> Result<Chunk> {
    Ok(match log.read(stream, from, until, READ_BYTES) {
        Read::Ready(read) => read?,
        Read::Disk(read) => read.await?,
    })
}
