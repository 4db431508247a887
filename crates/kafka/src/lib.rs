//! Kafka frontend: translates the Kafka protocol to the engine and back.
//!
//! One task per connection ([`serve`]) reads frames, hands each to a handler and writes the answers in the
//! order of the requests. Nothing here survives a disconnect: what must, lives in the engine.

mod context;
mod error;
mod fetch_sessions;
mod frames;
mod handlers;
mod host;
mod metrics;
mod session;
pub mod wire;

pub use context::{Context, Settings};
pub use handlers::{subscription, topic_defaults};
pub use host::{LogDir, Loggers};
pub use metrics::{Metrics, api_name};
pub use session::serve;
