//! `kill -9` at random moments under load on exchanges and queues: what was confirmed comes, everywhere it was routed to;
//! what was acknowledged on a connection that ended in order stays away; order, redelivery, transactions and the history
//! of dead letters outlive the process.
//!
//! `FOREBAY_CRASH_ROUNDS` sets the number of rounds, `FOREBAY_CRASH_SEED` the seed. With the feature `failpoints`, a
//! broker on a disk that lies about syncs must be found out.

mod check;
mod consumer;
mod judge;
mod ledger;
mod load;
mod publisher;
mod relay;
mod topology;

use std::sync::{Arc, Mutex, MutexGuard};

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
fn amqp_crash_rounds_lose_nothing_and_bring_nothing_back() {
    let summary = rounds::nothing_goes_wrong::<Crashes>(3);
    println!("amqp crash test: {summary}");
}

/// Proves that the test above can fail.
#[cfg(feature = "failpoints")]
#[test]
fn amqp_crash_rounds_find_an_ack_before_sync() {
    let found = rounds::planted_bug_is_found::<Crashes>();
    println!("amqp crash test: {found}");
}
