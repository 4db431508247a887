//! How large each message is: kept only for queues whose bytes are limited, which keeps their number small as well.

use std::collections::VecDeque;

/// Offsets without a message that are written down one by one; a longer gap costs nothing.
const GAP_MAX: u64 = 64;

/// Sizes of messages that follow each other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Part {
    base: u64,
    /// Zero: empty, or gone.
    each: VecDeque<u32>,
}

impl Part {
    fn end(&self) -> u64 {
        self.base.saturating_add(self.each.len() as u64)
    }

    fn place(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.base)?).ok()
    }
}

/// Sizes of messages. It takes as much as there are messages, whatever their offsets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sizes {
    parts: VecDeque<Part>,
    /// Sizes that are written down.
    count: usize,
    total: u64,
    leased: u64,
}

impl Sizes {
    /// A message came behind all others.
    pub(crate) fn push(&mut self, offset: u64, bytes: u32) {
        let end = self.parts.back().map(Part::end);
        let gap = end.map(|end| offset.checked_sub(end));
        match (gap, self.parts.back_mut()) {
            // It is there already.
            (Some(None), _) => return,
            (Some(Some(gap)), Some(last)) if gap <= GAP_MAX => {
                let had = last.each.len();
                last.each.extend((0..gap).map(|_| 0));
                last.each.push_back(bytes);
                self.count += last.each.len() - had;
            }
            _ => {
                self.parts.push_back(Part {
                    base: offset,
                    each: [bytes].into(),
                });
                self.count += 1;
            }
        }
        self.total += u64::from(bytes);
    }

    /// The part that would hold an offset.
    fn part(&self, offset: u64) -> Option<usize> {
        self.parts
            .partition_point(|part| part.base <= offset)
            .checked_sub(1)
    }

    /// How large a message is.
    pub(crate) fn of(&self, offset: u64) -> u32 {
        let part = self.part(offset).map(|part| &self.parts[part]);
        part.and_then(|part| part.each.get(part.place(offset)?).copied())
            .unwrap_or(0)
    }

    /// A message is leased, or no longer.
    pub(crate) fn set_leased(&mut self, offset: u64, leased: bool) {
        let bytes = u64::from(self.of(offset));
        self.leased = if leased {
            self.leased.saturating_add(bytes)
        } else {
            self.leased.saturating_sub(bytes)
        };
    }

    /// A message is gone, and was not leased any more.
    pub(crate) fn forget(&mut self, offset: u64) {
        let bytes = self.of(offset);
        let Some(index) = self.part(offset).filter(|_| bytes > 0) else {
            return;
        };
        self.total = self.total.saturating_sub(u64::from(bytes));
        let part = &mut self.parts[index];
        let size = part
            .place(offset)
            .and_then(|place| part.each.get_mut(place));
        if let Some(size) = size {
            *size = 0;
        }
        while part.each.front() == Some(&0) {
            part.each.pop_front();
            part.base += 1;
            self.count -= 1;
        }
        if part.each.is_empty() {
            self.parts.remove(index);
        }
    }

    /// All messages of a range are gone, except `kept`.
    pub(crate) fn drop_range(&mut self, (from, upto): (u64, u64), kept: &[u64]) {
        let touched = self
            .parts
            .iter()
            .flat_map(|part| part.base.max(from)..part.end().min(upto));
        let gone: Vec<u64> = touched.filter(|o| kept.binary_search(o).is_err()).collect();
        for offset in gone {
            self.forget(offset);
        }
    }

    /// Bytes of the messages that are not leased.
    pub(crate) fn ready(&self) -> u64 {
        self.total.saturating_sub(self.leased)
    }

    /// What a snapshot keeps: where messages begin that follow each other, and their sizes.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &VecDeque<u32>)> {
        self.parts.iter().map(|part| (part.base, &part.each))
    }

    /// How many sizes it holds.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How many parts there are.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
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
        sizes.set_leased(6, true);
        assert_eq!(sizes.ready(), 80);
        sizes.forget(9);
        sizes.forget(9);
        assert_eq!(sizes.ready(), 50);
        sizes.drop_range((0, 10), &[6]);
        assert_eq!((sizes.ready(), sizes.parts[0].base), (40, 6));
        sizes.set_leased(6, false);
        sizes.forget(6);
        assert_eq!((sizes.ready(), sizes.parts[0].base), (40, 10));
        sizes.forget(3);
        sizes.forget(99);
        sizes.forget(10);
        assert_eq!((sizes.ready(), sizes.parts()), (0, 0));
        sizes.push(20, 7);
        assert_eq!((sizes.ready(), sizes.parts[0].base), (7, 20));
    }

    #[test]
    fn offsets_far_apart_take_no_room_between_them() {
        let mut sizes = Sizes::default();
        for (offset, bytes) in [(0, 1), (1 << 40, 2), ((1 << 40) + 3, 4), (u64::MAX - 1, 8)] {
            sizes.push(offset, bytes);
        }
        sizes.push(7, 100);
        assert_eq!((sizes.ready(), sizes.parts()), (15, 3));
        assert_eq!(sizes.of((1 << 40) + 3), 4);
        assert_eq!(sizes.of((1 << 40) + 1), 0);
        sizes.drop_range((0, 1 << 41), &[1 << 40]);
        assert_eq!((sizes.ready(), sizes.parts()), (10, 2));
    }
}
