//! Ranges of offsets.

use std::collections::BTreeMap;

/// Ranges of offsets that do not touch each other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range.
    pub(crate) fn add(&mut self, mut from: u64, mut upto: u64) {
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
    pub(crate) fn remove(&mut self, from: u64, upto: u64) {
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
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(from, upto)| upto - from).sum()
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(from, _)| *from)
    }

    /// The first from an offset on.
    pub(crate) fn from(&self, from: u64) -> Option<u64> {
        let within = self.within(from, u64::MAX);
        within.map(|(start, _)| start).next()
    }

    /// What lies in a range, as ranges.
    pub(crate) fn within(&self, from: u64, upto: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = self.0.range(..from).next_back();
        let inside = self.0.range(from.min(upto)..upto);
        let clipped = before.into_iter().chain(inside);
        let clipped = clipped.map(move |(start, end)| ((*start).max(from), (*end).min(upto)));
        clipped.filter(|(start, end)| start < end)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.0.iter().map(|(from, upto)| (*from, *upto))
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
