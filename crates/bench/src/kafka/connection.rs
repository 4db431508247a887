//! One connection: frames out, frames in, and nothing per record. Small frames gather and leave in one write; buffers
//! are reused from answer to answer.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use kafka::wire::{ApiKey, Message, Reader, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How we call ourselves.
pub(super) const CLIENT_ID: &str = "forebay-bench";
/// Bytes of the length in front of every frame.
const PREFIX_BYTES: usize = 4;
/// No answer to our own requests is larger: a fetch is limited to 50 MiB and whatever its first batch takes.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// Frames up to this size are copied together; above it the copy costs more than a write of their own.
const GATHER_BYTES_MAX: usize = 16 << 10;
/// Room for reading: plenty of produce answers.
const READ_BYTES: usize = 4 << 10;

/// A connection to a broker.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    correlation_id: i32,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            correlation_id: 0,
        })
    }

    /// A number no request of this connection had before.
    pub(super) fn next_id(&mut self) -> i32 {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.correlation_id
    }

    /// Sends a request and awaits the answer's frame. No other may be in flight.
    pub(super) async fn call<'a, M: Message<'a>>(
        &mut self,
        request: &M,
        version: i16,
    ) -> Result<Answer> {
        let id = self.next_id();
        self.put(&encode(request, version, id)?).await?;
        self.flush().await?;
        let frame = self.receive().await?;
        let expected = Expected {
            key: M::KEY,
            version,
            id,
        };
        Ok(Answer { frame, expected })
    }

    /// Queues a frame, or writes it if it is large.
    pub(super) async fn put(&mut self, frame: &[u8]) -> Result<()> {
        if frame.len() <= GATHER_BYTES_MAX {
            self.output.extend_from_slice(frame);
            return Ok(());
        }
        self.flush().await?;
        Ok(self.stream.write_all(frame).await?)
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }

    /// The next frame, without its length.
    pub(super) async fn receive(&mut self) -> Result<Bytes> {
        loop {
            if let Some(frame) = self.received()? {
                return Ok(frame);
            }
            self.read().await?;
        }
    }

    /// The next frame, if it is here already.
    pub(super) fn received(&mut self) -> Result<Option<Bytes>> {
        match length(&self.input)? {
            Some(length) if self.input.len() >= PREFIX_BYTES + length => {
                self.input.advance(PREFIX_BYTES);
                Ok(Some(self.input.split_to(length).freeze()))
            }
            _ => Ok(None),
        }
    }

    async fn read(&mut self) -> Result<()> {
        let whole = length(&self.input)?.map_or(0, |length| PREFIX_BYTES + length);
        let missing = whole.saturating_sub(self.input.len());
        self.input.reserve(missing.max(READ_BYTES));
        let count = self.stream.read_buf(&mut self.input).await?;
        ensure!(count > 0, "the broker closed the connection");
        Ok(())
    }
}

/// Length of the first frame in `input`, once its prefix is there.
fn length(input: &[u8]) -> Result<Option<usize>> {
    let Some(prefix) = input.first_chunk() else {
        return Ok(None);
    };
    match usize::try_from(i32::from_be_bytes(*prefix)) {
        Ok(length) if length <= FRAME_BYTES_MAX => Ok(Some(length)),
        _ => bail!("the broker announces a frame of impossible length"),
    }
}

/// A request's frame, ready to be sent.
pub(super) fn encode<'a, M: Message<'a>>(message: &M, version: i16, id: i32) -> Result<Bytes> {
    let mut writer = frame::encode_request_header(M::KEY, version, id, Some(CLIENT_ID))?;
    message.encode(&mut writer, version)?;
    Ok(writer.finish()?.into_bytes())
}

/// What an answer must be the answer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) key: ApiKey,
    pub(super) version: i16,
    pub(super) id: i32,
}

impl Expected {
    /// Reads the answer.
    pub(super) fn decode<'a, M: Message<'a>>(self, frame: &'a Bytes) -> Result<M> {
        let mut reader = Reader::new(frame);
        let id = frame::decode_response_header(&mut reader, self.key, self.version)?;
        ensure!(id == self.id, "answer {id} came where {} was due", self.id);
        let message = M::decode(&mut reader, self.version)?;
        reader.finish()?;
        Ok(message)
    }
}

/// An answer not yet read.
#[derive(Debug)]
pub(super) struct Answer {
    frame: Bytes,
    expected: Expected,
}

impl Answer {
    /// Reads it.
    pub(super) fn decode<'a, M: Message<'a>>(&'a self) -> Result<M> {
        self.expected.decode(&self.frame)
    }
}

#[cfg(test)]
mod tests {
    use kafka::wire::{MetadataResponse, frame};

    use super::*;

    #[test]
    fn a_frame_is_announced_by_four_bytes() {
        assert_eq!(length(&[0, 0, 1]).unwrap(), None);
        assert_eq!(length(&[0, 0, 1, 2, 9]).unwrap(), Some(258));
        assert!(length(&[0xff, 0, 0, 0]).is_err());
        assert!(length(&[0x7f, 0, 0, 0]).is_err());
    }

    #[test]
    fn an_answer_to_something_else_is_refused() {
        let (key, version) = (ApiKey::Metadata, 12);
        let mut writer = frame::encode_response_header(key, version, 7).unwrap();
        MetadataResponse::default()
            .encode(&mut writer, version)
            .unwrap();
        let frame = writer.finish().unwrap().into_bytes().slice(PREFIX_BYTES..);
        let expected = |id| Expected { key, version, id };
        expected(7).decode::<MetadataResponse<'_>>(&frame).unwrap();
        let error = expected(8)
            .decode::<MetadataResponse<'_>>(&frame)
            .unwrap_err();
        assert_eq!(error.to_string(), "answer 7 came where 8 was due");
    }
}
