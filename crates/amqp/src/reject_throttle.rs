//! The reject throttle: a peer that goes on publishing what is refused is read from more slowly, so that it does not
//! take the processor from those whose messages are taken.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// What each refused message costs its connection in time: 20,000 of them per second are read at most.
const COST: Duration = Duration::from_micros(50);
/// Less than this is not waited for, but remembered.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest pause: a peer that stopped publishing refused messages is read again soon.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Slows one connection down.
#[derive(Debug, Default)]
pub(crate) struct RejectThrottle {
    owed: Duration,
    /// The last that became of what it published was a refusal.
    is_hot: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl RejectThrottle {
    /// So many messages of a batch were refused, and so many were taken: a peer whose messages are taken owes nothing.
    pub(crate) fn note(&mut self, refused: usize, taken: usize) {
        if refused == 0 && taken > 0 {
            self.owed = Duration::ZERO;
        }
        self.is_hot = refused > 0 || self.is_hot && taken == 0;
        let refused = u32::try_from(refused).unwrap_or(u32::MAX);
        self.owed = self.owed.saturating_add(COST.saturating_mul(refused));
        if self.owed >= PAUSE_MIN && self.pause.is_none() {
            let pause = std::mem::take(&mut self.owed).min(PAUSE_MAX);
            self.pause = Some(Box::pin(sleep(pause)));
        }
    }

    /// Whether what comes next will probably be refused too: it should not be read before it is known what became of
    /// what came before.
    pub(crate) fn is_hot(&self) -> bool {
        self.is_hot
    }

    /// Whether the connection is not to be read from.
    pub(crate) fn is_on(&self) -> bool {
        self.pause.is_some()
    }

    /// Returns when the connection may be read from again; never when it may already.
    pub(crate) async fn released(&mut self) {
        match self.pause.as_mut() {
            Some(pause) => pause.await,
            None => std::future::pending().await,
        }
        self.pause = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    async fn paused(reject_throttle: &mut RejectThrottle) -> Duration {
        let from = Instant::now();
        reject_throttle.released().await;
        from.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_cost_time_and_what_is_taken_none() {
        let mut reject_throttle = RejectThrottle::default();
        reject_throttle.note(0, 100_000);
        assert!(!reject_throttle.is_on());
        reject_throttle.note(1000, 10);
        assert!(reject_throttle.is_on() && reject_throttle.is_hot());
        reject_throttle.note(0, 1);
        assert!(!reject_throttle.is_hot());
        assert_eq!(paused(&mut reject_throttle).await, 1000 * COST);
        assert!(!reject_throttle.is_on());
        reject_throttle.note(10_000_000, 0);
        assert_eq!(paused(&mut reject_throttle).await, PAUSE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_are_remembered_until_something_is_taken() {
        let mut reject_throttle = RejectThrottle::default();
        for _ in 0..5 {
            reject_throttle.note(10, 0);
            reject_throttle.note(0, 1);
        }
        assert!(!reject_throttle.is_on());
        for _ in 0..2 {
            reject_throttle.note(10, 0);
            reject_throttle.note(0, 0);
        }
        assert!(reject_throttle.is_on());
        // What comes during the pause is owed for the next one.
        reject_throttle.note(100, 0);
        assert_eq!(paused(&mut reject_throttle).await, 20 * COST);
        assert!(!reject_throttle.is_on());
        reject_throttle.note(20, 0);
        assert_eq!(paused(&mut reject_throttle).await, 120 * COST);
    }
}
