//! Every outcome the engine can refuse with; a frontend maps each of them on purpose.

/// Why the engine refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The principal may not do this.
    #[error("not authorized")]
    Denied,
    /// No topic of that name or id.
    #[error("no such topic")]
    UnknownTopic,
    /// The topic has no such partition.
    #[error("no such partition")]
    UnknownPartition,
    /// A topic of that name exists already.
    #[error("topic '{0}' already exists")]
    TopicExists(String),
    /// No queue of that name.
    #[error("no such queue")]
    UnknownQueue,
    /// A queue of that name exists already.
    #[error("queue '{0}' already exists")]
    QueueExists(String),
    /// The queue has as many messages as it may, and its owner wants new ones refused.
    #[error("the queue is full")]
    QueueFull,
    /// What the message would add to the state of queues does not fit into the memory there is for it: it is taken once
    /// messages were acknowledged.
    #[error("the memory for the state of queues is full")]
    QueueStateFull,
    /// The queue, or its consumers, or an exchange is in use.
    #[error("in use")]
    InUse,
    /// The queue has messages.
    #[error("not empty")]
    NotEmpty,
    /// The queue is another session's alone.
    #[error("the queue is locked by another session")]
    Locked,
    /// No exchange of that name.
    #[error("no such exchange")]
    UnknownExchange,
    /// An exchange of that name exists already.
    #[error("exchange '{0}' already exists")]
    ExchangeExists(String),
    /// No vhost of that name.
    #[error("no such vhost")]
    UnknownVhost,
    /// The queue has as many messages in flight as it may.
    #[error("the queue has too many messages in flight")]
    InFlightLimit,
    /// Too much at once: another try later may succeed.
    #[error("too many requests")]
    Throttled,
    /// The queue's messages are being moved already.
    #[error("a move task runs already")]
    MoveRunning,
    /// No move task of that identity runs.
    #[error("no such move task")]
    UnknownMove,
    /// A name breaks the rules of names.
    #[error("{0}")]
    InvalidName(String),
    /// A setting is unknown or its value makes no sense.
    #[error("{0}")]
    InvalidConfig(String),
    /// A partition count that cannot be.
    #[error("{0}")]
    InvalidPartitions(String),
    /// A replication factor one node cannot give.
    #[error("{0}")]
    InvalidReplication(String),
    /// A queue of the topic never takes this much.
    #[error("{0}")]
    LimitExceeded(String),
    /// The batch is malformed or breaks the stream's rules.
    #[error("{0}")]
    InvalidRecord(String),
    /// Single records of the batch are malformed or break the stream's rules.
    #[error("{0}")]
    InvalidRecords(Box<RecordErrors>),
    /// The batch's checksum does not match.
    #[error("the batch is corrupt: {0}")]
    CorruptBatch(String),
    /// The records' codec is not known to the reader's or writer's version of its protocol.
    #[error("the codec is not supported by this version")]
    UnsupportedCodec,
    /// The caller believes in an ownership epoch that does not exist (yet).
    #[error("unknown ownership epoch")]
    UnknownEpoch,
    /// The batch is larger than the topic allows.
    #[error("the batch has {bytes} bytes, the topic allows {allowed}")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The topic's limit.
        allowed: usize,
    },
    /// The batch opens to more than a batch may hold.
    #[error(
        "{}, or more than a queue of its topic can look into",
        storage::batch::BatchError::Opened
    )]
    OpensTooLarge,
    /// The batch's timestamps lie outside what the topic allows.
    #[error("the timestamp {0} is out of the range the topic allows")]
    InvalidTimestamp(i64),
    /// The sender says that the batch's timestamps are those of the append.
    #[error("the producer must not set the timestamp type to the time of the append")]
    InvalidTimestampType,
    /// A gap in an idempotent producer's sequence.
    #[error("out of order: expected sequence {expected}, got {got}")]
    OutOfOrderSequence {
        /// The next sequence number the partition would take.
        expected: i32,
        /// What came.
        got: i32,
    },
    /// A newer incarnation of the producer exists.
    #[error("the producer epoch {0} is fenced")]
    ProducerFenced(i16),
    /// The offset is outside the partition.
    #[error("the offset is outside the partition")]
    OffsetOutOfRange,
    /// Something about a consumer group; see there.
    #[error(transparent)]
    Group(#[from] crate::group::Error),
    /// A request that makes no sense as a whole.
    #[error("{0}")]
    InvalidRequest(String),
    /// The free-space watermark was reached: publishing waits until space is made.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The broker is stopping, or not ready; another try later may succeed.
    #[error("the broker is not available")]
    Unavailable,
    /// Storage failed; the broker is about to stop, or one stream is damaged.
    #[error("storage: {0}")]
    Storage(String),
}

/// What is wrong with single records of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordErrors {
    /// Timestamps are among it.
    pub timestamps: bool,
    /// Records it is about.
    pub count: usize,
    /// The first of them: place in the batch, and what is wrong.
    pub first: Vec<(usize, String)>,
}

impl std::fmt::Display for RecordErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.count;
        match self.first.first() {
            Some((place, text)) => write!(
                f,
                "{count} records are refused, the first in place {place}: {text}"
            ),
            None => write!(f, "{count} records are refused"),
        }
    }
}

/// The result of an engine operation.
pub type Result<T> = std::result::Result<T, Error>;

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::DiskFull => Self::DiskFull,
            storage::Error::OutOfRange { .. } => Self::OffsetOutOfRange,
            storage::Error::InvalidKey(_) => Self::InvalidName(error.to_string()),
            storage::Error::DocumentTooLarge { .. } => Self::InvalidConfig(error.to_string()),
            storage::Error::Closed | storage::Error::Poisoned(_) => Self::Unavailable,
            storage::Error::Missing
            | storage::Error::Io { .. }
            | storage::Error::Corrupt { .. }
            | storage::Error::Format { .. }
            | storage::Error::Conflict(_) => Self::Storage(error.to_string()),
        }
    }
}

impl From<routing::Error> for Error {
    fn from(error: routing::Error) -> Self {
        match error {
            routing::Error::InvalidName(why) => Self::InvalidName(why),
            routing::Error::InvalidConfig(why) => Self::InvalidConfig(why),
            routing::Error::UnknownExchange => Self::UnknownExchange,
            routing::Error::Internal { .. } => Self::InvalidRequest(error.to_string()),
        }
    }
}

impl From<delivery::Error> for Error {
    fn from(error: delivery::Error) -> Self {
        match error {
            delivery::Error::Name(error) => error.into(),
            delivery::Error::InvalidConfig(why) => Self::InvalidConfig(why),
        }
    }
}

impl From<storage::batch::BatchError> for Error {
    fn from(error: storage::batch::BatchError) -> Self {
        use storage::batch::BatchError;
        match error {
            BatchError::Checksum | BatchError::Truncated => Self::CorruptBatch(error.to_string()),
            BatchError::Magic(_) | BatchError::Inconsistent(_) => {
                Self::InvalidRecord(error.to_string())
            }
            BatchError::Opened => Self::OpensTooLarge,
        }
    }
}
