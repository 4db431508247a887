//! Talks to a broker's JSON API: one request, one connection. Refusals become errors in the broker's words.

use std::fmt::Write;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::settings::{HostPort, Setting};

/// How long a broker may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to answer, beyond the time it was asked to wait.
const ANSWER: Duration = Duration::from_secs(30);
/// Largest answer, bytes: what the API gives at most, and a third more where it is in base 64.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// The API of one broker.
pub(super) struct Api {
    address: HostPort,
    runtime: Runtime,
}

impl Api {
    /// The broker at an address, `host:port`.
    pub(super) fn new(address: &str) -> anyhow::Result<Self> {
        let bare = address.strip_prefix("http://").unwrap_or(address);
        let parsed = HostPort::parse(bare.trim_end_matches('/'));
        let address = parsed.map_err(|_| {
            anyhow!("invalid address `{address}`: expected HOST:PORT, as in `127.0.0.1:8080`")
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        Ok(Self { address, runtime })
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None, Duration::ZERO)
    }

    /// A request whose answer may take `wait` to come.
    pub(super) fn get_and_wait(&self, path: &str, wait: Duration) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None, wait)
    }

    pub(super) fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::PATCH, path, Some(body), Duration::ZERO)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body), Duration::ZERO)
    }

    /// A request whose answer may take `wait` to come.
    pub(super) fn post_and_wait(
        &self,
        path: &str,
        body: &Value,
        wait: Duration,
    ) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body), wait)
    }

    pub(super) fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, None, Duration::ZERO)
    }

    /// Does nothing for a while.
    pub(super) fn pause(&self, time: Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        wait: Duration,
    ) -> anyhow::Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(HOST, self.address.show())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("forebay/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())?;
        self.runtime.block_on(async {
            let stream = timeout(CONNECT, self.connect()).await;
            let stream = stream.unwrap_or_else(|_| Err(anyhow!("it does not accept connections")));
            let at = self.address.show();
            let stream = stream.with_context(|| format!("cannot reach a broker at {at}"))?;
            let answered = timeout(ANSWER.saturating_add(wait), exchange(stream, request)).await;
            let answered = answered.unwrap_or_else(|_| Err(anyhow!("it does not answer")));
            let (status, bytes) = answered
                .with_context(|| format!("{at} is not a Forebay HTTP listener, or failed"))?;
            judge(status, &bytes).with_context(|| format!("{at} is not a Forebay HTTP listener"))?
        })
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let HostPort { host, port } = &self.address;
        Ok(TcpStream::connect((host.as_str(), *port)).await?)
    }
}

async fn exchange(
    stream: TcpStream,
    request: Request<String>,
) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answering = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok((parts.status, read(body).await?))
    };
    tokio::pin!(answering);
    // The connection is driven here, not by a task of its own, so that nothing is left behind.
    tokio::select! {
        answered = &mut answering => answered,
        // What is read by now still counts.
        _ = connection => answering.await,
    }
}

async fn read(mut body: Incoming) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame?.into_data().unwrap_or_else(|_| Bytes::new());
        if bytes.len() + data.len() > ANSWER_BYTES_MAX {
            bail!("the answer is too large");
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// What an answer means; the outer error is an answer that is none of the API's.
fn judge(status: StatusCode, bytes: &[u8]) -> anyhow::Result<anyhow::Result<Value>> {
    let document = match bytes {
        [] => Ok(Value::Null),
        bytes => serde_json::from_slice::<Value>(bytes),
    };
    if status.is_success() {
        return Ok(Ok(document?));
    }
    match document.ok().and_then(Refusal::of) {
        Some(refusal) => Ok(Err(refusal.into())),
        None => bail!("{status}"),
    }
}

/// A name as one part of a path or as a value behind the `?`.
pub(super) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        assert_eq!(escape("orders-1.fifo_~"), "orders-1.fifo_~");
        assert_eq!(escape("a/b?c=d&e f"), "a%2Fb%3Fc%3Dd%26e%20f");
        assert_eq!(escape("ü"), "%C3%BC");
    }

    #[test]
    fn a_refusal_is_told_in_the_brokers_words() {
        let problem = br#"{"status":404,"detail":"there is no queue 'q'"}"#;
        let refused = judge(StatusCode::NOT_FOUND, problem).unwrap();
        assert_eq!(refused.unwrap_err().to_string(), "there is no queue 'q'");
        let done = judge(StatusCode::NO_CONTENT, b"").unwrap().unwrap();
        assert_eq!(done, Value::Null);
        let strange = judge(StatusCode::BAD_GATEWAY, b"<html>").unwrap_err();
        assert_eq!(strange.to_string(), "502 Bad Gateway");
        judge(StatusCode::OK, b"<html>").unwrap_err();
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["127.0.0.1:8080", "http://localhost:8080/", "[::1]:1"] {
            Api::new(good).map(drop).unwrap();
        }
        for bad in ["off", "127.0.0.1", "https://localhost:1", "a b:1"] {
            let refused = Api::new(bad).map(drop).unwrap_err();
            assert!(refused.to_string().contains(bad), "{refused}");
        }
    }
}
