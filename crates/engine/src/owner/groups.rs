//! What a shard does to its groups: a group is one stream of events, folded into one state.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use storage::batch::BatchBuilder;
use storage::{Append, Durability, Log, Lsn, StreamId, Trim};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::pending::{Reply, Waiting};
use super::{Inspect, Shard};
use crate::group::{self, Group, GroupEvent, Outcome, Ticket};
use crate::memory::StateShare;
use crate::partition::LEADER_EPOCH;
use crate::{Error, Result};

/// A group's events are folded into a snapshot when they take this many bytes, or as many as the last
/// snapshot did: what a start has to read at most stays in proportion to the state itself.
const SNAPSHOT_BYTES: u64 = 256 << 10;

/// The answer to a group command.
pub(crate) type Answer = Result<group::Reply>;

/// A group with its place in the maps and trees of the broker, its document and its stream.
const GROUP_BYTES: u64 = 3 << 10;

/// What a group takes in memory whose state is empty.
pub(crate) fn group_bytes(name: &str) -> u64 {
    GROUP_BYTES + 2 * name.len() as u64
}

/// A group, as a shard has it.
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
    due: Option<u64>,
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
            due: None,
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

/// The groups of a shard.
#[derive(Default)]
pub(crate) struct GroupTable {
    owned: HashMap<Arc<str>, Owned>,
    /// When which group wants to be looked at.
    due: BTreeSet<(u64, Arc<str>)>,
    /// Who asked, for every command not answered yet.
    asked: HashMap<u64, oneshot::Sender<Answer>>,
    tickets: u64,
}

impl GroupTable {
    pub(super) fn open(&mut self, name: &Arc<str>, mut owned: Owned) {
        if self.owned.contains_key(name) {
            return;
        }
        owned.count(name);
        self.owned.insert(Arc::clone(name), owned);
        self.schedule(name);
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Keeps the schedule in step with the group's own next deadline.
    fn schedule(&mut self, name: &Arc<str>) {
        let Some(owned) = self.owned.get_mut(name) else {
            return;
        };
        let due = owned.group.next_deadline();
        if due == owned.due {
            return;
        }
        if let Some(old) = owned.due.take() {
            self.due.remove(&(old, Arc::clone(name)));
        }
        if let Some(due) = due {
            self.due.insert((due, Arc::clone(name)));
        }
        owned.due = due;
    }
}

impl Shard {
    pub(super) fn group_command(
        &mut self,
        name: &Arc<str>,
        command: group::Command,
        done: oneshot::Sender<Answer>,
    ) {
        let now = self.clock.now_ms();
        let Some(owned) = self.groups.owned.get_mut(name) else {
            let _ = done.send(Err(Error::Group(group::Error::NotFound)));
            return;
        };
        self.groups.tickets += 1;
        let ticket = self.groups.tickets;
        self.groups.asked.insert(ticket, done);
        let room = owned.share.room();
        let outcome = owned.group.handle(command, Ticket(ticket), now, room);
        self.carry_out(name, outcome);
    }

    /// Gives up a dead group's log, and the group with it.
    pub(super) fn close_group(&mut self, name: &Arc<str>, done: oneshot::Sender<bool>) {
        let dead = self
            .groups
            .owned
            .get(name)
            .is_some_and(|owned| owned.group.state() == group::State::Dead);
        let owned = if dead {
            self.groups.owned.remove(name)
        } else {
            None
        };
        let mut lsn = Lsn(0);
        if let Some(owned) = &owned {
            if let Some(due) = owned.due {
                self.groups.due.remove(&(due, Arc::clone(name)));
            }
            // A log that cannot be given up now is found empty of members, and given up, after the next start.
            lsn = self.log.trim(owned.stream(), Trim::All).unwrap_or_default();
        }
        let answer = Reply::Call(Box::new(move || {
            let _ = done.send(owned.is_some());
        }));
        self.answer_at(
            (lsn, Durability::Sync),
            Waiting {
                grown: Vec::new(),
                answer,
            },
        );
    }

    /// Looks at a group; the answer waits until everything that was seen is durable.
    pub(super) fn inspect(&mut self, name: &Arc<str>, inspect: Inspect) {
        let owned = self.groups.owned.get(name);
        let lsn = owned.map_or(Lsn(0), |owned| owned.last_lsn);
        let answer = Reply::Call(inspect(owned.map(|owned| &owned.group)));
        self.answer_at(
            (lsn, Durability::Sync),
            Waiting {
                grown: Vec::new(),
                answer,
            },
        );
    }

    /// Looks after every group whose time has come.
    pub(super) fn tick(&mut self) {
        let now = self.clock.now_ms();
        while let Some((due, name)) = self.groups.due.first().cloned() {
            if due > now {
                return;
            }
            let Some(owned) = self.groups.owned.get_mut(&name) else {
                self.groups.due.remove(&(due, name));
                continue;
            };
            let outcome = owned.group.tick(now);
            assert!(
                owned.group.next_deadline().is_none_or(|next| next > now),
                "a group that was looked after wants nothing before a later moment"
            );
            self.carry_out(&name, outcome);
        }
    }

    pub(super) fn topic_removed(&mut self, topic_id: Uuid) {
        let now = self.clock.now_ms();
        let mut names: Vec<_> = self.groups.owned.keys().cloned().collect();
        names.sort_unstable();
        for name in names {
            let Some(owned) = self.groups.owned.get_mut(&name) else {
                continue;
            };
            let command = group::Command::TopicDeleted(topic_id);
            let outcome = owned.group.handle(command, Ticket(0), now, 0);
            self.carry_out(&name, outcome);
        }
    }

    /// Appends a group's events and queues its replies behind them.
    fn carry_out(&mut self, name: &Arc<str>, outcome: Outcome) {
        let now = self.clock.now_ms();
        let Outcome { events, replies } = outcome;
        let mut failed = None;
        let mut lsn = Lsn(0);
        if let Some(owned) = self.groups.owned.get_mut(name) {
            owned.count(name);
            if !events.is_empty() {
                failed = append_events(&*self.log, owned, &events, now).err();
            }
            lsn = owned.last_lsn;
        }
        let answers: Vec<_> = replies
            .into_iter()
            .filter_map(|(ticket, reply)| Some((self.groups.asked.remove(&ticket.0)?, reply)))
            .collect();
        if !answers.is_empty() {
            let send = move || {
                for (done, reply) in answers {
                    let _ = done.send(failed.clone().map_or(Ok(reply), Err));
                }
            };
            let waiting = Waiting {
                grown: Vec::new(),
                answer: Reply::Call(Box::new(send)),
            };
            self.answer_at((lsn, Durability::Sync), waiting);
        }
        self.groups.schedule(name);
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
