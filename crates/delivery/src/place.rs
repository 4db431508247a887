//! Where a message stands among those that are ready.
//!
//! There are two rules, and who gives a message back decides which holds. A connected consumer that requeues, or goes
//! away, gives it back to its old place: nobody should see a gap in the order. A lease that ran out, and one that was
//! given back by its receipt, puts the message behind everything that is ready then: a message that always fails must
//! not be handed out again and again while others wait. Messages of one key keep their order whatever happens; there it
//! is the key that steps behind the others.

use std::collections::{BTreeMap, BTreeSet};

/// How a message comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Back {
    /// Where it was: before everything that was sent after it.
    #[default]
    OldPlace,
    /// Behind everything that is ready at that moment.
    Behind,
}

/// A message's place. The messages of one priority are handed out in the order of their places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// At the message of this offset ...
    pub at: u64,
    /// ... as this one of those that were put behind it; 0: it is that message.
    pub(crate) turn: u64,
}

impl Place {
    /// The place of a message nobody has given back.
    pub(crate) fn own(offset: u64) -> Self {
        Self {
            at: offset,
            turn: 0,
        }
    }

    /// Behind everything before `before`, and behind all that were put there with a lower `turn`.
    pub(crate) fn behind(before: u64, turn: u64) -> Self {
        Self {
            at: before.saturating_sub(1),
            turn,
        }
    }
}

/// Ready messages that are not at their own place.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    by_offset: BTreeMap<u64, Place>,
    by_place: BTreeSet<(Place, u64)>,
}

impl Behind {
    pub(crate) fn insert(&mut self, offset: u64, place: Place) {
        self.remove(offset);
        self.by_offset.insert(offset, place);
        self.by_place.insert((place, offset));
    }

    /// Returns whether it was there.
    pub(crate) fn remove(&mut self, offset: u64) -> bool {
        let Some(place) = self.by_offset.remove(&offset) else {
            return false;
        };
        self.by_place.remove(&(place, offset));
        true
    }

    pub(crate) fn place(&self, offset: u64) -> Option<Place> {
        self.by_offset.get(&offset).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// All below `upto`, in the order of their offsets.
    pub(crate) fn by_offset(&self, upto: u64) -> impl Iterator<Item = (Place, u64)> + '_ {
        let all = self.by_offset.range(..upto);
        all.map(|(offset, place)| (*place, *offset))
    }

    /// All below `upto`, in the order of their places.
    pub(crate) fn by_place(&self, upto: u64) -> impl Iterator<Item = (Place, u64)> + '_ {
        let all = self.by_place.iter().copied();
        all.filter(move |(_, offset)| *offset < upto)
    }
}
