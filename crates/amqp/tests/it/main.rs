//! The AMQP frontend as its clients see it: the real `serve`, engine and store, over connections in memory.

#![allow(
    clippy::unwrap_used,
    reason = "a harness fails by panicking, as a test does"
)]

mod answers;
mod blocked;
mod channels;
mod handshake;
mod headers;
mod messages;
mod stage;
mod streams;
mod texts;
mod trace;
