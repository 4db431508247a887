//! A partition's lock, with the state behind it and what waits for it. What is done with it stands in `lock`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::env::Env;
use super::partition::Owned;
use super::request::Request;
use crate::partition::{Partition, PartitionKey};

/// A partition's lock, with its state.
pub(crate) struct PartitionOwner {
    pub(crate) partition: Arc<Partition>,
    pub(super) env: Arc<Env>,
    pub(super) waiting: Mutex<Vec<Request>>,
    /// A server was called, and has not come yet.
    pub(super) is_called: AtomicBool,
    /// Nothing once the partition is gone.
    pub(super) state: Mutex<Option<Box<Owned>>>,
}

impl std::fmt::Debug for PartitionOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.partition.fmt(f)
    }
}

impl PartitionOwner {
    pub(super) fn new(env: &Arc<Env>, partition: &Arc<Partition>, owned: Owned) -> Self {
        Self {
            partition: Arc::clone(partition),
            env: Arc::clone(env),
            waiting: Mutex::default(),
            is_called: AtomicBool::new(false),
            state: Mutex::new(Some(Box::new(owned))),
        }
    }

    /// Names it.
    pub(super) fn key(&self) -> PartitionKey {
        (self.partition.topic_id, self.partition.index)
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Vec<Request>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
