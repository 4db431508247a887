//! What a connection publishes: where each message goes, what is returned, and what is confirmed when it is safe.

use std::sync::Arc;

use bytes::Bytes;
use engine::Outgoing;
use engine::queue::Queue;

use crate::arguments::priority_of;
use crate::channel::{Confirms, Message, Run, Slot};
use crate::error::{Access, Fault, Outcome};
use crate::message::{self, Keys, Routing};
use crate::metrics::Metrics;
use crate::publishing::{MESSAGE_BYTES, Note, Settled};
use crate::replies::{REPLY_QUEUE, is_reply_name};
use crate::session::Session;
use crate::wire::{Content, Properties, ReplyCode, basic};

impl Session {
    /// Finds out where a whole message goes, and takes it along.
    pub(crate) fn publish(&mut self, number: u16, message: Message) -> Outcome<()> {
        Metrics::one(&self.context.metrics.published);
        let properties = Properties::decode(&message.properties)?;
        let ttl_ms = message::check(&properties, &self.peer.principal.name)?;
        let keys = Keys::of(&properties)?;
        let rewritten = self.rewrite(number, &properties, &keys)?;
        let raw = rewritten.as_ref().unwrap_or(&message.properties);
        let seen = match &rewritten {
            Some(raw) => Properties::decode(raw)?,
            None => properties,
        };
        if message.envelope.exchange.is_empty() && is_reply_name(&message.envelope.key) {
            let room = self.account().permit();
            let found = self
                .context
                .replies
                .send(&message.envelope.key, raw, &message.body, room);
            Metrics::one(&self.context.metrics.replies);
            return if found {
                self.take_along(number, None);
                Ok(())
            } else {
                self.unroutable(number, message)
            };
        }
        let route = self.route(&message, &keys, &properties)?;
        if self.is_traced() {
            self.trace_publish(number, &message, (&keys.open[..], &raw[..]), &route);
        }
        if route.queues().is_empty() {
            return self.unroutable(number, message);
        }
        let mut queues = route.queues().iter();
        if queues.any(|queue| queue.settings().may_overflow_to_dead()) {
            self.engine.expect_dead();
        }
        let new = engine::queue::NewMessage {
            headers: message::plain_headers(raw, &seen),
            body: message.body.clone(),
            priority: priority(&properties, route.queues()),
            exchange: Some(message.envelope.exchange.clone()),
            keys: kept_keys(&message, &keys),
            hidden_keys: keys
                .blind
                .iter()
                .map(|key| Bytes::copy_from_slice(key))
                .collect(),
            ttl_ms,
            ..Default::default()
        };
        self.take_along(number, Outgoing::new(new, route));
        Ok(())
    }

    /// Properties as they travel, where that is not how they came.
    fn rewrite(
        &self,
        number: u16,
        properties: &Properties<'_>,
        keys: &Keys<'_>,
    ) -> Outcome<Option<Bytes>> {
        let mut rewritten = None;
        if properties.reply_to == Some(REPLY_QUEUE) {
            let replies = self.open_channel(number).and_then(|c| c.replies.as_ref());
            let replies =
                replies.ok_or_else(|| Fault::precondition("fast reply consumer does not exist"))?;
            rewritten = Some(message::with_reply_to(properties, &replies.name));
        }
        if keys.has_blind {
            let before = rewritten.take();
            let properties = match &before {
                Some(raw) => Properties::decode(raw)?,
                None => *properties,
            };
            rewritten = Some(message::without_blind(&properties));
        }
        Ok(rewritten)
    }

    fn route(
        &self,
        message: &Message,
        keys: &Keys<'_>,
        properties: &Properties<'_>,
    ) -> Outcome<engine::exchange::Route> {
        let name = std::str::from_utf8(&message.envelope.exchange)
            .map_err(|_| Fault::not_found("no exchange of a name that is no text"))?;
        let first: &[u8] = &message.envelope.key;
        let all;
        let keys = if keys.open.is_empty() && keys.blind.is_empty() {
            std::slice::from_ref(&first)
        } else {
            all = [&[first], &keys.open[..], &keys.blind[..]].concat();
            &all[..]
        };
        let routed = engine::exchange::Routed {
            keys,
            headers: &Routing(properties),
            publisher: true,
        };
        let (access, vhost) = (self.engine.access(), &self.peer.vhost);
        let route = access.route(vhost, name, &routed);
        route.map_err(|error| {
            let is_internal = matches!(error, engine::Error::InvalidRequest(_))
                && access
                    .exchange(vhost, name)
                    .is_ok_and(|exchange| exchange.document.internal);
            if is_internal {
                return Fault::refused(format!(
                    "cannot publish to internal exchange '{name}' in vhost '{vhost}'"
                ));
            }
            self.about(None, Some(name), Access::Write).fault(&error)
        })
    }

    /// Takes a message along with what else was read, or only notes that there was one.
    fn take_along(&mut self, number: u16, outgoing: Option<Outgoing>) {
        let Some(Slot::Open(channel)) = self.channels.get_mut(&number) else {
            return;
        };
        if let Some(transaction) = &mut channel.transaction {
            if let Some(outgoing) = outgoing {
                let bytes = outgoing.body_bytes() + MESSAGE_BYTES;
                transaction.bytes += bytes;
                self.uncommitted += bytes;
                transaction.outgoing.push(outgoing);
            }
            return;
        }
        let note = Note {
            channel: number,
            incarnation: channel.incarnation,
            number: channel.confirms.as_mut().map_or(0, Confirms::number),
            is_sent: outgoing.is_some(),
            is_copy: false,
        };
        if self.is_blocked && note.is_sent && !self.publishing.has_room_to_wait() {
            return self.refuse_now(note);
        }
        if note.is_sent || note.number > 0 {
            self.publishing.note(note);
        }
        if let Some(outgoing) = outgoing {
            self.publishing.add(outgoing);
        }
    }

    /// A message found no queue: its publisher gets it back if it cares, and otherwise it was safe to drop.
    fn unroutable(&mut self, number: u16, message: Message) -> Outcome<()> {
        if !message.envelope.mandatory {
            Metrics::one(&self.context.metrics.unroutable);
            self.take_along(number, None);
            return Ok(());
        }
        if let Some(Slot::Open(channel)) = self.channels.get_mut(&number)
            && let Some(transaction) = &mut channel.transaction
        {
            let bytes = message.body.len() + MESSAGE_BYTES;
            transaction.bytes += bytes;
            self.uncommitted += bytes;
            transaction.unroutable.push(message);
            return Ok(());
        }
        self.give_back(number, &message)?;
        self.take_along(number, None);
        Ok(())
    }

    /// Sends a message back to its publisher.
    pub(crate) fn give_back(&mut self, number: u16, message: &Message) -> Outcome<()> {
        Metrics::one(&self.context.metrics.returned);
        let returned = basic::Return {
            reply_code: ReplyCode::NoRoute.number(),
            reply_text: ReplyCode::NoRoute.name().as_bytes(),
            exchange: &message.envelope.exchange,
            routing_key: &message.envelope.key,
        };
        let properties = Properties::decode(&message.properties)?;
        let seen = Keys::of(&properties)?
            .has_blind
            .then(|| message::without_blind(&properties));
        let content = Content {
            properties: seen.as_ref().unwrap_or(&message.properties),
            body: std::slice::from_ref(&message.body),
        };
        let metrics = &self.context.metrics;
        self.frame_writer
            .content(metrics, (number, &returned), content)
    }

    /// Hands over what was gathered, unless there is no space for it.
    pub(crate) async fn hand_over(&mut self) {
        if !self.is_blocked {
            self.publishing.hand_over(&self.context.broker).await;
        }
    }

    /// Answers a publisher at once that its message was not taken; it wants to know, or the message would not have been
    /// read.
    fn refuse_now(&mut self, note: Note) {
        self.confirm(Settled {
            notes: vec![note],
            outcomes: vec![Err(engine::Error::DiskFull)],
        });
    }

    /// Waits until everything that was handed over so far is safe or refused, and says so.
    pub(crate) async fn finish_publishing(&mut self) {
        self.hand_over().await;
        while !self.publishing.is_settled() {
            let settled = self.publishing.next().await;
            self.confirm(settled);
        }
    }

    /// Confirms what is known to be safe or refused by now.
    pub(crate) async fn confirm_ready(&mut self) {
        while let Some(settled) = self.publishing.ready().await {
            self.confirm(settled);
        }
    }

    /// Answers publishers what became of a batch.
    pub(crate) fn confirm(&mut self, settled: Settled) {
        let mut outcomes = settled.outcomes.into_iter();
        let mut touched: Vec<u16> = Vec::new();
        let (mut refused, mut taken) = (0, 0);
        for note in settled.notes {
            let is_safe = !note.is_sent || outcomes.next().as_ref().is_some_and(is_safe);
            if note.is_copy {
                continue;
            }
            *if is_safe { &mut taken } else { &mut refused } += 1;
            if note.number == 0 {
                continue;
            }
            let Some(Slot::Open(channel)) = self.channels.get_mut(&note.channel) else {
                continue;
            };
            let Some(confirms) = channel.confirms.as_mut() else {
                continue;
            };
            // The number may have begun another life meanwhile.
            if channel.incarnation != note.incarnation {
                continue;
            }
            let ended = confirms.resolve(note.number, is_safe);
            if touched.last() != Some(&note.channel) {
                touched.push(note.channel);
            }
            if let Some(run) = ended {
                self.say_run(note.channel, run);
            }
        }
        self.reject_throttle.note(refused, taken);
        for number in touched {
            let run = match self.channels.get_mut(&number) {
                Some(Slot::Open(channel)) => channel.confirms.as_mut().and_then(Confirms::take_run),
                _ => None,
            };
            if let Some(run) = run {
                self.say_run(number, run);
            }
        }
    }

    fn say_run(&mut self, number: u16, run: Run) {
        let (delivery_tag, multiple) = (run.last, run.count > 1);
        let count = usize::try_from(run.count).unwrap_or(usize::MAX);
        let frames = &mut self.frame_writer.frames;
        // Numbers always fit.
        let _ = if run.is_ack {
            Metrics::add(&self.context.metrics.confirmed, count);
            let ack = basic::Ack {
                delivery_tag,
                multiple,
            };
            frames.method(number, &ack)
        } else {
            Metrics::add(&self.context.metrics.refused, count);
            // Those before it are resolved: it is the end of them all. The flag means nothing here, and is what clients
            // of this dialect have always been sent.
            let nack = basic::Nack {
                delivery_tag,
                multiple: true,
                requeue: true,
            };
            frames.method(number, &nack)
        };
    }
}

/// A message's priority. Several queues that would give it different ones get the least of them.
fn priority(properties: &Properties<'_>, queues: &[Arc<Queue>]) -> u8 {
    let of_queues = || queues.iter().map(|queue| priority_of(queue)).min();
    let named = properties.priority;
    named.or_else(of_queues).unwrap_or(0)
}

/// The keys a message keeps: all but the hidden ones.
fn kept_keys(message: &Message, keys: &Keys<'_>) -> Vec<Bytes> {
    let mut kept = Vec::with_capacity(1 + keys.open.len());
    kept.push(message.envelope.key.clone());
    kept.extend(keys.open.iter().map(|key| Bytes::copy_from_slice(key)));
    kept
}

/// Whether a publisher may forget a message. One whose queues are gone since is as good as one that found none.
fn is_safe(outcome: &engine::Result<()>) -> bool {
    matches!(outcome, Ok(()) | Err(engine::Error::UnknownQueue))
}
