//! The AMQP 0-9-1 wire format in the dialect its clients speak: bytes to frames, methods, properties and tables, and
//! back. No async, no engine, no panic, and no allocation that the received bytes have not paid for.
//!
//! A connection opens with eight bytes, see [`Greeting`]. After them a [`Splitter`] takes whole frames out of the read
//! buffer; a method frame goes to [`Method::decode`], a header frame to [`ContentHeader::decode`], and
//! [`Frames::share`] keeps a body without copying it. The way out is a [`Writer`]: it gathers small frames, remembers
//! large bodies, and hands over segments for a vectored write. The same structs serve both directions, so that a
//! client can be made of them.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used
)]

mod content;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod greeting;
mod methods;
mod properties;
mod reader;
mod reply;
mod table;
mod writer;

pub use content::Content;
pub use error::{Error, Result};
pub use frame::{FRAME_OVERHEAD_BYTES, Frame, FrameKind, Frames, FramesIter, Splitter};
pub use greeting::{Greeting, PROTOCOL_HEADER};
pub use methods::{
    Arguments, Method, access, basic, channel, confirm, connection, exchange, queue, tx,
};
pub use properties::{CONTENT_HEADER_BYTES, ContentHeader, Properties};
pub use reader::Reader;
pub use reply::{REPLY_TEXT_BYTES_MAX, ReplyCode};
pub use table::{
    Array, ArrayBuilder, ArrayIter, TABLE_DEPTH_MAX, TABLE_VALUES_MAX, Table, TableBuilder,
    TableIter, Value,
};
pub use writer::{BODY_SHARED_BYTES_MIN, SHORT_STRING_BYTES_MAX, Writer};

/// Names of all methods, as `queue.declare`.
#[cfg(test)]
pub(crate) fn method_names() -> impl Iterator<Item = &'static str> {
    let shapes = methods::SHAPES.iter().copied().flatten();
    shapes.map(|shape| shape.name)
}

#[cfg(test)]
mod tests;
