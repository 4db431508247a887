//! Every error the service answers with: its shape, its older code, its status. One exhaustive match takes what the
//! engine refuses to them.

use engine::Error;

/// One kind of error as the service model has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Name in the JSON protocol.
    pub(crate) name: &'static str,
    /// Code in the Query protocol, and in the header for JSON clients.
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    /// The service itself is at fault.
    pub(crate) ours: bool,
    /// Namespace of the name in the JSON protocol is that of the service, not the framework's.
    pub(crate) modelled: bool,
}

const fn shape(name: &'static str, code: &'static str, status: u16) -> Shape {
    Shape {
        name,
        code,
        status,
        ours: false,
        modelled: true,
    }
}

const fn generic(name: &'static str, code: &'static str, status: u16) -> Shape {
    Shape {
        modelled: false,
        ..shape(name, code, status)
    }
}

macro_rules! simple_queue_service {
    ($name:literal) => {
        shape($name, concat!("AWS.SimpleQueueService.", $name), 400)
    };
}

pub(crate) const QUEUE_DOES_NOT_EXIST: Shape = shape(
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
    400,
);
pub(crate) const QUEUE_NAME_EXISTS: Shape = shape("QueueNameExists", "QueueAlreadyExists", 400);
pub(crate) const QUEUE_DELETED_RECENTLY: Shape = simple_queue_service!("QueueDeletedRecently");
pub(crate) const EMPTY_BATCH: Shape = simple_queue_service!("EmptyBatchRequest");
pub(crate) const TOO_MANY_ENTRIES: Shape = simple_queue_service!("TooManyEntriesInBatchRequest");
pub(crate) const IDS_NOT_DISTINCT: Shape = simple_queue_service!("BatchEntryIdsNotDistinct");
pub(crate) const BATCH_TOO_LONG: Shape = simple_queue_service!("BatchRequestTooLong");
pub(crate) const INVALID_ENTRY_ID: Shape = simple_queue_service!("InvalidBatchEntryId");
pub(crate) const NOT_IN_FLIGHT: Shape = simple_queue_service!("MessageNotInflight");
pub(crate) const PURGE_IN_PROGRESS: Shape = shape(
    "PurgeQueueInProgress",
    "AWS.SimpleQueueService.PurgeQueueInProgress",
    403,
);
pub(crate) const OVER_LIMIT: Shape = shape("OverLimit", "OverLimit", 403);
pub(crate) const THROTTLED: Shape = shape("RequestThrottled", "RequestThrottled", 403);
pub(crate) const INVALID_RECEIPT: Shape =
    shape("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404);
pub(crate) const INVALID_ADDRESS: Shape = shape("InvalidAddress", "InvalidAddress", 404);
pub(crate) const INVALID_REQUEST: Shape = generic("InvalidRequest", "InvalidRequest", 400);
pub(crate) const NO_RESOURCE: Shape = shape(
    "ResourceNotFoundException",
    "ResourceNotFoundException",
    404,
);
pub(crate) const INVALID_ATTRIBUTE_NAME: Shape =
    shape("InvalidAttributeName", "InvalidAttributeName", 400);
pub(crate) const INVALID_ATTRIBUTE_VALUE: Shape =
    shape("InvalidAttributeValue", "InvalidAttributeValue", 400);
pub(crate) const INVALID_CONTENTS: Shape =
    shape("InvalidMessageContents", "InvalidMessageContents", 400);
pub(crate) const INVALID_PARAMETER: Shape = generic(
    "InvalidParameterValueException",
    "InvalidParameterValue",
    400,
);
pub(crate) const MISSING_PARAMETER: Shape =
    generic("MissingRequiredParameterException", "MissingParameter", 400);
pub(crate) const ACCESS_DENIED: Shape = generic("AccessDeniedException", "AccessDenied", 403);
pub(crate) const INVALID_ACTION: Shape = generic("UnknownOperationException", "InvalidAction", 400);
pub(crate) const UNKNOWN_OPERATION: Shape = generic(
    "UnknownOperationException",
    "UnknownOperationException",
    404,
);
pub(crate) const MALFORMED: Shape = generic("SerializationException", "MalformedInput", 400);
pub(crate) const TOO_LARGE: Shape = generic("RequestEntityTooLarge", "RequestEntityTooLarge", 413);
pub(crate) const INVALID_TOKEN: Shape =
    generic("UnrecognizedClientException", "InvalidClientTokenId", 403);
pub(crate) const WRONG_SIGNATURE: Shape =
    generic("InvalidSignatureException", "SignatureDoesNotMatch", 403);
pub(crate) const NO_SIGNATURE: Shape = generic(
    "MissingAuthenticationTokenException",
    "MissingAuthenticationToken",
    403,
);
pub(crate) const INCOMPLETE_SIGNATURE: Shape =
    generic("IncompleteSignatureException", "IncompleteSignature", 400);
pub(crate) const EXPIRED: Shape = generic("RequestExpired", "RequestExpired", 400);
pub(crate) const INTERNAL: Shape = Shape {
    ours: true,
    ..generic("InternalFailure", "InternalFailure", 500)
};
pub(crate) const UNAVAILABLE: Shape = Shape {
    ours: true,
    ..generic("ServiceUnavailable", "ServiceUnavailable", 503)
};

/// An error on its way to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) shape: &'static Shape,
    pub(crate) message: String,
}

/// The result of an action.
pub(crate) type Outcome<T> = Result<T, Fault>;

impl Fault {
    pub(crate) fn new(shape: &'static Shape, message: impl Into<String>) -> Self {
        Self {
            shape,
            message: message.into(),
        }
    }

    /// A parameter has a value it cannot have.
    pub(crate) fn parameter(name: &str, value: impl std::fmt::Display, reason: &str) -> Self {
        Self::new(
            &INVALID_PARAMETER,
            format!("Value {value} for parameter {name} is invalid. Reason: {reason}"),
        )
    }

    /// A parameter is missing.
    pub(crate) fn missing(name: &str) -> Self {
        Self::new(
            &MISSING_PARAMETER,
            format!("The request must contain the parameter {name}."),
        )
    }

    /// There is no such action.
    pub(crate) fn unknown_action(action: &str) -> Self {
        let message = format!("The action {action} is not valid for this endpoint.");
        Self::new(&INVALID_ACTION, message)
    }

    /// There is no such queue.
    pub(crate) fn no_queue() -> Self {
        Self::new(&QUEUE_DOES_NOT_EXIST, "The specified queue does not exist.")
    }

    /// There is no such queue, but a topic of that name.
    pub(crate) fn only_topic(name: &str) -> Self {
        let none = Self::no_queue().message;
        Self::new(
            &QUEUE_DOES_NOT_EXIST,
            format!(
                "{none} There is a topic of that name; attach a queue with `forebay queue create {name} --topic {name}`."
            ),
        )
    }
}

impl From<Error> for Fault {
    #[deny(clippy::wildcard_enum_match_arm)]
    fn from(error: Error) -> Self {
        match &error {
            Error::Denied => Self::new(
                &ACCESS_DENIED,
                "Access to the resource is denied by the resource's policy.",
            ),
            Error::UnknownQueue => Self::no_queue(),
            Error::QueueExists(_) => Self::new(&QUEUE_NAME_EXISTS, error.to_string()),
            Error::InFlightLimit => Self::new(
                &OVER_LIMIT,
                "Too many messages are in flight. Delete messages, or let their visibility timeout expire.",
            ),
            Error::TooLarge { allowed, .. } => Self::new(
                &INVALID_PARAMETER,
                format!(
                    "One or more parameters are invalid. Reason: Message must be shorter than {allowed} bytes."
                ),
            ),
            Error::Throttled | Error::QueueFull | Error::QueueStateFull => {
                Self::new(&THROTTLED, error.to_string())
            }
            Error::MoveRunning => Self::new(
                &INVALID_PARAMETER,
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            ),
            Error::UnknownMove => Self::new(&NO_RESOURCE, "Task does not exist."),
            Error::InvalidConfig(_) => Self::new(&INVALID_ATTRIBUTE_VALUE, error.to_string()),
            Error::Locked | Error::InUse | Error::NotEmpty => {
                Self::new(&INVALID_PARAMETER, error.to_string())
            }
            Error::UnknownTopic
            | Error::UnknownExchange
            | Error::ExchangeExists(_)
            | Error::UnknownVhost
            | Error::UnknownPartition
            | Error::TopicExists(_)
            | Error::InvalidName(_)
            | Error::InvalidPartitions(_)
            | Error::InvalidReplication(_)
            | Error::LimitExceeded(_)
            | Error::InvalidRecord(_)
            | Error::InvalidRecords(_)
            | Error::InvalidTimestampType
            | Error::OpensTooLarge
            | Error::CorruptBatch(_)
            | Error::UnsupportedCodec
            | Error::UnknownEpoch
            | Error::InvalidTimestamp(_)
            | Error::OutOfOrderSequence { .. }
            | Error::ProducerFenced(_)
            | Error::OffsetOutOfRange
            | Error::Group(_)
            | Error::InvalidRequest(_) => Self::new(&INVALID_PARAMETER, error.to_string()),
            Error::Unavailable | Error::DiskFull => Self::new(&UNAVAILABLE, error.to_string()),
            Error::Storage(_) => Self::new(&INTERNAL, "The request could not be carried out."),
        }
    }
}
