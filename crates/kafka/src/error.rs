//! Engine outcomes as Kafka error codes, and the codes frontend rules need. One exhaustive match: a new
//! outcome needs a deliberate answer here before anything compiles.

use engine::{Error, RecordErrors, group};

/// Error codes of the protocol, as far as this broker gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
#[allow(missing_docs, reason = "the specification's own names")]
pub(crate) enum Code {
    UnknownServerError = -1,
    None = 0,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    NotLeaderOrFollower = 6,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    InvalidTopic = 17,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidCommitOffsetSize = 28,
    TopicAuthorizationFailed = 29,
    GroupAuthorizationFailed = 30,
    ClusterAuthorizationFailed = 31,
    InvalidTimestamp = 32,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    InvalidRequest = 42,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    InvalidProducerEpoch = 47,
    TransactionalIdAuthorizationFailed = 53,
    SecurityDisabled = 54,
    KafkaStorageError = 56,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FetchSessionIdNotFound = 70,
    InvalidFetchSessionEpoch = 71,
    UnknownLeaderEpoch = 75,
    UnsupportedCompressionType = 76,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    ElectionNotNeeded = 84,
    NoReassignmentInProgress = 85,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    ResourceNotFound = 91,
    UnknownTopicId = 100,
    FetchSessionTopicIdError = 106,
    MismatchedEndpointType = 114,
    RebootstrapRequired = 129,
}

impl From<Code> for i16 {
    fn from(code: Code) -> Self {
        code as Self
    }
}

/// The code for an engine outcome.
#[deny(clippy::wildcard_enum_match_arm)]
pub(crate) fn code(error: &Error) -> Code {
    match error {
        Error::Denied => Code::TopicAuthorizationFailed,
        Error::UnknownTopic | Error::UnknownPartition => Code::UnknownTopicOrPartition,
        Error::TopicExists(_) => Code::TopicAlreadyExists,
        // Nothing here asks for a queue, or for what leads to one.
        Error::UnknownQueue
        | Error::QueueExists(_)
        | Error::InUse
        | Error::NotEmpty
        | Error::Locked
        | Error::UnknownExchange
        | Error::ExchangeExists(_)
        | Error::UnknownVhost
        | Error::InFlightLimit
        | Error::MoveRunning
        | Error::UnknownMove => Code::UnknownServerError,
        // A queue of the topic is full for now: producers try again.
        Error::QueueFull | Error::QueueStateFull | Error::Throttled => {
            Code::ThrottlingQuotaExceeded
        }
        Error::LimitExceeded(_) => Code::PolicyViolation,
        Error::InvalidName(_) => Code::InvalidTopic,
        Error::InvalidConfig(_) => Code::InvalidConfig,
        Error::InvalidPartitions(_) => Code::InvalidPartitions,
        Error::InvalidReplication(_) => Code::InvalidReplicationFactor,
        Error::InvalidRecords(errors) if errors.timestamps => Code::InvalidTimestamp,
        Error::InvalidRecord(_) | Error::InvalidRecords(_) => Code::InvalidRecord,
        Error::CorruptBatch(_) => Code::CorruptMessage,
        Error::UnsupportedCodec => Code::UnsupportedCompressionType,
        Error::UnknownEpoch => Code::UnknownLeaderEpoch,
        // A producer that compresses then splits the batch.
        Error::TooLarge { .. } | Error::OpensTooLarge => Code::MessageTooLarge,
        Error::InvalidTimestamp(_) | Error::InvalidTimestampType => Code::InvalidTimestamp,
        Error::OutOfOrderSequence { .. } => Code::OutOfOrderSequenceNumber,
        Error::ProducerFenced(_) => Code::InvalidProducerEpoch,
        Error::OffsetOutOfRange => Code::OffsetOutOfRange,
        Error::Group(error) => group_code(*error),
        Error::InvalidRequest(_) => Code::InvalidRequest,
        // Retriable, and what producers see on a full or failing disk.
        Error::DiskFull | Error::Storage(_) => Code::KafkaStorageError,
        Error::Unavailable => Code::NotLeaderOrFollower,
    }
}

/// The code for an outcome of a request about groups.
pub(crate) fn group_request_code(error: &Error) -> Code {
    match code(error) {
        Code::NotLeaderOrFollower | Code::KafkaStorageError => Code::CoordinatorNotAvailable,
        Code::InvalidTopic => Code::InvalidGroupId,
        Code::TopicAuthorizationFailed => Code::GroupAuthorizationFailed,
        other => other,
    }
}

/// Text that goes along with a code, where a response has room for it.
pub(crate) fn message(error: &Error) -> std::borrow::Cow<'static, str> {
    match error {
        Error::InvalidRecords(errors) => summary(errors).into(),
        Error::TopicExists(name) => format!("Topic '{name}' already exists.").into(),
        other => other.to_string().into(),
    }
}

/// The same, where the code alone says it: clients have a sentence of their own for each.
pub(crate) fn remark(error: &Error) -> Option<std::borrow::Cow<'static, str>> {
    match error {
        Error::UnknownTopic | Error::UnknownPartition => None,
        other => Some(message(other)),
    }
}

/// What a broker of this protocol says of a batch with several faults.
fn summary(errors: &RecordErrors) -> String {
    if errors.timestamps {
        return "One or more records have been rejected due to invalid timestamp".to_owned();
    }
    let shown = errors.first.iter().take(3);
    let shown =
        shown.map(|(place, text)| format!("RecordError(batchIndex={place}, message='{text}')"));
    format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three \
         errors at most: [{}]",
        errors.count,
        shown.collect::<Vec<_>>().join(", ")
    )
}

/// The same for a join, in codes its clients know. Where there is no memory for it, clients join again after a while.
pub(crate) fn join_code(code: Code) -> Code {
    match code {
        Code::InvalidCommitOffsetSize => Code::InvalidRequest,
        other => other,
    }
}

/// The same for a sync: its clients know only this one for what is to be tried again after a while.
pub(crate) fn sync_code(code: Code) -> Code {
    match code {
        Code::CoordinatorLoadInProgress => Code::CoordinatorNotAvailable,
        other => other,
    }
}

/// The code for a group's refusal.
#[deny(clippy::wildcard_enum_match_arm)]
pub(crate) fn group_code(error: group::Error) -> Code {
    match error {
        group::Error::UnknownMember => Code::UnknownMemberId,
        group::Error::FencedInstance => Code::FencedInstanceId,
        group::Error::IllegalGeneration => Code::IllegalGeneration,
        group::Error::RebalanceInProgress => Code::RebalanceInProgress,
        group::Error::MemberIdRequired => Code::MemberIdRequired,
        group::Error::InvalidSessionTimeout => Code::InvalidSessionTimeout,
        group::Error::InconsistentProtocol => Code::InconsistentGroupProtocol,
        group::Error::GroupFull => Code::GroupMaxSizeReached,
        group::Error::NotFound => Code::GroupIdNotFound,
        group::Error::NotEmpty => Code::NonEmptyGroup,
        group::Error::Subscribed => Code::GroupSubscribedToTopic,
        group::Error::MetadataTooLarge => Code::OffsetMetadataTooLarge,
        group::Error::TooLarge | group::Error::OffsetsFull => Code::InvalidCommitOffsetSize,
        // Commits are tried again after a while, without looking for another coordinator.
        group::Error::StateFull => Code::CoordinatorLoadInProgress,
        group::Error::UnstableOffset => Code::UnstableOffsetCommit,
    }
}
