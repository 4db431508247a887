//! Delivery: which message of one partition is ready, leased, waiting or removed, for one queue.
//!
//! Messages that were never touched are runs of offsets in a message group; all others have an entry. Which messages
//! there are follows from the partition's records ([`QueuePartition::index`]), what was done with them from the queue
//! partition's own log of [`QueueEvent`]s. Events name offsets, so that a restart can read all records first and all
//! events after them.
//!
//! `decide` and `pick` hold all rules and change nothing; [`QueuePartition::apply`] cannot refuse and does not know the
//! time. Leases run out and delays end by time alone ([`QueuePartition::tick`]): no event is needed, since the due time
//! is part of one.
//!
//! Pure: time is an argument, and what comes out is appended by the engine, which holds the locks and knows the queues by
//! their names.

mod arrival;
mod arrival_marks;
mod check;
mod cost;
mod dead_letter;
pub mod dead_letter_history;
mod decide;
mod dedup;
mod ensure;
mod entry;
mod error;
mod event;
mod expiry;
mod fuzz;
mod held;
mod kept;
mod lease;
mod limits;
mod message_group;
mod meta;
mod moment;
mod move_progress;
mod moves;
mod place;
mod queue_partition;
mod ranges;
pub mod reserved;
mod runs;
mod settings;
mod settle;
mod settlement;
mod sizes;
mod snapshot;
pub mod stored_settings;
mod unreadable;
mod untimed;
pub mod via;
mod visible;

#[cfg(test)]
mod tests;

pub use arrival::{Arrival, sent_ms};
pub use cost::Brings;
pub use dead_letter::{DeadLetter, DeadLetterCause, DeadLetterReason};
pub use dead_letter_history::{DeadLetterEvent, Key};
pub use decide::{Picked, Receiving};
pub use dedup::{IDS_MAX, IdHash, hash};
pub use error::{Error, Result};
pub use event::{QueueEvent, Unreadable, fuzz};
pub use fuzz::fuzz_batch;
pub use held::Held;
pub use lease::Lease;
pub use message_group::MessageGroupId;
pub use meta::message_id;
pub use moment::{Moment, after};
pub use move_progress::{Ended, MoveProgress};
pub use queue_partition::{Counts, QueuePartition, looked_into};
pub use settings::{
    After, Backoff, DeadLetterExchange, DeadLetterPolicy, DedupScope, Growth, Lifetime, Limits,
    Ordering, Overflow, QueueSettings, QueueType,
};
pub use settle::Decided;
pub use settlement::{Failure, FailureClass, Settled, Settlement};
