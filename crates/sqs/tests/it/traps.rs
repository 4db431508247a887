//! What broke real clients of other servers.

use serde_json::{Value, json};

use crate::stage::Sqs;

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
