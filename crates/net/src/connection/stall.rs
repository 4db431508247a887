//! Patience with a peer that does not read: armed by the first refused byte, disarmed by the next accepted one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The timer of one writer. An idle connection carries no timer at all: it is boxed when first needed.
#[derive(Debug)]
pub(super) struct Stall {
    patience: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            running: None,
        }
    }

    /// Passes the outcome of a write through, and turns a refusal that lasted too long into an error.
    pub(super) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.running = None;
            return outcome;
        }
        let patience = self.patience;
        let timer = self
            .running
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        match timer.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.running = None;
                let error = io::Error::new(io::ErrorKind::TimedOut, "the peer does not read");
                Poll::Ready(Err(error))
            }
        }
    }
}
