//! A request, whichever protocol it came by.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Which protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Json,
    Query,
}

/// A decoded request.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) action: String,
    pub(crate) members: Members,
}

/// What a request says besides its action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Members {
    /// A JSON object not read yet: it is read at once into the form that is wanted.
    Json(Bytes),
    /// A form that was read.
    Tree(Map<String, Value>),
}

impl Members {
    /// The members as the structure a handler wants.
    pub(crate) fn read<T: DeserializeOwned>(self) -> serde_json::Result<T> {
        match self {
            Self::Json(text) => serde_json::from_slice(&text),
            Self::Tree(tree) => serde_json::from_value(Value::Object(tree)),
        }
    }
}

/// Why a request cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It names no action.
    NoAction,
    /// Its body is not what its type says.
    Malformed(String),
}
