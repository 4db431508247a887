//! The table of all queues. Shared by everybody, changed by the controller alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use super::Queue;
use crate::vhost;

/// All queues. Lookups take a read lock for a moment; a hundred thousand queues make copying the table with every
/// change too dear.
#[derive(Debug, Default)]
pub struct Queues {
    inner: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    names: BTreeMap<Arc<str>, Arc<Queue>>,
    ids: HashMap<Uuid, Arc<Queue>>,
    topics: BTreeSet<(Uuid, Uuid)>,
}

impl Queues {
    /// A queue by name.
    pub fn named(&self, name: &str) -> Option<Arc<Queue>> {
        self.read(|tables| tables.names.get(name).cloned())
    }

    /// The queues of these names that are there.
    pub(crate) fn all_named(&self, names: &[Arc<str>]) -> Vec<Arc<Queue>> {
        self.read(|tables| {
            let there = names.iter().filter_map(|name| tables.names.get(name));
            there.cloned().collect()
        })
    }

    /// A queue by identity.
    pub fn with_id(&self, id: Uuid) -> Option<Arc<Queue>> {
        self.read(|tables| tables.ids.get(&id).cloned())
    }

    /// At most `max` queues in name order whose names begin with `prefix`, behind `after` if that is given.
    pub fn page(&self, prefix: &str, after: Option<&str>, max: usize) -> Vec<Arc<Queue>> {
        let from = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        self.read(|tables| {
            tables
                .names
                .range::<str, _>((from, Unbounded))
                .take_while(|(name, _)| name.starts_with(prefix))
                .take(max)
                .map(|(_, queue)| Arc::clone(queue))
                .collect()
        })
    }

    /// How many there are in a vhost.
    pub fn count_of_vhost(&self, vhost: &str) -> usize {
        let prefix = vhost::qualify(vhost, "");
        self.read(|tables| {
            let from = (Included(&*prefix), Unbounded);
            let from = tables.names.range::<str, _>(from);
            let near = from.take_while(|(name, _)| name.starts_with(&prefix));
            near.filter(|(name, _)| vhost::split(name).0 == vhost)
                .count()
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read(|tables| tables.names.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues that lease from a topic.
    pub fn of_topic(&self, topic: Uuid) -> Vec<Arc<Queue>> {
        self.read(|tables| {
            let all = tables
                .topics
                .range((topic, Uuid::nil())..=(topic, Uuid::max()));
            all.filter_map(|(_, id)| tables.ids.get(id).cloned())
                .collect()
        })
    }

    pub(crate) fn insert(&self, queue: Arc<Queue>) {
        let mut tables = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        tables.topics.insert((queue.document.topic, queue.id()));
        tables.ids.insert(queue.id(), Arc::clone(&queue));
        tables.names.insert(Arc::clone(&queue.name), queue);
    }

    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Queue>> {
        let mut tables = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let queue = tables.names.remove(name)?;
        tables.ids.remove(&queue.id());
        tables.topics.remove(&(queue.document.topic, queue.id()));
        Some(queue)
    }

    fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}
