//! Messages whose records cannot be read: they stay, and are not leased. Nothing is lost as long as the log has them,
//! and the messages behind them are not held up.

use std::collections::BTreeMap;

use super::{QueueEvent, QueuePartition};

/// Ranges of offsets that do not touch each other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range.
    pub(super) fn add(&mut self, mut from: u64, mut upto: u64) {
        if from >= upto {
            return;
        }
        let touched = self.0.range(..=upto).rev();
        let touched = touched.take_while(|(_, end)| **end >= from);
        let touched: Vec<(u64, u64)> = touched.map(|(start, end)| (*start, *end)).collect();
        for (start, end) in touched {
            self.0.remove(&start);
            from = from.min(start);
            upto = upto.max(end);
        }
        self.0.insert(from, upto);
    }

    /// Takes a range out.
    pub(super) fn remove(&mut self, from: u64, upto: u64) {
        let touched = self.0.range(..upto).rev();
        let touched = touched.take_while(|(_, end)| **end > from);
        let touched: Vec<(u64, u64)> = touched.map(|(start, end)| (*start, *end)).collect();
        for (start, end) in touched {
            self.0.remove(&start);
            self.add(start, from.min(end));
            self.add(upto.max(start), end);
        }
    }

    /// How many offsets.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(from, upto)| upto - from).sum()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(from, _)| *from)
    }

    /// The first from an offset on.
    pub(super) fn from(&self, from: u64) -> Option<u64> {
        let within = self.within(from, u64::MAX);
        within.map(|(start, _)| start).next()
    }

    /// What lies in a range, as ranges.
    pub(super) fn within(&self, from: u64, upto: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = self.0.range(..from).next_back();
        let inside = self.0.range(from.min(upto)..upto);
        let clipped = before.into_iter().chain(inside);
        let clipped = clipped.map(move |(start, end)| ((*start).max(from), (*end).min(upto)));
        clipped.filter(|(start, end)| start < end)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.0.iter().map(|(from, upto)| (*from, *upto))
    }
}

impl QueuePartition {
    /// The event that takes messages out of delivery which cannot be read; `None` when there are none in the range.
    pub(crate) fn unreadable_event(&self, from: u64, upto: u64) -> Option<QueueEvent> {
        let upto = upto.min(self.end);
        let touched = self.entries.range(from..upto.max(from)).next().is_some();
        let is_there = touched || self.groups.ready_in(from, upto).next().is_some();
        is_there.then_some(QueueEvent::Unreadable { from, upto })
    }

    /// Takes the messages of a range out of delivery.
    pub(super) fn set_unreadable(&mut self, from: u64, upto: u64) {
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
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ranges: &Ranges, expected: &[(u64, u64)]) {
        assert_eq!(ranges.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn ranges_that_touch_become_one_and_are_cut_again() {
        let mut ranges = Ranges::default();
        ranges.add(10, 20);
        ranges.add(30, 40);
        ranges.add(5, 5);
        check(&ranges, &[(10, 20), (30, 40)]);
        ranges.add(20, 25);
        check(&ranges, &[(10, 25), (30, 40)]);
        ranges.add(24, 35);
        check(&ranges, &[(10, 40)]);
        ranges.remove(15, 18);
        check(&ranges, &[(10, 15), (18, 40)]);
        ranges.remove(0, 12);
        check(&ranges, &[(12, 15), (18, 40)]);
        ranges.remove(14, 50);
        check(&ranges, &[(12, 14)]);
        assert_eq!((ranges.count(), ranges.first()), (2, Some(12)));
        ranges.add(0, u64::MAX);
        check(&ranges, &[(0, u64::MAX)]);
    }
}
