//! What a group answers: one reply per ticket, and the events the answers rest on.

use bytes::Bytes;

use super::command::{Leaver, Ticket};
use super::error::Error;
use super::event::{CommittedOffset, GroupEvent, TopicPartition};

/// What came of a command or of time passing.
///
/// Replies may be sent only once these events, and all events of earlier outcomes, are durable:
/// a reply without events may still rest on an event that was decided just before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Changes to make durable, in order. Already applied to the group.
    pub events: Vec<GroupEvent>,
    /// Answers, perhaps to commands of long ago.
    pub replies: Vec<(Ticket, Reply)>,
}

/// The answer to a [`Command`](super::Command), variant by variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To a join.
    Join(Result<Joined, JoinRefused>),
    /// To a sync.
    Sync(Result<Synced, Error>),
    /// To a heartbeat.
    Heartbeat(Result<(), Error>),
    /// To a leave: one result per leaver, in order.
    Leave(Vec<(Leaver, Result<(), Error>)>),
    /// To a commit: one result per offset, in order.
    CommitOffsets(Result<Vec<PartitionResult>, Error>),
    /// To the end of a transaction.
    EndTransaction,
    /// To a deletion of offsets: one result per partition, in order.
    DeleteOffsets(Result<Vec<PartitionResult>, Error>),
    /// To a deletion of the group.
    Delete(Result<(), Error>),
    /// To the news that a topic was deleted.
    TopicDeleted,
}

/// What came of a request for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionResult {
    /// Which partition.
    pub partition: TopicPartition,
    /// Whether it was granted.
    pub result: Result<(), Error>,
}

/// A member is in; every member of a generation gets the same generation, protocol and leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member_id: String,
    /// The generation it joined.
    pub generation: i32,
    /// Kind of group.
    pub protocol_type: Option<String>,
    /// The protocol the members agreed on.
    pub protocol_name: Option<String>,
    /// Who assigns partitions.
    pub leader: String,
    /// The leader should not assign anew: the standing assignment holds.
    pub skip_assignment: bool,
    /// To the leader: everyone to be served. Empty to others.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if static.
    pub instance_id: Option<String>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A member is not in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub error: Error,
    /// The id to come back with after [`Error::MemberIdRequired`]; otherwise the id to echo.
    pub member_id: String,
}

/// The part of the work that fell to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Kind of group.
    pub protocol_type: Option<String>,
    /// The chosen protocol.
    pub protocol_name: Option<String>,
    /// The assignment, opaque to the group.
    pub assignment: Bytes,
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// The group does not exist, or no longer.
    #[default]
    Dead,
    /// No members; perhaps offsets.
    Empty,
    /// Members are being collected for the next generation.
    PreparingRebalance,
    /// The generation is known; the leader has yet to assign.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
}

/// A group as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Where it stands.
    pub state: State,
    /// Current generation.
    pub generation: i32,
    /// Kind of group; absent for offsets without membership.
    pub protocol_type: Option<String>,
    /// The chosen protocol, while stable.
    pub protocol_name: Option<String>,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if static.
    pub instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// One remembered offset, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Which partition.
    pub partition: TopicPartition,
    /// Name its topic had when the offset was committed.
    pub topic_name: String,
    /// The offset, or [`Error::UnstableOffset`].
    pub offset: Result<CommittedOffset, Error>,
}
