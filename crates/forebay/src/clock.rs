//! The one place that asks the operating system for the time and for chance.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::{Clock, Dice};
use uuid::Uuid;

/// The machine's clock and dice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine;

impl Clock for Machine {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the clock comes from"
    )]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Dice for Machine {
    fn fresh_id(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// A stopwatch for measurements: time since now.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the clock comes from"
)]
pub(crate) fn stopwatch() -> storage::local::Stopwatch {
    let start = Instant::now();
    storage::local::Stopwatch::new(move || start.elapsed())
}
