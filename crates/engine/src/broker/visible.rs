//! What a principal may see of all topics and queues.

use std::sync::Arc;

use security::Resource;
use uuid::Uuid;

use super::Access;
use crate::queue::Queue;
use crate::topic::{Topic, Topics};

/// The queues that a principal may see.
#[derive(Debug, Clone)]
pub struct VisibleQueues(pub(super) Access);

impl VisibleQueues {
    fn sees(&self, queue: &Queue) -> bool {
        self.0.may_see(Resource::Queue(&queue.name))
    }

    /// The queue of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Queue>> {
        let queue = self.0.inner.queues.named(name)?;
        Some(queue).filter(|queue| self.sees(queue))
    }

    /// The queue of this identity.
    pub fn with_id(&self, id: Uuid) -> Option<Arc<Queue>> {
        let queue = self.0.inner.queues.with_id(id)?;
        Some(queue).filter(|queue| self.sees(queue))
    }

    /// Up to `max` queues whose names begin with `prefix`, in name order, behind `after`.
    pub fn page(&self, prefix: &str, after: Option<&str>, max: usize) -> Vec<Arc<Queue>> {
        let mut seen: Vec<Arc<Queue>> = Vec::new();
        let mut after: Option<Arc<str>> = after.map(Arc::from);
        while seen.len() < max {
            let wanted = max - seen.len();
            let page = self.0.inner.queues.page(prefix, after.as_deref(), wanted);
            let is_last = page.len() < wanted;
            after = page.last().map(|queue| Arc::clone(&queue.name)).or(after);
            seen.extend(page.into_iter().filter(|queue| self.sees(queue)));
            if is_last {
                break;
            }
        }
        seen
    }

    /// The queues that lease from a topic.
    pub fn of_topic(&self, topic: Uuid) -> Vec<Arc<Queue>> {
        let mut all = self.0.inner.queues.of_topic(topic);
        all.retain(|queue| self.sees(queue));
        all
    }
}

/// The topics that a principal may see, as they were at one moment.
#[derive(Debug, Clone)]
pub struct VisibleTopics {
    pub(super) access: Access,
    pub(super) all: Arc<Topics>,
}

impl VisibleTopics {
    fn sees(&self, topic: &Topic) -> bool {
        self.access.may_see(Resource::Topic(&topic.name))
    }

    /// The topic of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.all.named(name).filter(|topic| self.sees(topic))
    }

    /// The topic of this identity.
    pub fn with_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.all.with_id(id).filter(|topic| self.sees(topic))
    }

    /// All of them, in name order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.all.iter().filter(|topic| self.sees(topic))
    }
}
