//! One HTTP/1.1 connection, written and read by hand: what a client library would hide can be seen here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::broker::PATIENCE;

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name)?;
        Some(&found.1)
    }

    /// The body as JSON; an empty one is an empty object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Object(serde_json::Map::new());
        }
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

/// The connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    pub(crate) fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &str) {
        self.stream.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Asks for an action by the JSON protocol, without waiting for the answer.
    pub(crate) fn start(&mut self, action: &str, body: &Value) {
        let body = body.to_string();
        let length = body.len();
        self.write(&format!(
            "POST / HTTP/1.1\r\nhost: queues.example:1234\r\nx-amz-target: AmazonSQS.{action}\r\n\
             x-amzn-query-mode: true\r\ncontent-type: application/x-amz-json-1.0\r\n\
             content-length: {length}\r\n\r\n{body}"
        ));
    }

    /// Asks for an action by the JSON protocol.
    pub(crate) fn call(&mut self, action: &str, body: &Value) -> Answer {
        self.start(action, body);
        self.answer()
    }

    /// Asks by the Query protocol: a form posted to `path`.
    pub(crate) fn form(&mut self, path: &str, form: &str) -> Answer {
        let length = form.len();
        self.write(&format!(
            "POST {path} HTTP/1.1\r\nhost: queues.example:1234\r\n\
             content-type: application/x-www-form-urlencoded; charset=utf-8\r\n\
             content-length: {length}\r\n\r\n{form}"
        ));
        self.answer()
    }

    /// Gets `path`.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.write(&format!(
            "GET {path} HTTP/1.1\r\nhost: queues.example:1234\r\n\r\n"
        ));
        self.answer()
    }

    /// Reads one answer.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let status = self.line();
        let status = status.split(' ').nth(1).expect(&status).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, length)| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Answer {
            status,
            headers,
            body: String::from_utf8(body).unwrap(),
        }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "cut off: {line:?}");
        line.trim_end().to_owned()
    }
}
