//! The part of a group that ends with the process: who is being waited for, and until when.
//! Holds no rules, only what the rules ask about.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::command::{Join, Ticket};
use super::cost;
use super::event::{MemberRecord, Membership};
use super::reply::State;
use super::settings::{GroupSettings, Subscription};

/// The running state of a group. Between generations it is ahead of the durable part.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Static members: instance id to member id.
    pub(super) instances: BTreeMap<String, String>,
    /// Ids handed out to members that have yet to join with them, until when.
    pub(super) pending: BTreeMap<String, u64>,
    /// Members of this generation that have not synced.
    pub(super) pending_sync: BTreeSet<String>,
    /// Topics of the current generation; `None` if they cannot be known.
    pub(super) topics: Option<Topics>,
    /// When the collecting of joins ends.
    pub(super) join_timer: Option<JoinTimer>,
    /// When members that have not synced are removed.
    pub(super) sync_deadline: Option<u64>,
    /// When to look for expired offsets.
    pub(super) check_at: Option<u64>,
    /// What all of it takes in memory.
    pub(super) cost: LiveCost,
}

/// What the running state takes, as it was counted last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LiveCost {
    /// All members.
    pub(super) members: u64,
    /// Everything else.
    pub(super) others: u64,
}

/// Names of topics, as their hashes: members may subscribe to very many with short names, which take a multiple of
/// their bytes as texts of their own. Two names with one hash count as one, and what that costs is an offset that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topics(Vec<u64>);

impl Topics {
    fn hash(name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    }

    fn new(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.shrink_to_fit();
        Self(hashes)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.binary_search(&Self::hash(name)).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A member with its timers and waiting requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) record: MemberRecord,
    /// Has not seen a generation yet, so the client may not know its own id.
    pub(super) is_new: bool,
    pub(super) join: Option<Parked>,
    pub(super) sync: Option<Parked>,
    /// When a silent member is removed. `None` while a rebalance makes the member wait for us.
    pub(super) session_deadline: Option<u64>,
}

/// A request that waits for others. Without a ticket its connection has gone, but the member
/// counts as present until its session ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parked(pub(super) Option<Ticket>);

/// The end of collecting joins.
#[derive(Debug, Clone, Copy)]
pub(super) enum JoinTimer {
    /// First generation of an empty group: each round is prolonged while members keep coming.
    Initial {
        at: u64,
        delay_ms: u64,
        remaining_ms: u64,
        joined_meanwhile: bool,
    },
    /// Any later generation.
    Rebalance { at: u64 },
}

impl JoinTimer {
    pub(super) fn at(self) -> u64 {
        match self {
            Self::Initial { at, .. } | Self::Rebalance { at } => at,
        }
    }
}

impl Member {
    pub(super) fn new(id: String, join: Join) -> Self {
        let record = MemberRecord {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
        };
        Self {
            record,
            ..Self::default()
        }
    }

    /// A member as a restart finds it.
    pub(super) fn restored(record: MemberRecord, now: u64) -> Self {
        let mut member = Self {
            record,
            ..Self::default()
        };
        member.renew_session(now);
        member
    }

    pub(super) fn renew_session(&mut self, now: u64) {
        self.session_deadline =
            Some(now.saturating_add(self.record.session_timeout_ms.max(1).into()));
    }

    /// A member that waits for us proves life by waiting, unless it is new: see the setting
    /// `new_member_join_timeout_ms`.
    pub(super) fn may_be_silent(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }

    pub(super) fn bytes(&self) -> usize {
        protocol_bytes(&self.record.protocols)
    }
}

pub(super) fn protocol_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols
        .iter()
        .map(|(name, metadata)| name.len() + metadata.len())
        .sum()
}

impl Live {
    /// The running state at a restart: the last generation formed goes on.
    pub(super) fn restored(membership: &Membership, now: u64) -> Self {
        let members = membership.members.iter();
        let members: BTreeMap<_, _> = members
            .map(|record| (record.id.clone(), Member::restored(record.clone(), now)))
            .collect();
        let instances = membership.members.iter();
        let instances =
            instances.filter_map(|record| Some((record.instance_id.clone()?, record.id.clone())));
        Self {
            state: if members.is_empty() {
                State::Empty
            } else {
                State::Stable
            },
            generation: membership.generation,
            protocol_type: membership.protocol_type.clone(),
            protocol_name: membership.protocol_name.clone(),
            leader: membership
                .leader
                .clone()
                .or_else(|| members.keys().next().cloned()),
            instances: instances.collect(),
            members,
            ..Self::default()
        }
    }

    /// The current generation, to be made durable.
    pub(super) fn membership(&self) -> Membership {
        Membership {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone(),
            members: self
                .members
                .values()
                .map(|member| member.record.clone())
                .collect(),
        }
    }

    /// Counts anew what all of it takes in memory.
    pub(super) fn count(&mut self) {
        self.cost = self.counted();
    }

    /// What all of it takes in memory, which goes through all members.
    pub(super) fn counted(&self) -> LiveCost {
        let names = [&self.protocol_type, &self.protocol_name, &self.leader];
        // The names are in the last generation too.
        let names = names.map(|name| 2 * cost::len(name.as_ref()));
        let pending = self.pending.keys();
        let pending: u64 = pending.map(|id| cost::of_handed_out(id, false)).sum();
        let topics = self.topics.as_ref().map_or(0, |topics| topics.len() as u64);
        let members = self.members.values();
        LiveCost {
            members: members.map(|m| cost::of_member(&m.record)).sum(),
            others: cost::first(!self.members.is_empty(), cost::MEMBERS_BYTES)
                + cost::first(!self.pending.is_empty(), cost::PENDING_BYTES)
                + names.iter().sum::<u64>()
                + pending
                + topics * cost::SUBSCRIBED_BYTES,
        }
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn insert(&mut self, member: Member) {
        let id = member.record.id.clone();
        if let Some(instance_id) = &member.record.instance_id {
            self.instances.insert(instance_id.clone(), id.clone());
        }
        self.members.insert(id, member);
    }

    /// Takes a member out, with whatever it was waiting for; the leadership passes on.
    pub(super) fn remove(&mut self, member_id: &str) -> Option<Member> {
        self.pending.remove(member_id);
        self.pending_sync.remove(member_id);
        let member = self.members.remove(member_id)?;
        if let Some(instance_id) = &member.record.instance_id {
            self.instances.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    pub(super) fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.join.is_some())
    }

    pub(super) fn joined_count(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.join.is_some())
            .count()
    }

    /// The group waits as long as its most patient member. Never zero, or a rebalance that
    /// cannot complete would be retried without time passing.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let timeouts = self
            .members
            .values()
            .map(|member| member.record.rebalance_timeout_ms);
        timeouts.max().unwrap_or_default().max(1).into()
    }

    /// Whether every member knows the protocol.
    pub(super) fn all_support(&self, protocol: &str) -> bool {
        self.members
            .values()
            .all(|member| member.record.supports(protocol))
    }

    /// Each member votes for its favourite among the protocols all members know; most votes win,
    /// and between equals the one the first member prefers.
    pub(super) fn elect_protocol(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let names = first.record.protocols.iter().map(|(name, _)| name.as_str());
        let mut votes: Vec<(&str, usize)> = names
            .filter(|name| self.all_support(name))
            .map(|name| (name, 0))
            .collect();
        for member in self.members.values() {
            let favourite =
                member.record.protocols.iter().find_map(|(name, _)| {
                    votes.iter().position(|(candidate, _)| candidate == name)
                });
            if let Some(index) = favourite {
                votes[index].1 += 1;
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.to_owned())
    }

    /// Whether members of this type of group subscribe to topics at all.
    pub(super) fn is_about_topics(&self, settings: &GroupSettings) -> bool {
        self.protocol_type
            .as_deref()
            .is_some_and(|kind| (settings.subscription)(kind, b"") != Subscription::NotTopics)
    }

    /// Reads the topics of the generation that begins.
    pub(super) fn read_topics(&mut self, settings: &GroupSettings) {
        let kind = self.protocol_type.as_deref().unwrap_or_default();
        let protocol = self.protocol_name.as_deref();
        let mut hashes = Vec::new();
        let mut known = self.is_about_topics(settings);
        for member in self.members.values() {
            match (settings.subscription)(kind, &member.record.metadata(protocol)) {
                Subscription::Topics(names) => {
                    hashes.extend(names.iter().map(|name| Topics::hash(name)));
                }
                Subscription::Unreadable | Subscription::NotTopics => known = false,
            }
        }
        self.topics = known.then(|| Topics::new(hashes));
    }

    /// Where the subscription cannot be read, any topic may be part of it.
    pub(super) fn is_subscribed(&self, topic_name: &str, settings: &GroupSettings) -> bool {
        match &self.topics {
            Some(topics) => topics.contains(topic_name),
            None => self.is_about_topics(settings),
        }
    }
}
