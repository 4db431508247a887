//! AMQP 0-9-1 frontend: translates the protocol of AMQP clients to the engine and back.
//!
//! So far it holds the wire format alone.

pub mod wire;
