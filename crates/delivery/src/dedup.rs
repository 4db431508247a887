//! The deduplication window: which ids were sent of late, and where.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest, Sha256};

/// Ids a queue partition remembers at most; sends with further ids wait until old ones are forgotten. About 50 bytes
/// each.
pub const IDS_MAX: usize = 4_000_000;
/// Parts of the window that are forgotten as a whole.
const PARTS: u64 = 10;

/// A deduplication id, shortened to what cannot collide by chance.
pub type IdHash = u128;

/// The hash of an id, or of an id within a scope.
pub fn hash(scope: Option<&[u8]>, id: &[u8]) -> IdHash {
    let mut digest = Sha256::new();
    if let Some(scope) = scope {
        // The length keeps scope and id apart.
        digest.update((scope.len() as u64).to_be_bytes());
        digest.update(scope);
    }
    digest.update(id);
    let digest = digest.finalize();
    let (short, _) = digest.split_first_chunk().expect("32 bytes");
    u128::from_be_bytes(*short)
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    offset: u64,
    /// After the start of the part, ms.
    after_ms: u32,
}

#[derive(Debug)]
struct Part {
    start_ms: u64,
    ids: HashMap<IdHash, Seen>,
}

/// Ids sent of late.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    parts: VecDeque<Part>,
    count: usize,
}

impl Dedup {
    /// Offset of the message that was sent with this id less than `window_ms` before `now`.
    pub(crate) fn find(&self, id: IdHash, window_ms: u64, now: u64) -> Option<u64> {
        // A clock that went back makes ids look young, and they are found: better than a duplicate.
        self.parts.iter().rev().find_map(|part| {
            let seen = part.ids.get(&id)?;
            let sent = part.start_ms.saturating_add(u64::from(seen.after_ms));
            (now.saturating_sub(sent) < window_ms).then_some(seen.offset)
        })
    }

    /// Remembers an id that was sent at `at`.
    pub(crate) fn note(&mut self, id: IdHash, offset: u64, at: u64, window_ms: u64) {
        let span = (window_ms / PARTS).clamp(1, u64::from(u32::MAX));
        let fits = |part: &Part| at < part.start_ms.saturating_add(span) || at < part.start_ms;
        if !self.parts.back().is_some_and(fits) {
            self.parts.push_back(Part {
                start_ms: at,
                ids: HashMap::new(),
            });
        }
        let part = self.parts.back_mut().expect("one was just made sure of");
        let after_ms = u32::try_from(at.saturating_sub(part.start_ms)).unwrap_or(u32::MAX);
        if part.ids.insert(id, Seen { offset, after_ms }).is_none() {
            self.count += 1;
        }
    }

    /// Forgets parts that are too old altogether.
    pub(crate) fn expire(&mut self, window_ms: u64, now: u64) {
        while self.parts.len() > 1 && self.parts[1].start_ms.saturating_add(window_ms) <= now {
            self.pop();
        }
        if self.parts.front().is_some_and(|part| {
            part.start_ms
                .saturating_add(window_ms)
                .saturating_add(window_ms / PARTS)
                < now
        }) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(part) = self.parts.pop_front() {
            self.count -= part.ids.len();
        }
    }

    /// Forgets messages below `before`.
    pub(crate) fn drop_before(&mut self, before: u64) {
        for part in &mut self.parts {
            part.ids.retain(|_, seen| seen.offset >= before);
        }
        self.parts.retain(|part| !part.ids.is_empty());
        self.count = self.parts.iter().map(|part| part.ids.len()).sum();
    }

    /// How many ids are remembered.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Every id with its offset and time, oldest first.
    pub(crate) fn all(&self) -> Vec<(IdHash, u64, u64)> {
        let mut all: Vec<_> = self
            .parts
            .iter()
            .flat_map(|part| {
                let start = part.start_ms;
                part.ids
                    .iter()
                    .map(move |(id, seen)| (*id, seen.offset, start + u64::from(seen.after_ms)))
            })
            .collect();
        all.sort_unstable_by_key(|(_, offset, at)| (*at, *offset));
        all
    }
}
