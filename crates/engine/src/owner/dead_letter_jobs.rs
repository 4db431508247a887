//! Dead-letter jobs on their way from the owners of partitions to the workers that move messages: what has to leave one
//! queue goes through one worker, in order; a queue whose dead letters take their time keeps few others waiting.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::queue::{DeadLetterCause, QueuePartitionId};

/// Tasks that move dead letters.
const WORKERS: usize = 8;
/// Jobs that wait for one of them before receivers have to come upon the messages again.
const WAITING_MAX: usize = 256;

/// What a worker is sent.
pub(crate) enum DeadLetterJob {
    /// Messages of a queue partition, and why they leave.
    Messages {
        at: QueuePartitionId,
        offsets: Vec<u64>,
        cause: DeadLetterCause,
    },
    /// Answered when everything that was sent before is done.
    Mark(oneshot::Sender<()>),
}

/// The senders to all workers.
#[derive(Clone)]
pub(crate) struct DeadLetterJobs(Arc<[mpsc::Sender<DeadLetterJob>]>);

impl DeadLetterJobs {
    /// The senders, and what each worker receives.
    pub(crate) fn new() -> (Self, Vec<mpsc::Receiver<DeadLetterJob>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..WORKERS).map(|_| mpsc::channel(WAITING_MAX)).unzip();
        (Self(senders.into()), receivers)
    }

    /// Sends messages away; they come back when too many jobs wait already.
    pub(super) fn send(
        &self,
        at: QueuePartitionId,
        offsets: Vec<u64>,
        cause: DeadLetterCause,
    ) -> Result<(), Vec<u64>> {
        let workers = self.0.len() as u128;
        let worker = usize::try_from(at.queue.as_u128() % workers).unwrap_or(0);
        let job = DeadLetterJob::Messages { at, offsets, cause };
        self.0[worker]
            .try_send(job)
            .map_err(|refused| match refused.into_inner() {
                DeadLetterJob::Messages { offsets, .. } => offsets,
                DeadLetterJob::Mark(_) => Vec::new(),
            })
    }

    /// Waits until everything that was sent before is done. A broker that has ended moves nothing.
    pub(crate) async fn done(&self) {
        let mut marks = Vec::with_capacity(self.0.len());
        for worker in &*self.0 {
            let (done, marked) = oneshot::channel();
            if worker.send(DeadLetterJob::Mark(done)).await.is_ok() {
                marks.push(marked);
            }
        }
        for marked in marks {
            let _ = marked.await;
        }
    }
}
