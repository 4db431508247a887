//! Time and chance as arguments: the engine never asks the operating system for either.

use uuid::Uuid;

/// Both clocks, handed in by the binary and by tests.
///
/// How long something lasts is measured on the steady clock, when something happened is read from the wall clock. A
/// lease is the one, the time of a record is the other.
pub trait Clock: Send + Sync + 'static {
    /// The steady clock, ms: what the wall clock showed when the process began, and the time since. Never jumps.
    fn now_ms(&self) -> u64;

    /// The wall clock: milliseconds since 1970-01-01 UTC. May jump; nothing may break when it does.
    fn wall_ms(&self) -> u64 {
        self.now_ms()
    }

    /// How long the machine has been up, where that can be told apart from every other time it was. By this a start
    /// knows how long the broker was away, whatever was done to the wall clock meanwhile.
    fn uptime(&self) -> Option<Uptime> {
        None
    }
}

/// Time since the machine was started.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Uptime {
    /// Which start that was.
    pub boot: String,
    /// The time since, ms.
    pub ms: u64,
}

/// Fresh identities, handed in likewise.
pub trait RandomSource: Send + Sync + 'static {
    /// A random identity; never the same twice.
    fn fresh_id(&self) -> Uuid;
}
