//! Clocks that tests set, in step with tokio's time: when paused time is advanced, so are these.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use engine::Clock;
use tokio::time::Instant;

/// Where every fake clock starts: a moment in 2026, ms.
const START_MS: u64 = 1_780_000_000_000;

/// A settable steady clock, and a wall clock beside it. Clones are the same clocks.
#[derive(Debug, Clone)]
pub struct FakeClock {
    at_origin_ms: Arc<AtomicU64>,
    wall_ahead_ms: Arc<AtomicI64>,
    origin: Instant,
}

impl FakeClock {
    /// A clock that shows the same time in every test.
    pub fn new() -> Self {
        Self {
            at_origin_ms: Arc::new(AtomicU64::new(START_MS)),
            wall_ahead_ms: Arc::default(),
            origin: Instant::now(),
        }
    }

    /// Puts both clocks forward, as time does. Nobody who sleeps notices, as with a real clock; [`tokio::time::advance`] moves
    /// both.
    pub fn skip(&self, by: Duration) {
        self.at_origin_ms.fetch_add(millis(by), Ordering::Relaxed);
    }

    /// Sets both clocks, also backwards, as a start on another machine may find them.
    pub fn set_ms(&self, now_ms: u64) {
        let at_origin = now_ms.saturating_sub(millis(self.origin.elapsed()));
        self.at_origin_ms.store(at_origin, Ordering::Relaxed);
    }
}

impl FakeClock {
    /// Has the wall clock alone jump, forwards or backwards.
    pub fn jump_wall(&self, by_ms: i64) {
        self.wall_ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FakeClock {
    fn now_ms(&self) -> u64 {
        self.at_origin_ms.load(Ordering::Relaxed) + millis(self.origin.elapsed())
    }

    fn wall_ms(&self) -> u64 {
        let ahead = self.wall_ahead_ms.load(Ordering::Relaxed);
        self.now_ms().saturating_add_signed(ahead)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps tokio's paused time from running ahead by itself while this lives.
///
/// Paused time jumps to the next timer whenever every task waits, and tasks that wait for the store's own
/// threads look idle: without this, a write to disk lasts for ten minutes. Only [`tokio::time::advance`] moves
/// time then.
#[derive(Debug)]
pub struct HeldTime {
    _until_dropped: mpsc::Sender<()>,
}

impl HeldTime {
    /// Pauses time and holds it. Needs a current-thread runtime.
    pub fn pause() -> Self {
        tokio::time::pause();
        let (until_dropped, gone) = mpsc::channel::<()>();
        // Time does not advance by itself while a blocking task runs.
        tokio::task::spawn_blocking(move || {
            let _ = gone.recv();
        });
        Self {
            _until_dropped: until_dropped,
        }
    }
}
