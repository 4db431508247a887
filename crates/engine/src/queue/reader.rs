//! Readers: consumers who keep their own place in a queue's log. They take nothing out of it, and any number of them
//! read the same messages.

use std::sync::{Arc, Weak};

use storage::batch::Record;
use tokio::sync::Notify;

use super::consumer::{Consumer, Reader};
use crate::partition::Partition;

/// Where a reader begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Position {
    /// With the oldest message there is.
    First,
    /// With the newest message there is.
    Last,
    /// Behind everything there is.
    #[default]
    Next,
    /// With this offset: the oldest message if that is gone, and when it comes if there is none yet.
    Offset(u64),
    /// With the first message that is not older, ms since 1970.
    Time(u64),
}

impl Reader {
    /// A reader that begins at an offset, with what is not older than `not_before` if that is given.
    pub(crate) fn new(
        (consumer, partition): (Arc<Consumer>, Arc<Partition>),
        next: u64,
        not_before: Option<u64>,
        subscription: Weak<()>,
    ) -> Self {
        Self {
            consumer,
            partition,
            next,
            not_before,
            armed: None,
            has_moved: false,
            subscription,
        }
    }

    /// Whether it has moved on since it was asked last.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Whether the consumer has left.
    pub(crate) fn has_left(&self) -> bool {
        self.subscription.strong_count() == 0
    }

    /// The offset to read, if there is something at it or behind it.
    pub(crate) fn readable(&mut self) -> Option<u64> {
        // What is gone is passed over.
        self.next = self.next.max(self.partition.start());
        (self.next < self.partition.high_watermark()).then_some(self.next)
    }

    /// Passes over what cannot be read any more.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        self.has_moved |= offset > self.next;
        self.next = self.next.max(offset);
    }

    /// Has the session notified when the partition grows; returns whether it has grown meanwhile.
    pub(crate) fn arm(&mut self, session: &Arc<Notify>) -> bool {
        let seen = self.partition.high_watermark();
        let waiters = &self.partition.waiters;
        if self.armed == Some(waiters.wakes()) {
            return false;
        }
        self.armed = Some(waiters.register(session));
        self.partition.high_watermark() > seen
    }

    /// Takes what is at an offset, unless it is nothing or too old.
    pub(crate) fn take(&mut self, offset: u64, record: Option<Record>) -> Option<Record> {
        self.next = offset + 1;
        self.has_moved = true;
        let oldest = self.not_before.unwrap_or(0);
        let is_wanted = |r: &Record| u64::try_from(r.timestamp).unwrap_or(0) >= oldest;
        let record = record.filter(is_wanted)?;
        self.not_before = None;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::sync::mpsc;
    use uuid::Uuid;

    use super::super::{Credit, QueuePartitionId, Source};
    use super::*;

    fn record(offset: u64, timestamp: i64) -> Record {
        Record {
            offset,
            timestamp,
            key: None,
            value: Some(Bytes::from_static(b"m")),
            headers: Vec::new(),
        }
    }

    /// A reader of a partition that holds the offsets 5 to 9; also what notifies it, and what keeps it.
    fn reader(next: u64, not_before: Option<u64>) -> (Reader, Arc<Notify>, Arc<()>) {
        let notify = Arc::new(Notify::new());
        let (session, _) = mpsc::unbounded_channel();
        let consumer = Consumer {
            id: 1,
            number: 1,
            at: QueuePartitionId::default(),
            credits: Vec::new(),
            outbox: Credit::new(None),
            priority: 0,
            principal: security::Principal::anonymous(),
            session,
            source: Source::Log(Arc::clone(&notify)),
            on_the_way: crate::queue::OnTheWay::default(),
        };
        let subscription = Arc::new(());
        let partition = Partition::new(Uuid::nil(), 0, 5, 10);
        let both = (Arc::new(consumer), Arc::new(partition));
        let reader = Reader::new(both, next, not_before, Arc::downgrade(&subscription));
        (reader, notify, subscription)
    }

    #[test]
    fn what_is_gone_is_passed_over_and_what_is_to_come_awaited() {
        let (mut reader, _, subscription) = reader(2, None);
        assert_eq!(reader.readable(), Some(5));
        assert!(reader.take(5, None).is_none(), "nothing is there");
        assert_eq!(reader.readable(), Some(6));
        assert_eq!(reader.take(6, Some(record(6, 0))).unwrap().offset, 6);
        reader.partition.trimmed(9);
        assert_eq!(reader.readable(), Some(9));
        reader.take(9, Some(record(9, 0))).unwrap();
        assert_eq!(reader.readable(), None);
        assert!(!reader.has_left());
        drop(subscription);
        assert!(reader.has_left());
    }

    #[test]
    fn an_offset_to_come_is_where_it_begins() {
        let (mut reader, _, _subscription) = reader(12, None);
        assert_eq!(reader.readable(), None);
        reader.partition.advance(12);
        assert_eq!(reader.readable(), None);
        reader.partition.advance(14);
        assert_eq!(reader.readable(), Some(12));
    }

    #[test]
    fn only_the_first_message_is_asked_for_its_age() {
        let (mut reader, _, _subscription) = reader(5, Some(100));
        assert!(reader.take(5, Some(record(5, 99))).is_none());
        assert!(reader.take(6, Some(record(6, 100))).is_some());
        assert!(reader.take(7, Some(record(7, 50))).is_some());
    }

    #[tokio::test]
    async fn it_is_told_once_of_each_growth() {
        let (mut reader, notify, _subscription) = reader(10, None);
        assert!(!reader.arm(&notify));
        assert!(!reader.arm(&notify), "it is armed already");
        reader.partition.advance(11);
        notify.notified().await;
        assert!(!reader.arm(&notify), "armed again, nothing new since");
        reader.partition.advance(12);
        notify.notified().await;
        reader.partition.advance(13);
        let unasked = tokio::time::timeout(Duration::ZERO, notify.notified());
        unasked.await.expect_err("nobody armed it again");
    }
}
