//! Exchanges: names under which messages are published, and rules by which they find their queues.
//!
//! This is the pure part: given the exchanges and bindings of a vhost it says which queues a message goes to. It knows
//! neither the time nor the catalog, and appends nothing.

mod hash;
mod kind;
mod patterns;
mod routing_tables;
mod table;
mod targets;
mod value;
mod vhost_routing;

#[cfg(test)]
mod tests;

pub use kind::{Kind, Property};
pub(crate) use routing_tables::RoutingTables;
pub(crate) use targets::Target;
pub(crate) use value::octets;
pub use value::{Arguments, Value, find};
pub(crate) use vhost_routing::{Bound, Removed, VhostRouting};

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Result, vhost};

/// Name of the exchange that leads to each queue by the queue's name.
pub const DEFAULT: &str = "";

/// Exchanges that every vhost has, beside the default one; they cannot be removed.
pub const STANDARD: [(&str, Kind); 5] = [
    ("amq.direct", Kind::Direct),
    ("amq.fanout", Kind::Fanout),
    ("amq.headers", Kind::Headers),
    ("amq.match", Kind::Headers),
    ("amq.topic", Kind::Topic),
];

/// An exchange to be made.
#[derive(Debug, Clone)]
pub struct NewExchange {
    /// The vhost.
    pub vhost: String,
    /// Name within it.
    pub name: String,
    /// How it chooses among its bindings.
    pub kind: Kind,
    /// It survives a restart.
    pub durable: bool,
    /// It goes when the last binding from it goes.
    pub auto_delete: bool,
    /// Only other exchanges lead to it.
    pub internal: bool,
    /// Where messages go that find nothing here: an exchange of the same vhost, if there is one of that name.
    pub alternate: Option<String>,
    /// What else was said about it; what its kind does not know is kept and means nothing.
    pub arguments: Arguments,
}

/// An exchange as the catalog stores it (`exchanges/<qualified name>`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeDocument {
    /// Identity; one made again under the same name has another one. Nil for those that every vhost has.
    pub id: Uuid,
    /// How it chooses among its bindings.
    pub kind: Kind,
    /// It goes when the last binding from it goes.
    #[serde(default)]
    pub auto_delete: bool,
    /// Only other exchanges lead to it.
    #[serde(default)]
    pub internal: bool,
    /// Where messages go that find nothing here.
    #[serde(default)]
    pub alternate: Option<String>,
    /// What else was said about it.
    #[serde(default)]
    pub arguments: Arguments,
}

/// An exchange as the running broker knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The vhost.
    pub vhost: Arc<str>,
    /// Name within it.
    pub name: Arc<str>,
    /// It survives a restart.
    pub durable: bool,
    /// What is stored of it if it does.
    pub document: ExchangeDocument,
}

impl Exchange {
    /// The name by which the broker knows it.
    pub fn qualified(&self) -> String {
        vhost::qualify(&self.vhost, &self.name)
    }

    /// Whether every vhost has it.
    pub fn is_standard(&self) -> bool {
        self.document.id.is_nil()
    }
}

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
pub(crate) struct BindingId(pub(crate) u128);

impl Binding {
    pub(crate) fn id(&self) -> BindingId {
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

/// What routing asks about a message.
pub trait Headers {
    /// The value of a header, the first one of that name.
    fn value(&self, name: &[u8]) -> Option<Value>;

    /// The value of a property that an exchange may hash.
    fn property(&self, property: Property) -> Option<Value> {
        let _ = property;
        None
    }
}

/// A message without headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn value(&self, _: &[u8]) -> Option<Value> {
        None
    }
}

/// A message on its way through exchanges.
#[derive(Clone, Copy)]
pub struct Routed<'a> {
    /// Its routing keys: the first one, and those of whom it goes to as well.
    pub keys: &'a [&'a [u8]],
    /// Its headers.
    pub headers: &'a dyn Headers,
    /// A client publishes it, who may not use an exchange that is internal.
    pub publisher: bool,
}

/// Where a message goes.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The queues, each once.
    pub queues: Vec<Arc<crate::queue::Queue>>,
    /// How long it waits there, ms, where its exchange delays.
    pub delay_ms: Option<u64>,
}

/// Checks what an exchange is declared with. Errors: `InvalidName`, `InvalidConfig`.
pub(crate) fn check(new: &NewExchange) -> Result<()> {
    vhost::check_name(&new.name)?;
    if let Some(alternate) = &new.alternate
        && alternate != DEFAULT
    {
        vhost::check_name(alternate)?;
    }
    kind::check_exchange(&new.kind, &new.arguments)
}
