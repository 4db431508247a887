//! How a move task stands, as far as one queue partition is concerned.

use uuid::Uuid;

/// A move task as far as this queue partition is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveProgress {
    /// Which.
    pub task: Uuid,
    /// When it was started, ms.
    pub at: u64,
    /// It moves messages before this offset.
    pub upto: u64,
    /// Messages there were to move at the start.
    pub to_move: u64,
    /// Messages moved.
    pub moved: u64,
    /// Messages per second at most; 0: as many as there are.
    pub rate_max: u32,
    /// Queue it gives to; absent: to each message's own source.
    pub destination: Option<String>,
    /// How it ended, once it has.
    pub ended: Option<Ended>,
}

/// How a move task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// It was asked to stop.
    pub cancelled: bool,
    /// Why it failed.
    pub failure: Option<String>,
}
