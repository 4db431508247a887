//! Order per key, and what holds it up.

use super::stage::{Message, Stage};
use crate::queue::{Settle, Settled};

#[test]
fn a_key_is_locked_while_a_message_of_it_is_lent_and_only_that_key() {
    let mut stage = Stage::ordered();
    let (a1, a2, b1) = (
        stage.send_key("a"),
        stage.send_key("a"),
        stage.send_key("b"),
    );
    let (taken, loan) = stage.receive(1, 30_000);
    assert_eq!(taken, [a1]);
    assert_eq!(stage.receive(10, 30_000).0, [b1]);
    assert_eq!(stage.receive(10, 30_000).0, [0_u64; 0]);
    assert_eq!(stage.settle((a1, loan), Settle::Ack), Settled::Done);
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
    let (_, loan) = stage.receive(2, 30_000);
    stage.settle((offsets[0], loan), Settle::Ack);
    assert_eq!(stage.receive(10, 30_000).0, [0_u64; 0]);
    stage.settle((offsets[1], loan), Settle::Ack);
    assert_eq!(stage.receive(10, 30_000).0, [offsets[2]]);
}

#[test]
fn a_longer_loan_hides_what_is_behind_and_not_what_is_before() {
    let mut stage = Stage::ordered();
    let offsets: Vec<u64> = (0..4).map(|_| stage.send_key("a")).collect();
    let (_, loan) = stage.receive(3, 10_000);
    stage.settle((offsets[1], loan), Settle::Extend(60_000));
    stage.pass(10_000);
    assert_eq!(stage.receive(10, 1000).0, [offsets[0]]);
}

#[test]
fn an_acknowledgement_after_the_end_of_the_loan_is_refused_in_order_only() {
    for ordered in [true, false] {
        let mut stage = if ordered {
            Stage::ordered()
        } else {
            Stage::new(crate::queue::QueueSettings::default())
        };
        let offset = stage.send_key("a");
        let (_, loan) = stage.receive(1, 1000);
        stage.pass(1000);
        assert_eq!(stage.settle((offset, loan), Settle::Ack), Settled::Expired);
        let left = stage.lane.counts().ready;
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
    let (taken, loan) = stage.receive(1, 30_000);
    assert_eq!(taken, [soon]);
    let next = stage.send_key("a");
    stage.settle((soon, loan), Settle::Release(Some(2000)));
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
    stage.lane.redelay(1000);
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
fn a_repeated_attempt_gives_the_same_loans_until_one_changes() {
    let mut stage = Stage::ordered();
    let offsets: Vec<u64> = (0..2).map(|_| stage.send_key("a")).collect();
    let (taken, loan, _) = stage.receive_as(2, 30_000, Some("try-1"));
    assert_eq!(taken, offsets);
    for restarted in [false, true] {
        if restarted {
            stage.take_snapshot();
            stage.restart();
        }
        assert_eq!(stage.lane.repeat("try-1", stage.now), Some(offsets.clone()));
        assert_eq!(stage.lane.loan(offsets[1]).unwrap().number, loan);
        assert_eq!(stage.lane.repeat("try-2", stage.now), None);
        assert_eq!(stage.lane.repeat("try-1", stage.now + 300_000), None);
    }
    stage.settle((offsets[0], loan), Settle::Ack);
    assert_eq!(stage.lane.repeat("try-1", stage.now), None);
}
