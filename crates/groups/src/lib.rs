//! Groups: consumers that share topics, agree on who reads what, and remember how far they got.
//!
//! A group is a pure state machine. Commands and the passing of time go in; events to be made
//! durable and replies that rest on them come out. There is no clock, no randomness and no I/O in
//! here: the time in milliseconds, fresh ids and the memory there is room for are arguments.
//!
//! ```text
//! command ──► rules ──► events ──► durable      survives: generation, members, offsets
//!               │  ▲                  │
//!               ▼  └───── reads ──────┘
//!             live                              ends with the process: parked requests, timers, joins
//! ```
//!
//! A generation goes through four states. Joins are collected (`PreparingRebalance`), at first
//! with a delay so that a starting fleet makes one generation and not many; then every member
//! hears the generation's number, its protocol and its leader (`CompletingRebalance`); the leader
//! brings an assignment for all (`Stable`). Any change of membership starts over. Without members
//! the group is `Empty`, and once it has no offsets either, it is `Dead`: as if it never was.
//!
//! After a restart the owner applies all events, calls [`Group::restored`], and the members go on
//! in their generation as if nothing had happened.

mod codec;
mod command;
mod cost;
mod durable;
mod error;
mod event;
mod live;
mod reply;
mod rules;
mod settings;
#[cfg(test)]
mod tests;

pub use command::{
    Command, CommitOffsets, Join, Leaver, MemberRef, NamedPartition, OffsetCommit, Sync, Ticket,
};
pub use error::{DecodeError, Error};
pub use event::{
    CommittedOffset, GroupEvent, MemberRecord, Membership, Snapshot, StagedOffsets, TopicOffsets,
    TopicPartition,
};
pub use reply::{
    Description, FetchedOffset, JoinRefused, Joined, JoinedMember, MemberDescription, Outcome,
    PartitionResult, Reply, State, Synced,
};
pub use settings::{GroupSettings, Subscription};

use durable::Durable;
use live::{Live, Parked};
use rules::Turn;

/// One group. Its owner feeds it commands one after the other and keeps the order of outcomes.
#[derive(Debug)]
pub struct Group {
    settings: GroupSettings,
    durable: Durable,
    live: Live,
}

impl Group {
    /// A group that does not exist yet. It comes to be by its first join or commit.
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            durable: Durable::default(),
            live: Live::default(),
        }
    }

    /// Decides about a command. Its reply may come now or with a later outcome, but exactly once,
    /// unless [`Group::cancel`] is called for its ticket. What would make the state grow by more than `room` bytes is
    /// refused; what adds nothing never is.
    pub fn handle(&mut self, command: Command, ticket: Ticket, now: u64, room: u64) -> Outcome {
        let is_about_members = matches!(
            command,
            Command::Join(_) | Command::Sync(_) | Command::Leave { .. } | Command::Delete
        );
        let mut turn = self.turn(now, room);
        match command {
            Command::Join(join) => turn.join(join, ticket),
            Command::Sync(sync) => turn.sync(sync, ticket),
            Command::Heartbeat(member) => turn.heartbeat(&member, ticket),
            Command::Leave { members } => turn.leave(members, ticket),
            Command::CommitOffsets(commit) => turn.commit_offsets(commit, ticket),
            Command::EndTransaction {
                producer_id,
                committed,
            } => {
                turn.end_transaction(producer_id, committed, ticket);
            }
            Command::DeleteOffsets { partitions } => turn.delete_offsets(partitions, ticket),
            Command::Delete => turn.delete(ticket),
            Command::TopicDeleted(topic) => turn.topic_deleted(topic, ticket),
        }
        let outcome = turn.outcome;
        if is_about_members {
            self.live.count();
        }
        outcome
    }

    /// Does what the passing of time demands: sessions end, rebalances close, offsets expire.
    pub fn tick(&mut self, now: u64) -> Outcome {
        // What time brings about is a consequence of what was let in.
        let mut turn = self.turn(now, u64::MAX);
        turn.tick();
        let outcome = turn.outcome;
        self.live.count();
        outcome
    }

    /// What its state takes in memory, bytes: an estimate, and nothing where nothing is remembered.
    pub fn state_bytes(&self) -> u64 {
        let live = self.live.cost;
        let members = cost::of_members(live.members, self.durable.membership_bytes());
        members + live.others + self.durable.offset_bytes()
    }

    /// When to call [`Group::tick`] next. May already have passed.
    pub fn next_deadline(&self) -> Option<u64> {
        rules::next_deadline(&self.live)
    }

    /// The connection that waited has gone: its parked request will not be answered. The member
    /// stays until its session ends.
    pub fn cancel(&mut self, ticket: Ticket) {
        for member in self.live.members.values_mut() {
            for Parked(waiting) in [&mut member.join, &mut member.sync].into_iter().flatten() {
                if *waiting == Some(ticket) {
                    *waiting = None;
                }
            }
        }
    }

    /// Replays an event, at a restart. Call [`Group::restored`] after the last one.
    pub fn apply(&mut self, event: &GroupEvent) {
        self.durable.apply(event);
    }

    /// One event that takes the place of all events so far.
    pub fn snapshot(&self) -> GroupEvent {
        self.durable.snapshot()
    }

    /// Ends a replay: the last generation goes on, each member with a full session from now.
    pub fn restored(&mut self, now: u64) {
        self.live = Live::default();
        if !self.durable.exists() {
            return;
        }
        self.live = Live::restored(self.durable.membership(), now);
        self.live.read_topics(&self.settings);
        let check_interval_ms = self.settings.offsets_check_interval_ms.max(1);
        self.live.check_at = Some(now.saturating_add(check_interval_ms));
        if self.live.members.len() > self.settings.members_max {
            // The limit was lowered. A rebalance lets members commit before some find no place.
            let mut turn = self.turn(now, u64::MAX);
            turn.prepare_rebalance();
            debug_assert_eq!(
                turn.outcome,
                Outcome::default(),
                "nobody can have joined yet"
            );
        }
        self.live.count();
    }

    /// Where the group stands. [`State::Dead`] means that nothing is remembered, and the owner
    /// may drop it.
    pub fn state(&self) -> State {
        self.live.state
    }

    /// Kind of group; absent for offsets without membership.
    pub fn protocol_type(&self) -> Option<&str> {
        self.live.protocol_type.as_deref()
    }

    /// The group as an operator sees it. Like all reads, it may show what is not durable yet: the
    /// owner answers no earlier than the outcomes before it.
    pub fn describe(&self) -> Description {
        let stable = self.live.state == State::Stable;
        let protocol = self.live.protocol_name.as_deref().filter(|_| stable);
        let members = self.live.members.values().map(|member| MemberDescription {
            member_id: member.record.id.clone(),
            instance_id: member.record.instance_id.clone(),
            client_id: member.record.client_id.clone(),
            client_host: member.record.client_host.clone(),
            metadata: member.record.metadata(protocol),
            assignment: Some(&member.record.assignment)
                .filter(|_| stable)
                .cloned()
                .unwrap_or_default(),
        });
        Description {
            state: self.live.state,
            generation: self.live.generation,
            protocol_type: self.live.protocol_type.clone(),
            protocol_name: protocol.map(str::to_owned),
            members: members.collect(),
        }
    }

    /// The offset committed for a partition. With `require_stable`, a partition that a running
    /// transaction has touched is refused instead.
    pub fn committed(
        &self,
        at: TopicPartition,
        require_stable: bool,
    ) -> Result<Option<&CommittedOffset>, Error> {
        if require_stable && self.durable.is_staged(at) {
            return Err(Error::UnstableOffset);
        }
        Ok(self.durable.offsets().get(at))
    }

    /// How many offsets are committed, and bytes of text that [`Group::committed_all`] has for them.
    pub fn committed_size(&self) -> (usize, usize) {
        let offsets = self.durable.offsets().iter();
        offsets.fold((0, 0), |(count, text), (_, name, offset)| {
            (count + 1, text + name.len() + offset.metadata.len())
        })
    }

    /// All committed offsets, by topic and partition.
    pub fn committed_all(&self, require_stable: bool) -> Vec<FetchedOffset> {
        let offsets = self
            .durable
            .offsets()
            .iter()
            .map(|(partition, name, offset)| {
                let unstable = require_stable && self.durable.is_staged(partition);
                let offset = if unstable {
                    Err(Error::UnstableOffset)
                } else {
                    Ok(offset.clone())
                };
                FetchedOffset {
                    partition,
                    topic_name: name.to_owned(),
                    offset,
                }
            });
        offsets.collect()
    }

    fn turn(&mut self, now: u64, room: u64) -> Turn<'_> {
        Turn {
            settings: &self.settings,
            durable: &mut self.durable,
            live: &mut self.live,
            now,
            room,
            outcome: Outcome::default(),
        }
    }
}

/// What a fuzzer, and a test over noise, asserts of any bytes: what decodes encodes to the same event, can be
/// replayed, and leaves a group that can run.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(event) = GroupEvent::decode(data) {
        assert_eq!(GroupEvent::decode(&event.encode()), Ok(event.clone()));
        let mut group = Group::new(GroupSettings::default());
        group.apply(&event);
        group.restored(0);
        let _ = group.tick(u64::MAX / 2);
        let _ = group.describe();
    }
}
