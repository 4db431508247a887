//! One channel: what a client has said on it that still matters, and what it holds.

mod confirms;
mod content;
mod transaction;
mod unacked;

pub(crate) use confirms::{Confirms, Run};
pub(crate) use content::{Content, Envelope, Message};
pub(crate) use transaction::Transaction;
pub(crate) use unacked::Unacked;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::Subscription;
use engine::queue::{Credit, UnackedMessage};

use crate::arguments::Filter;
use crate::message::DeliveryHeaders;

/// A number that names a channel.
#[derive(Debug)]
pub(crate) enum Slot {
    /// It is in use.
    Open(Box<Channel>),
    /// The broker closed it; until the client has answered, what it sends is ignored.
    Closing,
}

/// A consumer on a channel.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) tag: Box<[u8]>,
    /// The queue, as its vhost knows it.
    pub(crate) queue: Arc<str>,
    pub(crate) no_ack: bool,
    /// Messages carry how often they were given back.
    pub(crate) counts_returns: bool,
    /// It reads the queue's log, and this is what it leaves out.
    pub(crate) reads: Option<Filter>,
    /// Ends the consumer when it is dropped.
    pub(crate) subscription: Subscription,
}

impl Consumer {
    /// What a delivery to it says of itself.
    pub(crate) fn headers(&self, redelivered: bool) -> DeliveryHeaders {
        if self.reads.is_some() {
            DeliveryHeaders::Offset
        } else if redelivered && self.counts_returns {
            DeliveryHeaders::Returns
        } else {
            DeliveryHeaders::Nothing
        }
    }
}

/// Waits for answers to direct requests.
#[derive(Debug)]
pub(crate) struct ReplyConsumer {
    pub(crate) tag: Box<[u8]>,
    /// What its requests are answered to.
    pub(crate) name: String,
}

/// An open channel.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Names it among all that ever had its number.
    pub(crate) incarnation: u64,
    /// What an empty queue name stands for.
    pub(crate) last_queue: Option<String>,
    /// Publishes are acknowledged.
    pub(crate) confirms: Option<Confirms>,
    /// Publishes and acknowledgements wait for a commit.
    pub(crate) transaction: Option<Transaction>,
    /// What a client holds of it.
    pub(crate) unacked: Unacked<UnackedMessage>,
    /// The last number a delivery was given.
    pub(crate) last_tag: u64,
    /// By the number the engine calls them.
    pub(crate) consumers: BTreeMap<u64, Consumer>,
    pub(crate) replies: Option<ReplyConsumer>,
    /// What each consumer to come may hold.
    pub(crate) prefetch: Option<u32>,
    /// What all of them together may hold.
    pub(crate) credit: Arc<Credit>,
    /// The message that is arriving.
    pub(crate) content: Content,
}

impl Channel {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            last_queue: None,
            confirms: None,
            transaction: None,
            unacked: Unacked::default(),
            last_tag: 0,
            consumers: BTreeMap::new(),
            replies: None,
            prefetch: None,
            credit: Credit::new(None),
            content: Content::default(),
        }
    }

    /// The number of one more delivery.
    pub(crate) fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Whether a consumer has this tag.
    pub(crate) fn has_consumer(&self, tag: &[u8]) -> bool {
        self.consumers
            .values()
            .any(|consumer| *consumer.tag == *tag)
            || self
                .replies
                .as_ref()
                .is_some_and(|replies| *replies.tag == *tag)
    }
}
