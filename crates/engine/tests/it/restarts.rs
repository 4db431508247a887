//! What survives every way to end: topics, settings, identities, records, sequences, starts.

use engine::{ConfigChange, Error};

use crate::stage::{ENDS, End, Stage, batch, eventually, sequenced};

#[tokio::test(flavor = "multi_thread")]
async fn topics_keep_identity_settings_and_size() {
    for end in ENDS {
        let stage = Stage::new().await;
        let made = stage
            .make("orders", &[("retention.ms", "-1")])
            .await
            .unwrap();
        let access = &stage.access;
        let grow = access.add_partitions("orders", 5, false);
        grow.await.unwrap();
        let change = ConfigChange::Set("max.message.bytes".into(), "4000".into());
        let access = &stage.access;
        let configure = access.configure_topic("orders", vec![change], false);
        configure.await.unwrap();
        let cluster = stage.broker.cluster_id().to_owned();

        let stage = stage.again(end).await;
        let topics = stage.broker.inventory().topics();
        let topic = topics.named("orders").unwrap();
        assert_eq!(topic.id(), made.id(), "{end:?}");
        assert_eq!(topic.partitions.len(), 5, "{end:?}");
        let retention = topic.document.overrides.get("retention.ms");
        assert_eq!(retention, Some("-1"), "{end:?}");
        assert_eq!(topic.config.batch_bytes_max, 4000, "{end:?}");
        assert_eq!(stage.broker.cluster_id(), cluster, "{end:?}");
        let again = stage.make("orders", &[]).await;
        assert!(matches!(again, Err(Error::TopicExists(_))), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_sequences_go_on_where_they_were() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage
            .make("orders", &[("retention.ms", "-1")])
            .await
            .unwrap();
        let producer = stage.access.producer_id().await.unwrap();
        for sequence in 0..8 {
            let sent = sequenced(producer, sequence, &["a"]);
            let published = stage.publish("orders", sent).await.unwrap();
            assert_eq!(published.base_offset, u64::from(sequence.unsigned_abs()));
        }

        let stage = stage.again(end).await;
        assert_eq!(stage.bounds("orders"), (0, 8), "{end:?}");
        for sequence in 3..8 {
            let repeated = sequenced(producer, sequence, &["a"]);
            let published = stage.publish("orders", repeated).await.unwrap();
            assert!(published.duplicate, "{end:?}: {sequence}");
            assert_eq!(published.base_offset, u64::from(sequence.unsigned_abs()));
        }
        let gap = stage
            .publish("orders", sequenced(producer, 9, &["b"]))
            .await;
        assert!(
            matches!(gap, Err(Error::OutOfOrderSequence { .. })),
            "{end:?}"
        );
        let next = stage
            .publish("orders", sequenced(producer, 8, &["b"]))
            .await;
        assert_eq!(next.unwrap().base_offset, 8, "{end:?}");
        let fresh = stage.access.producer_id().await.unwrap();
        assert!(fresh > producer, "{end:?}: an id was given twice");
        assert_eq!(stage.values("orders", 7).await.unwrap(), ["a", "b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_of_old_records_is_remembered() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage
            .make("orders", &[("retention.ms", "-1")])
            .await
            .unwrap();
        stage
            .publish("orders", sequenced(9, 0, &["a"]))
            .await
            .unwrap();
        // The records are a year old by their own account; their producer spoke a moment ago.
        stage.skip(std::time::Duration::from_hours(365 * 24));
        let sent = sequenced(9, 1, &["b"]);
        let published = stage.publish("orders", sent.clone()).await.unwrap();

        let stage = stage.again(end).await;
        // Maintenance looks after everything as soon as the broker starts.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let again = stage.publish("orders", sent).await.unwrap();
        assert!(again.duplicate, "{end:?}");
        assert_eq!(again.base_offset, published.base_offset, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_stay_deleted_and_their_producers_known() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage
            .make("orders", &[("retention.ms", "-1")])
            .await
            .unwrap();
        for sequence in 0..10 {
            let sent = sequenced(3, sequence, &["a"]);
            stage.publish("orders", sent).await.unwrap();
        }
        let deleted = stage.access.delete_records("orders", 0, None).await;
        assert_eq!(deleted.unwrap(), 10);

        let stage = stage.again(end).await;
        assert_eq!(stage.bounds("orders"), (10, 10), "{end:?}");
        let gone = stage.values("orders", 4).await;
        assert!(
            matches!(gone, Err(Error::OffsetOutOfRange)),
            "{end:?}: {gone:?}"
        );
        let repeated = stage
            .publish("orders", sequenced(3, 9, &["a"]))
            .await
            .unwrap();
        assert!(repeated.duplicate, "{end:?}");
        let next = stage.publish("orders", sequenced(3, 10, &["b"])).await;
        assert_eq!(next.unwrap().base_offset, 10, "{end:?}");
        assert_eq!(stage.values("orders", 10).await.unwrap(), ["b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_producer_is_forgotten() {
    let stage = Stage::new().await;
    stage
        .make("orders", &[("retention.ms", "-1")])
        .await
        .unwrap();
    stage
        .publish("orders", sequenced(3, 0, &["a"]))
        .await
        .unwrap();
    let gap = stage.publish("orders", sequenced(3, 7, &["b"])).await;
    assert!(matches!(gap, Err(Error::OutOfOrderSequence { .. })));
    stage.skip(std::time::Duration::from_hours(25));
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    // A receiver that comes back after so long may start anywhere.
    let later = stage.publish("orders", sequenced(3, 7, &["b"])).await;
    assert_eq!(later.unwrap().base_offset, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_lives_with_lost_power_keep_everything_acknowledged() {
    let mut stage = Stage::new().await;
    stage
        .make("orders", &[("retention.ms", "-1")])
        .await
        .unwrap();
    let value = "x".repeat(3000);
    for incarnation in 0..20_i32 {
        for sequence in 0..20 {
            let sent = sequenced(1, incarnation * 20 + sequence, &[&value]);
            stage.publish("orders", sent).await.unwrap();
        }
        // One more that nobody waited for may or may not arrive.
        let unseen = batch(&["unseen"]);
        let publish = engine::Publish {
            topic: engine::TopicKey::Name("orders"),
            partition: 1,
            batch: Ok(unseen),
        };
        drop(stage.access.publish(vec![publish]).await);
        stage = stage
            .again(End::PowerLoss(incarnation.unsigned_abs().into()))
            .await;
        let expected = u64::from((incarnation + 1).unsigned_abs()) * 20;
        assert_eq!(stage.bounds("orders"), (0, expected), "life {incarnation}");
        let values = stage.values("orders", 0).await.unwrap();
        assert_eq!(values.len() as u64, expected, "life {incarnation}");
        assert!(
            values.iter().all(|found| *found == value),
            "life {incarnation}"
        );
    }
    eventually("a flush", || stage.store.stats().segment_files > 0).await;
}
