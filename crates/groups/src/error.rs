//! Why a group refuses. One closed list, so that every frontend answers each case on purpose.

/// A refusal by a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Error {
    /// The group has no member with this id: it never joined, has left, or was expired.
    #[error("no such member")]
    UnknownMember,
    /// Another process has taken over this static instance id. Fatal for the one that hears it.
    #[error("the instance id now belongs to another member")]
    FencedInstance,
    /// The request names a generation that is not the current one.
    #[error("not the current generation")]
    IllegalGeneration,
    /// The group is between two generations: the member has to join again.
    #[error("a rebalance is in progress")]
    RebalanceInProgress,
    /// The member has to join again under the id that came with this refusal.
    #[error("join again with the given member id")]
    MemberIdRequired,
    /// The session timeout lies outside the allowed range.
    #[error("session timeout out of range")]
    InvalidSessionTimeout,
    /// The member shares no protocol, or not the protocol type, with the group.
    #[error("no protocol in common with the group")]
    InconsistentProtocol,
    /// The group has as many members as it may have.
    #[error("the group is full")]
    GroupFull,
    /// The group does not exist. Commits of clients that predate this answer expect
    /// [`Error::IllegalGeneration`] in its place.
    #[error("no such group")]
    NotFound,
    /// The group still has members.
    #[error("the group is not empty")]
    NotEmpty,
    /// The group is subscribed to the topic whose offsets should go.
    #[error("the group is subscribed to the topic")]
    Subscribed,
    /// The text beside a committed offset is too long. Concerns one partition of a commit.
    #[error("offset metadata too large")]
    MetadataTooLarge,
    /// What a member sent about itself, or an assignment, is too large.
    #[error("member data too large")]
    TooLarge,
    /// The group remembers as many offsets as it may. Concerns one partition of a commit.
    #[error("too many offsets")]
    OffsetsFull,
    /// What the command adds does not fit into the memory there is for the state of all groups: it is taken once others
    /// gave some back. In a commit it concerns one partition.
    #[error("the memory for the state of groups is full")]
    StateFull,
    /// A transaction that has not ended may still change this offset. The reader should ask again.
    #[error("the offset is not stable")]
    UnstableOffset,
}

/// Why stored bytes are not a group event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("event cut short")]
    Truncated,
    /// Written by a newer release, whose layout is not known here.
    #[error("unknown event version {0}")]
    Version(u8),
    /// No event has this tag.
    #[error("unknown event tag {0}")]
    Tag(u8),
    /// The bytes contradict themselves.
    #[error("malformed event: {0}")]
    Malformed(&'static str),
}
