//! Plain settings of a group: timeouts and limits, with defaults clients are known to assume.

use std::collections::BTreeSet;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// Timeouts and limits of one group.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    /// Shortest session timeout a member may ask for.
    pub session_timeout_min_ms: u32,
    /// Longest session timeout a member may ask for.
    pub session_timeout_max_ms: u32,
    /// How long an empty group waits for more members before its first generation.
    pub initial_rebalance_delay_ms: u64,
    /// How long a member that has never seen a generation may wait for one. Its client may have
    /// given up without ever learning its member id, so nobody would leave on its behalf.
    pub new_member_join_timeout_ms: u64,
    /// How long offsets outlive the last member, or the last commit where there are no members.
    pub offsets_retention_ms: u64,
    /// How often a group looks for offsets to expire, and whether it should itself disappear.
    pub offsets_check_interval_ms: u64,
    /// Members at most; also the most ids handed out to members that have yet to join.
    pub members_max: usize,
    /// Bytes one member may send about itself, and bytes of one assignment.
    pub member_bytes_max: usize,
    /// Bytes of all members, or of all their assignments, together.
    pub membership_bytes_max: usize,
    /// Length of the text beside a committed offset, in UTF-16 units, which is how clients count.
    pub offset_metadata_max: usize,
    /// Partitions a group may remember an offset for.
    pub offsets_max: usize,
    /// Bytes of the texts beside all of a group's offsets together: its snapshot is one record.
    pub offsets_text_bytes_max: usize,
    /// Reads which topics a member subscribes to. The format belongs to the clients, so its reader is handed
    /// in; it must be a pure function.
    pub subscription: fn(protocol_type: &str, metadata: &[u8]) -> Subscription,
}

/// What a member's metadata says about topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// The topics the member subscribes to.
    Topics(BTreeSet<String>),
    /// This type of group subscribes to topics, but these bytes cannot be read.
    Unreadable,
    /// This type of group is not about topics, whatever the bytes.
    NotTopics,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            new_member_join_timeout_ms: 5 * MINUTE_MS,
            offsets_retention_ms: 7 * DAY_MS,
            offsets_check_interval_ms: 10 * MINUTE_MS,
            members_max: 10_000,
            member_bytes_max: 1 << 20,
            membership_bytes_max: 32 << 20,
            offset_metadata_max: 4_096,
            offsets_max: 1_000_000,
            offsets_text_bytes_max: 64 << 20,
            subscription: |_, _| Subscription::NotTopics,
        }
    }
}
