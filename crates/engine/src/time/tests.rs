//! Wall clocks that jump, processes and machines that start again: broker time goes on, stamps follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::{JUMPS_MAX, Moment, Time, Timeline};
use crate::clock::{Clock, Uptime};

const START: u64 = 1_780_000_000_000;
const HOUR: i64 = 3_600_000;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;

/// A machine whose wall clock can be set, and which can be started again.
#[derive(Default)]
struct Machine {
    up: AtomicU64,
    wall_ahead: AtomicI64,
    boot: AtomicU64,
}

/// A process on it.
struct Process {
    machine: Arc<Machine>,
    began_wall: u64,
    began_up: u64,
    knows_uptime: bool,
}

impl Machine {
    fn wall(&self) -> u64 {
        let up = START + self.up.load(Ordering::Relaxed);
        up.saturating_add_signed(self.wall_ahead.load(Ordering::Relaxed))
    }

    fn pass(&self, ms: u64) {
        self.up.fetch_add(ms, Ordering::Relaxed);
    }

    fn jump(&self, by: i64) {
        self.wall_ahead.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for Process {
    fn now_ms(&self) -> u64 {
        self.began_wall + self.machine.up.load(Ordering::Relaxed) - self.began_up
    }

    fn wall_ms(&self) -> u64 {
        self.machine.wall()
    }

    fn uptime(&self) -> Option<Uptime> {
        self.knows_uptime.then(|| Uptime {
            boot: self.machine.boot.load(Ordering::Relaxed).to_string(),
            ms: self.machine.up.load(Ordering::Relaxed),
        })
    }
}

fn start(machine: &Arc<Machine>, earlier: Option<Timeline>, knows_uptime: bool) -> Time {
    let process = Process {
        machine: Arc::clone(machine),
        began_wall: machine.wall(),
        began_up: machine.up.load(Ordering::Relaxed),
        knows_uptime,
    };
    Time::new(Arc::new(process), earlier)
}

#[test]
fn broker_time_ignores_every_jump_and_stamps_follow_it() {
    let machine = Arc::new(Machine::default());
    let time = start(&machine, None, false);
    assert_eq!(time.now_ms(), START);
    for jump in [-HOUR, HOUR, TEN_YEARS, -TEN_YEARS] {
        let (now, wall) = (time.now_ms(), time.wall_ms());
        machine.pass(10);
        machine.jump(jump);
        assert_eq!(time.now_ms(), now + 10);
        assert_eq!(time.wall_ms(), (wall + 10).saturating_add_signed(jump));
        assert_eq!(time.look(), Some(jump));
        assert_eq!(time.look(), None);
        machine.pass(20_000);
    }
    // The stamps of each time between two jumps are told apart.
    let moments = [
        (START, START),
        (START + 10_000, START + 10_000 - HOUR.unsigned_abs()),
        (START + 30_000, START + 30_000),
        (START + 50_000, START + 50_000 + TEN_YEARS.unsigned_abs()),
        (START + 70_000, START + 70_000),
    ];
    for (now, wall) in moments {
        assert_eq!(time.stamp_at(now), wall, "{}", now - START);
    }
    let now = time.now_ms();
    assert_eq!(time.stamp_ago(now - moments[3].0), moments[3].1);
    assert_eq!(time.stamp_at(0), 0, "what never was");
}

#[test]
fn a_stamp_tells_how_old_a_record_is_and_never_too_old() {
    let machine = Arc::new(Machine::default());
    let time = start(&machine, None, false);
    let old = time.wall_ms();
    machine.pass(60_000);
    machine.jump(HOUR);
    time.look();
    let new = time.wall_ms();
    machine.pass(5_000);
    // As after a restart, when only the stamps are left.
    let at = |stamp| time.moment_of(stamp).of_stamp(stamp);
    assert_eq!(at(old), START);
    assert_eq!(at(new), START + 60_000);
    machine.jump(-2 * HOUR);
    time.look();
    machine.pass(5_000);
    // Two moments can have shown this: the later one counts.
    let now = time.now_ms();
    assert!(at(old) >= START && at(old) <= now);
    assert_eq!(at(time.wall_ms()), now);
    assert_eq!(
        at(time.wall_ms() + 1_000_000_000),
        now,
        "never in the future"
    );
    assert_eq!(at(0), 0);
    assert!(at(u64::MAX) <= now);
}

#[test]
fn the_next_life_goes_on_by_the_time_the_broker_was_away() {
    let machine = Arc::new(Machine::default());
    let time = start(&machine, None, false);
    machine.pass(10_000);
    machine.jump(HOUR);
    time.look();
    let timeline = time.timeline();
    machine.pass(5_000);
    let time = start(&machine, Some(timeline), false);
    assert_eq!(time.now_ms(), START + 15_000);
    assert_eq!(time.look(), None, "the jump is known");
}

#[test]
fn a_wall_clock_set_while_the_broker_is_away_counts_where_nothing_else_does() {
    for (jump, known, away) in [
        (-HOUR, false, 0),
        (-TEN_YEARS, false, 0),
        (HOUR, false, 5_000 + HOUR.unsigned_abs()),
        (-HOUR, true, 5_000),
        (HOUR, true, 5_000),
        (TEN_YEARS, true, 5_000),
    ] {
        let machine = Arc::new(Machine::default());
        let timeline = start(&machine, None, known).timeline();
        machine.pass(5_000);
        machine.jump(jump);
        let time = start(&machine, Some(timeline), known);
        assert_eq!(time.now_ms() - START, away, "{jump} {known}");
        // Stamps follow the wall clock all the same.
        assert_eq!(time.stamp_at(time.now_ms()), machine.wall());
    }
}

#[test]
fn the_uptime_of_another_start_of_the_machine_says_nothing() {
    let machine = Arc::new(Machine::default());
    machine.pass(1_000_000);
    let timeline = start(&machine, None, true).timeline();
    machine.boot.store(1, Ordering::Relaxed);
    machine.pass(7_000);
    let before = timeline.seen;
    let time = start(&machine, Some(timeline), true);
    assert_eq!(time.now_ms(), before + 7_000);
}

#[test]
fn a_clock_that_is_drawn_does_not_jump_and_jumps_are_bounded() {
    let machine = Arc::new(Machine::default());
    let time = start(&machine, None, false);
    machine.jump(999);
    assert_eq!(time.look(), None);
    machine.jump(1);
    assert_eq!(time.look(), Some(1000));
    for _ in 0..2 * JUMPS_MAX {
        machine.pass(1);
        machine.jump(HOUR);
        time.look();
    }
    assert_eq!(time.timeline().spans.len(), JUMPS_MAX);
    let text = serde_json::to_string(&time.timeline()).unwrap();
    assert!(text.len() < 256 << 10, "{} bytes", text.len());
    assert_eq!(
        serde_json::from_str::<Timeline>(&text).unwrap(),
        time.timeline()
    );
}

#[test]
fn extreme_clocks_do_not_overflow() {
    for (now, wall) in [(0, u64::MAX), (u64::MAX, 0), (0, 0), (u64::MAX, u64::MAX)] {
        let moment = Moment { now, wall };
        for stamp in [0, 1, u64::MAX] {
            assert!(moment.of_stamp(stamp) <= now);
        }
    }
}
