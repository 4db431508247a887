//! Values of arguments and headers, as far as routing and storing them needs.
//!
//! Two values are equal when they are of one class and the same there: whole numbers of any width are one class.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Names with values, in the order given.
pub type Arguments = Vec<(String, Value)>;

/// Deepest nesting of a stored value: documents can be read back up to this, and nobody needs more.
const DEPTH_MAX: usize = 16;
/// Largest stored arguments, bytes.
const BYTES_MAX: usize = 64 << 10;

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// No value: the name alone counts.
    Void,
    /// True or false.
    Bool(bool),
    /// A whole number of any width.
    Int(i64),
    /// A number of any precision.
    Float(#[serde(with = "bits")] f64),
    /// Text, or any bytes.
    Text(#[serde(with = "octets")] Bytes),
    /// Seconds since 1970.
    Time(u64),
    /// Values in order.
    Array(Vec<Self>),
    /// Names with values.
    Table(Arguments),
    /// What only the frontend that got it can read.
    Other {
        /// The frontend's own name for the kind.
        kind: u8,
        /// The value as it came.
        #[serde(with = "octets")]
        bytes: Bytes,
    },
}

impl Value {
    /// A value of text.
    pub fn text(text: &str) -> Self {
        Self::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn depth(&self) -> usize {
        match self {
            Self::Array(values) => 1 + values.iter().map(Self::depth).max().unwrap_or(0),
            Self::Table(all) => 1 + all.iter().map(|(_, v)| v.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// The value of a name, the first one where there are several.
pub fn find<'a>(arguments: &'a Arguments, name: &str) -> Option<&'a Value> {
    let found = arguments.iter().find(|(known, _)| known == name)?;
    Some(&found.1)
}

/// Checks that arguments can be stored. Errors: `InvalidConfig`.
pub(super) fn check(arguments: &Arguments) -> Result<()> {
    let refuse = |why: &str| Err(Error::InvalidConfig(why.to_owned()));
    if arguments.iter().any(|(_, value)| value.depth() > DEPTH_MAX) {
        return refuse("the arguments are nested too deeply");
    }
    let encoded = serde_json::to_vec(arguments).map_or(usize::MAX, |encoded| encoded.len());
    if encoded > BYTES_MAX {
        return refuse("the arguments are too large");
    }
    Ok(())
}

/// Numbers by their bits: a document has no word for infinity.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "a serializer is asked for by reference"
    )]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// Bytes as text where they are text, else as a list of numbers.
pub mod octets {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        List(Vec<u8>),
    }

    /// Bytes to a document.
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(bytes),
        }
    }

    /// Bytes of a document.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => Bytes::from(text),
            Either::List(list) => Bytes::from(list),
        })
    }
}
