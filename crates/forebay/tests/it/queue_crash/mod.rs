//! `kill -9` at random moments under load on queues: what was acknowledged as sent comes, what was acknowledged as
//! deleted stays away, and order, locks, loans, counts and deduplication outlive the process.
//!
//! `FOREBAY_CRASH_ROUNDS` sets the number of rounds, `FOREBAY_CRASH_SEED` the seed. With the feature `failpoints`, a
//! broker on a disk that lies about syncs must be found out.

mod actors;
mod check;
mod churn;
mod client;
mod content;
mod judge;
mod ledger;
mod rounds;
mod sends;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use ledger::Ledger;
use rounds::Crashes;

use crate::crash::number;

/// The ledger as all actors share it.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

/// The time, ms, from the clock the broker reads.
#[expect(
    clippy::disallowed_methods,
    reason = "what the broker does is held against the time it goes by"
)]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[test]
fn queue_crash_rounds_lose_nothing_and_bring_nothing_back() {
    let rounds = number("FOREBAY_CRASH_ROUNDS", 5);
    let seed = number("FOREBAY_CRASH_SEED", u64::from(std::process::id()));
    let mut crashes = Crashes::new(seed, &[]);
    for round in 0..rounds {
        let violations = crashes.round();
        assert!(
            violations.is_empty(),
            "seed {seed}, round {round}: {violations:#?}\nits log:\n{}",
            crashes.log()
        );
    }
    let (summary, violations) = crashes.finish();
    assert!(
        violations.is_empty(),
        "seed {seed}, at the end: {violations:#?}"
    );
    println!("queue crash test: seed {seed}, {rounds} rounds, {summary}");
}

/// Proves that the test above can fail: the rounds must see what a broker loses that acknowledges too early.
#[cfg(feature = "failpoints")]
#[test]
fn queue_crash_rounds_find_an_ack_before_sync() {
    use ledger::Violation;
    let seed = number("FOREBAY_CRASH_SEED", u64::from(std::process::id()));
    let mut crashes = Crashes::new(seed, &["--planted-bug", "ack-before-sync"]);
    // The queues themselves must outlive the first kill, or there is nothing to lose messages from.
    crashes.rest(std::time::Duration::from_secs(1));
    let mut all = Vec::new();
    for _ in 0..8 {
        all.extend(crashes.round());
        let lost = all
            .iter()
            .filter(|found| matches!(found, Violation::Lost(_) | Violation::Back(_)));
        if let Some(first) = lost.clone().next() {
            let count = lost.count();
            println!("queue crash test: the planted bug was found, {count} times like {first:?}");
            return;
        }
    }
    panic!(
        "messages were acknowledged before they were durable, and all that was found is {all:#?}"
    );
}
