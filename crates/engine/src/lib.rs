//! What a broker knows: the state machines for topics, partitions, groups and producers.
//!
//! The engine speaks no protocol. Frontends translate requests into calls of [`Access`], the only public door: the broker on
//! behalf of a principal, which authorizes every call before anything else happens. Inside, the same steps for every message:
//! `decide` (pure, all rules) - `append` (the only moment something becomes true) - `apply` (cannot fail).

mod broker;
mod clock;
mod error;
pub mod exchange;
mod fuzz;
mod memory;
pub mod metrics;
mod owner;
pub mod partition;
pub mod policy;
pub mod queue;
mod room;
mod time;
pub mod topic;
pub mod vhost;

pub use broker::{
    Access, Appended, Broker, ConfigChange, ConsumerOf, Deliveries, Delivery, Event,
    FetchPartition, FetchResult, FetchSpec, Fetched, Inventory, Keep, NewConsumer, NewRecord,
    NewTopic, Outgoing, Parts, Pending, Publish, QueueChange, ReadRecords, RecordsRead, Removal,
    Sends, Session, Settings, Subscription, TimeLookup, TopicKey, VhostSizes, VisibleQueues,
    VisibleTopics,
};
pub use clock::{Clock, RandomSource, Uptime};
pub use error::{Error, RecordErrors, Result};
pub use groups as group;
pub use room::{Boundless, Room};
// Records travel through the door as the batches they are stored in.
pub use storage::batch::Record;
pub use storage::{Batch, Chunk};

/// Where a published batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Offset of its first record.
    pub base_offset: u64,
    /// Time of the append, ms, where the topic's timestamps are that.
    pub append_time: Option<i64>,
    /// First readable offset of the partition.
    pub start: u64,
    /// The batch was in the log already: a producer repeated itself.
    pub duplicate: bool,
}

/// One outcome per published batch, in the order given.
pub type PublishResults = Vec<Result<Published>>;
