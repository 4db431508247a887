//! Translates Amazon SQS: AWS JSON 1.0 and Query requests over HTTP, for unchanged clients old and new.
//!
//! A queue is the engine's; what the service has beyond that (policies, tags, names of attributes) is kept with it as
//! annotations. `session` takes a request from bytes to a handler and back, `handlers` say what each action does,
//! `wire` knows the two protocols, `sigv4` checks who asks.

mod actions;
mod arn;
mod attributes;
mod context;
#[cfg(test)]
mod coverage;
mod error;
mod handlers;
mod message;
mod metrics;
mod presence;
mod receipt_handle;
mod session;
mod sigv4;
mod wire;

pub use arn::UrlStyle;
pub use context::{Context, Credential, Settings, Signatures};
pub use metrics::Metrics;
pub use session::router;
pub use wire::fuzz;
