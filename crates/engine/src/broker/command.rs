//! What the controller can be asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::kept_settings::Keep;
use super::prepared::Prepared;
use crate::Result;
use crate::exchange::{Binding, Exchange, NewExchange};
use crate::policy::{Kind, Policy};
use crate::queue::{NewQueue, Queue, QueueSettings};
use crate::topic::Topic;

/// What the controller can be asked.
pub(super) enum Command {
    /// Only to be answered: shows that the owner is not stuck.
    Ping,
    Create {
        topic: NewTopic,
        dry_run: bool,
        done: oneshot::Sender<Result<Arc<Topic>>>,
    },
    Delete {
        name: Arc<str>,
        id: Uuid,
        done: oneshot::Sender<Result<()>>,
    },
    Grow {
        name: Arc<str>,
        count: u32,
        dry_run: bool,
        done: oneshot::Sender<Result<()>>,
    },
    Configure {
        name: Arc<str>,
        changes: Vec<ConfigChange>,
        dry_run: bool,
        done: oneshot::Sender<Result<()>>,
    },
    CreateQueue {
        queue: Box<NewQueue>,
        prepared: Option<Box<Prepared>>,
        done: oneshot::Sender<Result<Arc<Queue>>>,
    },
    DeleteQueue {
        name: Arc<str>,
        removal: Removal,
        done: oneshot::Sender<Result<u64>>,
    },
    StartMove {
        queue: Arc<Queue>,
        destination: Option<String>,
        rate_max: Option<u32>,
        done: oneshot::Sender<Result<Uuid>>,
    },
    ConfigureQueue {
        name: Arc<str>,
        change: QueueChange,
        done: oneshot::Sender<Result<Arc<Queue>>>,
    },
    Keep(KeepCommand),
    Policy(PolicyCommand),
    Exchange(ExchangeCommand),
    Vhost(VhostCommand),
    CreateGroup {
        name: Arc<str>,
        /// Bytes of memory that its first command adds.
        adds: u64,
        done: oneshot::Sender<Result<()>>,
    },
    RemoveGroup {
        name: Arc<str>,
        done: oneshot::Sender<Result<()>>,
    },
}

/// What the controller is asked about settings that are kept.
pub(super) struct KeepCommand {
    pub(super) keep: Keep,
    pub(super) dry_run: bool,
    pub(super) done: oneshot::Sender<Result<()>>,
}

/// What can be done to policies.
pub(super) enum PolicyCommand {
    Put {
        policy: Box<Policy>,
        done: oneshot::Sender<Result<()>>,
    },
    Remove {
        kind: Kind,
        vhost: String,
        name: String,
        done: oneshot::Sender<Result<bool>>,
    },
}

/// What the controller can be asked about exchanges and bindings.
pub(super) enum ExchangeCommand {
    Declare {
        new: Box<NewExchange>,
        done: oneshot::Sender<Result<Arc<Exchange>>>,
    },
    Delete {
        vhost: String,
        name: String,
        if_unused: bool,
        done: oneshot::Sender<Result<()>>,
    },
    Bind {
        binding: Box<Binding>,
        done: oneshot::Sender<Result<()>>,
    },
    Unbind {
        binding: Box<Binding>,
        done: oneshot::Sender<Result<()>>,
    },
}

/// What can be done to vhosts.
pub(super) enum VhostCommand {
    Create {
        name: String,
        done: oneshot::Sender<Result<bool>>,
    },
    Delete {
        name: String,
        done: oneshot::Sender<Result<()>>,
    },
}

/// A change of a queue's settings, made on the settings as they stand.
pub type QueueChange = Box<dyn FnOnce(&mut QueueSettings) -> Result<()> + Send>;

/// On what conditions a queue is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removal {
    /// Only the queue of this identity, not another one that has got its name since.
    pub id: Option<Uuid>,
    /// Only when it has no consumers.
    pub if_unused: bool,
    /// Only when nothing in it is ready, waits or is about to leave.
    pub if_empty: bool,
}

/// A topic to be made.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Name.
    pub name: String,
    /// Number of partitions; the broker's default when absent.
    pub partitions: Option<u32>,
    /// Copies; one when absent.
    pub replication: Option<u16>,
    /// Settings that differ from their defaults.
    pub overrides: BTreeMap<String, String>,
}

/// One change of a topic's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Gives a setting a value.
    Set(String, String),
    /// Goes back to the default.
    Reset(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes out of a list.
    Subtract(String, String),
    /// Goes back to the default everywhere: the changes that follow start from nothing.
    ResetAll,
}
