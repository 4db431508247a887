//! The lock of a partition, what waits for it, and a turn: partitions locked, changed and let go.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, TryLockError};

use delivery::Lease;
use storage::Durability;

use super::acquire::acquire;
use super::closing;
use super::commit::{Commit, Newest, Outcome};
use super::completions::{Answer, Waiting, when_durable};
use super::env::Env;
use super::owners::Owners;
use super::partition::Owned;
use super::partition_owner::PartitionOwner;
use super::request::{Request, refuse};
use super::round::Round;
use super::servers::Served;
use super::settling::Settling;
use super::timers::Timed;
use super::turns::holds_some;
use crate::partition::{Partition, PartitionKey};
use crate::queue::{Mailbox, QueuePartitionId, SessionMessage, Settlement, Undone};
use crate::time::Moment;
use crate::{Error, Result};

/// Requests that wait for a lock before who adds one more waits for the lock itself.
const WAITING_MAX: usize = 1024;
/// Times in a row that one task serves what others ask meanwhile.
const ROUNDS_MAX: usize = 16;

/// A partition that is locked.
struct Held<'p> {
    owner: &'p Arc<PartitionOwner>,
    state: MutexGuard<'p, Option<Box<Owned>>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Only the log knows how it stands now: the process ends, and the next start folds the log again.
        if std::thread::panicking() {
            let Partition {
                topic_id, index, ..
            } = &*self.owner.partition;
            let reason = "a task panicked while it held it";
            let name = format!("partition {index} of topic {topic_id}");
            self.owner.env.supervisor.fail(name, reason);
        }
    }
}

impl PartitionOwner {
    /// Has a request done: at once if the lock is free, else by the task that holds it; soon, where no task waits for it.
    /// What one task asks for is done in the order in which it asks.
    pub(crate) fn submit(self: &Arc<Self>, request: Request) {
        let is_awaited = request.is_awaited();
        let waiting = {
            let mut waiting = self.waiting();
            waiting.push(request);
            waiting.len()
        };
        // What is asked for by a thread that holds partitions is nothing that is waited for.
        if holds_some() || (!is_awaited && waiting < WAITING_MAX) {
            return self.call();
        }
        if waiting >= WAITING_MAX {
            let _ = self.run(|_| ());
            return;
        }
        self.serve();
    }

    /// Has a server come, unless one is on its way.
    fn call(self: &Arc<Self>) {
        if !self.is_called.swap(true, Ordering::AcqRel) {
            let served: Arc<Self> = Arc::clone(self);
            self.env.servers.call(served);
        }
    }

    /// Does what waits, unless another task holds the lock, which then does it.
    pub(super) fn serve(self: &Arc<Self>) {
        for _ in 0..ROUNDS_MAX {
            if self.waiting().is_empty() {
                return;
            }
            if self.env.check_open().is_err() {
                return self.waiting().clear();
            }
            let state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::WouldBlock) => return,
                // The process is about to end.
                Err(TryLockError::Poisoned(_)) => return self.waiting().clear(),
            };
            turn(&self.env, [Held { owner: self, state }], |_| ());
        }
        // Others ask more quickly than this is done: the rest is not for this task alone.
        self.call();
    }

    /// Does something with the partition, and everything that waits for its lock before that. Errors: `UnknownPartition`
    /// when it is gone, `Unavailable` when the broker stops.
    pub(crate) fn run<T>(self: &Arc<Self>, work: impl FnOnce(&mut Round<'_>) -> T) -> Result<T> {
        debug_assert!(
            !holds_some(),
            "partitions are locked together or not at all"
        );
        self.env.check_open()?;
        let state = acquire(&self.state).map_err(|_| Error::Unavailable)?;
        let done = turn(&self.env, [Held { owner: self, state }], |turn| {
            turn.round(0).map(|mut round| work(&mut round))
        });
        self.serve();
        done.ok_or(Error::UnknownPartition)
    }

    /// The same, and waits until everything it rests on is on disk.
    pub(crate) async fn commit<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Round<'_>) -> Result<T>,
    ) -> Result<T> {
        let (answer, durable) = when_durable();
        let outcome = self.run(|round| {
            let outcome = work(round);
            round.answer(true, answer);
            outcome
        })??;
        durable.wait().await?;
        Ok(outcome)
    }

    /// Gives the partition up with its records; returns when that is durable.
    pub(super) async fn close(self: &Arc<Self>) -> Result<()> {
        let lsn = {
            let mut state = acquire(&self.state).map_err(|_| Error::Unavailable)?;
            let Some(owned) = state.take() else {
                return Ok(());
            };
            let _inside = self.env.turns.begin();
            closing::close(&self.env, &self.partition, &owned)
        };
        self.serve();
        self.env.completions.synced(lsn).await
    }

    /// Writes what makes the next start quick.
    pub(super) fn snapshot(self: &Arc<Self>) {
        let Ok(mut state) = acquire(&self.state) else {
            return;
        };
        let inside = self.env.turns.begin();
        if let Some(owned) = state.as_mut() {
            closing::snapshot_all(&self.env, &self.partition, owned);
        }
        drop(state);
        drop(inside);
    }
}

impl Served for PartitionOwner {
    fn key(&self) -> PartitionKey {
        Self::key(self)
    }

    fn serve_called(self: Arc<Self>) {
        self.is_called.store(false, Ordering::Release);
        self.serve();
    }
}

impl Timed for PartitionOwner {
    fn on_time(self: Arc<Self>) {
        // What is due is looked at in every turn.
        let _ = self.run(|_| ());
    }
}

impl Mailbox for PartitionOwner {
    fn notify(self: Arc<Self>, said: SessionMessage) {
        self.submit(Request::Session(said));
    }
}

impl Undone for Arc<PartitionOwner> {
    fn undo(&self, at: QueuePartitionId, leases: Vec<Lease>) {
        let undone = |lease: Lease| (lease.offset, lease.number, Settlement::Undo);
        self.submit(Request::Settle(Settling {
            queue: at.queue,
            settles: leases.into_iter().map(undone).collect(),
            chance: 1.0,
            done: None,
        }));
    }
}

/// Partitions that are locked, and what is changed in them together.
pub(crate) struct Turn<'t, 'p> {
    env: &'t Arc<Env>,
    held: &'t mut [Held<'p>],
    commit: Commit,
    now: Moment,
}

impl Turn<'_, '_> {
    fn round(&mut self, place: usize) -> Option<Round<'_>> {
        let held = &mut self.held[place];
        Some(Round {
            env: self.env,
            owner: held.owner,
            owned: held.state.as_mut()?,
            commit: &mut self.commit,
            now: self.now,
        })
    }

    /// A partition of those that are locked, unless it is gone.
    pub(crate) fn partition(&mut self, key: PartitionKey) -> Option<Round<'_>> {
        let place = self
            .held
            .binary_search_by_key(&key, |held| held.owner.key());
        self.round(place.ok()?)
    }

    /// When it is.
    pub(crate) fn now(&self) -> Moment {
        self.now
    }

    /// Whether records may be added. Errors: `DiskFull`, `Unavailable`.
    pub(crate) fn room(&mut self) -> Result<()> {
        self.commit.room(&*self.env.log)
    }

    /// Answers when it is as durable as the records of all partitions are to be.
    pub(crate) fn answer(&mut self, answer: Answer) {
        // A repeat is not confirmed before its original is durable.
        let must_be_synced = self.newest().durability != Durability::Flush;
        self.commit.answer(must_be_synced, answer);
    }

    /// Answers when it is on disk.
    pub(crate) fn answer_synced(&mut self, answer: Answer) {
        self.commit.answer(true, answer);
    }

    fn newest(&self) -> Newest {
        let durable = self.env.completions.durable();
        let mut newest = Newest::default();
        for owned in self.held.iter().filter_map(|held| held.state.as_deref()) {
            newest.any = newest.any.max(owned.newest());
            newest.records = newest.records.max(owned.last_lsn);
            if owned.durability(durable) != Durability::Flush {
                newest.durability = Durability::Sync;
            }
        }
        newest
    }

    /// Ends the turn: serves who waits in the queues, appends everything, and returns the answers that wait for nothing.
    fn finish(mut self) -> Vec<Waiting> {
        let count = self.held.len();
        for place in 0..count {
            if let Some(mut round) = self.round(place) {
                round.close();
            }
        }
        let outcome: Outcome = self.commit.write(&*self.env.log);
        if let Some(Ok(at)) = outcome {
            for owned in self.held.iter_mut().filter_map(|held| held.state.as_mut()) {
                owned.appended(at);
            }
        }
        let newest = if outcome.is_none() {
            self.newest()
        } else {
            Newest::default()
        };
        for place in 0..count {
            if let Some(mut round) = self.round(place) {
                round.settle_down();
            }
        }
        self.commit.release(&outcome, newest, &self.env.completions)
    }
}

/// One turn with partitions that are locked: what waits for them, then the work, then everything that follows from it. They
/// are let go before answers are sent.
fn turn<'p, T>(
    env: &Arc<Env>,
    mut held: impl AsMut<[Held<'p>]>,
    work: impl FnOnce(&mut Turn<'_, 'p>) -> T,
) -> T {
    let inside = env.turns.begin();
    let mut turn = Turn {
        env,
        commit: Commit::new(),
        now: env.clock.moment(),
        held: held.as_mut(),
    };
    for place in 0..turn.held.len() {
        let waiting = std::mem::take(&mut *turn.held[place].owner.waiting());
        match turn.round(place) {
            Some(mut round) => round.begin(waiting),
            None => waiting.into_iter().for_each(refuse),
        }
    }
    let done = work(&mut turn);
    let ready = turn.finish();
    drop(held);
    for waiting in ready {
        waiting.send();
    }
    drop(inside);
    done
}

impl Owners {
    /// Does something with several partitions at once: those that are not there any more are left out. Errors:
    /// `Unavailable` when the broker stops.
    pub(crate) fn run_all<T>(
        &self,
        keys: impl IntoIterator<Item = PartitionKey>,
        work: impl FnOnce(&mut Turn<'_, '_>) -> T,
    ) -> Result<T> {
        debug_assert!(
            !holds_some(),
            "partitions are locked together or not at all"
        );
        self.env.check_open()?;
        // In the order of their keys: no two tasks ever wait for each other.
        let owners: BTreeMap<PartitionKey, Arc<PartitionOwner>> = keys
            .into_iter()
            .filter_map(|key| Some((key, self.partition(key).ok()?)))
            .collect();
        let held: std::result::Result<Vec<_>, _> = owners
            .values()
            .map(|owner| acquire(&owner.state).map(|state| Held { owner, state }))
            .collect();
        let done = turn(&self.env, held.map_err(|_| Error::Unavailable)?, work);
        for owner in owners.values() {
            owner.serve();
        }
        Ok(done)
    }

    /// The same, and waits until everything it rests on is on disk.
    pub(crate) async fn commit_all<T>(
        &self,
        keys: impl IntoIterator<Item = PartitionKey>,
        work: impl FnOnce(&mut Turn<'_, '_>) -> Result<T>,
    ) -> Result<T> {
        let (answer, durable) = when_durable();
        let outcome = self.run_all(keys, |turn| {
            let outcome = work(turn);
            turn.answer_synced(answer);
            outcome
        })??;
        durable.wait().await?;
        Ok(outcome)
    }
}
