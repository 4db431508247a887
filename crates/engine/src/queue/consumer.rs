//! Consumers: connected clients that are sent messages as they come, and hold them without a deadline.
//!
//! How many one may hold is counted in credits, which several consumers can share and every owner of a queue partition
//! may take from. A queue partition that finds a credit used up registers as its waiter, and is notified when there is
//! room again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use delivery::Lease;
use security::Principal;
use tokio::sync::{Notify, mpsc};

use super::handover::OnTheWay;
use super::reader::Reader;
use super::{QueuePartitionId, Settlement};

/// How many messages may be held at once.
#[derive(Debug)]
pub struct Credit {
    /// At most; `u32::MAX`: as many as there are.
    max: AtomicU32,
    held: AtomicU32,
    /// Whether waiters are notified only when half of it is free: each time they are, they take what there is, and many at
    /// once cost less than one by one.
    is_lazy: bool,
    /// Who wants to know when there is room.
    waiters: Mutex<Vec<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    consumer: u64,
    at: QueuePartitionId,
    source: Source,
}

/// Where a consumer's messages come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The owner of the queue partition leases them.
    QueuePartition(Arc<dyn Mailbox>),
    /// Its session reads them from the log, and is notified here that there is something to do.
    Log(Arc<Notify>),
}

/// Where the owner of a queue partition receives the messages of sessions.
pub(crate) trait Mailbox: Send + Sync + std::fmt::Debug {
    /// Hands something over; never waits.
    fn notify(self: Arc<Self>, event: SessionMessage);
}

impl Source {
    /// There is room again.
    fn serve(&self, at: QueuePartitionId) {
        match self {
            Self::QueuePartition(owner) => Arc::clone(owner).notify(SessionMessage::Serve(at)),
            Self::Log(session) => session.notify_one(),
        }
    }

    /// A message comes back that was not settled. What was read was never taken out.
    fn give_back(&self, back: SessionMessage) {
        if let Self::QueuePartition(owner) = self {
            Arc::clone(owner).notify(back);
        }
    }
}

impl Credit {
    /// A credit of `max` messages; absent: without a limit.
    pub fn new(max: Option<u32>) -> Arc<Self> {
        Self::of(max.unwrap_or(u32::MAX), false)
    }

    /// The same for room that is not seen from outside: waiters are notified when half of it is free.
    pub(crate) fn lazy(max: u32) -> Arc<Self> {
        Self::of(max, true)
    }

    fn of(max: u32, is_lazy: bool) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicU32::new(max),
            held: AtomicU32::new(0),
            is_lazy,
            waiters: Mutex::default(),
        })
    }

    /// Changes how many may be held. Those that are held already stay.
    pub fn set_max(&self, max: Option<u32>) {
        self.max.store(max.unwrap_or(u32::MAX), Ordering::SeqCst);
        self.notify_waiters();
    }

    /// How many may be held at once.
    pub fn max(&self) -> Option<u32> {
        Some(self.max.load(Ordering::SeqCst)).filter(|max| *max < u32::MAX)
    }

    /// How many are held.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::SeqCst)
    }

    /// Takes room for up to `wanted` messages; returns for how many there was.
    fn take(&self, wanted: u32) -> u32 {
        let max = self.max.load(Ordering::SeqCst);
        let mut granted = 0;
        let _ = self
            .held
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
                granted = wanted.min(max.saturating_sub(held));
                (granted > 0).then(|| held + granted)
            });
        granted
    }

    /// Gives room back.
    pub(crate) fn give(&self, count: u32) {
        if count > 0 {
            let held = self.held.fetch_sub(count, Ordering::SeqCst) - count;
            if !self.is_lazy || held <= self.max.load(Ordering::SeqCst) / 2 {
                self.notify_waiters();
            }
        }
    }

    fn notify_waiters(&self) {
        let waiters = std::mem::take(&mut *self.lock());
        for Waiter { at, source, .. } in waiters {
            source.serve(at);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer as one queue partition knows it.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Names it among all.
    pub(crate) id: u64,
    /// What its session calls it.
    pub(crate) number: u64,
    pub(crate) at: QueuePartitionId,
    /// All of them have to have room for a message to be handed over.
    pub(crate) credits: Vec<Arc<Credit>>,
    /// Room for what was handed over and not looked at by the session yet.
    pub(crate) outbox: Arc<Credit>,
    /// Greater first.
    pub(crate) priority: i32,
    /// Who consumes.
    pub(crate) principal: Principal,
    pub(crate) session: mpsc::UnboundedSender<ConsumerEvent>,
    pub(crate) source: Source,
    /// What was leased to it and is not with its session yet.
    pub(crate) on_the_way: OnTheWay,
}

impl Consumer {
    /// Takes room for up to `wanted` messages in all credits. When there is none, the queue partition is notified
    /// later.
    pub(crate) fn take(&self, wanted: u32) -> u32 {
        // One whose session is gone takes nothing, although it has not left yet.
        if self.session.is_closed() {
            return 0;
        }
        let granted = self.try_take(wanted);
        if granted > 0 {
            return granted;
        }
        for credit in self.all_credits() {
            let mut waiters = credit.lock();
            // A queue partition looks at all its consumers when it is notified; a reader reads for itself alone.
            let is_known = |known: &Waiter| match self.source {
                Source::QueuePartition(_) => {
                    known.at == self.at && matches!(known.source, Source::QueuePartition(_))
                }
                Source::Log(_) => known.consumer == self.id && known.at == self.at,
            };
            if !waiters.iter().any(is_known) {
                waiters.push(Waiter {
                    consumer: self.id,
                    at: self.at,
                    source: self.source.clone(),
                });
            }
        }
        // Room may have been given between the look and the word left.
        self.try_take(wanted)
    }

    fn try_take(&self, wanted: u32) -> u32 {
        let mut granted = wanted;
        for (i, credit) in self.all_credits().enumerate() {
            let here = credit.take(granted);
            if here < granted {
                for before in self.all_credits().take(i) {
                    before.held.fetch_sub(granted - here, Ordering::SeqCst);
                }
                granted = here;
            }
            if granted == 0 {
                break;
            }
        }
        granted
    }

    /// Gives back room that was taken and not used.
    pub(crate) fn untake(&self, count: u32) {
        for credit in self.all_credits() {
            credit.held.fetch_sub(count, Ordering::SeqCst);
        }
    }

    fn all_credits(&self) -> impl Iterator<Item = &Arc<Credit>> {
        self.credits.iter().chain([&self.outbox])
    }

    /// A message it held is settled.
    pub(crate) fn give(&self, count: u32) {
        for credit in &self.credits {
            credit.give(count);
        }
    }
}

/// What a session receives.
#[derive(Debug)]
pub(crate) enum ConsumerEvent {
    /// Messages for a consumer.
    Handed(Box<Handed>),
    /// A consumer that reads.
    Reading(Box<Reader>),
    /// The consumer's queue is gone.
    Cancelled {
        /// What the session calls the consumer.
        number: u64,
    },
}

/// Messages handed to a consumer. Those that are not taken go back as if never leased.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) consumer: Arc<Consumer>,
    /// Next first.
    pub(crate) leases: std::collections::VecDeque<Lease>,
}

impl Drop for Handed {
    fn drop(&mut self) {
        let count = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        self.consumer.outbox.give(count);
        for lease in &self.leases {
            let (offset, lease) = (lease.offset, lease.number);
            drop(UnackedMessage::new(&self.consumer, offset, lease).with(Settlement::Undo));
        }
    }
}

/// What the owner of a queue partition receives from sessions.
#[derive(Debug)]
pub(crate) enum SessionMessage {
    /// A message comes back that was not settled.
    Back {
        at: QueuePartitionId,
        /// Its offset, its lease, and what becomes of it.
        settles: (u64, u64, Settlement),
    },
    /// A consumer is gone.
    Left { at: QueuePartitionId, consumer: u64 },
    /// A credit has room again.
    Serve(QueuePartitionId),
}

/// A message in flight to a session. One that is dropped without being settled goes back: its session is gone.
#[derive(Debug)]
pub struct UnackedMessage {
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) offset: u64,
    pub(crate) lease: u64,
    /// What is said when it is dropped; nothing when it was settled.
    outcome: Option<Settlement>,
}

impl UnackedMessage {
    pub(crate) fn new(consumer: &Arc<Consumer>, offset: u64, lease: u64) -> Self {
        Self {
            consumer: Arc::clone(consumer),
            offset,
            lease,
            outcome: Some(Settlement::lost(false)),
        }
    }

    fn with(mut self, outcome: Settlement) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// What the session calls the consumer that has it.
    pub fn consumer(&self) -> u64 {
        self.consumer.number
    }

    /// It could not be read: counts as a failure.
    pub(crate) fn failed(self) {
        drop(self.with(Settlement::FAIL));
    }

    /// Whether the message was read, not leased: nothing has to be settled.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.consumer.source, Source::Log(_))
    }

    /// It is settled in another way. Its room is free.
    pub(crate) fn settled(mut self) {
        self.outcome = None;
        self.consumer.give(1);
    }

    /// The same, with what its queue partition is told; nothing where it was read, not leased.
    pub(crate) fn settled_by(self, settlement: Settlement) -> Option<(u64, u64, Settlement)> {
        let settles = (self.offset, self.lease, settlement);
        let is_read = self.is_read();
        self.settled();
        (!is_read).then_some(settles)
    }
}

impl Drop for UnackedMessage {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else {
            return;
        };
        let back = SessionMessage::Back {
            at: self.consumer.at,
            settles: (self.offset, self.lease, outcome),
        };
        self.consumer.source.give_back(back);
        self.consumer.give(1);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[derive(Debug)]
    struct Told(mpsc::UnboundedSender<SessionMessage>);

    impl Mailbox for Told {
        fn notify(self: Arc<Self>, event: SessionMessage) {
            self.0.send(event).unwrap();
        }
    }

    /// A consumer, what its session receives, and what the owner of its queue partition receives.
    pub(in crate::queue) type Stage = (
        Consumer,
        mpsc::UnboundedReceiver<ConsumerEvent>,
        mpsc::UnboundedReceiver<SessionMessage>,
    );

    pub(in crate::queue) fn consumer(credits: Vec<Arc<Credit>>) -> Stage {
        let (session, deliveries) = mpsc::unbounded_channel();
        let (notify, events) = mpsc::unbounded_channel();
        let consumer = Consumer {
            id: 1,
            number: 1,
            at: QueuePartitionId::default(),
            credits,
            outbox: Credit::new(Some(100)),
            priority: 0,
            principal: Principal::anonymous(),
            session,
            source: Source::QueuePartition(Arc::new(Told(notify))),
            on_the_way: OnTheWay::default(),
        };
        (consumer, deliveries, events)
    }

    #[test]
    fn the_narrowest_window_decides() {
        let (wide, narrow) = (Credit::new(Some(10)), Credit::new(Some(3)));
        let (consumer, _deliveries, _events) =
            consumer(vec![Arc::clone(&wide), Arc::clone(&narrow)]);
        assert_eq!(consumer.take(5), 3);
        assert_eq!((wide.held(), narrow.held()), (3, 3));
        assert_eq!(consumer.outbox.held(), 3);
        assert_eq!(consumer.take(5), 0);
        assert_eq!((wide.held(), narrow.held()), (3, 3));
        narrow.set_max(None);
        assert_eq!(consumer.take(50), 7);
    }

    #[test]
    fn a_queue_partition_that_found_no_room_is_told_when_there_is_some() {
        let credit = Credit::new(Some(1));
        let (consumer, _deliveries, mut events) = consumer(vec![Arc::clone(&credit)]);
        assert_eq!(consumer.take(1), 1);
        assert!(events.try_recv().is_err());
        assert_eq!(consumer.take(1), 0);
        assert!(events.try_recv().is_err());
        consumer.give(1);
        assert!(matches!(events.try_recv(), Ok(SessionMessage::Serve(_))));
        assert_eq!(consumer.take(1), 1);
    }

    #[test]
    fn one_whose_session_is_gone_is_handed_nothing() {
        let (consumer, deliveries, _events) = consumer(vec![Credit::new(None)]);
        assert_eq!(consumer.take(1), 1);
        drop(deliveries);
        assert_eq!(consumer.take(1), 0);
    }
}
