//! What one connection did.

use std::time::Duration;

use crate::histogram::Histogram;

/// Counts and times of a connection, or of all of a row.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages sent.
    pub(super) published: u64,
    /// Of them, those the broker did not take.
    pub(super) refused: u64,
    /// Messages that came.
    pub(super) received: u64,
    /// From sending a message to its confirm.
    pub(super) confirm: Histogram,
    /// From sending a message to having it.
    pub(super) end_to_end: Histogram,
    /// When the last confirm or message came.
    pub(super) end: Duration,
}

impl Tally {
    /// A message is safe.
    pub(super) fn confirmed(&mut self, now: Duration, sent: Duration) {
        self.confirm.record(now.saturating_sub(sent));
        self.end = now;
    }

    /// A message came; `sent` is when, if that is of interest.
    pub(super) fn received(&mut self, now: Duration, sent: Option<Duration>) {
        self.received += 1;
        self.end = now;
        if let Some(sent) = sent {
            self.end_to_end.record(now.saturating_sub(sent));
        }
    }

    /// Both together.
    pub(super) fn merge(mut self, other: &Self) -> Self {
        self.published += other.published;
        self.refused += other.refused;
        self.received += other.received;
        self.confirm.merge(&other.confirm);
        self.end_to_end.merge(&other.end_to_end);
        self.end = self.end.max(other.end);
        self
    }
}
