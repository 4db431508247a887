//! Topics: what they are called, how they are set, which partitions they have.
//!
//! A topic is a document of the catalog (`topics/<name>`); the table of all topics is rebuilt from the
//! documents at start and replaced as a whole with every change, so that readers never wait.

pub mod name;
mod overrides;
pub mod settings;
mod table;

#[cfg(test)]
mod tests;

pub use overrides::Overrides;
pub use settings::Config;
pub use table::Topics;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::partition::Partition;

/// A topic as the catalog stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDocument {
    /// Identity; a topic made again under the same name has another one.
    pub id: Uuid,
    /// Number of partitions; only grows.
    pub partitions: u32,
    /// Copies the creator asked for; one node keeps one, whatever stands here.
    pub replication: u16,
    /// Settings that differ from their defaults.
    #[serde(default)]
    pub overrides: Overrides,
}

/// A topic as the running broker knows it.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Name.
    pub name: Arc<str>,
    /// The stored document.
    pub document: TopicDocument,
    /// Version of the document.
    pub version: u64,
    /// The document's settings, checked and typed.
    pub config: Config,
    /// The partitions, by number.
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// The topic's identity.
    pub fn id(&self) -> Uuid {
        self.document.id
    }

    /// A partition by number.
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        usize::try_from(index)
            .ok()
            .and_then(|i| self.partitions.get(i))
    }
}
