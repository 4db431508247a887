//! `kill -9` at random moments under load on queues: what was acknowledged as sent comes, what was acknowledged as
//! deleted stays away, and order, locks, leases, counts and deduplication outlive the process.
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
mod load;
mod sends;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

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
    let summary = rounds::nothing_goes_wrong::<Crashes>(5);
    println!("queue crash test: {summary}");
}

/// Proves that the test above can fail.
#[cfg(feature = "failpoints")]
#[test]
fn queue_crash_rounds_find_an_ack_before_sync() {
    let found = rounds::planted_bug_is_found::<Crashes>();
    println!("queue crash test: {found}");
}
