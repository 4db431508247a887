//! Removed topics stay removed, wherever the removal was interrupted.

use bytes::Bytes;
use engine::{Error, TopicKey};
use storage::{Catalog, Expected, Log, StreamId, Trim};

use crate::stage::{ENDS, Stage, batch};

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_topic_is_gone_and_its_name_free() {
    for end in ENDS {
        let stage = Stage::new().await;
        let first = stage.make("orders", &[]).await.unwrap();
        stage.publish("orders", batch(&["old"])).await.unwrap();
        let access = &stage.access;
        let removed = access.delete_topic(TopicKey::Name("orders"));
        removed.await.unwrap();

        let stage = stage.again(end).await;
        assert!(
            stage.broker.inventory().topics().named("orders").is_none(),
            "{end:?}"
        );
        assert!(stage.documents("removed/").await.is_empty(), "{end:?}");
        let lost = stage.publish("orders", batch(&["new"])).await;
        assert!(matches!(lost, Err(Error::UnknownTopic)), "{end:?}");
        let second = stage.make("orders", &[]).await.unwrap();
        assert_ne!(first.id(), second.id(), "{end:?}");
        let published = stage.publish("orders", batch(&["new"])).await.unwrap();
        assert_eq!(published.base_offset, 0, "{end:?}");
    }
}

/// A removal that a crash interrupted, up to and including this step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Note,
    Document,
    SomeStreams,
    AllStreams,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_removal_is_finished_by_the_next_start() {
    for step in [
        Step::Note,
        Step::Document,
        Step::SomeStreams,
        Step::AllStreams,
    ] {
        for end in ENDS {
            let stage = Stage::new().await;
            let topic = stage.make("orders", &[]).await.unwrap();
            stage.make("kept", &[]).await.unwrap();
            stage.publish("orders", batch(&["old"])).await.unwrap();
            stage.publish("kept", batch(&["kept"])).await.unwrap();
            let records = StreamId {
                owner: topic.id(),
                part: 0,
            };
            interrupt(&stage, &topic, step).await;

            let stage = stage.again(end).await;
            let place = format!("{step:?}, {end:?}");
            assert!(
                stage.broker.inventory().topics().named("orders").is_none(),
                "{place}"
            );
            assert!(stage.documents("removed/").await.is_empty(), "{place}");
            assert_eq!(stage.store.bounds(records), None, "{place}");
            assert_eq!(stage.values("kept", 0).await.unwrap(), ["kept"], "{place}");
        }
    }
}

async fn interrupt(stage: &Stage, topic: &engine::topic::Topic, step: Step) {
    let note = Bytes::from(serde_json::to_vec(&topic.document).unwrap());
    let key = format!("removed/{}", topic.id());
    let put = stage.store.put_if(&key, Expected::Any, Some(note));
    put.await.unwrap();
    if step >= Step::Document {
        let put = stage.store.put_if("topics/orders", Expected::Any, None);
        put.await.unwrap();
    }
    let parts = match step {
        Step::Note | Step::Document => 0..0,
        Step::SomeStreams => 0..1,
        Step::AllStreams => 0..4,
    };
    for part in parts {
        let owner = topic.id();
        // Some were never written to.
        let _ = stage.store.trim(StreamId { owner, part }, Trim::All);
    }
    // Something durable behind it, so that the trims are too.
    let put = stage
        .store
        .put_if("mark", Expected::Any, Some(Bytes::new()));
    put.await.unwrap();
}
