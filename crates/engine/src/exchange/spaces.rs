//! All vhosts with their exchanges. Shared by everybody, changed by the controller alone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Space;
use crate::{Error, Result, vhost};

/// All vhosts. Routing takes a read lock for a moment; a change takes the write lock for as long as it takes to place
/// one binding, or to take out one thing and what rests on it.
#[derive(Debug)]
pub(crate) struct Spaces {
    inner: RwLock<BTreeMap<Arc<str>, Space>>,
}

impl Default for Spaces {
    fn default() -> Self {
        let spaces = Self {
            inner: RwLock::default(),
        };
        spaces.insert(vhost::DEFAULT);
        spaces
    }
}

impl Spaces {
    /// All vhosts in name order.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        spaces.keys().cloned().collect()
    }

    /// Whether there is a vhost of that name.
    pub(crate) fn has(&self, vhost: &str) -> bool {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        spaces.contains_key(vhost)
    }

    /// Adds a vhost, unless it is there.
    pub(crate) fn insert(&self, vhost: &str) {
        let mut spaces = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if !spaces.contains_key(vhost) {
            spaces.insert(Arc::from(vhost), Space::new(vhost));
        }
    }

    /// Takes a vhost out.
    pub(crate) fn remove(&self, vhost: &str) {
        let mut spaces = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        spaces.remove(vhost);
    }

    /// Looks at a vhost. Errors: `UnknownVhost`.
    pub(crate) fn read<T>(&self, vhost: &str, look: impl FnOnce(&Space) -> T) -> Result<T> {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        spaces.get(vhost).map(look).ok_or(Error::UnknownVhost)
    }

    /// Changes a vhost. Errors: `UnknownVhost`.
    pub(crate) fn write<T>(&self, vhost: &str, change: impl FnOnce(&mut Space) -> T) -> Result<T> {
        let mut spaces = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        spaces.get_mut(vhost).map(change).ok_or(Error::UnknownVhost)
    }

    /// How many exchanges and bindings there are, those that every vhost has left out.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let spaces = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let standard = super::STANDARD.len() + 1;
        spaces
            .values()
            .fold((0, 0), |(exchanges, bindings), space| {
                let own = space.exchanges_count() - standard;
                (exchanges + own, bindings + space.bindings_count())
            })
    }
}
