//! AMQP 0-9-1 frontend: translates the protocol of AMQP clients to the engine and back, in the dialect they know.
//!
//! One task per connection ([`serve`]) reads frames, serves them in order, and writes answers and deliveries. Nothing
//! here survives a disconnect: what must, lives in the engine.

mod arguments;
mod channel;
mod closing;
mod context;
#[cfg(test)]
mod coverage;
mod deliveries;
mod error;
mod handlers;
mod handshake;
mod heartbeat;
mod link;
mod message;
mod metrics;
mod publish;
mod publishing;
mod reject_throttle;
mod replies;
mod session;
mod tables;
mod trace;
pub mod wire;

pub use context::{Context, DiskAlarm, Login, Logins, Settings};
pub use metrics::Metrics;
pub use session::serve;
pub use trace::TRACE_EXCHANGE;
