//! The Kafka wire format: bytes to messages and back, for every version. No async, no engine, no panic, and no
//! allocation that the received bytes have not paid for.
//!
//! A request is read with [`frame::decode_request_header`] and then [`Message::decode`] of its type, or
//! [`AnyRequest::decode`] when the type is not known beforehand. A response starts with
//! [`frame::encode_response_header`], continues with [`Message::encode`] and ends with [`Writer::finish`], whose
//! [`Segments`] share the record batches instead of copying them. The same structs serve both directions.
//!
//! The messages are generated from `schema/` by `cargo xtask codegen`.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used
)]

mod api;
mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod generated;
mod reader;
mod records;
mod segments;
mod writer;

pub use api::Message;
pub use error::{Error, Result};
pub use generated::*;
pub use reader::{ARRAY_CAPACITY_FIRST, ARRAY_LENGTH_MAX, Reader, STRING_BYTES_MAX, TAGS_MAX};
pub use records::Records;
pub use segments::Segments;
pub use writer::{SHARED_BYTES_MIN, Writer};

#[cfg(test)]
mod tests;
