//! Class `basic`: messages published, consumed, fetched and settled.

use std::sync::Arc;

use engine::queue::{Credit, Settlement};
use engine::{Error, NewConsumer};

use super::unimplemented;
use crate::arguments::{Reading, is_quorum};
use crate::channel::{Consumer, Content, Envelope, ReplyConsumer};
use crate::deliveries::consumer_number;
use crate::error::{Access, Fault, Outcome, queue_text};
use crate::message::{self, DeliveryHeaders};
use crate::metrics::Metrics;
use crate::replies::REPLY_QUEUE;
use crate::session::Session;
use crate::wire::basic::{
    Ack, Cancel, CancelOk, Consume, ConsumeOk, Get, GetEmpty, GetOk, Method as Methods, Nack,
    Publish, Qos, QosOk, RecoverOk, Reject,
};
use crate::wire::{self, Frames, Table};

/// What consumers are called whose client leaves that to the broker.
const GENERATED: &str = "amq.ctag-";

impl Session {
    pub(super) async fn basic_method(&mut self, number: u16, method: Methods<'_>) -> Outcome<()> {
        match method {
            Methods::Qos(qos) => self.qos(number, qos),
            Methods::Consume(consume) => self.consume(number, consume).await,
            Methods::Cancel(cancel) => self.cancel(number, cancel).await,
            Methods::Get(get) => self.fetch(number, get).await,
            Methods::Recover(recover) => {
                self.recover(number, recover.requeue)?;
                self.say(number, &RecoverOk {})
            }
            Methods::RecoverAsync(recover) => self.recover(number, recover.requeue),
            // The first answers what the broker says of itself; the others were served before they got here.
            Methods::CancelOk(_)
            | Methods::Publish(_)
            | Methods::Ack(_)
            | Methods::Nack(_)
            | Methods::Reject(_) => Ok(()),
            Methods::QosOk(_)
            | Methods::ConsumeOk(_)
            | Methods::Return(_)
            | Methods::Deliver(_)
            | Methods::GetOk(_)
            | Methods::GetEmpty(_)
            | Methods::RecoverOk(_) => Err(unimplemented()),
        }
    }

    fn qos(&mut self, number: u16, qos: Qos) -> Outcome<()> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Fault::not_implemented(text));
        }
        let most = Some(u32::from(qos.prefetch_count)).filter(|count| *count > 0);
        let channel = self.channel(number);
        if qos.global {
            channel.credit.set_max(most);
        } else {
            channel.prefetch = most;
        }
        self.say(number, &QosOk {})
    }

    /// A message is announced; its header is next.
    pub(super) fn begin_publish(
        &mut self,
        frames: &Frames,
        number: u16,
        publish: Publish<'_>,
    ) -> Outcome<()> {
        if publish.immediate {
            return Err(Fault::not_implemented("immediate=true"));
        }
        self.check_transaction(number)?;
        self.channel(number).content = Content::Announced(Envelope {
            exchange: frames.share(publish.exchange),
            key: frames.share(publish.routing_key),
            mandatory: publish.mandatory,
        });
        Ok(())
    }

    async fn consume(&mut self, number: u16, consume: Consume<'_>) -> Outcome<()> {
        let tag: Box<[u8]> = match consume.consumer_tag {
            b"" => self.context.fresh_name(GENERATED).into_bytes().into(),
            given => given.into(),
        };
        if self.channel(number).has_consumer(&tag) {
            return Err(Fault::not_allowed(format!(
                "attempt to reuse consumer tag '{}'",
                String::from_utf8_lossy(&tag)
            )));
        }
        if consume.queue == REPLY_QUEUE {
            self.consume_replies(number, tag.clone(), consume.no_ack)?;
        } else {
            self.consume_queue(number, tag.clone(), &consume).await?;
        }
        if consume.nowait {
            return Ok(());
        }
        self.say(number, &ConsumeOk { consumer_tag: &tag })
    }

    async fn consume_queue(
        &mut self,
        number: u16,
        tag: Box<[u8]>,
        consume: &Consume<'_>,
    ) -> Outcome<()> {
        let name = self.queue_name(number, consume.queue)?;
        self.attach(&name, Access::Read).await?;
        let priority = priority(consume.arguments, &self.peer.vhost, &name)?;
        let reading = self.reading(number, &name, consume)?;
        // What was given back before may be what is consumed next.
        self.catch_up().await;
        let at = consumer_number(number, self.next_count());
        let channel = self.channel(number);
        let mut credits = Vec::new();
        if !consume.no_ack {
            credits.push(Arc::clone(&channel.credit));
            credits.extend(channel.prefetch.map(|most| Credit::new(Some(most))));
        }
        let new = NewConsumer {
            number: at,
            credits,
            priority,
            exclusive: consume.exclusive,
            name: Arc::from(String::from_utf8_lossy(&tag)),
        };
        let queue = self.qualified(&name);
        let subscribed = match &reading {
            Some(reading) => self.engine.read(&queue, reading.from, new).await,
            None => self.engine.subscribe(&queue, new).await,
        };
        let subscription = subscribed.map_err(|error| match error {
            Error::InUse => Fault::refused(format!(
                "{} in exclusive use",
                queue_text(&self.peer.vhost, &name)
            )),
            error => self.about(Some(&name), None, Access::Read).fault(&error),
        })?;
        Metrics::one(&self.context.metrics.consumers);
        let consumer = Consumer {
            tag,
            queue: Arc::from(name),
            no_ack: consume.no_ack,
            counts_returns: is_quorum(subscription.queue()),
            reads: reading.map(|reading| reading.filter),
            subscription,
        };
        self.channel(number).consumers.insert(at, consumer);
        Ok(())
    }

    /// How a consumer to be reads, if it does. What is read is not taken away: only what a consumer acknowledges, and
    /// how much it may hold, says how fast it is.
    fn reading(
        &mut self,
        number: u16,
        name: &str,
        consume: &Consume<'_>,
    ) -> Outcome<Option<Reading>> {
        let is_stream = self.queue(name, Access::Read)?.settings().stream;
        let thing = format!("stream {}", queue_text(&self.peer.vhost, name));
        let reading = Reading::of(&consume.arguments, is_stream, self.context.broker.wall_ms());
        let reading = reading
            .map_err(|why| Fault::precondition(format!("failed consuming from {thing}: {why}")))?;
        let channel = self.channel(number);
        let is_bounded = channel.prefetch.is_some() || channel.credit.max().is_some();
        if is_stream && !is_bounded {
            return Err(Fault::precondition(format!(
                "consumer prefetch count is not set for {thing}"
            )));
        }
        if is_stream && consume.no_ack {
            return Err(Fault::not_implemented(format!(
                "automatic acknowledgement not supported by {thing}"
            )));
        }
        Ok(reading)
    }

    /// Waits for answers to direct requests.
    fn consume_replies(&mut self, number: u16, tag: Box<[u8]>, no_ack: bool) -> Outcome<()> {
        if !no_ack {
            return Err(Fault::precondition("reply consumer cannot acknowledge"));
        }
        let name = self.context.fresh_name("amq.rabbitmq.reply-to.");
        let channel = self.channel(number);
        if channel.replies.is_some() {
            return Err(Fault::precondition("reply consumer already set"));
        }
        let incarnation = channel.incarnation;
        channel.replies = Some(ReplyConsumer {
            tag,
            name: name.clone(),
        });
        let context = Arc::clone(&self.context);
        context
            .replies
            .open(&name, (number, incarnation), &mut self.inbox);
        Ok(())
    }

    async fn cancel(&mut self, number: u16, cancel: Cancel<'_>) -> Outcome<()> {
        let channel = self.channel(number);
        let found = channel
            .consumers
            .iter()
            .find(|(_, consumer)| *consumer.tag == *cancel.consumer_tag);
        let at = found.map(|(at, _)| *at);
        if let Some(consumer) = at.and_then(|at| channel.consumers.remove(&at)) {
            Metrics::less(&self.context.metrics.consumers, 1);
            self.has_unused |= consumer.subscription.may_take_queue();
            consumer.subscription.cancel().await;
            self.serve_handed().await?;
            self.finish_release().await;
        } else if let Some(replies) = channel
            .replies
            .take_if(|replies| *replies.tag == *cancel.consumer_tag)
        {
            self.context.replies.close(&replies.name);
        }
        if cancel.nowait {
            return Ok(());
        }
        let consumer_tag = cancel.consumer_tag;
        self.say(number, &CancelOk { consumer_tag })
    }

    async fn fetch(&mut self, number: u16, get: Get<'_>) -> Outcome<()> {
        let name = self.queue_name(number, get.queue)?;
        self.attach(&name, Access::Read).await?;
        let queue = self.queue(&name, Access::Read)?;
        if queue.settings().stream {
            let thing = queue_text(&self.peer.vhost, &name);
            let text = format!("basic.get not supported by stream queues {thing}");
            return Err(Fault::not_implemented(text));
        }
        let is_quorum = is_quorum(&queue);
        if is_quorum && queue.settings().single_consumer {
            return Err(Fault::new(
                wire::ReplyCode::ResourceLocked,
                format!(
                    "cannot obtain access to locked {}. basic.get operations are not supported by quorum queues with single active consumer",
                    queue_text(&self.peer.vhost, &name)
                ),
            ));
        }
        // What was published or given back before can be fetched.
        self.catch_up().await;
        self.make_room().await;
        let got = self.engine.get(&queue.name).await;
        let got = got.map_err(|error| self.about(Some(&name), None, Access::Read).fault(&error))?;
        let Some(delivery) = got else {
            return self.say(number, &GetEmpty {});
        };
        let (exchange, routing_key) = message::route_of(&delivery.message, &name);
        let headers = if delivery.redelivered && is_quorum {
            DeliveryHeaders::Returns
        } else {
            DeliveryHeaders::Nothing
        };
        let properties = message::properties(&delivery.message, headers);
        let ok = GetOk {
            delivery_tag: self.channel(number).next_tag(),
            redelivered: delivery.redelivered,
            exchange,
            routing_key,
            message_count: u32::try_from(delivery.ready).unwrap_or(u32::MAX),
        };
        let content = wire::Content {
            properties: &properties,
            body: std::slice::from_ref(&delivery.message.body),
        };
        let metrics = &self.context.metrics;
        self.frame_writer.content(metrics, (number, &ok), content)?;
        if self.is_traced() {
            let from = (&*name, delivery.redelivered);
            self.trace_deliver(number, &delivery.message, from, &properties);
        }
        Metrics::one(&self.context.metrics.delivered);
        if get.no_ack {
            Metrics::one(&self.context.metrics.acknowledged);
            self.settles.push((delivery.unacked, Settlement::Ack));
        } else {
            let tag = ok.delivery_tag;
            self.channel(number).unacked.push(tag, delivery.unacked);
        }
        Ok(())
    }

    pub(super) fn ack(&mut self, number: u16, ack: Ack) -> Outcome<()> {
        let count = self.conclude(number, ack.delivery_tag, ack.multiple, &Settlement::Ack)?;
        Metrics::add(&self.context.metrics.acknowledged, count);
        Ok(())
    }

    pub(super) fn nack(&mut self, number: u16, nack: Nack) -> Outcome<()> {
        let settlement = if nack.requeue {
            Settlement::REQUEUE
        } else {
            Settlement::REJECT
        };
        self.conclude(number, nack.delivery_tag, nack.multiple, &settlement)
            .map(drop)
    }

    pub(super) fn reject(&mut self, number: u16, reject: Reject) -> Outcome<()> {
        let settlement = if reject.requeue {
            Settlement::FAIL
        } else {
            Settlement::REJECT
        };
        self.conclude(number, reject.delivery_tag, false, &settlement)
            .map(drop)
    }

    /// Says what becomes of a delivery, or of all up to it; returns of how many.
    fn conclude(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        settlement: &Settlement,
    ) -> Outcome<usize> {
        let Self {
            channels, settles, ..
        } = self;
        let Some(crate::channel::Slot::Open(channel)) = channels.get_mut(&number) else {
            return Ok(0);
        };
        let before = channel.unacked.len();
        let transaction = &mut channel.transaction;
        let mut settle = |tag, unacked| match transaction {
            Some(transaction) => transaction.settles.push((tag, unacked, settlement.clone())),
            None => settles.push((unacked, settlement.clone())),
        };
        let is_known = match (multiple, tag) {
            (true, 0) => {
                channel.unacked.take_all(&mut settle);
                true
            }
            (true, tag) => channel.unacked.take_through(tag, &mut settle),
            (false, tag) => channel
                .unacked
                .take(tag)
                .map(|unacked| settle(tag, unacked))
                .is_some(),
        };
        if !is_known {
            return Err(Fault::precondition(format!("unknown delivery tag {tag}")));
        }
        Ok(before - channel.unacked.len())
    }

    fn recover(&mut self, number: u16, requeue: bool) -> Outcome<()> {
        if !requeue {
            return Err(Fault::not_implemented("requeue=false"));
        }
        let Self {
            channels, settles, ..
        } = self;
        if let Some(crate::channel::Slot::Open(channel)) = channels.get_mut(&number) {
            channel
                .unacked
                .take_all(|_, unacked| settles.push((unacked, Settlement::REQUEUE)));
        }
        self.settle();
        Ok(())
    }
}

/// A consumer's priority among the arguments.
fn priority(arguments: Table<'_>, vhost: &str, queue: &str) -> Outcome<i32> {
    let Some(value) = arguments.find(b"x-priority") else {
        return Ok(0);
    };
    let number = value.integer().ok_or_else(|| {
        Fault::precondition(format!(
            "invalid arg 'x-priority' for {}: \"expected integer, got {}\"",
            queue_text(vhost, queue),
            value.type_name()
        ))
    })?;
    let clamped = number.clamp(i32::MIN.into(), i32::MAX.into());
    Ok(i32::try_from(clamped).unwrap_or_default())
}
