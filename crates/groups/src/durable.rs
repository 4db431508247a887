//! The fold: durable state of a group, changed by events and by nothing else. It cannot refuse,
//! reads no clock, and gives the same result live and at a restart.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::cost;
use super::event::{
    CommittedOffset, GroupEvent, MemberRecord, Membership, Snapshot, StagedOffsets, TopicOffsets,
    TopicPartition,
};

/// What a group still knows after a restart. Fields are private: only `apply` changes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Durable {
    exists: bool,
    generation_last: i32,
    membership: Membership,
    /// What the members of the last generation take in memory.
    membership_bytes: u64,
    since: u64,
    offsets: Offsets,
    staged: BTreeMap<i64, Staged>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Staged {
    offsets: Offsets,
    overtaken: BTreeSet<TopicPartition>,
}

impl Staged {
    fn bytes(&self) -> u64 {
        let overtaken = self.overtaken.len() as u64 * cost::OVERTAKEN_BYTES;
        cost::TRANSACTION_BYTES + self.offsets.bytes + overtaken
    }
}

impl Durable {
    /// Changes the state by one event.
    pub(super) fn apply(&mut self, event: &GroupEvent) {
        match event {
            GroupEvent::Emptied {
                generation,
                protocol_type,
                at,
            } => {
                let protocol_type = protocol_type.clone();
                let membership = Membership {
                    generation: *generation,
                    protocol_type,
                    ..Membership::default()
                };
                self.set_membership(membership, *at);
            }
            GroupEvent::GenerationReserved { generation } => {
                self.generation_last = self.generation_last.max(*generation);
            }
            GroupEvent::Formed { membership, at } => self.set_membership(membership.clone(), *at),
            GroupEvent::MemberReplaced { old_id, member } => self.replace(old_id, member),
            GroupEvent::OffsetsCommitted { topics } => self.commit(topics),
            GroupEvent::OffsetsStaged {
                producer_id,
                topics,
            } => self.stage(*producer_id, topics),
            GroupEvent::TransactionEnded {
                producer_id,
                committed,
            } => {
                let staged = self.staged.remove(producer_id);
                if let Some(staged) = staged.filter(|_| *committed) {
                    self.commit(&staged.offsets.to_topics());
                }
            }
            GroupEvent::OffsetsDeleted { partitions }
            | GroupEvent::OffsetsExpired { partitions } => {
                for partition in partitions {
                    self.forget(*partition);
                }
            }
            GroupEvent::Deleted => *self = Self::default(),
            GroupEvent::Snapshot(snapshot) => *self = Self::from_snapshot(snapshot),
        }
    }

    fn set_membership(&mut self, membership: Membership, at: u64) {
        self.exists = true;
        self.since = at;
        self.generation_last = self.generation_last.max(membership.generation);
        self.membership_bytes = cost::of_membership(&membership);
        self.membership = membership;
    }

    fn replace(&mut self, old_id: &str, member: &MemberRecord) {
        let members = &mut self.membership.members;
        members.retain(|known| known.id != old_id && known.id != member.id);
        members.push(member.clone());
        members.sort_by(|a, b| a.id.cmp(&b.id));
        if self.membership.leader.as_deref() == Some(old_id) {
            self.membership.leader = Some(member.id.clone());
        }
        self.membership_bytes = cost::of_membership(&self.membership);
    }

    /// A commit without a group makes one, as old as its first commit.
    fn come_to_be(&mut self, topics: &[TopicOffsets]) {
        if !self.exists {
            self.exists = true;
            let first = topics.iter().flat_map(|topic| &topic.partitions).next();
            self.since = first.map_or(0, |(_, offset)| offset.committed_at);
        }
    }

    fn commit(&mut self, topics: &[TopicOffsets]) {
        self.come_to_be(topics);
        for topic in topics {
            for (partition, offset) in &topic.partitions {
                let at = TopicPartition {
                    topic: topic.topic,
                    partition: *partition,
                };
                self.overtake(at, offset.committed_at);
                self.offsets.insert(at, &topic.name, offset.clone());
            }
        }
    }

    /// The latest commit wins, so what a transaction staged before it must not replace it later.
    /// What was staged after it still may: a transaction takes effect as of when it staged.
    fn overtake(&mut self, at: TopicPartition, committed_at: u64) {
        for staged in self.staged.values_mut() {
            let earlier = |offset: &CommittedOffset| offset.committed_at <= committed_at;
            if staged.offsets.get(at).is_some_and(earlier) {
                staged.offsets.remove(at);
                staged.overtaken.insert(at);
            }
        }
    }

    fn stage(&mut self, producer_id: i64, topics: &[TopicOffsets]) {
        self.come_to_be(topics);
        let staged = self.staged.entry(producer_id).or_default();
        for topic in topics {
            for (partition, offset) in &topic.partitions {
                let at = TopicPartition {
                    topic: topic.topic,
                    partition: *partition,
                };
                staged.overtaken.remove(&at);
                staged.offsets.insert(at, &topic.name, offset.clone());
            }
        }
    }

    fn forget(&mut self, at: TopicPartition) {
        self.offsets.remove(at);
        for staged in self.staged.values_mut() {
            staged.offsets.remove(at);
            staged.overtaken.remove(&at);
        }
        self.staged
            .retain(|_, staged| staged.offsets.count > 0 || !staged.overtaken.is_empty());
    }

    fn from_snapshot(snapshot: &Snapshot) -> Self {
        let staged = snapshot.staged.iter().map(|staged| {
            let overtaken = staged.overtaken.iter().copied().collect();
            let offsets = Offsets::from_topics(&staged.offsets);
            (staged.producer_id, Staged { offsets, overtaken })
        });
        Self {
            exists: snapshot.exists,
            generation_last: snapshot.generation_last,
            membership_bytes: cost::of_membership(&snapshot.membership),
            membership: snapshot.membership.clone(),
            since: snapshot.since,
            offsets: Offsets::from_topics(&snapshot.offsets),
            staged: staged.collect(),
        }
    }

    /// The one event that rebuilds this state.
    pub(super) fn snapshot(&self) -> GroupEvent {
        let staged = self
            .staged
            .iter()
            .map(|(producer_id, staged)| StagedOffsets {
                producer_id: *producer_id,
                offsets: staged.offsets.to_topics(),
                overtaken: staged.overtaken.iter().copied().collect(),
            });
        GroupEvent::Snapshot(Box::new(Snapshot {
            exists: self.exists,
            generation_last: self.generation_last,
            membership: self.membership.clone(),
            since: self.since,
            offsets: self.offsets.to_topics(),
            staged: staged.collect(),
        }))
    }

    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    pub(super) fn generation_last(&self) -> i32 {
        self.generation_last
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(super) fn since(&self) -> u64 {
        self.since
    }

    pub(super) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Whether a transaction that has not ended touched this partition.
    pub(super) fn is_staged(&self, at: TopicPartition) -> bool {
        self.staged
            .values()
            .any(|staged| staged.offsets.get(at).is_some() || staged.overtaken.contains(&at))
    }

    pub(super) fn has_transaction(&self, producer_id: i64) -> bool {
        self.staged.contains_key(&producer_id)
    }

    pub(super) fn has_transactions(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Bytes of the texts beside all offsets, staged ones included.
    pub(super) fn text_bytes(&self) -> usize {
        let staged = self.staged.values();
        let staged: usize = staged.map(|staged| staged.offsets.text_bytes).sum();
        self.offsets.text_bytes + staged
    }

    /// What the members of the last generation take in memory.
    pub(super) fn membership_bytes(&self) -> u64 {
        self.membership_bytes
    }

    /// What all offsets take in memory, staged ones included.
    pub(super) fn offset_bytes(&self) -> u64 {
        let staged: u64 = self.staged.values().map(Staged::bytes).sum();
        self.offsets.bytes + staged
    }

    /// The offsets of a transaction.
    pub(super) fn staged(&self, producer_id: i64) -> Option<&Offsets> {
        self.staged.get(&producer_id).map(|staged| &staged.offsets)
    }

    /// How many offsets are remembered, staged ones included.
    pub(super) fn offset_count(&self) -> usize {
        let staged = self.staged.values();
        let staged: usize = staged.map(|s| s.offsets.count + s.overtaken.len()).sum();
        self.offsets.count + staged
    }

    /// Every partition of a topic this group remembers anything about.
    pub(super) fn partitions_of(&self, topic: Uuid) -> BTreeSet<TopicPartition> {
        let all = self
            .staged
            .values()
            .map(|staged| &staged.offsets)
            .chain([&self.offsets]);
        let known = all.flat_map(Offsets::iter).map(|(at, _, _)| at);
        let overtaken = self
            .staged
            .values()
            .flat_map(|staged| staged.overtaken.iter().copied());
        known
            .chain(overtaken)
            .filter(|at| at.topic == topic)
            .collect()
    }
}

/// Offsets by topic, so that a name is held once per topic and not once per partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Offsets {
    topics: BTreeMap<Uuid, Topic>,
    count: usize,
    /// Of the texts beside them.
    text_bytes: usize,
    /// What all of them take in memory.
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Topic {
    name: String,
    partitions: BTreeMap<i32, CommittedOffset>,
}

impl Offsets {
    pub(super) fn get(&self, at: TopicPartition) -> Option<&CommittedOffset> {
        self.topics.get(&at.topic)?.partitions.get(&at.partition)
    }

    pub(super) fn has_topic(&self, topic: Uuid) -> bool {
        self.topics.contains_key(&topic)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicPartition, &str, &CommittedOffset)> {
        self.topics.iter().flat_map(|(id, topic)| {
            topic.partitions.iter().map(|(partition, offset)| {
                let at = TopicPartition {
                    topic: *id,
                    partition: *partition,
                };
                (at, topic.name.as_str(), offset)
            })
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn insert(&mut self, at: TopicPartition, name: &str, offset: CommittedOffset) {
        let topic = self.topics.entry(at.topic).or_insert_with(|| {
            self.bytes += cost::of_topic("");
            Topic::default()
        });
        if topic.name != name {
            self.bytes += name.len() as u64;
            self.bytes -= topic.name.len() as u64;
            name.clone_into(&mut topic.name);
        }
        self.text_bytes += offset.metadata.len();
        self.bytes += cost::of_offset(&offset.metadata);
        match topic.partitions.insert(at.partition, offset) {
            Some(before) => {
                self.text_bytes -= before.metadata.len();
                self.bytes -= cost::of_offset(&before.metadata);
            }
            None => self.count += 1,
        }
    }

    fn remove(&mut self, at: TopicPartition) -> bool {
        let Some(topic) = self.topics.get_mut(&at.topic) else {
            return false;
        };
        let removed = topic.partitions.remove(&at.partition);
        if topic.partitions.is_empty() {
            self.bytes -= cost::of_topic(&topic.name);
            self.topics.remove(&at.topic);
        }
        if let Some(removed) = &removed {
            self.bytes -= cost::of_offset(&removed.metadata);
            self.count -= 1;
            self.text_bytes -= removed.metadata.len();
        }
        removed.is_some()
    }

    fn from_topics(topics: &[TopicOffsets]) -> Self {
        let mut offsets = Self::default();
        for topic in topics {
            for (partition, offset) in &topic.partitions {
                let at = TopicPartition {
                    topic: topic.topic,
                    partition: *partition,
                };
                offsets.insert(at, &topic.name, offset.clone());
            }
        }
        offsets
    }

    fn to_topics(&self) -> Vec<TopicOffsets> {
        let topics = self.topics.iter().map(|(id, topic)| TopicOffsets {
            topic: *id,
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|(p, offset)| (*p, offset.clone()))
                .collect(),
        });
        topics.collect()
    }
}
