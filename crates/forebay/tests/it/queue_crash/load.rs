//! Who talks to the broker in each round, and what comes of it.

use std::future::Future;
use std::io;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::churn::{self, Names};
use super::client::Client;
use super::ledger::{QueueBook, Totals, Violation, is_fifo};
use super::{Book, actors, check, sends};
use crate::broker::Broker;
use crate::rounds::{self, Ending, Rounds};

const SENDERS: usize = 3;
const RECEIVERS: usize = 4;
const SETTLERS: usize = 2;
/// What a report shows at most.
const REPORTED_MAX: usize = 10;

/// Those who talk to the broker.
pub(crate) struct Crashes {
    rounds: Rounds,
    book: Book,
    names: Names,
    queues: Queues,
}

/// The queues that stay.
#[derive(Debug, Clone, Default)]
struct Queues {
    mixed: usize,
    purged: usize,
    moved_dead_arn: String,
}

impl rounds::Crashes for Crashes {
    type Violation = Violation;

    fn new(rounds: Rounds) -> Self {
        let book = Book::default();
        let made = rounds.block_on(make_queues(rounds.broker(), &book));
        Self {
            rounds,
            book,
            names: Names::default(),
            queues: made.unwrap(),
        }
    }

    fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    fn round(&mut self) -> Vec<Violation> {
        let load = self.start_load();
        let book = self.book.clone();
        self.rounds
            .run(load, |ends| book.lock().over = ends == Ending::Gone);
        let at = self.rounds.broker().address("sqs").unwrap();
        let mut random = self.rounds.random.fork();
        let checked = check::after_restart(at, &self.book, &self.names, &mut random);
        self.rounds.block_on(checked).unwrap();
        self.violations()
    }

    /// Takes everything out, then checks the figures of a known filling over one more kill.
    fn finish(mut self) -> (String, Vec<Violation>) {
        let at = self.rounds.broker().address("sqs").unwrap();
        let mut random = self.rounds.random.fork();
        let (book, rounds) = (&self.book, &self.rounds);
        rounds.block_on(check::drain(at, book)).unwrap();
        let filled = check::fill(at, book, &mut random);
        rounds.block_on(filled).unwrap();
        let exact = check::figures_are_exact(at, book);
        rounds.block_on(exact).unwrap();
        self.rounds.kill();
        let at = self.rounds.broker().address("sqs").unwrap();
        let exact = check::figures_are_exact(at, &self.book);
        self.rounds.block_on(exact).unwrap();
        let Totals {
            sends,
            repeats,
            receives,
            deletes,
            dead,
            moves,
        } = self.book.lock().totals;
        let summary = format!(
            "{sends} acknowledged sends, {repeats} repeats, {receives} receives, {deletes} deletes, {dead} dead letters, {moves} move tasks, {}",
            self.rounds.recoveries()
        );
        (summary, self.violations())
    }

    fn is_loss(violation: &Violation) -> bool {
        matches!(violation, Violation::Lost(_) | Violation::Back(_))
    }
}

impl Crashes {
    fn violations(&self) -> Vec<Violation> {
        let mut found = std::mem::take(&mut self.book.lock().violations);
        found.truncate(REPORTED_MAX);
        found
    }

    /// Everybody starts; all end when the broker is gone.
    fn start_load(&mut self) -> JoinSet<()> {
        let at = self.rounds.broker().address("sqs").unwrap();
        let mut load = JoinSet::new();
        let runtime = self.rounds.handle().clone();
        let mut spawn = |actor: Actor| {
            load.spawn_on(
                async move {
                    let _ = actor.await;
                },
                &runtime,
            );
        };
        for _ in 0..SENDERS {
            let (book, random) = (self.book.clone(), self.rounds.random.fork());
            spawn(Box::pin(
                async move { sends::send(at, &book, random).await },
            ));
        }
        for _ in 0..RECEIVERS {
            let (book, random) = (self.book.clone(), self.rounds.random.fork());
            spawn(Box::pin(
                async move { actors::receive(at, &book, random).await },
            ));
        }
        for _ in 0..SETTLERS {
            let (book, random) = (self.book.clone(), self.rounds.random.fork());
            spawn(Box::pin(async move {
                actors::settle_late(at, &book, random).await
            }));
        }
        let (book, random, names) = (
            self.book.clone(),
            self.rounds.random.fork(),
            self.names.clone(),
        );
        spawn(Box::pin(async move {
            churn::churn(at, &book, &names, random).await
        }));
        let (book, random, queues) = (
            self.book.clone(),
            self.rounds.random.fork(),
            self.queues.clone(),
        );
        spawn(Box::pin(async move {
            actors::move_back(at, &book, &queues.moved_dead_arn, random).await
        }));
        let (book, random, queue) = (
            self.book.clone(),
            self.rounds.random.fork(),
            self.queues.purged,
        );
        spawn(Box::pin(async move {
            actors::purge(at, &book, queue, random).await
        }));
        let (book, random, queue) = (
            self.book.clone(),
            self.rounds.random.fork(),
            self.queues.mixed,
        );
        let at = self.rounds.broker().address("kafka").unwrap();
        spawn(Box::pin(async move {
            sends::publish(at, &book, queue, random).await
        }));
        load
    }
}

type Actor = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Makes the queues that stay.
async fn make_queues(broker: &Broker, book: &Book) -> io::Result<Queues> {
    let mut client = Client::connect(broker.address("sqs").unwrap()).await?;
    let mut queues = Queues::default();
    for name in ["plain-a", "plain-b", "strict-a.fifo", "strict-b.fifo"] {
        make(&mut client, book, name, None).await?;
    }
    queues.mixed = make(&mut client, book, "mixed", None).await?.0;
    queues.purged = make(&mut client, book, "purged", None).await?.0;
    book.lock().queues[queues.purged].purged = true;
    for (name, most) in [("work", 2), ("retry.fifo", 2), ("moved", 1)] {
        let dead = name.split_once('.').map_or_else(
            || format!("{name}-dead"),
            |(stem, end)| format!("{stem}-dead.{end}"),
        );
        let (dead, arn) = make(&mut client, book, &dead, None).await?;
        let (home, _) = make(&mut client, book, name, Some((&arn, most))).await?;
        let mut ledger = book.lock();
        ledger.queues[dead].for_dead = true;
        ledger.queues[home].dead = Some((dead, most));
        if name == "moved" {
            ledger.queues[home].moves = true;
            queues.moved_dead_arn = arn;
        }
    }
    Ok(queues)
}

/// Makes one queue; returns its number and its resource name.
async fn make(
    client: &mut Client,
    book: &Book,
    name: &str,
    dead: Option<(&str, u64)>,
) -> io::Result<(usize, String)> {
    let fifo = is_fifo(name);
    let mut attributes = json!({});
    if fifo {
        attributes["FifoQueue"] = json!("true");
    }
    if let Some((arn, most)) = dead {
        let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": most });
        attributes["RedrivePolicy"] = json!(policy.to_string());
    }
    let asked = json!({ "QueueName": name, "Attributes": attributes });
    let made = client.call("CreateQueue", &asked).await?;
    assert!(made.is_ok(), "{name} could not be made: {made:?}");
    let asked = json!({ "QueueUrl": name, "AttributeNames": ["QueueArn"] });
    let told: Value = client.call("GetQueueAttributes", &asked).await?.unwrap();
    let arn = told["Attributes"]["QueueArn"].as_str().unwrap().to_owned();
    let number = book.lock().add_queue(QueueBook {
        name: name.to_owned(),
        fifo,
        ..QueueBook::default()
    });
    Ok((number, arn))
}
