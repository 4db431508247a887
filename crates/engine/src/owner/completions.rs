//! Answers that wait for the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage::{Durability, Lsn, Progress};
use tokio::sync::{Notify, oneshot};

use crate::partition::Partition;
use crate::{Error, Result};

/// What is to be done when the log has come far enough.
pub(super) struct Waiting {
    /// Partitions that grow by this, and how far they may then be read.
    pub(super) grown: Vec<(Arc<Partition>, u64)>,
    /// Answers, each called with what went wrong.
    pub(super) answers: Vec<Answer>,
}

/// An answer: called with what went wrong, if anything did.
pub(crate) type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// Where to wait until a commit is on disk.
pub(super) struct Durable(oneshot::Receiver<Option<Error>>);

/// An answer that carries nothing but that the commit is on disk, and where to wait for it.
pub(super) fn when_durable() -> (Answer, Durable) {
    let (done, durable) = oneshot::channel();
    let answer = move |failed| drop(done.send(failed));
    (Box::new(answer), Durable(durable))
}

impl Durable {
    /// Errors: what went wrong; `Unavailable` when the log has failed.
    pub(super) async fn wait(self) -> Result<()> {
        let failed = self.0.await.map_err(|_| Error::Unavailable)?;
        failed.map_or(Ok(()), Err)
    }
}

impl Waiting {
    /// Makes it true for readers, then answers.
    pub(super) fn send(self) {
        for (partition, upto) in self.grown {
            partition.advance(upto);
        }
        for answer in self.answers {
            answer(None);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grown.is_empty() && self.answers.is_empty()
    }

    /// Answers that it has failed.
    pub(super) fn fail(self, error: &Error) {
        for answer in self.answers {
            answer(Some(error.clone()));
        }
    }
}

/// Answers in the order of their log positions, one line per durability.
#[derive(Default)]
struct Pending {
    synced: VecDeque<(Lsn, Waiting)>,
    written: VecDeque<(Lsn, Waiting)>,
    /// The log has failed: nothing becomes durable any more.
    failed: bool,
}

impl Pending {
    fn line(&mut self, durability: Durability) -> &mut VecDeque<(Lsn, Waiting)> {
        match durability {
            Durability::Sync | Durability::Vital => &mut self.synced,
            Durability::Flush => &mut self.written,
        }
    }

    /// Takes out what the log has caught up with.
    fn take(&mut self, reached: Progress, into: &mut Vec<Waiting>) {
        while let Some((_, waiting)) = self.written.pop_front_if(|(at, _)| *at <= reached.written) {
            into.push(waiting);
        }
        while let Some((_, waiting)) = self.synced.pop_front_if(|(at, _)| *at <= reached.durable) {
            into.push(waiting);
        }
    }

    fn is_empty(&self) -> bool {
        self.synced.is_empty() && self.written.is_empty()
    }
}

/// All answers that wait.
pub(super) struct Completions {
    pending: Mutex<Pending>,
    durable: AtomicU64,
    written: AtomicU64,
    /// Notified when nothing waits any more.
    drained: Notify,
    pub(super) looks: Notify,
}

impl Completions {
    pub(super) fn new(reached: Progress) -> Self {
        Self {
            pending: Mutex::default(),
            durable: AtomicU64::new(reached.durable.0),
            written: AtomicU64::new(reached.written.0),
            drained: Notify::new(),
            looks: Notify::new(),
        }
    }

    /// How far the log is durable, and answers were released.
    pub(super) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    fn has_reached(&self, lsn: Lsn, durability: Durability) -> bool {
        let reached = match durability {
            Durability::Sync | Durability::Vital => &self.durable,
            Durability::Flush => &self.written,
        };
        lsn.0 <= reached.load(Ordering::Acquire)
    }

    /// Keeps something until the log has come so far; one that waits for nothing comes back, to be sent at once.
    pub(super) fn push(
        &self,
        (lsn, durability): (Lsn, Durability),
        waiting: Waiting,
    ) -> Option<Waiting> {
        let mut pending = self.lock();
        if pending.failed {
            return None;
        }
        let line = pending.line(durability);
        if line.is_empty() && self.has_reached(lsn, durability) {
            return Some(waiting);
        }
        // What is about an older position than the newest that waits goes with it: lines stay ordered.
        let newest = line.back().map_or(Lsn(0), |(newest, _)| *newest);
        line.push_back((lsn.max(newest), waiting));
        None
    }

    /// Answers when the log is durable up to here.
    pub(super) fn answer_synced(&self, lsn: Lsn, answer: Answer) {
        let waiting = Waiting {
            grown: Vec::new(),
            answers: vec![answer],
        };
        if let Some(ready) = self.push((lsn, Durability::Sync), waiting) {
            ready.send();
        }
    }

    /// Returns when the log is durable up to here. Errors: `Unavailable` when it has failed.
    pub(super) async fn synced(&self, lsn: Lsn) -> Result<()> {
        let (answer, durable) = when_durable();
        self.answer_synced(lsn, answer);
        durable.wait().await
    }

    /// Returns when nothing waits. Errors: `Unavailable` when the log has failed.
    pub(super) async fn drained(&self) -> Result<()> {
        loop {
            let notified = self.drained.notified();
            {
                let pending = self.lock();
                if pending.failed {
                    return Err(Error::Unavailable);
                }
                if pending.is_empty() {
                    return Ok(());
                }
            }
            notified.await;
        }
    }

    pub(super) fn look_again(&self) {
        self.looks.notify_one();
    }

    pub(super) fn release(&self, reached: Progress) {
        let mut ready = Vec::new();
        let is_drained = {
            let mut pending = self.lock();
            self.written.fetch_max(reached.written.0, Ordering::AcqRel);
            self.durable.fetch_max(reached.durable.0, Ordering::AcqRel);
            pending.take(reached, &mut ready);
            pending.is_empty()
        };
        for waiting in ready {
            waiting.send();
        }
        if is_drained {
            self.drained.notify_waiters();
        }
    }

    /// The log has failed: nothing that waits was made durable, and no answer may say that it was. What waits sees
    /// the channel close.
    pub(super) fn fail(&self) {
        let mut pending = self.lock();
        pending.failed = true;
        let lost = (
            std::mem::take(&mut pending.synced),
            std::mem::take(&mut pending.written),
        );
        drop(pending);
        drop(lost);
        self.drained.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
