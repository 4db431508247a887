//! What a group takes in memory: an estimate, rather too large than too small, that is made without going through all of
//! it, and what a command would add.
//!
//! A member is there twice: as it is now, and as the last generation has it. Room for both is taken when it joins, so
//! that what comes later (a generation, its assignment being formed) finds it.

use bytes::Bytes;

use super::command::{Command, CommitOffsets, Join};
use super::event::{MemberRecord, Membership};

/// The nodes that a map of members has from the first one on.
pub(super) const MEMBERS_BYTES: u64 = 3 << 10;
/// A member: its record, its place in the map, its timers, and its name where it is a static one or has yet to sync.
const MEMBER_BYTES: u64 = 640;
/// A protocol of a member.
const PROTOCOL_BYTES: u64 = 96;
/// The node that a map of ids that were handed out has from the first one on.
pub(super) const PENDING_BYTES: u64 = 512;
/// An id that was handed out.
const ID_BYTES: u64 = 128;
/// A topic of a generation.
pub(super) const SUBSCRIBED_BYTES: u64 = 8;
/// A topic with offsets: its name, and the nodes of its map.
pub(super) const TOPIC_BYTES: u64 = 1 << 10;
/// A committed offset.
pub(super) const OFFSET_BYTES: u64 = 160;
/// A transaction that has not ended, and the nodes of its map.
pub(super) const TRANSACTION_BYTES: u64 = 1 << 10;
/// An offset of a transaction that was overtaken.
pub(super) const OVERTAKEN_BYTES: u64 = 64;

/// What only the first one of its kind takes.
pub(super) fn first(is_first: bool, bytes: u64) -> u64 {
    if is_first { bytes } else { 0 }
}

/// What a group takes that has its first member, who leads it and says of what kind it is, beside the member itself.
pub(super) fn of_first_member(id: &str, join: &Join) -> u64 {
    MEMBERS_BYTES + 2 * (id.len() + join.protocol_type.len()) as u64
}

/// Bytes of a text that may be absent.
pub(super) fn len(text: Option<&String>) -> u64 {
    text.map_or(0, |text| text.len() as u64)
}

/// What all protocols of a member take.
pub(super) fn of_protocols(protocols: &[(String, Bytes)]) -> u64 {
    let of_one = |(name, data): &(String, Bytes)| PROTOCOL_BYTES + (name.len() + data.len()) as u64;
    protocols.iter().map(of_one).sum()
}

/// What a member takes: its id is in its record, in the map, and where it is a static one or has yet to sync.
pub(super) fn of_member(member: &MemberRecord) -> u64 {
    let texts = 4 * member.id.len() + member.client_id.len() + member.client_host.len();
    let instance = 2 * len(member.instance_id.as_ref());
    let assignment = member.assignment.len() as u64;
    MEMBER_BYTES + texts as u64 + instance + of_protocols(&member.protocols) + assignment
}

/// What the member takes that such a join makes.
pub(super) fn of_join(id: &str, join: &Join) -> u64 {
    let texts = 4 * id.len() + join.client_id.len() + join.client_host.len();
    let instance = 2 * len(join.instance_id.as_ref());
    MEMBER_BYTES + texts as u64 + instance + of_protocols(&join.protocols)
}

/// What an id takes that is handed out, perhaps as the first one.
pub(super) fn of_handed_out(id: &str, is_first: bool) -> u64 {
    ID_BYTES + id.len() as u64 + first(is_first, PENDING_BYTES)
}

/// What the members of a generation take.
pub(super) fn of_membership(membership: &Membership) -> u64 {
    membership.members.iter().map(of_member).sum()
}

/// What members take that are there twice: as they are now, and in the last generation that was formed.
pub(super) fn of_members(now: u64, formed: u64) -> u64 {
    now + now.max(formed)
}

impl Command {
    /// What it would add to a group that has nothing, at most.
    pub fn adds_to_new(&self) -> u64 {
        match self {
            Self::Join(join) => {
                let id = join.new_id();
                if join.require_known_member && join.instance_id.is_none() {
                    of_handed_out(&id, true)
                } else {
                    of_first_member(&id, join) + 2 * of_join(&id, join)
                }
            }
            Self::CommitOffsets(commit) => of_commit(commit),
            Self::Sync(_)
            | Self::Heartbeat(_)
            | Self::Leave { .. }
            | Self::EndTransaction { .. }
            | Self::DeleteOffsets { .. }
            | Self::Delete
            | Self::TopicDeleted(_) => 0,
        }
    }
}

fn of_commit(commit: &CommitOffsets) -> u64 {
    let mut before = None;
    let mut bytes = commit.producer_id.map_or(0, |_| TRANSACTION_BYTES);
    for offset in &commit.offsets {
        let at = &offset.at;
        if before.replace(at.partition.topic) != Some(at.partition.topic) {
            bytes += of_topic(&at.topic_name);
        }
        bytes += of_offset(&offset.metadata);
    }
    bytes
}

/// What a topic takes with its first offset, beside the offset.
pub(super) fn of_topic(name: &str) -> u64 {
    TOPIC_BYTES + name.len() as u64
}

/// What an offset takes.
pub(super) fn of_offset(metadata: &str) -> u64 {
    OFFSET_BYTES + metadata.len() as u64
}
