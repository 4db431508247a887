//! Sessions: connected consumers, who consume, hold messages without a deadline, and whose going gives
//! everything back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delivery::Lease;
use security::{Resource, Verb};
use storage::batch::Record;
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use super::consumer_registry::{ExpiryMessage, Known};
use super::queues::{deliver, sent};
use super::read_ahead::{Seen, weight};
use super::readers::Readers;
use super::{Access, Broker, Inner, queue_partitions};
use crate::owner::{Request, Round, Settles, Settling};
use crate::queue::{
    Consumer, ConsumerEvent, Credit, Delivered, Handed, OnTheWay, Queue, QueuePartitionId,
    SessionMessage, Settlement, Source, UnackedMessage,
};
use crate::room::{self, Boundless, Room};
use crate::{Error, Result};

/// Messages handed to a session that it has not looked at yet, at most.
const OUTBOX_MAX: u32 = 2048;

/// A connected consumer. When it is dropped, its exclusive queues go; consumers and unacked messages go with their own
/// guards.
#[derive(Debug)]
pub struct Session {
    pub(super) access: Access,
    id: Uuid,
    outbox: Arc<Credit>,
    pub(super) event_sender: mpsc::UnboundedSender<ConsumerEvent>,
    /// Notified when there is something to do for those of its consumers that read.
    pub(super) reading: Arc<Notify>,
    /// What it settled, and may not have on disk.
    settled: Mutex<Settled>,
    room: Arc<dyn Room>,
}

/// What was settled since the last wait for it.
#[derive(Debug, Default)]
struct Settled {
    /// Queue partitions of the messages.
    queue_partitions: BTreeSet<QueuePartitionId>,
    /// Some may have been dead-lettered by it.
    may_dead_letter: bool,
}

/// What a session is handed.
#[derive(Debug)]
pub struct Deliveries {
    broker: Broker,
    events: mpsc::UnboundedReceiver<ConsumerEvent>,
    current: Option<Box<Handed>>,
    readers: Readers,
    pub(super) room: Hold,
}

/// Room for the message that is handed over, until the next one is asked for: who keeps it longer takes room for it.
#[derive(Debug)]
pub(super) struct Hold {
    room: Arc<dyn Room>,
    /// Taken for a message that is still to be handed over.
    ahead: usize,
    handed: usize,
}

impl Hold {
    fn new(room: Arc<dyn Room>) -> Self {
        let (ahead, handed) = (0, 0);
        Self {
            room,
            ahead,
            handed,
        }
    }

    /// The message before is not of interest any more.
    fn next(&mut self) {
        if self.handed > 0 {
            self.room.give_back(std::mem::take(&mut self.handed));
        }
    }

    /// Takes room for a record, if it is there now.
    fn try_take(&mut self, record: Option<&Record>) -> std::result::Result<(), usize> {
        let bytes = record.map_or(0, weight);
        if room::try_take(&*self.room, &mut self.ahead, bytes) {
            self.handed += bytes;
            Ok(())
        } else {
            Err(bytes)
        }
    }

    fn is_hopeless(&self, bytes: usize) -> bool {
        room::is_hopeless(&*self.room, bytes)
    }

    async fn wait(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.ahead);
        room::take(&*self.room, more).await;
        self.ahead += more;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let held = self.ahead + self.handed;
        if held > 0 {
            self.room.give_back(held);
        }
    }
}

/// Something that happened to a session's consumers.
#[derive(Debug)]
pub enum Event {
    /// A message.
    Delivery(Box<Delivery>),
    /// The queue of a consumer is gone, and so is the consumer.
    Cancelled {
        /// What the session calls it.
        consumer: u64,
    },
}

/// A message handed to a session.
#[derive(Debug)]
pub struct Delivery {
    /// What the session calls the consumer; 0 for a message that was taken without one.
    pub consumer: u64,
    /// What settles it.
    pub unacked: UnackedMessage,
    /// It was leased before.
    pub redelivered: bool,
    /// Messages that were ready or waited behind it, for one that was taken without a consumer.
    pub ready: u64,
    /// The message.
    pub message: Delivered,
}

/// A consumer to be.
#[derive(Debug, Clone, Default)]
pub struct NewConsumer {
    /// What the session calls it; comes back with every delivery.
    pub number: u64,
    /// How many messages it may hold: all of them have to have room. May be shared with other consumers.
    pub credits: Vec<Arc<Credit>>,
    /// Those of greater priority are served first, as long as they have room.
    pub priority: i32,
    /// It wants to be the only one.
    pub exclusive: bool,
    /// What its client calls it, for people who look at consumers.
    pub name: Arc<str>,
}

/// A consumer of a queue, for people who look.
#[derive(Debug, Clone)]
pub struct ConsumerOf {
    /// Names it; consumers that began later have greater ones.
    pub id: u64,
    /// The queue.
    pub queue: Arc<str>,
    /// The session it belongs to.
    pub session: Uuid,
    /// What its client calls it.
    pub name: Arc<str>,
    /// Its priority.
    pub priority: i32,
    /// It is the only one.
    pub exclusive: bool,
}

/// A consumer that is served until this is dropped or cancelled. What it holds stays with it.
#[derive(Debug)]
pub struct Subscription {
    broker: Broker,
    queue: Arc<Queue>,
    pub(super) id: u64,
    /// Where it is served.
    queue_partitions: Vec<QueuePartitionId>,
    /// What those of its readers look at.
    pub(super) alive: Arc<()>,
}

/// Names consumers.
static CONSUMERS: AtomicU64 = AtomicU64::new(1);

impl Access {
    /// Opens a session.
    pub fn open_session(&self) -> (Session, Deliveries) {
        self.open_session_within(Arc::new(Boundless))
    }

    /// Opens a session that has so much room in memory for what it is handed.
    pub fn open_session_within(&self, room: Arc<dyn Room>) -> (Session, Deliveries) {
        let (event_sender, events) = mpsc::unbounded_channel();
        let reading = Arc::new(Notify::new());
        let session = Session {
            access: self.clone(),
            id: self.fresh_id(),
            outbox: Credit::lazy(OUTBOX_MAX),
            event_sender,
            reading: Arc::clone(&reading),
            settled: Mutex::default(),
            room: Arc::clone(&room),
        };
        let deliveries = Deliveries {
            broker: Broker::clone(self),
            events,
            current: None,
            readers: Readers::new(reading),
            room: Hold::new(room),
        };
        (session, deliveries)
    }

    /// The `max` consumers with the lowest ids above `after`, of one queue or of all, as far as the principal may see their
    /// queues.
    pub fn list_consumers(
        &self,
        queue: Option<&Queue>,
        mut after: u64,
        max: usize,
    ) -> Vec<ConsumerOf> {
        let registry = &self.inner.consumer_registry;
        let mut seen = Vec::new();
        while seen.len() < max {
            let listed = registry.list(queue.map(Queue::id), after, max - seen.len());
            let Some((_, last)) = listed.last() else {
                break;
            };
            after = last.id;
            let named = listed.into_iter().filter_map(|(queue, known)| {
                let queue = Arc::clone(&self.inner.queues.with_id(queue)?.name);
                self.may_see(Resource::Queue(&queue))
                    .then(|| known.of(queue))
            });
            seen.extend(named);
        }
        seen
    }

    /// Drops the messages of a queue that are ready or wait, those in flight stay; returns how many.
    pub async fn clear_queue(&self, queue: &str) -> Result<u64> {
        let queue = self.find_queue(queue, Verb::Trim)?;
        let mut count = 0;
        for at in queue_partitions::of_queue(&queue) {
            count +=
                queue_partitions::commit(&self.inner, at, |round| round.clear(at.queue)).await?;
        }
        Ok(count)
    }
}

impl Broker {
    /// Consumers of a queue.
    pub fn consumers(&self, queue: &Queue) -> u32 {
        self.inner.consumer_registry.count(queue.id())
    }

    /// Notes that a queue was used: it does not expire for as long as its settings say.
    pub fn touch_queue(&self, queue: &Queue) {
        self.inner.touch(queue);
    }
}

impl Known {
    fn of(self, queue: Arc<str>) -> ConsumerOf {
        ConsumerOf {
            id: self.id,
            queue,
            session: self.session,
            name: self.name,
            priority: self.priority,
            exclusive: self.exclusive,
        }
    }
}

impl Inner {
    pub(super) fn touch(&self, queue: &Queue) {
        if queue.settings().limits.expires_ms.is_some() {
            let _ = self
                .queue_expiry
                .send(ExpiryMessage::Used { queue: queue.id() });
        }
    }
}

impl Session {
    /// The broker on behalf of who has it.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Its identity: what it owns exclusively bears it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// A queue this session may use. Errors: `Denied`, `UnknownQueue`, `Locked`.
    pub(super) fn find(&self, queue: &str) -> Result<Arc<Queue>> {
        let queue = self.access.find_queue(queue, Verb::Consume)?;
        self.unless_locked(queue)
    }

    /// A queue that was declared before, if it may be used and seen. Errors: `Denied`, `UnknownQueue`, `Locked` when it
    /// belongs to another session.
    pub fn queue(&self, queue: &str) -> Result<Arc<Queue>> {
        let queue = self.access.queue(queue)?;
        self.unless_locked(queue)
    }

    fn unless_locked(&self, queue: Arc<Queue>) -> Result<Arc<Queue>> {
        match queue.settings().lifetime.owner {
            Some(owner) if owner != self.id => Err(Error::Locked),
            _ => Ok(queue),
        }
    }

    /// Has a consumer served. Errors: `Denied`, `UnknownQueue`, `Locked`; `InUse` when it, or another one, wants to be
    /// the only one.
    #[expect(
        clippy::unused_async,
        reason = "the partition may have its owner on another node one day"
    )]
    pub async fn subscribe(&self, queue: &str, new: NewConsumer) -> Result<Subscription> {
        let queue = self.find(queue)?;
        let inner = &self.access.inner;
        let mut subscription = self.enter(&queue, &new)?;
        for at in queue_partitions::of_queue(&queue) {
            let leased = Source::QueuePartition(queue_partitions::owner(inner, at)?);
            let consumer = Arc::new(self.consumer((at, subscription.id), &new, leased));
            subscription.queue_partitions.push(at);
            queue_partitions::run(inner, at, |round| round.join(at.queue, consumer))??;
        }
        Ok(subscription)
    }

    /// Counts a consumer in; its going undoes that. Errors: `InUse`.
    pub(super) fn enter(&self, queue: &Arc<Queue>, new: &NewConsumer) -> Result<Subscription> {
        let id = CONSUMERS.fetch_add(1, Relaxed);
        let consumer_registry = &self.access.inner.consumer_registry;
        let known = Known {
            id,
            session: self.id,
            name: Arc::clone(&new.name),
            priority: new.priority,
            exclusive: new.exclusive,
        };
        consumer_registry.join(queue.id(), known)?;
        Ok(Subscription {
            broker: Broker::clone(&self.access),
            queue: Arc::clone(queue),
            id,
            queue_partitions: Vec::new(),
            alive: Arc::default(),
        })
    }

    pub(super) fn consumer(
        &self,
        (at, id): (QueuePartitionId, u64),
        new: &NewConsumer,
        source: Source,
    ) -> Consumer {
        Consumer {
            id,
            number: new.number,
            at,
            credits: new.credits.clone(),
            outbox: Arc::clone(&self.outbox),
            priority: new.priority,
            principal: self.access.principal().clone(),
            session: self.event_sender.clone(),
            source,
            on_the_way: OnTheWay::default(),
        }
    }

    /// Takes a message without waiting. Errors: `Denied`, `UnknownQueue`, `Locked`.
    pub async fn get(&self, queue: &str) -> Result<Option<Box<Delivery>>> {
        let queue = self.find(queue)?;
        let inner = &self.access.inner;
        inner.touch(&queue);
        let mut room = Hold::new(Arc::clone(&self.room));
        for at in queue_partitions::of_queue(&queue) {
            let leased = Source::QueuePartition(queue_partitions::owner(inner, at)?);
            let consumer = Arc::new(self.consumer((at, 0), &NewConsumer::default(), leased));
            loop {
                let get = |round: &mut Round<'_>| round.get(at.queue, &consumer);
                let got = queue_partitions::commit(inner, at, get).await?;
                let Some((unacked, lease, ready)) = got else {
                    break;
                };
                if let Some(mut delivery) = inner.read_unacked(unacked, &lease, &mut room).await? {
                    delivery.ready = ready;
                    return Ok(Some(delivery));
                }
            }
        }
        Ok(None)
    }

    /// Settles messages, in this order. What is settled in a crash that follows may come back, as may anything whose
    /// consumer gets no confirmation.
    pub fn settle(&self, settlements: Vec<(UnackedMessage, Settlement)>) {
        let chance = self.access.chance();
        let mut shares: Vec<(QueuePartitionId, Vec<Settles>)> = Vec::with_capacity(1);
        let mut may_dead_letter = false;
        for (unacked, settlement) in settlements {
            let at = unacked.consumer.at;
            may_dead_letter |= !unacked.is_read() && settlement.may_dead_letter();
            let Some(settles) = unacked.settled_by(settlement) else {
                continue;
            };
            // Few queue partitions at a time: neighbours mostly are of the same.
            match shares.iter_mut().rev().find(|(other, _)| *other == at) {
                Some((_, share)) => share.push(settles),
                None => shares.push((at, vec![settles])),
            }
        }
        self.settled().may_dead_letter |= may_dead_letter;
        for (at, settles) in shares {
            self.settled().queue_partitions.insert(at);
            self.access.inner.settle_held(at, settles, chance);
        }
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything it settled is on disk, and what was dead-lettered by it in its target.
    pub async fn sync(&self) {
        let Settled {
            queue_partitions,
            may_dead_letter,
        } = std::mem::take(&mut *self.settled());
        let inner = &self.access.inner;
        for at in queue_partitions {
            // What was seen is durable, and so is what was said before; a queue partition that is gone has nothing to
            // keep.
            let _ = queue_partitions::inspect(inner, at, |_| ()).await;
        }
        if may_dead_letter {
            inner.dead_letter_jobs.done().await;
        }
    }

    /// Messages were published on its behalf to a queue that others may have had to leave for them.
    pub fn expect_dead(&self) {
        self.settled().may_dead_letter = true;
    }

    /// Waits until what was dead-lettered by what it settled or published is in its target.
    pub async fn sync_dead(&self) {
        if self.settled().may_dead_letter {
            self.sync().await;
        }
    }

    /// Waits until queues are gone that go with the last consumer, of those consumers that were dropped before.
    pub async fn sync_unused(&self) {
        let (done, gone) = oneshot::channel();
        if self
            .access
            .inner
            .queue_expiry
            .send(ExpiryMessage::Mark { done })
            .is_ok()
        {
            let _ = gone.await;
        }
    }

    /// Ends the session in order: what it settled is on disk, and its exclusive queues are gone, when this returns.
    /// Consumers and unacked messages are to be dropped before.
    pub async fn close(self) {
        self.sync().await;
        let (done, gone) = oneshot::channel();
        let ended = ExpiryMessage::Ended {
            session: self.id,
            done: Some(done),
        };
        if self.access.inner.queue_expiry.send(ended).is_ok() {
            let _ = gone.await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let session = self.id;
        let ended = ExpiryMessage::Ended {
            session,
            done: None,
        };
        let _ = self.access.inner.queue_expiry.send(ended);
    }
}

impl Subscription {
    /// The queue.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Whether the queue goes with its last consumer.
    pub fn may_take_queue(&self) -> bool {
        self.queue.settings().lifetime.auto_delete
    }

    /// Ends it: nothing is handed over any more when this returns, but what was handed over before may still be on its
    /// way. A queue that goes with its last consumer may not be gone yet; see [`Session::sync_unused`].
    #[expect(
        clippy::unused_async,
        reason = "the partition may have its owner on another node one day"
    )]
    pub async fn cancel(mut self) {
        for at in std::mem::take(&mut self.queue_partitions) {
            let consumer = self.id;
            let leave = |round: &mut Round<'_>| round.leave(at.queue, consumer);
            // One that is gone serves nothing.
            let _ = queue_partitions::run(&self.broker.inner, at, leave);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let inner = &self.broker.inner;
        for at in &self.queue_partitions {
            let (at, consumer) = (*at, self.id);
            if let Ok(owner) = queue_partitions::owner(inner, at) {
                owner.submit(Request::Session(SessionMessage::Left { at, consumer }));
            }
        }
        let was_last = inner.consumer_registry.leave(self.queue.id(), self.id);
        inner.touch(&self.queue);
        if was_last && self.queue.settings().lifetime.auto_delete {
            let queue = self.queue.id();
            let _ = inner.queue_expiry.send(ExpiryMessage::Unused { queue });
        }
    }
}

impl Inner {
    /// The record at an offset, with room taken for it. Nothing is held while room is waited for, and nothing is lost
    /// when the future is dropped.
    pub(super) async fn record_within(
        &self,
        at: QueuePartitionId,
        offset: u64,
        room: &mut Hold,
    ) -> Result<Seen> {
        loop {
            let seen = self.record_at(at, offset).await?;
            match room.try_take(seen.as_record()) {
                Ok(()) => return Ok(seen),
                Err(bytes) if room.is_hopeless(bytes) => {
                    drop(seen);
                    let allowed = room.room.bytes_max();
                    self.warn_too_large(at, (offset, bytes), allowed);
                    return Err(Error::TooLarge { bytes, allowed });
                }
                Err(bytes) => {
                    drop(seen);
                    room.wait(bytes).await;
                }
            }
        }
    }

    /// Logs that a message is passed over because there may never be room for it, lest those behind it wait for ever.
    pub(super) fn warn_too_large(
        &self,
        at: QueuePartitionId,
        (offset, bytes): (u64, usize),
        allowed: usize,
    ) {
        let queue = self.queues.with_id(at.queue).map(|q| q.name.to_string());
        tracing::warn!(
            queue = queue.unwrap_or_default(),
            partition = at.index,
            offset,
            bytes,
            allowed,
            "a message is too large for the memory budget: its delivery has failed"
        );
    }

    /// Settles messages that consumers hold.
    fn settle_held(&self, at: QueuePartitionId, settles: Vec<Settles>, chance: f64) {
        // Those of a queue partition that is gone went with it.
        if let Ok(owner) = queue_partitions::owner(self, at) {
            owner.submit(Request::Settle(Settling {
                queue: at.queue,
                settles,
                chance,
                done: None,
            }));
        }
    }

    /// The message of a lease; none when it is gone or too old, and then it is done.
    async fn read_unacked(
        &self,
        unacked: UnackedMessage,
        lease: &Lease,
        room: &mut Hold,
    ) -> Result<Option<Box<Delivery>>> {
        let seen = self
            .record_within(unacked.consumer.at, lease.offset, room)
            .await?;
        Ok(self.deliver_unacked(unacked, lease, seen))
    }

    /// The same for a record that was read.
    fn deliver_unacked(
        &self,
        unacked: UnackedMessage,
        lease: &Lease,
        seen: Seen,
    ) -> Option<Box<Delivery>> {
        let at = unacked.consumer.at;
        let record = match seen {
            Seen::Record(record) => Some(record),
            Seen::Gone => None,
            Seen::Unreadable { upto } => {
                unacked.settled();
                self.set_unreadable(at, lease.offset, upto);
                return None;
            }
        };
        let retention = self
            .queues
            .with_id(at.queue)
            .map_or(u64::MAX, |queue| queue.settings().retention_ms);
        let lease = &lease.stamped(|at| self.clock.stamp_at(at));
        let oldest = self.clock.stamp_ago(retention);
        let fresh = record.filter(|record| sent(record, lease) >= oldest);
        let Some(record) = fresh else {
            let settles = unacked.settled_by(Settlement::Ack);
            self.settle_held(at, settles.into_iter().collect(), 1.0);
            return None;
        };
        Some(Box::new(Delivery {
            consumer: unacked.consumer.number,
            redelivered: lease.redelivered,
            ready: 0,
            message: deliver(at, lease, record),
            unacked,
        }))
    }
}

impl Deliveries {
    /// The next thing that happens; `None` when the session and all its consumers are gone. Nothing is lost when the
    /// future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.room.next();
        loop {
            if let Some(delivery) = self.next_of_current().await {
                return Some(Event::Delivery(delivery));
            }
            let event = if let Some(event) = self.event_behind_a_read() {
                event
            } else {
                if let Some(event) = self.readers.next(&self.broker.inner, &mut self.room).await {
                    return Some(event);
                }
                tokio::select! {
                    event = self.events.recv() => event?,
                    () = self.readers.notify() => continue,
                }
            };
            match event {
                ConsumerEvent::Handed(handed) => self.current = Some(handed),
                ConsumerEvent::Reading(reader) => self.readers.join(*reader),
                ConsumerEvent::Cancelled { number } => {
                    return Some(Event::Cancelled { consumer: number });
                }
            }
        }
    }

    /// What was sent meanwhile, behind a message that was read: neither those who read nor those who are leased
    /// messages keep the others waiting.
    fn event_behind_a_read(&mut self) -> Option<ConsumerEvent> {
        if self.readers.take_turn() {
            return self.events.try_recv().ok();
        }
        None
    }

    async fn next_of_current(&mut self) -> Option<Box<Delivery>> {
        let inner = Arc::clone(&self.broker.inner);
        loop {
            let handed = self.current.as_mut()?;
            let Some(lease) = handed.leases.front().copied() else {
                self.current = None;
                return None;
            };
            // Read before anything is taken out: nothing is lost when the future is dropped here.
            let (at, room) = (handed.consumer.at, &mut self.room);
            let seen = inner.record_within(at, lease.offset, room).await;
            handed.leases.pop_front();
            handed.consumer.outbox.give(1);
            let unacked = UnackedMessage::new(&handed.consumer, lease.offset, lease.number);
            match seen {
                Ok(seen) => {
                    if let Some(delivery) = inner.deliver_unacked(unacked, &lease, seen) {
                        return Some(delivery);
                    }
                }
                Err(Error::TooLarge { .. }) => unacked.failed(),
                Err(error) => {
                    tracing::warn!(%error, "a message cannot be read");
                    unacked.failed();
                }
            }
        }
    }
}
