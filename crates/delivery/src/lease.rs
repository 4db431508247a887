//! A lease, as who asked for messages gets it.

/// What a receiver gets about a message beside its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub offset: u64,
    /// Number of the lease.
    pub number: u64,
    /// Times leased in this queue partition.
    pub leased: u32,
    /// Times failed in this queue partition.
    pub failed: u32,
    /// It may have been leased before.
    pub redelivered: bool,
    /// First lease, ms.
    pub first_ms: u64,
    /// Last lease, ms.
    pub last_ms: u64,
    /// Between which times it came, where its record does not say it, ms.
    pub arrived: Option<(u64, u64)>,
}

impl Lease {
    /// The same with its times as the wall clock showed them, for people and clients: `stamp_at` says so of a moment of
    /// broker time.
    #[must_use]
    pub fn stamped(self, stamp_at: impl Fn(u64) -> u64) -> Self {
        Self {
            first_ms: stamp_at(self.first_ms),
            last_ms: stamp_at(self.last_ms),
            arrived: self
                .arrived
                .map(|(first, last)| (stamp_at(first), stamp_at(last))),
            ..self
        }
    }
}
