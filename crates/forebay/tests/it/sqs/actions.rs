//! Every action there is, as an application would use it.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageAttributeValue, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
    SendMessageBatchResultEntry,
};

use super::{Sqs, attributes_of, bodies, code, redrive, system};
use crate::broker::eventually_async;

const HIDDEN: i32 = 600;

fn text(value: &str) -> MessageAttributeValue {
    let value = MessageAttributeValue::builder().string_value(value);
    value.data_type("String").build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_made_found_listed_and_removed() {
    let sqs = Sqs::start();
    let at = sqs.broker.address("sqs").unwrap();
    let url = sqs.queue("orders", &[("VisibilityTimeout", "5")]).await;
    assert_eq!(url, format!("http://{at}/000000000000/orders"));
    for name in ["orders-1", "orders-2", "other"] {
        sqs.queue(name, &[]).await;
    }
    let found = sqs.client.get_queue_url().queue_name("orders").send().await;
    assert_eq!(found.unwrap().queue_url.unwrap(), url);
    let list = || sqs.client.list_queues().queue_name_prefix("orders");
    assert_eq!(list().send().await.unwrap().queue_urls().len(), 3);
    let first = list().max_results(2).send().await.unwrap();
    assert_eq!(first.queue_urls().len(), 2);
    let next = list().max_results(2).next_token(first.next_token.unwrap());
    let next = next.send().await.unwrap();
    assert!(next.queue_urls()[0].ends_with("/orders-2"));
    assert_eq!((next.queue_urls().len(), next.next_token), (1, None));

    sqs.client
        .delete_queue()
        .queue_url(&url)
        .send()
        .await
        .unwrap();
    let gone = sqs.client.get_queue_url().queue_name("orders").send().await;
    let gone = gone.unwrap_err();
    assert_eq!(code(&gone), "AWS.SimpleQueueService.NonExistentQueue");
    assert!(gone.as_service_error().unwrap().is_queue_does_not_exist());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_are_set_shown_and_kept() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[("DelaySeconds", "1")]).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let set = [
        ("DelaySeconds", "0"),
        ("VisibilityTimeout", "7"),
        ("MessageRetentionPeriod", "3600"),
        ("MaximumMessageSize", "2048"),
        ("ReceiveMessageWaitTimeSeconds", "0"),
        ("Policy", policy),
        ("KmsMasterKeyId", "alias/aws/sqs"),
    ];
    let client = &sqs.client;
    let change = client.set_queue_attributes().queue_url(&url);
    change
        .set_attributes(Some(attributes_of(&set)))
        .send()
        .await
        .unwrap();
    let sqs = sqs.restart();
    let url = sqs.queue("orders", &[]).await;
    let all = sqs.attributes(&url).await;
    for (name, value) in set {
        let shown = all.get(&QueueAttributeName::from(name));
        assert_eq!(shown.map(String::as_str), Some(value), "{name}");
    }
    let arn = "arn:aws:sqs:us-east-1:000000000000:orders";
    assert_eq!(all[&QueueAttributeName::QueueArn], arn);
    let some = sqs.client.get_queue_attributes().queue_url(&url);
    let some = some.attribute_names(QueueAttributeName::QueueArn).send();
    assert_eq!(some.await.unwrap().attributes.unwrap().len(), 1);
    let none = sqs.client.get_queue_attributes().queue_url(&url).send();
    assert_eq!(none.await.unwrap().attributes, None);

    for (name, value, refused) in [
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("Nonsense", "1", "InvalidAttributeName"),
        ("FifoQueue", "true", "InvalidAttributeName"),
    ] {
        let change = sqs.client.set_queue_attributes().queue_url(&url);
        let change = change.set_attributes(Some(attributes_of(&[(name, value)])));
        assert_eq!(code(&change.send().await.unwrap_err()), refused, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_with_all_its_attributes() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    let binary = MessageAttributeValue::builder().binary_value(Blob::new([0, 159, 146, 150]));
    let binary = binary.data_type("Binary.png").build().unwrap();
    let trace = MessageSystemAttributeValue::builder().string_value("Root=1-5e3d83c1");
    let trace = trace.data_type("String").build().unwrap();
    let sent = sqs
        .client
        .send_message()
        .queue_url(&url)
        .message_body("one <&> \u{1F980}")
        .message_attributes("kind", text("coffee"))
        .message_attributes("picture", binary.clone())
        .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, trace)
        .send()
        .await
        .unwrap();
    // Made by `printf 'one <&> 🦀' | md5sum`.
    assert_eq!(
        sent.md5_of_message_body(),
        Some("eae25776fd8999b290c312d8e10470ae")
    );
    assert_eq!(sent.sequence_number(), None);

    let received = sqs.receive(&url, HIDDEN).await;
    let message = &received[0];
    assert_eq!(bodies(&received), ["one <&> \u{1F980}"]);
    assert_eq!(message.message_id(), sent.message_id());
    assert_eq!(message.md5_of_body(), sent.md5_of_message_body());
    assert_eq!(
        message.md5_of_message_attributes(),
        sent.md5_of_message_attributes()
    );
    let attributes = message.message_attributes().unwrap();
    assert_eq!(attributes["kind"], text("coffee"));
    assert_eq!(attributes["picture"], binary);
    assert_eq!(
        system(message, &MessageSystemAttributeName::AwsTraceHeader),
        Some("Root=1-5e3d83c1")
    );
    assert_eq!(
        system(
            message,
            &MessageSystemAttributeName::ApproximateReceiveCount
        ),
        Some("1")
    );
    assert_eq!(sqs.depth(&url).await, [0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_hidden_shown_again_and_deleted() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    sqs.send(&url, "one").await;
    let received = sqs.receive(&url, HIDDEN).await;
    let handle = received[0].receipt_handle().unwrap();
    let change = sqs.client.change_message_visibility().queue_url(&url);
    let change = change.receipt_handle(handle).visibility_timeout(0);
    change.send().await.unwrap();
    assert_eq!(sqs.depth(&url).await, [1, 0, 0]);
    let again = sqs.receive(&url, HIDDEN).await;
    assert_eq!(
        system(
            &again[0],
            &MessageSystemAttributeName::ApproximateReceiveCount
        ),
        Some("2")
    );
    sqs.delete(&url, again[0].receipt_handle().unwrap())
        .await
        .unwrap();
    // Deleting once more is fine.
    sqs.delete(&url, again[0].receipt_handle().unwrap())
        .await
        .unwrap();
    assert_eq!(sqs.depth(&url).await, [0, 0, 0]);
    let late = sqs.client.change_message_visibility().queue_url(&url);
    let late = late
        .receipt_handle(handle)
        .visibility_timeout(1)
        .send()
        .await;
    assert_eq!(code(&late.unwrap_err()), "InvalidParameterValue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_answer_for_every_entry() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    let entry = |id: &str, body: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(body)
    };
    let send = sqs.client.send_message_batch().queue_url(&url);
    let sent = send
        .entries(entry("a", "one").build().unwrap())
        .entries(entry("b", "bad \u{1}").build().unwrap())
        .entries(entry("c", "three").delay_seconds(900).build().unwrap());
    let sent = sent.send().await.unwrap();
    let good: Vec<&str> = sent
        .successful()
        .iter()
        .map(SendMessageBatchResultEntry::id)
        .collect();
    let bad = &sent.failed()[0];
    assert_eq!(
        (good, bad.id(), bad.code()),
        (vec!["a", "c"], "b", "InvalidMessageContents")
    );
    assert!(bad.sender_fault());
    assert_eq!(sqs.depth(&url).await, [1, 0, 1]);

    sqs.send(&url, "two").await;
    let received = sqs.receive(&url, HIDDEN).await;
    assert_eq!(bodies(&received), ["one", "two"]);
    let handles: Vec<&str> = received
        .iter()
        .map(|m| m.receipt_handle().unwrap())
        .collect();
    let change = ChangeMessageVisibilityBatchRequestEntry::builder().visibility_timeout(0);
    let changed = sqs.client.change_message_visibility_batch().queue_url(&url);
    let changed = changed
        .entries(
            change
                .clone()
                .id("x")
                .receipt_handle(handles[0])
                .build()
                .unwrap(),
        )
        .entries(change.id("y").receipt_handle("nonsense").build().unwrap());
    let changed = changed.send().await.unwrap();
    assert_eq!(changed.successful()[0].id(), "x");
    assert_eq!(changed.failed()[0].code(), "ReceiptHandleIsInvalid");
    assert_eq!(sqs.depth(&url).await, [1, 1, 1]);

    let delete = |id: &str, handle: &str| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(id);
        entry.receipt_handle(handle).build().unwrap()
    };
    let deleted = sqs.client.delete_message_batch().queue_url(&url);
    let deleted = deleted
        .entries(delete("p", handles[0]))
        .entries(delete("q", handles[1]));
    let deleted = deleted.send().await.unwrap();
    assert_eq!((deleted.successful().len(), deleted.failed().len()), (2, 0));
    assert_eq!(sqs.depth(&url).await, [0, 0, 1]);

    let twice = sqs.client.delete_message_batch().queue_url(&url);
    let twice = twice
        .entries(delete("p", handles[0]))
        .entries(delete("p", handles[1]));
    let refused = twice.send().await.unwrap_err();
    assert_eq!(
        code(&refused),
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_permissions_and_purge() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    let client = &sqs.client;
    let tag = client.tag_queue().queue_url(&url);
    tag.tags("team", "bar")
        .tags("stage", "test")
        .send()
        .await
        .unwrap();
    let untag = client.untag_queue().queue_url(&url).tag_keys("stage");
    untag.send().await.unwrap();
    let tags = client.list_queue_tags().queue_url(&url).send().await;
    let tags = tags.unwrap().tags.unwrap();
    assert_eq!(
        tags.into_iter().collect::<Vec<_>>(),
        [("team".into(), "bar".into())]
    );

    let add = client.add_permission().queue_url(&url).label("partner");
    add.aws_account_ids("111122223333")
        .actions("SendMessage")
        .send()
        .await
        .unwrap();
    let policy = &sqs.attributes(&url).await[&QueueAttributeName::Policy];
    assert!(policy.contains("\"Sid\":\"partner\""), "{policy}");
    assert!(
        policy.contains("arn:aws:iam::111122223333:root"),
        "{policy}"
    );
    let remove = client.remove_permission().queue_url(&url).label("partner");
    remove.send().await.unwrap();
    assert_eq!(
        sqs.attributes(&url).await.get(&QueueAttributeName::Policy),
        None
    );

    for body in ["one", "two"] {
        sqs.send(&url, body).await;
    }
    let leased = client
        .receive_message()
        .queue_url(&url)
        .send()
        .await
        .unwrap();
    assert_eq!(leased.messages().len(), 1);
    client.purge_queue().queue_url(&url).send().await.unwrap();
    assert_eq!(sqs.depth(&url).await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_move_away_and_back() {
    let sqs = Sqs::start();
    let dead = sqs.queue("dead", &[]).await;
    let url = sqs
        .queue("orders", &[("RedrivePolicy", &redrive("dead", 1))])
        .await;
    let sources = sqs.client.list_dead_letter_source_queues().queue_url(&dead);
    assert_eq!(
        sources.send().await.unwrap().queue_urls(),
        std::slice::from_ref(&url)
    );
    let id = sqs.send(&url, "bad").await;
    assert_eq!(sqs.receive(&url, 0).await.len(), 1);
    // It would be received once too often, and goes.
    assert_eq!(sqs.receive(&url, 0).await.len(), 0);
    eventually_async("the dead letter arrives", async || {
        sqs.depth(&dead).await == [1, 0, 0]
    })
    .await;
    let arn = "arn:aws:sqs:us-east-1:000000000000:dead";
    let dead_letter = sqs.receive(&dead, 0).await.remove(0);
    assert_eq!(
        (dead_letter.body(), dead_letter.message_id()),
        (Some("bad"), Some(&*id))
    );
    let source = "arn:aws:sqs:us-east-1:000000000000:orders";
    assert_eq!(
        system(
            &dead_letter,
            &MessageSystemAttributeName::DeadLetterQueueSourceArn
        ),
        Some(source)
    );

    sqs.client
        .start_message_move_task()
        .source_arn(arn)
        .send()
        .await
        .unwrap();
    eventually_async("it is back", async || sqs.depth(&url).await == [1, 0, 0]).await;
    let list = || sqs.client.list_message_move_tasks().source_arn(arn);
    eventually_async("the task ends", async || {
        let tasks = list().send().await.unwrap();
        let task = &tasks.results()[0];
        task.status() == Some("COMPLETED") && task.approximate_number_of_messages_moved() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_task_can_be_cancelled() {
    let sqs = Sqs::start();
    let dead = sqs.queue("dead", &[]).await;
    sqs.queue("orders", &[("RedrivePolicy", &redrive("dead", 1))])
        .await;
    let other = sqs.queue("other", &[]).await;
    for n in 0..20 {
        sqs.send(&dead, &format!("{n}")).await;
    }
    let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}");
    let start = || {
        let start = sqs.client.start_message_move_task().source_arn(arn("dead"));
        start
            .destination_arn(arn("other"))
            .max_number_of_messages_per_second(1)
            .send()
    };
    let handle = start().await.unwrap().task_handle.unwrap();
    // One at a time.
    let second = start().await.unwrap_err();
    assert_eq!(code(&second), "InvalidParameterValue");
    let cancel = || {
        sqs.client
            .cancel_message_move_task()
            .task_handle(&handle)
            .send()
    };
    cancel().await.unwrap();
    let list = sqs.client.list_message_move_tasks().source_arn(arn("dead"));
    let tasks = list.send().await.unwrap();
    assert_eq!(tasks.results()[0].status(), Some("CANCELLED"));
    assert_eq!(tasks.results()[0].task_handle(), None);
    assert_eq!(
        code(&cancel().await.unwrap_err()),
        "ResourceNotFoundException"
    );
    let (left, moved) = (sqs.depth(&dead).await, sqs.depth(&other).await);
    assert_eq!(left[0] + moved[0], 20);
    assert!(
        left[0] > 0,
        "a rate of one a second moves nothing in no time"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_exact() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    for body in ["one", "two", "three"] {
        sqs.send(&url, body).await;
    }
    let leased = sqs
        .client
        .receive_message()
        .queue_url(&url)
        .max_number_of_messages(2);
    let leased = leased.visibility_timeout(HIDDEN).send().await.unwrap();
    sqs.delete(&url, leased.messages()[0].receipt_handle().unwrap())
        .await
        .unwrap();
    assert_eq!(sqs.receive(&url, HIDDEN).await.len(), 1);
    assert_eq!(sqs.receive(&url, HIDDEN).await.len(), 0);
    let (_, metrics) = sqs.broker.get("/metrics");
    for line in [
        "forebay_queues 1",
        "forebay_queue_ready{queue=\"orders\"} 0",
        "forebay_queue_in_flight{queue=\"orders\"} 2",
        "forebay_queue_sent_total{queue=\"orders\"} 3",
        "forebay_queue_sent_bytes_total{queue=\"orders\"} 11",
        "forebay_queue_received_total{queue=\"orders\"} 3",
        "forebay_queue_empty_receives_total{queue=\"orders\"} 1",
        "forebay_queue_deleted_total{queue=\"orders\"} 1",
        "forebay_messages_deleted_total 1",
        "forebay_sqs_requests_total{action=\"SendMessage\"} 3",
    ] {
        assert!(
            metrics.lines().any(|shown| shown == line),
            "no {line} in {metrics}"
        );
    }
    let age = metrics
        .lines()
        .find(|line| line.starts_with("forebay_queue_oldest_age_seconds"));
    let age = age.unwrap().rsplit(' ').next().unwrap();
    assert!(age.parse::<f64>().unwrap() > 0.0, "{age}");
}
