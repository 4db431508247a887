//! The deduplication window.

use super::stage::{Message, Stage};
use crate::dedup::hash;
use crate::event::QueueEvent;
use crate::settings::QueueSettings;

const WINDOW: u64 = 300_000;

fn sent_with_id(id: &str) -> (Stage, u128) {
    let mut stage = Stage::new(QueueSettings::default());
    let message = Message {
        dedup: Some(id.to_owned()),
        ..Message::default()
    };
    stage.send(&[Message::default(), message]);
    (stage, hash(None, id.as_bytes()))
}

#[test]
fn an_id_is_remembered_for_exactly_the_window() {
    let (mut stage, id) = sent_with_id("order-1");
    for restarted in [false, true] {
        if restarted {
            stage.restart();
        }
        let at = |after| stage.state.duplicate(id, WINDOW, stage.now + after);
        assert_eq!(at(0), Some(1));
        assert_eq!(at(WINDOW - 1), Some(1));
        assert_eq!(at(WINDOW), None);
        assert_eq!(
            stage
                .state
                .duplicate(hash(None, b"order-2"), WINDOW, stage.now),
            None
        );
    }
}

#[test]
fn an_id_outlives_its_message_and_a_snapshot() {
    let (mut stage, id) = sent_with_id("order-1");
    stage.apply(
        &QueueEvent::Acked {
            offsets: vec![0, 1],
        },
        None,
    );
    stage.take_snapshot();
    stage.restart();
    assert_eq!(stage.state.counts().ready, 0);
    assert_eq!(stage.state.duplicate(id, WINDOW, stage.now), Some(1));
}

#[test]
fn a_purge_forgets_ids() {
    let (mut stage, id) = sent_with_id("order-1");
    stage.apply(&QueueEvent::Purged { before: 2 }, None);
    assert_eq!(stage.state.duplicate(id, WINDOW, stage.now), None);
    stage.restart();
    assert_eq!(stage.state.duplicate(id, WINDOW, stage.now), None);
}

#[test]
fn old_ids_are_given_up() {
    let mut stage = Stage::new(QueueSettings::default());
    for i in 0..100 {
        let message = Message {
            dedup: Some(format!("id-{i}")),
            ..Message::default()
        };
        stage.send(&[message]);
        stage.pass(10_000);
        stage.state.expire_dedup(WINDOW, stage.now);
        // 30 ids fit into the window, and a tenth of it may be kept longer.
        assert!(stage.state.dedup_ids() <= 34, "{}", stage.state.dedup_ids());
    }
    let newest = hash(None, b"id-99");
    assert_eq!(stage.state.duplicate(newest, WINDOW, stage.now), Some(99));
    stage.pass(2 * WINDOW);
    stage.state.expire_dedup(WINDOW, stage.now);
    assert_eq!(stage.state.dedup_ids(), 0);
}

#[test]
fn a_scope_keeps_ids_apart() {
    assert_ne!(hash(Some(b"a"), b"id"), hash(Some(b"b"), b"id"));
    assert_ne!(hash(Some(b"ab"), b"c"), hash(Some(b"a"), b"bc"));
    assert_eq!(hash(Some(b"a"), b"id"), hash(Some(b"a"), b"id"));
}
