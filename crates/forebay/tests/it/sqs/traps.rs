//! What broke real clients of other servers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Sqs, bodies, code, redrive};
use crate::broker::{Options, eventually_async};

const HIDDEN: i32 = 600;

#[test]
fn empty_lists_are_left_out() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    assert_eq!(http.call("ListQueues", &json!({})).json(), json!({}));
    let url = http
        .call("CreateQueue", &json!({"QueueName": "orders"}))
        .json()["QueueUrl"]
        .clone();
    let none = http.call("ReceiveMessage", &json!({ "QueueUrl": url }));
    assert_eq!(none.json(), json!({}));
    let entries = json!([{"Id": "a", "MessageBody": "one"}]);
    let sent = http.call(
        "SendMessageBatch",
        &json!({"QueueUrl": url, "Entries": entries}),
    );
    let sent = sent.json();
    assert!(
        sent.get("Failed").is_none() && sent["Successful"].is_array(),
        "{sent}"
    );
    let entries = json!([{"Id": "a", "MessageBody": "\u{1}"}]);
    let bad = http.call(
        "SendMessageBatch",
        &json!({"QueueUrl": url, "Entries": entries}),
    );
    assert!(bad.json().get("Successful").is_none(), "{bad:?}");
}

#[test]
fn the_checksum_covers_what_is_returned() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = http
        .call("CreateQueue", &json!({"QueueName": "orders"}))
        .json()["QueueUrl"]
        .clone();
    let value = |text: &str| json!({"DataType": "String", "StringValue": text});
    let mut send = |attributes: Value| {
        let message = json!({"QueueUrl": url, "MessageBody": "x", "MessageAttributes": attributes});
        http.call("SendMessage", &message).json()["MD5OfMessageAttributes"].clone()
    };
    let both = send(json!({"a": value("1"), "b": value("2")}));
    let only = send(json!({"a": value("1")}));
    assert_ne!(both, only);
    let ask = json!({"QueueUrl": url, "MessageAttributeNames": ["a"], "VisibilityTimeout": 0});
    let received = http.call("ReceiveMessage", &ask).json();
    assert_eq!(received["Messages"][0]["MD5OfMessageAttributes"], only);
    let received = http
        .call("ReceiveMessage", &json!({ "QueueUrl": url }))
        .json();
    let message = &received["Messages"][0];
    assert!(message.get("MD5OfMessageAttributes").is_none(), "{message}");
    assert!(message.get("Attributes").is_none(), "{message}");
}

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

#[test]
fn numbers_come_as_numbers_and_as_text() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    http.call("CreateQueue", &json!({"QueueName": "dead"}));
    for (name, count) in [("a", json!(3)), ("b", json!("3"))] {
        let arn = "arn:aws:sqs:us-east-1:000000000000:dead";
        let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": count}).to_string();
        let attributes = json!({"RedrivePolicy": policy, "VisibilityTimeout": "30"});
        let made = http.call(
            "CreateQueue",
            &json!({"QueueName": name, "Attributes": attributes}),
        );
        assert_eq!(made.status, 200, "{made:?}");
        let url = made.json()["QueueUrl"].clone();
        let all = json!({"QueueUrl": url, "AttributeNames": ["All"]});
        let shown = http.call("GetQueueAttributes", &all).json()["Attributes"].clone();
        assert_eq!(
            shown["VisibilityTimeout"],
            json!("30"),
            "attributes are texts"
        );
        assert!(
            shown["RedrivePolicy"]
                .as_str()
                .unwrap()
                .contains("\"maxReceiveCount\":3"),
            "{shown}"
        );
    }
}

#[test]
fn odd_names_have_odd_cases() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let made = json!({"QueueName": "dead", "tags": {"k": "v"}});
    let url = http.call("CreateQueue", &made).json()["QueueUrl"].clone();
    let tags = http
        .call("ListQueueTags", &json!({ "QueueUrl": url }))
        .json();
    assert_eq!(tags, json!({"Tags": {"k": "v"}}));
    let sources = http
        .call("ListDeadLetterSourceQueues", &json!({ "QueueUrl": url }))
        .json();
    assert_eq!(sources, json!({"queueUrls": []}));
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

#[test]
fn a_connection_outlives_a_long_poll_and_a_pause() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = http
        .call("CreateQueue", &json!({"QueueName": "orders"}))
        .json()["QueueUrl"]
        .clone();
    let wait = json!({"QueueUrl": url, "WaitTimeSeconds": 1});
    let none = http.call("ReceiveMessage", &wait);
    assert_eq!((none.status, none.json()), (200, json!({})));
    // The same connection goes on.
    let again = http.call("ReceiveMessage", &wait);
    assert_eq!(again.status, 200);
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

#[test]
fn a_client_may_ask_before_it_sends_its_body() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let body = json!({"QueueName": "orders"}).to_string();
    let length = body.len();
    http.write(&format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: AmazonSQS.CreateQueue\r\nexpect: 100-continue\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n"
    ));
    assert_eq!(http.answer().status, 100);
    http.write(&body);
    assert_eq!(http.answer().status, 200);
}

#[test]
fn both_protocols_are_taken_on_both_paths() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let made = http.form(
        "/",
        "Action=CreateQueue&QueueName=orders&Version=2012-11-05",
    );
    let url = "http://queues.example:1234/000000000000/orders";
    assert!(
        made.body.contains(&format!("<QueueUrl>{url}</QueueUrl>")),
        "{made:?}"
    );
    assert_eq!(made.header("content-type"), Some("text/xml"));
    // Without a queue's address in the form, the path says which queue is meant.
    let sent = http.form(
        "/000000000000/orders",
        "Action=SendMessage&MessageBody=a%26b",
    );
    assert_eq!(sent.status, 200, "{sent:?}");
    let got = http
        .get("/000000000000/orders?Action=ReceiveMessage&VisibilityTimeout=0&Version=2012-11-05");
    assert!(got.body.contains("<Body>a&amp;b</Body>"), "{got:?}");
    let body =
        json!({"QueueUrl": "https://sqs.us-east-1.amazonaws.com/000000000000/orders"}).to_string();
    let length = body.len();
    http.write(&format!(
        "POST /000000000000/orders HTTP/1.1\r\nhost: x\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    assert_eq!(http.answer().json()["Messages"][0]["Body"], json!("a&b"));
    let unknown = http.get("/000000000000/orders");
    assert_eq!(
        (unknown.status, &*unknown.body),
        (404, "<UnknownOperationException/>\n")
    );
}

#[test]
fn errors_bear_both_names_where_a_client_wants_them() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = "http://localhost/000000000000/none";
    let refused = http.call("SendMessage", &json!({"QueueUrl": url, "MessageBody": "x"}));
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["__type"],
        json!("com.amazonaws.sqs#QueueDoesNotExist")
    );
    let both = Some("AWS.SimpleQueueService.NonExistentQueue;Sender");
    assert_eq!(refused.header("x-amzn-query-error"), both);
    let refused = http.form("/", "Action=Nonsense");
    assert!(
        refused.body.contains("<Code>InvalidAction</Code>"),
        "{refused:?}"
    );
    let refused = http.call("Nonsense", &json!({}));
    assert_eq!(refused.status, 400, "{refused:?}");
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
