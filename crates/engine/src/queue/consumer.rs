//! Consumers: borrowers who are connected, are handed messages as they come, and hold them without a deadline.
//!
//! How many one may hold is counted in windows, which several consumers can share and every owner of a lane may take
//! from. A lane that finds a window exhausted leaves word there, and is told when there is room again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::LaneAt;
use super::lane::{Loan, Outcome};
use super::reader::Reader;

/// How many messages may be held at once.
#[derive(Debug)]
pub struct Window {
    /// At most; `u32::MAX`: as many as there are.
    max: AtomicU32,
    held: AtomicU32,
    /// Who wants to know when there is room.
    starved: Mutex<Vec<Starved>>,
}

#[derive(Debug)]
struct Starved {
    consumer: u64,
    at: LaneAt,
    source: Source,
}

/// Where a consumer's messages come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The owner of the lane lends them.
    Lane(mpsc::UnboundedSender<Aside>),
    /// Its session reads them from the log, and is told here that there is something to do.
    Log(Arc<Notify>),
}

impl Source {
    /// There is room again.
    fn serve(&self, at: LaneAt) {
        match self {
            Self::Lane(shard) => drop(shard.send(Aside::Serve(at))),
            Self::Log(session) => session.notify_one(),
        }
    }

    /// A message comes back from somebody who did not settle it. What was read was never away.
    fn give_back(&self, back: Aside) {
        if let Self::Lane(shard) = self {
            // A shard that has ended needs nothing back.
            let _ = shard.send(back);
        }
    }
}

impl Window {
    /// A window of `max` messages; absent: without a limit.
    pub fn new(max: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicU32::new(max.unwrap_or(u32::MAX)),
            held: AtomicU32::new(0),
            starved: Mutex::default(),
        })
    }

    /// Changes how many may be held. Those that are held already stay.
    pub fn set_max(&self, max: Option<u32>) {
        self.max.store(max.unwrap_or(u32::MAX), Ordering::SeqCst);
        self.tell_starved();
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
            self.held.fetch_sub(count, Ordering::SeqCst);
            self.tell_starved();
        }
    }

    fn tell_starved(&self) {
        let starved = std::mem::take(&mut *self.lock());
        for Starved { at, source, .. } in starved {
            source.serve(at);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Starved>> {
        self.starved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer as one lane knows it.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Names it among all.
    pub(crate) id: u64,
    /// What its session calls it.
    pub(crate) number: u64,
    pub(crate) at: LaneAt,
    /// All of them have to have room for a message to be handed over.
    pub(crate) windows: Vec<Arc<Window>>,
    /// Room for what was handed over and not looked at by the session yet.
    pub(crate) outbox: Arc<Window>,
    /// Greater first.
    pub(crate) priority: i32,
    pub(crate) session: mpsc::UnboundedSender<Said>,
    pub(crate) source: Source,
    /// Times messages were handed over that still wait for the log: those that follow may not overtake them.
    pub(crate) behind: AtomicU32,
}

impl Consumer {
    /// Takes room for up to `wanted` messages in all windows. When there is none, the lane is told later.
    pub(crate) fn take(&self, wanted: u32) -> u32 {
        let granted = self.try_take(wanted);
        if granted > 0 {
            return granted;
        }
        for window in self.all_windows() {
            let mut starved = window.lock();
            // A lane looks at all its consumers when it is told; a reader reads for itself alone.
            let is_known = |known: &Starved| match self.source {
                Source::Lane(_) => known.at == self.at && matches!(known.source, Source::Lane(_)),
                Source::Log(_) => known.consumer == self.id && known.at == self.at,
            };
            if !starved.iter().any(is_known) {
                starved.push(Starved {
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
        for (i, window) in self.all_windows().enumerate() {
            let here = window.take(granted);
            if here < granted {
                for before in self.all_windows().take(i) {
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
        for window in self.all_windows() {
            window.held.fetch_sub(count, Ordering::SeqCst);
        }
    }

    fn all_windows(&self) -> impl Iterator<Item = &Arc<Window>> {
        self.windows.iter().chain([&self.outbox])
    }

    /// A message it held is settled.
    pub(crate) fn give(&self, count: u32) {
        for window in &self.windows {
            window.give(count);
        }
    }
}

/// What is said to a session.
#[derive(Debug)]
pub(crate) enum Said {
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

/// Messages handed to a consumer. Those nobody takes go back as if never lent.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) consumer: Arc<Consumer>,
    /// Next first.
    pub(crate) loans: std::collections::VecDeque<Loan>,
}

impl Drop for Handed {
    fn drop(&mut self) {
        let count = u32::try_from(self.loans.len()).unwrap_or(u32::MAX);
        self.consumer.outbox.give(count);
        for loan in &self.loans {
            let (offset, loan) = (loan.offset, loan.number);
            drop(Claim::new(&self.consumer, offset, loan).with(Outcome::Unsent));
        }
    }
}

/// What is said to a shard aside, not through its mailbox: whoever goes away cannot wait for room there. Never more than
/// there are messages on loan or on their way, and windows.
#[derive(Debug)]
pub(crate) enum Aside {
    /// A message comes back from somebody who did not settle it.
    Back {
        at: LaneAt,
        offset: u64,
        loan: u64,
        outcome: Outcome,
    },
    /// A consumer is gone.
    Left { at: LaneAt, consumer: u64 },
    /// A window has room again.
    Serve(LaneAt),
    /// Messages were let in although the queue is full, only to be dead-lettered.
    TooMany { at: LaneAt, offsets: Vec<u64> },
}

/// A message on loan to a session. One that is dropped without being settled goes back: whoever had it is gone.
#[derive(Debug)]
pub struct Claim {
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) offset: u64,
    pub(crate) loan: u64,
    /// What is said when it is dropped; nothing when it was settled.
    outcome: Option<Outcome>,
}

impl Claim {
    pub(crate) fn new(consumer: &Arc<Consumer>, offset: u64, loan: u64) -> Self {
        Self {
            consumer: Arc::clone(consumer),
            offset,
            loan,
            outcome: Some(Outcome::Lost { charged: false }),
        }
    }

    fn with(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// What the session calls the consumer that has it.
    pub fn consumer(&self) -> u64 {
        self.consumer.number
    }

    /// It could not be read: counts as a failure.
    pub(crate) fn failed(self) {
        drop(self.with(Outcome::Fail));
    }

    /// Whether the message was read, not lent: nobody has to know what becomes of it.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.consumer.source, Source::Log(_))
    }

    /// It is settled in another way. Its room is free.
    pub(crate) fn settled(mut self) {
        self.outcome = None;
        self.consumer.give(1);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else {
            return;
        };
        let back = Aside::Back {
            at: self.consumer.at,
            offset: self.offset,
            loan: self.loan,
            outcome,
        };
        self.consumer.source.give_back(back);
        self.consumer.give(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(windows: Vec<Arc<Window>>) -> (Consumer, mpsc::UnboundedReceiver<Aside>) {
        let (session, _) = mpsc::unbounded_channel();
        let (shard, heard) = mpsc::unbounded_channel();
        let consumer = Consumer {
            id: 1,
            number: 1,
            at: LaneAt::default(),
            windows,
            outbox: Window::new(Some(100)),
            priority: 0,
            session,
            source: Source::Lane(shard),
            behind: AtomicU32::new(0),
        };
        (consumer, heard)
    }

    #[test]
    fn the_narrowest_window_decides() {
        let (wide, narrow) = (Window::new(Some(10)), Window::new(Some(3)));
        let (consumer, _heard) = consumer(vec![Arc::clone(&wide), Arc::clone(&narrow)]);
        assert_eq!(consumer.take(5), 3);
        assert_eq!((wide.held(), narrow.held()), (3, 3));
        assert_eq!(consumer.outbox.held(), 3);
        assert_eq!(consumer.take(5), 0);
        assert_eq!((wide.held(), narrow.held()), (3, 3));
        narrow.set_max(None);
        assert_eq!(consumer.take(50), 7);
    }

    #[test]
    fn a_lane_that_found_no_room_is_told_when_there_is_some() {
        let window = Window::new(Some(1));
        let (consumer, mut heard) = consumer(vec![Arc::clone(&window)]);
        assert_eq!(consumer.take(1), 1);
        assert!(heard.try_recv().is_err());
        assert_eq!(consumer.take(1), 0);
        assert!(heard.try_recv().is_err());
        consumer.give(1);
        assert!(matches!(heard.try_recv(), Ok(Aside::Serve(_))));
        assert_eq!(consumer.take(1), 1);
    }
}
