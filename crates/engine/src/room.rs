//! Room in memory for what readers are given. The caller that asks for messages keeps account of it; the engine asks
//! before it keeps a message in memory for a caller, and gives the room back with the message.

use std::fmt::Debug;
use std::future::poll_fn;
use std::task::{Context, Poll};

/// Where room comes from.
pub trait Room: Send + Sync + Debug {
    /// Takes room for so many bytes, if it is there now.
    fn try_take(&self, bytes: usize) -> bool;

    /// Waits for room for so many bytes.
    fn poll_take(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()>;

    /// Gives room back.
    fn give_back(&self, bytes: usize);

    /// The most that is found sooner or later, however much others need, bytes. More than that may never be there.
    fn bytes_max(&self) -> usize {
        usize::MAX
    }
}

/// As much room as anybody wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Boundless;

impl Room for Boundless {
    fn try_take(&self, _: usize) -> bool {
        true
    }

    fn poll_take(&self, _: &mut Context<'_>, _: usize) -> Poll<()> {
        Poll::Ready(())
    }

    fn give_back(&self, _: usize) {}
}

/// Waits for room for so many bytes.
pub(crate) async fn take(room: &dyn Room, bytes: usize) {
    poll_fn(|cx| room.poll_take(cx, bytes)).await;
}

/// Whether a message is not worth waiting for: the room for it may never be there.
pub(crate) fn is_hopeless(room: &dyn Room, bytes: usize) -> bool {
    bytes > room.bytes_max()
}

/// Takes `bytes` out of what was taken ahead, and as far as that is not enough from the room itself.
pub(crate) fn try_take(room: &dyn Room, ahead: &mut usize, bytes: usize) -> bool {
    let more = bytes.saturating_sub(*ahead);
    if more > 0 && !room.try_take(more) {
        return false;
    }
    *ahead = ahead.saturating_sub(bytes);
    true
}
