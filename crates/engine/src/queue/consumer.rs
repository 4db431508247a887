//! Consumers: connected clients that are sent messages as they come, and hold them without a deadline.
//!
//! How many one may hold is counted in credits. What goes to its session holds the consumer, and the consumer knows its
//! session: these types stand together here, what is done with them beside it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use delivery::Lease;
use security::Principal;
use tokio::sync::mpsc;

use super::QueuePartitionId;
use super::credit::{Credit, Source, Waiter};
use crate::partition::Partition;

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

    /// It gets nothing more, and its session is notified.
    pub(crate) fn cancel(&self) {
        let number = self.number;
        let _ = self.session.send(ConsumerEvent::Cancelled { number });
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
    pub(crate) leases: VecDeque<Lease>,
}

/// A consumer and its place in the log of one partition.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) partition: Arc<Partition>,
    /// The offset it looks at next.
    pub(super) next: u64,
    /// It has not found its first message: older ones, ms since 1970, are passed over.
    pub(super) not_before: Option<u64>,
    /// How often the partition's waiters had been woken when it registered: until they are again, it will be notified.
    pub(super) armed: Option<u64>,
    /// It has moved on since that was asked last.
    pub(super) has_moved: bool,
    /// Gone when the consumer has left.
    pub(super) subscription: Weak<()>,
}

/// What is on its way to one consumer, first leased first.
#[derive(Debug, Default)]
pub(crate) struct OnTheWay(pub(super) Mutex<Sequence>);

/// The same, with how many there were before.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Number of the next that comes.
    pub(super) next: u64,
    pub(super) waiting: VecDeque<Parcel>,
}

/// Messages that were leased together.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Nothing when they will not be sent.
    pub(super) handed: Option<Box<Handed>>,
    /// What they rest on is in the log, or is known never to be.
    pub(super) is_ready: bool,
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::credit::{Mailbox, SessionMessage};
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
