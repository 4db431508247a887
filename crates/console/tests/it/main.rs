//! `/api/v1` over a real broker, asked without a socket.

#![allow(
    clippy::unwrap_used,
    reason = "a harness fails by panicking, as a test does"
)]

mod messages;
mod queues;
mod redrive;
mod refusals;
mod stage;
mod topics;
