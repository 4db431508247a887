//! A tiny queue client over real sockets: one connection kept alive, JSON out, JSON in, nothing decided for the test.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use clients::http::{Answer, json_request};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the broker refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error's name, without its namespace.
    pub(crate) name: String,
    pub(crate) message: String,
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: BytesMut,
    host: SocketAddr,
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: BytesMut::new(),
            host: at,
        })
    }

    /// Asks and waits for the answer; a connection that breaks on the way is the outer error.
    pub(crate) async fn call(
        &mut self,
        action: &str,
        asked: &Value,
    ) -> io::Result<Result<Value, Refusal>> {
        // One write: the request arrives as a whole or not at all, as far as a kill lets it.
        let request = json_request(&self.host.to_string(), action, asked);
        self.stream.write_all(request.as_bytes()).await?;
        let answer = self.answer().await?;
        let (status, value) = (answer.status, answer.json());
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

    async fn answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(answer) = Answer::take(&mut self.input)? {
                return Ok(answer);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
