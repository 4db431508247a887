//! How large each message is: kept only for queues whose bytes are limited, which keeps their number small as well.

use std::collections::VecDeque;

/// Sizes of the messages from `base` on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sizes {
    base: u64,
    /// Zero: empty, or gone.
    each: VecDeque<u32>,
    total: u64,
    lent: u64,
}

impl Sizes {
    /// A message came behind all others.
    pub(super) fn push(&mut self, offset: u64, bytes: u32) {
        if self.each.is_empty() {
            self.base = offset;
        }
        let gap = offset.saturating_sub(self.base + self.each.len() as u64);
        self.each.extend((0..gap).map(|_| 0));
        self.each.push_back(bytes);
        self.total += u64::from(bytes);
    }

    /// How large a message is.
    pub(super) fn of(&self, offset: u64) -> u32 {
        let place = offset.checked_sub(self.base);
        let place = place.and_then(|place| usize::try_from(place).ok());
        place
            .and_then(|place| self.each.get(place).copied())
            .unwrap_or(0)
    }

    /// A message is lent, or no longer.
    pub(super) fn lend(&mut self, offset: u64, lent: bool) {
        let bytes = u64::from(self.of(offset));
        self.lent = if lent {
            self.lent + bytes
        } else {
            self.lent - bytes
        };
    }

    /// A message is gone, and was not lent any more.
    pub(super) fn forget(&mut self, offset: u64) {
        let bytes = self.of(offset);
        if bytes == 0 {
            return;
        }
        self.total -= u64::from(bytes);
        let place = usize::try_from(offset - self.base).unwrap_or(usize::MAX);
        if let Some(size) = self.each.get_mut(place) {
            *size = 0;
        }
        while self.each.front() == Some(&0) {
            self.each.pop_front();
            self.base += 1;
        }
    }

    /// All messages before this are gone, except `kept`.
    pub(super) fn drop_before(&mut self, before: u64, kept: &[u64]) {
        let end = self.base + self.each.len() as u64;
        for offset in self.base..before.min(end) {
            if kept.binary_search(&offset).is_err() {
                self.forget(offset);
            }
        }
    }

    /// Bytes of the messages that are not lent.
    pub(super) fn ready(&self) -> u64 {
        self.total - self.lent
    }

    /// What a snapshot keeps: where they begin, and their sizes.
    pub(super) fn all(&self) -> (u64, impl Iterator<Item = u32>) {
        (self.base, self.each.iter().copied())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.each.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_what_is_there() {
        let mut sizes = Sizes::default();
        for (offset, bytes) in [(5, 10), (6, 20), (9, 30), (10, 40)] {
            sizes.push(offset, bytes);
        }
        assert_eq!(sizes.ready(), 100);
        sizes.lend(6, true);
        assert_eq!(sizes.ready(), 80);
        sizes.forget(9);
        sizes.forget(9);
        assert_eq!(sizes.ready(), 50);
        sizes.drop_before(10, &[6]);
        assert_eq!((sizes.ready(), sizes.base), (40, 6));
        sizes.lend(6, false);
        sizes.forget(6);
        assert_eq!((sizes.ready(), sizes.base, sizes.len()), (40, 10, 1));
        sizes.forget(3);
        sizes.forget(99);
        sizes.forget(10);
        assert_eq!((sizes.ready(), sizes.len()), (0, 0));
        sizes.push(20, 7);
        assert_eq!((sizes.ready(), sizes.base), (7, 20));
    }
}
