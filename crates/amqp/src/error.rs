//! The answer to a client when the broker does not do what it asked: a reply code with its text. One exhaustive match
//! takes what the engine refuses to them.
//!
//! Whether a fault ends the channel or the whole connection follows from its code.

use engine::Error;

use crate::wire::{self, ReplyCode};

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ReplyCode,
    /// What follows the code's name in the reply text.
    pub(crate) explanation: String,
}

/// The result of a method.
pub(crate) type Outcome<T> = Result<T, Fault>;

impl Fault {
    pub(crate) fn new(code: ReplyCode, explanation: impl Into<String>) -> Self {
        Self {
            code,
            explanation: explanation.into(),
        }
    }

    /// The thing is not as the client says.
    pub(crate) fn precondition(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::PreconditionFailed, explanation)
    }

    /// The client may not do that.
    pub(crate) fn refused(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::AccessRefused, explanation)
    }

    /// There is no such thing.
    pub(crate) fn not_found(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotFound, explanation)
    }

    /// Forbidden for every principal; ends the connection.
    pub(crate) fn not_allowed(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotAllowed, explanation)
    }

    /// The broker has no such feature; ends the connection.
    pub(crate) fn not_implemented(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotImplemented, explanation)
    }

    /// A frame that does not belong where it is; ends the connection.
    pub(crate) fn unexpected(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::UnexpectedFrame, explanation)
    }

    /// Ends the connection, not only the channel.
    pub(crate) fn is_hard(&self) -> bool {
        self.code.is_hard()
    }

    /// The whole reply text.
    pub(crate) fn text(&self) -> String {
        self.code.text(&self.explanation)
    }
}

impl From<wire::Error> for Fault {
    fn from(error: wire::Error) -> Self {
        Self::new(error.reply_code(), error.to_string())
    }
}

/// Which permission a method needs, in the words of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Configure,
    Write,
    Read,
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// What a method that the engine refused was about; reply texts name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) vhost: &'a str,
    pub(crate) user: &'a str,
    pub(crate) access: Access,
    pub(crate) queue: Option<&'a str>,
    pub(crate) exchange: Option<&'a str>,
    /// There is no queue of that name, but a topic that the user may see.
    pub(crate) is_topic: bool,
}

/// `queue 'q' in vhost '/'`
pub(crate) fn queue_text(vhost: &str, name: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// `exchange 'x' in vhost '/'`
pub(crate) fn exchange_text(vhost: &str, name: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

impl About<'_> {
    fn queue_text(&self) -> String {
        queue_text(self.vhost, self.queue.unwrap_or_default())
    }

    fn exchange_text(&self) -> String {
        exchange_text(self.vhost, self.exchange.unwrap_or_default())
    }

    /// How a queue comes to be where only a topic is.
    fn hint(&self) -> String {
        match self.queue {
            Some(name) if self.is_topic => format!(
                ": there is a topic of that name; attach a queue with `forebay queue create {name} --topic {name}`"
            ),
            _ => String::new(),
        }
    }

    /// The thing the method was about.
    fn thing(&self) -> String {
        match self.queue {
            Some(_) => self.queue_text(),
            None => self.exchange_text(),
        }
    }

    /// The text the client gets.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub(crate) fn fault(&self, error: &Error) -> Fault {
        match error {
            Error::Denied => Fault::refused(format!(
                "{} access to {} refused for user '{}'",
                self.access.word(),
                self.thing(),
                self.user
            )),
            Error::UnknownQueue | Error::UnknownTopic => {
                Fault::not_found(format!("no {}{}", self.queue_text(), self.hint()))
            }
            Error::UnknownExchange => Fault::not_found(format!("no {}", self.exchange_text())),
            Error::UnknownVhost => Fault::not_allowed(format!("vhost {} not found", self.vhost)),
            Error::InUse => Fault::precondition(format!("{} in use", self.thing())),
            Error::NotEmpty => Fault::precondition(format!("{} not empty", self.thing())),
            Error::Locked => Fault::new(
                ReplyCode::ResourceLocked,
                format!(
                    "cannot obtain exclusive access to locked {}. It could be originally declared on another \
                     connection or the exclusive property value does not match that of the original declaration.",
                    self.queue_text()
                ),
            ),
            Error::TooLarge { bytes, allowed } => Fault::precondition(format!(
                "message size {bytes} is larger than max size {allowed}"
            )),
            Error::InvalidName(_)
            | Error::InvalidConfig(_)
            | Error::InvalidRequest(_)
            | Error::QueueExists(_)
            | Error::ExchangeExists(_)
            | Error::TopicExists(_)
            | Error::QueueFull
            | Error::QueueStateFull
            | Error::InFlightLimit
            | Error::Throttled
            | Error::DiskFull => Fault::precondition(error.to_string()),
            Error::Unavailable => {
                Fault::new(ReplyCode::ConnectionForced, "broker is shutting down")
            }
            // Nothing here asks for what these are about.
            Error::MoveRunning
            | Error::UnknownMove
            | Error::UnknownPartition
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
            | Error::Storage(_) => Fault::new(ReplyCode::InternalError, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &Error, expected: &str) {
        let about = About {
            vhost: "/",
            user: "bob",
            access: Access::Write,
            queue: Some("q"),
            exchange: Some("x"),
            is_topic: false,
        };
        assert_eq!(about.fault(error).text(), expected);
    }

    #[test]
    fn a_topic_without_a_queue_is_told_how_to_get_one() {
        let about = About {
            vhost: "/",
            user: "bob",
            access: Access::Read,
            queue: Some("q"),
            exchange: None,
            is_topic: true,
        };
        assert_eq!(
            about.fault(&Error::UnknownQueue).text(),
            "NOT_FOUND - no queue 'q' in vhost '/': there is a topic of that name; attach a queue with \
             `forebay queue create q --topic q`"
        );
    }

    #[test]
    fn texts_are_those_clients_know() {
        check(
            &Error::UnknownQueue,
            "NOT_FOUND - no queue 'q' in vhost '/'",
        );
        check(
            &Error::UnknownExchange,
            "NOT_FOUND - no exchange 'x' in vhost '/'",
        );
        check(
            &Error::Denied,
            "ACCESS_REFUSED - write access to queue 'q' in vhost '/' refused for user 'bob'",
        );
        check(
            &Error::InUse,
            "PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
        );
        check(
            &Error::NotEmpty,
            "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
        );
        check(
            &Error::Locked,
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.",
        );
    }
}
