//! A shard: one task that owns some partitions and groups, and is alone in changing them.
//!
//! Commands come through a bounded mailbox, many at a time. Each is decided, appended and applied at once;
//! its answer waits in `pending` until the log has come far enough. The log wakes the shard once per commit
//! group, whatever the number of answers that releases.

mod admission;
mod borrowed;
mod groups;
mod lanes;
mod partitions;
mod pending;
mod sends;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use storage::supervisor::Owner;
use storage::{Log, Lsn, Progress};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::group::{self, Group};
use crate::metrics::Metrics;
use crate::partition::{Ledger, Partition, Producer};
use crate::queue::{Aside, DeathReason, LaneAt};
use crate::time::Time;
use crate::topic::Config;
use crate::{Result, Verdicts};

pub(crate) use admission::{Admission, BATCH_BYTES, BATCH_RECORDS, Judged};
pub(crate) use borrowed::{Borrowed, FromBorrower, PartitionAt, Then};
pub(crate) use groups::{Answer, GroupTable, Owned as OwnedGroup, group_bytes};
pub(crate) use lanes::{ConsumerCommand, LaneCommand, Outcomes, OwnedLane, Readable};
pub(crate) use partitions::Owned;
pub(crate) use sends::Sending;
pub(crate) use writing::{Manner, Writing};

use lanes::LaneTable;
use partitions::PartitionTable;
use pending::Pending;

/// Commands a mailbox holds before senders wait.
pub(crate) const MAILBOX_MAX: usize = 1024;
/// Commands taken out of the mailbox in one go.
const DRAIN_MAX: usize = 256;
/// How long a shard sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// One batch of a publish, for one partition of this shard.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) topic_id: Uuid,
    pub(crate) index: u32,
    pub(crate) batch: storage::Batch,
    /// Size of its largest body, where it comes from a peer.
    pub(crate) largest_value: u32,
    /// Of its records, where a queue wanted them when it was checked.
    pub(crate) outlines: Option<Vec<storage::batch::Outline>>,
}

/// How a partition stands when its owner takes it over.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) ledger: Ledger,
    /// Up to where a stored snapshot accounts for producers.
    pub(crate) snapshot_upto: u64,
    /// Bytes behind that snapshot: what the next start would read again.
    pub(crate) bytes_since_snapshot: u64,
}

/// Looks at a group, and returns what to do once what was seen is durable.
pub(crate) type Inspect = Box<dyn FnOnce(Option<&Group>) -> Box<dyn FnOnce() + Send> + Send>;

/// What a shard can be asked.
pub(crate) enum Command {
    /// Nothing but a sign of life.
    Ping,
    /// Takes ownership of a partition.
    Open {
        partition: Arc<Partition>,
        opening: Opening,
        config: Config,
    },
    /// Changes the settings of a topic's partitions.
    Configure { topic_id: Uuid, config: Config },
    /// Gives up a topic's partitions and their records; answered when that is durable.
    Close {
        topic_id: Uuid,
        done: oneshot::Sender<()>,
    },
    /// Appends batches.
    Publish {
        entries: Vec<Entry>,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
        done: oneshot::Sender<Verdicts>,
    },
    /// Moves a partition's first readable offset; answers with the new one.
    Trim {
        topic_id: Uuid,
        index: u32,
        before: u64,
        done: oneshot::Sender<Result<u64>>,
    },
    /// Says what can be read of a partition from an offset on.
    Readable {
        topic_id: Uuid,
        index: u32,
        /// From where on, and how far at least.
        range: (u64, u64),
        /// Offsets looked at.
        span: u64,
        done: oneshot::Sender<(Readable, u64)>,
    },
    /// Answers with the producers a partition knows.
    Producers {
        topic_id: Uuid,
        index: u32,
        done: oneshot::Sender<Result<Vec<(i64, Producer)>>>,
    },
    /// Forgets producers silent since before `horizon` (ms).
    ExpireProducers { horizon: u64 },
    /// Takes ownership of a group.
    OpenGroup {
        name: Arc<str>,
        group: Box<OwnedGroup>,
        done: oneshot::Sender<()>,
    },
    /// Gives up a group and its log if it is dead; answers whether it was.
    CloseGroup {
        name: Arc<str>,
        done: oneshot::Sender<bool>,
    },
    /// A command for a group.
    Group {
        name: Arc<str>,
        command: Box<group::Command>,
        done: oneshot::Sender<Answer>,
    },
    /// A look at a group.
    Inspect { name: Arc<str>, inspect: Inspect },
    /// Sends single messages to a lane.
    Send(Sending),
    /// A command for a lane.
    Lane { at: LaneAt, command: LaneCommand },
    /// Takes ownership of a lane; it comes back when the partition has records the lane does not know of.
    OpenLane {
        at: LaneAt,
        lane: Box<OwnedLane>,
        done: oneshot::Sender<Option<Box<OwnedLane>>>,
    },
    /// All queues that a start has found are here.
    QueuesRestored { done: oneshot::Sender<()> },
    /// Forgets what lanes are done with.
    LaneUpkeep,
    /// Lends partitions, with everything their owner knows, to who needs more than one at once.
    Borrow {
        partitions: Vec<PartitionAt>,
        back: mpsc::UnboundedSender<FromBorrower>,
        done: borrowed::Lent,
    },
    /// Answers when all that was asked of these partitions before is decided.
    Fence {
        partitions: Vec<PartitionAt>,
        done: oneshot::Sender<()>,
    },
    /// A topic is gone: groups drop their offsets for it.
    TopicRemoved { topic_id: Uuid },
    /// Writes what makes the next start quick, and ends.
    Stop { done: oneshot::Sender<()> },
}

impl Command {
    /// Partitions it needs to be here; without an index all of the topic's.
    fn partitions(&self) -> Vec<(Uuid, Option<u32>)> {
        match self {
            Self::Open { .. }
            | Self::ExpireProducers { .. }
            | Self::OpenGroup { .. }
            | Self::CloseGroup { .. }
            | Self::Group { .. }
            | Self::Inspect { .. }
            | Self::QueuesRestored { .. }
            | Self::LaneUpkeep
            | Self::TopicRemoved { .. }
            | Self::Ping
            | Self::Stop { .. } => Vec::new(),
            Self::Configure { topic_id, .. } | Self::Close { topic_id, .. } => {
                vec![(*topic_id, None)]
            }
            Self::Publish { entries, .. } => {
                let key = |entry: &Entry| (entry.topic_id, Some(entry.index));
                entries.iter().map(key).collect()
            }
            Self::Trim {
                topic_id, index, ..
            }
            | Self::Readable {
                topic_id, index, ..
            }
            | Self::Producers {
                topic_id, index, ..
            } => vec![(*topic_id, Some(*index))],
            Self::Borrow { partitions, .. } | Self::Fence { partitions, .. } => {
                let key = |(topic_id, index): &PartitionAt| (*topic_id, Some(*index));
                partitions.iter().map(key).collect()
            }
            Self::Send(Sending { at, .. }) | Self::Lane { at, .. } | Self::OpenLane { at, .. } => {
                vec![(at.topic, Some(at.index))]
            }
        }
    }
}

/// What is said to whoever moves messages that have to leave.
pub(crate) enum Burial {
    /// Messages of a lane, and why.
    Messages {
        at: LaneAt,
        offsets: Vec<u64>,
        reason: DeathReason,
    },
    /// Somebody wants to know when all that was said before is done.
    Mark(oneshot::Sender<()>),
}

/// What a shard is connected to.
pub(crate) struct Wires {
    /// The shard's own mailbox, for loans that come back.
    pub(crate) mailbox: mpsc::WeakSender<Command>,
    /// Where messages go that have to leave.
    pub(crate) burials: mpsc::Sender<Burial>,
    /// What borrowers of partitions want and give back.
    pub(crate) borrowers: mpsc::UnboundedReceiver<FromBorrower>,
    /// What sessions say.
    pub(crate) sessions: mpsc::UnboundedReceiver<Aside>,
}

/// The task's state.
pub(crate) struct Shard {
    mailbox: mpsc::WeakSender<Command>,
    burials: mpsc::Sender<Burial>,
    borrowers: mpsc::UnboundedReceiver<FromBorrower>,
    sessions: mpsc::UnboundedReceiver<Aside>,
    lanes: LaneTable,
    log: Arc<dyn Log>,
    clock: Arc<Time>,
    metrics: Arc<Metrics>,
    partitions: PartitionTable,
    groups: GroupTable,
    pending: Pending,
    /// How far the log is durable, and answers were released.
    durable: Lsn,
}

impl Shard {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        clock: Arc<Time>,
        metrics: Arc<Metrics>,
        wires: Wires,
    ) -> Self {
        Self {
            mailbox: wires.mailbox,
            burials: wires.burials,
            borrowers: wires.borrowers,
            sessions: wires.sessions,
            lanes: LaneTable::default(),
            log,
            clock,
            metrics,
            partitions: PartitionTable::default(),
            groups: GroupTable::default(),
            pending: Pending::default(),
            durable: Lsn(0),
        }
    }

    /// Serves the mailbox until it is told to stop, or the log stops.
    pub(crate) async fn run(mut self, owner: Owner, mut mailbox: mpsc::Receiver<Command>) {
        let mut progress = self.log.progress();
        let mut commands = Vec::with_capacity(DRAIN_MAX);
        loop {
            let due = self.sleep();
            // What waits for partitions that are away is bounded like the mailbox it came through.
            let room = self.partitions.deferred() < MAILBOX_MAX;
            tokio::select! {
                // Answers first: they free memory, and their clients send the next command.
                biased;
                changed = progress.changed() => if changed.is_err() { return self.fail() },
                Some(said) = self.borrowers.recv() => self.hear_borrower(said, &mut commands),
                Some(said) = self.sessions.recv() => self.hear_sessions(said, &mut commands),
                received = mailbox.recv_many(&mut commands, DRAIN_MAX), if room => if received == 0 { return },
                () = tokio::time::sleep(due) => {}
            }
            owner.turn();
            self.top_up(&mut commands, &mut mailbox);
            if let Some(done) = self.round(&mut commands) {
                return self.stop(progress, done).await;
            }
            let reached = *progress.borrow_and_update();
            self.release(reached);
        }
    }

    /// Takes along what else is there: a line that is never empty must not keep the others from being heard.
    fn top_up(&mut self, commands: &mut Vec<Command>, mailbox: &mut mpsc::Receiver<Command>) {
        while commands.len() < DRAIN_MAX
            && let Ok(said) = self.borrowers.try_recv()
        {
            self.hear_borrower(said, commands);
        }
        while commands.len() < DRAIN_MAX
            && let Ok(said) = self.sessions.try_recv()
        {
            self.hear_sessions(said, commands);
        }
        while commands.len() < DRAIN_MAX
            && self.partitions.deferred() < MAILBOX_MAX
            && let Ok(command) = mailbox.try_recv()
        {
            commands.push(command);
        }
    }

    /// Goes through what came; returns who waits for the end, if it was told to stop.
    fn round(&mut self, commands: &mut Vec<Command>) -> Option<oneshot::Sender<()>> {
        self.tick();
        self.tick_lanes();
        let mut sends = Vec::new();
        let mut others = Vec::new();
        for command in commands.drain(..) {
            match self.partitions.defer(command) {
                Some(Command::Send(send)) => sends.push(send),
                Some(other) => others.push(other),
                None => {}
            }
        }
        self.place_sends(&mut sends);
        let mut stop = None;
        for command in others {
            if let Command::Stop { done } = command {
                stop = Some(done);
                break;
            }
            // A partition may have been lent in this round.
            if let Some(command) = self.partitions.defer(command) {
                self.handle(command);
            }
        }
        self.finish_lanes();
        stop
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Open {
                partition,
                opening,
                config,
            } => self.partitions.open(partition, opening, config),
            Command::Configure { topic_id, config } => self.partitions.configure(topic_id, config),
            Command::Close { topic_id, done } => self.close(topic_id, done),
            Command::Publish {
                entries,
                permit,
                done,
            } => self.publish(entries, permit, done),
            Command::Trim {
                topic_id,
                index,
                before,
                done,
            } => self.trim(topic_id, index, before, done),
            Command::Readable {
                topic_id,
                index,
                range,
                span,
                done,
            } => {
                if let Some(owned) = self.partitions.here(topic_id, index) {
                    let _ = done.send(lanes::readable(owned, range, span));
                }
            }
            Command::Producers {
                topic_id,
                index,
                done,
            } => drop(done.send(self.partitions.producers(topic_id, index))),
            Command::ExpireProducers { horizon } => self.partitions.expire_producers(horizon),
            Command::OpenGroup { name, group, done } => {
                self.groups.open(&name, *group);
                let _ = done.send(());
            }
            Command::CloseGroup { name, done } => self.close_group(&name, done),
            Command::Group {
                name,
                command,
                done,
            } => self.group_command(&name, *command, done),
            Command::Inspect { name, inspect } => self.inspect(&name, inspect),
            Command::TopicRemoved { topic_id } => self.topic_removed(topic_id),
            Command::Send(send) => self.place_sends(&mut vec![send]),
            Command::Lane { at, command } => self.lane_command(at, command),
            Command::OpenLane { at, lane, done } => self.open_lane(at, lane, done),
            Command::QueuesRestored { done } => self.queues_restored(done),
            Command::LaneUpkeep => self.upkeep_lanes(),
            Command::Borrow {
                partitions,
                back,
                done,
            } => self.lend_partitions(&partitions, &back, done),
            Command::Fence { done, .. } => {
                let _ = done.send(());
            }
            Command::Ping => {}
            Command::Stop { .. } => unreachable!("the loop takes care of it"),
        }
    }

    /// Sends every answer the log has caught up with.
    fn release(&mut self, reached: Progress) {
        self.durable = reached.durable;
        while let Some(ready) = self.pending.pop(reached) {
            ready.send();
        }
    }

    /// How long nothing is due.
    fn sleep(&self) -> Duration {
        let now = self.clock.now_ms();
        let groups = self.groups.next_deadline().into_iter();
        groups
            .chain(self.lanes.next_deadline())
            .min()
            .map_or(IDLE, |due| Duration::from_millis(due.saturating_sub(now)))
    }

    /// The log has failed: nothing that waits was made durable, and nobody may be told that it was.
    fn fail(mut self) {
        self.pending.fail();
    }

    async fn stop(mut self, mut progress: watch::Receiver<Progress>, done: oneshot::Sender<()>) {
        self.snapshot_all();
        loop {
            // Before the wait: what was asked together with the stop may rest on nothing new, and then no more
            // progress comes.
            let reached = *progress.borrow_and_update();
            self.release(reached);
            if self.pending.is_empty() {
                break;
            }
            if progress.changed().await.is_err() {
                return self.fail();
            }
        }
        let _ = done.send(());
    }
}
