//! Order per key, and what holds it up.

use super::stage::{Message, Stage, released};
use crate::settlement::{Settled, Settlement};

#[test]
fn a_key_is_locked_while_a_message_of_it_is_leased_and_only_that_key() {
    let mut stage = Stage::ordered();
    let (a1, a2, b1) = (
        stage.send_key("a"),
        stage.send_key("a"),
        stage.send_key("b"),
    );
    let (taken, lease) = stage.receive(1, 30_000);
    assert_eq!(taken, [a1]);
    assert_eq!(stage.receive(10, 30_000).0, [b1]);
    assert_eq!(stage.receive(10, 30_000).0, [0_u64; 0]);
    assert_eq!(stage.settle((a1, lease), &Settlement::Ack), Settled::Done);
    assert_eq!(stage.receive(10, 30_000).0, [a2]);
}

#[test]
fn one_receive_fills_from_one_key_before_the_next() {
    let mut stage = Stage::ordered();
    let a1 = stage.send_key("a");
    let b1 = stage.send_key("b");
    let a2 = stage.send_key("a");
    let b2 = stage.send_key("b");
    assert_eq!(stage.receive(3, 30_000).0, [a1, a2, b1]);
    // The key stays locked, although a message of it was not taken.
    assert_eq!(stage.receive(3, 30_000).0, [0_u64; 0]);
    stage.pass(30_000);
    assert_eq!(stage.receive(10, 30_000).0, [a1, a2, b1, b2]);
}

#[test]
fn acknowledging_some_keeps_the_lock() {
    let mut stage = Stage::ordered();
    let offsets: Vec<u64> = (0..3).map(|_| stage.send_key("a")).collect();
    let (_, lease) = stage.receive(2, 30_000);
    stage.settle((offsets[0], lease), &Settlement::Ack);
    assert_eq!(stage.receive(10, 30_000).0, [0_u64; 0]);
    stage.settle((offsets[1], lease), &Settlement::Ack);
    assert_eq!(stage.receive(10, 30_000).0, [offsets[2]]);
}

#[test]
fn a_longer_lease_hides_what_is_behind_and_not_what_is_before() {
    let mut stage = Stage::ordered();
    let offsets: Vec<u64> = (0..4).map(|_| stage.send_key("a")).collect();
    let (_, lease) = stage.receive(3, 10_000);
    stage.settle((offsets[1], lease), &Settlement::Extend(60_000));
    stage.pass(10_000);
    assert_eq!(stage.receive(10, 1000).0, [offsets[0]]);
}

#[test]
fn an_acknowledgement_after_the_end_of_the_lease_is_refused_in_order_only() {
    for ordered in [true, false] {
        let mut stage = if ordered {
            Stage::ordered()
        } else {
            Stage::new(crate::settings::QueueSettings::default())
        };
        let offset = stage.send_key("a");
        let (_, lease) = stage.receive(1, 1000);
        stage.pass(1000);
        assert_eq!(
            stage.settle((offset, lease), &Settlement::Ack),
            Settled::Expired
        );
        let left = stage.state.counts().ready;
        assert_eq!(left, u64::from(ordered));
    }
}

#[test]
fn a_delayed_message_does_not_hold_up_its_key_and_a_retry_does() {
    let mut stage = Stage::ordered();
    let late = stage.send(&[Message {
        key: Some("a"),
        delay: 5000,
        ..Message::default()
    }]);
    let soon = stage.send_key("a");
    let (taken, lease) = stage.receive(1, 30_000);
    assert_eq!(taken, [soon]);
    let next = stage.send_key("a");
    stage.settle((soon, lease), &released(2000));
    assert_eq!(stage.receive(1, 1000).0, [0_u64; 0]);
    stage.pass(5000);
    assert_eq!(stage.receive(10, 1000).0, [late, soon, next]);
}

#[test]
fn a_new_delay_holds_for_what_is_delayed_already() {
    let mut stage = Stage::ordered();
    stage.settings.delay_ms = 60_000;
    let offset = stage.send_key("a");
    assert_eq!(stage.receive(1, 1000).0, [0_u64; 0]);
    stage.settings.delay_ms = 1000;
    stage.state.redelay(1000);
    stage.pass(1000);
    assert_eq!(stage.receive(1, 1000).0, [offset]);
}

#[test]
fn a_million_messages_of_one_key_do_not_hide_another() {
    let mut stage = Stage::ordered();
    let many: Vec<Message> = (0..1000)
        .map(|_| Message {
            key: Some("hot"),
            ..Message::default()
        })
        .collect();
    for _ in 0..200 {
        stage.send(&many);
    }
    let quiet = stage.send_key("quiet");
    let (taken, _) = stage.receive(1, 30_000);
    assert_eq!(taken, [0]);
    assert_eq!(stage.receive(1, 30_000).0, [quiet]);
}

#[test]
fn a_repeated_attempt_gives_the_same_leases_until_one_changes() {
    let mut stage = Stage::ordered();
    let offsets: Vec<u64> = (0..2).map(|_| stage.send_key("a")).collect();
    let (taken, lease, _) = stage.receive_as(2, 30_000, Some("try-1"));
    assert_eq!(taken, offsets);
    for restarted in [false, true] {
        if restarted {
            stage.take_snapshot();
            stage.restart();
        }
        assert_eq!(
            stage.state.repeat("try-1", stage.now),
            Some(offsets.clone())
        );
        assert_eq!(stage.state.lease(offsets[1]).unwrap().number, lease);
        assert_eq!(stage.state.repeat("try-2", stage.now), None);
        assert_eq!(stage.state.repeat("try-1", stage.now + 300_000), None);
    }
    stage.settle((offsets[0], lease), &Settlement::Ack);
    assert_eq!(stage.state.repeat("try-1", stage.now), None);
}

#[test]
fn what_is_given_back_goes_behind_what_is_ready_and_before_what_comes_later() {
    let mut stage = Stage::new(crate::settings::QueueSettings::default());
    let sent: Vec<u64> = (0..4).map(|_| stage.send_key("a")).collect();
    // Given back by its receipt, or run out: it is all the same.
    let (taken, lease) = stage.receive(1, 30_000);
    assert_eq!(taken, [sent[0]]);
    stage.settle((sent[0], lease), &released(0));
    assert_eq!(stage.receive(1, 1000).0, [sent[1]]);
    stage.pass(1000);
    let late = stage.send_key("a");
    for snapshot in [false, true] {
        if snapshot {
            stage.take_snapshot();
        }
        stage.restart();
        let ready: Vec<u64> = stage
            .state
            .pick(9, &stage.settings, stage.now)
            .leases
            .iter()
            .map(|(o, _)| *o)
            .collect();
        // Before a snapshot only the give-back is in the log: what ran out meanwhile goes behind all there is.
        let expected = [sent[2], sent[3], sent[0], late, sent[1]];
        assert_eq!(ready, expected, "snapshot: {snapshot}");
    }
}

#[test]
fn a_message_that_always_fails_does_not_keep_others_waiting() {
    let mut stage = Stage::new(crate::settings::QueueSettings::default());
    let all: Vec<u64> = (0..4).map(|_| stage.send_key("a")).collect();
    let mut served = Vec::new();
    for _ in 0..8 {
        let (taken, lease) = stage.receive(1, 30_000);
        served.push(taken[0]);
        stage.settle((taken[0], lease), &released(0));
    }
    assert_eq!(served, [&all[..], &all[..]].concat());
}

#[test]
fn a_key_whose_message_fails_steps_behind_the_other_keys_and_keeps_its_order() {
    let mut stage = Stage::ordered();
    let (a1, a2) = (stage.send_key("a"), stage.send_key("a"));
    let (b1, c1) = (stage.send_key("b"), stage.send_key("c"));
    let (taken, lease) = stage.receive(1, 30_000);
    assert_eq!(taken, [a1]);
    stage.settle((a1, lease), &released(0));
    let d1 = stage.send_key("d");
    for restarted in [false, true] {
        if restarted {
            stage.take_snapshot();
            stage.restart();
        }
        let picked = stage.state.pick(9, &stage.settings, stage.now).leases;
        let picked: Vec<u64> = picked.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(picked, [b1, c1, a1, a2, d1], "restarted: {restarted}");
    }
    // When the message is done, the key stands where its next message stands.
    assert_eq!(stage.receive(3, 1000).0, [b1, c1, a1]);
    let lease = stage.state.lease(a1).unwrap().number;
    stage.settle((a1, lease), &Settlement::Ack);
    stage.pass(1000);
    assert_eq!(stage.receive(9, 1000).0, [a2, d1, b1, c1]);
}

#[test]
fn who_requeues_gives_back_the_old_place() {
    let mut stage = Stage::new(crate::settings::QueueSettings::default());
    let all: Vec<u64> = (0..3).map(|_| stage.send_key("a")).collect();
    let (taken, lease, _) = stage.lease_untimed(1);
    assert_eq!(taken, [all[0]]);
    stage.settle((all[0], lease), &Settlement::REQUEUE);
    assert_eq!(stage.lease_untimed(3).0, all);
}

#[test]
fn a_give_back_written_before_places_were_known_is_read_as_its_old_place() {
    let mut stage = Stage::new(crate::settings::QueueSettings::default());
    let all: Vec<u64> = (0..3).map(|_| stage.send_key("a")).collect();
    stage.receive(2, 30_000);
    let old = [1, 3, 0, 0];
    let event = crate::event::QueueEvent::decode(&old).unwrap();
    stage.apply(&event, None);
    let (offset, due, before) = (0, 0, 1);
    assert_eq!(
        event,
        crate::event::QueueEvent::Released {
            offset,
            due,
            before
        }
    );
    assert_eq!(stage.receive(9, 1000).0, [all[0], all[2]]);
}
