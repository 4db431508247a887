//! Stopping gracefully: a signal everyone can await, and a set of tasks that is awaited up to a deadline.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

/// The right to begin a drain; hands out the tokens that see it.
///
/// Dropping it without [`Shutdown::begin`] leaves the tokens waiting for ever.
#[derive(Debug)]
pub struct Shutdown {
    begun: Arc<watch::Sender<bool>>,
}

/// Sees whether a drain has begun. Cheap to clone; one per connection is fine.
#[derive(Clone, Debug)]
pub struct Drain {
    begun: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// Nothing is draining yet.
    pub fn new() -> Self {
        Self {
            begun: Arc::new(watch::Sender::new(false)),
        }
    }

    /// A token that sees [`Shutdown::begin`].
    pub fn drain(&self) -> Drain {
        Drain {
            begun: Arc::clone(&self.begun),
        }
    }

    /// Begins the drain; further calls change nothing.
    pub fn begin(&self) {
        self.begun.send_replace(true);
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// True once the drain has begun.
    pub fn is_draining(&self) -> bool {
        *self.begun.borrow()
    }

    /// Returns as soon as the drain has begun.
    pub async fn draining(&self) {
        let mut begun = self.begun.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = begun.wait_for(|begun| *begun).await;
    }
}

/// Tasks with an owner: none is detached, a panic is reported, and the end is bounded.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<()>,
}

impl Tasks {
    /// No tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(task);
    }

    /// Tasks started and not yet reaped.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// True when nothing is left to reap.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Awaits the end of one task; returns at once when there is none.
    pub async fn collect_ended(&mut self) {
        if let Some(Err(error)) = self.running.join_next().await
            && error.is_panic()
        {
            tracing::error!(%error, "a task panicked");
        }
    }

    /// Awaits all tasks, up to `deadline`; aborts the rest and says how many those were.
    pub async fn finish(mut self, deadline: Duration) -> usize {
        let all = async {
            while !self.is_empty() {
                self.collect_ended().await;
            }
        };
        if tokio::time::timeout(deadline, all).await.is_ok() {
            return 0;
        }
        let left = self.len();
        self.running.shutdown().await;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_token_sees_the_drain() {
        let shutdown = Shutdown::new();
        let (early, other) = (shutdown.drain(), shutdown.drain());
        let waiting = tokio::spawn(async move { early.draining().await });
        assert!(!other.is_draining());
        shutdown.begin();
        waiting.await.unwrap();
        assert!(other.is_draining());
        shutdown.drain().draining().await;
    }

    #[tokio::test]
    async fn finish_awaits_and_then_aborts() {
        let mut quick = Tasks::new();
        quick.spawn(async {});
        assert_eq!(quick.finish(Duration::from_secs(5)).await, 0);

        let mut stuck = Tasks::new();
        stuck.spawn(async {});
        stuck.spawn(std::future::pending());
        assert_eq!(stuck.finish(Duration::from_millis(20)).await, 1);
    }

    #[tokio::test]
    async fn a_panicking_task_does_not_take_the_others_along() {
        let mut tasks = Tasks::new();
        tasks.spawn(async { panic!("on purpose") });
        tasks.spawn(async {});
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, 0);
    }
}
