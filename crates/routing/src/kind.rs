//! Kinds of exchanges, and which arguments of exchanges and bindings make sense to them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::value::{self, Arguments, Value};

/// Names the inner kind of an exchange that delays.
const DELAYED_KIND: &str = "x-delayed-type";
/// Name of the kind that delays.
const DELAYED: &str = "x-delayed-message";
/// Names the header that is hashed instead of the routing key …
const HASH_HEADER: &str = "hash-header";
/// … or the property.
const HASH_PROPERTY: &str = "hash-property";
/// Says how headers are compared.
const MATCH: &str = "x-match";

/// Longest key of a binding.
const KEY_BYTES_MAX: usize = 1024;

/// How an exchange chooses among its bindings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Those whose key is the message's.
    Direct,
    /// All.
    Fanout,
    /// Those whose pattern matches the message's key.
    Topic,
    /// Those whose arguments match the message's headers.
    Headers,
    /// One, by a hash, in proportion to weights; few messages change their way when bindings come and go.
    ConsistentHash,
    /// One, by a hash, each as often as any other.
    Modulus,
    /// Any one.
    Random,
    /// Any one whose queue is on this node.
    LocalRandom,
    /// As another kind does; the message waits in its queues as long as its header `x-delay` says, ms.
    Delayed(Box<Self>),
}

/// The plain kinds by the names they are declared with.
const NAMES: [(&str, Kind); 8] = [
    ("direct", Kind::Direct),
    ("fanout", Kind::Fanout),
    ("topic", Kind::Topic),
    ("headers", Kind::Headers),
    ("x-consistent-hash", Kind::ConsistentHash),
    ("x-modulus-hash", Kind::Modulus),
    ("x-random", Kind::Random),
    ("x-local-random", Kind::LocalRandom),
];

impl Kind {
    /// The kind of that name; the arguments tell what is delayed. Errors: `InvalidConfig`.
    pub fn named(name: &str, arguments: &Arguments) -> Result<Self> {
        if let Some(kind) = plain(name) {
            return Ok(kind);
        }
        if name != DELAYED {
            return Err(Error::InvalidConfig(format!(
                "unknown exchange type '{name}'"
            )));
        }
        let inner = match value::find(arguments, DELAYED_KIND) {
            Some(Value::Text(text)) => std::str::from_utf8(text).ok().and_then(plain),
            _ => None,
        };
        let inner = inner.ok_or_else(|| {
            Error::InvalidConfig(format!(
                "Invalid argument, '{DELAYED_KIND}' must be an existing exchange type"
            ))
        })?;
        Ok(Self::Delayed(Box::new(inner)))
    }

    /// The name it is declared with.
    pub fn name(&self) -> &'static str {
        let known = NAMES.iter().find(|(_, kind)| kind == self);
        known.map_or(DELAYED, |(name, _)| name)
    }

    /// What chooses: the inner kind of one that delays.
    pub(super) fn choosing(&self) -> &Self {
        match self {
            Self::Delayed(inner) => inner,
            kind => kind,
        }
    }
}

fn plain(name: &str) -> Option<Kind> {
    let known = NAMES.iter().find(|(known, _)| *known == name)?;
    Some(known.1.clone())
}

/// What can be hashed of a message beside its key and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// The sender's identity of the message.
    MessageId,
    /// What the message answers.
    CorrelationId,
    /// When the sender says it was sent.
    Timestamp,
}

/// What an exchange hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hashed {
    Key,
    Header(String),
    Property(Property),
}

impl Hashed {
    /// Reads the arguments of an exchange that hashes. Errors: `InvalidConfig`.
    pub(super) fn of(arguments: &Arguments) -> Result<Self> {
        let refuse = Error::InvalidConfig;
        let text = |name| match value::find(arguments, name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            Some(_) => Err(refuse(format!("'{name}' must be a string"))),
        };
        match (text(HASH_HEADER)?, text(HASH_PROPERTY)?) {
            (None, None) => Ok(Self::Key),
            (Some(header), None) => Ok(Self::Header(header)),
            (Some(_), Some(_)) => Err(refuse(format!(
                "{HASH_HEADER} and {HASH_PROPERTY} are mutually exclusive"
            ))),
            (None, Some(property)) => Ok(Self::Property(match property.as_str() {
                "message_id" => Property::MessageId,
                "correlation_id" => Property::CorrelationId,
                "timestamp" => Property::Timestamp,
                _ => return Err(refuse(format!("Unsupported property: {property}"))),
            })),
        }
    }
}

/// How a binding wants a message's headers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    any: bool,
    pairs: Vec<(String, Value)>,
}

impl Wanted {
    /// Reads the arguments of a binding. Errors: `InvalidConfig`.
    pub(super) fn of(arguments: &Arguments) -> Result<Self> {
        let (any, with_x) = match value::find(arguments, MATCH) {
            None => (false, false),
            Some(Value::Text(how)) => match &how[..] {
                b"all" => (false, false),
                b"any" => (true, false),
                b"all-with-x" => (false, true),
                b"any-with-x" => (true, true),
                _ => {
                    let how = String::from_utf8_lossy(how);
                    return Err(Error::InvalidConfig(format!(
                        "Invalid {MATCH} field value <<\"{how}\">>; expected all, any, all-with-x, or any-with-x"
                    )));
                }
            },
            Some(Value::Int(number)) => {
                return Err(Error::InvalidConfig(format!(
                    "Invalid {MATCH} field type signedint (value {number}); expected longstr"
                )));
            }
            Some(_) => {
                return Err(Error::InvalidConfig(format!(
                    "Invalid {MATCH} field type; expected longstr"
                )));
            }
        };
        let counts = |name: &str| name != MATCH && (with_x || !name.starts_with("x-"));
        let pairs = arguments.iter().filter(|(name, _)| counts(name));
        Ok(Self {
            any,
            pairs: pairs.cloned().collect(),
        })
    }

    /// Whether headers, asked by name, are as wanted.
    pub(super) fn matches(&self, value: impl Fn(&[u8]) -> Option<Value>) -> bool {
        let mut pairs = self.pairs.iter();
        let fits = |(name, wanted): &(String, Value)| {
            let there = value(name.as_bytes());
            there.is_some_and(|there| *wanted == Value::Void || there == *wanted)
        };
        if self.any {
            pairs.any(fits)
        } else {
            pairs.all(fits)
        }
    }
}

/// The weight a binding's key says. Errors: `InvalidConfig`.
pub(super) fn weight(key: &[u8]) -> Result<u32> {
    let text = String::from_utf8_lossy(key);
    let weight: u32 = text
        .parse()
        .map_err(|_| Error::InvalidConfig(format!("The binding key must be an integer: {text}")))?;
    if weight == 0 {
        return Err(Error::InvalidConfig(
            "The binding key must be greater than 0".into(),
        ));
    }
    Ok(weight)
}

/// Checks the arguments of an exchange. Errors: `InvalidConfig`.
pub(super) fn check_exchange(kind: &Kind, arguments: &Arguments) -> Result<()> {
    value::check(arguments)?;
    match kind.choosing() {
        Kind::ConsistentHash | Kind::Modulus => Hashed::of(arguments).map(|_| ()),
        Kind::Delayed(_) => Err(Error::InvalidConfig(
            "an `x-delayed-message` exchange cannot have that type itself".into(),
        )),
        _ => Ok(()),
    }
}

/// Checks key and arguments of a binding from an exchange of this kind. Errors: `InvalidConfig`.
pub(super) fn check_binding(kind: &Kind, key: &[u8], arguments: &Arguments) -> Result<()> {
    value::check(arguments)?;
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::InvalidConfig(format!(
            "the binding key is longer than {KEY_BYTES_MAX} bytes"
        )));
    }
    match kind.choosing() {
        Kind::Headers => Wanted::of(arguments).map(|_| ()),
        Kind::ConsistentHash => weight(key).map(|_| ()),
        Kind::LocalRandom if !key.is_empty() => {
            let key = String::from_utf8_lossy(key);
            Err(Error::InvalidConfig(format!(
                "Non-empty binding key '{key}' not permitted"
            )))
        }
        _ => Ok(()),
    }
}
