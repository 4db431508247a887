//! A tiny queue client over real sockets: one connection kept alive, JSON out, JSON in, nothing decided for the test.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Larger than any answer a test asks for.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What the broker refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error's name, without its namespace.
    pub(crate) name: String,
    pub(crate) message: String,
}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            host: at,
        })
    }

    /// Asks and waits for the answer; a connection that breaks on the way is the outer error.
    pub(crate) async fn call(
        &mut self,
        action: &str,
        asked: &Value,
    ) -> io::Result<Result<Value, Refusal>> {
        let body = asked.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-target: AmazonSQS.{action}\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        // One write: the request arrives as a whole or not at all, as far as a kill lets it.
        let request = [head.as_bytes(), body.as_bytes()].concat();
        self.stream.write_all(&request).await?;
        let (status, body) = self.answer().await?;
        let value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body)?
        };
        if status == 200 {
            return Ok(Ok(value));
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let kind = text("__type");
        let name = kind.rsplit('#').next().unwrap_or_default().to_owned();
        // A broker that is stopping says so; that is no outcome of the request.
        if status >= 500 {
            return Err(io::Error::other(format!("{status} {name}")));
        }
        let message = text("message");
        Ok(Err(Refusal { name, message }))
    }

    async fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {first:?}")))?;
        let mut length = 0;
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        assert!(length <= BODY_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status, body))
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
