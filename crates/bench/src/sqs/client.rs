//! Requests as the service's clients send them, signed if asked for, and answers read as far as the load needs them.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde::Deserialize;

use super::http::Connection;
use super::sigv4::{Signer, Unsigned, timestamp};
use crate::stopwatch::unix_ms;

/// What requests are signed with.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) access: String,
    pub(super) secret: String,
}

impl Default for Key {
    /// The one that a broker which is started for a signed run knows.
    fn default() -> Self {
        Self {
            access: "FOREBAYBENCH".to_owned(),
            secret: "a secret for nobody else".to_owned(),
        }
    }
}

const REGION: &str = "us-east-1";

/// One client on one connection.
#[derive(Debug)]
pub(super) struct Client {
    connection: Connection,
    host: String,
    signer: Option<Signer>,
    request: String,
}

/// A message in flight, as far as the load looks at it.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Leased<'a> {
    pub(super) receipt_handle: &'a str,
    pub(super) body: &'a str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received<'a> {
    #[serde(borrow, default)]
    messages: Vec<Leased<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'a> {
    #[serde(borrow, default)]
    successful: Vec<Entry<'a>>,
    #[serde(borrow, default)]
    failed: Vec<Entry<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    id: &'a str,
}

impl Client {
    /// Connects.
    pub(super) async fn open(address: SocketAddr, key: Option<&Key>) -> Result<Self> {
        let signer = |key: &Key| Signer::new((&key.access, &key.secret), REGION, "sqs");
        Ok(Self {
            connection: Connection::open(address).await?,
            host: address.to_string(),
            signer: key.map(signer),
            request: String::new(),
        })
    }

    /// Sends a request and awaits what it is answered; anything but success is an error.
    pub(super) async fn call(&mut self, action: &str, body: &str) -> Result<Bytes> {
        self.compose(action, body, unix_ms().cast_unsigned())?;
        let answer = self.connection.call(self.request.as_bytes()).await?;
        ensure!(
            answer.status == 200,
            "{action} failed with status {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(answer.body)
    }

    /// Writes the request, with the headers that the service's own Python client signs.
    fn compose(&mut self, action: &str, body: &str, now_ms: u64) -> Result<()> {
        let time = timestamp(now_ms);
        let target = format!("AmazonSQS.{action}");
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("host", &*self.host),
            ("x-amz-date", &*time),
            ("x-amz-target", &*target),
            ("x-amzn-query-mode", "true"),
        ];
        self.request.clear();
        self.request.push_str("POST / HTTP/1.1\r\n");
        for (name, value) in headers {
            self.request.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(signer) = &mut self.signer {
            let authorization = signer.authorization(&Unsigned {
                method: "POST",
                path: "/",
                headers: &headers,
                body: body.as_bytes(),
                time: &time,
            });
            write!(self.request, "authorization: {authorization}\r\n")?;
        }
        write!(self.request, "content-length: {}\r\n\r\n{body}", body.len())?;
        Ok(())
    }
}

/// The messages in the answer of a receive; there is no body when there are none.
pub(super) fn received(answer: &[u8]) -> Result<Vec<Leased<'_>>> {
    if answer.is_empty() {
        return Ok(Vec::new());
    }
    let received: Received<'_> = serde_json::from_slice(answer)?;
    Ok(received.messages)
}

/// Checks that all entries of a batch went well.
pub(super) fn all_done(answer: &[u8], count: usize) -> Result<()> {
    let batch: Batch<'_> = serde_json::from_slice(answer)?;
    let failed = batch.failed.first().map_or("none", |entry| entry.id);
    ensure!(
        batch.failed.is_empty() && batch.successful.len() == count,
        "of {count} entries {} were done; failed: {failed}",
        batch.successful.len(),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_far_as_needed() {
        let text =
            br#"{"Messages":[{"Body":"b","MD5OfBody":"x","MessageId":"i","ReceiptHandle":"r"}]}"#;
        let expected = Leased {
            receipt_handle: "r",
            body: "b",
        };
        assert_eq!(received(text).unwrap(), [expected]);
        assert!(received(b"").unwrap().is_empty());
        assert!(received(b"{").is_err());
    }

    #[test]
    fn a_batch_is_done_when_every_entry_is() {
        let two = br#"{"Successful":[{"Id":"0"},{"Id":"1"}]}"#;
        all_done(two, 2).unwrap();
        assert!(all_done(two, 3).is_err());
        let failed = br#"{"Successful":[{"Id":"0"}],"Failed":[{"Id":"7","Code":"c"}]}"#;
        let error = all_done(failed, 2).unwrap_err().to_string();
        assert!(error.ends_with("failed: 7"), "{error}");
    }
}
