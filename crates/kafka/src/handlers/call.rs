//! One request on its way through a handler, and the bytes of its answer.

use std::io;

use net::SharedPermit;

use crate::wire::{self, ApiKey, Message, Reader, Segments, frame};

/// A request whose header was read.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<String>,
    /// Where the client connects from, in the form group members are listed with.
    pub(crate) client_host: String,
    /// Host and port this client connects to.
    pub(crate) advertised: (String, u16),
    /// Room for the answer …
    pub(crate) room: Option<SharedPermit>,
    /// … which may take so much, besides fetched records.
    pub(super) answer_bytes_max: usize,
    pub(super) body: Reader<'a>,
}

impl<'a> Call<'a> {
    /// Adds what the connection knows: where the client is, and how it reaches us.
    pub(crate) fn with_peer(self, client_host: String, advertised: (String, u16)) -> Self {
        Self {
            client_host,
            advertised,
            ..self
        }
    }

    /// Reads the body. Bytes after it are left alone: librdkafka 2.x asks for all topics with three bytes too many.
    pub(crate) fn read<M: Message<'a>>(&self) -> io::Result<M> {
        let mut body = self.body.clone();
        M::decode(&mut body, self.version).map_err(malformed)
    }

    /// The whole answer's bytes.
    pub(crate) fn answer<'b, M: Message<'b>>(&self, message: &M) -> io::Result<Segments> {
        encode(self.version, self.correlation_id, message)
    }
}

/// An answer's bytes, frame and header included.
pub(crate) fn encode<'a, M: Message<'a>>(
    version: i16,
    correlation_id: i32,
    message: &M,
) -> io::Result<Segments> {
    let encode = || -> wire::Result<Segments> {
        let mut writer = frame::encode_response_header(M::KEY, version, correlation_id)?;
        message.encode(&mut writer, version)?;
        writer.finish()
    };
    encode().map_err(|error| {
        tracing::error!(message = M::NAME, version, %error, "an answer could not be encoded");
        io::Error::other(error.to_string())
    })
}

pub(super) fn malformed(error: wire::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
