//! The argument that says of what type a queue is.

/// The type of queues that survive the loss of a machine; durable and shared.
pub(crate) const QUORUM: &[u8] = b"quorum";
/// The type of queues that are read by position.
pub(crate) const STREAM: &[u8] = b"stream";
/// The type of queues whose declaration names none.
pub(super) const CLASSIC: &[u8] = b"classic";
pub(crate) const QUEUE_TYPE: &[u8] = b"x-queue-type";
