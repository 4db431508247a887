//! Random histories with crashes in between, checked against a model.
//!
//! The store promises more than "nothing acknowledged is lost": what survives is a *prefix* of the history of all
//! calls. The check therefore asks for one number of calls, at least as many as were acknowledged, after which the
//! model looks exactly like the reopened store, over all streams, bounds and documents at once.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use storage::local::LocalStore;
use storage::{Append, Batch, Catalog, Durability, Expected, Log, Lsn, Trim};
use testkit::SimDisk;
use tokio::runtime::Runtime;

use crate::fixture::{append, concat, filled, read_all, stream, tiny_options};

const STREAMS: u64 = 4;
const KEYS: u64 = 3;

/// A small seeded generator.
struct RandomSource(u64);

impl RandomSource {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[derive(Debug, Clone)]
enum Call {
    Append(Vec<(u64, Batch)>),
    Trim(u64, u64),
    Remove(u64),
    Put(String, Option<Bytes>),
}

#[derive(Debug, Clone, Default)]
struct StreamModel {
    start: u64,
    end: u64,
    batches: Vec<Batch>,
}

/// What the store should look like.
#[derive(Debug, Clone, Default)]
struct Model {
    streams: BTreeMap<u64, StreamModel>,
    documents: BTreeMap<String, Bytes>,
}

impl Model {
    fn apply(&mut self, call: &Call) {
        match call {
            Call::Append(appends) => {
                for (number, batch) in appends {
                    let base = batch.header.base_offset;
                    let stream = self.streams.entry(*number).or_insert(StreamModel {
                        start: base,
                        end: base,
                        batches: Vec::new(),
                    });
                    stream.end = batch.header.next_offset();
                    stream.batches.push(batch.clone());
                }
            }
            Call::Trim(number, before) => {
                let stream = self.streams.get_mut(number).expect("only existing ones");
                stream.start = stream.start.max((*before).min(stream.end));
                let start = stream.start;
                stream.batches.retain(|b| b.header.next_offset() > start);
            }
            Call::Remove(number) => {
                self.streams.remove(number);
            }
            Call::Put(key, Some(value)) => {
                self.documents.insert(key.clone(), value.clone());
            }
            Call::Put(key, None) => {
                self.documents.remove(key);
            }
        }
    }

    /// A comparable picture.
    fn picture(&self) -> Picture {
        let stream =
            |(number, s): (&u64, &StreamModel)| (*number, (s.start, s.end, concat(&s.batches)));
        Picture {
            streams: self.streams.iter().map(stream).collect(),
            documents: self.documents.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Picture {
    streams: BTreeMap<u64, (u64, u64, Vec<u8>)>,
    documents: BTreeMap<String, Bytes>,
}

async fn picture_of(store: &LocalStore) -> Picture {
    let mut streams = BTreeMap::new();
    for number in 0..STREAMS {
        let id = stream(u128::from(number));
        if let Some(bounds) = store.bounds(id) {
            let bytes = read_all(store, id, bounds.start).await;
            streams.insert(number, (bounds.start, bounds.end, bytes));
        }
    }
    let documents = store.list("").await.unwrap().into_iter();
    Picture {
        streams,
        documents: documents.map(|(k, d)| (k, d.value)).collect(),
    }
}

/// One run of the process, and what it has done so far.
struct Run {
    store: LocalStore,
    /// State at the start of this run.
    base: Model,
    /// State after all calls.
    now: Model,
    history: Vec<(Lsn, Call)>,
    /// The least sync-only progress that must survive a power failure.
    last: Lsn,
}

impl Run {
    fn open(disk: &SimDisk, base: Model) -> Self {
        let store = LocalStore::open(Arc::new(disk.clone()), tiny_options()).unwrap();
        Self {
            store,
            now: base.clone(),
            base,
            history: Vec::new(),
            last: Lsn(0),
        }
    }

    fn done(&mut self, lsn: Lsn, call: Call) {
        self.now.apply(&call);
        self.history.push((lsn, call));
        self.last = lsn;
    }

    fn append(&mut self, random: &mut RandomSource) {
        let mut appends: Vec<(u64, Batch)> = Vec::new();
        let mut ends = BTreeMap::new();
        for _ in 0..=random.below(3) {
            let number = random.below(STREAMS);
            let known = self.now.streams.get(&number).map(|s| s.end);
            let first = known.unwrap_or_else(|| random.below(5));
            let base = *ends.entry(number).or_insert(first);
            let bytes = match random.below(12) {
                0 => random.below(12_000),
                1..4 => random.below(2_000),
                _ => random.below(200),
            };
            let fresh = filled(base, bytes as usize);
            let batch = match appends.last() {
                // What several streams get has the same records.
                Some((_, other)) if random.below(2) == 0 => {
                    Batch::placed(Batch::clone(other), base, 0, None)
                }
                _ => fresh,
            };
            ends.insert(number, batch.header.next_offset());
            appends.push((number, batch));
        }
        let durability = match random.below(3) {
            0 => Durability::Flush,
            _ => Durability::Sync,
        };
        let handed: Vec<Append> = appends
            .iter()
            .map(|(number, batch)| append(stream(u128::from(*number)), batch))
            .collect();
        let lsn = self.store.append(handed, durability).unwrap();
        self.done(lsn, Call::Append(appends));
    }

    fn trim(&mut self, random: &mut RandomSource) {
        let number = random.below(STREAMS);
        let Some(known) = self.now.streams.get(&number) else {
            return;
        };
        let id = stream(u128::from(number));
        if random.below(8) == 0 {
            let lsn = self.store.trim(id, Trim::All).unwrap();
            self.done(lsn, Call::Remove(number));
            return;
        }
        let span = known.end - known.start + 2;
        let before = known.start + random.below(span);
        let changes = before.min(known.end) > known.start;
        let lsn = self.store.trim(id, Trim::Before(before)).unwrap();
        if changes {
            self.done(lsn, Call::Trim(number, before));
        }
    }

    async fn put(&mut self, random: &mut RandomSource) {
        let key = format!("k{}", random.below(KEYS));
        let value = (random.below(4) > 0).then(|| Bytes::from(vec![random.below(256) as u8; 40]));
        if value.is_none() && !self.now.documents.contains_key(&key) {
            return;
        }
        let put = self.store.put_if(&key, Expected::Any, value.clone()).await;
        put.unwrap();
        // The call was made after all others and is durable: its number is not told, but lies behind them.
        self.done(self.last, Call::Put(key, value));
        let durable = self.store.progress().borrow().durable;
        assert!(durable > Lsn(0));
        self.last = durable;
        if let Some(entry) = self.history.last_mut() {
            entry.0 = durable;
        }
    }

    async fn step(&mut self, random: &mut RandomSource) {
        match random.below(40) {
            0..24 => self.append(random),
            24..30 => self.trim(random),
            30..33 => self.put(random).await,
            33..36 => {
                let last = self.last;
                let mut progress = self.store.progress();
                progress.wait_for(|at| at.durable >= last).await.unwrap();
            }
            36 => self.store.flush().unwrap(),
            _ => {
                let number = random.below(STREAMS);
                if let Some(known) = self.now.streams.get(&number) {
                    let id = stream(u128::from(number));
                    let bytes = read_all(&self.store, id, known.start).await;
                    assert!(concat(&known.batches).starts_with(&bytes));
                }
            }
        }
    }

    /// Finds the prefix of the history that `store` shows; at least `acknowledged` must be in it.
    fn matching(&self, found: &Picture, acknowledged: Lsn) -> Model {
        let mut model = self.base.clone();
        let mut calls = self.history.iter().peekable();
        loop {
            let next = calls.peek();
            let is_enough = next.is_none_or(|(lsn, _)| *lsn > acknowledged);
            if is_enough && model.picture() == *found {
                return model;
            }
            let Some((_, call)) = calls.next() else {
                let brief = |p: &Picture| -> Vec<_> {
                    p.streams
                        .iter()
                        .map(|(n, (s, e, bytes))| (*n, *s, *e, bytes.len()))
                        .collect()
                };
                panic!(
                    "no prefix of the history explains what was found: {:?}, all: {:?}, acknowledged {acknowledged:?} of {:?}",
                    brief(found),
                    brief(&self.now.picture()),
                    self.last
                );
            };
            model.apply(call);
        }
    }
}

/// One case: several runs on one disk, each ended by a kill, a power failure or a close.
fn case(runtime: &Runtime, seed: u64, lying: bool) -> storage::local::Stats {
    let mut random = RandomSource(seed);
    let mut disk = SimDisk::new();
    disk.lie_about_syncs(lying);
    let mut model = Model::default();
    let mut stats = storage::local::Stats::default();
    for _ in 0..3 {
        let mut run = Run::open(&disk, model);
        for _ in 0..random.below(80) {
            runtime.block_on(run.step(&mut random));
        }
        let at = *run.store.progress().borrow();
        let acknowledged = match random.below(5) {
            0 => {
                run.store.close().unwrap();
                run.last
            }
            1 => {
                disk.kill();
                at.written
            }
            _ => {
                disk.crash(random.below(u64::MAX));
                at.durable
            }
        };
        let ended = run.store.stats();
        stats.merges += ended.merges;
        stats.flushes += ended.flushes;
        stats.journal_files = stats.journal_files.max(ended.journal_files);
        drop(std::mem::replace(&mut run.store, dummy()));
        disk = disk.next_life();
        let again = LocalStore::open(Arc::new(disk.clone()), tiny_options()).unwrap();
        stats.groups += again.recovery().groups;
        stats.segment_files += again.recovery().orphans;
        let found = runtime.block_on(picture_of(&again));
        model = run.matching(&found, acknowledged);
        drop(again);
    }
    stats
}

/// Takes the place of a store that must be dropped.
fn dummy() -> LocalStore {
    LocalStore::open(Arc::new(SimDisk::new()), tiny_options()).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(2)
        .build()
        .unwrap()
}

#[test]
fn what_survives_is_a_prefix_with_everything_acknowledged() {
    let runtime = runtime();
    // SEED=n repeats one case, CASES=n tries more of them than every run should wait for.
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("SEED");
    let cases = number("CASES").unwrap_or(120);
    if let Some(seed) = first {
        case(&runtime, seed, false);
        return;
    }
    // How much a case replays and merges depends on how the threads fall: where they fall badly, more cases follow.
    let mut seen = Seen::default();
    let mut seed = 0;
    while seed < cases || !seen.is_enough() {
        assert!(seed < cases.saturating_mul(10), "too little: {seen:?}");
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&runtime, seed, false)));
        seen.add(&outcome.unwrap_or_else(|_| panic!("SEED={seed} fails")));
        seed += 1;
    }
}

/// What the cases have exercised; without enough of each they would prove little.
#[derive(Debug, Default)]
struct Seen {
    merges: u64,
    flushes: u64,
    replayed_groups: u64,
    orphans: u64,
}

impl Seen {
    fn add(&mut self, stats: &storage::local::Stats) {
        self.merges += stats.merges;
        self.flushes += stats.flushes;
        self.replayed_groups += stats.groups;
        self.orphans += stats.segment_files;
    }

    fn is_enough(&self) -> bool {
        self.merges > 20 && self.flushes > 200 && self.replayed_groups > 500 && self.orphans > 2
    }
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let runtime = runtime();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..20)
        .filter(|&seed| catch_unwind(AssertUnwindSafe(|| case(&runtime, seed, true))).is_err())
        .count();
    std::panic::set_hook(hook);
    assert!(caught > 10, "only {caught} of 20 cases noticed lost syncs");
}
