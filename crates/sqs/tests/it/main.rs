//! The SQS frontend as its clients see it: the real router, HTTP server, engine and store, over connections in memory.

#![allow(
    clippy::unwrap_used,
    reason = "a harness fails by panicking, as a test does"
)]

mod answers;
mod stage;
mod traps;
