//! Owners: the tasks and threads that own state and must neither end nor hang while the process runs.
//!
//! The code that starts one gets an [`Owner`] from the [`Supervisor`] and runs the work under it. A panic, or a return that
//! was not asked for, becomes a [`Failure`], on which the process ends: what such an owner held may be half changed, and only
//! a restart, which folds the log again, makes it whole. An owner says when it takes up work and when it waits for
//! some, so that one that hangs is found. Nothing here reads a clock: [`Supervisor::stalled`] is told the time.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// An owner that makes no turn for so long has stalled. Together with the second between two looks it is noticed
/// within five.
const PATIENCE: Duration = Duration::from_millis(3500);
/// What waits for the disk may wait for so long before only a restart can help: disks do pause.
const DISK_PATIENCE: Duration = Duration::from_mins(1);
/// Failures that are kept; the first are the ones that matter.
const FAILURES_MAX: usize = 16;

/// What an owner does in one turn, and so how long a turn may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It computes: a turn takes milliseconds.
    Computes,
    /// It waits for the disk while others wait for it.
    AwaitsDisk,
    /// It works ahead of need or behind it: nobody waits for a single turn.
    Background,
}

impl Work {
    /// After how long a turn that goes on makes the broker unready.
    fn patience(self) -> Duration {
        match self {
            Self::Computes | Self::AwaitsDisk => PATIENCE,
            Self::Background => DISK_PATIENCE,
        }
    }

    /// After how long only a restart can help.
    fn last_patience(self) -> Option<Duration> {
        match self {
            Self::Computes => Some(PATIENCE),
            Self::AwaitsDisk => Some(DISK_PATIENCE),
            Self::Background => None,
        }
    }
}

/// Why the process cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which owner.
    pub owner: String,
    /// What happened to it.
    pub reason: String,
    /// It ended without a word; what another one says about the cause is the better reason.
    is_silent: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stopped: {}", self.owner, self.reason)
    }
}

/// An owner that makes no turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// Which owner.
    pub owner: String,
    /// Since when, as [`Supervisor::stalled`] is told the time.
    pub since: Duration,
    /// For how long.
    pub lasting: Duration,
    /// Waiting is no use any more.
    pub is_beyond_help: bool,
}

/// Knows all owners of a process. Clones are the same supervisor.
#[derive(Debug, Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    failures: watch::Sender<Vec<Failure>>,
    stopping: AtomicBool,
    watched: Mutex<Vec<Watched>>,
}

#[derive(Debug)]
struct Watched {
    state: Arc<State>,
    turns: u64,
    since: Option<Duration>,
}

#[derive(Debug)]
struct State {
    name: String,
    work: Work,
    turns: AtomicU64,
    resting: AtomicBool,
    gone: AtomicBool,
}

impl Supervisor {
    /// Nobody to look after yet.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                failures: watch::Sender::new(Vec::new()),
                stopping: AtomicBool::new(false),
                watched: Mutex::default(),
            }),
        }
    }

    /// One more owner, which counts as resting until its first turn.
    pub fn owner(&self, name: impl Into<String>, work: Work) -> Owner {
        let state = Arc::new(State {
            name: name.into(),
            work,
            turns: AtomicU64::new(0),
            resting: AtomicBool::new(true),
            gone: AtomicBool::new(false),
        });
        self.lock().push(Watched {
            state: Arc::clone(&state),
            turns: 0,
            since: None,
        });
        Owner {
            state,
            supervisor: self.clone(),
        }
    }

    /// From now on owners may return: they were told to, or what they serve has gone.
    pub fn stopping(&self) {
        self.inner.stopping.store(true, Ordering::Release);
    }

    /// An owner cannot go on, and the process neither.
    pub fn fail(&self, owner: impl Into<String>, reason: impl Into<String>) {
        self.note(Failure {
            owner: owner.into(),
            reason: reason.into(),
            is_silent: false,
        });
    }

    /// Holds what failed, in the order in which it did; empty while all is well.
    pub fn failures(&self) -> watch::Receiver<Vec<Failure>> {
        self.inner.failures.subscribe()
    }

    /// The failure that explains the others, if there is one.
    pub fn failure(&self) -> Option<Failure> {
        let failures = self.inner.failures.borrow();
        let telling = failures.iter().find(|failure| !failure.is_silent);
        telling.or_else(|| failures.first()).cloned()
    }

    /// The owners that have made no turn for too long. To be asked about once a second, with the time on a clock that
    /// never jumps.
    pub fn stalled(&self, now: Duration) -> Vec<Stalled> {
        let mut watched = self.lock();
        watched.retain(|watched| !watched.state.gone.load(Ordering::Acquire));
        watched
            .iter_mut()
            .filter_map(|watched| watched.look(now))
            .collect()
    }

    fn note(&self, failure: Failure) {
        tracing::error!(owner = %failure.owner, reason = %failure.reason, "an owner stopped");
        self.inner.failures.send_modify(|failures| {
            if failures.len() < FAILURES_MAX {
                failures.push(failure);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        // Every change is one push or one field: as good after a panic as before.
        self.inner
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Watched {
    fn look(&mut self, now: Duration) -> Option<Stalled> {
        let turns = self.state.turns.load(Ordering::Acquire);
        let rests = self.state.resting.load(Ordering::Acquire);
        if rests || turns != self.turns {
            (self.turns, self.since) = (turns, None);
        }
        if rests {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let lasting = now.saturating_sub(since);
        let work = self.state.work;
        (lasting >= work.patience()).then(|| Stalled {
            owner: self.state.name.clone(),
            since,
            lasting,
            is_beyond_help: work.last_patience().is_some_and(|last| lasting >= last),
        })
    }
}

/// One owner, as it sees itself. Clones are the same owner.
#[derive(Debug, Clone)]
pub struct Owner {
    state: Arc<State>,
    supervisor: Supervisor,
}

impl Owner {
    /// It takes up work. An owner that is asked for a sign of life every second only ever says this.
    #[inline]
    pub fn turn(&self) {
        // Only the owner itself writes: no read-modify-write, and no fence worth the name.
        let turns = self.state.turns.load(Ordering::Relaxed);
        self.state
            .turns
            .store(turns.wrapping_add(1), Ordering::Release);
        if self.state.resting.load(Ordering::Relaxed) {
            self.state.resting.store(false, Ordering::Release);
        }
    }

    /// It waits for work, however long that takes.
    #[inline]
    pub fn rest(&self) {
        self.state.resting.store(true, Ordering::Release);
    }

    /// Runs what a thread does to its end. `None` when it panicked.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        self.ended(outcome)
    }

    /// Runs what a task does to its end.
    pub async fn task(self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        let outcome = std::future::poll_fn(|context| {
            let poll = || Pin::as_mut(&mut work).poll(context);
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => std::task::Poll::Ready(Err(panic)),
            }
        })
        .await;
        self.ended(outcome);
    }

    /// As [`Owner::task`], for work that has an end of its own: only a panic is a failure.
    pub async fn errand(self, work: impl Future<Output = ()>) {
        let done = self.clone();
        self.task(async move {
            work.await;
            done.state.gone.store(true, Ordering::Release);
        })
        .await;
    }

    fn ended<T>(&self, outcome: Result<T, Box<dyn Any + Send>>) -> Option<T> {
        let is_done = self.state.gone.swap(true, Ordering::AcqRel);
        let (reason, is_silent) = match &outcome {
            Err(panic) => (format!("it panicked: {}", message(&**panic)), false),
            Ok(_) => ("it returned".to_owned(), true),
        };
        let is_expected = is_done || self.supervisor.inner.stopping.load(Ordering::Acquire);
        if outcome.is_err() || !is_expected {
            self.supervisor.note(Failure {
                owner: self.state.name.clone(),
                reason,
                is_silent,
            });
        }
        outcome.ok()
    }
}

/// What a panic says, where it says something.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
