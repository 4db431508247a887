//! Acknowledged messages that a queue keeps for replay: which, and until when. Message by message, as runs of offsets by
//! the time they were acknowledged.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{Reader, Unreadable, put};

/// How finely times are told apart: the shortest time a message is kept is this much shorter than it should be.
const MOMENTS: u64 = 1000;
/// Runs that are remembered; beyond that the oldest are given up early.
const RUNS_MAX: usize = 1 << 20;

/// Acknowledged messages by when they were acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Oldest first.
    moments: VecDeque<Moment>,
    count: u64,
    runs: usize,
    lowest: Option<u64>,
}

#[derive(Debug)]
struct Moment {
    /// When the first of them was acknowledged, ms.
    at: u64,
    runs: Runs,
}

/// Runs of neighbouring offsets by their first.
#[derive(Debug, Default)]
struct Runs(BTreeMap<u64, u64>);

impl Runs {
    /// Returns whether it was not there.
    fn insert(&mut self, offset: u64) -> bool {
        let before = self.0.range(..=offset).next_back();
        let before = before.map(|(start, len)| (*start, *len));
        let (mut start, mut len) = (offset, 1);
        if let Some((first, count)) = before {
            if offset < first + count {
                return false;
            }
            if first + count == offset {
                (start, len) = (first, count + 1);
            }
        }
        if let Some(next) = offset.checked_add(1).and_then(|next| self.0.remove(&next)) {
            len += next;
        }
        self.0.insert(start, len);
        true
    }

    /// Takes out whatever is in a range; returns how many.
    fn remove(&mut self, from: u64, upto: u64) -> u64 {
        let mut gone = 0;
        for (start, end) in self.within(from, upto) {
            // The run it belongs to begins at it or before it.
            let Some((first, len)) = self.0.range(..=start).next_back() else {
                continue;
            };
            let (first, last) = (*first, *first + *len);
            self.0.remove(&first);
            if first < start {
                self.0.insert(first, start - first);
            }
            if end < last {
                self.0.insert(end, last - end);
            }
            gone += end - start;
        }
        gone
    }

    /// First offset and end of every run in a range, as far as it lies in it.
    fn within(&self, from: u64, upto: u64) -> Vec<(u64, u64)> {
        let before = self.0.range(..from).next_back();
        let inside = self.0.range(from.min(upto)..upto);
        let clipped = before.into_iter().chain(inside).map(|(start, len)| {
            let end = start.saturating_add(*len);
            ((*start).max(from), end.min(upto))
        });
        clipped.filter(|(start, end)| start < end).collect()
    }
}

impl Kept {
    /// How many runs of neighbours.
    pub(crate) fn runs(&self) -> usize {
        self.runs
    }

    /// How many messages.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The lowest of them.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.lowest
    }

    /// The lowest of them from an offset on.
    pub(crate) fn first(&self, from: u64) -> Option<u64> {
        let firsts = self.moments.iter().filter_map(|moment| {
            let runs = &moment.runs.0;
            let before = runs.range(..=from).next_back();
            let inside = before.filter(|(start, len)| from < *start + *len);
            let after = runs.range(from..).next().map(|(start, _)| *start);
            inside.map(|_| from).or(after)
        });
        firsts.min()
    }

    /// Those in a range, as first offset and end.
    pub(crate) fn within(&self, from: u64, upto: u64) -> impl Iterator<Item = (u64, u64)> {
        let moments = self.moments.iter();
        moments.flat_map(move |moment| moment.runs.within(from, upto))
    }

    /// A message was acknowledged at `at`, and is kept for `keep_ms`.
    pub(crate) fn add(&mut self, offset: u64, at: u64, keep_ms: u64) {
        let step = (keep_ms / MOMENTS).max(1);
        // A clock that goes back makes nothing last longer.
        let is_new = |last: &Moment| at >= last.at.saturating_add(step);
        if self.moments.back().is_none_or(is_new) {
            self.moments.push_back(Moment {
                at,
                runs: Runs::default(),
            });
        }
        if let Some(last) = self.moments.back_mut() {
            let had = last.runs.0.len();
            self.count += u64::from(last.runs.insert(offset));
            self.lowest = Some(self.lowest.map_or(offset, |lowest| lowest.min(offset)));
            self.runs = self.runs + last.runs.0.len() - had;
        }
        while self.runs > RUNS_MAX && self.moments.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.moments.pop_front() {
            self.runs -= oldest.runs.0.len();
            let gone = oldest.runs.0.values().sum::<u64>();
            self.count = self.count.saturating_sub(gone);
            let first = oldest.runs.0.first_key_value();
            if first.map(|(first, _)| *first) == self.lowest {
                self.lowest = self.first(0);
            }
        }
    }

    /// Gives up what was acknowledged `keep_ms` before `now`, or earlier.
    pub(crate) fn expire(&mut self, now: u64, keep_ms: u64) {
        while self.next_due(keep_ms).is_some_and(|due| due <= now) {
            self.drop_oldest();
        }
    }

    /// When something is given up next, ms.
    pub(crate) fn next_due(&self, keep_ms: u64) -> Option<u64> {
        Some(self.moments.front()?.at.saturating_add(keep_ms))
    }

    /// Gives up what is in a range.
    pub(crate) fn remove(&mut self, from: u64, upto: u64) {
        for moment in &mut self.moments {
            let had = moment.runs.0.len();
            let gone = moment.runs.remove(from, upto);
            self.count = self.count.saturating_sub(gone);
            self.runs = self.runs + moment.runs.0.len() - had;
        }
        self.moments.retain(|moment| !moment.runs.0.is_empty());
        self.lowest = self.first(0);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.moments.len() as u64);
        for moment in &self.moments {
            put(out, moment.at);
            put(out, moment.runs.0.len() as u64);
            let mut end = 0;
            for (start, len) in &moment.runs.0 {
                put(out, start - end);
                put(out, *len);
                end = start + len;
            }
        }
    }

    pub(crate) fn decode(bytes: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let mut kept = Self::default();
        for _ in 0..bytes.count()? {
            let at = bytes.number()?;
            let mut runs = Runs::default();
            let mut end = 0u64;
            for _ in 0..bytes.count()? {
                let start = end.checked_add(bytes.number()?).ok_or(Unreadable)?;
                let len = bytes.number()?;
                end = start
                    .checked_add(len)
                    .filter(|_| len > 0)
                    .ok_or(Unreadable)?;
                runs.0.insert(start, len);
                kept.count = kept.count.checked_add(len).ok_or(Unreadable)?;
            }
            kept.runs += runs.0.len();
            kept.moments.push_back(Moment { at, runs });
        }
        kept.lowest = kept.first(0);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(kept: &Kept) -> Vec<(u64, u64)> {
        let mut all: Vec<_> = kept.within(0, u64::MAX).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn messages_are_kept_one_by_one_and_no_longer_than_said() {
        let mut kept = Kept::default();
        for (offset, at) in [(5, 1000), (7, 1000), (6, 1000), (9, 1500)] {
            kept.add(offset, at, 1000);
        }
        assert_eq!((kept.count(), all(&kept)), (4, vec![(5, 8), (9, 10)]));
        assert_eq!(
            (kept.first(0), kept.first(6), kept.first(8)),
            (Some(5), Some(6), Some(9))
        );
        assert_eq!(kept.next_due(1000), Some(2000));
        kept.expire(1999, 1000);
        assert_eq!(kept.count(), 4);
        kept.expire(2000, 1000);
        assert_eq!((kept.count(), all(&kept)), (1, vec![(9, 10)]));
        kept.expire(2000, 0);
        assert_eq!((kept.count(), kept.first(0)), (0, None));
    }

    #[test]
    fn few_moments_tell_many_times_apart() {
        let mut kept = Kept::default();
        let keep = 10_000;
        for offset in 0..keep * 2 {
            kept.add(offset, offset, keep);
            kept.expire(offset, keep);
            assert!(kept.moments.len() as u64 <= MOMENTS + 1);
            let shortest = keep - keep / MOMENTS;
            let lowest = offset.saturating_sub(shortest);
            assert_eq!(kept.first(0), kept.lowest());
            assert!(
                kept.lowest().is_some_and(|first| first <= lowest),
                "{offset}"
            );
            assert!(kept.first(0) > Some(offset).filter(|_| offset >= keep).map(|o| o - keep));
        }
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest_and_snapshots_keep_it() {
        let mut kept = Kept::default();
        for offset in 0..10 {
            kept.add(offset, 1000 + offset % 2 * 500, 1000);
        }
        kept.remove(3, 6);
        assert_eq!(kept.count(), 7);
        kept.remove(0, 2);
        kept.remove(20, 30);
        let mut bytes = Vec::new();
        kept.encode(&mut bytes);
        let again = Kept::decode(&mut Reader(&bytes)).unwrap();
        assert_eq!((again.count(), again.runs), (kept.count(), kept.runs));
        assert_eq!(all(&again), [(2, 3), (6, 10)]);
        assert_eq!((again.next_due(0), again.lowest()), (Some(1500), Some(2)));
        kept.remove(0, u64::MAX);
        assert_eq!((kept.count(), kept.runs, kept.moments.len()), (0, 0, 0));
    }
}
