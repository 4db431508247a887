//! What was delivered on a channel and not settled, by delivery tag.

use std::collections::VecDeque;

/// Settled places that are put up with before the list is gone through.
const GAPS_MAX: usize = 1024;

/// Deliveries in the order of their tags. Acknowledging the first, the last, or one in between all take constant time
/// as long as tags are given without gaps, which they are unless a consumer needs no acknowledgements.
#[derive(Debug)]
pub(crate) struct Unacked<T> {
    list: VecDeque<(u64, Option<T>)>,
    held: usize,
}

impl<T> Default for Unacked<T> {
    fn default() -> Self {
        Self {
            list: VecDeque::new(),
            held: 0,
        }
    }
}

impl<T> Unacked<T> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.held
    }

    /// One more; its tag is greater than all before it.
    pub(crate) fn push(&mut self, tag: u64, held: T) {
        debug_assert!(self.list.back().is_none_or(|(last, _)| *last < tag));
        self.list.push_back((tag, Some(held)));
        self.held += 1;
    }

    /// Takes the one of this tag.
    pub(crate) fn take(&mut self, tag: u64) -> Option<T> {
        let place = self.place(tag)?;
        let taken = self.list[place].1.take()?;
        self.held -= 1;
        self.tidy();
        Some(taken)
    }

    /// Takes all up to this tag, which has to be one of them.
    pub(crate) fn take_through(&mut self, tag: u64, mut each: impl FnMut(u64, T)) -> bool {
        let place = self.place(tag);
        let Some(place) = place.filter(|place| self.list[*place].1.is_some()) else {
            return false;
        };
        for (tag, held) in self.list.drain(..=place) {
            if let Some(held) = held {
                self.held -= 1;
                each(tag, held);
            }
        }
        self.tidy();
        true
    }

    /// Takes all.
    pub(crate) fn take_all(&mut self, mut each: impl FnMut(u64, T)) {
        for (tag, held) in std::mem::take(&mut self.list) {
            if let Some(held) = held {
                each(tag, held);
            }
        }
        self.held = 0;
    }

    /// Puts some back that were taken.
    pub(crate) fn put_back(&mut self, taken: Vec<(u64, T)>) {
        self.held += taken.len();
        self.list.retain(|(_, held)| held.is_some());
        self.list
            .extend(taken.into_iter().map(|(tag, held)| (tag, Some(held))));
        self.list
            .make_contiguous()
            .sort_unstable_by_key(|(tag, _)| *tag);
    }

    fn place(&self, tag: u64) -> Option<usize> {
        let first = self.list.front()?.0;
        let guess = usize::try_from(tag.checked_sub(first)?).ok()?;
        if self.list.get(guess).is_some_and(|(found, _)| *found == tag) {
            return Some(guess);
        }
        self.list.binary_search_by_key(&tag, |(tag, _)| *tag).ok()
    }

    /// Drops settled places in front, and elsewhere once they are many.
    fn tidy(&mut self) {
        while self.list.front().is_some_and(|(_, held)| held.is_none()) {
            self.list.pop_front();
        }
        if self.list.len() > 2 * self.held + GAPS_MAX {
            self.list.retain(|(_, held)| held.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(tags: impl IntoIterator<Item = u64>) -> Unacked<u64> {
        let mut unacked = Unacked::default();
        for tag in tags {
            unacked.push(tag, tag * 10);
        }
        unacked
    }

    fn through(unacked: &mut Unacked<u64>, tag: u64) -> Option<Vec<u64>> {
        let mut taken = Vec::new();
        unacked
            .take_through(tag, |tag, _| taken.push(tag))
            .then_some(taken)
    }

    #[test]
    fn each_is_taken_once() {
        let mut unacked = filled(1..=5);
        assert_eq!(unacked.take(3), Some(30));
        assert_eq!(unacked.take(3), None);
        assert_eq!(unacked.take(6), None);
        assert_eq!(unacked.take(0), None);
        assert_eq!(unacked.take(1), Some(10));
        assert_eq!(unacked.len(), 3);
        assert_eq!(through(&mut unacked, 3), None, "it is not there any more");
        assert_eq!(through(&mut unacked, 4), Some(vec![2, 4]));
        assert_eq!(through(&mut unacked, 4), None);
        assert_eq!(unacked.take(5), Some(50));
        assert_eq!(unacked.len(), 0);
    }

    #[test]
    fn tags_may_have_gaps() {
        let mut unacked = filled([2, 5, 9, 10, 40]);
        assert_eq!(unacked.take(9), Some(90));
        assert_eq!(unacked.take(7), None);
        assert_eq!(through(&mut unacked, 10), Some(vec![2, 5, 10]));
        let mut all = Vec::new();
        unacked.take_all(|tag, _| all.push(tag));
        assert_eq!(all, [40]);
        assert_eq!(unacked.len(), 0);
    }

    #[test]
    fn what_was_taken_goes_back_to_its_place() {
        let mut unacked = filled(1..=6);
        let taken = [4, 2].map(|tag| (tag, unacked.take(tag).unwrap()));
        unacked.put_back(taken.to_vec());
        assert_eq!(unacked.len(), 6);
        assert_eq!(through(&mut unacked, 4), Some(vec![1, 2, 3, 4]));
    }

    #[test]
    fn one_that_is_never_settled_keeps_no_others() {
        let mut unacked = filled(1..=10_000);
        for tag in 2..=10_000 {
            unacked.take(tag).unwrap();
        }
        assert!(unacked.list.len() < 2 * GAPS_MAX);
        assert_eq!(unacked.take(1), Some(10));
    }
}
