//! Events as bytes: round trips, and bytes nobody wrote.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    CommittedOffset, DecodeError, GroupEvent, MemberRecord, Membership, Snapshot, StagedOffsets,
    TopicOffsets, TopicPartition,
};

fn member() -> impl Strategy<Value = MemberRecord> {
    let bytes = || vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    let protocols = vec((".{0,4}", bytes()), 0..3);
    let texts = (".{0,8}", ".{0,8}", ".{0,8}");
    (texts, any::<[u32; 2]>(), protocols, bytes()).prop_map(
        |((id, client_id, client_host), timeouts, protocols, assignment)| MemberRecord {
            id,
            instance_id: None,
            client_id,
            client_host,
            session_timeout_ms: timeouts[0],
            rebalance_timeout_ms: timeouts[1],
            protocols,
            assignment,
        },
    )
}

fn membership() -> impl Strategy<Value = Membership> {
    let names = (option::of(".{0,4}"), option::of(".{0,4}"));
    (any::<i32>(), names, vec(member(), 0..5)).prop_map(|(generation, names, mut members)| {
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members.dedup_by(|a, b| a.id == b.id);
        if let Some(last) = members.last_mut() {
            last.instance_id = Some("i".into());
        }
        Membership {
            generation,
            protocol_type: names.0,
            protocol_name: names.1,
            leader: members.first().map(|member| member.id.clone()),
            members,
        }
    })
}

fn topics() -> impl Strategy<Value = Vec<TopicOffsets>> {
    let offset = (
        any::<(i64, u64)>(),
        any::<(Option<i32>, Option<u64>)>(),
        ".{0,6}",
    )
        .prop_map(
            |((offset, committed_at), (leader_epoch, expires_at), metadata)| CommittedOffset {
                offset,
                leader_epoch,
                metadata,
                committed_at,
                expires_at,
            },
        );
    let topic = (any::<u128>(), ".{0,6}", vec((any::<i32>(), offset), 0..3));
    let topic = topic.prop_map(|(id, name, partitions)| TopicOffsets {
        topic: Uuid::from_u128(id),
        name,
        partitions,
    });
    vec(topic, 0..3)
}

fn partitions() -> impl Strategy<Value = Vec<TopicPartition>> {
    let partition = any::<(u128, i32)>().prop_map(|(id, partition)| TopicPartition {
        topic: Uuid::from_u128(id),
        partition,
    });
    vec(partition, 0..4)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let staged =
        (any::<i64>(), topics(), partitions()).prop_map(|(producer_id, offsets, overtaken)| {
            StagedOffsets {
                producer_id,
                offsets,
                overtaken,
            }
        });
    (
        any::<(bool, i32, u64)>(),
        membership(),
        topics(),
        vec(staged, 0..3),
    )
        .prop_map(
            |((exists, generation_last, since), membership, offsets, staged)| Snapshot {
                exists,
                generation_last,
                membership,
                since,
                offsets,
                staged,
            },
        )
}

fn event() -> impl Strategy<Value = GroupEvent> {
    prop_oneof![
        (any::<(i32, u64)>(), option::of(".{0,4}")).prop_map(
            |((generation, at), protocol_type)| GroupEvent::Emptied {
                generation,
                protocol_type,
                at
            }
        ),
        any::<i32>().prop_map(|generation| GroupEvent::GenerationReserved { generation }),
        (membership(), any::<u64>())
            .prop_map(|(membership, at)| GroupEvent::Formed { membership, at }),
        (".{0,4}", member())
            .prop_map(|(old_id, member)| GroupEvent::MemberReplaced { old_id, member }),
        topics().prop_map(|topics| GroupEvent::OffsetsCommitted { topics }),
        (any::<i64>(), topics()).prop_map(|(producer_id, topics)| GroupEvent::OffsetsStaged {
            producer_id,
            topics
        }),
        any::<(i64, bool)>().prop_map(|(producer_id, committed)| GroupEvent::TransactionEnded {
            producer_id,
            committed
        }),
        partitions().prop_map(|partitions| GroupEvent::OffsetsDeleted { partitions }),
        partitions().prop_map(|partitions| GroupEvent::OffsetsExpired { partitions }),
        Just(GroupEvent::Deleted),
        snapshot().prop_map(|snapshot| GroupEvent::Snapshot(Box::new(snapshot))),
    ]
}

proptest! {
    #[test]
    fn events_come_back_as_they_were(event in event()) {
        prop_assert_eq!(GroupEvent::decode(&event.encode()), Ok(event));
    }

    #[test]
    fn an_event_cut_short_is_an_error(event in event(), at in any::<prop::sample::Index>()) {
        let bytes = event.encode();
        prop_assert!(GroupEvent::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn random_bytes_do_no_harm(tag in 0_u8..13, bytes in vec(any::<u8>(), 0..200)) {
        crate::fuzz(&bytes);
        crate::fuzz(&[&[1, tag], bytes.as_slice()].concat());
    }

    #[test]
    fn damaged_events_do_no_harm(
        event in event(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = event.encode();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        crate::fuzz(&bytes);
    }
}

#[test]
fn the_layout_stays_as_it_is() {
    let event = GroupEvent::Emptied {
        generation: 300,
        protocol_type: Some("ab".into()),
        at: 128,
    };
    assert_eq!(event.encode(), [1, 1, 0xd8, 4, 1, 2, b'a', b'b', 0x80, 1]);
    assert_eq!(GroupEvent::Deleted.encode(), [1, 10]);
}

#[test]
fn damage_is_named() {
    let check = |bytes: &[u8], error| assert_eq!(GroupEvent::decode(bytes), Err(error));
    check(&[], DecodeError::Truncated);
    check(&[1], DecodeError::Truncated);
    check(&[0, 10], DecodeError::Version(0));
    check(&[2, 10], DecodeError::Version(2));
    check(&[1, 99], DecodeError::Tag(99));
    check(&[1, 10, 0], DecodeError::Malformed("bytes left over"));
    // A list that claims more items than there are bytes.
    check(
        &[
            1, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ],
        DecodeError::Truncated,
    );
    check(
        &[
            1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
        ],
        DecodeError::Malformed("integer too large"),
    );
}

#[test]
fn a_membership_must_be_sound() {
    let member = |id: &str, instance: Option<&str>| MemberRecord {
        id: id.into(),
        instance_id: instance.map(str::to_owned),
        ..MemberRecord::default()
    };
    let decode = |leader: &str, members| {
        let membership = Membership {
            leader: Some(leader.into()),
            members,
            ..Membership::default()
        };
        GroupEvent::decode(&GroupEvent::Formed { membership, at: 0 }.encode())
    };
    assert!(decode("a", vec![member("a", Some("i")), member("b", Some("j"))]).is_ok());
    assert!(decode("c", vec![member("a", None), member("b", None)]).is_err());
    assert!(decode("a", vec![member("b", None), member("a", None)]).is_err());
    assert!(decode("a", vec![member("a", None), member("a", None)]).is_err());
    assert!(decode("a", vec![member("a", Some("i")), member("b", Some("i"))]).is_err());
}
