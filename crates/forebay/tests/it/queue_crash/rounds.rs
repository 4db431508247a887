//! Rounds of load, kill, restart and check.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::churn::{self, Names};
use super::client::Client;
use super::ledger::{QueueBook, Totals, Violation, is_fifo};
use super::{Book, actors, check, sends};
use crate::broker::{Broker, Options, PATIENCE};
use crate::crash::dice::Dice;

const SENDERS: usize = 3;
const RECEIVERS: usize = 4;
const SETTLERS: usize = 2;
/// What a report shows at most.
const REPORTED_MAX: usize = 10;

/// A broker that is killed again and again, and those who talk to it.
pub(crate) struct Crashes {
    runtime: Runtime,
    broker: Option<Broker>,
    book: Book,
    names: Names,
    dice: Dice,
    queues: Queues,
    recoveries: Vec<Duration>,
}

/// The queues that stay, where somebody has to know them.
#[derive(Debug, Clone, Default)]
struct Queues {
    mixed: usize,
    purged: usize,
    moved_dead_arn: String,
}

/// What all rounds came to.
pub(crate) struct Summary {
    totals: Totals,
    slowest: Duration,
    typical: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slowest, typical) = (self.slowest.as_secs_f64(), self.typical.as_secs_f64());
        let Totals {
            sends,
            repeats,
            receives,
            deletes,
            dead,
            moves,
        } = self.totals;
        write!(
            f,
            "{sends} acknowledged sends, {repeats} repeats, {receives} receives, {deletes} deletes, {dead} dead letters, {moves} move tasks, restart median {typical:.3} s, max {slowest:.3} s"
        )
    }
}

impl Crashes {
    pub(crate) fn new(seed: u64, args: &[&str]) -> Self {
        let dice = Dice::new(seed);
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
        let queues = runtime.block_on(make_queues(&broker, &book)).unwrap();
        Self {
            runtime,
            broker: Some(broker),
            book,
            names: Names::default(),
            dice,
            queues,
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
        self.book.lock().over = true;
        self.runtime.block_on(end_load(load));
        if self.dice.once_in(4) {
            let millis = self.dice.pick(1..60);
            broker = broker.stumble(Duration::from_millis(millis));
        }
        let broker = self.restart(broker);
        let at = broker.address("sqs").unwrap();
        let checked = check::after_restart(at, &self.book, &self.names, &mut self.dice);
        self.runtime.block_on(checked).unwrap();
        self.broker = Some(broker);
        self.violations()
    }

    fn violations(&self) -> Vec<Violation> {
        let mut found = std::mem::take(&mut self.book.lock().violations);
        found.truncate(REPORTED_MAX);
        found
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

    /// Takes everything out, then checks the figures of a known filling over one more kill.
    pub(crate) fn finish(mut self) -> (Summary, Vec<Violation>) {
        let mut broker = self.broker.take().expect("between rounds there is one");
        let at = broker.address("sqs").unwrap();
        let (book, runtime) = (&self.book, &self.runtime);
        runtime.block_on(check::drain(at, book)).unwrap();
        runtime
            .block_on(check::fill(at, book, &mut self.dice))
            .unwrap();
        runtime
            .block_on(check::figures_are_exact(at, book))
            .unwrap();
        broker.kill();
        let broker = self.restart(broker);
        let at = broker.address("sqs").unwrap();
        let exact = check::figures_are_exact(at, &self.book);
        self.runtime.block_on(exact).unwrap();
        self.recoveries.sort_unstable();
        let summary = Summary {
            totals: self.book.lock().totals,
            slowest: self.recoveries.last().copied().unwrap_or_default(),
            typical: self.recoveries[self.recoveries.len() / 2],
        };
        let violations = self.violations();
        (summary, violations)
    }

    /// Everybody starts; all end when the broker is gone.
    fn start_load(&mut self, broker: &Broker) -> JoinSet<()> {
        let at = broker.address("sqs").unwrap();
        let mut load = JoinSet::new();
        let runtime = self.runtime.handle().clone();
        let mut spawn = |actor: Actor| {
            load.spawn_on(
                async move {
                    let _ = actor.await;
                },
                &runtime,
            );
        };
        for _ in 0..SENDERS {
            let (book, dice) = (self.book.clone(), self.dice.fork());
            spawn(Box::pin(async move { sends::send(at, &book, dice).await }));
        }
        for _ in 0..RECEIVERS {
            let (book, dice) = (self.book.clone(), self.dice.fork());
            spawn(Box::pin(
                async move { actors::receive(at, &book, dice).await },
            ));
        }
        for _ in 0..SETTLERS {
            let (book, dice) = (self.book.clone(), self.dice.fork());
            spawn(Box::pin(async move {
                actors::settle_late(at, &book, dice).await
            }));
        }
        let (book, dice, names) = (self.book.clone(), self.dice.fork(), self.names.clone());
        spawn(Box::pin(async move {
            churn::churn(at, &book, &names, dice).await
        }));
        let (book, dice, queues) = (self.book.clone(), self.dice.fork(), self.queues.clone());
        spawn(Box::pin(async move {
            actors::move_back(at, &book, &queues.moved_dead_arn, dice).await
        }));
        let (book, dice, queue) = (self.book.clone(), self.dice.fork(), self.queues.purged);
        spawn(Box::pin(async move {
            actors::purge(at, &book, queue, dice).await
        }));
        let (book, dice, queue) = (self.book.clone(), self.dice.fork(), self.queues.mixed);
        let at = broker.address("kafka").unwrap();
        spawn(Box::pin(async move {
            sends::publish(at, &book, queue, dice).await
        }));
        load
    }
}

type Actor = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

async fn end_load(mut load: JoinSet<()>) {
    while let Some(ended) = timeout(PATIENCE, load.join_next())
        .await
        .expect("all end with the broker")
    {
        ended.unwrap();
    }
}

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
