//! Answers as the service gives them, where a client library would hide them.

use clients::http::{Answer, Http};
use serde_json::{Value, json};

use crate::stage::Sqs;

/// Makes a queue; returns its address.
fn made(http: &mut Http, name: &str, attributes: &Value) -> String {
    let made = json!({"QueueName": name, "Attributes": attributes});
    let made = http.call("CreateQueue", &made);
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["QueueUrl"].as_str().unwrap().to_owned()
}

/// Gets `path` with one more header.
fn get_with(http: &mut Http, path: &str, header: &str) -> Answer {
    http.write(&format!(
        "GET {path} HTTP/1.1\r\nhost: queues.example:1234\r\n{header}\r\n\r\n"
    ));
    http.answer()
}

#[test]
fn lists_of_one_need_no_number() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let made = http.form(
        "/",
        "Action=CreateQueue&QueueName=orders&Attribute.Name=DelaySeconds&Attribute.Value=7&Tag.Key=k&Tag.Value=v",
    );
    assert_eq!(made.status, 200, "{made:?}");
    let path = "/000000000000/orders";
    let shown = http.form(path, "Action=GetQueueAttributes&AttributeName=DelaySeconds");
    let pair = "<GetQueueAttributesResult><Attribute><Name>DelaySeconds</Name><Value>7</Value></Attribute></GetQueueAttributesResult>";
    assert!(shown.body.contains(pair), "{shown:?}");
    let tags = http.form(path, "Action=ListQueueTags");
    assert!(
        tags.body
            .contains("<Tag><Key>k</Key><Value>v</Value></Tag>"),
        "{tags:?}"
    );
    assert_eq!(http.form(path, "Action=UntagQueue&TagKey=k").status, 200);
    let tags = http.form(path, "Action=ListQueueTags");
    assert!(tags.body.contains("<ListQueueTagsResult/>"), "{tags:?}");
    // What is no list in any form is not passed over.
    for wrong in [
        "Attributes.DelaySeconds=9",
        "Attribute.1.DelaySeconds=9",
        "Attribute.1=9",
    ] {
        let refused = http.form(path, &format!("Action=SetQueueAttributes&{wrong}"));
        assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
        assert!(
            refused.body.contains("<Code>MalformedInput</Code>"),
            "{refused:?}"
        );
    }
}

#[test]
fn the_query_protocol_answers_in_json_where_that_is_wanted() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    made(&mut http, "orders", &json!({}));
    let json = "accept: application/json";
    let path = "/000000000000/orders?Action=SendMessage&MessageBody=one";
    let sent = get_with(&mut http, path, json);
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let md5 = "f97c5d29941bfb1b2fdab0874906ab82";
    let result = &sent.json()["SendMessageResponse"]["SendMessageResult"];
    assert_eq!(result["MD5OfMessageBody"], json!(md5));
    let path = "/000000000000/orders?Action=ReceiveMessage&VisibilityTimeout=0&AttributeName=All";
    let got = get_with(&mut http, path, json).json();
    let message = &got["ReceiveMessageResponse"]["ReceiveMessageResult"]["Message"];
    assert_eq!(message["Body"], json!("one"));
    let count = json!({"Name": "ApproximateReceiveCount", "Value": "1"});
    let attributes = message["Attribute"].as_array().unwrap();
    assert!(attributes.contains(&count), "{message}");
    assert!(got["ReceiveMessageResponse"]["ResponseMetadata"]["RequestId"].is_string());
    let refused = get_with(&mut http, "/000000000000/none?Action=ReceiveMessage", json);
    let error = &refused.json()["ErrorResponse"]["Error"];
    let missing = "AWS.SimpleQueueService.NonExistentQueue";
    assert_eq!((refused.status, &error["Code"]), (400, &json!(missing)));
    let xml = get_with(
        &mut http,
        "/000000000000/orders?Action=ReceiveMessage",
        "accept: */*",
    );
    assert_eq!(xml.header("content-type"), Some("text/xml"));
}

#[test]
fn what_is_about_no_queue_is_not_asked_of_one() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    made(&mut http, "orders", &json!({}));
    for action in ["ListQueues", "CreateQueue&QueueName=orders"] {
        let refused = http.get(&format!("/000000000000/orders?Action={action}"));
        let name = action.split('&').next().unwrap();
        let message =
            format!("<Message>The action {name} is not valid for this endpoint.</Message>");
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(
            refused.body.contains("<Code>InvalidAction</Code>"),
            "{refused:?}"
        );
        assert!(refused.body.contains(&message), "{refused:?}");
    }
}

#[test]
fn attributes_of_messages_are_taken_as_the_service_takes_them() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = made(&mut http, "orders", &json!({}));
    let mut send = |name: &str, text: &str| {
        let value = json!({"DataType": "String", "StringValue": text});
        let attributes = json!({ name: value });
        let message = json!({"QueueUrl": url, "MessageBody": "x", "MessageAttributes": attributes});
        http.call("SendMessage", &message)
    };
    assert_eq!(send("größe", "1").status, 200);
    let refused = send("a", "\u{1}");
    assert_eq!(
        refused.header("x-amzn-query-error"),
        Some("InvalidParameterValue;Sender")
    );
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("Invalid characters found. Valid unicode characters are #x9"),
        "{message}"
    );
    let ask = json!({"QueueUrl": url, "MessageAttributeNames": ["*"]});
    let got = http.call("ReceiveMessage", &ask).json();
    assert_eq!(
        got["Messages"][0]["MessageAttributes"]["größe"]["StringValue"],
        json!("1")
    );
}

#[test]
fn a_requests_trace_becomes_its_messages() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = made(&mut http, "orders", &json!({}));
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let body = json!({"QueueUrl": url, "MessageBody": "one"}).to_string();
    let length = body.len();
    http.write(&format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: AmazonSQS.SendMessage\r\nx-amzn-trace-id: {trace}\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    let sent = http.answer().json();
    assert!(sent.get("MD5OfMessageSystemAttributes").is_none(), "{sent}");
    let ask = json!({"QueueUrl": url, "MessageSystemAttributeNames": ["AWSTraceHeader"]});
    let got = http.call("ReceiveMessage", &ask).json();
    assert_eq!(
        got["Messages"][0]["Attributes"],
        json!({"AWSTraceHeader": trace})
    );
}

#[test]
fn settings_of_queues_are_read_back_as_they_were_set() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let attributes = json!({"FifoQueue": "True", "ContentBasedDeduplication": "TRUE", "KmsDataKeyReusePeriodSeconds": "300"});
    let url = made(&mut http, "orders.fifo", &attributes);
    let set = json!({"QueueUrl": url, "Attributes": {"DeduplicationScope": "messageGroup"}});
    assert_eq!(http.call("SetQueueAttributes", &set).status, 200);
    let names = json!([
        "FifoQueue",
        "ContentBasedDeduplication",
        "KmsDataKeyReusePeriodSeconds",
        "DeduplicationScope"
    ]);
    let shown = http.call(
        "GetQueueAttributes",
        &json!({"QueueUrl": url, "AttributeNames": names}),
    );
    let expected = json!({
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "KmsDataKeyReusePeriodSeconds": "300",
        "DeduplicationScope": "messageGroup",
    });
    assert_eq!(shown.json()["Attributes"], expected);
    // Shown is the new scope; the one it was made with goes on deciding.
    let mut send = |group: &str| {
        let message = json!({"QueueUrl": url, "MessageBody": "same", "MessageGroupId": group});
        http.call("SendMessage", &message).json()["MessageId"].clone()
    };
    assert_eq!(send("a"), send("b"), "a repeat, whatever its group");
}

#[test]
fn a_delay_that_outlasts_the_message_is_refused() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = made(
        &mut http,
        "orders",
        &json!({"MessageRetentionPeriod": "60"}),
    );
    let mut send = |seconds: u64| {
        let message = json!({"QueueUrl": url, "MessageBody": "x", "DelaySeconds": seconds});
        http.call("SendMessage", &message)
    };
    assert_eq!(send(59).status, 200);
    let refused = send(60);
    assert_eq!(
        refused.header("x-amzn-query-error"),
        Some("InvalidParameterValue;Sender")
    );
    let set = json!({"QueueUrl": url, "Attributes": {"DelaySeconds": "90"}});
    assert_eq!(http.call("SetQueueAttributes", &set).status, 400);
}

#[test]
fn messages_can_be_looked_at_without_receiving_them() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = made(&mut http, "orders", &json!({}));
    for (body, delay) in [("m1", 0), ("m2", 0), ("m3", 60)] {
        let message = json!({"QueueUrl": url, "MessageBody": body, "DelaySeconds": delay});
        http.call("SendMessage", &message);
    }
    let base = "/_aws/sqs/messages";
    let xml = http.get(&format!("{base}?QueueUrl={url}"));
    assert_eq!(xml.header("content-type"), Some("text/xml"));
    let count = "<Attribute><Name>ApproximateReceiveCount</Name><Value>0</Value></Attribute>";
    assert_eq!(xml.body.matches(count).count(), 2, "{xml:?}");
    http.call("ReceiveMessage", &json!({ "QueueUrl": url }));
    let json = "accept: application/json";
    let path = format!("{base}/us-east-1/000000000000/orders");
    let seen = get_with(&mut http, &path, json).json();
    let message = &seen["ReceiveMessageResponse"]["ReceiveMessageResult"]["Message"];
    assert_eq!(message["Body"], json!("m2"), "one is no list");
    let all = format!("{path}?ShowInvisible=true&ShowDelayed=True");
    let seen = get_with(&mut http, &all, json).json();
    let messages = &seen["ReceiveMessageResponse"]["ReceiveMessageResult"]["Message"];
    let told = messages.as_array().unwrap().iter().map(|message| {
        let attributes = message["Attribute"].as_array().unwrap();
        let find = |name: &str| {
            let found = attributes
                .iter()
                .find(|a| a["Name"] == json!(name))
                .unwrap();
            found["Value"].as_str().unwrap()
        };
        let body = message["Body"].as_str().unwrap();
        (
            body,
            find("IsVisible"),
            find("IsDelayed"),
            find("ApproximateReceiveCount"),
        )
    });
    let told: Vec<_> = told.collect();
    let expected = [
        ("m1", "false", "false", "1"),
        ("m2", "true", "false", "0"),
        ("m3", "true", "true", "0"),
    ];
    assert_eq!(told, expected);
    let missing = get_with(&mut http, base, json);
    let code = &missing.json()["ErrorResponse"]["Error"]["Code"];
    assert_eq!(*code, json!("AWS.SimpleQueueService.NonExistentQueue"));
    let refused = http.form(base, "Action=SendMessage&MessageBody=x");
    assert!(
        refused.body.contains("<Code>InvalidRequest</Code>"),
        "{refused:?}"
    );
}

#[test]
fn the_port_says_what_listens_there() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let root = http.get("/");
    assert_eq!((root.status, &root.json()["service"]), (200, &json!("sqs")));
    assert_eq!(root.json()["server"], json!("forebay"));
    assert_eq!(http.get("/health").json()["status"], json!("running"));
    let services = http.get("/_localstack/health").json()["services"].clone();
    assert_eq!(services, json!({"sqs": "running"}));
}

#[test]
fn permissions_are_refused_in_the_services_words() {
    let sqs = Sqs::start();
    let mut http = sqs.http();
    let url = made(&mut http, "orders", &json!({}));
    let mut remove = |label: &str| {
        let ask = json!({"QueueUrl": url, "Label": label});
        http.call("RemovePermission", &ask).json()["message"].clone()
    };
    let unknown = "Value none for parameter Label is invalid. Reason: can't find label.";
    assert_eq!(remove("none"), json!(unknown));
    let mut add = |label: &str, action: &str| {
        let ask = json!({"QueueUrl": url, "Label": label, "AWSAccountIds": ["111122223333"], "Actions": [action]});
        http.call("AddPermission", &ask).json()["message"].clone()
    };
    assert_eq!(add("one", "SendMessage"), Value::Null);
    let again = "Value one for parameter Label is invalid. Reason: Already exists.";
    assert_eq!(add("one", "SendMessage"), json!(again));
    let owner = "Value SQS:AddPermission for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action.";
    assert_eq!(add("two", "AddPermission"), json!(owner));
    let nonsense = "Value SQS:Nonsense for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a list of valid actions. ";
    assert_eq!(add("two", "Nonsense"), json!(nonsense));
}

#[test]
fn the_caller_learns_who_it_is() {
    let sqs = Sqs::start();
    let answer = sqs
        .http()
        .form("/", "Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.body.contains("<Account>000000000000</Account>"),
        "{answer:?}"
    );
}
