//! What becomes durable about a group. Events are facts in past tense: the fold in `durable`
//! turns them into state, the codec beside this file into bytes.

use bytes::Bytes;
use uuid::Uuid;

/// One durable change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// The group has no members. Also the first fact about a group that came to be by a join.
    Emptied {
        /// Generation at that moment.
        generation: i32,
        /// Kind of group, if it ever had members.
        protocol_type: Option<String>,
        /// When.
        at: u64,
    },
    /// A generation number was sent to members, although their generation is not formed yet.
    /// Without this fact a restart could send the same number to other members.
    GenerationReserved {
        /// The number.
        generation: i32,
    },
    /// A generation was formed: its members and their assignments are final.
    Formed {
        /// The generation.
        membership: Membership,
        /// When.
        at: u64,
    },
    /// A static member came back and got a new id, within the same generation.
    MemberReplaced {
        /// The id it had.
        old_id: String,
        /// The member with its new id.
        member: MemberRecord,
    },
    /// Offsets were committed.
    OffsetsCommitted {
        /// By topic.
        topics: Vec<TopicOffsets>,
    },
    /// Offsets were committed inside a transaction that has not ended.
    OffsetsStaged {
        /// Whose transaction.
        producer_id: i64,
        /// By topic.
        topics: Vec<TopicOffsets>,
    },
    /// A transaction ended, and its staged offsets took effect or vanished.
    TransactionEnded {
        /// Whose transaction.
        producer_id: i64,
        /// Whether it was committed.
        committed: bool,
    },
    /// Offsets were deleted by request or together with their topic.
    OffsetsDeleted {
        /// Whose offsets.
        partitions: Vec<TopicPartition>,
    },
    /// Offsets were forgotten because of their age.
    OffsetsExpired {
        /// Whose offsets.
        partitions: Vec<TopicPartition>,
    },
    /// The group was deleted with everything it remembered.
    Deleted,
    /// Everything durable at one moment; replaces all that came before.
    Snapshot(Box<Snapshot>),
}

/// A generation: who is in it and who does what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// Number of the generation.
    pub generation: i32,
    /// Kind of group.
    pub protocol_type: Option<String>,
    /// The chosen protocol.
    pub protocol_name: Option<String>,
    /// Id of the leader. Always a member.
    pub leader: Option<String>,
    /// Sorted by id, without duplicates.
    pub members: Vec<MemberRecord>,
}

/// A member, as far as it outlives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberRecord {
    /// Its id.
    pub id: String,
    /// Its instance id, if static.
    pub instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Silence after which it is taken for dead.
    pub session_timeout_ms: u32,
    /// How long it may need to join again.
    pub rebalance_timeout_ms: u32,
    /// All its protocols with metadata, not only the chosen one: a member that joins again after
    /// a restart with the same list must not look changed.
    pub protocols: Vec<(String, Bytes)>,
    /// Its assignment.
    pub assignment: Bytes,
}

impl MemberRecord {
    /// The member's metadata for a protocol; empty if it does not know the protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| Some(name.as_str()) == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
}

/// A partition of a topic, by the topic's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Id of the topic. A topic created again under the same name has another one.
    pub topic: Uuid,
    /// Index of the partition.
    pub partition: i32,
}

/// Offsets of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOffsets {
    /// Id of the topic.
    pub topic: Uuid,
    /// Its name.
    pub name: String,
    /// Offset per partition index.
    pub partitions: Vec<(i32, CommittedOffset)>,
}

/// A remembered offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Epoch of the partition's owner when the last record was read, if known.
    pub leader_epoch: Option<i32>,
    /// Free text of the client.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: u64,
    /// When to forget it, if the client chose.
    pub expires_at: Option<u64>,
}

/// See [`GroupEvent::Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Whether the group exists; if not, the rest is empty.
    pub exists: bool,
    /// Highest generation number ever sent to a member.
    pub generation_last: i32,
    /// The last generation formed.
    pub membership: Membership,
    /// When the group was formed or became empty.
    pub since: u64,
    /// Committed offsets.
    pub offsets: Vec<TopicOffsets>,
    /// Offsets of transactions that have not ended.
    pub staged: Vec<StagedOffsets>,
}

/// Offsets of one transaction that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedOffsets {
    /// Whose transaction.
    pub producer_id: i64,
    /// Take effect if the transaction commits.
    pub offsets: Vec<TopicOffsets>,
    /// Were overtaken by a later plain commit: not stable until the end, then without effect.
    pub overtaken: Vec<TopicPartition>,
}
