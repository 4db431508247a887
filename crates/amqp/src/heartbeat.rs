//! Signs of life: sent when nothing else was, and missed when nothing came.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Half intervals of silence after which a peer is given up.
const SILENT_MAX: u32 = 4;
/// How often a connection without signs of life is looked at.
const IDLE_LOOK: Duration = Duration::from_secs(30);

/// Ticks twice per agreed interval.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    is_on: bool,
    ticks: Interval,
    first: bool,
    silent: u32,
}

impl Heartbeat {
    /// Both sides agreed on this many seconds; 0 is no signs of life.
    pub(crate) fn new(seconds: u16) -> Self {
        let period = match seconds {
            0 => IDLE_LOOK,
            seconds => Duration::from_secs(seconds.into()) / 2,
        };
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            is_on: seconds > 0,
            ticks,
            first: true,
            silent: 0,
        }
    }

    /// Whether there are signs of life at all.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns when it is time to look.
    pub(crate) async fn tick(&mut self) {
        if self.first {
            // An interval's first tick comes at once.
            self.ticks.tick().await;
            self.first = false;
        }
        self.ticks.tick().await;
    }

    /// Notes whether the peer sent anything since the last tick; false when it was silent for too long.
    pub(crate) fn note(&mut self, was_received: bool) -> bool {
        self.silent = if was_received { 0 } else { self.silent + 1 };
        !self.is_on || self.silent < SILENT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_silent_intervals_are_too_many() {
        let mut heartbeat = Heartbeat::new(2);
        let began = tokio::time::Instant::now();
        heartbeat.tick().await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        for silent in 1..=3 {
            assert!(heartbeat.note(false), "after {silent} halves");
        }
        assert!(heartbeat.note(true));
        for _ in 0..3 {
            assert!(heartbeat.note(false));
        }
        assert!(!heartbeat.note(false));
    }

    #[tokio::test(start_paused = true)]
    async fn without_signs_of_life_nobody_is_given_up() {
        let mut heartbeat = Heartbeat::new(0);
        assert!(!heartbeat.is_on());
        assert!((0..100).all(|_| heartbeat.note(false)));
    }
}
