//! Everything the broker holds, for the process itself, which counts and watches it. A frontend lists what its principal may
//! see, through [`Access`](super::Access).

use std::sync::{Arc, PoisonError};

use super::Broker;
use crate::Result;
use crate::group::Group;
use crate::queue::Queues;
use crate::topic::Topics;

/// Everything there is. What is told of it to anybody has to be told to all, as metrics are.
#[derive(Debug, Clone, Copy)]
pub struct Inventory<'b>(&'b Broker);

impl Broker {
    /// Everything there is, for metrics and maintenance.
    pub fn inventory(&self) -> Inventory<'_> {
        Inventory(self)
    }
}

impl<'b> Inventory<'b> {
    /// All topics at this moment.
    pub fn topics(self) -> Arc<Topics> {
        self.0.inner.topics.load_full()
    }

    /// All queues.
    pub fn queues(self) -> &'b Queues {
        &self.0.inner.queues
    }

    /// Names of all groups, sorted.
    pub fn group_names(self) -> Vec<Arc<str>> {
        let groups = self.0.inner.groups.read();
        let groups = groups.unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = groups.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Looks at a group; what was seen is durable when the answer comes. Errors: `Unavailable`.
    pub async fn inspect_group<T: Send + 'static>(
        self,
        name: &str,
        look: impl FnOnce(Option<&Group>) -> T + Send + 'static,
    ) -> Result<T> {
        match self.0.inner.owners.group(name) {
            Some(group) => group.inspect(look).await,
            None => Ok(look(None)),
        }
    }
}
