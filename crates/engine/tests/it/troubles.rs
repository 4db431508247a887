//! Disks that are full, and disks that fail.

use engine::queue::{Lifetime, NewMessage, NewQueue, QueueSettings};
use engine::{Error, TopicKey};
use testkit::Fault;

use crate::groups::{commit, commit_as, committed};
use crate::stage::{End, Stage, batch, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_publishes_are_refused_and_commits_go_on() {
    let stage = Stage::new().await;
    let topic = stage
        .make("orders", &[("retention.ms", "-1")])
        .await
        .unwrap();
    stage.publish("orders", batch(&["before"])).await.unwrap();
    commit(&stage, &topic, 1).await.unwrap();
    stage.disk.set_capacity(Some(1));
    let value = "x".repeat(20_000);
    let mut kept = 1;
    let mut refused = false;
    // What was made ahead is used up first.
    for _ in 0..2000 {
        match stage.publish("orders", batch(&[&value])).await {
            Ok(_) => kept += 1,
            Err(error) => {
                assert_eq!(error, Error::DiskFull);
                refused = true;
                break;
            }
        }
    }
    assert!(refused, "never full");
    for offset in 2..20 {
        commit(&stage, &topic, offset).await.unwrap();
    }
    assert_eq!(committed(&stage, &topic).await, Some(19));
    commit_as(&stage, "newcomers", &topic, 1)
        .await
        .expect("a new group is no growth to speak of");
    makes_room_for_answers(&stage).await;
    assert_eq!(stage.bounds("orders"), (0, kept));
    let access = &stage.access;
    let removed = access.delete_topic(TopicKey::Name("orders"));
    removed.await.expect("removing makes room");
    stage.disk.set_capacity(None);
    eventually("there is room again", || !stage.store.is_full()).await;
    stage.make("orders", &[]).await.unwrap();
    stage.publish("orders", batch(&["after"])).await.unwrap();
}

/// Queues that go with their clients are made and removed while nothing may be sent to any queue.
async fn makes_room_for_answers(stage: &Stage) {
    let make = |name: &str, lifetime: Lifetime| NewQueue {
        name: name.to_owned(),
        settings: QueueSettings {
            lifetime,
            ..QueueSettings::default()
        },
        topic: None,
    };
    let lasting = make("lasting", Lifetime::default());
    let refused = stage.access.create_queue(lasting).await;
    assert_eq!(refused.unwrap_err(), Error::DiskFull);
    let transient = Lifetime {
        transient: true,
        ..Lifetime::default()
    };
    let answers = make("answers", transient);
    stage.access.create_queue(answers).await.unwrap();
    let message = vec![NewMessage::default()];
    let sent = stage.access.send("answers", message).await;
    assert_eq!(sent.unwrap()[0], Err(Error::DiskFull));
    stage.access.purge_queue("answers").await.unwrap();
    let access = &stage.access;
    let removed = access.delete_queue("answers");
    removed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_acknowledges_nothing_more() {
    for (incarnation, fault) in [Fault::Sync(0), Fault::Write(0), Fault::ShortWrite(0)]
        .into_iter()
        .enumerate()
    {
        let stage = Stage::new().await;
        stage
            .make("orders", &[("retention.ms", "-1")])
            .await
            .unwrap();
        stage.publish("orders", batch(&["kept"])).await.unwrap();
        let mut failed = stage.store.failed();
        stage.disk.inject(fault);
        // A write in the background may meet the fault first; what was taken until then is kept.
        let mut kept = 1;
        let unsure = loop {
            match stage.publish("orders", batch(&["unsure"])).await {
                Ok(_) if kept < 1000 => kept += 1,
                other => break other,
            }
        };
        assert_eq!(unsure, Err(Error::Unavailable), "{fault:?}");
        failed.wait_for(Option::is_some).await.unwrap();
        for _ in 0..3 {
            let refused = stage.publish("orders", batch(&["never"])).await;
            assert_eq!(refused, Err(Error::Unavailable), "{fault:?}");
        }
        assert_eq!(
            stage.bounds("orders"),
            (0, kept),
            "{fault:?}: nobody read it"
        );

        let stage = stage.again(End::PowerLoss(incarnation as u64)).await;
        let values = stage.values("orders", 0).await.unwrap();
        assert_eq!(values.first().map(String::as_str), Some("kept"));
        assert!(values.len() as u64 >= kept, "{fault:?}: {values:?}");
        assert!(!values.iter().any(|value| value == "never"), "{fault:?}");
        stage.publish("orders", batch(&["again"])).await.unwrap();
    }
}
