//! Vhosts: namespaces. The names of one mean nothing in another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use routing::check_reference;
pub use routing::{DEFAULT_VHOST as DEFAULT, NAME_BYTES_MAX, check_name, qualify, split};

/// A vhost, for those who work in it.
#[derive(Debug)]
pub struct Vhost {
    name: Arc<str>,
    document: VhostDocument,
    traced: AtomicBool,
    removed: watch::Sender<bool>,
}

/// A vhost as the catalog stores it (`vhosts/<name>`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostDocument {
    /// Identity; one made again under the same name has another one. Nil for the default one.
    #[serde(default)]
    pub id: Uuid,
    /// When it was made, ms; 0 for the default one.
    pub created_ms: u64,
}

impl Default for Vhost {
    fn default() -> Self {
        Self::new(DEFAULT, VhostDocument::default())
    }
}

impl Vhost {
    pub(crate) fn new(name: &str, document: VhostDocument) -> Self {
        Self {
            name: Arc::from(name),
            document,
            traced: AtomicBool::new(false),
            removed: watch::Sender::new(false),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is stored of it.
    pub fn document(&self) -> &VhostDocument {
        &self.document
    }

    /// Whether copies of what is published and delivered in it are wanted. Not kept over a restart.
    pub fn is_traced(&self) -> bool {
        self.traced.load(Relaxed)
    }

    pub(crate) fn set_traced(&self, traced: bool) {
        self.traced.store(traced, Relaxed);
    }

    /// Resolves when it has been removed.
    pub async fn removed(&self) {
        let mut removed = self.removed.subscribe();
        // The sender lives as long as `self`.
        let _ = removed.wait_for(|removed| *removed).await;
    }

    pub(crate) fn set_removed(&self) {
        self.removed.send_replace(true);
    }
}
