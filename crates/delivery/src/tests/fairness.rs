//! Tenants of a queue without order, priorities, and backoff.

use super::stage::{Message, Stage};
use crate::settings::{After, Backoff, Growth, QueueSettings};
use crate::settle::Decided;
use crate::settlement::Settlement;

fn of(key: &'static str) -> Message {
    Message {
        key: Some(key),
        ..Message::default()
    }
}

#[test]
fn a_tenant_with_much_in_flight_steps_back() {
    let mut stage = Stage::new(QueueSettings::default());
    stage.send(&vec![of("noisy"); 100]);
    let quiet = stage.send(&[of("quiet")]);
    // 29 are not many, whatever the share.
    assert_eq!(stage.receive(29, 30_000).0.len(), 29);
    assert_eq!(stage.receive(1, 30_000).0, [29]);
    assert_eq!(stage.receive(1, 30_000).0, [quiet]);
    // Nobody else has anything: it is served again.
    assert_eq!(stage.receive(1, 30_000).0, [30]);
}

#[test]
fn a_tenant_that_takes_the_receivers_time_steps_back() {
    let mut stage = Stage::new(QueueSettings::default());
    stage.send(&vec![of("slow"); 10]);
    let (taken, lease) = stage.receive(1, 30_000);
    stage.pass(20_000);
    stage.settle((taken[0], lease), &Settlement::Ack);
    let quick = stage.send(&[of("quick")]);
    assert_eq!(stage.receive(1, 30_000).0, [quick]);
    assert_eq!(stage.receive(1, 30_000).0, [1]);
}

#[test]
fn messages_of_a_tenant_are_leased_side_by_side() {
    let mut stage = Stage::new(QueueSettings::default());
    stage.send(&[of("a"), of("a"), of("b"), Message::default()]);
    assert_eq!(stage.receive(1, 30_000).0, [0]);
    assert_eq!(stage.receive(10, 30_000).0, [1, 2, 3]);
}

#[test]
fn greater_priorities_come_first() {
    let mut stage = Stage::new(QueueSettings {
        priorities: 10,
        ..QueueSettings::default()
    });
    let messages: Vec<Message> = [0, 9, 5, 200, 5]
        .map(|priority| Message {
            priority,
            ..Message::default()
        })
        .to_vec();
    stage.send(&messages);
    assert_eq!(stage.receive(10, 30_000).0, [1, 3, 2, 4, 0]);
}

#[test]
fn waits_grow_with_failures_up_to_their_limit() {
    let mut stage = Stage::new(QueueSettings {
        backoff: Some(Backoff {
            base_ms: 1000,
            max_ms: 5000,
            jitter: false,
            growth: Growth::default(),
            after: After::default(),
        }),
        ..QueueSettings::default()
    });
    stage.send(&[Message::default()]);
    for wait in [1000, 2000, 4000, 5000, 5000] {
        let (taken, lease) = stage.receive(1, 30_000);
        assert_eq!(taken, [0]);
        stage.settle((0, lease), &Settlement::FAIL);
        stage.pass(wait - 1);
        assert_eq!(stage.receive(1, 30_000).0, [0_u64; 0]);
        stage.pass(1);
    }
}

#[test]
fn jitter_draws_from_zero_to_the_whole_wait() {
    let backoff = Some(Backoff {
        base_ms: 1000,
        max_ms: 5000,
        jitter: true,
        growth: Growth::default(),
        after: After::default(),
    });
    for (chance, due_after) in [(0.0, 0), (0.5, 500), (1.0, 1000)] {
        let mut stage = Stage::new(QueueSettings {
            backoff,
            ..QueueSettings::default()
        });
        stage.send(&[Message::default()]);
        let (_, lease) = stage.receive(1, 30_000);
        let clock = (stage.now, chance);
        let release = Settlement::FAIL;
        let decided = stage
            .state
            .decide((0, lease), &release, &stage.settings, clock);
        let due = if due_after == 0 {
            0
        } else {
            stage.now + due_after
        };
        let expected = crate::event::QueueEvent::Released {
            offset: 0,
            due,
            before: 1,
        };
        assert_eq!(decided, Decided::Changed(expected));
    }
}
