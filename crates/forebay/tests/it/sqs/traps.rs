//! What broke real clients of other servers.

use std::time::Duration;

use serde_json::json;

use super::{Sqs, bodies, code, redrive};
use crate::broker::{Options, eventually_async};

const HIDDEN: i32 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_delete_counts_only_without_order() {
    let sqs = Sqs::start();
    let (plain, ordered) = (
        sqs.queue("orders", &[]).await,
        sqs.fifo("orders.fifo").await,
    );
    sqs.send(&plain, "one").await;
    sqs.send_in(&ordered, "a", "one").await;
    let plain_leased = sqs.receive(&plain, 1).await.remove(0);
    let ordered_leased = sqs.receive(&ordered, 1).await.remove(0);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    sqs.delete(&plain, plain_leased.receipt_handle().unwrap())
        .await
        .unwrap();
    assert_eq!(sqs.depth(&plain).await, [0, 0, 0]);
    let refused = sqs
        .delete(&ordered, ordered_leased.receipt_handle().unwrap())
        .await;
    assert_eq!(refused, Err("InvalidParameterValue".into()));
    assert_eq!(sqs.depth(&ordered).await, [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn making_a_queue_again_compares_only_what_is_said() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[("VisibilityTimeout", "5")]).await;
    assert_eq!(sqs.queue("orders", &[]).await, url);
    assert_eq!(
        sqs.queue("orders", &[("VisibilityTimeout", "5")]).await,
        url
    );
    let attributes = super::attributes_of(&[("VisibilityTimeout", "6")]);
    let other = sqs.client.create_queue().queue_name("orders");
    let other = other.set_attributes(Some(attributes)).send().await;
    assert_eq!(code(&other.unwrap_err()), "QueueAlreadyExists");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_poll_takes_no_message() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    for _ in 0..20 {
        let mut http = sqs.http();
        http.start(
            "ReceiveMessage",
            &json!({"QueueUrl": url, "WaitTimeSeconds": 20}),
        );
        drop(http);
    }
    // A message may be handed to a poll before its end is noticed; then it comes back at once.
    sqs.send(&url, "one").await;
    eventually_async("the message is there", async || {
        sqs.depth(&url).await == [1, 0, 0]
    })
    .await;
    let received = sqs.receive(&url, HIDDEN).await;
    assert_eq!(bodies(&received), ["one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_are_checked_where_that_is_asked_for() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = "[shop]\naws_access_key_id = AKIDSHOP\naws_secret_access_key = secret/shop+key\n";
    std::fs::write(file.path(), keys).unwrap();
    let options = Options::new()
        .env("FOREBAY__SQS__SIGNATURES", "verify")
        .env(
            "FOREBAY__SQS__CREDENTIALS_FILE",
            file.path().to_str().unwrap(),
        );
    let sqs = Sqs::of(options.start(), "AKIDSHOP", "secret/shop+key");
    let url = sqs.queue("orders", &[]).await;
    sqs.send(&url, "one").await;
    assert_eq!(bodies(&sqs.receive(&url, 0).await), ["one"]);
    let unsigned = sqs.http().call("ListQueues", &json!({}));
    assert_eq!(unsigned.status, 403);
    let wrong = Sqs::of(sqs.broker, "AKIDSHOP", "guess");
    let refused = wrong.client.list_queues().send().await.unwrap_err();
    assert!(code(&refused).contains("Signature"), "{refused:?}");
    let unknown = Sqs::of(wrong.broker, "NOBODY", "guess");
    let refused = unknown.client.list_queues().send().await.unwrap_err();
    assert_eq!(code(&refused), "InvalidClientTokenId");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_keeps_its_order_through_failures() {
    let sqs = Sqs::start();
    sqs.fifo("dead.fifo").await;
    let policy = redrive("dead.fifo", 2);
    let attributes = [
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "true"),
        ("RedrivePolicy", &policy),
    ];
    let url = sqs.queue("orders.fifo", &attributes).await;
    for body in ["a1", "a2", "a3"] {
        sqs.send_in(&url, "a", body).await;
    }
    sqs.send_in(&url, "b", "b1").await;
    // A repeat is accepted and dropped.
    sqs.send_in(&url, "a", "a1").await;
    let all = sqs.receive(&url, HIDDEN).await;
    assert_eq!(bodies(&all), ["a1", "a2", "a3", "b1"]);
    assert_eq!(
        sqs.receive(&url, HIDDEN).await.len(),
        0,
        "both groups are locked"
    );
    // The first fails once more and blocks its group alone.
    let handle = |i: usize| all[i].receipt_handle().unwrap();
    for (i, seconds) in [(0, 0), (1, 0), (2, 0), (3, 0)] {
        let change = sqs.client.change_message_visibility().queue_url(&url);
        let change = change.receipt_handle(handle(i)).visibility_timeout(seconds);
        change.send().await.unwrap();
    }
    let again = sqs.receive(&url, HIDDEN).await;
    assert_eq!(bodies(&again), ["a1", "a2", "a3", "b1"]);
}
