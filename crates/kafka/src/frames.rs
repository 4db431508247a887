//! Frames off a connection: bounded in memory by what the peer has really sent, and in time.
//!
//! An idle connection holds no buffer. A length field alone buys a peer nothing: memory is taken as bytes
//! arrive, room for them from the budget all connections share, and a frame that was begun must arrive at a
//! minimum pace.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use net::{Account, Permit};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{sleep, timeout};

/// Length prefix of a frame.
const PREFIX_BYTES: usize = 4;
/// Bytes read at once while no large frame is under way; lives on the stack, not in the connection.
const READ_CHUNK_BYTES: usize = 16 << 10;
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
}

/// Where frames come from.
pub(crate) trait Arriving: AsyncRead + Unpin {
    /// Ready when there is something to read.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Arriving for net::Reader {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll_readable(self, cx)
    }
}

/// A whole frame, without its length prefix.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Its room in the budget, given back when the request is done with.
    pub(crate) room: Permit,
}

/// Reads frames from one connection.
pub(crate) struct Frames<R> {
    from: R,
    limits: FrameLimits,
    buffer: BytesMut,
    /// Room for what is in the buffer.
    room: Permit,
}

impl<R: Arriving> Frames<R> {
    pub(crate) fn new(from: R, mut limits: FrameLimits, account: &Account) -> Self {
        let most = account.budget().request_bytes_max();
        limits.frame_bytes_max = limits.frame_bytes_max.min(most);
        Self {
            from,
            limits,
            buffer: BytesMut::new(),
            room: account.permit(),
        }
    }

    /// The next frame; `None` at the end of the stream. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        if self.buffer.is_empty() {
            // Whatever the buffer pointed into belongs to the last frame; holding on to it would pin that.
            self.buffer = BytesMut::new();
            let idle = self.limits.idle;
            match timeout(idle, self.read_chunk()).await {
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
        let mut room = self.room.take();
        room.set(bytes.len());
        self.room.set(self.buffer.len());
        Ok(Some(Frame { bytes, room }))
    }

    /// Returns when the peer has gone. Requests that arrive meanwhile are kept, within bounds.
    pub(crate) async fn gone(&mut self) {
        while self.buffer.len() < READ_CHUNK_BYTES {
            if !matches!(self.read_chunk().await, Ok(1..)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn read_length(&mut self) -> io::Result<usize> {
        loop {
            if self.read_chunk().await? == 0 {
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
        if self.buffer.len() >= total {
            return Ok(());
        }
        let _unfinished = self.room.account().unfinished();
        let limit = sleep(FRAME_TIME);
        tokio::pin!(limit);
        while self.buffer.len() < total {
            // Neither memory nor time is granted for what a length field only claims.
            let upto = total.min(self.buffer.len() + STEP_BYTES.max(self.buffer.len()));
            tokio::select! {
                biased;
                // A peer that sends nothing waits for no room.
                () = poll_fn(|cx| self.from.poll_readable(cx)) => {}
                () = &mut limit => return Err(io::ErrorKind::TimedOut.into()),
            }
            if !self.room.try_grow_to(upto) {
                self.room.grow_to(upto).await;
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
        Ok(())
    }

    /// Reads some of a frame of `total` bytes, with room for those before `upto`.
    async fn read_some(&mut self, total: usize, upto: usize) -> io::Result<usize> {
        let arrived = self.buffer.len();
        if total - arrived <= READ_CHUNK_BYTES {
            return self.read_chunk().await;
        }
        self.buffer.reserve(upto - arrived);
        let room = (self.buffer.capacity() - arrived).min(total - arrived);
        let mut from = (&mut self.from).take(room as u64);
        from.read_buf(&mut self.buffer).await
    }

    /// Reads what there is through the stack, so that a waiting connection needs no buffer.
    async fn read_chunk(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut space = [MaybeUninit::uninit(); READ_CHUNK_BYTES];
            let mut into = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.from).poll_read(cx, &mut into))?;
            self.buffer.extend_from_slice(into.filled());
            // It is there already, and little.
            self.room.set(self.room.bytes().max(self.buffer.len()));
            Poll::Ready(Ok(into.filled().len()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use net::Budget;

    use super::*;

    impl Arriving for &[u8] {
        fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    impl Arriving for tokio::io::DuplexStream {
        fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    /// Frames of up to 1 MiB, with an account of this budget.
    fn frames_of<R: Arriving>(from: R, budget: &Budget) -> Frames<R> {
        let limits = FrameLimits {
            frame_bytes_max: 1 << 20,
            idle: Duration::from_mins(10),
        };
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        Frames::new(from, limits, &budget.account("kafka", peer))
    }

    fn frames_within<R: Arriving>(from: R) -> Frames<R> {
        frames_of(from, &Budget::unlimited())
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
        let mut frames = frames_within(stream.as_slice());
        for size in sizes {
            let got = frames.next().await.unwrap().unwrap();
            assert_eq!(got.bytes, frame(size)[4..], "a frame of {size}");
        }
        assert!(frames.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn impossible_lengths_are_refused_at_once() {
        for prefix in [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0; 4], [0, 0x10, 0, 1]] {
            let mut frames = frames_within(prefix.as_slice());
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
        let mut frames = frames_within(ours);
        let _ = timeout(Duration::from_millis(20), frames.next()).await;
        assert!(frames.buffer.capacity() <= 2 * STEP_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_claim_buys_no_time() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0, 0x0f, 0xff, 0xff, 1])
            .await
            .unwrap();
        let mut frames = frames_within(ours);
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
        let mut frames = frames_within(ours);
        let error = frames.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn large_frames_wait_for_room() {
        let budget = Budget::new(3 << 20);
        let bytes = frame(700_000).repeat(3);
        let mut a = frames_of(bytes.as_slice(), &budget);
        let mut b = frames_of(bytes.as_slice(), &budget);
        let mut held = Vec::new();
        for frames in [&mut a, &mut b] {
            held.push(frames.next().await.unwrap().unwrap());
        }
        assert!(
            timeout(Duration::from_millis(20), b.next()).await.is_err(),
            "shares are spent and one frame exceeds them: no room for a third"
        );
        held.clear();
        assert_eq!(b.next().await.unwrap().unwrap().bytes.len(), 700_000);
    }

    #[tokio::test]
    async fn claimed_lengths_keep_nobody_else_waiting() {
        let budget = Budget::new(3 << 20);
        let mut stalled = Vec::new();
        for _ in 0..10 {
            let (mut theirs, ours) = tokio::io::duplex(64);
            let mut frames = frames_of(ours, &budget);
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0, 0x0f, 0, 0])
                .await
                .unwrap();
            let _ = timeout(Duration::from_millis(5), frames.next()).await;
            stalled.push((theirs, frames));
        }
        let bytes = frame(20_000);
        let mut honest = frames_of(bytes.as_slice(), &budget);
        assert_eq!(honest.next().await.unwrap().unwrap().bytes.len(), 20_000);
    }

    #[tokio::test]
    async fn frames_that_wait_for_each_other_get_through_one_by_one() {
        let budget = Budget::new(600_000);
        let readers = (0..4).map(|_| {
            let budget = budget.clone();
            tokio::spawn(async move {
                let bytes = frame(150_000);
                let (mut theirs, ours) = tokio::io::duplex(1000);
                let mut frames = frames_of(ours, &budget);
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
    async fn what_can_never_fit_is_refused_at_once() {
        let budget = Budget::new(300_000);
        let bytes = frame(200_000);
        let mut frames = frames_of(bytes.as_slice(), &budget);
        let error = frames.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(frames);
        assert_eq!(budget.numbers().used_bytes, 0);
    }

    #[tokio::test]
    async fn the_end_of_the_peer_is_noticed_while_a_request_waits() {
        let (theirs, ours) = tokio::io::duplex(64);
        let mut frames = frames_within(ours);
        assert!(
            timeout(Duration::from_millis(10), frames.gone())
                .await
                .is_err()
        );
        drop(theirs);
        frames.gone().await;
    }
}
