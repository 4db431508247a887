//! Who talks to the broker in each round, and what comes of it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapin::Connection;
use tokio::task::JoinSet;

use super::ledger::{Totals, Violation};
use super::topology::{self, Names};
use super::{Book, check, consumer, publisher};
use crate::amqp::connect_as;
use crate::rounds::{self, Ending, Rounds};

const PUBLISHERS: usize = 3;
const TRANSACTORS: usize = 2;
const CONSUMERS: usize = 5;
/// How often actors look whether the broker is gone, and how long they may take to see it by themselves.
const LOOK: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_millis(500);
/// What a report shows at most.
const REPORTED_MAX: usize = 10;

/// Those who talk to the broker.
pub(crate) struct Crashes {
    rounds: Rounds,
    book: Book,
    names: Arc<Mutex<Names>>,
}

async fn connect(at: SocketAddr) -> Connection {
    connect_as(at, "guest", "guest").await.unwrap()
}

impl rounds::Crashes for Crashes {
    type Violation = Violation;

    fn new(rounds: Rounds) -> Self {
        let at = rounds.broker().address("amqp").unwrap();
        let made = async { topology::make(&connect(at).await).await };
        rounds.block_on(made).unwrap();
        Self {
            rounds,
            book: Book::default(),
            names: Arc::default(),
        }
    }

    fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    fn round(&mut self) -> Vec<Violation> {
        let load = self.start_load();
        let book = self.book.clone();
        self.rounds.run(load, |ending| match ending {
            Ending::Closes => book.lock().closes(),
            Ending::Gone => book.lock().over = true,
        });
        self.book.lock().calm();
        let at = self.rounds.broker().address("amqp").unwrap();
        let names = Arc::clone(&self.names);
        let checked = async {
            let connection = connect(at).await;
            let mut known = names.lock().unwrap().clone();
            let checked = topology::check(&connection, &self.book, &mut known).await;
            *names.lock().unwrap() = known;
            checked
        };
        self.rounds.block_on(checked).unwrap();
        self.violations()
    }

    /// Takes everything out; then, after one more kill, nothing of it may be there again.
    fn finish(mut self) -> (String, Vec<Violation>) {
        let at = self.rounds.broker().address("amqp").unwrap();
        self.rounds.block_on(check::drain(at, &self.book)).unwrap();
        self.rounds.kill();
        self.book.lock().calm();
        let at = self.rounds.broker().address("amqp").unwrap();
        let swept = self.rounds.block_on(check::sweep(at, &self.book));
        if swept.unwrap() > 0 {
            self.book.lock().back("something was left".to_owned());
        }
        check::all_was_seen(&mut self.book.lock());
        let Totals {
            confirmed,
            committed,
            rolled_back,
            returned,
            deliveries,
            redelivered,
            dead,
            closed,
            cut,
        } = self.book.lock().totals;
        let summary = format!(
            "{confirmed} confirmed publishes, {committed} commits, {rolled_back} rollbacks, {returned} returns, {deliveries} deliveries ({redelivered} again), {dead} dead letters, {closed} connections closed and {cut} cut, {}",
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
        let at = self.rounds.broker().address("amqp").unwrap();
        let mut load = JoinSet::new();
        let runtime = self.rounds.handle().clone();
        let book = self.book.clone();
        let mut spawn = |actor: Actor| {
            load.spawn_on(act(actor, book.clone()), &runtime);
        };
        for _ in 0..PUBLISHERS {
            let (book, random) = (self.book.clone(), self.rounds.random.fork());
            spawn(Box::pin(async move {
                publisher::publish(at, &book, random).await
            }));
        }
        for _ in 0..TRANSACTORS {
            let (book, random) = (self.book.clone(), self.rounds.random.fork());
            spawn(Box::pin(async move {
                publisher::transact(at, &book, random).await
            }));
        }
        for _ in 0..CONSUMERS {
            let (book, random) = (self.book.clone(), self.rounds.random.fork());
            spawn(Box::pin(async move {
                consumer::consume_all(at, &book, random).await
            }));
        }
        let (book, random, names) = (
            self.book.clone(),
            self.rounds.random.fork(),
            Arc::clone(&self.names),
        );
        spawn(Box::pin(async move {
            let connection = connect_as(at, "guest", "guest").await?;
            topology::churn(&connection, (&book, &names), random).await
        }));
        let book = self.book.clone();
        spawn(Box::pin(async move {
            let connection = connect_as(at, "guest", "guest").await?;
            topology::pass_by(&connection, &book).await
        }));
        load
    }
}

/// What breaks with the broker is no fault: whether it was one shows in the ledger. Some calls of the client never
/// return when the broker is killed in the middle of them.
async fn act(actor: Actor, book: Book) {
    let over = async {
        while !book.lock().over {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(SETTLE).await;
    };
    tokio::select! {
        _ = actor => {}
        () = over => {}
    }
}

type Actor = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;
