//! Queues: make, find, change and remove them; send, receive, settle.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use delivery::{Lease, QueueEvent, dead_letter_history, message_id, reserved, via};
use security::{Resource, Verb};
use storage::batch::Record;
use tokio::sync::OwnedSemaphorePermit;

use super::command::{Command, QueueChange, Removal};
use super::prepared::Prepared;
use super::read_ahead::{Seen, weight};
use super::{Access, Broker, TopicKey, VisibleQueues, queue_partitions};
use crate::owner::Request;
use crate::queue::{
    DeadLetter, DeadLetters, Delivered, Depth, FailureClass, Held, Leases, NewQueue, Poll, Queue,
    QueuePartitionId, QueueSettings, Receipt, Receive, Settlement,
};
use crate::room::{self, Boundless, Room};
use crate::{Error, Result, vhost};

/// Messages looked at in one step when they are counted.
const LOOK_MAX: usize = 64;
/// Stretches of unreadable messages that one look passes over.
const UNREADABLE_MAX: usize = 64;

/// How long a message waits that was too large for its receiver, ms.
const TOO_LARGE_MS: u64 = 1000;

/// What one queue partition gets of a request, and the places of its outcomes.
pub(super) type Share<T> = (Vec<usize>, Vec<T>);

impl Access {
    /// The queues that the principal may see.
    pub fn queues(&self) -> VisibleQueues {
        VisibleQueues(self.clone())
    }

    /// One queue, if the principal may see it. Errors: `Denied`, `UnknownQueue`.
    pub fn queue(&self, name: &str) -> Result<Arc<Queue>> {
        self.authorize(Verb::Describe, Resource::Queue(name))?;
        self.inner.queues.named(name).ok_or(Error::UnknownQueue)
    }

    /// Whether there is a topic of this name, which the principal may see, and no queue.
    pub fn is_only_topic(&self, name: &str) -> bool {
        self.inner.queues.named(name).is_none() && self.topic(TopicKey::Name(name)).is_ok()
    }

    /// Attaches a queue to the topic of this name where the settings say so, when there is a topic and no queue.
    /// Errors: those of [`Access::create_queue`], but for `QueueExists`.
    pub async fn attach_on_use(&self, name: &str) -> Result<()> {
        if !self.settings().attach_topics || !self.is_only_topic(name) {
            return Ok(());
        }
        let queue = NewQueue {
            name: name.to_owned(),
            settings: QueueSettings::default(),
            topic: Some(name.to_owned()),
        };
        match self.create_queue(queue).await {
            Ok(_) | Err(Error::QueueExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a queue. Errors: `QueueExists` with the queue that is there, `InvalidName`, `InvalidConfig`,
    /// `UnknownTopic` when the topic to lease from is named and missing.
    pub async fn create_queue(&self, queue: NewQueue) -> Result<Arc<Queue>> {
        self.authorize(Verb::Create, Resource::Queue(&queue.name))?;
        if let Some(topic) = &queue.topic {
            self.authorize(Verb::Consume, Resource::Topic(topic))?;
        }
        self.may_dead_letter(&queue.name, &queue.settings)?;
        let prepared = Prepared::new(&self.inner, &queue).await?;
        let (queue, prepared) = (Box::new(queue), prepared.map(Box::new));
        self.command(|done| Command::CreateQueue {
            queue,
            prepared,
            done,
        })
        .await
    }

    /// Removes a queue, and the topic that was made for it. Errors: `UnknownQueue`.
    pub async fn delete_queue(&self, name: &str) -> Result<()> {
        self.authorize(Verb::Delete, Resource::Queue(name))?;
        self.delete(name, Removal::default()).await.map(|_| ())
    }

    /// Removes a queue on conditions; returns how many messages were ready or waited. Errors: `UnknownQueue`, `InUse`,
    /// `NotEmpty`.
    pub async fn delete_queue_if(&self, name: &str, removal: Removal) -> Result<u64> {
        self.authorize(Verb::Delete, Resource::Queue(name))?;
        self.delete(name, removal).await
    }

    async fn delete(&self, name: &str, removal: Removal) -> Result<u64> {
        let name = Arc::from(name);
        self.command(|done| Command::DeleteQueue {
            name,
            removal,
            done,
        })
        .await
    }

    /// Changes a queue's settings: what `change` refuses is refused as a whole. Errors: `UnknownQueue`, what
    /// `change` returns, `InvalidConfig`.
    pub async fn configure_queue(&self, name: &str, change: QueueChange) -> Result<Arc<Queue>> {
        self.authorize(Verb::Configure, Resource::Queue(name))?;
        let (access, queue) = (self.clone(), name.to_owned());
        let change: QueueChange = Box::new(move |settings| {
            let before = dead_letter_targets(settings);
            change(settings)?;
            if dead_letter_targets(settings) == before {
                return Ok(());
            }
            access.may_dead_letter(&queue, settings)
        });
        let name = Arc::from(name);
        self.command(|done| Command::ConfigureQueue { name, change, done })
            .await
    }

    /// Who makes a queue dead-letter somewhere reads from it, and publishes there.
    fn may_dead_letter(&self, queue: &str, settings: &QueueSettings) -> Result<()> {
        let (target, exchange) = dead_letter_targets(settings);
        if target.is_none() && exchange.is_none() {
            return Ok(());
        }
        self.authorize(Verb::Consume, Resource::Queue(queue))?;
        if let Some(target) = target {
            self.authorize(Verb::Publish, Resource::Queue(&target))?;
        }
        if let Some(exchange) = exchange {
            let exchange = vhost::qualify(vhost::split(queue).0, &exchange);
            self.authorize(Verb::Publish, Resource::Exchange(&exchange))?;
        }
        Ok(())
    }

    /// Leases messages, waiting for the first one if asked to. When the future is dropped before it is done,
    /// nothing stays in flight. Errors: `UnknownQueue`, `InFlightLimit`.
    pub async fn receive(&self, queue: &str, receive: Receive) -> Result<Vec<Delivered>> {
        self.receive_within(queue, receive, &Boundless).await
    }

    /// The same for a receiver with so much room in memory: it gets fewer messages where there is little, and waits
    /// with none in flight where there is none. Room is taken for what is returned.
    pub async fn receive_within(
        &self,
        queue: &str,
        receive: Receive,
        room: &dyn Room,
    ) -> Result<Vec<Delivered>> {
        let queue = self.find_queue(queue, Verb::Consume)?;
        let deadline = self.now_ms().saturating_add(receive.wait_ms);
        let mut ahead = Ahead { room, bytes: 0 };
        loop {
            let wait = self.now_ms() < deadline;
            let mut leases = self
                .lease_messages(&queue, &receive, deadline, wait)
                .await?;
            if leases.each.is_empty() {
                queue.numbers.received_nothing();
                return Ok(Vec::new());
            }
            let (delivered, gone) = match self.read_leases(&queue, &leases, &mut ahead).await? {
                ReadLeases::All(delivered, gone) => (delivered, gone),
                ReadLeases::First(delivered, gone, count) => {
                    leases.cut(count);
                    (delivered, gone)
                }
                ReadLeases::None(bytes) if room::is_hopeless(room, bytes) => {
                    self.pass_over(leases, bytes, room).await?;
                    continue;
                }
                ReadLeases::None(bytes) => {
                    drop(leases);
                    ahead.wait(bytes).await;
                    continue;
                }
            };
            if !gone.is_empty() {
                // Not a settlement: a lease for no time has ended already, and the message must go all the same.
                let event = QueueEvent::Acked { offsets: gone };
                let queue = leases.at.queue;
                queue_partitions::commit(&self.inner, leases.at, |round| round.note(queue, event))
                    .await?;
            }
            leases.keep();
            if !delivered.is_empty() {
                return Ok(delivered);
            }
        }
    }

    /// The first of what was leased is too large for its receiver, now and for ever: that counts as a failed delivery, and
    /// the message comes back later, behind the others.
    async fn pass_over(&self, mut leases: Leases, bytes: usize, room: &dyn Room) -> Result<()> {
        leases.cut(1);
        let at = leases.at;
        let settles: Vec<_> = leases
            .each
            .iter()
            .map(|lease| {
                self.inner
                    .warn_too_large(at, (lease.offset, bytes), room.bytes_max());
                let back = Settlement::Release {
                    delay: Some(TOO_LARGE_MS),
                    class: Some(FailureClass::Transient),
                };
                (lease.offset, lease.number, back)
            })
            .collect();
        let settled = self.settle_at(at, settles)?;
        settled.await.map_err(|_| Error::Unavailable)??;
        leases.keep();
        Ok(())
    }

    /// Drops all messages of a queue, leased and waiting ones too, and forgets its deduplication ids.
    pub async fn purge_queue(&self, queue: &str) -> Result<()> {
        let queue = self.find_queue(queue, Verb::Trim)?;
        for at in queue_partitions::of_queue(&queue) {
            queue_partitions::commit(&self.inner, at, |round| round.purge(at.queue)).await?;
        }
        Ok(())
    }

    /// How full a queue is.
    #[expect(
        clippy::unused_async,
        reason = "the partition may have its owner on another node one day"
    )]
    pub async fn queue_depth(&self, queue: &str) -> Result<Depth> {
        let queue = self.find_queue(queue, Verb::Describe)?;
        let mut depth = Depth {
            ready: 0,
            in_flight: 0,
            delayed: 0,
            keys_in_flight: 0,
            unreadable: 0,
            ..queue.numbers()
        };
        for at in queue_partitions::of_queue(&queue) {
            let counts = queue_partitions::run(&self.inner, at, |round| round.depth(at.queue))??;
            depth.ready += counts.ready;
            depth.in_flight += counts.leased;
            depth.delayed += counts.waiting;
            depth.keys_in_flight += counts.keys_leased;
            depth.unreadable += counts.unreadable;
        }
        Ok(depth)
    }

    /// Looks at up to `max` messages from sequence `from` on without borrowing them; acknowledged ones are left out.
    /// Their receipts settle nothing.
    pub async fn peek(&self, queue: &str, from: u64, max: usize) -> Result<Vec<Delivered>> {
        let queue = self.find_queue(queue, Verb::Consume)?;
        let mut seen = Vec::new();
        for at in queue_partitions::of_queue(&queue) {
            self.peek_queue_partition(at, (from, max), &mut seen, &Boundless)
                .await?;
        }
        Ok(messages(seen))
    }

    /// The same for a caller with so much room in memory: fewer messages where there is little; also returns whether
    /// some were left out. Room is taken for what is returned.
    pub async fn peek_within(
        &self,
        queue: &str,
        (from, max): (u64, usize),
        room: &dyn Room,
    ) -> Result<(Vec<Delivered>, bool)> {
        let queue = self.find_queue(queue, Verb::Consume)?;
        let mut seen = Vec::new();
        for at in queue_partitions::of_queue(&queue) {
            if self
                .peek_queue_partition(at, (from, max), &mut seen, room)
                .await?
            {
                return Ok((messages(seen), true));
            }
        }
        Ok((messages(seen), false))
    }

    /// Looks at up to `max` messages of one of a queue's partitions, from an offset on, as [`Access::peek_within`]
    /// does; and says what each of them is doing.
    pub async fn look(
        &self,
        queue: &str,
        (partition, from, max): (u32, u64, usize),
        room: &dyn Room,
    ) -> Result<(Vec<(Delivered, Held)>, bool)> {
        let queue = self.find_queue(queue, Verb::Consume)?;
        let mut seen = Vec::new();
        let at = queue_partition_at(&queue, partition);
        let more = self
            .peek_queue_partition(at, (from, max), &mut seen, room)
            .await?;
        Ok((seen, more))
    }

    /// Counts a queue's messages by where each was dead-lettered, looking at `max` of them at most; those in flight
    /// and those that wait count too.
    pub async fn dead_letters(&self, queue: &str, max: usize) -> Result<DeadLetters> {
        let queue = self.find_queue(queue, Verb::Consume)?;
        let mut dead_letters = DeadLetters::default();
        let mut left = max;
        for at in queue_partitions::of_queue(&queue) {
            let mut from = 0;
            loop {
                let mut seen = Vec::new();
                // One more than wanted shows whether there are more.
                let page = LOOK_MAX.min(left + 1);
                self.peek_queue_partition(at, (from, page), &mut seen, &Boundless)
                    .await?;
                let mut seen = messages(seen);
                let Some(last) = seen.last() else { break };
                from = last.sequence + 1;
                dead_letters.more = seen.len() > left;
                seen.truncate(left);
                left -= seen.len();
                for message in seen {
                    let source = message.dead.map(|dead| dead.queue);
                    *dead_letters.sources.entry(source).or_default() += 1;
                }
                if dead_letters.more {
                    return Ok(dead_letters);
                }
            }
        }
        Ok(dead_letters)
    }

    /// Makes messages from sequence `from` on ready again that were acknowledged and are still in the log; returns
    /// how many. Only for queues without order and priorities.
    pub async fn replay(&self, queue: &str, from: u64) -> Result<u64> {
        let queue = self.find_queue(queue, Verb::Consume)?;
        let mut count = 0;
        for at in queue_partitions::of_queue(&queue) {
            let start = self
                .inner
                .log
                .bounds(queue_partitions::records(at))
                .map_or(0, |b| b.start);
            let from = from.max(start);
            count +=
                queue_partitions::commit(&self.inner, at, |round| round.replay(at.queue, from))
                    .await?;
        }
        Ok(count)
    }

    /// Finds a queue partition that has something; waits for one if asked to.
    async fn lease_messages(
        &self,
        queue: &Queue,
        receive: &Receive,
        deadline: u64,
        wait: bool,
    ) -> Result<Leases> {
        let first = self.turn() % queue.partitions.max(1) as usize;
        let all: Vec<QueuePartitionId> = queue_partitions::of_queue(queue).collect();
        let (before, from) = all.split_at(first);
        let in_turn = || from.iter().chain(before).copied();
        let poll = || {
            Poll::new(
                receive.max.max(1),
                receive.lease_ms,
                receive.attempt.clone(),
                deadline,
                self.principal().clone(),
            )
        };
        if queue.partitions > 1 || !wait {
            for at in in_turn() {
                let (poll, answered) = poll();
                self.ask_queue_partition(at, Arc::new(poll), false)?;
                let leases = answered.await.map_err(|_| Error::Unavailable)??;
                if !leases.each.is_empty() {
                    return Ok(leases);
                }
            }
        }
        let Some(at) = in_turn().next().filter(|_| wait) else {
            return Ok(Leases::none(QueuePartitionId::default()));
        };
        let mut draining = self.inner.draining.subscribe();
        let (poll, answered) = poll();
        let poll = Arc::new(poll);
        for at in in_turn() {
            self.ask_queue_partition(at, Arc::clone(&poll), true)?;
        }
        tokio::select! {
            leases = answered => leases.map_err(|_| Error::Unavailable)?,
            _ = draining.wait_for(|draining| *draining) => Ok(Leases::none(at)),
        }
    }
}

/// The queue and the exchange that dead letters go to.
fn dead_letter_targets(settings: &QueueSettings) -> (Option<String>, Option<String>) {
    let queue = settings.dead_letter.as_ref();
    let exchange = settings.dead_letter_exchange.as_ref();
    (
        queue.map(|policy| policy.queue.clone()),
        exchange.map(|policy| policy.exchange.clone()),
    )
}

impl Broker {
    /// Looks when a queue's oldest message that is not done was sent; [`Queue::numbers`] says it from then on.
    pub async fn look_for_oldest(&self, queue: &Queue) {
        let mut oldest = None;
        let depth = queue.numbers();
        let is_empty = depth.ready + depth.in_flight + depth.delayed == 0;
        for at in queue_partitions::of_queue(queue).filter(|_| !is_empty) {
            let seen = self.oldest_of_queue_partition(at).await.unwrap_or(None);
            oldest = [oldest, seen].into_iter().flatten().min();
        }
        queue.numbers.oldest(oldest);
    }

    async fn oldest_of_queue_partition(&self, at: QueuePartitionId) -> Result<Option<u64>> {
        let look = |queue_partition: &delivery::QueuePartition| {
            Some((
                queue_partition.oldest(),
                queue_partition.arrived(queue_partition.oldest()),
            ))
            .filter(|(oldest, _)| *oldest < queue_partition.end())
        };
        let Some(offset) = queue_partitions::inspect(&self.inner, at, look).await? else {
            return Ok(None);
        };
        let (offset, arrived) = offset;
        Ok(match self.inner.record_at(at, offset).await? {
            Seen::Record(record) => Some(delivery::sent_ms(record.timestamp, arrived)),
            Seen::Gone | Seen::Unreadable { .. } => None,
        })
    }

    /// Counts up: whose turn it is among equals.
    pub(super) fn turn(&self) -> usize {
        self.inner.turn.fetch_add(1, Relaxed)
    }

    /// An even draw from 0 to 1.
    pub(super) fn chance(&self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        let (draw, _) = self.inner.random.fresh_id().as_u64_pair();
        // The lower bits of an identity hold its version.
        ((draw >> 16) & ((1 << 40) - 1)) as f64 / (STEPS / 8192.0)
    }

    /// Waits while the broker holds too many bytes that are being published.
    pub(super) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let most = u32::try_from(self.inner.settings.publish_bytes_max).unwrap_or(u32::MAX);
        let room = u32::try_from(bytes).unwrap_or(u32::MAX).min(most);
        let publishing = Arc::clone(&self.inner.publishing);
        publishing.acquire_many_owned(room).await.ok()
    }

    fn ask_queue_partition(&self, at: QueuePartitionId, poll: Arc<Poll>, park: bool) -> Result<()> {
        let queue = at.queue;
        queue_partitions::owner(&self.inner, at)?.submit(Request::Receive { queue, poll, park });
        Ok(())
    }

    /// Reads what was leased, as far as there is room. Also returns what is too old or not there any more.
    async fn read_leases(
        &self,
        queue: &Queue,
        leases: &Leases,
        ahead: &mut Ahead<'_>,
    ) -> Result<ReadLeases> {
        // What was replayed may be older, and is not too old for that.
        let settings = queue.settings();
        let age = settings.retention_ms.saturating_add(settings.replay_ms);
        let clock = &self.inner.clock;
        let oldest = clock.stamp_ago(age);
        let mut delivered = Vec::with_capacity(leases.each.len());
        let mut gone = Vec::new();
        for (count, lease) in leases.each.iter().enumerate() {
            loop {
                let record = match self.inner.record_at(leases.at, lease.offset).await? {
                    Seen::Record(record) if sent(&record, lease) >= oldest => record,
                    Seen::Record(_) | Seen::Gone => {
                        gone.push(lease.offset);
                        break;
                    }
                    // Neither delivered nor done with.
                    Seen::Unreadable { upto } => {
                        self.inner.set_unreadable(leases.at, lease.offset, upto);
                        break;
                    }
                };
                let bytes = weight(&record);
                if ahead.try_take(bytes) {
                    delivered.push(deliver(
                        leases.at,
                        &lease.stamped(|at| clock.stamp_at(at)),
                        record,
                    ));
                    break;
                }
                // No message is held while room is waited for.
                drop(record);
                if !leases.is_new() && room::is_hopeless(ahead.room, bytes) {
                    self.inner.warn_too_large(
                        leases.at,
                        (lease.offset, bytes),
                        ahead.room.bytes_max(),
                    );
                    break;
                }
                if !leases.is_new() {
                    ahead.wait(bytes).await;
                } else if delivered.is_empty() {
                    return Ok(ReadLeases::None(bytes));
                } else {
                    return Ok(ReadLeases::First(delivered, gone, count));
                }
            }
        }
        Ok(ReadLeases::All(delivered, gone))
    }

    /// Whether messages were left out for want of room.
    async fn peek_queue_partition(
        &self,
        at: QueuePartitionId,
        (from, max): (u64, usize),
        seen: &mut Vec<(Delivered, Held)>,
        room: &dyn Room,
    ) -> Result<bool> {
        let Some(bounds) = self.inner.log.bounds(queue_partitions::records(at)) else {
            return Ok(false);
        };
        // What is not durable yet nobody may see.
        let partition = self.inner.partition_of(at);
        let readable = partition.map_or(0, |partition| partition.high_watermark());
        let mut from = from.max(bounds.start);
        for _ in 0..UNREADABLE_MAX {
            let look = move |queue_partition: &delivery::QueuePartition| {
                let held = queue_partition.held_from(from, max);
                let doing = queue_partition.doing(&held);
                held.into_iter().zip(doing).collect::<Vec<_>>()
            };
            let wanted = queue_partitions::inspect(&self.inner, at, look).await?;
            let before = from;
            let wanted = wanted.into_iter();
            for (lease, held) in wanted.filter(|(lease, _)| lease.offset < readable) {
                if seen.len() >= max {
                    return Ok(false);
                }
                let record = match self.inner.record_at(at, lease.offset).await? {
                    Seen::Record(record) => record,
                    Seen::Gone => continue,
                    Seen::Unreadable { upto } => {
                        // It is not looked at again, and what is behind it takes its place.
                        self.inner.set_unreadable(at, lease.offset, upto);
                        from = upto;
                        break;
                    }
                };
                let bytes = weight(&record);
                let is_taken = room.try_take(bytes);
                if !is_taken && !seen.is_empty() {
                    return Ok(true);
                }
                if !is_taken && room::is_hopeless(room, bytes) {
                    // Not shown, and those behind it are.
                    let allowed = room.bytes_max();
                    self.inner
                        .warn_too_large(at, (lease.offset, bytes), allowed);
                    continue;
                }
                if !is_taken {
                    room::take(room, bytes).await;
                }
                seen.push((
                    deliver(
                        at,
                        &lease.stamped(|at| self.inner.clock.stamp_at(at)),
                        record,
                    ),
                    held,
                ));
            }
            if from == before {
                break;
            }
        }
        Ok(false)
    }
}

/// What came of reading what was leased: messages, and offsets of those that are not there any more.
enum ReadLeases {
    All(Vec<Delivered>, Vec<u64>),
    /// There was room for the first so many only.
    First(Vec<Delivered>, Vec<u64>, usize),
    /// There was no room for a first one of so many bytes.
    None(usize),
}

/// Room that was waited for, of which what is not used is given back.
struct Ahead<'r> {
    room: &'r dyn Room,
    bytes: usize,
}

impl Ahead<'_> {
    fn try_take(&mut self, bytes: usize) -> bool {
        room::try_take(self.room, &mut self.bytes, bytes)
    }

    async fn wait(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        room::take(self.room, more).await;
        self.bytes += more;
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.give_back(self.bytes);
        }
    }
}

fn messages(seen: Vec<(Delivered, Held)>) -> Vec<Delivered> {
    seen.into_iter().map(|(message, _)| message).collect()
}

pub(super) fn queue_partition_at(queue: &Queue, index: u32) -> QueuePartitionId {
    QueuePartitionId {
        topic: queue.document.topic,
        index,
        queue: queue.id(),
    }
}

/// The queue partition a message goes to: that of its key, or the one whose turn it is.
pub(super) fn queue_partition_of(queue: &Queue, key: Option<&[u8]>, turn: u64) -> u32 {
    let number = key.map_or(turn, |key| {
        key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    });
    u32::try_from(number % u64::from(queue.partitions.max(1))).unwrap_or(0)
}

fn header<'r>(record: &'r Record, name: &[u8]) -> Option<&'r bytes::Bytes> {
    let found = record.headers.iter().find(|(n, _)| n == name)?;
    found.1.as_ref()
}

/// Where a record was dead-lettered.
pub(super) fn dead_letter(record: &Record) -> Option<DeadLetter> {
    serde_json::from_slice(header(record, reserved::DEAD)?).ok()
}

/// When a message was sent, ms: as its record says, within the time in which it can have come. One that was
/// dead-lettered keeps the time it had.
pub(super) fn sent(record: &Record, lease: &Lease) -> u64 {
    let arrived = lease
        .arrived
        .filter(|_| header(record, reserved::DEAD).is_none());
    delivery::sent_ms(record.timestamp, arrived)
}

pub(super) fn deliver(at: QueuePartitionId, lease: &Lease, record: Record) -> Delivered {
    let sent = sent(&record, lease);
    let before = header(&record, reserved::ATTEMPTS)
        .and_then(|n| u32::try_from(reserved::number(n)?).ok())
        .unwrap_or(0);
    let id = header(&record, reserved::ID).and_then(|id| reserved::id(id));
    let dedup = header(&record, reserved::DEDUP).cloned();
    let priority = header(&record, reserved::PRIORITY).and_then(|p| reserved::level(p));
    let (exchange, keys) = header(&record, reserved::VIA)
        .cloned()
        .map(via::decode)
        .unwrap_or_default();
    let dead = dead_letter(&record);
    let dead_letter_history = dead_letter_history::history(
        header(&record, reserved::DEAD_LETTER_HISTORY).map(|value| &value[..]),
        dead.as_ref(),
    );
    let mut headers = record.headers;
    headers.retain(|(name, _)| !reserved::is_reserved_by_engine(name));
    Delivered {
        id: id.unwrap_or_else(|| message_id(at.topic, at.index, record.offset)),
        receipt: Receipt {
            queue: at.queue,
            partition: at.index,
            offset: record.offset,
            lease: lease.number,
        },
        body: record.value.unwrap_or_default(),
        key: record.key,
        headers,
        sent_ms: sent,
        first_received_ms: lease.first_ms,
        acquired: before.saturating_add(lease.leased),
        failed: lease.failed,
        sequence: record.offset,
        dedup,
        priority: priority.unwrap_or(0),
        exchange,
        keys,
        dead,
        dead_letter_history,
    }
}
