//! Who talks to the broker in each round, and what comes of it.

use clients::kafka::Client;
use tokio::task::JoinSet;

use super::Book;
use super::actors::{self, create_topic};
use super::check::check;
use super::ledger::{PartitionBook, Violation};
use super::producer::{Producer, Style};
use crate::broker::Broker;
use crate::rounds::{self, Rounds};

const TOPICS: i32 = 3;
const PARTITIONS: i32 = 4;
const SINGLE_PRODUCERS: usize = 4;
const BULK_PRODUCERS: usize = 2;

/// Those who talk to the broker.
pub(crate) struct Crashes {
    rounds: Rounds,
    book: Book,
    producers: Vec<Producer>,
    /// Per partition: how far earlier rounds have checked it.
    checked: Vec<u64>,
}

impl rounds::Crashes for Crashes {
    type Violation = Violation;

    fn new(mut rounds: Rounds) -> Self {
        let book = Book::default();
        rounds.block_on(make_topics(rounds.broker(), &book));
        let slots = book.lock().partitions.len();
        let single = (0..SINGLE_PRODUCERS).map(|_| Style::Single);
        let styles = single.chain((0..BULK_PRODUCERS).map(|_| Style::Bulk));
        let producers = styles
            .enumerate()
            .map(|(i, style)| Producer::new(style, rounds.random.fork(), (i % 3..slots).step_by(3)))
            .collect();
        Self {
            rounds,
            checked: vec![0; slots],
            book,
            producers,
        }
    }

    fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    fn round(&mut self) -> Vec<Violation> {
        let load = self.start_load();
        let ended = self.rounds.run(load, |_| {});
        self.producers = ended.into_iter().flatten().collect();
        self.check();
        std::mem::take(&mut self.book.lock().violations)
    }

    /// Sends what still waits, then checks everything from the first offset.
    fn finish(mut self) -> (String, Vec<Violation>) {
        let at = self.rounds.broker().address("kafka").unwrap();
        for producer in &mut self.producers {
            let settled = producer.run(at, &self.book, false);
            self.rounds.block_on(settled).unwrap();
        }
        self.checked.fill(0);
        self.check();
        let mut ledger = self.book.lock();
        let summary = format!(
            "{} acknowledged records in {} requests, {}",
            ledger.acked_records,
            ledger.acked_requests,
            self.rounds.recoveries()
        );
        (summary, std::mem::take(&mut ledger.violations))
    }

    fn is_loss(violation: &Violation) -> bool {
        matches!(violation, Violation::LostRecords(_))
    }
}

impl Crashes {
    fn check(&mut self) {
        let at = self.rounds.broker().address("kafka").unwrap();
        let checked = check(at, &self.book, &mut self.checked);
        self.rounds.block_on(checked).unwrap();
    }

    /// Everybody starts; actors end when the broker is gone, and the producers come back.
    fn start_load(&mut self) -> JoinSet<Option<Producer>> {
        let at = self.rounds.broker().address("kafka").unwrap();
        let mut load = JoinSet::new();
        let handle = self.rounds.handle().clone();
        let _guard = handle.enter();
        for mut producer in self.producers.drain(..) {
            let book = self.book.clone();
            load.spawn(async move {
                let _ = producer.run(at, &book, true).await;
                Some(producer)
            });
        }
        for group in ["group-a", "group-b"] {
            let (book, random) = (self.book.clone(), self.rounds.random.fork());
            load.spawn(async move {
                let _ = actors::commit(at, &book, group, random).await;
                None
            });
        }
        let (book, random) = (self.book.clone(), self.rounds.random.fork());
        load.spawn(async move {
            let _ = actors::churn(at, &book, random).await;
            None
        });
        let (book, random) = (self.book.clone(), self.rounds.random.fork());
        load.spawn(async move {
            let _ = actors::trim(at, &book, random).await;
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
