//! Leases without a deadline: to connected consumers, whose messages come back when they disconnect.
//!
//! That a message is leased so is not in the log: after a restart its consumer is gone, and it is ready, as the log
//! says. What becomes of it is: done, or back with its counts.

use crate::entry::{Entry, State};
use crate::event::QueueEvent;
use crate::lease::Lease;
use crate::message_group::MessageGroupId;
use crate::moment::UNTIMED;
use crate::queue_partition::QueuePartition;

/// How far ahead it is noted that messages may have been leased: so many more are marked redelivered after a crash
/// although they were not.
const WATERMARK_STEP: u64 = 256;

impl QueuePartition {
    /// Leases what was picked; returns what the consumer gets.
    pub fn acquire_untimed(&mut self, picked: &[(u64, MessageGroupId)], now: u64) -> Vec<Lease> {
        self.leases += 1;
        let lease = self.leases;
        picked
            .iter()
            .filter_map(|(offset, group)| {
                self.acquire(*offset, (lease, now, UNTIMED), Some(*group));
                let entry = self.entries.get_mut(offset)?;
                // A restart finds it ready, and does not count a failure nobody saw.
                entry.open = false;
                self.lease(*offset)
            })
            .collect()
    }

    /// The event that has to be in the log before messages up to `last` are handed over: that they are in flight is
    /// not, but after a crash they have to be marked as possibly delivered before.
    pub fn raise_watermark(&self, last: u64) -> Option<QueueEvent> {
        let before = last.saturating_add(WATERMARK_STEP);
        (last >= self.delivered_watermark).then_some(QueueEvent::DeliveredBelow { before })
    }

    /// The event that drops everything that is ready or waits.
    pub fn clear_event(&self) -> QueueEvent {
        let is_kept = |entry: &Entry| matches!(entry.state, State::Leased | State::Removing);
        let kept = self.entries.iter();
        let kept = kept.filter(|(_, entry)| is_kept(entry));
        QueueEvent::Cleared {
            before: self.end,
            kept: kept.map(|(offset, _)| *offset).collect(),
        }
    }

    /// Drops what is below `before`, except what is said to stay.
    pub(crate) fn clear(&mut self, before: u64, kept: &[u64]) {
        // In a restart, what had become ready in time looks as if it had not.
        let touched = self.entries.range(..before).map(|(offset, _)| *offset);
        let gone = touched.filter(|offset| kept.binary_search(offset).is_err());
        let gone: Vec<u64> = gone.collect();
        for offset in gone {
            self.remove(offset, None);
        }
        self.groups.clear_before(before, kept);
        self.unreadable.remove(0, before);
        self.drop_limits(before, kept);
    }
}
