//! Memory that state of one kind takes in the whole broker. There are two kinds, each with a limit of its own: queues (what
//! is remembered of messages that were touched, of message groups, deduplication ids and sizes; messages nobody touched
//! are runs of offsets, which take nothing), and consumer groups (members, ids that were handed out, offsets).
//!
//! Whatever would make the state grow beyond its limit is refused where it comes in; what makes room, and what takes
//! none, goes on. A start takes what there is: that was let in before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Error, Result};

/// What state of one kind takes, and may take.
#[derive(Debug)]
pub(crate) struct StateMemory {
    used: AtomicU64,
    max: u64,
    /// What is said when there is no room.
    refusal: Error,
}

impl StateMemory {
    /// With so many bytes at most; what does not fit is refused with `refusal`.
    pub(crate) fn new(max: u64, refusal: Error) -> Self {
        Self {
            used: AtomicU64::new(0),
            max,
            refusal,
        }
    }

    /// Bytes taken: an estimate.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Bytes that may be taken.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// Bytes that may be taken now.
    pub(crate) fn room(&self) -> u64 {
        self.max.saturating_sub(self.used())
    }

    /// Refuses what takes so many bytes when there is no room for it. What takes nothing is never refused.
    pub(crate) fn check(&self, more: u64) -> Result<()> {
        if more <= self.room() {
            Ok(())
        } else {
            Err(self.refusal.clone())
        }
    }

    /// Refuses when more is taken than may be.
    pub(crate) fn check_used(&self) -> Result<()> {
        if self.used() <= self.max {
            Ok(())
        } else {
            Err(self.refusal.clone())
        }
    }

    /// Takes room for a moment, until it is known what something takes.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<StateShare> {
        let mut share = StateShare::new(self);
        share.set(bytes);
        if bytes > 0 {
            self.check_used()?;
        }
        Ok(share)
    }
}

/// What one queue partition, or one consumer group, takes of it; given back when it goes.
#[derive(Debug)]
pub(crate) struct StateShare {
    of: Arc<StateMemory>,
    bytes: u64,
}

impl StateShare {
    /// Nothing yet.
    pub(crate) fn new(of: &Arc<StateMemory>) -> Self {
        Self {
            of: Arc::clone(of),
            bytes: 0,
        }
    }

    /// Bytes that may be taken now, by whatever takes its share.
    pub(crate) fn room(&self) -> u64 {
        self.of.room()
    }

    /// So much it is now.
    pub(crate) fn set(&mut self, bytes: u64) {
        // The sum over all shares is never negative, whatever wraps on the way.
        let more = bytes.wrapping_sub(self.bytes);
        if more != 0 {
            self.of.used.fetch_add(more, Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for StateShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_and_what_takes_nothing_is_never_refused() {
        let memory = Arc::new(StateMemory::new(100, Error::QueueStateFull));
        let mut first = StateShare::new(&memory);
        first.set(90);
        assert_eq!(memory.check(10), Ok(()));
        assert_eq!(memory.check(11), Err(Error::QueueStateFull));
        assert!(memory.reserve(11).is_err());
        assert_eq!(memory.used(), 90);
        let reserved = memory.reserve(10).unwrap();
        assert_eq!(memory.check(1), Err(Error::QueueStateFull));
        // A start may take more than there is; what takes nothing goes on.
        first.set(300);
        assert_eq!(memory.check(0), Ok(()));
        assert!(memory.reserve(0).is_ok());
        drop(reserved);
        first.set(40);
        assert_eq!(memory.used(), 40);
        drop(first);
        assert_eq!(memory.used(), 0);
    }
}
