//! Topics that queues deliver: what a queue promises holds for producers and administrators of its topic too.

use engine::queue::{NewQueue, Ordering, QueueSettings};
use kafka::wire::create_partitions::CreatePartitionsTopic;
use kafka::wire::{CreatePartitionsRequest, CreatePartitionsResponse};
use security::Principal;

use crate::client::{Client, Server};

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
    let made = server.broker().create_queue(&principal, queue).await;
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
