//! A client's side of HTTP/1.1, as much of it as this load needs: one request at a time on a connection that is kept.
//!
//! Answers must say their length; an answer in chunks is an error, not a guess.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far more than an answer's head takes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Far more than ten messages of the largest size take.
const BODY_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 16 << 10;

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    input: BytesMut,
}

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// The part of an answer before its body.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    bytes: usize,
    status: u16,
    body_bytes: usize,
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
        })
    }

    /// Sends a whole request and awaits its answer.
    pub(super) async fn call(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(head) = head(&self.input)? {
                break head;
            }
            self.read(READ_BYTES).await?;
        };
        let whole = head.bytes + head.body_bytes;
        while self.input.len() < whole {
            self.read(whole - self.input.len()).await?;
        }
        ensure!(
            self.input.len() == whole,
            "the server sent more than was asked for"
        );
        self.input.advance(head.bytes);
        Ok(Answer {
            status: head.status,
            body: self.input.split().freeze(),
        })
    }

    async fn read(&mut self, bytes: usize) -> Result<()> {
        self.input.reserve(bytes);
        let count = self.stream.read_buf(&mut self.input).await?;
        ensure!(count > 0, "the server closed the connection");
        Ok(())
    }
}

/// Reads the head, once all of it is there.
fn head(input: &[u8]) -> Result<Option<Head>> {
    const END: &[u8] = b"\r\n\r\n";
    let end = input.windows(END.len()).position(|four| four == END);
    let Some(end) = end else {
        ensure!(
            input.len() <= HEAD_BYTES_MAX,
            "an answer's head does not end"
        );
        return Ok(None);
    };
    let text = std::str::from_utf8(&input[..end]).context("an answer's head is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status.and_then(|status| status.get(..3)?.parse().ok());
    let mut body_bytes = None;
    for line in lines {
        let (name, value) = line.split_once(':').context("a header without a colon")?;
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer comes in chunks, which this client does not read");
        }
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = Some(value.trim().parse()?);
        }
    }
    let body_bytes = body_bytes.context("the answer does not say its length")?;
    ensure!(body_bytes <= BODY_BYTES_MAX, "the answer is too long");
    Ok(Some(Head {
        bytes: end + END.len(),
        status: status.context("the answer is not HTTP/1.1")?,
        body_bytes,
    }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let whole = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\nx: y\r\n\r\nrest";
        let expected = Head {
            bytes: whole.len() - 4,
            status: 403,
            body_bytes: 12,
        };
        assert_eq!(head(whole).unwrap(), Some(expected));
        assert_eq!(head(&whole[..whole.len() - 5]).unwrap(), None);
        assert_eq!(head(b"").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (bad, why) in [
            (
                &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..],
                "chunks",
            ),
            (b"HTTP/1.1 200 OK\r\n\r\n", "does not say its length"),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "digit"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "colon"),
            (&vec![b'x'; HEAD_BYTES_MAX + 1], "does not end"),
        ] {
            let error = format!("{:#}", head(bad).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }

    async fn serve(listener: TcpListener, bodies: [&str; 2]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        for body in bodies {
            let mut request = [0; 7];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"request");
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            for piece in answer.as_bytes().chunks(9) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn answers_in_pieces_are_put_together() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, ["first", "second one"]));
        let mut connection = Connection::open(address).await.unwrap();
        for body in ["first", "second one"] {
            let answer = connection.call(b"request").await.unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()));
        }
        serving.await.unwrap();
        assert!(connection.call(b"request").await.is_err());
    }
}
