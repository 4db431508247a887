//! Groups: each is one stream of events, folded into one state behind a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use storage::batch::BatchBuilder;
use storage::{Append, Durability, Log, Lsn, StreamId, Trim};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::acquire::acquire;
use super::env::Env;
use super::timers::{Due, Timed};
use crate::group::{self, Group, GroupEvent, Outcome, Ticket};
use crate::memory::StateShare;
use crate::partition::LEADER_EPOCH;
use crate::{Error, Result};

/// A group's events are folded into a snapshot when they take this many bytes, or as many as the last
/// snapshot did: what a start has to read at most stays in proportion to the state itself.
const SNAPSHOT_BYTES: u64 = 256 << 10;

/// The answer to a group command.
type Answer = Result<group::Reply>;

/// A group with its place in the maps and trees of the broker, its document and its stream.
const GROUP_BYTES: u64 = 3 << 10;

/// What a group takes in memory whose state is empty.
pub(crate) fn group_bytes(name: &str) -> u64 {
    GROUP_BYTES + 2 * name.len() as u64
}

/// A group, as its owner has it.
pub(crate) struct Owned {
    id: Uuid,
    group: Group,
    /// What it takes of the memory for the state of groups.
    share: StateShare,
    /// Next offset of the group's stream.
    end: u64,
    last_lsn: Lsn,
    bytes_since_snapshot: u64,
    snapshot_bytes: u64,
    scheduled: Option<Due>,
    /// Who asked, for every command not answered yet.
    asked: HashMap<u64, oneshot::Sender<Answer>>,
    tickets: u64,
}

impl Owned {
    /// With the next offset of its stream, and nothing of the memory for the state of groups yet.
    pub(crate) fn new(id: Uuid, group: Group, end: u64, share: StateShare) -> Self {
        Self {
            id,
            group,
            share,
            end,
            last_lsn: Lsn(0),
            bytes_since_snapshot: 0,
            snapshot_bytes: 0,
            scheduled: None,
            asked: HashMap::new(),
            tickets: 0,
        }
    }

    /// Counts what it takes in memory now.
    fn count(&mut self, name: &str) {
        let bytes = group_bytes(name) + self.group.state_bytes();
        self.share.set(bytes);
    }

    fn stream(&self) -> StreamId {
        StreamId {
            owner: self.id,
            part: 0,
        }
    }
}

/// A group's lock, with its state.
pub(crate) struct GroupOwner {
    name: Arc<str>,
    env: Arc<Env>,
    /// Nothing once the group is gone.
    state: Mutex<Option<Owned>>,
}

impl GroupOwner {
    pub(super) fn start(env: &Arc<Env>, name: &Arc<str>, mut owned: Owned) -> Arc<Self> {
        owned.count(name);
        let owner = Arc::new(Self {
            name: Arc::clone(name),
            env: Arc::clone(env),
            state: Mutex::new(Some(owned)),
        });
        owner.turn(|_, _| None);
        owner
    }

    /// Carries out a command; answered when what it rests on is durable.
    pub(crate) async fn command(self: &Arc<Self>, command: group::Command) -> Answer {
        let (done, answer) = oneshot::channel();
        self.turn(|owned, now| {
            let Some(owned) = owned else {
                let _ = done.send(Err(Error::Group(group::Error::NotFound)));
                return None;
            };
            owned.tickets += 1;
            let ticket = owned.tickets;
            owned.asked.insert(ticket, done);
            let room = owned.share.room();
            Some(owned.group.handle(command, Ticket(ticket), now, room))
        });
        answer.await.map_err(|_| Error::Unavailable)?
    }

    /// Looks at the group; returns when everything that was seen is durable.
    pub(crate) async fn inspect<T>(
        self: &Arc<Self>,
        look: impl FnOnce(Option<&Group>) -> T,
    ) -> Result<T> {
        // As it stands now: what is due has happened.
        self.turn(|_, _| None);
        let (seen, lsn) = {
            let state = self.lock();
            let lsn = state.as_ref().map_or(Lsn(0), |owned| owned.last_lsn);
            (look(state.as_ref().map(|owned| &owned.group)), lsn)
        };
        self.env.completions.synced(lsn).await?;
        Ok(seen)
    }

    /// Gives up a dead group's log, and the group with it; says whether it was dead, once that is durable.
    pub(super) async fn close(self: &Arc<Self>) -> Result<bool> {
        let lsn = {
            let mut state = self.lock();
            let is_dead = |owned: &Owned| owned.group.state() == group::State::Dead;
            if !state.as_ref().is_some_and(is_dead) {
                return Ok(state.is_none());
            }
            let lsn = state.take().map(|owned| {
                self.env.timers.forget(owned.scheduled);
                // A log that cannot be given up now is found empty of members, and given up, after the next start.
                let trimmed = self.env.log.trim(owned.stream(), Trim::All);
                trimmed.unwrap_or_default()
            });
            lsn.unwrap_or_default()
        };
        self.env.completions.synced(lsn).await?;
        Ok(true)
    }

    /// A topic is gone: the group drops its offsets for it.
    pub(super) fn topic_removed(self: &Arc<Self>, topic: Uuid) {
        self.turn(|owned, now| {
            let command = group::Command::TopicDeleted(topic);
            Some(owned?.group.handle(command, Ticket(0), now, 0))
        });
    }

    /// Changes the group: decides, applies, appends, and has the replies wait for that.
    fn turn(self: &Arc<Self>, work: impl FnOnce(Option<&mut Owned>, u64) -> Option<Outcome>) {
        let inside = self.env.turns.begin();
        let now = self.env.clock.now_ms();
        let mut state = self.lock();
        if let Some(due) = state.as_mut() {
            let late = due.group.next_deadline().is_some_and(|due| due <= now);
            if late {
                let outcome = due.group.tick(now);
                assert!(
                    due.group.next_deadline().is_none_or(|next| next > now),
                    "a group that was looked after wants nothing before a later moment"
                );
                self.carry_out(due, outcome, now);
            }
        }
        let outcome = work(state.as_mut(), now);
        if let Some(owned) = state.as_mut() {
            if let Some(outcome) = outcome {
                self.carry_out(owned, outcome, now);
            }
            let who: Weak<Self> = Arc::downgrade(self);
            let due = owned.group.next_deadline();
            owned.scheduled = self.env.timers.set(owned.scheduled, due, || who);
        }
        drop(state);
        drop(inside);
    }

    /// Appends a group's events and queues its replies behind them.
    fn carry_out(&self, owned: &mut Owned, outcome: Outcome, now: u64) {
        let Outcome { events, replies } = outcome;
        owned.count(&self.name);
        let mut failed = None;
        if !events.is_empty() {
            failed = append_events(&*self.env.log, owned, &events, now).err();
        }
        let answers: Vec<_> = replies
            .into_iter()
            .filter_map(|(ticket, reply)| Some((owned.asked.remove(&ticket.0)?, reply)))
            .collect();
        if answers.is_empty() {
            return;
        }
        let send = move |_| {
            for (done, reply) in answers {
                let _ = done.send(failed.clone().map_or(Ok(reply), Err));
            }
        };
        let completions = &self.env.completions;
        completions.answer_synced(owned.last_lsn, Box::new(send));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Owned>> {
        match acquire(&self.state) {
            Ok(state) => state,
            Err(broken) => {
                // The process ends: what is done with the group until then is lost with it.
                let name = format!("group {}", self.name);
                self.env
                    .supervisor
                    .fail(name, "a task panicked while it held it");
                broken.into_inner()
            }
        }
    }
}

impl Timed for GroupOwner {
    fn on_time(self: Arc<Self>) {
        self.turn(|_, _| None);
    }
}

fn append_events(log: &dyn Log, owned: &mut Owned, events: &[GroupEvent], now: u64) -> Result<()> {
    let bytes = append(log, owned, events, now)?;
    owned.bytes_since_snapshot += bytes;
    if owned.bytes_since_snapshot > SNAPSHOT_BYTES.max(owned.snapshot_bytes) {
        let before = owned.end;
        let snapshot = owned.group.snapshot();
        owned.snapshot_bytes = append(log, owned, &[snapshot], now)?;
        owned.bytes_since_snapshot = 0;
        log.trim(owned.stream(), Trim::Before(before))?;
    }
    Ok(())
}

fn append(log: &dyn Log, owned: &mut Owned, events: &[GroupEvent], now: u64) -> Result<u64> {
    let mut builder = BatchBuilder::new(now.cast_signed());
    for event in events {
        builder.push(now.cast_signed(), None, Some(&event.encode()), &[]);
    }
    let batch = builder.build().placed(owned.end, LEADER_EPOCH, None);
    let (next, bytes) = (batch.header.next_offset(), batch.bytes() as u64);
    owned.last_lsn = log.append(
        vec![Append {
            stream: owned.stream(),
            batch,
        }],
        Durability::Vital,
    )?;
    owned.end = next;
    Ok(bytes)
}
