//! Queues belong to an account and a region.

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;

use super::{Sqs, code};
use crate::broker::Options;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_account_and_region_has_queues_of_its_own() {
    let sqs = Sqs::start();
    let home = sqs.queue("orders", &[]).await;
    let other = Sqs::client(&sqs.broker, ("111122223333", "x"), "eu-west-1");
    let there = other.create_queue().queue_name("orders").send().await;
    let there = there.unwrap().queue_url.unwrap();
    assert!(there.ends_with("/111122223333/orders"), "{there}");
    sqs.send(&home, "home").await;
    let sent = other.send_message().queue_url(&there).message_body("there");
    sent.send().await.unwrap();
    let received = other.receive_message().queue_url(&there).send().await;
    let received = received.unwrap().messages.unwrap();
    assert_eq!(received[0].body(), Some("there"));
    let all = other.get_queue_attributes().queue_url(&there);
    let all = all
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await;
    let arn = all.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    assert_eq!(arn, "arn:aws:sqs:eu-west-1:111122223333:orders");
    // Dead letters go to where the resource name says.
    other
        .create_queue()
        .queue_name("dead")
        .send()
        .await
        .unwrap();
    let policy = json!({
        "deadLetterTargetArn": "arn:aws:sqs:eu-west-1:111122223333:dead",
        "maxReceiveCount": 1,
    });
    let policy = (QueueAttributeName::RedrivePolicy, policy.to_string());
    let set = other.set_queue_attributes().queue_url(&there);
    set.set_attributes(Some([policy].into()))
        .send()
        .await
        .unwrap();
    let sources = other.list_dead_letter_source_queues();
    let sources = sources
        .queue_url(there.replace("orders", "dead"))
        .send()
        .await;
    assert_eq!(sources.unwrap().queue_urls, [there.as_str()]);
    // Each sees its own, over a restart too; nobody takes a name from another.
    let sqs = sqs.restart();
    let other = Sqs::client(&sqs.broker, ("111122223333", "x"), "eu-west-1");
    let third = Sqs::client(&sqs.broker, ("111122223333", "x"), "eu-west-2");
    let count = |listed: aws_sdk_sqs::operation::list_queues::ListQueuesOutput| {
        listed.queue_urls.unwrap_or_default().len()
    };
    assert_eq!(count(sqs.client.list_queues().send().await.unwrap()), 1);
    assert_eq!(count(other.list_queues().send().await.unwrap()), 2);
    assert_eq!(count(third.list_queues().send().await.unwrap()), 0);
    let none = third.get_queue_url().queue_name("orders").send().await;
    let missing = "AWS.SimpleQueueService.NonExistentQueue";
    assert_eq!(code(&none.unwrap_err()), missing);
    // An account is named by a client that asks for the queue of another one.
    let owner = third.get_queue_url().queue_name("orders");
    let owner = owner
        .queue_owner_aws_account_id("000000000000")
        .send()
        .await;
    assert_eq!(code(&owner.unwrap_err()), missing, "another region");
    let home = Sqs::client(&sqs.broker, ("111122223333", "x"), "us-east-1");
    let found = home.get_queue_url().queue_name("orders");
    let found = found
        .queue_owner_aws_account_id("000000000000")
        .send()
        .await;
    assert!(
        found
            .unwrap()
            .queue_url
            .unwrap()
            .ends_with("/000000000000/orders")
    );
}

#[test]
fn addresses_say_their_region_as_is_set() {
    for (strategy, url) in [
        ("off", "http://queues.example:1234/000000000000/orders"),
        (
            "standard",
            "http://sqs.us-east-1.queues.example:1234/000000000000/orders",
        ),
        (
            "domain",
            "http://us-east-1.queue.queues.example:1234/000000000000/orders",
        ),
        (
            "path",
            "http://queues.example:1234/queue/us-east-1/000000000000/orders",
        ),
        ("dynamic", "http://queues.example:1234/000000000000/orders"),
    ] {
        let options = Options::new().env("FOREBAY__SQS__ENDPOINT_STRATEGY", strategy);
        let sqs = Sqs::with(options);
        let mut http = sqs.http();
        let made = http.call("CreateQueue", &json!({"QueueName": "orders"}));
        assert_eq!(made.json()["QueueUrl"], json!(url), "{strategy}");
        let message = json!({"QueueUrl": url, "MessageBody": "one"});
        assert_eq!(http.call("SendMessage", &message).status, 200, "{strategy}");
    }
}
