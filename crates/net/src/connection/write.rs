//! Sending: plain writes for everyone, and segment lists for responses that must not be copied together.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::{Connection, WriteSide, Writer};

/// Slices given to one `writev`; far below `IOV_MAX` (1024) because the list is built on the stack.
const SLICES_MAX: usize = 64;

impl Writer {
    /// Sends all segments in order, without joining them, and leaves `segments` empty.
    ///
    /// When it fails, what is left in `segments` was not sent; the connection is of no further use.
    pub async fn write_segments(&mut self, segments: &mut VecDeque<Bytes>) -> io::Result<()> {
        while !segments.is_empty() {
            // The slices live inside the poll, never in the future: an idle connection stays small.
            let sent = poll_fn(|cx| self.poll_segments(cx, segments)).await?;
            forget_sent(segments, sent);
        }
        Ok(())
    }

    fn poll_segments(
        &mut self,
        cx: &mut Context<'_>,
        segments: &VecDeque<Bytes>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let filled = segments.iter().filter(|segment| !segment.is_empty());
        for (slot, segment) in slices.iter_mut().zip(filled) {
            *slot = IoSlice::new(segment);
            count += 1;
        }
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let sent = ready!(Pin::new(self).poll_write_vectored(cx, &slices[..count]))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(sent))
    }
}

impl Connection {
    /// [`Writer::write_segments`], for a connection that was not split.
    pub async fn write_segments(&mut self, segments: &mut VecDeque<Bytes>) -> io::Result<()> {
        self.writer.write_segments(segments).await
    }
}

/// Drops what was sent, and every empty segment in front.
fn forget_sent(segments: &mut VecDeque<Bytes>, mut sent: usize) {
    while let Some(first) = segments.front_mut() {
        if sent < first.len() {
            first.advance(sent);
            return;
        }
        sent -= first.len();
        segments.pop_front();
    }
    assert_eq!(sent, 0, "more bytes sent than there were");
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            side,
            stall,
            account,
        } = self.get_mut();
        let outcome = match side {
            WriteSide::Tcp(side) => Pin::new(side).poll_write(cx, buf),
            WriteSide::Memory(side) => Pin::new(side).poll_write(cx, buf),
        };
        if let Poll::Ready(Ok(sent)) = &outcome {
            account.note_sent(*sent);
        }
        stall.watch(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self {
            side,
            stall,
            account,
        } = self.get_mut();
        let outcome = match side {
            WriteSide::Tcp(side) => Pin::new(side).poll_write_vectored(cx, bufs),
            WriteSide::Memory(side) => Pin::new(side).poll_write_vectored(cx, bufs),
        };
        if let Poll::Ready(Ok(sent)) = &outcome {
            account.note_sent(*sent);
        }
        stall.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { side, stall, .. } = self.get_mut();
        let outcome = match side {
            WriteSide::Tcp(side) => Pin::new(side).poll_flush(cx),
            WriteSide::Memory(side) => Pin::new(side).poll_flush(cx),
        };
        stall.watch(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { side, stall, .. } = self.get_mut();
        let outcome = match side {
            WriteSide::Tcp(side) => Pin::new(side).poll_shutdown(cx),
            WriteSide::Memory(side) => Pin::new(side).poll_shutdown(cx),
        };
        stall.watch(cx, outcome)
    }
}
