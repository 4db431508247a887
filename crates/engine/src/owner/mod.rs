//! Owners: every partition and every group has one lock, and only the task that holds it changes them.
//!
//! What is asked of a partition is done on the task that asks. It takes the lock, serves what others asked meanwhile and
//! then its own, all as one [`Commit`]: decided and applied in order, appended once, answered when the log has come far
//! enough. Several partitions are locked in the order of their keys. A lock is never held across an await, and what is
//! asked of a partition by a task that holds one is done after that one is let go.

mod acquire;
mod admission;
mod batch_draft;
mod closing;
mod commit;
mod completions;
mod dead_letter_jobs;
mod env;
mod forgetting;
mod groups;
mod lock;
mod owners;
mod partition;
mod partition_owner;
mod publish;
mod queues;
mod request;
mod round;
mod sends;
mod servers;
mod settling;
mod snapshots;
mod tasks;
mod timers;
mod turns;

pub(crate) use admission::{Admission, Admitted, BATCH_BYTES, BATCH_RECORDS};
pub(crate) use batch_draft::{BatchDraft, RecordLayout};
pub(crate) use dead_letter_jobs::{DeadLetterJob, DeadLetterJobs};
pub(crate) use forgetting::Readable;
pub(crate) use groups::{Owned as OwnedGroup, group_bytes};
pub(crate) use lock::Turn;
pub(crate) use owners::Owners;
pub(crate) use partition::Opening;
pub(crate) use partition_owner::PartitionOwner;
pub(crate) use publish::Entry;
pub(crate) use queues::OwnedQueuePartition;
pub(crate) use request::{Request, Sending};
pub(crate) use round::Round;
pub(crate) use settling::{Settles, Settling};

pub(crate) use crate::partition::PartitionKey;
