//! Routing: given the exchanges and bindings of a vhost, which queues a message goes to.
//!
//! Pure: it knows neither the time nor the catalog, has no lock and appends nothing. Random numbers are arguments. Queues
//! are names here.

mod binding;
mod error;
mod exchange;
mod hash;
mod kind;
mod message;
mod names;
mod patterns;
mod table;
mod targets;
mod value;
mod vhost_routing;

#[cfg(test)]
mod tests;

pub use binding::{Binding, BindingId, Destination};
pub use error::{Error, Result};
pub use exchange::{DEFAULT, Exchange, ExchangeDocument, NewExchange, STANDARD, check};
pub use kind::{Kind, Property};
pub use message::{Headers, NoHeaders, Routed};
pub use names::{
    DEFAULT_VHOST, NAME_BYTES_MAX, check_key, check_name, check_reference, qualify, split,
};
pub use targets::Target;
pub use value::{Arguments, Value, find, octets};
pub use vhost_routing::{Bound, Found, Removed, VhostRouting};
