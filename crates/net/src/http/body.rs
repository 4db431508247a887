//! A request body that ends: too many bytes or too much time is an error.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::HttpLimits;

/// Why a body was cut.
#[derive(Debug)]
enum Cut {
    TooLarge,
    TooSlow,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the request body is too large",
            Self::TooSlow => "the request body did not arrive in time",
        })
    }
}

impl std::error::Error for Cut {}

/// The body as the handlers see it.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: Incoming,
    bytes_left: usize,
    time: Duration,
    /// Started when the body first keeps a handler waiting.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    pub(super) fn body(inner: Incoming, limits: HttpLimits) -> Body {
        if inner.is_end_stream() {
            return Body::empty();
        }
        Body::new(Self {
            inner,
            bytes_left: limits.body_bytes_max.saturating_add(1),
            time: limits.body_read,
            deadline: None,
        })
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.time;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        deadline.as_mut().poll(cx)
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            ready!(this.poll_deadline(cx));
            return Poll::Ready(Some(Err(Cut::TooSlow.into())));
        };
        let Some(frame) = frame.transpose()? else {
            return Poll::Ready(None);
        };
        // The frame that crosses the limit still passes: an extractor answers it properly (413), everyone
        // else fails at the next one.
        if this.bytes_left == 0 {
            return Poll::Ready(Some(Err(Cut::TooLarge.into())));
        }
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        this.bytes_left = this.bytes_left.saturating_sub(bytes);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
