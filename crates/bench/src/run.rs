//! What the connections of one row share: the clock, when to stop, and a guard against a broker that went silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::stopwatch::Stopwatch;

/// Without any answer for this long, the broker hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a measurement on `threads` threads of ours.
pub(crate) fn block_on(threads: usize, measure: impl Future<Output = Result<()>>) -> Result<()> {
    let mut runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Whatever ends us, a broker of our own must end, too: it does when the measurement is dropped.
        tokio::select! {
            outcome = measure => outcome,
            pressed = tokio::signal::ctrl_c() => { pressed?; bail!("interrupted") }
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

/// A row under way.
#[derive(Debug)]
pub(crate) struct Run {
    clock: Stopwatch,
    end: End,
    /// Grows with every answer.
    progress: AtomicU64,
}

#[derive(Debug)]
enum End {
    After(Duration),
    /// So many records are still to be sent.
    Records(AtomicU64),
}

impl Run {
    /// Starts the clock of a row that ends after `records` if they are given, and else after `seconds`.
    pub(crate) fn start(seconds: f64, records: Option<u64>) -> Arc<Self> {
        let end = match records {
            Some(records) => End::Records(AtomicU64::new(records)),
            None => End::After(Duration::from_secs_f64(seconds)),
        };
        Arc::new(Self {
            clock: Stopwatch::start(),
            end,
            progress: AtomicU64::new(0),
        })
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Whether a producer may send `records` more.
    pub(crate) fn may_send(&self, records: usize) -> bool {
        match &self.end {
            End::After(end) => self.elapsed() < *end,
            End::Records(left) => {
                let take = |left: u64| (left > 0).then(|| left.saturating_sub(records as u64));
                left.fetch_update(Relaxed, Relaxed, take).is_ok()
            }
        }
    }

    /// Whether a consumer that has read everything should read it again.
    pub(crate) fn may_repeat(&self) -> bool {
        match &self.end {
            End::After(end) => self.elapsed() < *end,
            End::Records(_) => false,
        }
    }

    /// Notes that an answer came.
    pub(crate) fn answered(&self) {
        self.progress.fetch_add(1, Relaxed);
    }

    /// Awaits all tasks; the first error ends the others.
    pub(crate) async fn gather<T: 'static>(&self, mut tasks: JoinSet<Result<T>>) -> Result<Vec<T>> {
        let all = async {
            let mut done = Vec::new();
            while let Some(task) = tasks.join_next().await {
                done.push(task??);
            }
            Ok(done)
        };
        tokio::select! {
            done = all => done,
            () = self.stalled() => bail!("no answer for {} s", PATIENCE.as_secs()),
        }
    }

    async fn stalled(&self) {
        let mut before = None;
        while before != Some(self.progress.load(Relaxed)) {
            before = Some(self.progress.load(Relaxed));
            tokio::time::sleep(PATIENCE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_records_is_reached_and_hardly_exceeded() {
        let run = Run::start(1.0, Some(25));
        let sent = (0..10).filter(|_| run.may_send(10)).count();
        assert_eq!(sent, 3);
        assert!(!run.may_repeat());
    }
}
