//! The whole broker over a real store: restarts, crashes, full and failing disks, and the passing of time.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so does its fixture"
)]

mod access;
mod acknowledged;
mod batches;
mod damage;
mod dead_letters;
mod exchanges;
mod fanout;
mod groups;
mod order;
mod policies;
mod queue_safety;
mod queues;
mod removals;
mod restarts;
mod retention;
mod rooms;
mod sessions;
mod stage;
mod streams;
mod transactions;
mod troubles;
