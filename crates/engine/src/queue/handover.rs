//! Messages on their way to a consumer's session. They go in the order in which they were leased, whatever each of them
//! waits for in the log, and on whatever thread that is found to be there.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::consumer::{Consumer, ConsumerEvent, Handed, OnTheWay, Parcel, Sequence};

impl OnTheWay {
    fn lock(&self) -> MutexGuard<'_, Sequence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sequence {
    /// Sends what is ready and has nothing before it.
    fn send_ready(&mut self) {
        while let Some(parcel) = self.waiting.pop_front_if(|parcel| parcel.is_ready) {
            if let Some(handed) = parcel.handed {
                send(handed);
            }
        }
    }
}

fn send(handed: Box<Handed>) {
    let session = handed.consumer.session.clone();
    let _ = session.send(ConsumerEvent::Handed(handed));
}

/// Hands messages to their consumer, behind those that were handed to it before. Where they are not ready, they wait for
/// what is returned; called with the partition locked, which makes the order.
pub(crate) fn hand_over(handed: Box<Handed>, is_ready: bool) -> Option<Handover> {
    let consumer = Arc::clone(&handed.consumer);
    let mut sequence = consumer.on_the_way.lock();
    let number = sequence.next;
    if is_ready && sequence.waiting.is_empty() {
        send(handed);
        return None;
    }
    sequence.next += 1;
    sequence.waiting.push_back(Parcel {
        handed: Some(handed),
        is_ready,
    });
    drop(sequence);
    (!is_ready).then_some(Handover { consumer, number })
}

/// Messages that wait for the log. When it is dropped without [`Self::ready`] they go back.
#[derive(Debug)]
pub(crate) struct Handover {
    consumer: Arc<Consumer>,
    number: u64,
}

impl Handover {
    /// What they rest on is in the log: they are sent when everything before them was.
    pub(crate) fn ready(self) {
        let mut sequence = self.consumer.on_the_way.lock();
        if let Some(parcel) = self.parcel(&mut sequence) {
            parcel.is_ready = true;
        }
        sequence.send_ready();
    }

    fn parcel<'s>(&self, sequence: &'s mut Sequence) -> Option<&'s mut Parcel> {
        let first = sequence.next - sequence.waiting.len() as u64;
        let place = usize::try_from(self.number.checked_sub(first)?).ok()?;
        sequence.waiting.get_mut(place)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let mut sequence = self.consumer.on_the_way.lock();
        let back = self
            .parcel(&mut sequence)
            .filter(|parcel| !parcel.is_ready)
            .and_then(|parcel| {
                parcel.is_ready = true;
                parcel.handed.take()
            });
        sequence.send_ready();
        // What goes back asks the owner of the partition for something.
        drop(sequence);
        drop(back);
    }
}

#[cfg(test)]
mod tests {
    use delivery::Lease;
    use tokio::sync::mpsc;

    use super::super::consumer::tests::consumer;
    use super::*;

    fn handed(consumer: &Arc<Consumer>, offset: u64) -> Handed {
        consumer.take(1);
        let lease = Lease {
            offset,
            ..Lease::default()
        };
        Handed {
            consumer: Arc::clone(consumer),
            leases: [lease].into(),
        }
    }

    fn hand(consumer: &Arc<Consumer>, offset: u64, is_ready: bool) -> Option<Handover> {
        hand_over(Box::new(handed(consumer, offset)), is_ready)
    }

    fn sent(deliveries: &mut mpsc::UnboundedReceiver<ConsumerEvent>) -> Vec<u64> {
        let mut offsets = Vec::new();
        while let Ok(event) = deliveries.try_recv() {
            if let ConsumerEvent::Handed(mut handed) = event {
                offsets.extend(handed.leases.drain(..).map(|lease| lease.offset));
            }
        }
        offsets
    }

    #[test]
    fn what_is_ready_first_waits_for_what_was_leased_before_it() {
        let (consumer, mut deliveries, _owner) = consumer(Vec::new());
        let consumer = Arc::new(consumer);
        assert!(hand(&consumer, 0, true).is_none());
        let one = hand(&consumer, 1, false).unwrap();
        let two = hand(&consumer, 2, false).unwrap();
        assert!(hand(&consumer, 3, true).is_none());
        assert_eq!(sent(&mut deliveries), [0]);
        two.ready();
        assert_eq!(sent(&mut deliveries), [0; 0]);
        one.ready();
        assert_eq!(sent(&mut deliveries), [1, 2, 3]);
        assert!(hand(&consumer, 4, true).is_none());
        assert_eq!(sent(&mut deliveries), [4]);
    }

    #[test]
    fn what_never_gets_into_the_log_goes_back_and_keeps_nothing_waiting() {
        let (consumer, mut deliveries, mut owner) = consumer(Vec::new());
        let consumer = Arc::new(consumer);
        let one = hand(&consumer, 1, false).unwrap();
        let two = hand(&consumer, 2, false).unwrap();
        drop(one);
        assert!(owner.try_recv().is_ok());
        two.ready();
        assert_eq!(sent(&mut deliveries), [2]);
        let three = hand(&consumer, 3, false).unwrap();
        drop(three);
        drop(deliveries);
        // Nothing is left that holds the consumer.
        assert_eq!(Arc::strong_count(&consumer), 1);
    }
}
