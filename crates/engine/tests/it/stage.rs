//! A broker on a simulated disk, with a clock the test sets, that can be stopped or lose power at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use engine::exchange::{self, NoHeaders, Routed};
use engine::queue::NewMessage;
use engine::topic::Topic;
use engine::{
    Access, Broker, Chunk, Clock, FetchPartition, FetchSpec, NewTopic, Parts, Publish, Published,
    RandomSource, Result, Settings, TopicKey,
};
use engine::{Outgoing, vhost};
use security::{Authorizer, Principal, Resource, Verb};
use storage::batch::BatchBuilder;
use storage::local::{LocalStore, Options};
use storage::{Batch, Catalog};
use testkit::SimDisk;
use uuid::Uuid;

/// Where every test's clock starts, ms.
pub(crate) const START: u64 = 1_780_000_000_000;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that stands still until it is set.
#[derive(Clone)]
struct SetClock(Arc<AtomicU64>);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Identities that count up, over restarts too.
struct Counting(Arc<AtomicU64>);

impl RandomSource for Counting {
    fn fresh_id(&self) -> Uuid {
        Uuid::from_u64_pair(7, self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// A right: to do something with a resource, told by its kind and name.
pub(crate) type Right = (Verb, String);

/// Allows everything but some verbs, or nothing but some rights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Denied {
    verbs: Arc<Mutex<Vec<Verb>>>,
    only: Arc<Mutex<Option<Vec<Right>>>>,
}

impl Denied {
    pub(crate) fn set(&self, verbs: &[Verb]) {
        *self.verbs.lock().unwrap() = verbs.to_vec();
    }

    /// Allows nothing but this.
    pub(crate) fn all_but(&self, rights: &[Right]) {
        *self.only.lock().unwrap() = Some(rights.to_vec());
    }

    pub(crate) fn nothing(&self) {
        self.set(&[]);
        *self.only.lock().unwrap() = None;
    }
}

fn told(resource: Resource<'_>) -> String {
    match resource {
        Resource::Broker => "broker".to_owned(),
        Resource::Topic(name) => format!("topic {name}"),
        Resource::Group(name) => format!("group {name}"),
        Resource::Queue(name) => format!("queue {name}"),
        Resource::Exchange(name) => format!("exchange {name}"),
        Resource::Vhost(name) => format!("vhost {name}"),
    }
}

impl Authorizer for Denied {
    fn allows(&self, _: &Principal, verb: Verb, resource: Resource<'_>) -> bool {
        let only = self.only.lock().unwrap();
        let is_allowed = |rights: &Vec<Right>| rights.contains(&(verb, told(resource)));
        only.as_ref().is_none_or(is_allowed) && !self.verbs.lock().unwrap().contains(&verb)
    }
}

/// How a broker's life ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// Stopped and closed in good order.
    Stop,
    /// The process is killed: what it wrote stays.
    Kill,
    /// The power fails: of what was not synced an arbitrary part is lost.
    PowerLoss(u64),
}

/// Every way to end.
pub(crate) const ENDS: [End; 3] = [End::Stop, End::Kill, End::PowerLoss(1)];

pub(crate) struct Stage {
    pub(crate) broker: Broker,
    /// The broker on behalf of anyone.
    pub(crate) access: Access,
    pub(crate) store: LocalStore,
    pub(crate) disk: SimDisk,
    /// What no principal may do.
    pub(crate) denied: Denied,
    time: Arc<AtomicU64>,
    ids: Arc<AtomicU64>,
    settings: Settings,
}

impl Stage {
    /// With maintenance so often that a test need not wait for it.
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            maintenance_interval: Duration::from_millis(10),
            ..Settings::default()
        };
        settings.group.initial_rebalance_delay_ms = 0;
        change(&mut settings);
        let time = Arc::new(AtomicU64::new(START));
        Self::open(SimDisk::new(), time, Arc::default(), settings).await
    }

    async fn open(
        disk: SimDisk,
        time: Arc<AtomicU64>,
        ids: Arc<AtomicU64>,
        settings: Settings,
    ) -> Self {
        let options = Options {
            flush_interval: Duration::from_millis(5),
            journal_file_bytes_first: 256 << 10,
            journal_file_bytes: 1 << 20,
            unflushed_bytes: 64 << 10,
            min_free_bytes: 0,
            ..Options::default()
        };
        let store = LocalStore::open(Arc::new(disk.clone()), options).unwrap();
        let denied = Denied::default();
        let parts = Parts {
            log: Arc::new(store.clone()),
            catalog: Arc::new(store.clone()),
            clock: Arc::new(SetClock(Arc::clone(&time))),
            random: Arc::new(Counting(Arc::clone(&ids))),
            authorizer: Arc::new(denied.clone()),
            supervisor: storage::Supervisor::new(),
        };
        let broker = Broker::start(parts, settings.clone()).await.unwrap();
        Self {
            access: broker.on_behalf_of(anyone()),
            broker,
            store,
            disk,
            denied,
            time,
            ids,
            settings,
        }
    }

    /// Ends this life in the given way and starts the next one on the same disk.
    pub(crate) async fn again(self, end: End) -> Self {
        match end {
            End::Stop => {
                self.broker.stop().await.unwrap();
                self.store.close().unwrap();
            }
            End::Kill => self.disk.kill(),
            End::PowerLoss(seed) => self.disk.crash(seed),
        }
        let disk = self.disk.next_life();
        drop((self.access, self.broker, self.store));
        Self::open(disk, self.time, self.ids, self.settings).await
    }

    /// Lets the wall clock jump.
    pub(crate) fn skip(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.time.fetch_add(millis, Ordering::Relaxed);
    }

    pub(crate) async fn make(&self, name: &str, overrides: &[(&str, &str)]) -> Result<Arc<Topic>> {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(2),
            replication: None,
            overrides: overrides.iter().map(text).collect::<BTreeMap<_, _>>(),
        };
        self.access.create_topic(topic, false).await
    }

    pub(crate) async fn publish(&self, topic: &str, batch: Batch) -> Result<Published> {
        let publish = Publish {
            topic: TopicKey::Name(topic),
            partition: 0,
            batch: Ok(batch),
        };
        let pending = self.access.publish(vec![publish]).await;
        pending.done().await.remove(0)
    }

    /// Start and high watermark of partition 0.
    pub(crate) fn bounds(&self, topic: &str) -> (u64, u64) {
        let topics = self.broker.inventory().topics();
        let partition = &topics.named(topic).unwrap().partitions[0];
        (partition.start(), partition.high_watermark())
    }

    /// The values of partition 0 from `offset` on.
    pub(crate) async fn values(&self, topic: &str, offset: u64) -> Result<Vec<String>> {
        let mut values = Vec::new();
        let mut offset = offset;
        loop {
            let (chunk, end) = self.chunk(topic, offset).await?;
            let batches = chunk.batches().unwrap();
            for record in batches.iter().flat_map(Batch::records) {
                let value = record.unwrap().value.unwrap_or_default();
                values.push(String::from_utf8(value.to_vec()).unwrap());
            }
            if chunk.next_offset >= end || batches.is_empty() {
                return Ok(values);
            }
            offset = chunk.next_offset;
        }
    }

    /// What one fetch of a mebibyte gets, and the high watermark.
    pub(crate) async fn chunk(&self, topic: &str, offset: u64) -> Result<(Chunk, u64)> {
        let partition = FetchPartition {
            topic: TopicKey::Name(topic),
            partition: 0,
            offset,
            bytes_max: 1 << 20,
            epoch: None,
        };
        let spec = FetchSpec {
            room: &engine::Boundless,
            partitions: vec![partition],
            bytes_max: 1 << 20,
            bytes_min: 0,
            wait_max: Duration::ZERO,
        };
        let mut results = self.access.fetch(spec).await;
        let fetched = results.remove(0).outcome?;
        Ok((fetched.chunk, fetched.high_watermark))
    }

    /// All documents under `prefix`.
    pub(crate) async fn documents(&self, prefix: &str) -> Vec<String> {
        let listed = self.store.list(prefix).await.unwrap();
        listed.into_iter().map(|(key, _)| key).collect()
    }
}

/// Waits until `holds`; panics when it never does.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let pause = Duration::from_millis(5);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if holds() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
    panic!("never: {what}");
}

pub(crate) fn anyone() -> &'static Principal {
    static ANYONE: LazyLock<Principal> = LazyLock::new(Principal::anonymous);
    &ANYONE
}

/// A message on its way to these queues.
pub(crate) fn outgoing(broker: &Broker, message: NewMessage, queues: &[&str]) -> Outgoing {
    let keys: Vec<&[u8]> = queues.iter().map(|name| name.as_bytes()).collect();
    let routed = Routed {
        keys: &keys,
        headers: &NoHeaders,
        publisher: true,
    };
    let access = broker.on_behalf_of(anyone());
    let route = access.route(vhost::DEFAULT, exchange::DEFAULT, &routed);
    Outgoing::new(message, route.unwrap()).unwrap()
}

/// A batch of these values, now.
pub(crate) fn batch(values: &[&str]) -> Batch {
    fill(BatchBuilder::new(START.cast_signed()), values)
}

/// The same from an idempotent producer.
pub(crate) fn sequenced(producer: i64, sequence: i32, values: &[&str]) -> Batch {
    let builder = BatchBuilder::new(START.cast_signed());
    fill(builder.producer(producer, 0, sequence), values)
}

fn fill(mut builder: BatchBuilder, values: &[&str]) -> Batch {
    for value in values {
        builder.push(START.cast_signed(), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}
