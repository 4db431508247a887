//! Requests that wait for the lock of a partition.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::settling::Settling;
use crate::queue::{NewMessage, Poll, Sent, SessionMessage};
use crate::{Error, Result};

/// What may wait for a partition's lock, and is then done together with what else waits.
pub(crate) enum Request {
    /// Sends single messages to a queue.
    Send(Sending),
    /// Leases messages to a receiver; with `park` it may wait for them.
    Receive {
        queue: Uuid,
        poll: Arc<Poll>,
        park: bool,
    },
    /// Settles messages in flight.
    Settle(Settling),
    /// A message of a session.
    Session(SessionMessage),
}

impl Request {
    /// Whether a task waits for its answer.
    pub(super) fn is_awaited(&self) -> bool {
        match self {
            Self::Send(_) | Self::Receive { .. } => true,
            Self::Settle(settling) => settling.done.is_some(),
            Self::Session(_) => false,
        }
    }
}

/// Messages for one queue.
pub(crate) struct Sending {
    pub(crate) queue: Uuid,
    pub(crate) messages: Vec<NewMessage>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    pub(crate) done: oneshot::Sender<Result<Vec<Result<Sent>>>>,
}

/// What waits for a partition that is gone.
pub(super) fn refuse(request: Request) {
    let gone = Error::UnknownQueue;
    match request {
        Request::Send(Sending { done, .. }) => drop(done.send(Err(gone))),
        Request::Receive { poll, .. } => {
            if let Some(answer) = poll.take_answer() {
                drop(answer.send(Err(gone)));
            }
        }
        Request::Settle(settling) => {
            if let Some(done) = settling.done {
                drop(done.send(Err(gone)));
            }
        }
        Request::Session(_) => {}
    }
}
