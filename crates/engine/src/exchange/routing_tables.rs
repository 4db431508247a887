//! All vhosts with their exchanges. Shared by everybody, changed by the controller alone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use routing::VhostRouting;

use crate::vhost::Vhost;
use crate::{Error, Result};

/// Vhosts by name, each with its exchanges.
type ByName = BTreeMap<Arc<str>, (Arc<Vhost>, VhostRouting)>;

/// All vhosts. Routing takes a read lock for a moment; a change takes the write lock for as long as it takes to place
/// one binding, or to take out one thing and what rests on it.
#[derive(Debug)]
pub(crate) struct RoutingTables {
    inner: RwLock<ByName>,
    /// Topic exchanges of every vhost that only the broker publishes to.
    internal: Arc<[String]>,
}

impl RoutingTables {
    /// The default vhost alone. `internal` are topic exchanges of every vhost that only the broker publishes to.
    pub(crate) fn new(internal: &[String]) -> Self {
        let routing_tables = Self {
            inner: RwLock::default(),
            internal: Arc::from(internal),
        };
        routing_tables.insert(Vhost::default());
        routing_tables
    }

    /// Names of all vhosts in order.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let routing_tables = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        routing_tables.keys().cloned().collect()
    }

    /// All vhosts in name order.
    pub(crate) fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let routing_tables = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        routing_tables
            .values()
            .map(|(vhost, _)| Arc::clone(vhost))
            .collect()
    }

    /// The vhost of that name.
    pub(crate) fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        let routing_tables = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        routing_tables.get(name).map(|(vhost, _)| Arc::clone(vhost))
    }

    /// Whether there is a vhost of that name.
    pub(crate) fn has(&self, vhost: &str) -> bool {
        let routing_tables = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        routing_tables.contains_key(vhost)
    }

    /// Adds a vhost, unless there is one of its name.
    pub(crate) fn insert(&self, vhost: Vhost) {
        let mut routing_tables = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if !routing_tables.contains_key(vhost.name()) {
            let routing = VhostRouting::with(vhost.name(), &self.internal);
            let name = Arc::from(vhost.name());
            routing_tables.insert(name, (Arc::new(vhost), routing));
        }
    }

    /// Takes a vhost out, and notifies all sessions in it.
    pub(crate) fn remove(&self, vhost: &str) {
        let mut routing_tables = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((vhost, _)) = routing_tables.remove(vhost) {
            vhost.set_removed();
        }
    }

    /// Looks at a vhost. Errors: `UnknownVhost`.
    pub(crate) fn read<T>(&self, vhost: &str, look: impl FnOnce(&VhostRouting) -> T) -> Result<T> {
        let routing_tables = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let found = routing_tables.get(vhost).map(|(_, routing)| look(routing));
        found.ok_or(Error::UnknownVhost)
    }

    /// Changes a vhost. Errors: `UnknownVhost`.
    pub(crate) fn write<T>(
        &self,
        vhost: &str,
        change: impl FnOnce(&mut VhostRouting) -> T,
    ) -> Result<T> {
        let mut routing_tables = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let found = routing_tables
            .get_mut(vhost)
            .map(|(_, routing)| change(routing));
        found.ok_or(Error::UnknownVhost)
    }

    /// How many exchanges and bindings there are, those that every vhost has left out.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let routing_tables = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let each = routing_tables.values().map(|(_, routing)| routing.counts());
        each.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1))
    }
}
