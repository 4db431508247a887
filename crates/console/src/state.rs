//! What the pages are made from.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::health::Health;
use crate::metrics::{BuildInfo, Metrics};

/// What the pages are made from.
#[derive(Clone, Debug)]
pub struct State {
    /// Alive, ready, draining, and why not.
    pub health: Arc<Health>,
    /// Everything `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What the start page shows.
    pub overview: Arc<Overview>,
}

/// What the start page shows.
#[derive(Clone, Debug)]
pub struct Overview {
    /// What is running.
    pub build: BuildInfo,
    /// Where each listener really listens.
    pub addresses: Vec<(&'static str, SocketAddr)>,
}
