//! Events and snapshots as bytes.

use proptest::prelude::*;
use uuid::Uuid;

use super::stage::{Message, Stage, released};
use crate::event::{QueueEvent, fuzz};
use crate::meta::message_id;
use crate::queue_partition::QueuePartition;
use crate::settings::QueueSettings;

fn event() -> impl Strategy<Value = QueueEvent> {
    let offsets = || proptest::collection::vec(any::<u64>(), 0..5);
    let id = || any::<u128>().prop_map(Uuid::from_u128);
    prop_oneof![
        (any::<[u64; 3]>(), any::<Option<String>>(), offsets()).prop_map(
            |([lease, at, until], attempt, offsets)| QueueEvent::Leased {
                lease,
                at,
                until,
                attempt,
                offsets
            }
        ),
        offsets().prop_map(|offsets| QueueEvent::Acked { offsets }),
        any::<(u64, u64, u64)>().prop_map(|(offset, due, before)| QueueEvent::Released {
            offset,
            due,
            before
        }),
        any::<(u64, u64)>().prop_map(|(offset, until)| QueueEvent::Extended { offset, until }),
        (any::<u64>(), offsets())
            .prop_map(|(lease, offsets)| QueueEvent::Undone { lease, offsets }),
        (offsets(), proptest::option::of(id()))
            .prop_map(|(offsets, task)| QueueEvent::Left { offsets, task }),
        any::<u64>().prop_map(|before| QueueEvent::Trimmed { before }),
        any::<u64>().prop_map(|before| QueueEvent::Purged { before }),
        (any::<(u64, u64)>(), offsets()).prop_map(|((from, upto), kept)| QueueEvent::Replayed {
            from,
            upto,
            kept
        }),
        (
            id(),
            any::<[u64; 3]>(),
            any::<u32>(),
            any::<Option<String>>()
        )
            .prop_map(|(task, [at, upto, to_move], rate_max, destination)| {
                QueueEvent::MoveStarted {
                    task,
                    at,
                    upto,
                    to_move,
                    rate_max,
                    destination,
                }
            }),
        (id(), any::<bool>(), any::<Option<String>>()).prop_map(|(task, cancelled, failure)| {
            QueueEvent::MoveEnded {
                task,
                cancelled,
                failure,
            }
        }),
        proptest::collection::vec(any::<(u64, u64)>(), 0..5)
            .prop_map(|runs| QueueEvent::Revived { runs }),
        any::<u64>().prop_map(|before| QueueEvent::Unkept { before }),
        (any::<(u64, u64)>(), any::<Vec<u8>>())
            .prop_map(|((part, parts), bytes)| { QueueEvent::Snapshot { part, parts, bytes } }),
    ]
}

proptest! {
    #[test]
    fn events_come_back_as_they_were(event in event()) {
        prop_assert_eq!(QueueEvent::decode(&event.encode()), Ok(event));
    }

    #[test]
    fn noise_is_refused_or_read_and_never_worse(bytes in any::<Vec<u8>>()) {
        fuzz(&bytes);
        let _ = QueuePartition::decode(&bytes, 300_000);
    }

    #[test]
    fn identities_differ(topic in any::<u128>(), a in any::<(u32, u64)>(), b in any::<(u32, u64)>()) {
        let topic = Uuid::from_u128(topic);
        let (x, y) = (message_id(topic, a.0, a.1), message_id(topic, b.0, b.1));
        prop_assert_eq!(x == y, a == b);
        prop_assert_eq!(x.get_version_num(), 4);
    }
}

#[test]
fn a_version_nobody_knows_is_refused() {
    let mut bytes = QueueEvent::Purged { before: 7 }.encode();
    bytes[0] = 2;
    QueueEvent::decode(&bytes).expect_err("the version");
    bytes[0] = 1;
    bytes[1] = 99;
    QueueEvent::decode(&bytes).expect_err("the kind");
}

#[test]
fn a_large_snapshot_has_several_parts() {
    let mut stage = Stage::ordered();
    // Two keys in turn: every message is a run of its own.
    let pair = ["a", "b"].map(|key| Message {
        key: Some(key),
        ..Message::default()
    });
    for _ in 0..100 {
        stage.send(&pair.iter().cycle().take(2000).cloned().collect::<Vec<_>>());
    }
    assert!(stage.state.snapshot().len() > 1);
    stage.take_snapshot();
    stage.restart();
    assert_eq!(stage.state.counts().ready, 200_000);
    assert_eq!(stage.receive(3, 1000).0, [0, 2, 4]);
}

#[test]
fn what_lasts_for_ever_does_so_after_a_restart() {
    let settings = QueueSettings {
        dedup_window_ms: u64::MAX,
        ..QueueSettings::default()
    };
    let mut stage = Stage::new(settings);
    let ever = Message {
        delay: u64::MAX - stage.now,
        ..Message::default()
    };
    let named = Message {
        dedup: Some("id".to_owned()),
        ..Message::default()
    };
    stage.send(&[ever, named, Message::default()]);
    assert_eq!(stage.receive(1, u64::MAX).0, [1]);
    let (taken, lease) = stage.receive(1, 1000);
    assert_eq!(taken, [2]);
    stage.settle((2, lease), &released(u64::MAX));
    for _ in 0..2 {
        stage.pass(1 << 40);
        stage.state.expire_dedup(u64::MAX, stage.now);
        let counts = stage.state.counts();
        assert_eq!((counts.ready, counts.leased, counts.waiting), (0, 1, 2));
        assert_eq!(stage.state.dedup_ids(), 1);
        stage.take_snapshot();
        stage.restart();
    }
}
