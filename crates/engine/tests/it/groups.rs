//! Groups over restarts: offsets, generations, and the end of groups nobody needs.

use std::time::Duration;

use engine::group::{
    Command, CommitOffsets, Group, Join, MemberRef, NamedPartition, OffsetCommit, Reply, State,
    Sync, TopicPartition,
};
use engine::topic::Topic;
use engine::{Error, group};
use security::Verb;
use storage::Catalog;

use crate::stage::{ENDS, Stage, eventually};

fn at(topic: &Topic) -> NamedPartition {
    NamedPartition {
        partition: TopicPartition {
            topic: topic.id(),
            partition: 0,
        },
        topic_name: topic.name.clone(),
    }
}

pub(crate) async fn commit(stage: &Stage, topic: &Topic, offset: i64) -> engine::Result<Reply> {
    commit_as(stage, "readers", topic, offset).await
}

pub(crate) async fn commit_as(
    stage: &Stage,
    group: &str,
    topic: &Topic,
    offset: i64,
) -> engine::Result<Reply> {
    let command = Command::CommitOffsets(CommitOffsets {
        member: MemberRef {
            member_id: String::new(),
            instance_id: None,
            generation: -1,
        },
        producer_id: None,
        retention_ms: None,
        offsets: vec![OffsetCommit {
            at: at(topic),
            offset,
            leader_epoch: None,
            metadata: "note".into(),
        }],
    });
    let access = &stage.access;
    let done = access.group_command(group, command, true);
    done.await
}

pub(crate) async fn committed(stage: &Stage, topic: &Topic) -> Option<i64> {
    let place = at(topic).partition;
    let look = move |group: Option<&Group>| {
        let offset = group?.committed(place, false).ok()??;
        Some(offset.offset)
    };
    let access = &stage.access;
    let seen = access.inspect_group("readers", look);
    seen.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_are_kept() {
    for end in ENDS {
        let stage = Stage::new().await;
        let topic = stage.make("orders", &[]).await.unwrap();
        for offset in 0..500 {
            commit(&stage, &topic, offset).await.unwrap();
        }
        let stage = stage.again(end).await;
        assert_eq!(committed(&stage, &topic).await, Some(499), "{end:?}");
        commit(&stage, &topic, 500).await.unwrap();
        let stage = stage.again(end).await;
        assert_eq!(committed(&stage, &topic).await, Some(500), "{end:?}");
    }
}

async fn join(stage: &Stage) -> (String, i32) {
    let command = Command::Join(Join {
        member_id: String::new(),
        instance_id: None,
        client_id: "reader".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), bytes::Bytes::new())],
        require_known_member: false,
        can_skip_assignment: false,
        fresh_id: stage.broker.fresh_id().to_string(),
    });
    let access = &stage.access;
    let reply = access.group_command("readers", command, true);
    let Reply::Join(Ok(joined)) = reply.await.unwrap() else {
        panic!("not in");
    };
    (joined.member_id, joined.generation)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_generations_are_kept() {
    for end in ENDS {
        let stage = Stage::new().await;
        let (member_id, generation) = join(&stage).await;
        let member = MemberRef {
            member_id: member_id.clone(),
            instance_id: None,
            generation,
        };
        let command = Command::Sync(Sync {
            member: member.clone(),
            protocol_type: None,
            protocol_name: None,
            assignments: vec![(member_id.clone(), "everything".into())],
        });
        let access = &stage.access;
        let synced = access.group_command("readers", command, false);
        assert!(matches!(synced.await, Ok(Reply::Sync(Ok(_)))));

        let bytes = stage.broker.group_state_bytes();
        let stage = stage.again(end).await;
        assert_eq!(stage.broker.group_state_bytes(), bytes, "{end:?}");
        let describe = |group: Option<&Group>| group.map(Group::describe);
        let access = &stage.access;
        let seen = access.inspect_group("readers", describe);
        let description = seen.await.unwrap().unwrap();
        assert_eq!(description.state, State::Stable, "{end:?}");
        assert_eq!(description.generation, generation, "{end:?}");
        assert_eq!(description.members[0].member_id, member_id, "{end:?}");
        let beat = Command::Heartbeat(member);
        let access = &stage.access;
        let beat = access.group_command("readers", beat, false);
        assert!(
            matches!(beat.await, Ok(Reply::Heartbeat(Ok(())))),
            "{end:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_consume_may_not_delete() {
    let stage = Stage::new().await;
    let topic = stage.make("orders", &[]).await.unwrap();
    commit(&stage, &topic, 7).await.unwrap();
    let access = &stage.access;
    let ask = |command| access.group_command("readers", command, false);
    let forget = || Command::DeleteOffsets {
        partitions: vec![at(&topic)],
    };
    stage.denied.set(&[Verb::Delete]);
    assert_eq!(ask(forget()).await, Err(Error::Denied));
    assert_eq!(ask(Command::Delete).await, Err(Error::Denied));
    commit(&stage, &topic, 8).await.unwrap();
    assert_eq!(stage.broker.inventory().group_names().len(), 1);
    stage.denied.set(&[Verb::Consume]);
    assert_eq!(commit(&stage, &topic, 9).await, Err(Error::Denied));
    assert_eq!(ask(Command::Delete).await, Ok(Reply::Delete(Ok(()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_nobody_needs_disappears() {
    for end in ENDS {
        let stage = Stage::new().await;
        let topic = stage.make("orders", &[]).await.unwrap();
        commit(&stage, &topic, 7).await.unwrap();
        assert_eq!(stage.broker.inventory().group_names().len(), 1);
        let forget = Command::DeleteOffsets {
            partitions: vec![at(&topic)],
        };
        let access = &stage.access;
        let forget = access.group_command("readers", forget, false);
        assert!(matches!(forget.await, Ok(Reply::DeleteOffsets(Ok(_)))));
        // It looks only now and then whether anything is left of it.
        stage.skip(Duration::from_hours(1));
        let gone = || stage.broker.inventory().group_names().is_empty();
        eventually("the group is gone", gone).await;
        let stage = stage.again(end).await;
        assert!(stage.broker.inventory().group_names().is_empty(), "{end:?}");
        assert_eq!(committed(&stage, &topic).await, None, "{end:?}");
        commit(&stage, &topic, 1).await.unwrap();
        let stage = stage.again(end).await;
        assert_eq!(committed(&stage, &topic).await, Some(1), "{end:?}");
    }
}

/// Whether there was memory for a command.
fn fits(answer: engine::Result<Reply>) -> bool {
    match answer {
        Ok(Reply::CommitOffsets(Ok(results))) => results.iter().all(|one| one.result.is_ok()),
        Ok(Reply::Delete(result)) => result.is_ok(),
        Err(Error::Group(group::Error::StateFull)) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_there_is_no_memory_for_leave_nothing_behind_and_usual_commits_go_on() {
    for end in ENDS {
        let stage = Stage::with(|settings| settings.group_state_bytes_max = 16 << 10).await;
        let topic = stage.make("orders", &[]).await.unwrap();
        let mut taken = Vec::new();
        for group in ["a", "b", "c", "d", "e", "f"] {
            if fits(commit_as(&stage, group, &topic, 1).await) {
                taken.push(group);
            }
        }
        assert_eq!(taken, ["a", "b", "c"]);
        let documents = stage.store.list("groups/").await.unwrap();
        assert_eq!(documents.len(), 3, "{documents:?}");
        assert_eq!(stage.broker.inventory().group_names().len(), 3);
        let before = stage.broker.group_state_bytes();
        assert!(before.0 <= before.1, "{before:?}");

        let stage = stage.again(end).await;
        assert_eq!(stage.broker.inventory().group_names().len(), 3, "{end:?}");
        assert_eq!(stage.broker.group_state_bytes(), before, "{end:?}");
        for offset in 2..10 {
            assert!(fits(commit_as(&stage, "a", &topic, offset).await));
        }
        assert!(!fits(commit_as(&stage, "d", &topic, 1).await), "{end:?}");

        let access = &stage.access;

        let delete = access.group_command("b", Command::Delete, false);
        assert!(fits(delete.await), "{end:?}");
        assert!(fits(commit_as(&stage, "d", &topic, 1).await), "{end:?}");
        for group in ["a", "c", "d"] {
            let access = &stage.access;
            let delete = access.group_command(group, Command::Delete, false);
            assert!(fits(delete.await), "{end:?}");
        }
        assert_eq!(stage.broker.group_state_bytes().0, 0, "{end:?}");
    }
}

#[tokio::test]
async fn a_stop_answers_questions_that_rest_on_nothing_new() {
    for name in ["a", "b"] {
        let stage = Stage::new().await;
        let topic = stage.make("orders", &[]).await.unwrap();
        commit_as(&stage, name, &topic, 7).await.unwrap();
        // On one thread both are in the mailbox before the owner looks into it.
        let access = &stage.access;
        let look = access.inspect_group(name, |_| ());
        let both = async { tokio::join!(look, stage.broker.stop()) };
        let ended = tokio::time::timeout(Duration::from_secs(20), both).await;
        assert!(ended.is_ok(), "the log will not move on for what is asked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_there_for_its_first_command_however_often_the_broker_looks_for_empty_ones() {
    let stage = Stage::with(|settings| settings.maintenance_interval = Duration::from_millis(1));
    let stage = stage.await;
    for number in 0..500 {
        let command = Command::Leave {
            members: Vec::new(),
        };
        let name = format!("group-{number}");
        let reply = stage.access.group_command(&name, command, true).await;
        assert!(reply.is_ok(), "{name}: {reply:?}");
    }
}
