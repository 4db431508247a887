//! What clients asked, and what went wrong: counters by action.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::actions::ACTIONS;

/// Counters since the start of the process.
#[derive(Debug)]
pub struct Metrics {
    requests: Vec<AtomicU64>,
    errors: Vec<AtomicU64>,
    /// Requests that named no action there is, or could not be read or trusted.
    refused: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let zeros = || ACTIONS.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            requests: zeros(),
            errors: zeros(),
            refused: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    pub(crate) fn answered(&self, action: &str, failed: bool) {
        let Some(place) = ACTIONS.iter().position(|name| *name == action) else {
            return self.refused();
        };
        self.requests[place].fetch_add(1, Ordering::Relaxed);
        if failed {
            self.errors[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Name of every action, how often it was asked for, and how often it failed.
    pub fn actions(&self) -> impl Iterator<Item = (&'static str, u64, u64)> + '_ {
        let counts = self.requests.iter().zip(&self.errors);
        ACTIONS.iter().zip(counts).map(|(name, (asked, failed))| {
            let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
            (*name, load(asked), load(failed))
        })
    }

    /// Requests that were refused before any action.
    pub fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
