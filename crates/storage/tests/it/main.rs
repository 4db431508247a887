//! The suite every implementation of the two seams must pass, and what only a faulty disk can show.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its sizes are small"
)]

mod checkpoint;
mod contract;
mod crash;
mod faults;
mod fixture;
mod reopen;
mod shared;
mod tamper;
