//! All vhosts with their exchanges. Shared by everybody, changed by the controller alone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Space;
use crate::vhost::Vhost;
use crate::{Error, Result};

/// Vhosts by name, each with its exchanges.
type ByName = BTreeMap<Arc<str>, (Arc<Vhost>, Space)>;

/// All vhosts. Routing takes a read lock for a moment; a change takes the write lock for as long as it takes to place
/// one binding, or to take out one thing and what rests on it.
#[derive(Debug)]
pub(crate) struct Spaces {
    inner: RwLock<ByName>,
    /// Topic exchanges of every vhost that only the broker publishes to.
    internal: Arc<[String]>,
}

impl Spaces {
    /// The default vhost alone. `internal` are topic exchanges of every vhost that only the broker publishes to.
    pub(crate) fn new(internal: &[String]) -> Self {
        let spaces = Self {
            inner: RwLock::default(),
            internal: Arc::from(internal),
        };
        spaces.insert(Vhost::default());
        spaces
    }

    /// Names of all vhosts in order.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        spaces.keys().cloned().collect()
    }

    /// All vhosts in name order.
    pub(crate) fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        spaces
            .values()
            .map(|(vhost, _)| Arc::clone(vhost))
            .collect()
    }

    /// The vhost of that name.
    pub(crate) fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        spaces.get(name).map(|(vhost, _)| Arc::clone(vhost))
    }

    /// Whether there is a vhost of that name.
    pub(crate) fn has(&self, vhost: &str) -> bool {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        spaces.contains_key(vhost)
    }

    /// Adds a vhost, unless there is one of its name.
    pub(crate) fn insert(&self, vhost: Vhost) {
        let mut spaces = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if !spaces.contains_key(vhost.name()) {
            let space = Space::with(vhost.name(), &self.internal);
            let name = Arc::from(vhost.name());
            spaces.insert(name, (Arc::new(vhost), space));
        }
    }

    /// Takes a vhost out, and tells everybody who works in it.
    pub(crate) fn remove(&self, vhost: &str) {
        let mut spaces = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((vhost, _)) = spaces.remove(vhost) {
            vhost.set_removed();
        }
    }

    /// Looks at a vhost. Errors: `UnknownVhost`.
    pub(crate) fn read<T>(&self, vhost: &str, look: impl FnOnce(&Space) -> T) -> Result<T> {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let found = spaces.get(vhost).map(|(_, space)| look(space));
        found.ok_or(Error::UnknownVhost)
    }

    /// Changes a vhost. Errors: `UnknownVhost`.
    pub(crate) fn write<T>(&self, vhost: &str, change: impl FnOnce(&mut Space) -> T) -> Result<T> {
        let mut spaces = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let found = spaces.get_mut(vhost).map(|(_, space)| change(space));
        found.ok_or(Error::UnknownVhost)
    }

    /// How many exchanges and bindings there are, those that every vhost has left out.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let each = spaces.values().map(|(_, space)| space.counts());
        each.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1))
    }
}
