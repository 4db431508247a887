//! Remembering offsets: who may commit, and what a commit may hold.

use uuid::Uuid;

use super::Turn;
use crate::command::{CommitOffsets, OffsetCommit, Ticket};
use crate::cost;
use crate::error::Error;
use crate::event::{CommittedOffset, GroupEvent, TopicOffsets};
use crate::reply::{PartitionResult, Reply, State};

/// What a group may still remember.
struct Room {
    offsets: usize,
    text_bytes: usize,
    /// Memory for all groups together.
    state_bytes: u64,
    /// The topic of the offset before, which has its place.
    topic: Option<Uuid>,
}

impl Turn<'_> {
    pub(crate) fn commit_offsets(&mut self, commit: CommitOffsets, ticket: Ticket) {
        let result = self.try_commit(commit);
        self.reply(ticket, Reply::CommitOffsets(result));
    }

    fn try_commit(&mut self, commit: CommitOffsets) -> Result<Vec<PartitionResult>, Error> {
        self.check_commit(&commit)?;
        let producer_id = commit.producer_id;
        let in_transaction = producer_id.is_some();
        if !in_transaction && matches!(self.live.state, State::Stable | State::PreparingRebalance) {
            // A member that commits is alive, even if its heartbeats are late.
            self.renew_session(&commit.member.member_id);
        }
        let expires_at = commit.retention_ms.map(|ms| self.now.saturating_add(ms));
        let settings = self.settings;
        let mut room = Room {
            offsets: settings
                .offsets_max
                .saturating_sub(self.durable.offset_count()),
            text_bytes: settings
                .offsets_text_bytes_max
                .saturating_sub(self.durable.text_bytes()),
            state_bytes: self.room.saturating_sub(self.new_transaction(producer_id)),
            topic: None,
        };
        let mut results = Vec::with_capacity(commit.offsets.len());
        let mut topics: Vec<TopicOffsets> = Vec::new();
        for offset in commit.offsets {
            let partition = offset.at.partition;
            let result = self.check_offset(&offset, producer_id, &mut room);
            results.push(PartitionResult { partition, result });
            if result.is_ok() {
                append(&mut topics, offset, self.now, expires_at);
            }
        }
        if !topics.is_empty() {
            self.record(match commit.producer_id {
                Some(producer_id) => GroupEvent::OffsetsStaged {
                    producer_id,
                    topics,
                },
                None => GroupEvent::OffsetsCommitted { topics },
            });
        }
        Ok(results)
    }

    /// Members commit for the current generation. Others may commit while there are no members,
    /// who would not know of it; inside a transaction the producer's own fencing protects enough.
    fn check_commit(&self, commit: &CommitOffsets) -> Result<(), Error> {
        let member = &commit.member;
        let in_transaction = commit.producer_id.is_some();
        let outsider = member.generation < 0;
        match self.live.state {
            State::Dead if !outsider => {
                return Err(if in_transaction {
                    Error::IllegalGeneration
                } else {
                    Error::NotFound
                });
            }
            State::Dead | State::Empty if outsider => return Ok(()),
            _ => {}
        }
        if !outsider || !member.member_id.is_empty() || member.instance_id.is_some() {
            self.check_member(member)?;
        } else if !in_transaction {
            return Err(Error::UnknownMember);
        }
        if !in_transaction && self.live.state == State::CompletingRebalance {
            return Err(Error::RebalanceInProgress);
        }
        Ok(())
    }

    fn check_offset(
        &self,
        offset: &OffsetCommit,
        producer_id: Option<i64>,
        room: &mut Room,
    ) -> Result<(), Error> {
        let max = self.settings.offset_metadata_max;
        // The length in bytes is never below the length that counts, and cheaper.
        if offset.metadata.len() > max && offset.metadata.encode_utf16().count() > max {
            return Err(Error::MetadataTooLarge);
        }
        let known = self.durable.offsets().get(offset.at.partition);
        let replaced = known.filter(|_| producer_id.is_none());
        let (bytes, before) = (
            offset.metadata.len(),
            replaced.map_or(0, |known| known.metadata.len()),
        );
        // What replaces a longer text always fits.
        let text_bytes = room
            .text_bytes
            .checked_sub(bytes.saturating_sub(before))
            .ok_or(Error::OffsetsFull)?;
        let adds = self.adds(producer_id, offset, room.topic);
        let state_bytes = room.state_bytes.checked_sub(adds);
        let state_bytes = state_bytes.ok_or(Error::StateFull)?;
        if replaced.is_none() {
            room.offsets = room.offsets.checked_sub(1).ok_or(Error::OffsetsFull)?;
        }
        room.text_bytes = text_bytes;
        room.state_bytes = state_bytes;
        room.topic = Some(offset.at.partition.topic);
        Ok(())
    }

    /// What an offset adds in memory, plain or in a transaction: nothing where it replaces one with as long a text.
    fn adds(&self, producer_id: Option<i64>, offset: &OffsetCommit, before: Option<Uuid>) -> u64 {
        let at = offset.at.partition;
        let offsets = match producer_id {
            Some(producer_id) => self.durable.staged(producer_id),
            None => Some(self.durable.offsets()),
        };
        let bytes = cost::of_offset(&offset.metadata);
        if let Some(replaced) = offsets.and_then(|offsets| offsets.get(at)) {
            return bytes.saturating_sub(cost::of_offset(&replaced.metadata));
        }
        let has_topic = offsets.is_some_and(|offsets| offsets.has_topic(at.topic));
        if has_topic || before == Some(at.topic) {
            bytes
        } else {
            cost::of_topic(&offset.at.topic_name) + bytes
        }
    }

    /// What a transaction adds in memory with its first offset, beside the offset.
    fn new_transaction(&self, producer_id: Option<i64>) -> u64 {
        match producer_id {
            Some(producer_id) if !self.durable.has_transaction(producer_id) => {
                cost::TRANSACTION_BYTES
            }
            Some(_) | None => 0,
        }
    }

    pub(crate) fn end_transaction(&mut self, producer_id: i64, committed: bool, ticket: Ticket) {
        if self.durable.has_transaction(producer_id) {
            self.record(GroupEvent::TransactionEnded {
                producer_id,
                committed,
            });
        }
        self.reply(ticket, Reply::EndTransaction);
    }

    /// Forgets offsets nobody needs any more, and in the end the group itself.
    pub(super) fn check_offsets(&mut self) {
        self.live.check_at = Some(self.now.saturating_add(self.check_interval_ms()));
        let offsets = self.durable.offsets().iter();
        let expired = offsets.filter(|(at, name, offset)| {
            self.is_expired(offset)
                && !self.live.is_subscribed(name, self.settings)
                && !self.durable.is_staged(*at)
        });
        let partitions: Vec<_> = expired.map(|(at, _, _)| at).collect();
        if !partitions.is_empty() {
            self.record(GroupEvent::OffsetsExpired { partitions });
        }
        let unused = self.durable.offsets().is_empty() && !self.durable.has_transactions();
        if unused && self.live.state == State::Empty && self.live.pending.is_empty() {
            self.record(GroupEvent::Deleted);
        }
    }

    /// Members keep offsets alive. Where the topics of a group with members are unknown, all of
    /// its offsets stay; where they are known, the others age from their commit.
    fn is_expired(&self, offset: &CommittedOffset) -> bool {
        let base = match (&self.live.protocol_type, self.live.state) {
            (None, _) => offset.committed_at,
            // A commit after the last member left counts too: an operator may just have reset it.
            (Some(_), State::Empty) => offset.committed_at.max(self.durable.since()),
            (Some(_), State::Stable) if self.live.topics.is_some() => offset.committed_at,
            (Some(_), _) => return false,
        };
        match offset.expires_at {
            Some(expires_at) => self.now >= expires_at,
            None => self.now >= base.saturating_add(self.settings.offsets_retention_ms),
        }
    }
}

/// Adds one offset to a list by topic. Clients send the partitions of a topic together.
fn append(topics: &mut Vec<TopicOffsets>, commit: OffsetCommit, now: u64, expires_at: Option<u64>) {
    let at = commit.at.partition;
    let offset = CommittedOffset {
        offset: commit.offset,
        leader_epoch: commit.leader_epoch,
        metadata: commit.metadata,
        committed_at: now,
        expires_at,
    };
    match topics.last_mut().filter(|topic| topic.topic == at.topic) {
        Some(topic) => topic.partitions.push((at.partition, offset)),
        None => topics.push(TopicOffsets {
            topic: at.topic,
            name: commit.at.topic_name.to_string(),
            partitions: vec![(at.partition, offset)],
        }),
    }
}
