//! What a connection is handed: messages for its consumers, answers to its requests, and the end of its queues.

use std::sync::Arc;

use engine::queue::Settlement;
use engine::{Delivery, Event};

use crate::channel::Slot;
use crate::error::Outcome;
use crate::message;
use crate::metrics::Metrics;
use crate::replies::Reply;
use crate::session::{DELIVER_BYTES_MAX, Session};
use crate::wire::{Content, basic};

/// Events served in one go when a consumer goes: more than a session is ever handed before it looks.
const HANDED_MAX: usize = 4096;
/// Bits of a consumer's number that distinguish it from others of its channel.
const NUMBER_BITS: u32 = 48;

/// The number of a consumer in the engine: it contains its channel.
pub(crate) fn consumer_number(channel: u16, count: u64) -> u64 {
    u64::from(channel) << NUMBER_BITS | count & ((1 << NUMBER_BITS) - 1)
}

fn channel_of(consumer: u64) -> u16 {
    u16::try_from(consumer >> NUMBER_BITS).unwrap_or(u16::MAX)
}

impl Session {
    /// Serves what the engine says.
    pub(crate) fn event(&mut self, event: Event) -> Outcome<()> {
        match event {
            Event::Delivery(delivery) => self.deliver(*delivery),
            Event::Cancelled { consumer } => self.cancelled(consumer),
        }
    }

    /// Serves what was handed over already: what was meant for a consumer that is gone goes back.
    pub(crate) async fn serve_handed(&mut self) -> Outcome<()> {
        for _ in 0..HANDED_MAX {
            if self.frame_writer.len() >= DELIVER_BYTES_MAX {
                break;
            }
            let Some(event) = self.ready_event().await else {
                break;
            };
            self.event(event)?;
        }
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery) -> Outcome<()> {
        let Delivery {
            consumer: at,
            unacked,
            redelivered,
            message,
            ..
        } = delivery;
        let number = channel_of(at);
        let Some(Slot::Open(channel)) = self.channels.get_mut(&number) else {
            self.settles.push((unacked, Settlement::Undo));
            return Ok(());
        };
        let Some(consumer) = channel.consumers.get(&at) else {
            // It was cancelled while this was on its way.
            self.settles.push((unacked, Settlement::Undo));
            return Ok(());
        };
        if consumer
            .reads
            .as_ref()
            .is_some_and(|filter| !filter.takes(&message))
        {
            // Nothing becomes of what is read: its room is free again.
            return Ok(());
        }
        let (exchange, routing_key) = message::route_of(&message, &consumer.queue);
        let properties = message::properties(&message, consumer.headers(redelivered));
        channel.last_tag += 1;
        let deliver = basic::Deliver {
            consumer_tag: &consumer.tag,
            delivery_tag: channel.last_tag,
            redelivered,
            exchange,
            routing_key,
        };
        let content = Content {
            properties: &properties,
            body: std::slice::from_ref(&message.body),
        };
        let metrics = &self.context.metrics;
        self.frame_writer
            .content(metrics, (number, &deliver), content)?;
        let traced = self.peer.space.is_traced();
        let queue = traced.then(|| Arc::clone(&consumer.queue));
        Metrics::one(&metrics.delivered);
        if redelivered {
            Metrics::one(&metrics.redelivered);
        }
        if consumer.no_ack {
            Metrics::one(&metrics.acknowledged);
            self.settles.push((unacked, Settlement::Ack));
        } else {
            channel.unacked.push(channel.last_tag, unacked);
        }
        if let Some(queue) = queue {
            self.trace_deliver(number, &message, (&queue, redelivered), &properties);
        }
        Ok(())
    }

    /// A consumer's queue is gone, and so is the consumer.
    fn cancelled(&mut self, at: u64) -> Outcome<()> {
        let number = channel_of(at);
        let Some(Slot::Open(channel)) = self.channels.get_mut(&number) else {
            return Ok(());
        };
        let Some(consumer) = channel.consumers.remove(&at) else {
            return Ok(());
        };
        Metrics::less(&self.context.metrics.consumers, 1);
        if !self.peer.capabilities.consumer_cancel_notify {
            return Ok(());
        }
        let cancel = basic::Cancel {
            consumer_tag: &consumer.tag,
            nowait: true,
        };
        Ok(self.frame_writer.frames.method(number, &cancel)?)
    }

    /// Hands an answer to who asked.
    pub(crate) fn reply(&mut self, reply: &Reply) -> Outcome<()> {
        let Some(Slot::Open(channel)) = self.channels.get_mut(&reply.channel) else {
            return Ok(());
        };
        let delivery_tag = channel.next_tag();
        let Some(consumer) = channel
            .replies
            .as_ref()
            .filter(|_| channel.incarnation == reply.incarnation)
        else {
            return Ok(());
        };
        let deliver = basic::Deliver {
            consumer_tag: &consumer.tag,
            delivery_tag,
            redelivered: false,
            exchange: b"",
            routing_key: &reply.key,
        };
        let content = Content {
            properties: &reply.properties,
            body: std::slice::from_ref(&reply.body),
        };
        let metrics = &self.context.metrics;
        self.frame_writer
            .content(metrics, (reply.channel, &deliver), content)
    }

    /// Sends the engine the settlements of messages.
    pub(crate) fn settle(&mut self) {
        if !self.settles.is_empty() {
            let settles = std::mem::take(&mut self.settles);
            self.engine.settle(settles);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumers_number_tells_its_channel() {
        for channel in [0, 1, 2047, u16::MAX] {
            assert_eq!(channel_of(consumer_number(channel, 1 << 40)), channel);
        }
        assert_ne!(consumer_number(1, 1), consumer_number(1, 2));
    }
}
