//! What all owners share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use storage::{Log, Supervisor};

use super::completions::Completions;
use super::dead_letter_jobs::DeadLetterJobs;
use super::servers::Servers;
use super::timers::Timers;
use super::turns::Turns;
use crate::metrics::Metrics;
use crate::time::Time;
use crate::{Error, Result};

/// What all owners share.
pub(crate) struct Env {
    pub(super) log: Arc<dyn Log>,
    pub(super) clock: Arc<Time>,
    pub(super) metrics: Arc<Metrics>,
    /// Where messages go that have to leave.
    pub(super) dead_letter_jobs: DeadLetterJobs,
    pub(super) completions: Completions,
    pub(super) timers: Timers,
    pub(super) servers: Servers,
    pub(super) turns: Turns,
    pub(super) supervisor: Supervisor,
    /// A start has restored all queues. Before that nothing is forgotten: a queue that is not restored yet may need it.
    pub(super) are_restored: AtomicBool,
    /// Nothing is taken any more: the broker stops.
    pub(super) stopped: AtomicBool,
}

impl Env {
    /// Errors: `Unavailable` when the broker stops.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(Error::Unavailable);
        }
        Ok(())
    }
}
