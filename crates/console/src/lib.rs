//! Translates HTTP for people and for the tools that watch over them: health and metrics.
//!
//! It owns no truth: health is told to it by the binary, numbers are read from [`Source`]s when asked for.

mod handlers;
mod health;
mod metrics;
mod process;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use health::Health;
pub use metrics::{BuildInfo, Histogram, Metrics, Samples, Source, Value};

/// What the pages are made from.
#[derive(Clone, Debug)]
pub struct State {
    /// Alive, ready, draining, and why not.
    pub health: Arc<Health>,
    /// Everything `/metrics` shows.
    pub metrics: Arc<Metrics>,
}

/// All routes of the HTTP listener.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/livez", get(handlers::health::live))
        .route("/readyz", get(handlers::health::ready))
        .route("/metrics", get(handlers::metrics::scrape))
        .with_state(state)
}
