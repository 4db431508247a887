//! Topics that queues deliver: what a queue promises holds for producers and administrators of its topic too.

use std::time::Duration;

use engine::queue::{DeadLetterPolicy, NewQueue, Ordering, Overflow, QueueSettings};
use kafka::wire::create_partitions::CreatePartitionsTopic;
use kafka::wire::{CreatePartitionsRequest, CreatePartitionsResponse};
use security::Principal;

use crate::client::{Client, Server};
use crate::kit::Batch;

async fn ready() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.connect();
    (server, client)
}

async fn attach(
    server: &Server,
    name: &str,
    topic: Option<&str>,
    settings: QueueSettings,
) -> engine::Result<()> {
    let queue = NewQueue {
        name: name.to_owned(),
        settings,
        topic: topic.map(str::to_owned),
    };
    let principal = Principal::anonymous();
    let made = server
        .broker()
        .on_behalf_of(&principal)
        .create_queue(queue)
        .await;
    made.map(drop)
}

fn ordered() -> QueueSettings {
    QueueSettings {
        ordering: Ordering::Key,
        ..QueueSettings::default()
    }
}

async fn grow(client: &mut Client, topic: &'static str, validate_only: bool) -> (i16, String) {
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: topic.into(),
            count: 2,
            assignments: None,
        }],
        timeout_ms: 1000,
        validate_only,
    };
    let answer: CreatePartitionsResponse<'_> = client.ask(3, &request).await;
    let result = &answer.results[0];
    let text = result.error_message.as_deref().unwrap_or_default();
    (result.error_code, text.to_owned())
}

#[tokio::test]
async fn the_topic_of_an_ordered_queue_keeps_its_one_partition() {
    let (server, mut client) = ready().await;
    attach(&server, "line", None, ordered()).await.unwrap();
    attach(&server, "crowd", None, QueueSettings::default())
        .await
        .unwrap();
    for dry_run in [true, false] {
        let (code, text) = grow(&mut client, "line", dry_run).await;
        assert_eq!(code, 37);
        assert!(
            text.starts_with("The queue line delivers the messages of topic line in order"),
            "{text}"
        );
    }
    assert_eq!(client.describe("line").await.partitions.len(), 1);
    assert_eq!(grow(&mut client, "crowd", false).await, (0, String::new()));
    assert_eq!(client.describe("crowd").await.partitions.len(), 2);
}

#[tokio::test]
async fn an_ordered_queue_is_not_attached_to_several_partitions() {
    let (server, mut client) = ready().await;
    client.create("wide", 3, &[]).await;
    client.create("narrow", 1, &[]).await;
    for (name, topic) in [("wide", None), ("other", Some("wide"))] {
        let refused = attach(&server, name, topic, ordered()).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("an ordered queue needs a topic with one partition"),
            "{refused}"
        );
    }
    attach(&server, "line", Some("narrow"), ordered())
        .await
        .unwrap();
    attach(&server, "crowd", Some("wide"), QueueSettings::default())
        .await
        .unwrap();
    assert_eq!(grow(&mut client, "narrow", false).await.0, 37);
}

fn limited(change: impl FnOnce(&mut QueueSettings)) -> QueueSettings {
    let mut settings = QueueSettings::default();
    settings.limits.overflow = Overflow::Refuse;
    change(&mut settings);
    settings
}

/// Produces records of these bodies in one batch.
async fn send(client: &mut Client, topic: &str, bodies: &[&str]) -> i16 {
    client
        .produce(topic, 0, &Batch::of(bodies))
        .await
        .error_code
}

async fn depth(server: &Server, queue: &str) -> u64 {
    let principal = Principal::anonymous();
    let depth = server
        .broker()
        .on_behalf_of(&principal)
        .queue_depth(queue)
        .await;
    depth.unwrap().ready
}

#[tokio::test]
async fn a_full_queue_refuses_producers_of_its_topic_until_it_has_room() {
    let (server, mut client) = ready().await;
    let by_count = limited(|settings| settings.limits.messages_max = Some(3));
    let by_bytes = limited(|settings| settings.limits.bytes_max = Some(30));
    attach(&server, "count", None, by_count).await.unwrap();
    attach(&server, "bytes", None, by_bytes).await.unwrap();
    let ten = "0123456789";
    for queue in ["count", "bytes"] {
        assert_eq!(send(&mut client, queue, &[ten, ten]).await, 0, "{queue}");
        assert_eq!(
            send(&mut client, queue, &[ten, ten]).await,
            89,
            "{queue}: for now"
        );
        assert_eq!(send(&mut client, queue, &[ten]).await, 0);
        assert_eq!(send(&mut client, queue, &[ten]).await, 89);
        assert_eq!(
            send(&mut client, queue, &[ten, ten, ten, ten]).await,
            44,
            "{queue}: never"
        );
        assert_eq!(
            client.fetch(queue, 0, 0).await.high_watermark,
            3,
            "nothing else came"
        );
        assert_eq!(depth(&server, queue).await, 3);
        server
            .broker()
            .on_behalf_of(&Principal::anonymous())
            .purge_queue(queue)
            .await
            .unwrap();
        assert_eq!(
            send(&mut client, queue, &[ten, ten]).await,
            0,
            "{queue} has room again"
        );
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_for_a_queue_is_refused() {
    let (server, mut client) = ready().await;
    let small = limited(|settings| settings.message_bytes_max = 1024);
    attach(&server, "small", None, small).await.unwrap();
    let (fits, large) = ("v".repeat(1024), "v".repeat(1025));
    assert_eq!(send(&mut client, "small", &[&fits, &fits]).await, 0);
    let outcome = client.produce("small", 0, &Batch::of(&["a", &large])).await;
    assert_eq!(outcome.error_code, 44);
    assert_eq!(
        outcome.error_message.as_deref(),
        Some("queue small takes messages of at most 1024 bytes, and one has 1025")
    );
    // Compressed it is smaller than the limit, but nobody receives it so.
    for codec in 1..=4 {
        let outcome = client
            .produce("small", 0, &Batch::packed(codec, &["a", &large]))
            .await;
        assert_eq!(outcome.error_code, 44, "codec {codec}");
        let taken = client
            .produce("small", 0, &Batch::packed(codec, &["a", &fits]))
            .await;
        assert_eq!(taken.error_code, 0, "codec {codec}");
    }
}

#[tokio::test]
async fn a_repeat_of_what_a_full_queue_has_is_answered_as_before() {
    let (server, mut client) = ready().await;
    let one = limited(|settings| settings.limits.messages_max = Some(1));
    attach(&server, "one", None, one).await.unwrap();
    let batch = |sequence| Batch::of(&["a"]).producer(9, 0, sequence);
    assert_eq!(client.put("one", 0, &batch(0)).await, 0);
    assert_eq!(client.put("one", 0, &batch(0)).await, 0, "it is in the log");
    assert_eq!(client.produce("one", 0, &batch(1)).await.error_code, 89);
}

#[tokio::test]
async fn what_a_queue_without_room_lets_go_of_tells_its_readers_why() {
    let (server, mut client) = ready().await;
    attach(&server, "dead", None, QueueSettings::default())
        .await
        .unwrap();
    let short = QueueSettings {
        dead_letter: Some(DeadLetterPolicy {
            queue: "dead".to_owned(),
            attempts_max: 5,
        }),
        ..limited(|settings| {
            settings.limits.messages_max = Some(1);
            settings.limits.overflow = Overflow::DropOldest;
        })
    };
    attach(&server, "short", None, short).await.unwrap();
    assert_eq!(send(&mut client, "short", &["old", "new"]).await, 0);
    let mut records = client.fetch("dead", 0, 0).await.records;
    while records.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        records = client.fetch("dead", 0, 0).await.records;
    }
    let bytes = records.parts().concat();
    let header = |name: &str| {
        let at = bytes.windows(name.len()).position(|w| w == name.as_bytes());
        let rest = &bytes[at.unwrap_or_else(|| panic!("no {name}")) + name.len()..];
        // A length below 64 takes one byte, doubled.
        std::str::from_utf8(&rest[1..][..usize::from(rest[0] / 2)])
            .unwrap()
            .to_owned()
    };
    assert_eq!(header("forebay.dead-letter.reason"), "maxlen");
    assert_eq!(header("forebay.dead-letter.queue"), "short");
    assert_eq!(header("forebay.dead-letter.offset"), "0");
    assert_eq!(header("forebay.dead-letter.attempts"), "0");
    assert_eq!(header("forebay.attempts"), "0");
    assert!(
        header("forebay.dead-letter.dead-ms")
            .parse::<u64>()
            .unwrap()
            > 1_700_000_000_000
    );
    assert!(uuid::Uuid::parse_str(&header("forebay.id")).is_ok());
}
