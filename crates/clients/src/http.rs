//! HTTP/1.1, written and read by hand: what a client library would hide can be seen here.

use std::io;

use bytes::{Buf, BytesMut};
use serde_json::Value;

use crate::stream::PATIENCE;
use crate::{Peer, Stream};

/// Larger than any answer a test asks for.
const BODY_BYTES_MAX: usize = 64 << 20;
/// No answer of ours has more header lines.
const HEADERS_MAX: usize = 32;
const READ_BYTES: usize = 64 << 10;

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body, which has to be text.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name)?;
        Some(&found.1)
    }

    /// The body as JSON; an empty one is an empty object.
    #[track_caller]
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Object(serde_json::Map::new());
        }
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// Takes the first answer out of what was read, once it is whole.
    pub fn take(input: &mut BytesMut) -> io::Result<Option<Self>> {
        let mut space = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut space);
        let parsed = head.parse(input).map_err(io::Error::other)?;
        let httparse::Status::Complete(head_bytes) = parsed else {
            return Ok(None);
        };
        let status = head.code.expect("a whole head has a status");
        let headers = head.headers.iter().map(|header| {
            let value = String::from_utf8_lossy(header.value);
            (header.name.to_ascii_lowercase(), value.into_owned())
        });
        let headers: Vec<(String, String)> = headers.collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(Ok(0), |(_, length)| length.parse());
        let length: usize = length.map_err(io::Error::other)?;
        assert!(length <= BODY_BYTES_MAX, "an answer of {length} bytes");
        if input.len() < head_bytes + length {
            return Ok(None);
        }
        input.advance(head_bytes);
        let body = String::from_utf8(input.split_to(length).to_vec());
        Ok(Some(Self {
            status,
            headers,
            body: body.map_err(io::Error::other)?,
        }))
    }
}

/// A request for an SQS action by the JSON protocol.
pub fn json_request(host: &str, action: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-target: AmazonSQS.{action}\r\n\
         x-amzn-query-mode: true\r\ncontent-type: application/x-amz-json-1.0\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// One connection.
#[derive(Debug)]
pub struct Http {
    stream: Box<dyn Stream>,
    input: BytesMut,
}

impl Http {
    /// A connection without a request.
    #[track_caller]
    pub fn connect(to: impl Peer) -> Self {
        let mut stream = to.connect();
        stream
            .set_read_timeout(PATIENCE)
            .expect("any timeout will do");
        Self {
            stream,
            input: BytesMut::new(),
        }
    }

    /// Writes bytes as they are.
    #[track_caller]
    pub fn write(&mut self, bytes: &str) {
        let written = self.stream.write_all(bytes.as_bytes());
        written.expect("the server reads");
    }

    /// Asks for an action by the JSON protocol, without waiting for the answer.
    #[track_caller]
    pub fn start(&mut self, action: &str, body: &Value) {
        self.write(&json_request("queues.example:1234", action, body));
    }

    /// Asks for an action by the JSON protocol.
    #[track_caller]
    pub fn call(&mut self, action: &str, body: &Value) -> Answer {
        self.start(action, body);
        self.answer()
    }

    /// Asks by the Query protocol: a form posted to `path`.
    #[track_caller]
    pub fn form(&mut self, path: &str, form: &str) -> Answer {
        let length = form.len();
        self.write(&format!(
            "POST {path} HTTP/1.1\r\nhost: queues.example:1234\r\n\
             content-type: application/x-www-form-urlencoded; charset=utf-8\r\n\
             content-length: {length}\r\n\r\n{form}"
        ));
        self.answer()
    }

    /// Gets `path`.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.write(&format!(
            "GET {path} HTTP/1.1\r\nhost: queues.example:1234\r\n\r\n"
        ));
        self.answer()
    }

    /// Reads one answer.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        loop {
            if let Some(answer) = Answer::take(&mut self.input).expect("an answer of HTTP/1.1") {
                return answer;
            }
            let mut space = vec![0; READ_BYTES];
            let count = self.stream.read(&mut space).expect("an answer in time");
            assert!(count > 0, "cut off: {:?}", self.input);
            self.input.extend_from_slice(&space[..count]);
        }
    }
}
