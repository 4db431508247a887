//! Bindings: edges from an exchange to a queue, or to another exchange.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::value::Arguments;

/// Where a binding leads: a plain name within its vhost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// To a queue.
    Queue(String),
    /// To another exchange.
    Exchange(String),
}

/// A binding: messages go from an exchange to a queue, or to another exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The vhost of both.
    pub vhost: String,
    /// The exchange it leads from.
    pub source: String,
    /// Where it leads.
    pub destination: Destination,
    /// What the exchange's kind makes of it: a key, a pattern, a weight.
    pub key: Bytes,
    /// What else was said about it.
    pub arguments: Arguments,
}

/// Identity of a binding: the same for the same source, destination, key and arguments, whatever their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindingId(pub u128);

impl Binding {
    /// Its identity.
    pub fn id(&self) -> BindingId {
        let mut arguments: Vec<_> = self.arguments.iter().collect();
        arguments.sort_by(|(one, _), (other, _)| one.cmp(other));
        let all = (
            (&self.vhost, &self.source, &self.destination),
            (&self.key[..], arguments),
        );
        let text = serde_json::to_vec(&all).expect("plain data always serializes");
        let digest = Sha256::digest(text);
        let (short, _) = digest.split_first_chunk().expect("32 bytes");
        BindingId(u128::from_be_bytes(*short))
    }
}
