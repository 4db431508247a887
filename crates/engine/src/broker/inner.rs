//! What the broker is made of, what it is set to, and what everything in it shares.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use security::Authorizer;
use storage::supervisor::Owner;
use storage::{Catalog, Log, Supervisor};
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

use super::command::Command;
use super::consumer_registry::{ConsumerRegistry, ExpiryMessage};
use super::kept_settings::{Kept, Values};
use super::producer_ids::ProducerIds;
use super::read_ahead::ReadAhead;
use super::workers::Workers;
use crate::clock::{Clock, RandomSource};
use crate::exchange::RoutingTables;
use crate::group::GroupSettings;
use crate::memory::StateMemory;
use crate::metrics::Metrics;
use crate::owner::{DeadLetterJobs, Owners, PartitionKey};
use crate::queue::{QueuePartitionId, Queues};
use crate::time::Time;
use crate::topic::Topics;

/// What the broker is made of; the binary and the tests hand these in.
pub struct Parts {
    /// Where records go.
    pub log: Arc<dyn Log>,
    /// Where documents go.
    pub catalog: Arc<dyn Catalog>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where fresh identities come from.
    pub random: Arc<dyn RandomSource>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Who learns when an owner ends or hangs; the process then ends.
    pub supervisor: Supervisor,
}

/// Plain data with units and limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of batches being published that the broker holds at most; publishers wait beyond that.
    pub publish_bytes_max: usize,
    /// Memory the state of all queues may take, bytes: message groups, deduplication ids, messages that were touched.
    pub queue_state_bytes_max: u64,
    /// Memory the state of all groups may take, bytes: members, ids that were handed out, offsets.
    pub group_state_bytes_max: u64,
    /// Bytes of records kept for receivers that come for their neighbours.
    pub read_ahead_bytes: usize,
    /// Partitions of a topic whose creator named no number.
    pub default_partitions: u32,
    /// Greatest replication factor that is accepted and reported, although one node keeps one copy.
    pub replication_max: u16,
    /// Partitions all topics may have together.
    pub partitions_max: usize,
    /// Queues that may exist.
    pub queues_max: usize,
    /// Whether a topic gets a queue of its name when that name is first used as a queue's.
    pub attach_topics: bool,
    /// Vhosts that may exist.
    pub vhosts_max: usize,
    /// Exchanges that may exist, those that every vhost has left out.
    pub exchanges_max: usize,
    /// Bindings that may exist.
    pub bindings_max: usize,
    /// Topic exchanges that every vhost has beside the standard ones, and that only the broker publishes to.
    pub internal_exchanges: Vec<String>,
    /// Partitions a topic may have that a queue leases from.
    pub queue_partitions_max: u32,
    /// Groups that may exist.
    pub groups_max: usize,
    /// Settings every topic starts from, where they differ from the built-in defaults.
    pub topic_defaults: BTreeMap<String, String>,
    /// What follows for topics from what frontends have kept, by the name of what it belongs to.
    pub kept_defaults: fn(&BTreeMap<String, Values>) -> Values,
    /// How consumer groups behave.
    pub group: GroupSettings,
    /// How often age and size of partitions are looked at.
    pub maintenance_interval: Duration,
    /// Identity of the installation; made at the first start when absent.
    pub cluster_id: Option<String>,
    /// How long a silent idempotent producer is remembered.
    pub producer_expiry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            publish_bytes_max: 256 << 20,
            queue_state_bytes_max: 256 << 20,
            group_state_bytes_max: 128 << 20,
            read_ahead_bytes: 16 << 20,
            default_partitions: 1,
            replication_max: 1,
            partitions_max: 200_000,
            queues_max: 200_000,
            attach_topics: false,
            vhosts_max: 10_000,
            exchanges_max: 200_000,
            bindings_max: 1_000_000,
            internal_exchanges: Vec::new(),
            queue_partitions_max: 10_000,
            groups_max: 100_000,
            topic_defaults: BTreeMap::new(),
            kept_defaults: |_| BTreeMap::new(),
            group: GroupSettings::default(),
            maintenance_interval: Duration::from_secs(30),
            cluster_id: None,
            producer_expiry: Duration::from_hours(24),
        }
    }
}

/// The broker. Cheap to clone; all clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) log: Arc<dyn Log>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) clock: Arc<Time>,
    pub(super) random: Arc<dyn RandomSource>,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) supervisor: Supervisor,
    /// The controller, as it is supervised: one command of it may be a hundred thousand steps.
    pub(super) controls: Owner,
    pub(super) metrics: Arc<Metrics>,
    pub(super) queue_state: Arc<StateMemory>,
    pub(super) group_state: Arc<StateMemory>,
    pub(super) topics: ArcSwap<Topics>,
    pub(super) groups: RwLock<HashMap<Arc<str>, Uuid>>,
    pub(super) owners: Owners,
    /// Where it is said that messages have to leave.
    pub(super) dead_letter_jobs: DeadLetterJobs,
    /// Where it is said that queues may have to go.
    pub(super) queue_expiry: mpsc::UnboundedSender<ExpiryMessage>,
    pub(super) consumer_registry: ConsumerRegistry,
    /// How often rights have changed.
    pub(super) rights: AtomicU64,
    pub(super) policies: ArcSwap<crate::policy::Policies>,
    pub(super) queues: Queues,
    pub(super) routing_tables: RoutingTables,
    /// Whose turn it is, where a queue has several queue partitions.
    pub(super) turn: AtomicUsize,
    /// Move tasks that run, with the queue they take from.
    pub(super) moves: Mutex<BTreeMap<Uuid, Uuid>>,
    pub(super) controller: mpsc::Sender<Command>,
    pub(super) publishing: Arc<Semaphore>,
    pub(super) producer_ids: ProducerIds,
    pub(super) draining: watch::Sender<bool>,
    pub(super) read_ahead: ReadAhead,
    pub(super) workers: Workers,
    pub(super) kept: ArcSwap<Kept>,
    /// What topics start from: the settings', and what was changed since.
    pub(super) topic_defaults: ArcSwap<BTreeMap<String, String>>,
    pub(super) cluster_id: String,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// The broker's numbers.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// Memory the state of all queues takes, bytes, and may take: an estimate.
    pub fn queue_state_bytes(&self) -> (u64, u64) {
        let state = &self.inner.queue_state;
        (state.used(), state.max())
    }

    /// Memory the state of all groups takes, bytes, and may take: an estimate.
    pub fn group_state_bytes(&self) -> (u64, u64) {
        let state = &self.inner.group_state;
        (state.used(), state.max())
    }

    /// Identity of this installation, made once and kept.
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Broker time, ms: for how long something lasts. It never jumps, and is nothing to show.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    /// The wall clock, ms: for when something happened. It may jump.
    pub fn wall_ms(&self) -> u64 {
        self.inner.clock.wall_ms()
    }

    /// How old a record is that the broker stamped like this, ms, whatever the wall clock did since.
    pub fn age_ms(&self, stamp: u64) -> u64 {
        let moment = self.inner.clock.moment_of(stamp);
        moment.now.saturating_sub(moment.of_stamp(stamp))
    }

    /// A fresh random identity, from the random source that was handed in.
    pub fn fresh_id(&self) -> Uuid {
        self.inner.random.fresh_id()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The owners see their mailboxes close, and return.
        self.supervisor.stopping();
    }
}

impl Inner {
    /// Move tasks that take from a queue.
    pub(super) fn moves_of(&self, queue: Uuid) -> Vec<Uuid> {
        let moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        let of_queue = moves.iter().filter(|(_, source)| **source == queue);
        of_queue.map(|(task, _)| *task).collect()
    }

    pub(super) fn move_runs(&self, queue: Uuid, task: Uuid) {
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        moves.insert(task, queue);
    }

    pub(super) fn move_over(&self, task: Uuid) {
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        moves.remove(&task);
    }
}

/// The partition of a queue partition.
pub(super) fn partition_of(at: QueuePartitionId) -> PartitionKey {
    (at.topic, at.index)
}
