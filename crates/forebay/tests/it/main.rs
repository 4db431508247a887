//! The real binary as a process: what operators, supervisors and scripts see.

#![allow(
    clippy::unwrap_used,
    reason = "a harness fails by panicking, as a test does"
)]

mod amqp;
mod amqp_crash;
mod answers;
mod attach;
mod bench_amqp;
mod broker;
mod cli;
#[cfg(feature = "failpoints")]
mod clock;
mod config;
mod crash;
mod described_cli;
mod first_hour;
mod group_cli;
mod group_state;
mod guides;
mod journal;
mod listing_cli;
mod loggers;
mod memory;
mod owners;
mod policy_cli;
mod queue_cli;
mod queue_crash;
mod queue_state;
mod random;
mod records;
mod rounds;
mod scenarios;
mod serve;
mod sqs;
mod topic_cli;
mod vhost_cli;
