//! A tiny Kafka client over real sockets: frames out, frames in, nothing decided for the test.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use kafka::wire::{ApiKey, Message, Reader, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Larger than any answer a test asks for.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    correlation: i32,
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            correlation: 0,
        })
    }

    /// Sends a request made by [`request`].
    pub(crate) async fn send(&mut self, frame: &Bytes) -> io::Result<()> {
        self.stream.write_all(frame).await
    }

    /// The next answer's body, which must be the one to request `correlation`.
    pub(crate) async fn receive(
        &mut self,
        key: ApiKey,
        version: i16,
        correlation: i32,
    ) -> io::Result<Bytes> {
        let length = usize::try_from(self.stream.read_i32().await?).map_err(io::Error::other)?;
        assert!(length <= FRAME_BYTES_MAX, "an answer of {length} bytes");
        let mut frame = BytesMut::zeroed(length);
        self.stream.read_exact(&mut frame).await?;
        let frame = frame.freeze();
        let mut reader = Reader::new(&frame);
        let answered = frame::decode_response_header(&mut reader, key, version).unwrap();
        assert_eq!(
            answered, correlation,
            "answers come in the order of requests"
        );
        Ok(frame.slice(reader.position()..))
    }

    /// Asks and waits for the answer's body.
    pub(crate) async fn call<'a, R: Message<'a>>(
        &mut self,
        version: i16,
        message: &R,
    ) -> io::Result<Bytes> {
        self.correlation += 1;
        let correlation = self.correlation;
        self.send(&request(version, correlation, message)).await?;
        self.receive(R::KEY, version, correlation).await
    }
}

/// A request frame.
pub(crate) fn request<'a, R: Message<'a>>(version: i16, correlation: i32, message: &R) -> Bytes {
    let mut writer =
        frame::encode_request_header(R::KEY, version, correlation, Some("test")).unwrap();
    message.encode(&mut writer, version).unwrap();
    writer.finish().unwrap().into_bytes()
}

/// Reads an answer's body.
pub(crate) fn answer<'a, R: Message<'a>>(body: &'a Bytes, version: i16) -> R {
    let mut reader = Reader::new(body);
    let answer = R::decode(&mut reader, version).unwrap();
    reader.finish().unwrap();
    answer
}
