//! Rounds of load, kill and restart, whatever the load is: `crash`, `queue_crash` and `amqp_crash` bring their own actors,
//! ledger and checks.

use std::fmt::{self, Debug, Display};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::broker::{Broker, Options, PATIENCE};
use crate::random::RandomSource;

/// What of the broker's log is shown at most, bytes.
const LOG_BYTES_MAX: usize = 20_000;
/// Rounds within which a planted bug has to be found.
#[cfg(feature = "failpoints")]
const PLANTED_ROUNDS_MAX: u64 = 8;

/// A broker that is killed again and again.
pub(crate) struct Rounds {
    runtime: Runtime,
    broker: Option<Broker>,
    pub(crate) random: RandomSource,
    recoveries: Vec<Duration>,
}

/// What the actors and their ledger have to know of the end of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The broker was asked to stop: it closes the connections one after the other, and what one held may come to another
    /// one before its own client knows.
    Closes,
    /// The broker is gone.
    Gone,
}

/// How long restarts took.
pub(crate) struct Recoveries(Vec<Duration>);

impl Display for Recoveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |place: usize| self.0.get(place).map_or(0.0, Duration::as_secs_f64);
        let (typical, slowest) = (seconds(self.0.len() / 2), seconds(self.0.len().max(1) - 1));
        write!(f, "restart median {typical:.3} s, max {slowest:.3} s")
    }
}

impl Rounds {
    fn new(seed: u64, args: &[&str]) -> Self {
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
        Self {
            runtime,
            broker: Some(options.start()),
            random: RandomSource::new(seed),
            recoveries: Vec::new(),
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("between rounds there is one")
    }

    /// Where tasks are to be spawned.
    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// What the broker has logged.
    fn log(&self) -> String {
        let log = self.broker().log();
        let from = log.len().saturating_sub(LOG_BYTES_MAX);
        log.get(from..).unwrap_or(&log).to_owned()
    }

    fn rest(&self, time: Duration) {
        self.block_on(async { tokio::time::sleep(time).await });
    }

    /// Lets a load run for a while, then kills the broker (now and then it is a peaceful end), awaits the load, and
    /// starts the broker again. `ends` is called when the broker is about to close its connections, and when it is gone.
    /// Returns what the load came to.
    pub(crate) fn run<T: 'static>(&mut self, load: JoinSet<T>, ends: impl Fn(Ending)) -> Vec<T> {
        // Some crashes come while the last one is still being made up for.
        let millis = if self.random.once_in(5) {
            self.random.pick(1..80)
        } else {
            self.random.pick(150..900)
        };
        self.rest(Duration::from_millis(millis));
        let mut broker = self.broker.take().expect("between rounds there is one");
        if self.random.once_in(8) {
            ends(Ending::Closes);
            assert!(broker.terminate().success(), "{}", broker.log());
        } else {
            broker.kill();
        }
        ends(Ending::Gone);
        let ended = self.block_on(end_load(load));
        if self.random.once_in(4) {
            let millis = self.random.pick(1..60);
            broker = broker.stumble(Duration::from_millis(millis));
        }
        self.start_again(broker);
        ended
    }

    /// Kills the broker while nobody talks to it, and starts it again.
    pub(crate) fn kill(&mut self) {
        let mut broker = self.broker.take().expect("between rounds there is one");
        broker.kill();
        self.start_again(broker);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "recovery is measured in real time"
    )]
    fn start_again(&mut self, broker: Broker) {
        let start = Instant::now();
        self.broker = Some(broker.restart());
        self.recoveries.push(start.elapsed());
    }

    /// How long restarts took.
    pub(crate) fn recoveries(&self) -> Recoveries {
        let mut all = self.recoveries.clone();
        all.sort_unstable();
        Recoveries(all)
    }
}

async fn end_load<T: 'static>(mut load: JoinSet<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(ended) = timeout(PATIENCE, load.join_next())
        .await
        .expect("all end with the broker")
    {
        all.push(ended.unwrap());
    }
    all
}

/// Those who talk to the broker, and what they hold it to.
pub(crate) trait Crashes: Sized {
    /// Something the broker did that it must not.
    type Violation: Debug;

    /// Makes what stays over all rounds.
    fn new(rounds: Rounds) -> Self;

    fn rounds(&self) -> &Rounds;

    /// Load, a kill, a restart, and what the check found.
    fn round(&mut self) -> Vec<Self::Violation>;

    /// The last checks; what all rounds came to in a few words, and what was found.
    fn finish(self) -> (String, Vec<Self::Violation>);

    /// Whether this is what a broker does that acknowledges too early.
    #[cfg_attr(
        not(feature = "failpoints"),
        expect(dead_code, reason = "asked where there is a bug to be found")
    )]
    fn is_loss(violation: &Self::Violation) -> bool;
}

/// A number from the environment; the broker itself reads none of these.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

fn seed() -> u64 {
    number("FOREBAY_CRASH_SEED", u64::from(std::process::id()))
}

/// Rounds in which nothing may go wrong: as many as the environment says, or else `rounds`. Returns what they came to.
pub(crate) fn nothing_goes_wrong<C: Crashes>(rounds: u64) -> String {
    let rounds = number("FOREBAY_CRASH_ROUNDS", rounds);
    let seed = seed();
    let mut crashes = C::new(Rounds::new(seed, &[]));
    for round in 0..rounds {
        let violations = crashes.round();
        assert!(
            violations.is_empty(),
            "seed {seed}, round {round}: {violations:#?}\nits log:\n{}",
            crashes.rounds().log()
        );
    }
    let (summary, violations) = crashes.finish();
    assert!(
        violations.is_empty(),
        "seed {seed}, at the end: {violations:#?}"
    );
    format!("seed {seed}, {rounds} rounds, {summary}")
}

/// Proves that rounds can fail: they must see what a broker loses that acknowledges too early. Returns how they did.
#[cfg(feature = "failpoints")]
pub(crate) fn planted_bug_is_found<C: Crashes>() -> String {
    let rounds = Rounds::new(seed(), &["--planted-bug", "ack-before-sync"]);
    let mut crashes = C::new(rounds);
    // What stays must outlive the first kill, or there is nothing to lose anything from.
    crashes.rounds().rest(Duration::from_secs(1));
    let mut all = Vec::new();
    for _ in 0..PLANTED_ROUNDS_MAX {
        all.extend(crashes.round());
        let mut lost = all.iter().filter(|found| C::is_loss(found));
        if let Some(first) = lost.next() {
            let count = lost.count() + 1;
            return format!("the planted bug was found, {count} times like {first:?}");
        }
    }
    panic!("things were acknowledged before they were durable, and all that was found is {all:#?}");
}
