//! Rounds of load, kill, restart and check.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Book;
use super::actors::{self, create_topic};
use super::check::check;
use super::dice::Dice;
use super::ledger::{PartitionBook, Violation};
use super::producer::{Producer, Style};
use crate::broker::{Broker, Options, PATIENCE};
use crate::client::Client;

const TOPICS: i32 = 3;
const PARTITIONS: i32 = 4;
const SINGLE_PRODUCERS: usize = 4;
const BULK_PRODUCERS: usize = 2;

/// A broker that is killed again and again, and those who talk to it.
pub(crate) struct Crashes {
    runtime: Runtime,
    broker: Option<Broker>,
    book: Book,
    dice: Dice,
    producers: Vec<Producer>,
    /// Per partition: how far earlier rounds have checked it.
    checked: Vec<u64>,
    recoveries: Vec<Duration>,
}

/// What all rounds came to.
pub(crate) struct Summary {
    records: u64,
    requests: u64,
    slowest: Duration,
    typical: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slowest, typical) = (self.slowest.as_secs_f64(), self.typical.as_secs_f64());
        write!(
            f,
            "{} acknowledged records in {} requests, restart median {typical:.3} s, max {slowest:.3} s",
            self.records, self.requests
        )
    }
}

impl Crashes {
    pub(crate) fn new(seed: u64, args: &[&str]) -> Self {
        let mut dice = Dice::new(seed);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        // Small limits: many flushes, merges and journal files per round.
        let options = Options::new()
            .env("FOREBAY__STORAGE__UNFLUSHED_BYTES", "4MiB")
            .env("FOREBAY__STORAGE__JOURNAL_FILE_BYTES", "8MiB");
        let options = args.iter().fold(options, |options, arg| options.arg(*arg));
        let broker = options.start();
        let book = Book::default();
        runtime.block_on(make_topics(&broker, &book));
        let slots = book.lock().partitions.len();
        let single = (0..SINGLE_PRODUCERS).map(|_| Style::Single);
        let styles = single.chain((0..BULK_PRODUCERS).map(|_| Style::Bulk));
        let producers = styles
            .enumerate()
            .map(|(i, style)| Producer::new(style, dice.fork(), (i % 3..slots).step_by(3)))
            .collect();
        Self {
            runtime,
            broker: Some(broker),
            checked: vec![0; slots],
            book,
            dice,
            producers,
            recoveries: Vec::new(),
        }
    }

    /// What the broker has logged.
    pub(crate) fn log(&self) -> String {
        let log = self.broker.as_ref().map(Broker::log).unwrap_or_default();
        let from = log.len().saturating_sub(20_000);
        log.get(from..).unwrap_or(&log).to_owned()
    }

    /// Lets time pass.
    pub(crate) fn rest(&self, time: Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }

    /// Load, a kill (now and then a peaceful end), a restart, and what the check found.
    pub(crate) fn round(&mut self) -> Vec<Violation> {
        let mut broker = self.broker.take().expect("between rounds there is one");
        let load = self.start_load(&broker);
        // Some crashes come while the last one is still being made up for.
        let millis = if self.dice.once_in(5) {
            self.dice.pick(1..80)
        } else {
            self.dice.pick(150..900)
        };
        self.rest(Duration::from_millis(millis));
        if self.dice.once_in(8) {
            assert!(broker.terminate().success(), "{}", broker.log());
        } else {
            broker.kill();
        }
        self.producers = self.runtime.block_on(end_load(load));
        let broker = self.restart(broker);
        self.check(&broker);
        self.broker = Some(broker);
        std::mem::take(&mut self.book.lock().violations)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "recovery is measured in real time"
    )]
    fn restart(&mut self, broker: Broker) -> Broker {
        let start = Instant::now();
        let broker = broker.restart();
        self.recoveries.push(start.elapsed());
        broker
    }

    fn check(&mut self, broker: &Broker) {
        let at = broker.address("kafka").unwrap();
        let checked = check(at, &self.book, &mut self.checked);
        self.runtime.block_on(checked).unwrap();
    }

    /// Sends what still waits, then checks everything from the first offset.
    pub(crate) fn finish(mut self) -> (Summary, Vec<Violation>) {
        let broker = self.broker.take().expect("between rounds there is one");
        let at = broker.address("kafka").unwrap();
        for producer in &mut self.producers {
            let settled = producer.run(at, &self.book, false);
            self.runtime.block_on(settled).unwrap();
        }
        self.checked.fill(0);
        self.check(&broker);
        let mut ledger = self.book.lock();
        self.recoveries.sort_unstable();
        let summary = Summary {
            records: ledger.acked_records,
            requests: ledger.acked_requests,
            slowest: self.recoveries.last().copied().unwrap_or_default(),
            typical: self.recoveries[self.recoveries.len() / 2],
        };
        (summary, std::mem::take(&mut ledger.violations))
    }

    /// Everybody starts; actors end when the broker is gone, and the producers come back.
    fn start_load(&mut self, broker: &Broker) -> JoinSet<Option<Producer>> {
        let at = broker.address("kafka").unwrap();
        let mut load = JoinSet::new();
        let _guard = self.runtime.enter();
        for mut producer in self.producers.drain(..) {
            let book = self.book.clone();
            load.spawn(async move {
                let _ = producer.run(at, &book, true).await;
                Some(producer)
            });
        }
        for group in ["group-a", "group-b"] {
            let (book, dice) = (self.book.clone(), self.dice.fork());
            load.spawn(async move {
                let _ = actors::commit(at, &book, group, dice).await;
                None
            });
        }
        let (book, dice) = (self.book.clone(), self.dice.fork());
        load.spawn(async move {
            let _ = actors::churn(at, &book, dice).await;
            None
        });
        let (book, dice) = (self.book.clone(), self.dice.fork());
        load.spawn(async move {
            let _ = actors::trim(at, &book, dice).await;
            None
        });
        load
    }
}

async fn make_topics(broker: &Broker, book: &Book) {
    let mut client = Client::connect(broker.address("kafka").unwrap())
        .await
        .unwrap();
    for topic in 0..TOPICS {
        let name = format!("kept-{topic}");
        let made = create_topic(&mut client, &name, PARTITIONS).await.unwrap();
        assert!(made.is_ok(), "{name} could not be made: {made:?}");
        for index in 0..PARTITIONS {
            book.lock().partitions.push(PartitionBook {
                topic: name.clone(),
                index,
                ..PartitionBook::default()
            });
        }
    }
}

async fn end_load(mut load: JoinSet<Option<Producer>>) -> Vec<Producer> {
    let mut producers = Vec::new();
    while let Some(ended) = timeout(PATIENCE, load.join_next())
        .await
        .expect("all end with the broker")
    {
        producers.extend(ended.unwrap());
    }
    producers
}
