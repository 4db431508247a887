//! A message between the wire's form and the engine's.
//!
//! The body is the record's value. The properties are kept byte for byte in one reserved header, so that a consumer
//! gets what the producer wrote; what other protocols can read of them stands beside it in plain headers. A message
//! from another protocol gets properties made from its headers.

mod fitting;
mod incoming;
mod outgoing;
mod stored;
#[cfg(test)]
mod tests;

pub(crate) use fitting::fitting;
pub(crate) use incoming::{Keys, Routing, check, plain_headers, with_reply_to, without_blind};
pub(crate) use outgoing::{DeliveryHeaders, header, properties, route_of};
pub(crate) use stored::encoded;
