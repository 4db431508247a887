//! The frontend's numbers: what clients did, and what they were refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters since the start of the process, and what is open now.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Channels open now.
    pub channels_open: AtomicU64,
    /// Consumers there are now.
    pub consumers: AtomicU64,
    /// Connections whose publishes are not read for want of disk space, now.
    pub connections_blocked: AtomicU64,
    /// Messages published.
    pub published: AtomicU64,
    /// Publishes acknowledged to clients that asked for it.
    pub confirmed: AtomicU64,
    /// Publishes refused to clients that asked for confirmation.
    pub refused: AtomicU64,
    /// Messages that reached no queue and went back to their publisher.
    pub returned: AtomicU64,
    /// Messages that reached no queue and were dropped.
    pub unroutable: AtomicU64,
    /// Messages handed to consumers, and to clients that asked for one.
    pub delivered: AtomicU64,
    /// Of these, for the second time or more.
    pub redelivered: AtomicU64,
    /// Messages delivered without some of their headers, which did not fit into the client's frames.
    pub headers_omitted: AtomicU64,
    /// Messages acknowledged by clients, or not to be acknowledged at all.
    pub acknowledged: AtomicU64,
    /// Answers to direct requests handed over without a queue.
    pub replies: AtomicU64,
    /// Logins that failed.
    pub logins_refused: AtomicU64,
    /// Channels closed because of something a client did.
    pub channel_faults: AtomicU64,
    /// Connections closed because of something a client did.
    pub connection_faults: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn less(counter: &AtomicU64, count: usize) {
        counter.fetch_sub(count as u64, Relaxed);
    }
}
