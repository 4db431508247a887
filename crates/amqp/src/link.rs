//! The two directions of a connection, with what was received and not yet served, and written and not yet sent.
//!
//! An idle connection holds no buffer in either. They are separate, so that the session can wait for both at once.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use net::Permit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::error::{Fault, Outcome};
use crate::message;
use crate::metrics::Metrics;
use crate::wire::{
    self, Arguments, CONTENT_HEADER_BYTES, Content, FRAME_OVERHEAD_BYTES, Frames, Splitter, Writer,
};

/// Bytes read at once while little arrives; lives on the stack, not in the connection.
const READ_CHUNK_BYTES: usize = 8 << 10;
/// Room made for bytes that arrive fast.
const STREAM_BYTES: usize = 64 << 10;
/// Room below which more is made.
const STREAM_ROOM_MIN: usize = 16 << 10;

/// A peer that sends no more than this may well send nothing more for a while.
const LITTLE_BYTES: usize = 2 << 10;

/// What arrives.
#[derive(Debug)]
pub(crate) struct FrameReader {
    reader: net::Reader,
    splitter: Splitter,
    buffer: BytesMut,
    /// A read chunk was full: more than that is on its way, and is read into the buffer without a copy.
    fast: bool,
    /// Something arrived since [`FrameReader::take_received`].
    has_received: bool,
    /// Room for what arrived and is kept.
    room: Permit,
    /// What is kept, bytes.
    kept: usize,
}

impl FrameReader {
    pub(crate) fn new(reader: net::Reader, frame_max: u32) -> Self {
        let room = reader.account().permit();
        Self {
            reader,
            splitter: Splitter::new(frame_max),
            buffer: BytesMut::new(),
            fast: false,
            has_received: false,
            room,
            kept: 0,
        }
    }

    /// So many bytes of what arrived are kept elsewhere; more is read when there is room for it.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.kept = bytes + self.buffer.len();
        self.room.set(self.kept);
    }

    /// Changes the size of frames that are taken.
    pub(crate) fn set_frame_max(&mut self, frame_max: u32) {
        self.splitter = Splitter::new(frame_max);
    }

    /// Reads what is there, and waits for something when nothing is; 0 at the end of the stream. Nothing is lost when
    /// the future is dropped.
    pub(crate) async fn read(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let lacking = self.splitter.lacking(&self.buffer);
        let is_stream = self.fast || lacking > READ_CHUNK_BYTES;
        if is_stream || self.kept > READ_CHUNK_BYTES {
            // A peer that sends nothing waits for no room.
            ready!(self.reader.poll_readable(cx));
            let step = if is_stream {
                STREAM_BYTES
            } else {
                READ_CHUNK_BYTES
            };
            ready!(self.room.poll_grow_to(cx, self.kept + step));
        }
        let read = if is_stream {
            self.poll_stream(cx, lacking)
        } else {
            self.poll_chunk(cx)
        };
        let count = ready!(read)?;
        self.has_received = true;
        Poll::Ready(Ok(count))
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>, lacking: usize) -> Poll<io::Result<usize>> {
        let room = self.buffer.capacity() - self.buffer.len();
        if room < lacking.clamp(1, STREAM_ROOM_MIN) {
            self.buffer.reserve(STREAM_BYTES);
        }
        let read = pin!(self.reader.read_buf(&mut self.buffer)).poll(cx);
        match read {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => {
                self.fast = false;
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                Poll::Pending
            }
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); READ_CHUNK_BYTES];
        let mut into = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.reader).poll_read(cx, &mut into))?;
        let arrived = into.filled();
        self.fast = arrived.len() == READ_CHUNK_BYTES;
        if self.fast {
            self.buffer.reserve(STREAM_BYTES);
        }
        self.buffer.extend_from_slice(arrived);
        Poll::Ready(Ok(arrived.len()))
    }

    /// What arrived and is not served yet.
    pub(crate) fn received(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The whole frames that have arrived.
    pub(crate) fn frames(&mut self) -> Outcome<Frames> {
        let frames = self.splitter.split(&mut self.buffer);
        if self.buffer.is_empty() && !self.fast {
            // Empty as it is, it would keep alive what the frames lie in.
            self.buffer = BytesMut::new();
        }
        frames.map_err(|error| broken(error, &self.buffer))
    }

    /// Whether something arrived since it was last asked.
    pub(crate) fn take_received(&mut self) -> bool {
        std::mem::take(&mut self.has_received)
    }
}

/// Octets of a broken frame that are shown.
const SHOWN_BYTES_MAX: usize = 16;

/// The answer to a peer whose bytes are no frame; they begin the buffer.
fn broken(error: wire::Error, buffer: &[u8]) -> Fault {
    let kind = buffer.first().copied().unwrap_or_default();
    let announced = buffer.get(3..7).and_then(|length| length.try_into().ok());
    let announced = u32::from_be_bytes(announced.unwrap_or_default());
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    let payload = buffer.get(FRAME_OVERHEAD_BYTES - 1..).unwrap_or_default();
    let payload = payload.get(..announced).unwrap_or(payload);
    let (payload, reason) = match error {
        wire::Error::FrameTooLarge {
            payload_bytes,
            frame_max,
        } => {
            let most = frame_max.saturating_sub(FRAME_OVERHEAD_BYTES);
            let reason = format!(": {{frame_too_large,{payload_bytes},{most}}}");
            (&[][..], reason)
        }
        wire::Error::FrameEnd { found } => {
            (payload, format!(": {{invalid_frame_end_marker,{found}}}"))
        }
        wire::Error::FrameKind { .. } | wire::Error::HeartbeatPayload => {
            (payload, ": unknown_frame".to_owned())
        }
        wire::Error::HeartbeatChannel { .. } => (payload, String::new()),
        other => return other.into(),
    };
    let (which, shown) = match payload.get(..SHOWN_BYTES_MAX) {
        Some(first) if payload.len() > SHOWN_BYTES_MAX => ("first 16", first),
        _ => ("all", payload),
    };
    let shown = octets(shown);
    let text = format!("type {kind}, {which} octets = {shown}{reason}");
    Fault::new(error.reply_code(), text)
}

/// Bytes as the language of the broker this dialect comes from prints them.
fn octets(bytes: &[u8]) -> String {
    let is_text = |byte: &u8| (b' '..=b'~').contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_text) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("<<\"{text}\">>");
    }
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

/// What leaves.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    writer: net::Writer,
    /// Where frames are written to.
    pub(crate) frames: Writer,
    queue: VecDeque<Bytes>,
    /// Bytes in `queue`; after a write that was cut short, what they were before it.
    queued: usize,
    /// Something left since [`FrameWriter::take_sent`].
    has_sent: bool,
    /// That headers are left out was logged.
    warned: bool,
}

impl FrameWriter {
    pub(crate) fn new(writer: net::Writer, frame_max: u32) -> Self {
        Self {
            writer,
            frames: Writer::new(frame_max),
            queue: VecDeque::new(),
            queued: 0,
            has_sent: false,
            warned: false,
        }
    }

    /// Bytes written and not yet sent, or a little less.
    pub(crate) fn len(&self) -> usize {
        self.queued + self.frames.len()
    }

    /// Whether everything was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A method with a message, without those of its headers that do not fit into the peer's frames: they cannot be
    /// divided, and a larger frame than agreed would end the peer, again with each redelivery.
    pub(crate) fn content<'a>(
        &mut self,
        metrics: &Metrics,
        (channel, arguments): (u16, &impl Arguments<'a>),
        content: Content<'_>,
    ) -> Outcome<()> {
        let written = self.frames.content(channel, arguments, content);
        let Err(wire::Error::FrameTooLarge { frame_max, .. }) = written else {
            return Ok(written?);
        };
        let bytes_max = frame_max.saturating_sub(FRAME_OVERHEAD_BYTES + CONTENT_HEADER_BYTES);
        let (properties, omitted) = message::fitting(content.properties, bytes_max);
        let content = Content {
            properties: &properties,
            ..content
        };
        self.frames.content(channel, arguments, content)?;
        Metrics::one(&metrics.headers_omitted);
        if !std::mem::replace(&mut self.warned, true) {
            let peer = self.writer.account().peer();
            tracing::warn!(%peer, channel, omitted, frame_max, "message delivered without the headers that do not fit into the client's frames");
        }
        Ok(())
    }

    /// Appends bytes that are no frames.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.frames.take_into(&mut self.queue);
        self.queue.push_back(Bytes::copy_from_slice(bytes));
        self.count();
    }

    /// Sends everything. When the future is dropped, what is left is kept.
    pub(crate) async fn send(&mut self) -> io::Result<()> {
        self.frames.take_into(&mut self.queue);
        self.count();
        if self.queued == 0 {
            return Ok(());
        }
        let is_little = self.queued < LITTLE_BYTES;
        self.writer.write_segments(&mut self.queue).await?;
        self.queued = 0;
        self.has_sent = true;
        if is_little {
            self.shrink();
        }
        Ok(())
    }

    /// Sends everything, and closes the sending side.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.send().await?;
        self.writer.shutdown().await
    }

    /// Sends what the peer takes at once.
    pub(crate) async fn send_some(&mut self) -> io::Result<()> {
        tokio::select! {
            biased;
            sent = self.send() => return sent,
            () = std::future::ready(()) => {}
        }
        self.count();
        Ok(())
    }

    fn count(&mut self) {
        self.queued = self.queue.iter().map(Bytes::len).sum();
    }

    /// Whether something left since it was last asked.
    pub(crate) fn take_sent(&mut self) -> bool {
        std::mem::take(&mut self.has_sent)
    }

    /// Gives back the room for more, where everything was sent.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.frames.shrink();
            self.queue = VecDeque::new();
        }
    }
}
