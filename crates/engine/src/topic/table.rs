//! The table of all topics: immutable, shared, replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::Topic;

/// All topics at one moment.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Topics {
    /// A topic by name.
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// A topic by identity.
    pub fn with_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics in name order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Adds a topic, or replaces the one of that name.
    pub fn insert(&mut self, topic: Arc<Topic>) {
        if let Some(old) = self
            .by_name
            .insert(Arc::clone(&topic.name), Arc::clone(&topic))
        {
            self.by_id.remove(&old.id());
        }
        self.by_id.insert(topic.id(), topic);
    }

    /// Takes a topic out.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(name)?;
        self.by_id.remove(&topic.id());
        Some(topic)
    }
}
