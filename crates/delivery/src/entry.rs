//! What a queue partition knows of a message that was leased, delayed or given back.

use crate::message_group::MessageGroupId;
use crate::moment::UNTIMED;
use crate::place::Back;

/// What a message with an entry is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Can be leased again.
    Ready,
    /// In flight until its due time.
    Leased,
    /// Held back until its due time.
    Waiting,
    /// Not leased before its due time, and not in the way of others.
    Delayed,
    /// Leased too often; about to leave.
    Removing,
}

/// A message that was leased, delayed or given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) state: State,
    pub(crate) group: MessageGroupId,
    /// When the state ends, ms.
    pub(crate) due: u64,
    /// Number of its last lease.
    pub(crate) lease: u64,
    /// Times leased.
    pub(crate) leased: u32,
    /// Times returned or run out.
    pub(crate) failed: u32,
    /// The last lease was neither settled nor given back.
    pub(crate) open: bool,
    /// Leased too often, but could not leave: leased once more. Not in the log.
    pub(crate) stay: bool,
    /// How it comes back when its wait is over.
    pub(crate) back: Back,
    /// First lease, ms.
    pub(crate) first_ms: u64,
    /// Last lease, ms; when it was sent, for one that is delayed.
    pub(crate) at_ms: u64,
}

impl Entry {
    /// Of a message that is ready and was never leased.
    pub(crate) fn new(group: MessageGroupId) -> Self {
        Self {
            state: State::Ready,
            group,
            due: 0,
            lease: 0,
            leased: 0,
            failed: 0,
            open: false,
            stay: false,
            back: Back::OldPlace,
            first_ms: 0,
            at_ms: 0,
        }
    }

    /// Whether it is in flight without a deadline, and was never leased before.
    pub(crate) fn is_first_untimed(&self) -> bool {
        self.due == UNTIMED && self.leased == 1
    }
}
