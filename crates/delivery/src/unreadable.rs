//! Messages whose records cannot be read: they stay, and are not leased. Nothing is lost as long as the log has them,
//! and the messages behind them are not held up.

use crate::event::QueueEvent;
use crate::queue_partition::QueuePartition;

impl QueuePartition {
    /// The event that takes messages out of delivery which cannot be read; `None` when there are none in the range.
    pub fn unreadable_event(&self, from: u64, upto: u64) -> Option<QueueEvent> {
        let upto = upto.min(self.end);
        let touched = self.entries.range(from..upto.max(from)).next().is_some();
        let is_there = touched || self.groups.ready_in(from, upto).next().is_some();
        is_there.then_some(QueueEvent::Unreadable { from, upto })
    }

    /// Takes the messages of a range out of delivery.
    pub(crate) fn set_unreadable(&mut self, from: u64, upto: u64) {
        if from >= upto {
            return;
        }
        let touched = self.entries.range(from..upto).map(|(offset, _)| *offset);
        let touched: Vec<u64> = touched.collect();
        for offset in touched {
            self.remove(offset, None);
            self.unreadable.add(offset, offset + 1);
        }
        let untouched: Vec<(u64, u64)> = self.groups.ready_in(from, upto).collect();
        for (start, end) in untouched {
            self.unreadable.add(start, end);
        }
        self.groups.drop_range(from, upto);
        self.drop_limits_of(from, upto);
    }

    /// Messages that cannot be read.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.count()
    }
}
