//! Everything `/api/v1` refuses with, as problem details (RFC 9457). One exhaustive match takes what the engine refuses
//! to them.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use engine::{Error, vhost};
use serde_json::json;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// What a problem's `type` begins with; the rest is stable and may be matched on.
const NAMESPACE: &str = "urn:forebay:problem:";

/// One kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Last part of its `type`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) status: StatusCode,
}

const fn kind(name: &'static str, title: &'static str, status: StatusCode) -> Kind {
    Kind {
        name,
        title,
        status,
    }
}

pub(crate) const MALFORMED: Kind = kind(
    "malformed",
    "The request cannot be read",
    StatusCode::BAD_REQUEST,
);
pub(crate) const DENIED: Kind = kind("denied", "Not authorized", StatusCode::FORBIDDEN);
pub(crate) const NO_ROUTE: Kind = kind(
    "no-such-resource",
    "No such resource",
    StatusCode::NOT_FOUND,
);
pub(crate) const NO_QUEUE: Kind = kind("no-such-queue", "No such queue", StatusCode::NOT_FOUND);
pub(crate) const NO_TOPIC: Kind = kind("no-such-topic", "No such topic", StatusCode::NOT_FOUND);
pub(crate) const NO_GROUP: Kind = kind("no-such-group", "No such group", StatusCode::NOT_FOUND);
pub(crate) const NO_CONNECTION: Kind = kind(
    "no-such-connection",
    "No such connection",
    StatusCode::NOT_FOUND,
);
pub(crate) const NOT_DEAD: Kind = kind(
    "not-a-dead-letter-queue",
    "Not a dead-letter queue",
    StatusCode::CONFLICT,
);
pub(crate) const NO_TASK: Kind = kind("no-such-task", "No such task", StatusCode::NOT_FOUND);
pub(crate) const NOT_ALLOWED: Kind = kind(
    "method-not-allowed",
    "The resource does not have this method",
    StatusCode::METHOD_NOT_ALLOWED,
);
pub(crate) const EXISTS: Kind = kind("exists", "Already exists", StatusCode::CONFLICT);
pub(crate) const CONFLICT: Kind = kind("conflict", "Conflict", StatusCode::CONFLICT);
pub(crate) const IN_USE: Kind = kind("in-use", "In use", StatusCode::CONFLICT);
pub(crate) const TOO_LARGE: Kind = kind(
    "request-too-large",
    "The request is too large",
    StatusCode::PAYLOAD_TOO_LARGE,
);
pub(crate) const NOT_JSON: Kind = kind(
    "not-json",
    "The content type is not application/json",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
);
pub(crate) const WRONG_HOST: Kind = kind(
    "wrong-host",
    "The request is for another host",
    StatusCode::MISDIRECTED_REQUEST,
);
pub(crate) const INVALID: Kind = kind(
    "invalid",
    "Invalid request",
    StatusCode::UNPROCESSABLE_ENTITY,
);
pub(crate) const THROTTLED: Kind = kind(
    "throttled",
    "Too many requests",
    StatusCode::TOO_MANY_REQUESTS,
);
pub(crate) const INTERNAL: Kind = kind(
    "internal",
    "The broker failed",
    StatusCode::INTERNAL_SERVER_ERROR,
);
pub(crate) const UNAVAILABLE: Kind = kind(
    "unavailable",
    "The broker is not available",
    StatusCode::SERVICE_UNAVAILABLE,
);
pub(crate) const DISK_FULL: Kind = kind("disk-full", "Low disk", StatusCode::INSUFFICIENT_STORAGE);

/// A refusal on its way to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: &'static Kind,
    pub(crate) detail: String,
    /// The number that was out of bounds, where that is the reason.
    pub(crate) bounds: Option<Box<Bounds>>,
}

/// A number that was given, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) parameter: String,
    pub(crate) value: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// The result of a request.
pub(crate) type Outcome<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            bounds: None,
        }
    }

    /// A number that is none of those allowed.
    pub(crate) fn out_of_bounds(parameter: &str, value: u64, (min, max): (u64, u64)) -> Self {
        let detail = format!("`{parameter}` is {value}: expected {min} to {max}");
        let bounds = Bounds {
            parameter: parameter.to_owned(),
            value,
            min,
            max,
        };
        Self {
            bounds: Some(Box::new(bounds)),
            ..Self::new(&INVALID, detail)
        }
    }

    /// A request that can be read and makes no sense.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(&INVALID, detail)
    }

    /// What the engine refused about the queue of this name.
    pub(crate) fn of_queue(name: &str, error: Error) -> Self {
        match error {
            Error::UnknownQueue => {
                let why = match vhost::split(name) {
                    (vhost::DEFAULT, name) => format!("there is no queue '{name}'"),
                    (vhost, name) => format!("there is no queue '{name}' in vhost '{vhost}'"),
                };
                Self::new(&NO_QUEUE, why)
            }
            Error::QueueExists(_) => match vhost::split(name) {
                (vhost::DEFAULT, _) => error.into(),
                (vhost, name) => {
                    let why = format!("queue '{name}' already exists in vhost '{vhost}'");
                    Self::new(&EXISTS, why)
                }
            },
            other => other.into(),
        }
    }

    /// What the engine refused about the topic of this name.
    pub(crate) fn of_topic(name: &str, error: Error) -> Self {
        match error {
            Error::UnknownTopic => {
                let why = match vhost::split(name) {
                    (vhost::DEFAULT, name) => format!("there is no topic '{name}'"),
                    (vhost, name) => format!("there is no topic '{name}' in vhost '{vhost}'"),
                };
                Self::new(&NO_TOPIC, why)
            }
            Error::UnknownPartition => {
                let name = vhost::split(name).1;
                Self::new(&NO_TOPIC, format!("topic '{name}' has no such partition"))
            }
            other => other.into(),
        }
    }

    /// What the engine refused about the group of this name.
    pub(crate) fn of_group(name: &str, error: Error) -> Self {
        match error {
            Error::Group(engine::group::Error::NotFound) => {
                Self::new(&NO_GROUP, format!("there is no group '{name}'"))
            }
            other => other.into(),
        }
    }

    /// The members of the JSON document, which also stands in for one message of several.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut document = json!({
            "type": format!("{NAMESPACE}{}", self.kind.name),
            "title": self.kind.title,
            "status": self.kind.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(bounds) = self.bounds.as_deref() {
            document["parameter"] = json!(bounds.parameter);
            document["value"] = json!(bounds.value);
            document["min"] = json!(bounds.min);
            document["max"] = json!(bounds.max);
        }
        document
    }
}

impl From<Error> for Problem {
    #[deny(clippy::wildcard_enum_match_arm)]
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Denied => &DENIED,
            Error::Group(engine::group::Error::StateFull) => &THROTTLED,
            Error::UnknownQueue => &NO_QUEUE,
            Error::UnknownTopic | Error::UnknownPartition => &NO_TOPIC,
            Error::UnknownExchange | Error::UnknownVhost => &NO_ROUTE,
            Error::UnknownMove => &NO_TASK,
            Error::TopicExists(_) | Error::QueueExists(_) | Error::ExchangeExists(_) => &EXISTS,
            Error::MoveRunning
            | Error::InUse
            | Error::NotEmpty
            | Error::Locked
            | Error::UnknownEpoch
            | Error::OutOfOrderSequence { .. }
            | Error::ProducerFenced(_)
            | Error::Group(_) => &CONFLICT,
            Error::InFlightLimit | Error::QueueFull | Error::QueueStateFull | Error::Throttled => {
                &THROTTLED
            }
            Error::InvalidName(_)
            | Error::InvalidConfig(_)
            | Error::InvalidPartitions(_)
            | Error::InvalidReplication(_)
            | Error::LimitExceeded(_)
            | Error::InvalidRecord(_)
            | Error::InvalidRecords(_)
            | Error::InvalidTimestampType
            | Error::OpensTooLarge
            | Error::CorruptBatch(_)
            | Error::UnsupportedCodec
            | Error::InvalidTimestamp(_)
            | Error::OffsetOutOfRange
            | Error::InvalidRequest(_) => &INVALID,
            Error::TooLarge { bytes, allowed } => {
                let detail =
                    format!("the message has {bytes} bytes, the queue allows {allowed} bytes");
                return Self::invalid(detail);
            }
            Error::DiskFull => &DISK_FULL,
            Error::Unavailable => &UNAVAILABLE,
            // What storage says of itself is the operator's, in the log.
            Error::Storage(why) => {
                tracing::error!(%why, "a request failed");
                return Self::new(&INTERNAL, "the request failed; the log says why");
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        let later = [THROTTLED.status, UNAVAILABLE.status].contains(&self.kind.status);
        if later {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: Error, status: u16, name: &str) {
        let problem = Problem::from(error);
        assert_eq!(problem.kind.status.as_u16(), status, "{problem:?}");
        assert_eq!(problem.kind.name, name);
    }

    #[test]
    fn each_refusal_has_a_fitting_status() {
        check(Error::Denied, 403, "denied");
        check(Error::UnknownQueue, 404, "no-such-queue");
        check(Error::UnknownTopic, 404, "no-such-topic");
        check(Error::UnknownMove, 404, "no-such-task");
        check(Error::QueueExists("q".into()), 409, "exists");
        check(Error::MoveRunning, 409, "conflict");
        check(Error::InvalidConfig("no".into()), 422, "invalid");
        check(Error::InFlightLimit, 429, "throttled");
        check(Error::Throttled, 429, "throttled");
        check(Error::Unavailable, 503, "unavailable");
        check(Error::DiskFull, 507, "disk-full");
    }

    #[test]
    fn what_storage_says_stays_in_the_log() {
        let problem = Problem::from(Error::Storage("secret".into()));
        assert_eq!(problem.kind, &INTERNAL);
        assert!(!problem.detail.contains("secret"), "{problem:?}");
    }

    #[test]
    fn a_problem_is_a_problem_document() {
        let problem = Problem::of_queue("orders", Error::UnknownQueue);
        let expected = json!({
            "type": "urn:forebay:problem:no-such-queue",
            "title": "No such queue",
            "status": 404,
            "detail": "there is no queue 'orders'",
        });
        assert_eq!(problem.to_json(), expected);
        let response = problem.into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM);
        assert!(!response.headers().contains_key(RETRY_AFTER));
        let busy = Problem::from(Error::Throttled).into_response();
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
    }
}
