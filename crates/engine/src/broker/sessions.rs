//! Sessions through the door: connected borrowers, who consume, hold messages without a deadline, and whose going gives
//! everything back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use security::{Principal, Resource, Verb};
use storage::batch::Record;
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use super::queues::{deliver, sent};
use super::read_ahead::{Seen, weight};
use super::readers::Readers;
use super::reaper::{Known, Reap};
use super::{Broker, Inner, lanes, partition_hash};
use crate::queue::lane::Loan;
use crate::queue::{
    Aside, Claim, Consumer, Delivered, Handed, LaneAt, Outcome, Queue, Said, Source, Window,
};
use crate::room::{self, Boundless, Room};
use crate::shard::{Burial, ConsumerCommand, Outcomes};
use crate::{Error, Result};

/// Messages handed to a session that it has not looked at yet, at most.
const OUTBOX_MAX: u32 = 2048;

/// A connected borrower. When it is dropped, its exclusive queues go; consumers and claims go with their own guards.
#[derive(Debug)]
pub struct Session {
    pub(super) broker: Broker,
    principal: Principal,
    id: Uuid,
    outbox: Arc<Window>,
    pub(super) said: mpsc::UnboundedSender<Said>,
    /// Told when there is something to do for those of its consumers that read.
    pub(super) reading: Arc<Notify>,
    /// What it settled, and may not have on disk.
    settled: Mutex<Settled>,
    room: Arc<dyn Room>,
}

/// What was settled since somebody waited for it last.
#[derive(Debug, Default)]
struct Settled {
    /// Lanes of the messages.
    lanes: BTreeSet<LaneAt>,
    /// Some may have died of it.
    may_bury: bool,
}

/// What a session is handed.
#[derive(Debug)]
pub struct Deliveries {
    broker: Broker,
    heard: mpsc::UnboundedReceiver<Said>,
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
    pub claim: Claim,
    /// It was lent before.
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
    pub windows: Vec<Arc<Window>>,
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
    lanes: Vec<LaneAt>,
    /// What those of its readers look at.
    pub(super) life: Arc<()>,
}

/// Names consumers.
static CONSUMERS: AtomicU64 = AtomicU64::new(1);

impl Broker {
    /// Opens a session.
    pub fn open_session(&self, principal: &Principal) -> (Session, Deliveries) {
        self.open_session_within(principal, Arc::new(Boundless))
    }

    /// Opens a session that has so much room in memory for what it is handed.
    pub fn open_session_within(
        &self,
        principal: &Principal,
        room: Arc<dyn Room>,
    ) -> (Session, Deliveries) {
        let (said, heard) = mpsc::unbounded_channel();
        let reading = Arc::new(Notify::new());
        let session = Session {
            broker: self.clone(),
            principal: principal.clone(),
            id: self.fresh_id(),
            outbox: Window::new(Some(OUTBOX_MAX)),
            said,
            reading: Arc::clone(&reading),
            settled: Mutex::default(),
            room: Arc::clone(&room),
        };
        let deliveries = Deliveries {
            broker: self.clone(),
            heard,
            current: None,
            readers: Readers::new(reading),
            room: Hold::new(room),
        };
        (session, deliveries)
    }

    /// Consumers of a queue.
    pub fn consumers(&self, queue: &Queue) -> u32 {
        self.inner.rosters.count(queue.id())
    }

    /// The `max` consumers with the lowest ids above `after`, of one queue or of all. Frontends filter by
    /// [`Broker::allows`].
    pub fn list_consumers(&self, queue: Option<&Queue>, after: u64, max: usize) -> Vec<ConsumerOf> {
        let listed = self.inner.rosters.list(queue.map(Queue::id), after, max);
        let named = listed.into_iter().filter_map(|(queue, known)| {
            Some(ConsumerOf {
                id: known.id,
                queue: Arc::clone(&self.inner.queues.with_id(queue)?.name),
                session: known.session,
                name: known.name,
                priority: known.priority,
                exclusive: known.exclusive,
            })
        });
        named.collect()
    }

    /// Says that somebody has asked for a queue: it does not expire for as long as its settings say.
    pub fn touch_queue(&self, queue: &Queue) {
        self.inner.touch(queue);
    }

    /// Drops the messages of a queue that are ready or wait, those on loan stay; returns how many.
    pub async fn clear_queue(&self, principal: &Principal, queue: &str) -> Result<u64> {
        let queue = self.find_queue(principal, queue, Verb::Trim)?;
        let mut count = 0;
        for at in lanes::lanes(&queue) {
            count += self
                .inner
                .ask_consumer(at, |done| ConsumerCommand::Clear { done })
                .await?;
        }
        Ok(count)
    }
}

impl Inner {
    fn listener(&self, at: LaneAt) -> &mpsc::UnboundedSender<Aside> {
        let hash = partition_hash(at.topic, at.index);
        let count = self.listening.len() as u64;
        &self.listening[usize::try_from(hash % count).expect("fewer shards than addresses")]
    }

    /// Tells the owner of a lane something that does not go through its mailbox.
    pub(super) fn tell_aside(&self, at: LaneAt, said: Aside) {
        // A shard that has ended needs not be told.
        let _ = self.listener(at).send(said);
    }

    async fn ask_consumer<T>(
        &self,
        at: LaneAt,
        make: impl FnOnce(oneshot::Sender<Result<T>>) -> ConsumerCommand,
    ) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        lanes::tell(self, at, make(done).to(at)).await?;
        outcome.await.map_err(|_| Error::Unavailable)?
    }

    pub(super) fn touch(&self, queue: &Queue) {
        if queue.settings().limits.expires_ms.is_some() {
            let _ = self.reaper.send(Reap::Used { queue: queue.id() });
        }
    }
}

impl Session {
    /// Its identity: what it owns exclusively bears it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// A queue this session may use. Errors: `Denied`, `UnknownQueue`, `Locked`.
    pub(super) fn find(&self, queue: &str) -> Result<Arc<Queue>> {
        let queue = self
            .broker
            .find_queue(&self.principal, queue, Verb::Consume)?;
        match queue.settings().lifetime.owner {
            Some(owner) if owner != self.id => Err(Error::Locked),
            _ => Ok(queue),
        }
    }

    /// Has a consumer served. Errors: `Denied`, `UnknownQueue`, `Locked`; `InUse` when it, or another one, wants to be
    /// the only one.
    pub async fn subscribe(&self, queue: &str, new: NewConsumer) -> Result<Subscription> {
        let queue = self.find(queue)?;
        let inner = &self.broker.inner;
        let mut subscription = self.enter(&queue, &new)?;
        for at in lanes::lanes(&queue) {
            let lent = Source::Lane(inner.listener(at).clone());
            let consumer = Arc::new(self.consumer((at, subscription.id), &new, lent));
            subscription.lanes.push(at);
            inner
                .ask_consumer(at, |done| ConsumerCommand::Join { consumer, done })
                .await?;
        }
        Ok(subscription)
    }

    /// Counts a consumer in; its going undoes that. Errors: `InUse`.
    pub(super) fn enter(&self, queue: &Arc<Queue>, new: &NewConsumer) -> Result<Subscription> {
        let id = CONSUMERS.fetch_add(1, Relaxed);
        let rosters = &self.broker.inner.rosters;
        let known = Known {
            id,
            session: self.id,
            name: Arc::clone(&new.name),
            priority: new.priority,
            exclusive: new.exclusive,
        };
        rosters.join(queue.id(), known)?;
        Ok(Subscription {
            broker: self.broker.clone(),
            queue: Arc::clone(queue),
            id,
            lanes: Vec::new(),
            life: Arc::default(),
        })
    }

    pub(super) fn consumer(
        &self,
        (at, id): (LaneAt, u64),
        new: &NewConsumer,
        source: Source,
    ) -> Consumer {
        Consumer {
            id,
            number: new.number,
            at,
            windows: new.windows.clone(),
            outbox: Arc::clone(&self.outbox),
            priority: new.priority,
            session: self.said.clone(),
            source,
            behind: AtomicU32::new(0),
        }
    }

    /// Takes a message without waiting. Errors: `Denied`, `UnknownQueue`, `Locked`.
    pub async fn get(&self, queue: &str) -> Result<Option<Box<Delivery>>> {
        let queue = self.find(queue)?;
        let inner = &self.broker.inner;
        inner.touch(&queue);
        let mut room = Hold::new(Arc::clone(&self.room));
        for at in lanes::lanes(&queue) {
            let lent = Source::Lane(inner.listener(at).clone());
            let consumer = Arc::new(self.consumer((at, 0), &NewConsumer::default(), lent));
            loop {
                let consumer = Arc::clone(&consumer);
                let got = inner
                    .ask_consumer(at, |done| ConsumerCommand::Get { consumer, done })
                    .await?;
                let Some((claim, loan, ready)) = got else {
                    break;
                };
                if let Some(mut delivery) = inner.read_claim(claim, &loan, &mut room).await? {
                    delivery.ready = ready;
                    return Ok(Some(delivery));
                }
            }
        }
        Ok(None)
    }

    /// Says what becomes of messages, in this order. Returns when their owners were told; what is settled in a crash
    /// that follows may come back, as may anything whose consumer is not told that it is done.
    pub async fn settle(&self, outcomes: Vec<(Claim, Outcome)>) {
        let chance = self.broker.chance();
        let mut shares: Vec<(LaneAt, Outcomes)> = Vec::with_capacity(1);
        let mut may_bury = false;
        for (claim, outcome) in outcomes {
            let at = claim.consumer.at;
            let told = (claim.offset, claim.loan, outcome);
            let is_read = claim.is_read();
            claim.settled();
            if is_read {
                continue;
            }
            // What comes back may be too much, or have failed too often.
            may_bury |= !matches!(outcome, Outcome::Ack | Outcome::Unsent);
            // Few lanes at a time: neighbours mostly are of the same.
            match shares.iter_mut().rev().find(|(other, _)| *other == at) {
                Some((_, share)) => share.push(told),
                None => shares.push((at, vec![told])),
            }
        }
        self.settled().may_bury |= may_bury;
        for (at, outcomes) in shares {
            let settle = ConsumerCommand::Settle { outcomes, chance };
            self.settled().lanes.insert(at);
            // A broker that stops needs not be told: what is not settled comes back.
            let _ = lanes::tell(&self.broker.inner, at, settle.to(at)).await;
        }
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything it settled is on disk, and what died of it where it belongs.
    pub async fn sync(&self) {
        let Settled { lanes, may_bury } = std::mem::take(&mut *self.settled());
        let inner = &self.broker.inner;
        for at in lanes {
            // What was seen is durable, and so is what was said before; a lane that is gone has nothing to keep.
            let _ = lanes::inspect(inner, at, |_| ()).await;
        }
        if may_bury {
            let (done, buried) = oneshot::channel();
            // A broker that has ended moves nothing.
            let _ = inner.burials.send(Burial::Mark(done)).await;
            let _ = buried.await;
        }
    }

    /// Messages were published on its behalf to a queue that others may have had to leave for them.
    pub fn expect_dead(&self) {
        self.settled().may_bury = true;
    }

    /// Waits until what died of what it settled, or made leave, is where it belongs.
    pub async fn sync_dead(&self) {
        if self.settled().may_bury {
            self.sync().await;
        }
    }

    /// Waits until queues are gone that go with the last consumer, of those consumers that were dropped before.
    pub async fn sync_unused(&self) {
        let (done, gone) = oneshot::channel();
        if self.broker.inner.reaper.send(Reap::Mark { done }).is_ok() {
            let _ = gone.await;
        }
    }

    /// Ends the session in order: what it settled is on disk, and its exclusive queues are gone, when this returns.
    /// Consumers and claims are to be dropped before.
    pub async fn close(self) {
        self.sync().await;
        let (done, gone) = oneshot::channel();
        let ended = Reap::Ended {
            session: self.id,
            done: Some(done),
        };
        if self.broker.inner.reaper.send(ended).is_ok() {
            let _ = gone.await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let session = self.id;
        let ended = Reap::Ended {
            session,
            done: None,
        };
        let _ = self.broker.inner.reaper.send(ended);
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
    pub async fn cancel(mut self) {
        for at in std::mem::take(&mut self.lanes) {
            let consumer = self.id;
            let leave = |done| ConsumerCommand::Leave {
                consumer,
                done: Some(done),
            };
            let _ = self.broker.inner.ask_consumer(at, leave).await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let inner = &self.broker.inner;
        for at in &self.lanes {
            let left = Aside::Left {
                at: *at,
                consumer: self.id,
            };
            let _ = inner.listener(*at).send(left);
        }
        let was_last = inner.rosters.leave(self.queue.id(), self.id);
        inner.touch(&self.queue);
        if was_last && self.queue.settings().lifetime.auto_delete {
            let queue = self.queue.id();
            let _ = inner.reaper.send(Reap::Unused { queue });
        }
    }
}

impl Inner {
    /// The record at an offset, with room taken for it. Nothing is held while room is waited for, and nothing is lost when
    /// the future is dropped.
    pub(super) async fn record_within(
        &self,
        at: LaneAt,
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
    pub(super) fn warn_too_large(&self, at: LaneAt, (offset, bytes): (u64, usize), allowed: usize) {
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

    /// The message a claim is about; none when it is gone or too old, and then it is done.
    async fn read_claim(
        &self,
        claim: Claim,
        loan: &Loan,
        room: &mut Hold,
    ) -> Result<Option<Box<Delivery>>> {
        let seen = self
            .record_within(claim.consumer.at, loan.offset, room)
            .await?;
        self.deliver_claim(claim, loan, seen).await
    }

    /// The same for a record that was read.
    async fn deliver_claim(
        &self,
        claim: Claim,
        loan: &Loan,
        seen: Seen,
    ) -> Result<Option<Box<Delivery>>> {
        let at = claim.consumer.at;
        let record = match seen {
            Seen::Record(record) => Some(record),
            Seen::Gone => None,
            Seen::Unreadable { upto } => {
                claim.settled();
                self.set_unreadable(at, loan.offset, upto).await;
                return Ok(None);
            }
        };
        let retention = self
            .queues
            .with_id(at.queue)
            .map_or(u64::MAX, |queue| queue.settings().retention_ms);
        let loan = &loan.stamped(&self.clock);
        let oldest = self.clock.stamp_ago(retention);
        let fresh = record.filter(|record| sent(record, loan) >= oldest);
        let Some(record) = fresh else {
            let outcomes = vec![(claim.offset, claim.loan, Outcome::Ack)];
            claim.settled();
            let chance = 1.0;
            let gone = ConsumerCommand::Settle { outcomes, chance }.to(at);
            lanes::tell(self, at, gone).await?;
            return Ok(None);
        };
        Ok(Some(Box::new(Delivery {
            consumer: claim.consumer.number,
            redelivered: loan.again,
            ready: 0,
            message: deliver(at, loan, record),
            claim,
        })))
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
            let said = if let Some(said) = self.heard_behind_a_read() {
                said
            } else {
                if let Some(event) = self.readers.next(&self.broker.inner, &mut self.room).await {
                    return Some(event);
                }
                tokio::select! {
                    said = self.heard.recv() => said?,
                    () = self.readers.told() => continue,
                }
            };
            match said {
                Said::Handed(handed) => self.current = Some(handed),
                Said::Reading(reader) => self.readers.join(*reader),
                Said::Cancelled { number } => {
                    return Some(Event::Cancelled { consumer: number });
                }
            }
        }
    }

    /// What was said meanwhile, behind a message that was read: neither those who read nor those who are lent messages
    /// keep the others waiting.
    fn heard_behind_a_read(&mut self) -> Option<Said> {
        if self.readers.take_turn() {
            return self.heard.try_recv().ok();
        }
        None
    }

    async fn next_of_current(&mut self) -> Option<Box<Delivery>> {
        let inner = Arc::clone(&self.broker.inner);
        loop {
            let handed = self.current.as_mut()?;
            let Some(loan) = handed.loans.front().copied() else {
                self.current = None;
                return None;
            };
            // Read before anything is taken out: whoever gives up waiting here finds it again.
            let (at, room) = (handed.consumer.at, &mut self.room);
            let seen = inner.record_within(at, loan.offset, room).await;
            handed.loans.pop_front();
            handed.consumer.outbox.give(1);
            let claim = Claim::new(&handed.consumer, loan.offset, loan.number);
            match seen {
                Ok(seen) => match inner.deliver_claim(claim, &loan, seen).await {
                    Ok(Some(delivery)) => return Some(delivery),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "a message cannot be handed over"),
                },
                Err(Error::TooLarge { .. }) => claim.failed(),
                Err(error) => {
                    tracing::warn!(%error, "a message cannot be read");
                    claim.failed();
                }
            }
        }
    }
}

impl Broker {
    /// Asks for a queue that was declared before; whether the principal may see it. Errors: `Denied`, `UnknownQueue`,
    /// `Locked` when it belongs to another session.
    pub fn queue_of(&self, session: &Session, queue: &str) -> Result<Arc<Queue>> {
        let principal = &session.principal;
        self.authorize(principal, Verb::Describe, Resource::Queue(queue))?;
        let queue = self.queues().named(queue).ok_or(Error::UnknownQueue)?;
        match queue.settings().lifetime.owner {
            Some(owner) if owner != session.id => Err(Error::Locked),
            _ => Ok(queue),
        }
    }
}
