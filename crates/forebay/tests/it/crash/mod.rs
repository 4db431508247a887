//! `kill -9` at random moments under load: nothing acknowledged may be lost, moved, changed or doubled.
//!
//! `FOREBAY_CRASH_ROUNDS` sets the number of rounds, `FOREBAY_CRASH_SEED` the seed. With the feature
//! `failpoints`, a broker on a disk that lies about syncs must be found out.

mod actors;
mod check;
mod ledger;
mod load;
mod producer;

use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use actors::create_topic;
use ledger::Ledger;
use load::Crashes;

use crate::rounds;

/// The ledger as all actors share it.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

#[test]
fn killed_brokers_lose_nothing_that_was_acknowledged() {
    let summary = rounds::nothing_goes_wrong::<Crashes>(5);
    println!("crash test: {summary}");
}

/// Proves that the test above can fail.
#[cfg(feature = "failpoints")]
#[test]
fn an_ack_before_sync_is_found() {
    let found = rounds::planted_bug_is_found::<Crashes>();
    println!("crash test: {found}");
}
