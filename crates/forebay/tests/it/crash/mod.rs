//! `kill -9` at random moments under load: nothing acknowledged may be lost, moved, changed or doubled.
//!
//! `FOREBAY_CRASH_ROUNDS` sets the number of rounds, `FOREBAY_CRASH_SEED` the seed. With the feature
//! `failpoints`, a broker on a disk that lies about syncs must be found out.

mod actors;
mod check;
pub(crate) mod dice;
mod ledger;
mod producer;
mod rounds;

use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use actors::create_topic;
use ledger::Ledger;
use rounds::Crashes;

/// The ledger as all actors share it.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

/// A number from the environment; the broker itself reads none of these.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

#[test]
fn killed_brokers_lose_nothing_that_was_acknowledged() {
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
    println!("crash test: seed {seed}, {rounds} rounds, {summary}");
}

/// Proves that the test above can fail: the harness must see what a broker loses that acknowledges too early.
#[cfg(feature = "failpoints")]
#[test]
fn an_ack_before_sync_is_found() {
    let seed = number("FOREBAY_CRASH_SEED", u64::from(std::process::id()));
    let mut crashes = Crashes::new(seed, &["--planted-bug", "ack-before-sync"]);
    // The topics themselves must outlive the first kill, or there is nothing to lose records from.
    crashes.rest(std::time::Duration::from_secs(1));
    let mut all = Vec::new();
    for _ in 0..8 {
        all.extend(crashes.round());
        let lost = all
            .iter()
            .filter(|found| matches!(found, ledger::Violation::LostRecords(_)));
        if let Some(first) = lost.clone().next() {
            let count = lost.count();
            println!("crash test: the planted bug was found, {count} losses like {first:?}");
            return;
        }
    }
    panic!(
        "records were acknowledged before they were durable, and all that was found is {all:#?}"
    );
}
