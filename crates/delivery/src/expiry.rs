//! When messages are too old to be leased: by a time of their own, or by the age their queue allows.
//!
//! A message with a time of its own takes an entry in two trees. The queue's age costs nothing per message: those that
//! came close together share a mark, and there are never many marks, because what is older than the age is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Marks per age: a message may expire so much later than it should, measured by the age.
const MARKS: u64 = 256;

/// Messages that came close together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The first of them; they end where the next mark begins.
    pub offset: u64,
    /// When the first came, ms.
    pub first_ms: u64,
    /// When the last came, ms.
    pub last_ms: u64,
}

/// When messages came, coarsely: measured by an age, of which there are never many parts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Marks(VecDeque<Mark>);

/// Marks at most, whatever becomes of their messages.
const MARKS_MAX: usize = 1024;

/// Messages that come no further apart than this may share a mark.
pub(crate) fn span(age: u64) -> u64 {
    age / MARKS
}

impl Marks {
    /// Whether messages that come at `at` are too far from those before to share their mark.
    pub(crate) fn begins(&self, at: u64, age: u64) -> bool {
        let last = self.0.back();
        last.is_none_or(|last| at.max(last.last_ms) - last.first_ms > span(age))
    }

    /// Messages from `offset` on came at `at`.
    pub(crate) fn mark(&mut self, offset: u64, at: u64, age: u64) {
        // Whatever the clock does, later messages do not expire before earlier ones.
        let at = at.max(self.0.back().map_or(0, |last| last.last_ms));
        if !self.begins(at, age)
            && let Some(last) = self.0.back_mut()
        {
            last.last_ms = at;
            return;
        }
        self.insert(self.0.len(), offset, (at, at));
    }

    /// It was remembered that messages from `offset` on came at `at`, the first of those that share a mark.
    pub(crate) fn recall(&mut self, offset: u64, at: u64, span: u64) {
        let place = self.0.partition_point(|mark| mark.offset <= offset);
        let before = place.checked_sub(1).and_then(|place| self.0.get(place));
        let first = at.max(before.map_or(0, |before| before.first_ms));
        // When the last of them came is not known: they live a little longer rather than shorter.
        let last = first.saturating_add(span);
        if before.is_some_and(|before| before.offset == offset) {
            if let Some(same) = self.0.get_mut(place - 1) {
                (same.first_ms, same.last_ms) = (first, last);
            }
        } else {
            self.insert(place, offset, (first, last));
        }
    }

    fn insert(&mut self, place: usize, offset: u64, (first_ms, last_ms): (u64, u64)) {
        let mark = Mark {
            offset,
            first_ms,
            last_ms,
        };
        self.0.insert(place, mark);
        // The oldest two become one.
        if self.0.len() > MARKS_MAX
            && let Some(first) = self.0.pop_front()
            && let Some(second) = self.0.front_mut()
        {
            (second.offset, second.first_ms) = (first.offset, first.first_ms);
        }
    }

    /// Between which times the message at an offset came.
    pub(crate) fn of(&self, offset: u64) -> Option<(u64, u64)> {
        let place = self.0.partition_point(|mark| mark.offset <= offset);
        let mark = self.0.get(place.checked_sub(1)?)?;
        Some((mark.first_ms, mark.last_ms))
    }

    /// Messages from here on are marked.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.front().map(|mark| mark.offset)
    }

    /// Messages before `before` are gone.
    pub(crate) fn drop_before(&mut self, before: u64) {
        while self.0.get(1).is_some_and(|second| second.offset <= before) {
            self.0.pop_front();
        }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Mark> {
        self.0.iter()
    }
}

impl From<Vec<Mark>> for Marks {
    fn from(marks: Vec<Mark>) -> Self {
        Self(marks.into())
    }
}

/// What is known about when messages expire.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// Times of their own, by offset.
    own: BTreeMap<u64, u64>,
    /// The same by time, of those that have not passed since the message was last ready.
    due: BTreeSet<(u64, u64)>,
    /// The same of those that came back: their last moment was for who waited for them.
    back: BTreeSet<(u64, u64)>,
    marks: Marks,
    /// Messages before this are older than the queue allows.
    before: u64,
    /// Messages from here on have just come: they do not expire before waiting receivers were offered them.
    fresh: Option<u64>,
}

impl Expiry {
    /// Messages from `offset` on have just come.
    pub(crate) fn note_fresh(&mut self, offset: u64) {
        self.fresh.get_or_insert(offset);
    }

    /// Those who wait were offered what had just come.
    pub(crate) fn offered(&mut self) {
        self.fresh = None;
    }

    /// Where the messages of the first mark end.
    fn first_mark_end(&self, end: u64) -> u64 {
        self.marks.0.get(1).map_or(end, |next| next.offset)
    }

    fn is_fresh(&self, offset: u64) -> bool {
        self.fresh.is_some_and(|fresh| offset >= fresh)
    }

    /// Whether something has to expire whose time came before `now`. `end` is where the next message will be.
    pub(crate) fn is_behind(&self, now: u64, age: Option<u64>, end: u64) -> bool {
        let is_due = |(at, _): &&(u64, u64)| *at < now;
        let due = self.due.iter().take_while(is_due);
        let mut own = due.chain(self.back.iter().take_while(is_due));
        let front = age.zip(self.marks.0.front());
        let is_over = front.is_some_and(|(age, front)| front.last_ms.saturating_add(age) < now);
        let is_fresh = self
            .fresh
            .is_some_and(|fresh| self.first_mark_end(end) > fresh);
        (is_over && !is_fresh) || own.any(|(_, offset)| !self.is_fresh(*offset))
    }

    /// A message has a time of its own.
    pub(crate) fn note(&mut self, offset: u64, at: u64) {
        self.own.insert(offset, at);
        self.due.insert((at, offset));
    }

    /// Messages from `offset` on came at `at`, and may grow `age` old.
    pub(crate) fn mark(&mut self, offset: u64, at: u64, age: u64) {
        self.marks.mark(offset, at, age);
    }

    /// It was remembered that messages from `offset` on came at `at`.
    pub(crate) fn recall(&mut self, offset: u64, at: u64, span: u64) {
        if offset >= self.before {
            self.marks.recall(offset, at, span);
        }
    }

    /// How many places messages take here.
    pub(crate) fn count(&self) -> usize {
        self.own.len().max(self.due.len() + self.back.len())
    }

    /// When messages came.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Whether messages are measured by the queue's age.
    pub(crate) fn has_marks(&self) -> bool {
        !self.marks.0.is_empty()
    }

    /// When something expires next, ms.
    pub(crate) fn next(&self, age: Option<u64>) -> Option<u64> {
        let own = self.due.first().into_iter().chain(self.back.first());
        let own = own.map(|(at, _)| *at);
        let mark = age.and_then(|age| Some(self.marks.0.front()?.last_ms.saturating_add(age)));
        own.chain(mark).min()
    }

    /// Lets time pass up to, and with `reached` including, `now`. `end` is where the next message will be. Returns
    /// the messages whose own time has come.
    pub(crate) fn pass(
        &mut self,
        (now, reached): (u64, bool),
        age: Option<u64>,
        end: u64,
    ) -> Vec<u64> {
        let is_over = |at: u64| at < now || (reached && at == now);
        while let Some(age) = age
            && let Some(front) = self.marks.0.front()
            && is_over(front.last_ms.saturating_add(age))
        {
            let next = self.first_mark_end(end);
            if self.fresh.is_some_and(|fresh| next > fresh) {
                break;
            }
            self.marks.0.pop_front();
            self.before = self.before.max(next);
        }
        let mut over = Vec::new();
        let due = self.due.iter().copied();
        let due = due.take_while(|(at, _)| is_over(*at));
        let due: Vec<_> = due.filter(|(_, offset)| !self.is_fresh(*offset)).collect();
        for (at, offset) in due {
            self.due.remove(&(at, offset));
            over.push(offset);
        }
        while let Some((at, offset)) = self.back.first().copied().filter(|(at, _)| *at <= now) {
            self.back.remove(&(at, offset));
            over.push(offset);
        }
        over
    }

    /// Messages before this are older than their queue allows.
    pub(crate) fn before(&self) -> u64 {
        self.before
    }

    /// A message is ready again, and may be too old by now.
    pub(crate) fn returned(&mut self, offset: u64) {
        if let Some(at) = self.own.get(&offset) {
            self.due.remove(&(*at, offset));
            self.back.insert((*at, offset));
        } else if offset < self.before {
            self.due.insert((0, offset));
        }
    }

    /// A message is gone.
    pub(crate) fn forget(&mut self, offset: u64) {
        if let Some(at) = self.own.remove(&offset) {
            self.due.remove(&(at, offset));
            self.back.remove(&(at, offset));
        } else if offset < self.before {
            self.due.remove(&(0, offset));
        }
    }

    /// All messages before this are gone, except `kept`.
    pub(crate) fn drop_before(&mut self, before: u64, kept: &[u64]) {
        let gone = self.own.range(..before).map(|(offset, _)| *offset);
        let gone: Vec<u64> = gone.filter(|o| kept.binary_search(o).is_err()).collect();
        for offset in gone {
            self.forget(offset);
        }
        self.due.retain(|(at, offset)| {
            *at > 0 || *offset >= before || kept.binary_search(offset).is_ok()
        });
    }

    /// Messages of a range are gone.
    pub(crate) fn drop_range(&mut self, from: u64, upto: u64) {
        let gone = self.own.range(from..upto).map(|(offset, _)| *offset);
        let gone: Vec<u64> = gone.collect();
        for offset in gone {
            self.forget(offset);
        }
        let in_range = |offset: u64| (from..upto).contains(&offset);
        self.due
            .retain(|(at, offset)| *at > 0 || !in_range(*offset));
    }

    /// What a snapshot keeps.
    pub(crate) fn all(&self) -> (Vec<(u64, u64)>, Vec<Mark>, u64) {
        let own = self.own.iter().map(|(offset, at)| (*offset, *at));
        (
            own.collect(),
            self.marks.iter().copied().collect(),
            self.before,
        )
    }

    /// What a snapshot kept.
    pub(crate) fn restored(own: Vec<(u64, u64)>, marks: Vec<Mark>, before: u64) -> Self {
        let mut expiry = Self {
            marks: marks.into(),
            before,
            ..Self::default()
        };
        for (offset, at) in own {
            expiry.note(offset, at);
        }
        expiry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_messages_die_in_time() {
        let mut expiry = Expiry::default();
        let age = 60_000;
        for offset in 0..100_000 {
            expiry.mark(offset, 1000 + offset, age);
            expiry.pass((1000 + offset, true), Some(age), offset + 1);
            assert!(expiry.marks.0.len() as u64 <= MARKS + 2);
            let now = 1000 + offset;
            // Nothing expires too early, nothing much too late.
            let young = now.saturating_sub(age).saturating_sub(1000);
            assert!(expiry.before() <= young + 1, "{offset}");
            assert!(expiry.before() + age / MARKS + 1 >= young, "{offset}");
        }
    }

    #[test]
    fn the_last_moment_counts_only_when_asked_to() {
        let mut expiry = Expiry::default();
        expiry.note(7, 500);
        expiry.mark(8, 400, 100);
        assert_eq!(expiry.next(Some(100)), Some(500));
        assert_eq!(expiry.pass((500, false), Some(100), 9), [0_u64; 0]);
        assert_eq!(expiry.before(), 0);
        assert_eq!(expiry.pass((500, true), Some(100), 9), [7]);
        assert_eq!(expiry.before(), 9);
        assert_eq!(expiry.next(Some(100)), None);
    }

    #[test]
    fn what_has_just_come_is_offered_before_it_dies() {
        let mut expiry = Expiry::default();
        expiry.note(1, 500);
        expiry.mark(2, 500, 0);
        expiry.note_fresh(3);
        expiry.note(3, 500);
        expiry.mark(3, 501, 0);
        assert!(expiry.is_behind(600, Some(0), 5));
        assert_eq!(expiry.pass((600, true), Some(0), 5), [1]);
        assert_eq!(expiry.before(), 3);
        assert!(!expiry.is_behind(600, Some(0), 5));
        // Given back, it was offered.
        expiry.returned(3);
        expiry.offered();
        assert!(expiry.is_behind(600, Some(0), 5));
        assert_eq!(expiry.pass((600, true), Some(0), 5), [3]);
        assert_eq!(expiry.before(), 5);
        assert!(!expiry.is_behind(600, Some(0), 5));
    }

    #[test]
    fn what_comes_back_too_old_is_found() {
        let mut expiry = Expiry::default();
        expiry.note(1, 500);
        expiry.mark(0, 400, 100);
        assert_eq!(expiry.pass((600, true), Some(100), 4), [1]);
        expiry.returned(1);
        expiry.returned(2);
        expiry.returned(4);
        assert_eq!(expiry.pass((600, true), Some(100), 5), [2, 1]);
        // One that comes back in its last moment has had it.
        expiry.note(7, 700);
        assert_eq!(expiry.pass((700, false), Some(100), 8), [0_u64; 0]);
        expiry.returned(7);
        assert_eq!(expiry.next(Some(100)), Some(700));
        assert_eq!(expiry.pass((699, true), Some(100), 8), [0_u64; 0]);
        assert_eq!(expiry.pass((700, false), Some(100), 8), [7]);
        expiry.returned(2);
        expiry.forget(2);
        expiry.forget(1);
        assert_eq!(expiry.pass((600, true), Some(100), 5), [0_u64; 0]);
    }
}
