//! The Kafka frontend as its clients see it: the real `serve`, engine and store, over connections in memory or,
//! where sockets matter, on the loopback interface.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so does its fixture"
)]

mod client;
mod cluster;
mod commits;
mod configs;
mod coverage;
mod every_version;
mod fetch;
mod groups;
mod hostile;
mod kit;
mod metadata;
mod offsets;
mod produce;
mod queues;
mod records;
mod reports;
mod security;
mod sockets;
mod topics;
mod versions;
