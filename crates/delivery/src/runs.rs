//! A list of rising offsets, kept as runs: neighbours cost nothing, a gap costs a few bytes.
//!
//! This is why a backlog costs no memory: ten million messages nobody has touched are one run. The first and the
//! last run lie open, for taking and for adding; those between are encoded as gap and length.

use std::collections::VecDeque;

/// A run of neighbouring offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Run {
    start: u64,
    len: u64,
}

impl Run {
    fn end(self) -> u64 {
        self.start + self.len
    }
}

/// Room for gaps that is kept when there are none.
const SPARE_BYTES: usize = 64;

/// Rising offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    first: Run,
    /// What lies between: distance from the end of the run before, and length.
    #[expect(
        clippy::box_collection,
        reason = "there may be very many groups, and few have gaps"
    )]
    middle: Option<Box<VecDeque<u8>>>,
    /// End of the last run in `middle`, or of `first` when there is none.
    middle_end: u64,
    /// Empty when there are fewer than two runs.
    last: Run,
    count: u64,
}

impl Runs {
    /// How many offsets there are.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The lowest.
    pub(crate) fn front(&self) -> Option<u64> {
        (self.count > 0).then_some(self.first.start)
    }

    /// Adds `len` neighbours from `start` on, which must lie behind all others.
    pub(crate) fn push(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        assert!(start >= self.end(), "offsets are added in rising order");
        let more = Run { start, len };
        if self.count == 0 {
            self.first = more;
            self.middle_end = more.end();
        } else if self.last.len > 0 {
            if self.last.end() == start {
                self.last.len += len;
            } else {
                let done = std::mem::replace(&mut self.last, more);
                let middle = self.middle.get_or_insert_default();
                put_varint(middle, done.start - self.middle_end);
                put_varint(middle, done.len);
                self.middle_end = done.end();
            }
        } else if self.first.end() == start {
            self.first.len += len;
            self.middle_end = self.first.end();
        } else {
            self.last = more;
        }
        self.count += len;
    }

    /// Takes the lowest.
    #[cfg(test)]
    pub(crate) fn pop(&mut self) -> Option<u64> {
        let offset = self.front()?;
        self.skip(1);
        Some(offset)
    }

    /// Takes every offset below `before`; returns how many there were.
    pub(crate) fn drop_before(&mut self, before: u64) -> u64 {
        let had = self.count;
        while let Some(front) = self.front().filter(|front| *front < before) {
            self.skip((before - front).min(self.first.len));
        }
        had - self.count
    }

    /// Takes one offset out, wherever it is; the lowest costs nothing. Returns whether it was there.
    pub(crate) fn remove(&mut self, offset: u64) -> bool {
        if self.front() == Some(offset) {
            self.skip(1);
            return true;
        }
        let mut without = Self::default();
        for (start, len) in self.runs() {
            if (start..start + len).contains(&offset) {
                without.push(start, offset - start);
                without.push(offset + 1, start + len - offset - 1);
            } else {
                without.push(start, len);
            }
        }
        let found = without.count < self.count;
        *self = without;
        found
    }

    /// The same list with `runs` in place of whatever it has between `from` and `upto`.
    pub(crate) fn with(&self, (from, upto): (u64, u64), runs: &[(u64, u64)]) -> Self {
        let mut changed = Self::default();
        for (start, len) in self.runs().filter(|(start, _)| *start < from) {
            changed.push(start, len.min(from - start));
        }
        for (start, len) in runs {
            changed.push(*start, *len);
        }
        for (start, len) in self.runs().filter(|(start, len)| start + len > upto) {
            let kept = start.max(upto);
            changed.push(kept, start + len - kept);
        }
        changed
    }

    /// These and those of other rising runs; what is in both counts once.
    pub(crate) fn union(&self, runs: &[(u64, u64)]) -> Self {
        let mut own = self.runs().peekable();
        let mut more = runs.iter().copied().peekable();
        let mut all = Self::default();
        loop {
            let next = match (own.peek(), more.peek()) {
                (Some(a), Some(b)) if a <= b => own.next(),
                (Some(_), None) => own.next(),
                _ => more.next(),
            };
            let Some((start, len)) = next else {
                return all;
            };
            let (from, end) = (start.max(all.end()), start.saturating_add(len));
            all.push(from, end.saturating_sub(from));
        }
    }

    /// Whether an offset is among them; takes as long as there are runs.
    pub(crate) fn has(&self, offset: u64) -> bool {
        let mut runs = self.runs();
        runs.any(|(start, len)| (start..start + len).contains(&offset))
    }

    /// All offsets, rising.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs().flat_map(|(start, len)| start..start + len)
    }

    /// Start and length of every run, rising.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let middle = self.middle.as_deref();
        let mut middle = middle.into_iter().flatten().copied();
        let mut end = self.first.end();
        let between = std::iter::from_fn(move || {
            let start = end + get_varint(&mut middle)?;
            let len = get_varint(&mut middle)?;
            end = start + len;
            Some((start, len))
        });
        let open = |run: Run| (run.len > 0).then_some((run.start, run.len));
        open(self.first)
            .into_iter()
            .chain(between)
            .chain(open(self.last))
    }

    /// Bytes this takes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.middle.as_ref().map_or(0, |middle| middle.capacity())
    }

    fn end(&self) -> u64 {
        if self.last.len > 0 {
            self.last.end()
        } else {
            self.first.end()
        }
    }

    /// Takes the `n` lowest, all of which are in the first run.
    fn skip(&mut self, n: u64) {
        self.first.start += n;
        self.first.len -= n;
        self.count -= n;
        if self.first.len > 0 {
            return;
        }
        let mut drained = 0;
        let middle = self.middle.as_deref().into_iter().flatten().copied();
        let mut bytes = middle.inspect(|_| drained += 1);
        let next = get_varint(&mut bytes).zip(get_varint(&mut bytes));
        drop(bytes);
        if let Some((gap, len)) = next {
            if let Some(middle) = &mut self.middle {
                middle.drain(..drained);
            }
            self.first = Run {
                start: self.first.end() + gap,
                len,
            };
        } else {
            self.first = std::mem::take(&mut self.last);
            self.middle_end = self.first.end();
        }
        if self.middle.as_ref().is_none_or(|middle| middle.is_empty()) {
            self.middle_end = self.first.end();
            // A small one is soon filled again.
            self.middle
                .take_if(|middle| middle.capacity() > SPARE_BYTES);
        }
    }
}

fn put_varint(out: &mut VecDeque<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push_back((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push_back((value & 0x7f) as u8);
}

fn get_varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
