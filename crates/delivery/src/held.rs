//! How a message in a queue is shown.

/// What a message in a queue is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It can be received.
    Ready,
    /// It is behind another one of its key that is in flight or waits.
    Behind,
    /// It was received, or is about to leave.
    InFlight,
    /// It came back and waits for its retry.
    Waiting,
    /// It was sent with a delay that is not over.
    Delayed,
}
