//! What can be read by offset after it was acknowledged, and for how long.

use super::stage::Stage;
use crate::event::QueueEvent;
use crate::settings::QueueSettings;
use crate::settlement::Settlement;

fn keeping(replay_ms: u64) -> Stage {
    Stage::new(QueueSettings {
        replay_ms,
        ..QueueSettings::default()
    })
}

/// Sends messages and acknowledges some of them.
fn acknowledged(stage: &mut Stage, count: u64, acks: &[u64]) {
    for _ in 0..count {
        stage.send_key("a");
    }
    let (_, lease) = stage.receive(10, 30_000);
    for offset in acks {
        stage.settle((*offset, lease), &Settlement::Ack);
    }
}

fn visible(stage: &Stage) -> Vec<u64> {
    let mut runs = Vec::new();
    let end = stage.state.end();
    stage.state.visible_within((0, end), &mut runs);
    let mut all: Vec<u64> = runs
        .into_iter()
        .flat_map(|(start, end)| start..end)
        .collect();
    all.sort_unstable();
    assert_eq!(all.len() as u64, stage.state.visible_count());
    assert_eq!(
        all.first().copied().unwrap_or(end),
        stage.state.lowest_visible()
    );
    for from in 0..=end {
        let first = all.iter().copied().find(|offset| *offset >= from);
        assert_eq!(stage.state.first_visible(from), first);
    }
    all
}

#[test]
fn what_is_acknowledged_is_gone_at_once_unless_it_is_kept() {
    let mut stage = keeping(0);
    acknowledged(&mut stage, 5, &[1, 3]);
    assert_eq!(visible(&stage), [0, 2, 4]);
    stage.restart();
    assert_eq!(visible(&stage), [0, 2, 4]);
    let mut stage = keeping(1000);
    acknowledged(&mut stage, 5, &[1, 3]);
    for snapshot in [false, true] {
        if snapshot {
            stage.take_snapshot();
        }
        stage.restart();
        assert_eq!(visible(&stage), [0, 1, 2, 3, 4], "snapshot: {snapshot}");
    }
    let (now, settings) = (stage.now, stage.settings.clone());
    assert_eq!(stage.state.next_due(&settings), Some(now + 1000));
    stage.state.expire_kept(now + 999, &settings);
    assert_eq!(visible(&stage), [0, 1, 2, 3, 4]);
    stage.state.expire_kept(now + 1000, &settings);
    assert_eq!(visible(&stage), [0, 2, 4]);
}

#[test]
fn only_what_is_kept_is_ready_again() {
    let mut stage = keeping(1000);
    acknowledged(&mut stage, 6, &[0, 1, 2, 4]);
    let (events, count) = stage.state.revive_events(1);
    assert_eq!(count, 3);
    for event in &events {
        stage.apply(event, None);
    }
    for restarted in [false, true] {
        if restarted {
            stage.restart();
        }
        assert_eq!(stage.state.counts().ready, 3, "3 and 5 are in flight");
        assert_eq!(visible(&stage), [0, 1, 2, 3, 4, 5]);
        assert_eq!(
            stage.state.revive_events(1).1,
            0,
            "nothing is made ready twice"
        );
    }
    assert_eq!(stage.receive(9, 1000).0, [1, 2, 4]);
}

#[test]
fn a_purge_is_final() {
    for event in [
        QueueEvent::Purged { before: 5 },
        QueueEvent::Unkept { before: 5 },
    ] {
        let mut stage = keeping(1000);
        acknowledged(&mut stage, 5, &[0, 1, 2, 3, 4]);
        stage.apply(&event, None);
        for restarted in [false, true] {
            if restarted {
                stage.restart();
            }
            assert_eq!(visible(&stage), [0_u64; 0]);
            assert_eq!(stage.state.revive_events(0).1, 0);
        }
    }
}

#[test]
fn what_a_queue_keeps_no_longer_goes_and_what_is_in_flight_stays() {
    let mut stage = keeping(1000);
    acknowledged(&mut stage, 12, &[0]);
    assert!(stage.state.outdate_event(0).is_none());
    let event = stage.state.outdate_event(11).unwrap();
    stage.apply(&event, None);
    // Ten were received, one of them is acknowledged and kept; of the two that were not one is too old.
    assert_eq!(visible(&stage), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
    assert!(stage.state.outdate_event(11).is_none());
}
