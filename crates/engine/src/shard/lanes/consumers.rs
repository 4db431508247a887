//! What connected consumers do with a lane: come and go, are handed messages, settle them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;

use super::{Answer, OwnedLane, answering};
use crate::queue::lane::{Came, Counts, LaneEvent, LineId, Loan, Outcome};
use crate::queue::{Aside, Claim, Consumer, DeathReason, Handed, LaneAt, Said};
use crate::shard::{Command, Shard};
use crate::{Error, Result};

/// Messages handed to one consumer at once, at most.
const HANDED_MAX: u64 = 256;
/// Things sessions said that are dealt with in one round.
const SAID_MAX: usize = 1024;

/// A message taken without waiting, and how many are there behind it.
pub(crate) type Got = Option<(Claim, Loan, u64)>;

/// What becomes of messages: offset, loan, outcome.
pub(crate) type Outcomes = Vec<(u64, u64, Outcome)>;

/// What a consumer can ask of a lane.
pub(crate) enum ConsumerCommand {
    /// Comes: is handed messages from now on.
    Join {
        consumer: Arc<Consumer>,
        done: oneshot::Sender<Result<()>>,
    },
    /// Goes. What it holds stays with it.
    Leave {
        consumer: u64,
        done: Option<oneshot::Sender<Result<()>>>,
    },
    /// Takes one message, if there is one.
    Get {
        consumer: Arc<Consumer>,
        done: oneshot::Sender<Result<Got>>,
    },
    /// Says what becomes of messages.
    Settle { outcomes: Outcomes, chance: f64 },
    /// Has room again.
    Serve,
    /// Messages were let in only to be dead-lettered.
    TooMany { offsets: Vec<u64> },
    /// Drops what is ready or waits; answers how many messages.
    Clear { done: oneshot::Sender<Result<u64>> },
}

impl ConsumerCommand {
    /// Answers for a lane that is not here.
    pub(super) fn refuse(self) {
        let gone = Error::UnknownQueue;
        match self {
            Self::Join { done, .. }
            | Self::Leave {
                done: Some(done), ..
            } => drop(done.send(Err(gone))),
            Self::Get { done, .. } => drop(done.send(Err(gone))),
            Self::Clear { done } => drop(done.send(Err(gone))),
            Self::Leave { done: None, .. }
            | Self::Settle { .. }
            | Self::Serve
            | Self::TooMany { .. } => {}
        }
    }
}

impl Shard {
    /// What a consumer asked of a lane that is here.
    pub(super) fn consumer_command(&mut self, at: LaneAt, command: ConsumerCommand) {
        let now = self.clock.now_ms();
        if matches!(command, ConsumerCommand::Get { .. }) {
            self.let_time_pass(at, now);
            self.enforce_age(at, (now, false));
            self.offer_fresh(at, now);
        }
        let Some(owned) = self.partitions.lane(at) else {
            return command.refuse();
        };
        let mut answer: Option<Answer> = None;
        let mut dying = Vec::new();
        match command {
            ConsumerCommand::Join { consumer, done } => {
                join(owned, consumer);
                let _ = done.send(Ok(()));
            }
            ConsumerCommand::Leave { consumer, done } => {
                owned.consumers.retain(|c| c.id != consumer);
                done.map(|done| done.send(Ok(())));
            }
            ConsumerCommand::Get { consumer, done } => {
                let (got, dies) = get(owned, &consumer, now);
                dying.extend(dies.into_iter().map(|o| (o, DeathReason::Attempts)));
                answer = Some(answering(done, got));
            }
            ConsumerCommand::Settle { outcomes, chance } => {
                dying = settle(owned, &outcomes, (now, chance));
            }
            ConsumerCommand::Serve => {}
            ConsumerCommand::TooMany { offsets } => self.refuse_to_dead_letter(at, &offsets),
            ConsumerCommand::Clear { done } => {
                owned.lane.tick(now);
                let held = |of: Counts| of.ready + of.waiting;
                let before = held(owned.lane.counts());
                let event = owned.lane.clear_event();
                let end = owned.lane.end();
                owned.change(event, None);
                // Nor does what was acknowledged come back.
                owned.change(LaneEvent::Unkept { before: end }, None);
                let gone = before - held(owned.lane.counts());
                answer = Some(answering(done, gone));
            }
        }
        self.answers_of(at, true).extend(answer);
        self.die(at, dying);
        // What is asked next must not see more than there may be.
        self.enforce_counts(at, now);
        self.gather(at);
    }

    /// Messages have to leave: as dead letters, or for good where there is no place for dead letters.
    pub(super) fn die(&mut self, at: LaneAt, dying: Vec<(u64, DeathReason)>) {
        let Some(owned) = self.partitions.lane(at).filter(|_| !dying.is_empty()) else {
            return;
        };
        let settings = owned.queue.settings();
        if !settings.keeps_dead() {
            let mut offsets: Vec<u64> = dying.into_iter().map(|(offset, _)| offset).collect();
            offsets.sort_unstable();
            return owned.change(LaneEvent::Acked { offsets }, None);
        }
        let mut dying = dying.into_iter().peekable();
        while let Some((first, reason)) = dying.next() {
            let mut offsets = vec![first];
            while let Some((offset, _)) = dying.next_if(|(_, other)| *other == reason) {
                offsets.push(offset);
            }
            self.bury(at, offsets, reason);
        }
    }

    /// Hands messages to a consumer: at once, if all they rest on is durable.
    fn hand_to_consumer(&mut self, at: LaneAt, handed: Box<Handed>) {
        let durable = self.durable;
        let partition = self.partitions.here(at.topic, at.index);
        let readable = partition.map_or(0, |owned| owned.partition.high_watermark());
        let lane = self.partitions.lane(at);
        let is_settled = lane.is_some_and(|lane| lane.is_settled(durable));
        let is_readable = handed.loans.iter().all(|loan| loan.offset < readable);
        if is_settled && is_readable && handed.consumer.behind.load(Relaxed) == 0 {
            return send(handed);
        }
        self.answers_of(at, false).push(hand(handed));
    }

    /// Hands messages to consumers, as long as there are messages and room.
    pub(super) fn serve_consumers(&mut self, at: LaneAt, now: u64) {
        while let Some(owned) = self.partitions.lane(at)
            && let Some((consumer, room)) = next_consumer(owned)
        {
            let picked = owned.lane.pick(room as usize, owned.queue.settings(), now);
            let lent = lend(owned, &picked.lend, now);
            let unused = room - u32::try_from(lent.len()).unwrap_or(room);
            consumer.untake(unused);
            let nothing = lent.is_empty() && picked.dying.is_empty();
            if !lent.is_empty() {
                let loans = lent.into();
                self.hand_to_consumer(at, Box::new(Handed { consumer, loans }));
            }
            if !picked.dying.is_empty() {
                self.bury(at, picked.dying, DeathReason::Attempts);
            }
            if nothing {
                return;
            }
        }
    }

    /// Turns what sessions said into commands, neighbours into one.
    pub(in crate::shard) fn hear_sessions(&mut self, first: Aside, commands: &mut Vec<Command>) {
        let mut said = Some(first);
        let mut back: Option<(LaneAt, Outcomes)> = None;
        for _ in 0..SAID_MAX {
            let Some(next) = said.take().or_else(|| self.sessions.try_recv().ok()) else {
                break;
            };
            match next {
                Aside::Back {
                    at,
                    offset,
                    loan,
                    outcome,
                } => {
                    if back.as_ref().is_some_and(|(other, _)| *other != at) {
                        commands.extend(back.take().map(settling));
                    }
                    let (_, outcomes) = back.get_or_insert_with(|| (at, Vec::new()));
                    outcomes.push((offset, loan, outcome));
                }
                Aside::Left { at, consumer } => {
                    let leave = ConsumerCommand::Leave {
                        consumer,
                        done: None,
                    };
                    commands.push(leave.to(at));
                }
                Aside::Serve(at) => commands.push(ConsumerCommand::Serve.to(at)),
                Aside::TooMany { at, offsets } => {
                    commands.push(ConsumerCommand::TooMany { offsets }.to(at));
                }
            }
        }
        commands.extend(back.map(settling));
    }
}

impl ConsumerCommand {
    /// The command as a shard takes it.
    pub(crate) fn to(self, at: LaneAt) -> Command {
        Command::Lane {
            at,
            command: super::LaneCommand::Consumer(self),
        }
    }
}

fn settling((at, outcomes): (LaneAt, Outcomes)) -> Command {
    // Nobody chose: whoever waits waits the whole time.
    let chance = 1.0;
    ConsumerCommand::Settle { outcomes, chance }.to(at)
}

/// Behind those of the same priority, before those of a lower one.
fn join(owned: &mut OwnedLane, consumer: Arc<Consumer>) {
    let behind = |c: &Arc<Consumer>| c.priority >= consumer.priority;
    let place = owned.consumers.partition_point(behind);
    owned.consumers.insert(place, consumer);
}

/// Whose turn it is of those that have room, and how much of it was taken.
fn next_consumer(owned: &mut OwnedLane) -> Option<(Arc<Consumer>, u32)> {
    let ready = owned.lane.counts().ready;
    if ready == 0 || owned.consumers.is_empty() {
        return None;
    }
    if owned.queue.settings().single_consumer {
        let first = Arc::clone(owned.consumers.first()?);
        let room = first.take(share(ready, 1));
        return (room > 0).then_some((first, room));
    }
    let mut rest = &owned.consumers[..];
    while let Some(first) = rest.first() {
        let (equals, lower) = rest.split_at(rest.partition_point(|c| c.priority == first.priority));
        let wanted = share(ready, equals.len());
        for step in 0..equals.len() {
            let consumer = &equals[(owned.turn + step) % equals.len()];
            let room = consumer.take(wanted);
            if room > 0 {
                owned.turn = owned.turn.wrapping_add(step + 1);
                return Some((Arc::clone(consumer), room));
            }
        }
        rest = lower;
    }
    None
}

/// How many of the ready messages one of `count` equals is handed at once: a few of many, so that all have some.
fn share(ready: u64, count: usize) -> u32 {
    let rounds = if count > 1 { count as u64 * 4 } else { 1 };
    let share = (ready / rounds).clamp(1, HANDED_MAX);
    u32::try_from(share).unwrap_or(1)
}

fn lend(owned: &mut OwnedLane, picked: &[(u64, LineId)], now: u64) -> Vec<Loan> {
    if picked.is_empty() {
        return Vec::new();
    }
    let last = picked.iter().map(|(offset, _)| *offset).max();
    if let Some(event) = last.and_then(|last| owned.lane.reach(last)) {
        owned.change(event, None);
    }
    let lent = owned.lane.lend_untimed(picked, now);
    owned.queue.numbers.received(lent.len() as u64);
    lent
}

/// Takes one message; also returns what came upon the way that must not be lent any more.
fn get(owned: &mut OwnedLane, consumer: &Arc<Consumer>, now: u64) -> (Got, Vec<u64>) {
    let picked = owned.lane.pick(1, owned.queue.settings(), now);
    let lent = lend(owned, &picked.lend, now);
    let got = lent.first().map(|loan| {
        let claim = Claim::new(consumer, loan.offset, loan.number);
        let counts = owned.lane.counts();
        (claim, *loan, counts.ready + counts.waiting)
    });
    (got, picked.dying)
}

/// Hands messages over once the log has what they are made of; else they go back.
fn hand(handed: Box<Handed>) -> Answer {
    handed.consumer.behind.fetch_add(1, Relaxed);
    Box::new(move |failed| {
        handed.consumer.behind.fetch_sub(1, Relaxed);
        if failed.is_none() {
            send(handed);
        }
    })
}

fn send(handed: Box<Handed>) {
    let session = handed.consumer.session.clone();
    let _ = session.send(Said::Handed(handed));
}

/// Settles messages; returns those that have to leave.
fn settle(
    owned: &mut OwnedLane,
    outcomes: &[(u64, u64, Outcome)],
    (now, chance): (u64, f64),
) -> Vec<(u64, DeathReason)> {
    owned.lane.tick(now);
    let queue = Arc::clone(&owned.queue);
    let mut done = Vec::new();
    let mut dying = Vec::new();
    for (offset, loan, outcome) in outcomes {
        let at = (*offset, *loan);
        match owned
            .lane
            .outcome(at, *outcome, queue.settings(), (now, chance))
        {
            Came::Stale => {}
            Came::Done => done.push(*offset),
            Came::Back(event) => {
                owned.lane.settled(*offset, now);
                owned.change(event, None);
            }
            Came::Undone => {
                owned.lane.undo(*offset, *loan);
                queue.numbers.not_received(1);
            }
            Came::Dies(reason) => dying.push((*offset, reason)),
        }
    }
    if !done.is_empty() {
        queue.numbers.deleted(done.len() as u64);
        for offset in &done {
            owned.lane.settled(*offset, now);
        }
        done.sort_unstable();
        let acked = LaneEvent::Acked { offsets: done };
        owned.change(acked, None);
    }
    dying
}

/// Tells consumers of a lane that goes.
pub(super) fn dismiss(owned: &OwnedLane) {
    for consumer in &owned.consumers {
        let number = consumer.number;
        let _ = consumer.session.send(Said::Cancelled { number });
    }
}
