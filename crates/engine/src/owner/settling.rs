//! Messages in flight that are to be settled, on their way to the owner of their partition.

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::Result;
use crate::queue::{Settled, Settlement};

/// What becomes of a message: its offset, its lease, the settlement.
pub(crate) type Settles = (u64, u64, Settlement);

/// Messages of one queue to be settled.
pub(crate) struct Settling {
    pub(crate) queue: Uuid,
    pub(crate) settles: Vec<Settles>,
    /// Between 0 and 1: what part of a wait with jitter they wait.
    pub(crate) chance: f64,
    /// Who waits for the outcomes, if anyone does.
    pub(crate) done: Option<oneshot::Sender<Result<Vec<Settled>>>>,
}
