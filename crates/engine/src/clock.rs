//! Time and chance as arguments: the engine never asks the operating system for either.

use uuid::Uuid;

/// The wall clock, handed in by the binary and by tests.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 UTC. May jump; nothing may break when it does.
    fn now_ms(&self) -> u64;
}

/// Fresh identities, handed in likewise.
pub trait Dice: Send + Sync + 'static {
    /// A random identity; never the same twice.
    fn fresh_id(&self) -> Uuid;
}
