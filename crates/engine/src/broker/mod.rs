//! The public door: every call carries a principal and is authorized here, on engine resource and engine verb.

mod borrow;
mod checks;
mod controller;
mod cuts;
mod exchange_table;
mod exchanges;
mod fanout;
mod fetch;
mod groups;
mod kept;
mod lanes;
mod letters;
mod lookup;
mod moves;
mod policies;
mod producers;
mod publish;
mod queue_table;
mod queues;
mod read_ahead;
mod readers;
mod reaper;
mod records;
mod sessions;
mod start;
mod timekeeper;
mod topics;
mod transfer;
mod upkeep;
mod vhosts;

pub use fanout::{Outgoing, SendOrder, Sends};
pub use fetch::{FetchPartition, FetchResult, FetchSpec, Fetched};
pub use kept::Keep;
pub use publish::{Pending, Publish, TopicKey};
pub use queues::{QueueChange, Removal};
pub(crate) use read_ahead::fuzz_reading;
pub use records::{Appended, NewRecord, ReadRecords, RecordsRead};
pub use sessions::{ConsumerOf, Deliveries, Delivery, Event, NewConsumer, Session, Subscription};
pub use topics::{ConfigChange, NewTopic, TimeLookup};
pub use vhosts::VhostSizes;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use security::{Authorizer, Principal, Resource, Verb};
use storage::supervisor::Owner;
use storage::{Catalog, Log, Supervisor};
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

use crate::clock::{Clock, Dice};
use crate::exchange::Spaces;
use crate::group::GroupSettings;
use crate::memory::StateMemory;
use crate::metrics::Metrics;
use crate::queue::Queues;
use crate::shard;
use crate::time::Time;
use crate::topic::Topics;
use crate::{Error, Result};

/// What the broker is made of; the binary and the tests hand these in.
pub struct Parts {
    /// Where records go.
    pub log: Arc<dyn Log>,
    /// Where documents go.
    pub catalog: Arc<dyn Catalog>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where fresh identities come from.
    pub dice: Arc<dyn Dice>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Who learns when an owner ends or hangs; the process then ends.
    pub supervisor: Supervisor,
}

/// Plain data with units and limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Owners that share the partitions and groups; one per core is right.
    pub shards: usize,
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
    /// Whether a topic gets a queue of its name when somebody first uses that name as a queue's.
    pub attach_topics: bool,
    /// Vhosts that may exist.
    pub vhosts_max: usize,
    /// Exchanges that may exist, those that every vhost has left out.
    pub exchanges_max: usize,
    /// Bindings that may exist.
    pub bindings_max: usize,
    /// Topic exchanges that every vhost has beside the standard ones, and that only the broker publishes to.
    pub internal_exchanges: Vec<String>,
    /// Partitions a topic may have that a queue lends from.
    pub lanes_max: u32,
    /// Groups that may exist.
    pub groups_max: usize,
    /// Settings every topic starts from, where they differ from the built-in defaults.
    pub topic_defaults: BTreeMap<String, String>,
    /// What follows for topics from what frontends have kept, by the name of what it belongs to.
    pub kept_defaults: fn(&BTreeMap<String, kept::Values>) -> kept::Values,
    /// How consumer groups behave.
    pub group: GroupSettings,
    /// How often age and size of partitions are looked at.
    pub upkeep_interval: Duration,
    /// Identity of the installation; made at the first start when absent.
    pub cluster_id: Option<String>,
    /// How long a silent idempotent producer is remembered.
    pub producer_expiry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism()
                .map_or(2, std::num::NonZeroUsize::get)
                .min(16),
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
            lanes_max: 10_000,
            groups_max: 100_000,
            topic_defaults: BTreeMap::new(),
            kept_defaults: |_| BTreeMap::new(),
            group: GroupSettings::default(),
            upkeep_interval: Duration::from_secs(30),
            cluster_id: None,
            producer_expiry: Duration::from_hours(24),
        }
    }
}

/// The broker. Cheap to clone; all clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    log: Arc<dyn Log>,
    catalog: Arc<dyn Catalog>,
    clock: Arc<Time>,
    dice: Arc<dyn Dice>,
    authorizer: Arc<dyn Authorizer>,
    supervisor: Supervisor,
    /// The controller, as it is supervised: one command of it may be a hundred thousand steps.
    controls: Owner,
    metrics: Arc<Metrics>,
    queue_state: Arc<StateMemory>,
    group_state: Arc<StateMemory>,
    topics: ArcSwap<Topics>,
    groups: RwLock<HashMap<Arc<str>, Uuid>>,
    shards: Vec<mpsc::Sender<shard::Command>>,
    /// Where each shard lends partitions and takes them back.
    borrowing: Vec<mpsc::UnboundedSender<shard::FromBorrower>>,
    /// Where each shard hears what sessions say.
    listening: Vec<mpsc::UnboundedSender<crate::queue::Aside>>,
    /// Where it is said that messages have to leave.
    burials: mpsc::Sender<shard::Burial>,
    /// Where it is said that queues may have to go.
    reaper: mpsc::UnboundedSender<reaper::Reap>,
    rosters: reaper::Rosters,
    policies: ArcSwap<crate::policy::Policies>,
    queues: Queues,
    spaces: Spaces,
    /// Whose turn it is, where a queue has several lanes.
    turn: AtomicUsize,
    /// Move tasks that run, with the queue they take from.
    moves: Mutex<BTreeMap<Uuid, Uuid>>,
    controller: mpsc::Sender<controller::Command>,
    publishing: Arc<Semaphore>,
    producer_ids: producers::ProducerIds,
    draining: watch::Sender<bool>,
    read_ahead: read_ahead::ReadAhead,
    workers: checks::Workers,
    kept: ArcSwap<kept::Kept>,
    /// What topics start from: the settings', and what was changed since.
    topic_defaults: ArcSwap<BTreeMap<String, String>>,
    cluster_id: String,
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

    /// A fresh random identity, from the dice that were handed in.
    pub fn fresh_id(&self) -> Uuid {
        self.inner.dice.fresh_id()
    }

    /// Asks whether `principal` may `verb` the `resource`; frontends use it only to filter lists.
    pub fn allows(&self, principal: &Principal, verb: Verb, resource: Resource<'_>) -> bool {
        self.inner.authorizer.allows(principal, verb, resource)
    }

    fn authorize(&self, principal: &Principal, verb: Verb, resource: Resource<'_>) -> Result<()> {
        if self.allows(principal, verb, resource) {
            Ok(())
        } else {
            Err(Error::Denied)
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The owners see their mailboxes close, and return.
        self.supervisor.stopping();
    }
}

impl Inner {
    fn shard(&self, hash: u64) -> &mpsc::Sender<shard::Command> {
        let count = self.shards.len() as u64;
        &self.shards[usize::try_from(hash % count).expect("fewer shards than addresses")]
    }

    /// Move tasks that take from a queue.
    fn moves_of(&self, queue: Uuid) -> Vec<Uuid> {
        let moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        let of_queue = moves.iter().filter(|(_, source)| **source == queue);
        of_queue.map(|(task, _)| *task).collect()
    }

    fn move_runs(&self, queue: Uuid, task: Uuid) {
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        moves.insert(task, queue);
    }

    fn move_over(&self, task: Uuid) {
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        moves.remove(&task);
    }

    async fn tell(&self, hash: u64, command: shard::Command) -> Result<()> {
        self.shard(hash)
            .send(command)
            .await
            .map_err(|_| Error::Unavailable)
    }
}

/// Where a partition lives: neighbours go to different shards, so that one topic uses all of them.
fn partition_hash(topic_id: Uuid, index: u32) -> u64 {
    topic_id.as_u64_pair().1.wrapping_add(u64::from(index))
}

/// Where a group lives.
fn group_hash(name: &str) -> u64 {
    // FNV-1a: stable, and names are short.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
