//! The one place that asks the operating system for the time and for chance.

use std::fs;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::{Clock, RandomSource, Uptime};
use uuid::Uuid;

/// What both clocks showed when the process first asked.
static BEGAN: LazyLock<(Instant, u64)> = LazyLock::new(|| (steady(), wall_ms()));

/// The machine's clocks and random.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine;

impl Clock for Machine {
    fn now_ms(&self) -> u64 {
        let (began, wall) = &*BEGAN;
        let since = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        wall.saturating_add(since)
    }

    fn wall_ms(&self) -> u64 {
        wall_ms()
    }

    fn uptime(&self) -> Option<Uptime> {
        #[cfg(feature = "failpoints")]
        if crate::failpoints::wall_ahead_ms().is_some() {
            return None;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        Some(Uptime {
            boot: boot.trim().to_owned(),
            ms: uptime_ms(&uptime)?,
        })
    }
}

/// Reads `/proc/uptime`: seconds with two digits behind the point, and something else.
fn uptime_ms(text: &str) -> Option<u64> {
    let (seconds, rest) = text.split_once('.')?;
    let hundredths = rest.get(..2)?.parse::<u64>().ok()?;
    let seconds = seconds.parse::<u64>().ok()?;
    seconds.checked_mul(1000)?.checked_add(hundredths * 10)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where the clock comes from"
)]
fn steady() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where the clock comes from"
)]
fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let wall = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    #[cfg(feature = "failpoints")]
    let wall = wall.saturating_add_signed(crate::failpoints::wall_ahead_ms().unwrap_or(0));
    wall
}

impl RandomSource for Machine {
    fn fresh_id(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// A stopwatch for measurements: time since now.
pub(crate) fn stopwatch() -> storage::local::Stopwatch {
    let start = steady();
    storage::local::Stopwatch::new(move || start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_and_begin_together() {
        let (now, wall) = (Machine.now_ms(), Machine.wall_ms());
        assert!(now.abs_diff(wall) < 10_000, "{now} {wall}");
        assert!(Machine.now_ms() >= now);
    }

    #[test]
    fn the_uptime_is_read() {
        assert_eq!(uptime_ms("350735.47 234388.90\n"), Some(350_735_470));
        assert_eq!(uptime_ms("0.00 0.00\n"), Some(0));
        for bad in ["", "12", "12.", "x.00 1", "12.3", "99999999999999999999.00"] {
            assert_eq!(uptime_ms(bad), None, "{bad}");
        }
        let uptime = Machine.uptime().unwrap();
        assert!(uptime.ms > 0 && !uptime.boot.is_empty(), "{uptime:?}");
    }
}
