//! The broker's time: a steady clock that goes on from process to process, and what the wall clock showed beside it.
//!
//! Everything that lasts (leases, delays, times to live, deduplication, sessions, retention) is measured in broker
//! time, which is also what is stored. It never jumps within a process. A start goes on where the last process was,
//! later by the time the broker was away: by the machine's uptime where that is the same machine start, else by the
//! wall clock, but never backwards. Records are stamped by the wall clock, for people and for clients. Where the wall
//! clock stood is kept as a list of the jumps it made, so that a record's stamp can be converted to broker time also
//! after a restart.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

pub(crate) use delivery::Moment;

use crate::clock::{Clock, Uptime};

/// The wall clock is drawn, not set, as long as it moves by less than this against the steady one, ms.
const JUMP_MS: i64 = 1000;
/// Jumps that are remembered; older records than the oldest are taken to be stamped as those behind it.
const JUMPS_MAX: usize = 1024;

/// A time when the wall clock stood still against the steady one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    /// Since when, in broker time.
    from: u64,
    /// How far the wall clock was ahead.
    ahead: i64,
}

/// What a start must know of the lives before (the document `clock/timeline`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    spans: Vec<Span>,
    /// Broker time was at least this.
    seen: u64,
    /// What the machine's uptime was then.
    uptime: Option<Uptime>,
}

impl Timeline {
    /// Of the wall clock at a moment of broker time.
    fn ahead_at(&self, at: u64) -> i64 {
        let later = self.spans.partition_point(|span| span.from <= at);
        let span = self.spans.get(later.saturating_sub(1));
        span.map_or(0, |span| span.ahead)
    }

    /// The latest moment of broker time at which the wall clock can have shown this: nothing is older than that.
    fn moment_of(&self, stamp: u64, now: u64) -> u64 {
        let mut until = now;
        for span in self.spans.iter().rev() {
            let at = apply(stamp, span.ahead.saturating_neg());
            // A jump is noticed a little after it was made.
            if at.saturating_add(JUMP_MS.unsigned_abs() * 2) >= span.from {
                return at.min(until);
            }
            until = span.from;
        }
        let first = self.spans.first().map_or(0, |span| span.ahead);
        apply(stamp, first.saturating_neg()).min(now)
    }

    /// Notes where the wall clock stands; returns whether it has jumped.
    fn note(&mut self, now: u64, ahead: i64) -> bool {
        let before = self.spans.last().map(|span| span.ahead);
        if before.is_some_and(|before| before.abs_diff(ahead) < JUMP_MS.unsigned_abs()) {
            return false;
        }
        if self.spans.len() >= JUMPS_MAX {
            self.spans.remove(0);
        }
        self.spans.push(Span { from: now, ahead });
        true
    }
}

/// The broker's clock.
pub(crate) struct Time {
    clock: Arc<dyn Clock>,
    /// What the steady clock lacks to broker time.
    lacks: i64,
    timeline: ArcSwap<Timeline>,
}

impl Time {
    /// Goes on from what an earlier process stored, if there was one.
    pub(crate) fn new(clock: Arc<dyn Clock>, earlier: Option<Timeline>) -> Self {
        let (steady, wall) = (clock.now_ms(), clock.wall_ms());
        let uptime = clock.uptime();
        let mut timeline = earlier.unwrap_or(Timeline {
            spans: Vec::new(),
            seen: wall,
            uptime: None,
        });
        let away = away(&timeline, uptime.as_ref(), wall);
        let now = timeline.seen.saturating_add(away);
        timeline.note(now, ahead(wall, now));
        (timeline.seen, timeline.uptime) = (now, uptime);
        Self {
            clock,
            lacks: ahead(now, steady),
            timeline: ArcSwap::from_pointee(timeline),
        }
    }

    /// Broker time, ms: for how long something lasts.
    pub(crate) fn now_ms(&self) -> u64 {
        apply(self.clock.now_ms(), self.lacks)
    }

    /// The wall clock, ms: for when something happened.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// Both.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now_ms(),
            wall: self.wall_ms(),
        }
    }

    /// What the wall clock showed at a moment of broker time.
    pub(crate) fn stamp_at(&self, at: u64) -> u64 {
        if at == 0 {
            // What never was has no time.
            return 0;
        }
        apply(at, self.timeline.load().ahead_at(at))
    }

    /// What the wall clock showed so long ago: what has an older stamp is older.
    pub(crate) fn stamp_ago(&self, age_ms: u64) -> u64 {
        let at = self.now_ms().saturating_sub(age_ms);
        self.stamp_at(at)
    }

    /// When a record came that was stamped by this process or an earlier one, as a moment whose stamps are converted
    /// like its.
    pub(crate) fn moment_of(&self, stamp: u64) -> Moment {
        let now = self.now_ms();
        let at = self.timeline.load().moment_of(stamp, now);
        let wall = apply(now, ahead(stamp, at));
        Moment { now, wall }
    }

    /// Looks whether the wall clock has jumped; returns by how much, ms.
    pub(crate) fn look(&self) -> Option<i64> {
        let Moment { now, wall } = self.moment();
        let ahead = ahead(wall, now);
        let mut timeline = Timeline::clone(&self.timeline.load());
        let before = timeline.spans.last().map_or(0, |span| span.ahead);
        if !timeline.note(now, ahead) {
            return None;
        }
        self.timeline.store(Arc::new(timeline));
        Some(ahead.saturating_sub(before))
    }

    /// What the next start has to know.
    pub(crate) fn timeline(&self) -> Timeline {
        let mut timeline = Timeline::clone(&self.timeline.load());
        timeline.seen = self.now_ms();
        timeline.uptime = self.clock.uptime();
        timeline
    }
}

/// How long the broker was away.
fn away(earlier: &Timeline, uptime: Option<&Uptime>, wall: u64) -> u64 {
    if let (Some(before), Some(after)) = (&earlier.uptime, uptime)
        && before.boot == after.boot
    {
        return after.ms.saturating_sub(before.ms);
    }
    let ahead = earlier.spans.last().map_or(0, |span| span.ahead);
    // A wall clock that was set back meanwhile says nothing; none of the time counts.
    apply(wall, ahead.saturating_neg()).saturating_sub(earlier.seen)
}

fn ahead(wall: u64, steady: u64) -> i64 {
    wall.cast_signed().saturating_sub(steady.cast_signed())
}

fn apply(at: u64, ahead: i64) -> u64 {
    at.saturating_add_signed(ahead)
}
