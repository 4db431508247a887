//! Raw clients for tests, one per protocol: they send exactly what a test says and show what comes back, over a socket or
//! over a connection in memory. They decide nothing for the test, and panic where something else comes than it expects.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so does its client"
)]

pub mod amqp;
pub mod http;
pub mod kafka;
mod stream;

pub use stream::{MemoryStream, Peer, Stream};
