//! Transfers: messages leave one queue for another, as dead letters or by a move task, in one append.
//!
//! Two partitions take part, usually of different owners, who lend them for the moment of deciding, appending and
//! applying. Records are read before that, and answers wait for the disk after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use storage::batch::{BatchBuilder, Record};
use storage::{Append, Durability};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::borrow::{borrow, partition_of};
use super::{Inner, lanes};
use crate::partition::Decision;
use crate::queue::lane::{self, Ended, LaneEvent, LaneMove, message_id};
use crate::queue::{DeadLetter, DeathReason, LaneAt, Ordering, Queue};
use crate::shard::{self, Burial, LaneCommand, Then};
use crate::{Error, Result};

/// Groups of dead letters that wait to be moved before receivers have to come upon them again.
pub(super) const BURIALS_MAX: usize = 1024;
/// Messages moved in one append.
const MESSAGES_MAX: usize = 64;
/// Bytes moved in one append; one message may exceed it.
const BYTES_MAX: usize = 1 << 20;
/// Deepest pause between two steps of a rate-limited move.
const STEP: Duration = Duration::from_millis(100);

/// Why messages leave.
#[derive(Debug, Clone, Copy)]
enum Cause {
    /// It died.
    Dead(DeathReason),
    /// A move task.
    Moved(Uuid),
}

/// Moves messages that were lent too often, until the broker is gone.
pub(super) async fn bury(inner: Weak<Inner>, mut burials: mpsc::Receiver<Burial>) {
    while let Some(burial) = burials.recv().await {
        let Burial {
            at,
            offsets,
            reason,
        } = burial;
        let Some(inner) = inner.upgrade() else { return };
        let Some(source) = inner.queues.with_id(at.queue) else {
            continue;
        };
        if let Err(error) = bury_some(&inner, (at, &source), &offsets, reason).await {
            tracing::warn!(queue = %source.name, %error, "dead letters stay where they are");
            take_back(&inner, at, offsets).await;
        }
    }
}

async fn bury_some(
    inner: &Inner,
    (at, source): (LaneAt, &Arc<Queue>),
    offsets: &[u64],
    reason: DeathReason,
) -> Result<()> {
    let target = source.settings().dead_letter.as_ref();
    let target = target.and_then(|policy| inner.queues.named(&policy.queue));
    let target = target.ok_or(Error::UnknownQueue)?;
    // A message that came and failed in one moment may not be durable yet, and cannot be read before it is.
    lanes::inspect(inner, at, |_| ()).await?;
    transfer(inner, (at, source), offsets, &target, Cause::Dead(reason)).await
}

/// What did not leave is ready again.
async fn take_back(inner: &Inner, at: LaneAt, offsets: Vec<u64>) {
    let command = LaneCommand::TakeBack { offsets };
    let _ = lanes::tell(inner, at, shard::Command::Lane { at, command }).await;
}

/// Moves messages that were set aside. Those already moved stay moved when an error ends it.
async fn transfer(
    inner: &Inner,
    (at, source): (LaneAt, &Arc<Queue>),
    offsets: &[u64],
    target: &Arc<Queue>,
    cause: Cause,
) -> Result<()> {
    if target.document.topic == source.document.topic {
        return Err(Error::InvalidRequest(
            "a queue cannot move messages to a queue of its own topic".into(),
        ));
    }
    let mut shares: BTreeMap<u32, Vec<(u64, Option<Record>)>> = BTreeMap::new();
    let (mut bytes, mut count) = (0, 0);
    for offset in offsets {
        let record = inner.record_at(at, *offset).await?;
        bytes += record.as_ref().map_or(0, size);
        count += 1;
        let key = record.as_ref().and_then(|record| record.key.as_deref());
        let lane = super::queues::lane_of(target, key, *offset);
        shares.entry(lane).or_default().push((*offset, record));
        if bytes >= BYTES_MAX || count >= MESSAGES_MAX {
            (bytes, count) = (0, 0);
            move_shares(inner, (at, source), &mut shares, target, cause).await?;
        }
    }
    move_shares(inner, (at, source), &mut shares, target, cause).await
}

fn size(record: &Record) -> usize {
    let headers = record.headers.iter();
    let headers: usize = headers
        .map(|(n, v)| n.len() + v.as_ref().map_or(0, bytes::Bytes::len))
        .sum();
    headers + record.value.as_ref().map_or(0, bytes::Bytes::len)
}

type Shares = BTreeMap<u32, Vec<(u64, Option<Record>)>>;

async fn move_shares(
    inner: &Inner,
    (at, source): (LaneAt, &Arc<Queue>),
    shares: &mut Shares,
    target: &Arc<Queue>,
    cause: Cause,
) -> Result<()> {
    for (index, share) in std::mem::take(shares) {
        let to = LaneAt {
            topic: target.document.topic,
            index,
            queue: target.id(),
        };
        if let Some(moved) = step(inner, (at, source), &share, (to, target), cause).await? {
            moved.await.map_err(|_| Error::Unavailable)?;
        }
    }
    Ok(())
}

/// The moment itself: both partitions in hand, one append. Returns where to wait until it is durable.
async fn step(
    inner: &Inner,
    (at, source): (LaneAt, &Arc<Queue>),
    share: &[(u64, Option<Record>)],
    (to, target): (LaneAt, &Arc<Queue>),
    cause: Cause,
) -> Result<Option<oneshot::Receiver<()>>> {
    let (from, into) = (partition_of(at), partition_of(to));
    let mut hand = borrow(inner, &BTreeSet::from([from, into])).await?;
    let now = inner.clock.now_ms();
    let lane = hand.lane(at).ok_or(Error::UnknownQueue)?;
    // Acknowledged or purged in the meantime: nothing to move.
    let share: Vec<_> = share
        .iter()
        .filter(|(offset, _)| lane.lane.is_dying(*offset))
        .collect();
    if share.is_empty() {
        return Ok(None);
    }
    let records: Vec<&Record> = share.iter().filter_map(|(_, r)| r.as_ref()).collect();
    let event = LaneEvent::Left {
        offsets: share.iter().map(|(offset, _)| *offset).collect(),
        task: match cause {
            Cause::Dead(_) => None,
            Cause::Moved(task) => Some(task),
        },
    };
    let built =
        (!records.is_empty()).then(|| rewrite(&records, (at, source, lane), target, cause, now));
    let (events, end) = lane.stage(&event, at.index, now);
    let mut appends = vec![events];
    let owned = hand.partition(into).ok_or(Error::UnknownPartition)?;
    let mut batch = None;
    if let Some(built) = built
        && let Decision::Append(placed) = owned.ledger.decide(built, &owned.config, now)?
    {
        appends.push(Append {
            stream: owned.partition.records(),
            batch: placed.clone(),
        });
        batch = Some(placed);
    }
    let lsn = lanes::append_all(&*inner.log, appends)?;
    if let Some(owned) = hand.partition(from) {
        owned.last_lsn = lsn;
    }
    if let Some(lane) = hand.lane(at) {
        lane.apply_staged(&event, end, lsn);
    }
    if matches!(cause, Cause::Dead(_)) {
        source.numbers.dead_lettered(share.len() as u64);
    }
    let upto = hand
        .partition(into)
        .map(|owned| owned.accept(batch.as_ref(), lsn, now));
    let (done, moved) = oneshot::channel();
    let then = Then {
        reached: (lsn, Durability::Sync),
        upto,
        answer: Some(Box::new(move || {
            let _ = done.send(());
        })),
    };
    hand.then(into, then);
    Ok(Some(moved))
}

/// The records as the target gets them: with where they come from, or as new when they are moved.
fn rewrite(
    records: &[&Record],
    (at, source, lane): (LaneAt, &Queue, &shard::OwnedLane),
    target: &Queue,
    cause: Cause,
    now: u64,
) -> storage::Batch {
    let restarts = matches!(cause, Cause::Moved(_)) || target.settings().ordering == Ordering::Key;
    let mut builder = BatchBuilder::new(now.cast_signed()).made_here();
    for record in records {
        let timestamp = if restarts {
            now.cast_signed()
        } else {
            record.timestamp
        };
        let own = own_headers(record, (at, source, lane), cause, now);
        let kept = record.headers.iter().filter(|(name, _)| {
            let engine = lane::is_reserved_by_engine(name);
            let stays = name == lane::PRIORITY || name == lane::VIA;
            !engine || stays || (name == lane::DEDUP && keeps_id(cause))
        });
        let headers: Vec<(&[u8], Option<&[u8]>)> = kept
            .map(|(name, value)| (&name[..], value.as_deref()))
            .chain(own.iter().map(|(name, value)| (*name, Some(&value[..]))))
            .collect();
        builder.push_record(
            timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            headers.iter().copied(),
        );
    }
    builder.build()
}

fn keeps_id(cause: Cause) -> bool {
    matches!(cause, Cause::Dead(_))
}

fn own_headers(
    record: &Record,
    (at, source, lane): (LaneAt, &Queue, &shard::OwnedLane),
    cause: Cause,
    now: u64,
) -> Vec<(&'static [u8], Vec<u8>)> {
    let find = |name: &[u8]| {
        let found = record.headers.iter().find(|(n, _)| n == name);
        found.and_then(|(_, value)| value.clone())
    };
    let id = find(lane::ID).map_or_else(
        || {
            message_id(at.topic, at.index, record.offset)
                .as_bytes()
                .to_vec()
        },
        |id| id.to_vec(),
    );
    match cause {
        // Moved messages are new ones; in a queue with deduplication the old identity keeps them apart.
        Cause::Moved(_) => match find(lane::DEDUP) {
            Some(_) => {
                let id = Uuid::from_slice(&id).unwrap_or_default();
                vec![(lane::DEDUP, id.to_string().into_bytes())]
            }
            None => Vec::new(),
        },
        Cause::Dead(reason) => {
            let loan = lane.lane.loan(record.offset).unwrap_or_default();
            let attempts = loan.lent;
            let before =
                find(lane::ATTEMPTS).and_then(|n| Some(u32::from_be_bytes(n[..].try_into().ok()?)));
            let total = before.unwrap_or(0).saturating_add(attempts);
            let dead = DeadLetter {
                queue: source.name.to_string(),
                reason: reason.word().to_owned(),
                sequence: record.offset,
                attempts,
                sent_ms: u64::try_from(record.timestamp).unwrap_or(0),
                first_received_ms: loan.first_ms,
                last_received_ms: loan.last_ms,
                dead_ms: now,
            };
            let dead = serde_json::to_vec(&dead).unwrap_or_default();
            vec![
                (lane::ID, id),
                (lane::ATTEMPTS, total.to_be_bytes().to_vec()),
                (lane::DEAD, dead),
            ]
        }
    }
}

/// Goes on with move tasks that ran when the broker stopped.
pub(super) fn resume(inner: &Arc<Inner>) {
    for queue in inner.queues.page("", None, usize::MAX) {
        let unfinished = inner.moves_of(queue.id());
        for task in unfinished {
            tokio::spawn(run_move(Arc::downgrade(inner), queue.id(), task));
        }
    }
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
    let task = inner.dice.fresh_id();
    let at_ms = inner.clock.now_ms();
    for at in lanes::lanes(queue) {
        let (upto, to_move) =
            lanes::inspect(inner, at, |lane| (lane.end(), lane.counts().ready)).await?;
        let event = LaneEvent::MoveStarted {
            task,
            at: at_ms,
            upto,
            to_move,
            rate_max: rate_max.unwrap_or(0),
            destination: destination.clone(),
        };
        lanes::ask(inner, at, |done| LaneCommand::Note { event, done }).await?;
    }
    inner.move_runs(queue.id(), task);
    tokio::spawn(run_move(Arc::downgrade(inner), queue.id(), task));
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
    for at in lanes::lanes(queue) {
        let event = LaneEvent::MoveEnded {
            task,
            cancelled,
            failure: failure.clone(),
        };
        lanes::ask(inner, at, |done| LaneCommand::Note { event, done }).await?;
    }
    inner.move_over(task);
    Ok(())
}

/// Moves until everything there was at the start is moved, or the task is ended.
async fn run_move(inner: Weak<Inner>, queue: Uuid, task: Uuid) {
    loop {
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
    let (running, ended) = lanes_of_move(inner, source, task).await?;
    if let Some(ended) = ended.filter(|_| !running.is_empty()) {
        // A crash came while it was being ended: the other lanes end as the first ones did.
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

/// The lanes a task still takes from, and how it ended in others. A lane that has never heard of it has nothing to move:
/// a crash came while it was being started.
async fn lanes_of_move(
    inner: &Inner,
    source: &Queue,
    task: Uuid,
) -> Result<(Vec<(LaneAt, LaneMove)>, Option<Ended>)> {
    let (mut running, mut ended) = (Vec::new(), None);
    for at in lanes::lanes(source) {
        let look = move |lane: &lane::Lane| lane.moves().iter().find(|m| m.task == task).cloned();
        match lanes::inspect(inner, at, look).await? {
            Some(moving) if moving.ended.is_some() => ended = moving.ended,
            Some(moving) => running.push((at, moving)),
            None => {}
        }
    }
    Ok((running, ended))
}

async fn move_some(
    inner: &Inner,
    (at, source): (LaneAt, &Arc<Queue>),
    moving: &LaneMove,
    max: usize,
) -> Result<usize> {
    let upto = moving.upto;
    let set_aside = |done| LaneCommand::SetAside { max, upto, done };
    let offsets = lanes::ask(inner, at, set_aside).await?;
    let outcome = move_set_aside(inner, (at, source), moving, &offsets).await;
    if outcome.is_err() {
        take_back(inner, at, offsets.clone()).await;
    }
    outcome.map(|()| offsets.len())
}

async fn move_set_aside(
    inner: &Inner,
    (at, source): (LaneAt, &Arc<Queue>),
    moving: &LaneMove,
    offsets: &[u64],
) -> Result<()> {
    let cause = Cause::Moved(moving.task);
    let mut by_target: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for offset in offsets {
        let target = match &moving.destination {
            Some(name) => name.clone(),
            None => origin(inner, at, *offset).await?,
        };
        by_target.entry(target).or_default().push(*offset);
    }
    for (name, offsets) in by_target {
        let target = inner.queues.named(&name);
        let target =
            target.ok_or_else(|| Error::InvalidRequest(format!("there is no queue '{name}'")))?;
        transfer(inner, (at, source), &offsets, &target, cause).await?;
    }
    Ok(())
}

/// The queue a dead letter comes from.
async fn origin(inner: &Inner, at: LaneAt, offset: u64) -> Result<String> {
    let record = inner.record_at(at, offset).await?;
    let dead = record
        .as_ref()
        .and_then(super::queues::dead_letter)
        .ok_or_else(|| Error::InvalidRequest("a message has no source to go back to".into()))?;
    Ok(dead.queue)
}
