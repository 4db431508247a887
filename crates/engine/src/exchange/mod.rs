//! Exchanges of all vhosts: which there are, and where a message that is published to one of them goes.
//!
//! What one vhost's exchanges and bindings make of a message is decided in the crate `routing`, by names; here they are
//! shared behind a lock, and names become queues.

mod routing_tables;

pub use routing::{
    Arguments, Binding, DEFAULT, Destination, Exchange, ExchangeDocument, Headers, Kind,
    NewExchange, NoHeaders, Property, Routed, STANDARD, Value, find,
};
pub(crate) use routing::{BindingId, Bound, Removed, Target, VhostRouting, check, octets};
pub(crate) use routing_tables::RoutingTables;

use std::sync::Arc;

use crate::queue::Queue;

/// Where a message goes, as it was decided for who may publish there. Only what has a route can be sent to several queues.
#[derive(Debug, Clone, Default)]
pub struct Route {
    pub(crate) queues: Vec<Arc<Queue>>,
    pub(crate) delay_ms: Option<u64>,
}

impl Route {
    /// The queues, each once.
    pub fn queues(&self) -> &[Arc<Queue>] {
        &self.queues
    }

    /// How long it waits there, ms, where its exchange delays.
    pub fn delay_ms(&self) -> Option<u64> {
        self.delay_ms
    }
}
