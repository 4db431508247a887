//! Transfers: messages leave one queue for others, as dead letters or by a move task, in one append.
//!
//! All partitions that take part are in one hand for the moment of deciding, appending and applying. Records are read
//! before that, and answers wait for the disk after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use storage::batch::BatchBuilder;
use storage::supervisor::{Owner, Work};
use storage::{Append, Batch, Durability};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::borrow::{Hand, borrow, partition_of};
use super::cuts::{Cuts, Runs, Written};
use super::letters::{Cause, Letter, Whither};
use super::read_ahead::Seen;
use super::{Inner, lanes};
use crate::partition::Decision;
use crate::queue::lane::{self, Ended, LaneEvent, LaneMove};
use crate::queue::{DeathReason, LaneAt, Ordering, Queue};
use crate::shard::{self, Burial, LaneCommand, PartitionAt, Then};
use crate::time::Moment;
use crate::{Error, Result};

/// Groups of dead letters that wait to be moved before receivers have to come upon them again.
pub(super) const BURIALS_MAX: usize = 1024;
/// Messages moved in one append.
const MESSAGES_MAX: usize = 64;
/// Bytes moved in one append; one message may exceed it.
const BYTES_MAX: usize = 1 << 20;
/// Copies made in one append; one message may need more.
const LANES_MAX: usize = 256;
/// Deepest pause between two steps of a rate-limited move.
const STEP: Duration = Duration::from_millis(100);

/// Moves messages that were lent too often, until the broker is gone.
pub(super) async fn bury(inner: Weak<Inner>, owner: Owner, mut burials: mpsc::Receiver<Burial>) {
    loop {
        owner.rest();
        let Some(burial) = burials.recv().await else {
            return;
        };
        owner.turn();
        let (at, offsets, reason) = match burial {
            Burial::Messages {
                at,
                offsets,
                reason,
            } => (at, offsets, reason),
            Burial::Mark(done) => {
                let _ = done.send(());
                continue;
            }
        };
        let Some(inner) = inner.upgrade() else { return };
        let Some(source) = inner.queues.with_id(at.queue) else {
            continue;
        };
        if let Err(error) = bury_some(&inner, (at, &source), &offsets, reason).await {
            tracing::warn!(queue = %source.name, %error, "dead-lettering failed");
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
    let settings = source.settings();
    let whither = match (&settings.dead_letter, &settings.dead_letter_exchange) {
        (Some(policy), _) => {
            let target = inner.queues.named(&policy.queue);
            Whither::Queue(target.ok_or(Error::UnknownQueue)?)
        }
        (None, Some(exchange)) => Whither::Exchange(exchange.clone()),
        (None, None) => return Err(Error::UnknownQueue),
    };
    // A message that came and failed in one moment may not be durable yet, and cannot be read before it is.
    lanes::inspect(inner, at, |_| ()).await?;
    transfer(inner, (at, source), offsets, &whither, Cause::Dead(reason)).await
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
    whither: &Whither,
    cause: Cause,
) -> Result<()> {
    let mut letters: Vec<Letter> = Vec::new();
    let (mut bytes, mut lanes) = (0, 0);
    for offset in offsets {
        let record = match inner.record_at(at, *offset).await? {
            Seen::Record(record) => Some(record),
            Seen::Gone => None,
            // It cannot go anywhere, and stays.
            Seen::Unreadable { upto } => {
                inner.set_unreadable(at, *offset, upto).await;
                continue;
            }
        };
        let letter = Letter::address(inner, source, (*offset, record), whither, cause)?;
        bytes += letter.bytes();
        lanes += letter.to.len();
        letters.push(letter);
        if bytes >= BYTES_MAX || letters.len() >= MESSAGES_MAX || lanes >= LANES_MAX {
            (bytes, lanes) = (0, 0);
            move_together(inner, (at, source), &std::mem::take(&mut letters), cause).await?;
        }
    }
    move_together(inner, (at, source), &letters, cause).await
}

/// Moves messages in one step, and waits until that is durable: nobody may read it before, and the next step is not
/// hurried.
async fn move_together(
    inner: &Inner,
    source: (LaneAt, &Arc<Queue>),
    letters: &[Letter],
    cause: Cause,
) -> Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    match step(inner, source, letters, cause).await? {
        Some(moved) => moved.await.map_err(|_| Error::Unavailable),
        None => Ok(()),
    }
}

/// The moment itself: all partitions in hand, one append. Returns where to wait until it is durable.
async fn step(
    inner: &Inner,
    (at, source): (LaneAt, &Arc<Queue>),
    letters: &[Letter],
    cause: Cause,
) -> Result<Option<oneshot::Receiver<()>>> {
    let from = partition_of(at);
    let into = letters.iter().flat_map(|letter| &letter.to);
    let into = into.map(|(to, _)| partition_of(*to));
    let mut hand = borrow(inner, &into.chain([from]).collect()).await?;
    let now = inner.clock.moment();
    let gone = gone(&mut hand, letters)?;
    let lane = hand.lane(at).ok_or(Error::UnknownQueue)?;
    // Acknowledged or purged in the meantime: nothing to move.
    let letters = letters.iter().filter(|l| lane.lane.is_dying(l.offset));
    let letters: Vec<&Letter> = letters.collect();
    if letters.is_empty() {
        return Ok(None);
    }
    let event = LaneEvent::Left {
        offsets: letters.iter().map(|letter| letter.offset).collect(),
        task: match cause {
            Cause::Dead(_) => None,
            Cause::Moved(task) => Some(task),
        },
    };
    let own = letters.iter().map(|letter| {
        let loan = lane.lane.loan(letter.offset).unwrap_or_default();
        letter.own_headers((at, source, loan.stamped(&inner.clock)), (cause, now))
    });
    let own: Vec<_> = own.collect();
    let (events, end) = lane.stage(&event, at.index, now.now);
    let cuts = cut(&letters, &gone);
    let write = |runs: Runs<'_, bool>| {
        let mut builder = BatchBuilder::new(now.wall.cast_signed()).made_here();
        for (place, in_order) in cuts.messages(runs) {
            letters[place].write(&mut builder, in_order, &own[place], (cause, now));
        }
        builder.build()
    };
    let placed = place(&mut hand, &cuts, now, write)?;
    let mut appends = vec![events];
    appends.extend(placed.iter().map(|(_, append)| append.clone()));
    let lsn = lanes::append_all(&*inner.log, appends)?;
    if let Some(lane) = hand.lane(at) {
        lane.apply_staged(&event, end, lsn);
    }
    if let Some(owned) = hand.partition(from) {
        owned.last_lsn = lsn;
    }
    if matches!(cause, Cause::Dead(_)) {
        source.numbers.dead_lettered(letters.len() as u64);
    }
    let reached = (lsn, Durability::Sync);
    for (into, append) in placed {
        let owned = hand.partition(into);
        let upto = owned.map(|owned| owned.accept(Some(&append.batch), reached, now));
        let answer = None;
        hand.then(
            into,
            Then {
                reached,
                upto,
                answer,
            },
        );
    }
    let (done, moved) = oneshot::channel();
    let answer = move || {
        let _ = done.send(());
    };
    hand.answer(from, reached, Box::new(answer));
    Ok(Some(moved))
}

/// Lanes that are not there any more. A message that was routed goes to the others; one that is to go to a queue stays
/// where it is. Errors: `UnknownQueue`.
fn gone(hand: &mut Hand, letters: &[Letter]) -> Result<BTreeSet<LaneAt>> {
    let mut gone = BTreeSet::new();
    for letter in letters {
        for (to, _) in &letter.to {
            if hand.lane(*to).is_some() {
                continue;
            }
            if !letter.is_routed() {
                return Err(Error::UnknownQueue);
            }
            gone.insert(*to);
        }
    }
    Ok(gone)
}

/// What each partition gets of the messages, by their places; for a queue in order or not.
fn cut(letters: &[&Letter], gone: &BTreeSet<LaneAt>) -> Cuts<PartitionAt, bool> {
    let mut cuts = Cuts::default();
    for (place, letter) in letters.iter().enumerate() {
        let there = letter.to.iter().filter(|(to, _)| !gone.contains(to));
        let to = there.map(|(to, target)| {
            let in_order = target.settings().ordering == Ordering::Key;
            (partition_of(*to), in_order)
        });
        let mut to: Vec<_> = to.collect();
        to.sort_unstable();
        cuts.add((place, letter.bytes()), &to);
    }
    cuts
}

/// Gives batches their places. Those that are the same for several partitions are written once.
fn place(
    hand: &mut Hand,
    cuts: &Cuts<PartitionAt, bool>,
    now: Moment,
    write: impl Fn(Runs<'_, bool>) -> Batch,
) -> Result<Vec<(PartitionAt, Append)>> {
    let mut written = Written::default();
    let mut placed = Vec::with_capacity(cuts.len());
    for (into, batches) in cuts.iter() {
        let owned = hand.partition(into).ok_or(Error::UnknownPartition)?;
        let stream = owned.partition.records();
        let mut base = owned.ledger.end;
        for runs in batches {
            let batch = written.batch(runs, || write(runs));
            let decided = owned
                .ledger
                .decide_at(base, batch, &owned.config, now.wall)?;
            if let Decision::Append(batch) = decided {
                base = batch.header.next_offset();
                placed.push((into, Append { stream, batch }));
            }
        }
    }
    Ok(placed)
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
    let task = inner.dice.fresh_id();
    let at_ms = inner.clock.wall_ms();
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
        let whither = Whither::Queue(target);
        transfer(inner, (at, source), &offsets, &whither, cause).await?;
    }
    Ok(())
}

/// The queue a dead letter comes from; none when it cannot be read, and stays.
async fn origin(inner: &Inner, at: LaneAt, offset: u64) -> Result<Option<String>> {
    let record = match inner.record_at(at, offset).await? {
        Seen::Record(record) => Some(record),
        Seen::Gone => None,
        Seen::Unreadable { upto } => {
            inner.set_unreadable(at, offset, upto).await;
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
