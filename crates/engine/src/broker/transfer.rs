//! Transfers: messages leave one queue for others, as dead letters or by a move task, in one append.
//!
//! All partitions that take part are locked for the moment of deciding and applying. Records are read before that, and
//! answers wait for the disk after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use delivery::{Ended, MoveProgress, QueueEvent};
use storage::Batch;
use storage::batch::BatchBuilder;
use storage::supervisor::{Owner, Work};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::cuts::{Cuts, Runs, Written};
use super::read_ahead::Seen;
use super::transfer_message::{Cause, TransferMessage, TransferTarget};
use super::{Inner, partition_of, queue_partitions};
use crate::owner::{DeadLetterJob, PartitionKey, Turn};
use crate::queue::{DeadLetterCause, Ordering, Queue, QueuePartitionId};
use crate::{Error, Result};

/// Messages moved in one append.
const MESSAGES_MAX: usize = 64;
/// Bytes moved in one append; one message may exceed it.
const BYTES_MAX: usize = 1 << 20;
/// Copies made in one append; one message may need more.
const QUEUE_PARTITIONS_MAX: usize = 256;
/// Deepest pause between two steps of a rate-limited move.
const STEP: Duration = Duration::from_millis(100);

/// Moves the messages that one worker is sent, until the broker is gone.
pub(super) async fn run_dead_letter_jobs(
    inner: Weak<Inner>,
    owner: Owner,
    mut dead_letter_jobs: mpsc::Receiver<DeadLetterJob>,
) {
    loop {
        owner.rest();
        let Some(job) = dead_letter_jobs.recv().await else {
            return;
        };
        owner.turn();
        let (at, offsets, cause) = match job {
            DeadLetterJob::Messages { at, offsets, cause } => (at, offsets, cause),
            DeadLetterJob::Mark(done) => {
                let _ = done.send(());
                continue;
            }
        };
        let Some(inner) = inner.upgrade() else { return };
        let Some(source) = inner.queues.with_id(at.queue) else {
            continue;
        };
        if let Err(error) = run_dead_letter_job(&inner, (at, &source), &offsets, cause).await {
            tracing::warn!(queue = %source.name, %error, "dead-lettering failed");
            unreserve(&inner, at, &offsets);
        }
    }
}

async fn run_dead_letter_job(
    inner: &Inner,
    (at, source): (QueuePartitionId, &Arc<Queue>),
    offsets: &[u64],
    cause: DeadLetterCause,
) -> Result<()> {
    let settings = source.settings();
    let target = match (&settings.dead_letter, &settings.dead_letter_exchange) {
        (Some(policy), _) => {
            let target = inner.queues.named(&policy.queue);
            TransferTarget::Queue(target.ok_or(Error::UnknownQueue)?)
        }
        (None, Some(exchange)) => TransferTarget::Exchange(exchange.clone()),
        (None, None) => return Err(Error::UnknownQueue),
    };
    // A message that came and failed in one moment may not be durable yet, and cannot be read before it is.
    queue_partitions::inspect(inner, at, |_| ()).await?;
    let cause = Cause::Dead(cause);
    transfer(inner, (at, source), offsets, &target, &cause).await
}

/// What did not leave is ready again.
fn unreserve(inner: &Inner, at: QueuePartitionId, offsets: &[u64]) {
    let _ = queue_partitions::run(inner, at, |round| round.unreserve(at.queue, offsets));
}

/// Moves messages that were reserved. Those already moved stay moved when an error ends it.
async fn transfer(
    inner: &Inner,
    (at, source): (QueuePartitionId, &Arc<Queue>),
    offsets: &[u64],
    target: &TransferTarget,
    cause: &Cause,
) -> Result<()> {
    let mut messages: Vec<TransferMessage> = Vec::new();
    let (mut bytes, mut queue_partitions) = (0, 0);
    for offset in offsets {
        let record = match inner.record_at(at, *offset).await? {
            Seen::Record(record) => Some(record),
            Seen::Gone => None,
            // It cannot go anywhere, and stays.
            Seen::Unreadable { upto } => {
                inner.set_unreadable(at, *offset, upto);
                continue;
            }
        };
        let message = TransferMessage::address(inner, source, (*offset, record), target, cause)?;
        bytes += message.bytes();
        queue_partitions += message.to.len();
        messages.push(message);
        if bytes >= BYTES_MAX
            || messages.len() >= MESSAGES_MAX
            || queue_partitions >= QUEUE_PARTITIONS_MAX
        {
            (bytes, queue_partitions) = (0, 0);
            move_together(inner, (at, source), &std::mem::take(&mut messages), cause).await?;
        }
    }
    move_together(inner, (at, source), &messages, cause).await
}

/// Moves messages in one step, and waits until that is durable: nobody may read it before, and the next step is not
/// hurried.
async fn move_together(
    inner: &Inner,
    source: (QueuePartitionId, &Arc<Queue>),
    messages: &[TransferMessage],
    cause: &Cause,
) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    match step(inner, source, messages, cause)? {
        Some(moved) => moved.await.map_err(|_| Error::Unavailable),
        None => Ok(()),
    }
}

/// The moment itself: all partitions locked, one append. Returns where to wait until it is durable.
fn step(
    inner: &Inner,
    (at, source): (QueuePartitionId, &Arc<Queue>),
    messages: &[TransferMessage],
    cause: &Cause,
) -> Result<Option<oneshot::Receiver<()>>> {
    let from = partition_of(at);
    let into = messages.iter().flat_map(|message| &message.to);
    let into = into.map(|(to, _)| partition_of(*to));
    inner.owners.run_all(into.chain([from]), |turn| {
        let now = turn.now();
        let gone = gone(turn, messages)?;
        let mut round = turn.partition(from).ok_or(Error::UnknownQueue)?;
        let queue_partition = round.require(at.queue)?;
        // Acknowledged or purged in the meantime: nothing to move.
        let messages = messages
            .iter()
            .filter(|l| queue_partition.state.is_removing(l.offset));
        let messages: Vec<&TransferMessage> = messages.collect();
        if messages.is_empty() {
            return Ok(None);
        }
        let own = messages.iter().map(|message| {
            let lease = queue_partition
                .state
                .lease(message.offset)
                .unwrap_or_default();
            message.own_headers(
                (at, source, lease.stamped(|at| inner.clock.stamp_at(at))),
                (cause, now),
            )
        });
        let own: Vec<_> = own.collect();
        turn.room()?;
        let cuts = cut(&messages, &gone);
        let write = |runs: Runs<'_, bool>| {
            let mut builder = BatchBuilder::new(now.wall.cast_signed()).made_here();
            for (place, in_order) in cuts.messages(runs) {
                messages[place].write(&mut builder, in_order, &own[place], (cause, now));
            }
            builder.build()
        };
        copy(turn, &cuts, write);
        let event = QueueEvent::Left {
            offsets: messages.iter().map(|message| message.offset).collect(),
            task: match cause {
                Cause::Dead(_) => None,
                Cause::Moved(task) => Some(*task),
            },
        };
        if let Some(mut round) = turn.partition(from) {
            round.note(at.queue, event)?;
        }
        if matches!(cause, Cause::Dead(_)) {
            source.numbers.dead_lettered(messages.len() as u64);
        }
        let (done, moved) = oneshot::channel();
        turn.answer_synced(Box::new(move |failed| {
            if failed.is_none() {
                let _ = done.send(());
            }
        }));
        Ok(Some(moved))
    })?
}

/// Queue partitions that are not there any more. A message that was routed goes to the others; one that is to go to a queue stays
/// where it is. Errors: `UnknownQueue`.
fn gone(
    turn: &mut Turn<'_, '_>,
    messages: &[TransferMessage],
) -> Result<BTreeSet<QueuePartitionId>> {
    let mut gone = BTreeSet::new();
    for message in messages {
        for (to, _) in &message.to {
            let round = turn.partition(partition_of(*to));
            if round.is_some_and(|mut round| round.queue_partition(to.queue).is_some()) {
                continue;
            }
            if !message.is_routed() {
                return Err(Error::UnknownQueue);
            }
            gone.insert(*to);
        }
    }
    Ok(gone)
}

/// What each partition gets of the messages, by their places; for a queue in order or not.
fn cut(
    messages: &[&TransferMessage],
    gone: &BTreeSet<QueuePartitionId>,
) -> Cuts<PartitionKey, bool> {
    let mut cuts = Cuts::default();
    for (place, message) in messages.iter().enumerate() {
        let there = message.to.iter().filter(|(to, _)| !gone.contains(to));
        let to = there.map(|(to, target)| {
            let in_order = target.settings().ordering == Ordering::Key;
            (partition_of(*to), in_order)
        });
        let mut to: Vec<_> = to.collect();
        to.sort_unstable();
        cuts.add((place, message.bytes()), &to);
    }
    cuts
}

/// Appends the copies. Batches that are the same for several partitions are written once.
fn copy(
    turn: &mut Turn<'_, '_>,
    cuts: &Cuts<PartitionKey, bool>,
    write: impl Fn(Runs<'_, bool>) -> Batch,
) {
    let mut written = Written::default();
    for (into, batches) in cuts.iter() {
        let Some(mut round) = turn.partition(into) else {
            continue;
        };
        for runs in batches {
            round.append_made_here(written.batch(runs, || write(runs)));
        }
    }
}

/// Goes on with move tasks that ran when the broker stopped.
pub(super) fn resume(inner: &Arc<Inner>) {
    for queue in inner.queues.page("", None, usize::MAX) {
        let unfinished = inner.moves_of(queue.id());
        for task in unfinished {
            spawn_move(inner, queue.id(), task);
        }
    }
}

/// Runs a move task to its end, under supervision.
fn spawn_move(inner: &Arc<Inner>, queue: Uuid, task: Uuid) {
    let owner = inner
        .supervisor
        .owner(format!("move task {task}"), Work::AwaitsDisk);
    let run = run_move(Arc::downgrade(inner), owner.clone(), queue, task);
    tokio::spawn(owner.errand(run));
}

/// Starts a move task; the controller sees to it that there is one at a time.
pub(super) async fn start_move(
    inner: &Arc<Inner>,
    queue: &Arc<Queue>,
    destination: Option<String>,
    rate_max: Option<u32>,
) -> Result<Uuid> {
    if !inner.moves_of(queue.id()).is_empty() {
        return Err(Error::MoveRunning);
    }
    let task = inner.random.fresh_id();
    let at_ms = inner.clock.wall_ms();
    for at in queue_partitions::of_queue(queue) {
        let (upto, to_move) = queue_partitions::inspect(inner, at, |queue_partition| {
            (queue_partition.end(), queue_partition.counts().ready)
        })
        .await?;
        let event = QueueEvent::MoveStarted {
            task,
            at: at_ms,
            upto,
            to_move,
            rate_max: rate_max.unwrap_or(0),
            destination: destination.clone(),
        };
        queue_partitions::commit(inner, at, |round| round.note(at.queue, event)).await?;
    }
    inner.move_runs(queue.id(), task);
    spawn_move(inner, queue.id(), task);
    Ok(task)
}

/// Ends a move task for whatever reason.
pub(super) async fn end_move(
    inner: &Inner,
    queue: &Queue,
    task: Uuid,
    cancelled: bool,
    failure: Option<String>,
) -> Result<()> {
    for at in queue_partitions::of_queue(queue) {
        let event = QueueEvent::MoveEnded {
            task,
            cancelled,
            failure: failure.clone(),
        };
        queue_partitions::commit(inner, at, |round| round.note(at.queue, event)).await?;
    }
    inner.move_over(task);
    Ok(())
}

/// Moves until everything there was at the start is moved, or the task is ended.
async fn run_move(inner: Weak<Inner>, owner: Owner, queue: Uuid, task: Uuid) {
    loop {
        owner.turn();
        let Some(strong) = inner.upgrade() else {
            return;
        };
        let Some(source) = strong.queues.with_id(queue) else {
            return strong.move_over(task);
        };
        match step_move(&strong, &source, task).await {
            Ok(Some(pause)) => {
                drop(strong);
                if !pause.is_zero() {
                    owner.rest();
                    tokio::time::sleep(pause).await;
                }
            }
            // It has ended, or the broker is stopping and the next start goes on.
            Ok(None) | Err(Error::Unavailable) => return,
            Err(error) => {
                let _ = end_move(&strong, &source, task, false, Some(error.to_string())).await;
                // Also when its queue is gone, where there is nothing to end.
                return strong.move_over(task);
            }
        }
    }
}

/// Moves some messages; returns how long to pause, or `None` at the end.
async fn step_move(
    inner: &Arc<Inner>,
    source: &Arc<Queue>,
    task: Uuid,
) -> Result<Option<Duration>> {
    let (running, ended) = queue_partitions_of_move(inner, source, task).await?;
    if let Some(ended) = ended.filter(|_| !running.is_empty()) {
        // A crash came while it was being ended: the other queue partitions end as the first ones did.
        end_move(inner, source, task, ended.cancelled, ended.failure).await?;
        return Ok(None);
    }
    if running.is_empty() {
        inner.move_over(task);
        return Ok(None);
    }
    let mut moved = 0;
    let mut rate_max = 0;
    for (at, moving) in running {
        rate_max = moving.rate_max;
        let share = (u64::from(rate_max) * u64::try_from(STEP.as_millis()).unwrap_or(100)) / 1000;
        let max = match rate_max {
            0 => MESSAGES_MAX,
            _ => usize::try_from(share.max(1)).unwrap_or(1).min(MESSAGES_MAX),
        };
        moved += move_some(inner, (at, source), &moving, max).await?;
    }
    if moved == 0 {
        end_move(inner, source, task, false, None).await?;
        return Ok(None);
    }
    let pause = match rate_max {
        0 => Duration::ZERO,
        rate => Duration::from_secs_f64(moved as f64 / f64::from(rate)),
    };
    Ok(Some(pause))
}

/// The queue partitions a task still takes from, and how it ended in others. A queue partition that has never heard of
/// it has nothing to move: a crash came while it was being started.
async fn queue_partitions_of_move(
    inner: &Inner,
    source: &Queue,
    task: Uuid,
) -> Result<(Vec<(QueuePartitionId, MoveProgress)>, Option<Ended>)> {
    let (mut running, mut ended) = (Vec::new(), None);
    for at in queue_partitions::of_queue(source) {
        let look = move |queue_partition: &delivery::QueuePartition| {
            queue_partition
                .moves()
                .iter()
                .find(|m| m.task == task)
                .cloned()
        };
        match queue_partitions::inspect(inner, at, look).await? {
            Some(moving) if moving.ended.is_some() => ended = moving.ended,
            Some(moving) => running.push((at, moving)),
            None => {}
        }
    }
    Ok((running, ended))
}

async fn move_some(
    inner: &Inner,
    (at, source): (QueuePartitionId, &Arc<Queue>),
    moving: &MoveProgress,
    max: usize,
) -> Result<usize> {
    let upto = moving.upto;
    let offsets = queue_partitions::run(inner, at, |round| round.reserve(at.queue, max, upto))??;
    let outcome = move_reserved(inner, (at, source), moving, &offsets).await;
    if outcome.is_err() {
        unreserve(inner, at, &offsets);
    }
    outcome.map(|()| offsets.len())
}

async fn move_reserved(
    inner: &Inner,
    (at, source): (QueuePartitionId, &Arc<Queue>),
    moving: &MoveProgress,
    offsets: &[u64],
) -> Result<()> {
    let cause = Cause::Moved(moving.task);
    let mut by_target: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for offset in offsets {
        let target = match &moving.destination {
            Some(name) => name.clone(),
            None => match origin(inner, at, *offset).await? {
                Some(name) => name,
                None => continue,
            },
        };
        by_target.entry(target).or_default().push(*offset);
    }
    for (name, offsets) in by_target {
        let target = inner.queues.named(&name);
        let target =
            target.ok_or_else(|| Error::InvalidRequest(format!("there is no queue '{name}'")))?;
        let target = TransferTarget::Queue(target);
        transfer(inner, (at, source), &offsets, &target, &cause).await?;
    }
    Ok(())
}

/// The queue a dead letter comes from; none when it cannot be read, and stays.
async fn origin(inner: &Inner, at: QueuePartitionId, offset: u64) -> Result<Option<String>> {
    let record = match inner.record_at(at, offset).await? {
        Seen::Record(record) => Some(record),
        Seen::Gone => None,
        Seen::Unreadable { upto } => {
            inner.set_unreadable(at, offset, upto);
            return Ok(None);
        }
    };
    let dead = record
        .as_ref()
        .and_then(super::queues::dead_letter)
        .ok_or_else(|| {
            Error::InvalidRequest("not a dead letter: name a queue with `destination`".into())
        })?;
    Ok(Some(dead.queue))
}
