//! Moments, and when something ends that begins at one.

/// When a lease ends that has no deadline. Nothing else is ever due then.
pub(crate) const UNTIMED: u64 = u64::MAX;

/// When something ends that lasts so long from now on, however long a sender says.
pub fn after(now: u64, lasts_ms: u64) -> u64 {
    now.saturating_add(lasts_ms).min(UNTIMED - 1)
}

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// In broker time, ms.
    pub now: u64,
    /// On the wall clock, ms.
    pub wall: u64,
}

impl Moment {
    /// One at which both clocks show the same.
    pub fn both(ms: u64) -> Self {
        Self { now: ms, wall: ms }
    }

    /// In broker time, when a record came that was stamped like this by the wall clock as it stands; not later than
    /// now.
    pub fn of_stamp(self, stamp: u64) -> u64 {
        let ahead = self
            .wall
            .cast_signed()
            .saturating_sub(self.now.cast_signed());
        let at = stamp.saturating_add_signed(ahead.saturating_neg());
        at.min(self.now)
    }
}
