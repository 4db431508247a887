//! Frames off a connection: bounded in memory by what the peer has really sent, and in time.
//!
//! An idle connection holds no buffer. A length field alone buys a peer nothing: memory is taken as bytes
//! arrive, frames above a few kilobytes take room from a budget all connections share, and a frame that was
//! begun must arrive at a minimum pace.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// Length prefix of a frame.
const PREFIX_BYTES: usize = 4;
/// Bytes read at once while no large frame is under way; lives on the stack, not in the connection.
const GULP_BYTES: usize = 16 << 10;
/// Frames up to this size are not charged to the shared budget.
const FREE_BYTES: usize = 4 << 10;
/// Room made for a frame at first; beyond it, room doubles as bytes arrive.
const STEP_BYTES: usize = 64 << 10;
/// How long a begun frame may take, plus what has arrived of it at the slowest pace that is put up with.
const FRAME_TIME: Duration = Duration::from_secs(30);
/// The time one byte takes at 64 KiB per second.
const BYTE_TIME: Duration = Duration::from_nanos(1_000_000_000 / (64 << 10));

/// Limits on what peers may send.
#[derive(Debug, Clone)]
pub(crate) struct FrameLimits {
    /// Largest frame, bytes.
    pub(crate) frame_bytes_max: usize,
    /// How long a connection may be silent between frames.
    pub(crate) idle: Duration,
    /// Bytes of frames all connections together may hold.
    pub(crate) budget: Arc<Semaphore>,
    /// One frame at a time may exceed the budget: frames that have half of what they need and wait for each
    /// other's room would otherwise wait for ever.
    pub(crate) overdraft: Arc<Semaphore>,
}

impl FrameLimits {
    pub(crate) fn new(frame_bytes_max: usize, budget_bytes: usize, idle: Duration) -> Self {
        Self {
            frame_bytes_max,
            idle,
            budget: Arc::new(Semaphore::new(budget_bytes)),
            overdraft: Arc::new(Semaphore::new(1)),
        }
    }
}

/// A frame's share of the budget, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Grows to `bytes` in all; true when it had to wait, for others to give back theirs or for the right to
    /// exceed the budget.
    pub(crate) async fn grow_to(&mut self, bytes: usize, limits: &FrameLimits) -> bool {
        let have = self
            .taken
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes <= have || self.overdraft.is_some() {
            return false;
        }
        let more = u32::try_from(bytes - have).unwrap_or(u32::MAX);
        if let Ok(more) = Arc::clone(&limits.budget).try_acquire_many_owned(more) {
            self.add(more);
            return false;
        }
        tokio::select! {
            biased;
            more = Arc::clone(&limits.budget).acquire_many_owned(more) => more.into_iter().for_each(|more| self.add(more)),
            overdraft = Arc::clone(&limits.overdraft).acquire_owned() => self.overdraft = overdraft.ok(),
        }
        true
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
    }
}

/// A whole frame, without its length prefix.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Room in the shared budget, given back when the request is done with.
    pub(crate) room: Room,
}

/// Reads frames from one connection.
pub(crate) struct Frames<R> {
    from: R,
    limits: FrameLimits,
    buffer: BytesMut,
    room: Room,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(from: R, limits: FrameLimits) -> Self {
        Self {
            from,
            limits,
            buffer: BytesMut::new(),
            room: Room::default(),
        }
    }

    /// The next frame; `None` at the end of the stream. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        if self.buffer.is_empty() {
            // Whatever the buffer pointed into belongs to the last frame; holding on to it would pin that.
            self.buffer = BytesMut::new();
            let idle = self.limits.idle;
            match timeout(idle, self.gulp()).await {
                Err(_) | Ok(Ok(0)) => return Ok(None),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) => {}
            }
        }
        let length = match self.length()? {
            Some(length) => length,
            None => timeout(FRAME_TIME, self.read_length()).await??,
        };
        self.read_body(length).await?;
        let mut frame = self.buffer.split_to(PREFIX_BYTES + length).freeze();
        let bytes = frame.split_off(PREFIX_BYTES);
        Ok(Some(Frame {
            bytes,
            room: std::mem::take(&mut self.room),
        }))
    }

    /// Returns when the peer has gone. Requests that arrive meanwhile are kept, within bounds.
    pub(crate) async fn gone(&mut self) {
        while self.buffer.len() < GULP_BYTES {
            if !matches!(self.gulp().await, Ok(1..)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn read_length(&mut self) -> io::Result<usize> {
        loop {
            if self.gulp().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(length) = self.length()? {
                return Ok(length);
            }
        }
    }

    /// The length field, once it is there. Errors when no frame can have it.
    fn length(&self) -> io::Result<Option<usize>> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(i32::from_be_bytes(*prefix)).ok();
        match length.filter(|n| (1..=self.limits.frame_bytes_max).contains(n)) {
            Some(length) => Ok(Some(length)),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the frame length is out of bounds",
            )),
        }
    }

    async fn read_body(&mut self, length: usize) -> io::Result<()> {
        let total = PREFIX_BYTES + length;
        let limit = sleep(FRAME_TIME);
        tokio::pin!(limit);
        while self.buffer.len() < total {
            // Neither memory nor time is granted for what a length field only claims.
            let upto = total.min(self.buffer.len() + STEP_BYTES.max(self.buffer.len()));
            if self.take_room(upto.min(length)).await {
                // That others held the room is not this peer's fault.
                limit.as_mut().reset(sleep(FRAME_TIME).deadline());
            }
            let read = tokio::select! {
                biased;
                read = self.read_some(total, upto) => read?,
                () = &mut limit => return Err(io::ErrorKind::TimedOut.into()),
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let more = limit.deadline() + BYTE_TIME * u32::try_from(read).unwrap_or(u32::MAX);
            limit.as_mut().reset(more);
        }
        // Also what came with the frame before it.
        self.take_room(length).await;
        Ok(())
    }

    /// Takes room for a frame's first `bytes`; true when others had to give it back first.
    async fn take_room(&mut self, bytes: usize) -> bool {
        bytes > FREE_BYTES && self.room.grow_to(bytes, &self.limits).await
    }

    /// Reads some of a frame of `total` bytes, with room for those before `upto`.
    async fn read_some(&mut self, total: usize, upto: usize) -> io::Result<usize> {
        let arrived = self.buffer.len();
        if total - arrived <= GULP_BYTES {
            return self.gulp().await;
        }
        self.buffer.reserve(upto - arrived);
        let room = (self.buffer.capacity() - arrived).min(total - arrived);
        let mut from = (&mut self.from).take(room as u64);
        from.read_buf(&mut self.buffer).await
    }

    /// Reads what there is through the stack, so that a waiting connection needs no buffer.
    async fn gulp(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            let mut space = [MaybeUninit::uninit(); GULP_BYTES];
            let mut into = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.from).poll_read(cx, &mut into))?;
            self.buffer.extend_from_slice(into.filled());
            Poll::Ready(Ok(into.filled().len()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(budget: usize) -> FrameLimits {
        FrameLimits::new(1 << 20, budget, Duration::from_mins(10))
    }

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.extend((0..length).map(|i| u8::try_from(i % 251).unwrap()));
        bytes
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_out_whole() {
        let sizes = [1, 3, 4096, 4097, 20_000, 300_000, 1 << 20, 5];
        let stream: Vec<u8> = sizes.iter().flat_map(|n| frame(*n)).collect();
        let mut frames = Frames::new(stream.as_slice(), limits(2 << 20));
        for size in sizes {
            let got = frames.next().await.unwrap().unwrap();
            assert_eq!(got.bytes, frame(size)[4..], "a frame of {size}");
        }
        assert!(frames.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn impossible_lengths_are_refused_at_once() {
        for prefix in [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0; 4], [0, 0x10, 0, 1]] {
            let mut frames = Frames::new(prefix.as_slice(), limits(1 << 20));
            let error = frames.next().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn a_claimed_length_takes_no_memory() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0, 0x0f, 0xff, 0xff, 1, 2, 3])
            .await
            .unwrap();
        let mut frames = Frames::new(ours, limits(1 << 20));
        let _ = timeout(Duration::from_millis(20), frames.next()).await;
        assert!(frames.buffer.capacity() <= 2 * STEP_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_claim_buys_no_time() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0, 0x0f, 0xff, 0xff, 1])
            .await
            .unwrap();
        let mut frames = Frames::new(ours, limits(1 << 20));
        let began = tokio::time::Instant::now();
        let error = frames.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < FRAME_TIME + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_frame_does_not_wait_for_ever() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0, 0, 0, 9, 1])
            .await
            .unwrap();
        let mut frames = Frames::new(ours, limits(1 << 20));
        let error = frames.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn large_frames_wait_for_room() {
        let limits = limits(40_000);
        let bytes = frame(30_000).repeat(3);
        let mut a = Frames::new(bytes.as_slice(), limits.clone());
        let mut b = Frames::new(bytes.as_slice(), limits);
        let first = a.next().await.unwrap().unwrap();
        let second = b.next().await.unwrap().unwrap();
        assert!(
            timeout(Duration::from_millis(20), b.next()).await.is_err(),
            "the budget is spent and one frame exceeds it: no room for a third"
        );
        drop(first);
        assert_eq!(b.next().await.unwrap().unwrap().bytes.len(), 30_000);
        drop(second);
    }

    #[tokio::test]
    async fn claimed_lengths_keep_nobody_else_waiting() {
        let limits = limits(1 << 20);
        let mut stalled = Vec::new();
        for _ in 0..10 {
            let (mut theirs, ours) = tokio::io::duplex(64);
            let mut frames = Frames::new(ours, limits.clone());
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0, 0x0f, 0, 0])
                .await
                .unwrap();
            let _ = timeout(Duration::from_millis(5), frames.next()).await;
            stalled.push((theirs, frames));
        }
        let bytes = frame(20_000);
        let mut honest = Frames::new(bytes.as_slice(), limits);
        assert_eq!(honest.next().await.unwrap().unwrap().bytes.len(), 20_000);
    }

    #[tokio::test]
    async fn frames_that_wait_for_each_other_get_through_one_by_one() {
        let limits = limits(200_000);
        let readers = (0..4).map(|_| {
            let limits = limits.clone();
            tokio::spawn(async move {
                let bytes = frame(150_000);
                let (mut theirs, ours) = tokio::io::duplex(1000);
                let mut frames = Frames::new(ours, limits);
                let writing = tokio::io::AsyncWriteExt::write_all(&mut theirs, &bytes);
                let (written, read) = tokio::join!(writing, frames.next());
                written.unwrap();
                read.unwrap().unwrap().bytes.len()
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            assert_eq!(reader.await.unwrap(), 150_000);
        }
    }

    #[tokio::test]
    async fn the_end_of_the_peer_is_noticed_while_a_request_waits() {
        let (theirs, ours) = tokio::io::duplex(64);
        let mut frames = Frames::new(ours, limits(1 << 20));
        assert!(
            timeout(Duration::from_millis(10), frames.gone())
                .await
                .is_err()
        );
        drop(theirs);
        frames.gone().await;
    }
}
