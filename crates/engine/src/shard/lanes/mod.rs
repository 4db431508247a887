//! What a shard does to the lanes of its partitions: lend, settle, let time pass.
//!
//! A command is decided and applied at once. Its events are gathered until the mailbox has been gone through, and
//! appended together: one append carries the loans and acknowledgements of all that came at the same time, and the
//! answers wait for it.

mod consumers;
mod limits;
mod of_partition;
mod owned;
mod room;
mod verbs;

pub(crate) use consumers::{ConsumerCommand, Outcomes};
pub(crate) use of_partition::Lanes;
pub(crate) use owned::OwnedLane;
pub(crate) use owned::Readable;
pub(super) use owned::{keep_ids, readable, snapshot_lanes};
pub(super) use room::check as check_room;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use storage::{Append, Durability, Lsn, Trim};
use tokio::sync::{mpsc, oneshot};

use self::owned::forget_done;
use self::verbs::{configure, lend, outdate, replay, set_aside, settle, undo};
use super::pending::{Reply, Waiting};
use super::{Burial, Command, Shard};
use crate::queue::lane::{Counts, Lane, LaneEvent, Loan};
use crate::queue::{DeathReason, LaneAt, Loans, Ordering, Poll, Queue, Settle, Settled, Undone};
use crate::{Error, Result};

/// Done messages that make it worth telling the log that it may forget them.
const TRIM_STEP: u64 = 64;

/// How long nothing is sent away after something could not leave, ms.
const PATIENCE_MS: u64 = 1000;

/// Answers that depend on the events gathered: called with what went wrong, if anything did.
type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// What lanes of a shard wait for, and what they have to say.
#[derive(Default)]
pub(super) struct LaneTable {
    /// When which lane wants to be looked at.
    due: BTreeSet<(u64, LaneAt)>,
    /// Receivers that wait, by the end of their patience.
    waiting: BTreeMap<(u64, u64), Arc<Poll>>,
    polls: u64,
    /// Lanes with something to append, to lend or to schedule.
    gathered: Vec<LaneAt>,
    answers: Vec<Answer>,
    /// Answers that wait for no sync.
    quick: Vec<Answer>,
    /// A start has restored all queues. Before that nothing is forgotten: a queue that is not restored yet may need it.
    are_restored: bool,
}

impl LaneTable {
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let due = self.due.first().map(|(due, _)| *due);
        let impatient = self.waiting.first_key_value().map(|((due, _), _)| *due);
        due.into_iter().chain(impatient).min()
    }
}

/// What a lane can be asked.
pub(crate) enum LaneCommand {
    /// Lends messages to a receiver; with `park` it may wait for them.
    Receive { poll: Arc<Poll>, park: bool },
    /// Settles messages on loan.
    Settle {
        settles: Vec<(u64, u64, Settle)>,
        chance: f64,
        done: oneshot::Sender<Result<Vec<Settled>>>,
    },
    /// Takes loans back that reached nobody.
    Undo { loans: Vec<Loan> },
    /// Drops all messages.
    Purge { done: oneshot::Sender<Result<()>> },
    /// Makes acknowledged messages from an offset on ready again; answers how many.
    Replay {
        from: u64,
        done: oneshot::Sender<Result<u64>>,
    },
    /// Drops what is ready and older than its queue keeps messages.
    Outdate { before: u64 },
    /// Says how full it is.
    Depth {
        done: oneshot::Sender<Result<Counts>>,
    },
    /// Has the settings of its queue changed.
    Configure { queue: Arc<Queue> },
    /// Sets ready messages before `upto` aside for a transfer.
    SetAside {
        max: usize,
        upto: u64,
        done: oneshot::Sender<Result<Vec<u64>>>,
    },
    /// Gives up setting them aside.
    TakeBack { offsets: Vec<u64> },
    /// Messages of a range cannot be read.
    Unreadable { from: u64, upto: u64 },
    /// Appends events that concern move tasks.
    Note {
        event: LaneEvent,
        done: oneshot::Sender<Result<()>>,
    },
    /// What a connected consumer asks.
    Consumer(ConsumerCommand),
    /// Looks at it; what is returned is called when everything seen is durable.
    Inspect(InspectLane),
    /// Gives it up with its log.
    Close { done: oneshot::Sender<Result<()>> },
}

/// Looks at a lane, and returns what to do once what was seen is durable.
pub(crate) type InspectLane = Box<dyn FnOnce(&Lane) -> Box<dyn FnOnce() + Send> + Send>;

/// Gives loans back through the mailbox of the shard that lent them.
#[derive(Debug, Clone)]
struct ThroughMailbox(mpsc::WeakSender<Command>);

impl Undone for ThroughMailbox {
    fn undo(&self, at: LaneAt, loans: Vec<Loan>) {
        let Some(mailbox) = self.0.upgrade() else {
            return;
        };
        let command = Command::Lane {
            at,
            command: LaneCommand::Undo { loans },
        };
        let Err(mpsc::error::TrySendError::Full(command)) = mailbox.try_send(command) else {
            return;
        };
        // Dropped where nobody can wait: somebody else does.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { mailbox.send(command).await });
        }
    }
}

impl Shard {
    pub(super) fn lane_command(&mut self, at: LaneAt, command: LaneCommand) {
        let command = match command {
            LaneCommand::Close { done } => return self.close_lane(at, done),
            LaneCommand::Consumer(command) => return self.consumer_command(at, command),
            other => other,
        };
        let now = self.clock.now_ms();
        if matches!(command, LaneCommand::Depth { .. }) {
            self.let_time_pass(at, now);
            self.offer_fresh(at, now);
            self.enforce_age(at, (now, true));
        }
        let Some(owned) = self.partitions.lane(at) else {
            return refuse(command);
        };
        let mut answer: Option<Answer> = None;
        match command {
            LaneCommand::Receive { poll, park } => {
                answer = self.receive(at, &poll, park, now);
            }
            LaneCommand::Settle {
                settles,
                chance,
                done,
            } => {
                let settled = settle(owned, &settles, now, chance);
                answer = Some(answering(done, settled));
            }
            LaneCommand::Undo { loans } => undo(owned, &loans),
            LaneCommand::Purge { done } => {
                let before = owned.lane.end();
                owned.change(LaneEvent::Purged { before }, None);
                answer = Some(answering(done, ()));
            }
            LaneCommand::Outdate { before } => outdate(owned, before),
            LaneCommand::Replay { from, done } => match replay(owned, from, now) {
                Ok(count) => answer = Some(answering(done, count)),
                Err(error) => drop(done.send(Err(error))),
            },
            LaneCommand::Depth { done } => drop(done.send(Ok(owned.lane.counts()))),
            LaneCommand::Configure { queue } => configure(owned, queue, now),
            LaneCommand::SetAside { max, upto, done } => {
                drop(done.send(Ok(set_aside(owned, max, upto, now))));
            }
            LaneCommand::TakeBack { offsets } => {
                owned.lane.take_back(&offsets);
                owned.patient_until = now + PATIENCE_MS;
            }
            LaneCommand::Unreadable { from, upto } => {
                if let Some(event) = owned.lane.unreadable_event(from, upto) {
                    owned.change(event, None);
                }
            }
            LaneCommand::Note { event, done } => {
                owned.change(event, None);
                answer = Some(answering(done, ()));
            }
            LaneCommand::Inspect(inspect) => {
                let then = inspect(&owned.lane);
                answer = Some(Box::new(move |_| then()));
            }
            LaneCommand::Close { .. } | LaneCommand::Consumer(_) => {
                unreachable!("handled above")
            }
        }
        self.answers_of(at, true).extend(answer);
        // What is asked next must not see more than there may be.
        self.enforce_counts(at, now);
        self.gather(at);
    }

    /// Loans run out, delays end, and what failed too often by it dies.
    fn let_time_pass(&mut self, at: LaneAt, now: u64) {
        if let Some(owned) = self.partitions.lane(at) {
            owned.lane.tick(now);
        }
        self.enforce_counts(at, now);
    }

    /// Where answers about a lane wait: those that rest on its events, and those that rest on its records alone.
    fn answers_of(&mut self, at: LaneAt, on_events: bool) -> &mut Vec<Answer> {
        let (_, durability) = self.partitions.newest((at.topic, at.index), self.durable);
        let lane = self.partitions.lane(at);
        let is_kept = on_events && lane.is_some_and(|lane| !lane.is_transient());
        if durability == Durability::Flush && !is_kept {
            &mut self.lanes.quick
        } else {
            &mut self.lanes.answers
        }
    }

    /// Remembers that a lane has something to append, to lend or to schedule.
    pub(super) fn gather(&mut self, at: LaneAt) {
        if let Some(owned) = self.partitions.lane(at)
            && !std::mem::replace(&mut owned.gathered, true)
        {
            self.lanes.gathered.push(at);
        }
    }

    /// Lends to a receiver, or lets it wait, or tells it that there is nothing.
    fn receive(&mut self, at: LaneAt, poll: &Arc<Poll>, park: bool, now: u64) -> Option<Answer> {
        if !poll.is_open() {
            return None;
        }
        let mailbox = self.mailbox.clone();
        self.let_time_pass(at, now);
        self.enforce_age(at, (now, false));
        self.offer_fresh(at, now);
        let owned = self.partitions.lane(at)?;
        match lend(owned, poll, now) {
            Ok(mut lent) => {
                let dying = std::mem::take(&mut lent.dying);
                if !dying.is_empty() {
                    self.bury(at, dying, DeathReason::Attempts);
                }
                if !lent.loans.is_empty() {
                    let loans = lent.hand_out(at, Box::new(ThroughMailbox(mailbox)));
                    return hand_over(poll, loans);
                }
            }
            Err(error) => {
                let answer = poll.claim()?;
                return Some(Box::new(move |_| drop(answer.send(Err(error)))));
            }
        }
        let deadline = if park {
            poll.deadline
        } else if let Some(owned) = self.partitions.lane(at).filter(|o| awaits_leaving(o)) {
            owned.short_polls += 1;
            now + PATIENCE_MS
        } else {
            // Nothing is claimed by it, so nothing has to wait.
            let answer = poll.claim()?;
            drop(answer.send(Ok(Loans::none(at))));
            return None;
        };
        self.lanes.polls += 1;
        let number = self.lanes.polls;
        self.lanes
            .waiting
            .insert((deadline, number), Arc::clone(poll));
        let owned = self.partitions.lane(at)?;
        // An idle queue would otherwise collect one dead entry per poll.
        if owned.polls.len() == owned.polls.capacity() {
            owned.polls.retain(|poll| poll.is_open());
        }
        owned.polls.push_back(Arc::clone(poll));
        None
    }

    /// Hands messages that have to leave to whoever moves them.
    fn bury(&mut self, at: LaneAt, dying: Vec<u64>, reason: DeathReason) {
        let Some(owned) = self.partitions.lane(at) else {
            return;
        };
        owned.lane.set_aside(&dying);
        match self.burials.try_reserve() {
            Ok(room) => room.send(Burial::Messages {
                at,
                offsets: dying,
                reason,
            }),
            // They are found again with the next receive.
            Err(_) => owned.lane.take_back(&dying),
        }
    }

    /// Lets time pass: loans run out, delays end, receivers lose patience.
    pub(super) fn tick_lanes(&mut self) {
        let now = self.clock.now_ms();
        while let Some((due, at)) = self
            .lanes
            .due
            .first()
            .copied()
            .filter(|(due, _)| *due <= now)
        {
            self.lanes.due.remove(&(due, at));
            if let Some(owned) = self.partitions.lane(at) {
                owned.scheduled = None;
                owned.lane.tick(now);
                self.gather(at);
            }
        }
        while let Some(((deadline, number), _)) = self.lanes.waiting.first_key_value() {
            let key = (*deadline, *number);
            if key.0 > now {
                break;
            }
            if let Some(poll) = self.lanes.waiting.remove(&key)
                && let Some(answer) = poll.claim()
            {
                let nowhere = LaneAt::default();
                drop(answer.send(Ok(Loans::none(nowhere))));
            }
        }
    }

    /// Ends a round: serves who waits, appends all events together, and queues the answers behind them.
    pub(super) fn finish_lanes(&mut self) {
        let now = self.clock.now_ms();
        let gathered = std::mem::take(&mut self.lanes.gathered);
        let mut appends = Vec::new();
        for at in &gathered {
            if let Some(owned) = self.partitions.lane(*at) {
                owned.lane.tick(now);
            }
            self.enforce_failures(*at);
            // What is too old is not lent, also where it cannot leave at the moment. Who waits for a message gets it when it
            // comes, also one that lives no longer than that, or that its queue has no room for.
            if self.enforce_age(*at, (now, false)) {
                self.serve(*at, now);
            }
            if let Some(owned) = self.partitions.lane(*at) {
                owned.lane.offered();
                owned.unoffered = false;
            }
            self.enforce_age(*at, (now, true));
            self.enforce_counts(*at, now);
            if let Some(owned) = self.partitions.lane(*at) {
                owned.gathered = false;
                appends.extend(owned.take_batch(at.index, now).map(|append| (*at, append)));
            }
        }
        let (mut lsn, failed) = match self.append_events(appends) {
            Ok(lsn) => (lsn, None),
            Err(error) => (Lsn(0), Some(error)),
        };
        let mut flushed = Lsn(0);
        for at in &gathered {
            // What was decided without a change, or lent without an event, may rest on what is not durable yet.
            let of = (at.topic, at.index);
            let (newest, durability) = self.partitions.newest(of, self.durable);
            lsn = lsn.max(newest);
            if durability == Durability::Flush {
                flushed = flushed.max(newest);
            }
            if let Some(owned) = self.partitions.lane(*at) {
                lsn = lsn.max(owned.last_lsn);
            }
            self.settle_down(*at, now);
        }
        let quick = std::mem::take(&mut self.lanes.quick);
        self.answer_lanes((flushed, Durability::Flush), quick, failed.clone());
        let answers = std::mem::take(&mut self.lanes.answers);
        self.answer_lanes((lsn, Durability::Sync), answers, failed);
        self.lanes.gathered = gathered;
        self.lanes.gathered.clear();
    }

    fn answer_lanes(
        &mut self,
        wait_for: (Lsn, Durability),
        answers: Vec<Answer>,
        failed: Option<Error>,
    ) {
        if answers.is_empty() {
            return;
        }
        let send = move || {
            for answer in answers {
                answer(failed.clone());
            }
        };
        let waiting = Waiting {
            grown: Vec::new(),
            answer: Reply::Call(Box::new(send)),
        };
        self.answer_at(wait_for, waiting);
    }

    /// Appends the events of all lanes that have some, as one.
    fn append_events(&mut self, appends: Vec<(LaneAt, Append)>) -> Result<Lsn> {
        if appends.is_empty() {
            return Ok(Lsn(0));
        }
        let ends = appends
            .iter()
            .map(|(at, append)| (*at, append.batch.header.next_offset()));
        let ends: Vec<_> = ends.collect();
        let appends = appends.into_iter().map(|(_, append)| append).collect();
        let lsn = self.log.append(appends, Durability::Vital)?;
        for (at, end) in ends {
            if let Some(owned) = self.partitions.lane(at) {
                owned.appended(end, lsn);
            }
        }
        Ok(lsn)
    }

    /// Lends to those who wait, as long as there is something.
    pub(super) fn serve(&mut self, at: LaneAt, now: u64) {
        self.serve_polls(at, now);
        self.end_short_polls(at, now);
        self.serve_consumers(at, now);
    }

    /// Answers receivers who only waited for messages to leave, once those have left and nothing has come of it.
    fn end_short_polls(&mut self, at: LaneAt, now: u64) {
        let Some(owned) = self.partitions.lane(at) else {
            return;
        };
        if owned.short_polls == 0 || awaits_leaving(owned) {
            return;
        }
        owned.short_polls = 0;
        let polls = std::mem::take(&mut owned.polls).into_iter();
        let (over, waiting): (VecDeque<_>, _) = polls.partition(|poll| poll.deadline <= now);
        owned.polls = waiting;
        for answer in over.iter().filter_map(|poll| poll.claim()) {
            drop(answer.send(Ok(Loans::none(at))));
        }
    }

    fn serve_polls(&mut self, at: LaneAt, now: u64) {
        while let Some(owned) = self.partitions.lane(at)
            && owned.lane.counts().ready > 0
            && let Some(poll) = owned.polls.pop_front()
        {
            if !poll.is_open() {
                continue;
            }
            let mailbox = self.mailbox.clone();
            let Ok(mut lent) = lend(owned, &poll, now) else {
                owned.polls.push_front(poll);
                return;
            };
            let dying = std::mem::take(&mut lent.dying);
            let nothing = lent.loans.is_empty() && dying.is_empty();
            if lent.loans.is_empty() {
                owned.polls.push_front(poll);
            } else {
                let loans = lent.hand_out(at, Box::new(ThroughMailbox(mailbox)));
                self.answers_of(at, true).extend(hand_over(&poll, loans));
            }
            if !dying.is_empty() {
                self.bury(at, dying, DeathReason::Attempts);
            }
            if nothing {
                return;
            }
        }
    }

    /// Schedules a lane, and takes a snapshot and lets the log forget when that pays.
    fn settle_down(&mut self, at: LaneAt, now: u64) {
        let log = Arc::clone(&self.log);
        let Some(owned) = self.partitions.lane(at) else {
            return;
        };
        owned.lane.expire_kept(now, owned.queue.settings());
        owned.show();
        if owned.wants_snapshot() {
            owned.snapshot(&*log, at.index, now);
        }
        let due = owned.next_due();
        if due != owned.scheduled {
            if let Some(old) = owned.scheduled {
                self.lanes.due.remove(&(old, at));
            }
            if let Some(due) = due {
                self.lanes.due.insert((due, at));
            }
            owned.scheduled = due;
        }
        if !self.lanes.are_restored {
            return;
        }
        if let Some(partition) = self.partitions.here(at.topic, at.index) {
            partition.lanes.freshen();
            forget_done(partition, &*log, TRIM_STEP, now);
        }
    }

    /// All queues are here: they serve from now on, and readers by offset see what is left for them.
    pub(super) fn queues_restored(&mut self, done: oneshot::Sender<()>) {
        self.lanes.are_restored = true;
        for (topic, index) in self.partitions.keys() {
            self.gather_all(topic, index);
        }
        self.upkeep_lanes();
        let _ = done.send(());
    }

    /// Takes a lane over, unless its partition has records it does not know of: then it is given back.
    /// That of a new queue is answered when what it begins with is durable.
    pub(super) fn open_lane(
        &mut self,
        at: LaneAt,
        mut lane: Box<OwnedLane>,
        done: oneshot::Sender<Option<Box<OwnedLane>>>,
    ) {
        let Some(owned) = self.partitions.here(at.topic, at.index) else {
            let _ = done.send(None);
            return;
        };
        if lane.lane.end() < owned.ledger.end {
            let _ = done.send(Some(lane));
            return;
        }
        lane.lane.stop_restoring();
        lane.lane.tick(self.clock.now_ms());
        let has_work = !lane.is_fresh();
        owned.lanes.add(lane);
        if !has_work || !self.lanes.are_restored {
            let _ = done.send(None);
            return;
        }
        let answer = move |failed: Option<Error>| {
            if failed.is_none() {
                let _ = done.send(None);
            }
        };
        self.answers_of(at, true).push(Box::new(answer));
        self.gather(at);
    }

    fn close_lane(&mut self, at: LaneAt, done: oneshot::Sender<Result<()>>) {
        let mut lsn = Lsn(0);
        if let Some(partition) = self.partitions.here(at.topic, at.index)
            && let Some(owned) = partition.lanes.remove(at.queue)
        {
            lsn = self.drop_lane(at, &owned);
        }
        let answer = Reply::Call(Box::new(move || drop(done.send(Ok(())))));
        let waiting = Waiting {
            grown: Vec::new(),
            answer,
        };
        self.answer_at((lsn, Durability::Sync), waiting);
    }

    /// Gives up a lane's log and whoever waits there.
    pub(super) fn drop_lane(&mut self, at: LaneAt, owned: &OwnedLane) -> Lsn {
        if let Some(due) = owned.scheduled {
            self.lanes.due.remove(&(due, at));
        }
        for answer in owned.polls.iter().filter_map(|poll| poll.claim()) {
            let _ = answer.send(Err(Error::UnknownQueue));
        }
        consumers::dismiss(owned);
        // Never written to, or the store is about to stop: the next start finishes the removal.
        let stream = owned.stream(at.index);
        self.log.trim(stream, Trim::All).unwrap_or_default()
    }

    /// A partition is back from a transfer: its lanes may have something to lend.
    pub(super) fn gather_all(&mut self, topic: uuid::Uuid, index: u32) {
        let Some(owned) = self.partitions.here(topic, index) else {
            return;
        };
        let queues: Vec<_> = owned.lanes.used().map(|lane| lane.queue.id()).collect();
        for queue in queues {
            let at = LaneAt {
                topic,
                index,
                queue,
            };
            // Its time may have come while it was away, when nobody could look at it: it is scheduled anew.
            if let Some(owned) = self.partitions.lane(at)
                && let Some(due) = owned.scheduled.take()
            {
                self.lanes.due.remove(&(due, at));
            }
            self.gather(at);
        }
    }

    /// What has to be done now and then: forget what is done or too old, shrink what was read at the last start.
    pub(super) fn upkeep_lanes(&mut self) {
        let now = self.clock.now_ms();
        // What this round acknowledged is known to be kept for replay only from its end on.
        self.finish_lanes();
        let log = Arc::clone(&self.log);
        for partition in self.partitions.all() {
            for lane in partition.lanes.used_mut() {
                let window = lane.queue.settings().dedup_window_ms;
                lane.lane.expire_dedup(window, now);
                lane.polls.retain(|poll| poll.is_open());
            }
            partition.lanes.freshen();
            forget_done(partition, &*log, 1, now);
        }
    }
}

/// Whether messages are about to leave that others wait for which are ready: with a queue in order, those of their keys.
fn awaits_leaving(owned: &OwnedLane) -> bool {
    let counts = owned.lane.counts();
    let in_order = owned.queue.settings().ordering == Ordering::Key;
    in_order && counts.leaving > 0 && counts.ready > 0
}

/// Gives a receiver its messages once the log has them.
fn hand_over(poll: &Poll, loans: Loans) -> Option<Answer> {
    // Who is gone gets nothing: dropping the loans takes them back.
    let answer = poll.claim()?;
    Some(Box::new(move |failed| {
        let _ = answer.send(failed.map_or(Ok(loans), Err));
    }))
}

/// An answer that is sent unless something went wrong.
fn answering<T: Send + 'static>(done: oneshot::Sender<Result<T>>, value: T) -> Answer {
    Box::new(move |failed| drop(done.send(failed.map_or(Ok(value), Err))))
}

/// Answers for a lane that is not here.
fn refuse(command: LaneCommand) {
    let gone = Error::UnknownQueue;
    match command {
        LaneCommand::Receive { poll, .. } => {
            if let Some(answer) = poll.claim() {
                drop(answer.send(Err(gone)));
            }
        }
        LaneCommand::Settle { done, .. } => drop(done.send(Err(gone))),
        LaneCommand::Purge { done }
        | LaneCommand::Close { done }
        | LaneCommand::Note { done, .. } => drop(done.send(Err(gone))),
        LaneCommand::Replay { done, .. } => drop(done.send(Err(gone))),
        LaneCommand::Depth { done } => drop(done.send(Err(gone))),
        LaneCommand::SetAside { done, .. } => drop(done.send(Err(gone))),
        LaneCommand::Consumer(command) => command.refuse(),
        LaneCommand::Undo { .. }
        | LaneCommand::Outdate { .. }
        | LaneCommand::Configure { .. }
        | LaneCommand::TakeBack { .. }
        | LaneCommand::Unreadable { .. }
        | LaneCommand::Inspect(_) => {}
    }
}
