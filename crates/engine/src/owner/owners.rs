//! All partitions and groups by their names, with the tasks that serve them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use storage::supervisor::Work;
use storage::{Log, Supervisor};
use tokio::sync::watch;
use uuid::Uuid;

use super::completions::Completions;
use super::dead_letter_jobs::DeadLetterJobs;
use super::env::Env;
use super::groups::{GroupOwner, Owned as OwnedGroup};
use super::partition::{Opening, Owned};
use super::partition_owner::PartitionOwner;
use super::servers::Servers;
use super::tasks;
use super::timers::Timers;
use super::turns::Turns;
use crate::metrics::Metrics;
use crate::partition::{Partition, PartitionKey};
use crate::queue::QueuePartitionId;
use crate::time::Time;
use crate::topic::Config;
use crate::{Error, Result};

fn read<T>(table: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(table: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}

/// All partitions and groups. Dropping it ends the tasks that serve them.
pub(crate) struct Owners {
    pub(super) env: Arc<Env>,
    partitions: RwLock<BTreeMap<PartitionKey, Arc<PartitionOwner>>>,
    groups: RwLock<BTreeMap<Arc<str>, Arc<GroupOwner>>>,
    _serving: watch::Sender<()>,
}

impl Owners {
    /// No partition and no group yet; starts the task that answers and the one that keeps time.
    pub(crate) fn start(
        log: Arc<dyn Log>,
        (clock, metrics): (Arc<Time>, Arc<Metrics>),
        supervisor: &Supervisor,
        dead_letter_jobs: DeadLetterJobs,
    ) -> Self {
        let (servers, calls) = Servers::new();
        let env = Arc::new(Env {
            completions: Completions::new(*log.progress().borrow()),
            log,
            clock,
            metrics,
            dead_letter_jobs,
            timers: Timers::default(),
            servers,
            turns: Turns::new(supervisor.clone()),
            supervisor: supervisor.clone(),
            are_restored: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        // Nothing is ever sent: its end is what the tasks wait for.
        let (serving, ended) = watch::channel(());
        let owner = supervisor.owner("engine completions", Work::Computes);
        let run = tasks::send_answers(Arc::clone(&env), owner.clone(), ended.clone());
        tokio::spawn(owner.task(run));
        let owner = supervisor.owner("engine timers", Work::Computes);
        let run = tasks::look_at_due(Arc::clone(&env), owner.clone(), ended.clone());
        tokio::spawn(owner.task(run));
        for (number, calls) in calls.into_iter().enumerate() {
            let owner = supervisor.owner(format!("engine server {number}"), Work::Computes);
            let run = tasks::serve(owner.clone(), calls, ended.clone());
            tokio::spawn(owner.task(run));
        }
        Self {
            env,
            partitions: RwLock::default(),
            groups: RwLock::default(),
            _serving: serving,
        }
    }

    /// Asks the tasks that serve for a sign of life.
    pub(crate) fn ping(&self) {
        self.env.timers.look_again();
        self.env.completions.look_again();
    }

    /// Takes a partition over.
    pub(crate) fn open(&self, partition: &Arc<Partition>, opening: Opening, config: Config) {
        let key = (partition.topic_id, partition.index);
        let owner = PartitionOwner::new(&self.env, partition, Owned::new(opening, config));
        let mut all = write(&self.partitions);
        all.insert(key, Arc::new(owner));
    }

    /// A partition's owner. Errors: `UnknownPartition`.
    pub(crate) fn partition(&self, key: PartitionKey) -> Result<Arc<PartitionOwner>> {
        let all = read(&self.partitions);
        all.get(&key).cloned().ok_or(Error::UnknownPartition)
    }

    /// The owner of the partition a queue reads there. Errors: `UnknownQueue`.
    pub(crate) fn of_queue(&self, at: QueuePartitionId) -> Result<Arc<PartitionOwner>> {
        self.partition((at.topic, at.index))
            .map_err(|_| Error::UnknownQueue)
    }

    /// Owners of a topic's partitions.
    pub(crate) fn of_topic(&self, topic: Uuid) -> Vec<Arc<PartitionOwner>> {
        let all = read(&self.partitions);
        let range = all.range((topic, 0)..=(topic, u32::MAX));
        range.map(|(_, owner)| Arc::clone(owner)).collect()
    }

    /// Owners of all partitions.
    pub(crate) fn all(&self) -> Vec<Arc<PartitionOwner>> {
        let all = read(&self.partitions);
        all.values().cloned().collect()
    }

    /// Gives up a topic's partitions and their records; returns when that is durable.
    pub(crate) async fn close(&self, topic: Uuid) -> Result<()> {
        for owner in self.of_topic(topic) {
            owner.close().await?;
            let mut all = write(&self.partitions);
            all.remove(&(topic, owner.partition.index));
        }
        Ok(())
    }

    /// Takes a group over.
    pub(crate) fn open_group(&self, name: &Arc<str>, group: OwnedGroup) {
        let mut all = write(&self.groups);
        all.entry(Arc::clone(name))
            .or_insert_with(|| GroupOwner::start(&self.env, name, group));
    }

    /// A group's owner.
    pub(crate) fn group(&self, name: &str) -> Option<Arc<GroupOwner>> {
        let all = read(&self.groups);
        all.get(name).cloned()
    }

    /// Gives up a group and its log if it is dead; says whether it was, once that is durable.
    pub(crate) async fn close_group(&self, name: &Arc<str>) -> Result<bool> {
        let Some(owner) = self.group(name) else {
            return Ok(false);
        };
        let closed = owner.close().await?;
        if closed {
            let mut all = write(&self.groups);
            all.remove(name);
        }
        Ok(closed)
    }

    /// A topic is gone: groups drop their offsets for it.
    pub(crate) fn topic_removed(&self, topic: Uuid) {
        let all = read(&self.groups);
        let all: Vec<_> = all.values().cloned().collect();
        for group in all {
            group.topic_removed(topic);
        }
    }

    /// Whether a start has restored all queues.
    pub(crate) fn are_restored(&self) -> bool {
        self.env.are_restored.load(Ordering::Acquire)
    }

    /// All queues are here: they serve from now on, and readers by offset see what is left for them. Errors:
    /// `Unavailable`.
    pub(crate) fn queues_restored(&self) -> Result<()> {
        self.env.are_restored.store(true, Ordering::Release);
        for owner in self.all() {
            owner.run(|round| {
                round.gather_all();
                round.maintain(0)
            })??;
        }
        Ok(())
    }

    /// Takes nothing more, writes what makes the next start quick, and returns when everything is durable. Errors:
    /// `Unavailable` when the log has failed.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.env.stopped.store(true, Ordering::SeqCst);
        let all = self.all();
        // On a thread of its own: one that is held for ever does not keep the end from coming.
        let snapshots = move || all.iter().for_each(PartitionOwner::snapshot);
        let taken = tokio::task::spawn_blocking(snapshots).await;
        taken.map_err(|_| Error::Unavailable)?;
        self.env.completions.drained().await
    }
}
