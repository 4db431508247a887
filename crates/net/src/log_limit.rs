//! Keeps a peer that fails again and again from filling the log.

use std::sync::{Mutex, PoisonError};

/// Lines let through in one second.
const LINES_MAX: u64 = 10;

/// Lets some log lines of a kind through in each second, and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    second: u64,
    lines: u64,
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line may be written now; if so, how many were left out since the last one.
    pub fn admit(&self, now_ms: u64) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now_ms / 1000;
        if state.second != second {
            state.second = second;
            state.lines = 0;
        }
        if state.lines >= LINES_MAX {
            state.suppressed += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_counted() {
        let limit = LogLimit::default();
        let admitted = |now| (0..15).filter_map(|_| limit.admit(now)).collect::<Vec<_>>();
        assert_eq!(admitted(1000), [0; 10]);
        let mut later = [0; 10];
        later[0] = 5;
        assert_eq!(admitted(2000), later);
        // A clock that was set back does not silence it for good.
        assert_eq!(admitted(500), later);
    }
}
