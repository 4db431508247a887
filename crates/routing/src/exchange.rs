//! Exchanges: names under which messages are published, and what they are declared with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Result;
use crate::kind::{self, Kind};
use crate::names;
use crate::value::Arguments;

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
        names::qualify(&self.vhost, &self.name)
    }

    /// Whether every vhost has it.
    pub fn is_standard(&self) -> bool {
        self.document.id.is_nil()
    }
}

/// Checks what an exchange is declared with. Errors: `InvalidName`, `InvalidConfig`.
pub fn check(new: &NewExchange) -> Result<()> {
    names::check_name(&new.name)?;
    if let Some(alternate) = &new.alternate
        && alternate != DEFAULT
    {
        names::check_name(alternate)?;
    }
    kind::check_exchange(&new.kind, &new.arguments)
}
