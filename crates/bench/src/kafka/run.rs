//! What the connections of one row share: the clock, when to stop, and a guard against a broker that went silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use super::options::Options;
use crate::stopwatch::Stopwatch;

/// Without any answer for this long, the broker hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A row under way.
#[derive(Debug)]
pub(super) struct Run {
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
    /// Starts the clock.
    pub(super) fn start(options: &Options) -> Arc<Self> {
        let end = match options.records {
            Some(records) => End::Records(AtomicU64::new(records)),
            None => End::After(Duration::from_secs_f64(options.seconds)),
        };
        Arc::new(Self {
            clock: Stopwatch::start(),
            end,
            progress: AtomicU64::new(0),
        })
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Whether a producer may send `records` more.
    pub(super) fn may_send(&self, records: usize) -> bool {
        match &self.end {
            End::After(end) => self.elapsed() < *end,
            End::Records(left) => {
                let take = |left: u64| (left > 0).then(|| left.saturating_sub(records as u64));
                left.fetch_update(Relaxed, Relaxed, take).is_ok()
            }
        }
    }

    /// Whether a consumer that has read everything should read it again.
    pub(super) fn may_repeat(&self) -> bool {
        match &self.end {
            End::After(end) => self.elapsed() < *end,
            End::Records(_) => false,
        }
    }

    /// Notes that an answer came.
    pub(super) fn answered(&self) {
        self.progress.fetch_add(1, Relaxed);
    }

    /// Awaits all tasks; the first error ends the others.
    pub(super) async fn gather<T: 'static>(&self, mut tasks: JoinSet<Result<T>>) -> Result<Vec<T>> {
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
    use super::super::options::tests::parse;
    use super::*;

    #[test]
    fn a_number_of_records_is_reached_and_hardly_exceeded() {
        let run = Run::start(&parse("--records 25").unwrap());
        let sent = (0..10).filter(|_| run.may_send(10)).count();
        assert_eq!(sent, 3);
        assert!(!run.may_repeat());
    }
}
