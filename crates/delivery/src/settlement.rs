//! Settlements: what becomes of a message in flight, whichever protocol says so and however it was leased.

use std::sync::Arc;

/// Why a message failed, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureClass {
    /// Trying again may help; what is said where nothing more is known.
    #[default]
    Transient,
    /// It was not settled in time.
    Timeout,
    /// Its consumer is gone.
    Crash,
    /// What the consumer depends on takes no more at the moment.
    RateLimited,
    /// What the consumer depends on cannot be reached.
    Unavailable,
    /// Trying again does not help.
    Permanent,
    /// The message is not what it should be.
    Invalid,
}

impl FailureClass {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Transient,
        Self::Timeout,
        Self::Crash,
        Self::RateLimited,
        Self::Unavailable,
        Self::Permanent,
        Self::Invalid,
    ];

    /// The class in one word, as it stands in the metadata of dead letters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Permanent => "permanent",
            Self::Invalid => "invalid",
        }
    }
}

/// How a consumer says that a message failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// Its class.
    pub class: FailureClass,
    /// Why, in the consumer's own words; at most [`Failure::REASON_BYTES_MAX`] bytes of it are kept.
    pub reason: Option<Arc<str>>,
}

impl Failure {
    /// Bytes of a reason that are kept.
    pub const REASON_BYTES_MAX: usize = 1024;

    /// A failure with what is kept of its reason.
    pub fn new(class: FailureClass, reason: Option<&str>) -> Self {
        let kept = |reason: &str| {
            let end = reason.floor_char_boundary(Self::REASON_BYTES_MAX);
            Arc::from(&reason[..end])
        };
        Self {
            class,
            reason: reason.map(kept),
        }
    }
}

impl From<FailureClass> for Failure {
    fn from(class: FailureClass) -> Self {
        Self {
            class,
            reason: None,
        }
    }
}

/// What becomes of a message in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is done: gone for good.
    Ack,
    /// Leased for this long from now, ms. Together with the time it was leased before at most twelve hours; a lease without a
    /// deadline has nothing to be extended.
    Extend(u64),
    /// Given back, to be leased again.
    Release {
        /// Ready again after this long, ms; absent: as the queue's backoff says.
        delay: Option<u64>,
        /// It failed, and this is its class; absent: it is unharmed, and not charged with a failure.
        class: Option<FailureClass>,
    },
    /// It failed, and is not to be tried again: dead-lettered, or dropped where there is no place for dead letters.
    Reject(Failure),
    /// It never reached its consumer, and is as if it had never been leased.
    Undo,
}

impl Settlement {
    /// Given back unharmed, to be leased again when its queue says.
    pub const REQUEUE: Self = Self::Release {
        delay: None,
        class: None,
    };
    /// Failed, and to be tried again when its queue says.
    pub const FAIL: Self = Self::Release {
        delay: None,
        class: Some(FailureClass::Transient),
    };
    /// Failed, and not to be tried again; nothing is known of why.
    pub const REJECT: Self = Self::Reject(Failure {
        class: FailureClass::Transient,
        reason: None,
    });

    /// Its consumer is gone; whether that counts as a failure is decided by how many messages it had.
    pub fn lost(is_charged: bool) -> Self {
        Self::Release {
            delay: None,
            class: is_charged.then_some(FailureClass::Crash),
        }
    }

    /// Whether messages may be dead-lettered by it: what comes back may have failed too often, or be too much.
    pub fn may_dead_letter(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Reject(_))
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done.
    Done,
    /// The message was leased again since: the receipt is not its newest. Nothing was changed.
    Stale,
    /// The lease has run out. An acknowledgement counts nevertheless, unless the queue is ordered by key.
    Expired,
    /// There is no such message any more.
    Gone,
    /// The receipt is another queue's.
    Foreign,
    /// The lease would last longer than it may.
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = "ä".repeat(Failure::REASON_BYTES_MAX);
        let failure = Failure::new(FailureClass::Invalid, Some(&format!("x{long}")));
        let kept = failure.reason.unwrap();
        assert_eq!(kept.len(), Failure::REASON_BYTES_MAX - 1);
        assert_eq!(Failure::new(FailureClass::Crash, None).reason, None);
    }

    #[test]
    fn only_what_fails_or_comes_back_may_be_dead_lettered() {
        let may = [
            Settlement::REQUEUE,
            Settlement::FAIL,
            Settlement::REJECT,
            Settlement::lost(true),
        ];
        assert!(may.iter().all(Settlement::may_dead_letter));
        let never = [Settlement::Ack, Settlement::Undo, Settlement::Extend(1)];
        assert!(!never.iter().any(Settlement::may_dead_letter));
    }
}
