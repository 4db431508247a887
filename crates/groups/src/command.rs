//! What a group can be asked to do, as plain data without any wire format.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::event::TopicPartition;

/// Caller-made handle of a request that will be answered later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A request to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Become, or stay, a member.
    Join(Join),
    /// Bring (leader) or ask for (everyone) the assignment of a generation.
    Sync(Sync),
    /// Still alive.
    Heartbeat(MemberRef),
    /// Leave the group.
    Leave {
        /// Who leaves, each answered separately.
        members: Vec<Leaver>,
    },
    /// Remember offsets.
    CommitOffsets(CommitOffsets),
    /// The transaction of a producer has ended.
    EndTransaction {
        /// Whose transaction.
        producer_id: i64,
        /// Whether it was committed, as opposed to aborted.
        committed: bool,
    },
    /// Forget offsets on an operator's request.
    DeleteOffsets {
        /// Which ones.
        partitions: Vec<NamedPartition>,
    },
    /// Delete the group and its offsets.
    Delete,
    /// A topic is gone for good, so its offsets mean nothing any more.
    TopicDeleted(Uuid),
}

/// See [`Command::Join`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The id given by the group, or empty on first contact.
    pub member_id: String,
    /// Set by static members: an id that survives restarts of the client.
    pub instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where the client connects from.
    pub client_host: String,
    /// Silence after which the member is taken for dead.
    pub session_timeout_ms: u32,
    /// How long the member may need to join again once a rebalance has begun. Clients that send
    /// none mean their session timeout.
    pub rebalance_timeout_ms: u32,
    /// What kind of group this is to the clients, such as `consumer` or `connect`.
    pub protocol_type: String,
    /// Assignment protocols with the member's metadata, most preferred first.
    pub protocols: Vec<(String, Bytes)>,
    /// The client understands that it must come back with the id it is given.
    pub require_known_member: bool,
    /// The client, if leader, can be asked to leave assignments as they are.
    pub can_skip_assignment: bool,
    /// Fresh and random. A new member's id is its instance or client id, a dash, and this.
    pub fresh_id: String,
}

impl Join {
    /// The id that the group makes for a member that comes without one.
    pub(super) fn new_id(&self) -> String {
        let name = self.instance_id.as_ref().unwrap_or(&self.client_id);
        format!("{name}-{}", self.fresh_id)
    }
}

/// See [`Command::Sync`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Who asks, and for which generation.
    pub member: MemberRef,
    /// Protocol type the member believes in, if its client sends it.
    pub protocol_type: Option<String>,
    /// Protocol the member believes was chosen, if its client sends it.
    pub protocol_name: Option<String>,
    /// From the leader: assignment per member id.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member as it names itself in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRef {
    /// Its id; empty for a client outside membership.
    pub member_id: String,
    /// Its instance id, if static.
    pub instance_id: Option<String>,
    /// The generation it believes in; negative for a client outside membership.
    pub generation: i32,
}

/// One who leaves. With an empty member id, a static member is removed by its instance id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// Member id, or empty.
    pub member_id: String,
    /// Instance id of a static member.
    pub instance_id: Option<String>,
}

/// See [`Command::CommitOffsets`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// Who commits. A client outside membership has an empty id and a negative generation.
    pub member: MemberRef,
    /// Set when the offsets take effect only if this producer's transaction commits.
    pub producer_id: Option<i64>,
    /// How long to keep the offsets, for clients that still choose it themselves.
    pub retention_ms: Option<u64>,
    /// What to remember.
    pub offsets: Vec<OffsetCommit>,
}

/// One offset to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// Where.
    pub at: NamedPartition,
    /// The next offset to read.
    pub offset: i64,
    /// Epoch of the partition's owner when the last record was read, if known.
    pub leader_epoch: Option<i32>,
    /// Free text of the client.
    pub metadata: String,
}

/// A partition together with the name of its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPartition {
    /// Which partition.
    pub partition: TopicPartition,
    /// Name of the topic.
    pub topic_name: Arc<str>,
}
