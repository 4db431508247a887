//! A few workers that open compressed batches, with a limit for what all of them open at a time.

use std::sync::Arc;

use storage::batch::OPENED_BYTES_MAX;
use tokio::sync::Semaphore;

/// Memory that decoders may take together, bytes, besides the batches they open.
const OPENING_BYTES_MAX: usize = OPENED_BYTES_MAX;
/// Room for what is being opened.
#[derive(Debug)]
pub(super) struct Workers {
    /// In bytes of memory.
    room: Arc<Semaphore>,
    /// What each takes at least: there are never more at once than processors.
    share: usize,
}

impl Default for Workers {
    fn default() -> Self {
        let count = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        Self {
            room: Arc::new(Semaphore::new(OPENING_BYTES_MAX)),
            share: OPENING_BYTES_MAX / count.max(1),
        }
    }
}

impl Workers {
    /// Has one of them do something that takes so many bytes; `None` when that ended in a panic or the broker stops.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let bytes = bytes.clamp(self.share, OPENING_BYTES_MAX);
        let room = Arc::clone(&self.room);
        let room = room
            .acquire_many_owned(u32::try_from(bytes).ok()?)
            .await
            .ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(room);
            done
        });
        done.await.ok()
    }
}
