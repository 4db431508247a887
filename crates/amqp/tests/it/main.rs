//! The frontend over connections in memory and a broker on a simulated disk: what real sockets cannot show at will.

#![allow(
    clippy::unwrap_used,
    reason = "a harness fails by panicking, as a test does"
)]

mod blocked;
mod stage;
