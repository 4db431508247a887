//! Commands of SQS clients, by the JSON protocol.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::stage::{Stage, Words};

/// No answer of a scenario is larger.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const ARN: &str = "arn:aws:sqs:us-east-1:000000000000:";

impl Stage {
    pub(super) async fn sqs(&mut self, words: &Words) -> String {
        let queue = words.word(2);
        let of = json!({ "QueueUrl": format!("http://x/000000000000/{queue}") });
        let outcome = match words.word(1) {
            "create" => self.create(queue, words).await,
            "delete-queue" => self.ask("DeleteQueue", of).await,
            "set" => {
                let attributes = json!({ "Attributes": attributes(words) });
                self.ask("SetQueueAttributes", with(of, attributes)).await
            }
            "send" => return self.send(of, words).await,
            "receive" => return self.receive(of, words).await,
            "delete" => {
                let handle = json!({ "ReceiptHandle": self.handles.long(words.word(3)) });
                self.ask("DeleteMessage", with(of, handle)).await
            }
            "hide" => {
                let change = json!({
                    "ReceiptHandle": self.handles.long(words.word(3)),
                    "VisibilityTimeout": words.word(4),
                });
                self.ask("ChangeMessageVisibility", with(of, change)).await
            }
            "purge" => self.ask("PurgeQueue", of).await,
            "depth" => return self.depth(of).await,
            "redrive" => self.redrive(queue, words).await,
            "tasks" => return self.list_tasks(queue).await,
            other => panic!("there is no command `sqs {other}`"),
        };
        outcome.map_or_else(|code| self.handles.shorten(code), |_| "ok".to_owned())
    }

    /// Asks for an action; the error's code and text if it is refused.
    async fn ask(&self, action: &str, members: Value) -> Result<Value, String> {
        let request = Request::post("/")
            .header("host", "x")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("content-type", "application/x-amz-json-1.0")
            .body(Body::from(members.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let good = response.status().is_success();
        let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.await.unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap_or_else(|_| json!({}));
        if good {
            return Ok(value);
        }
        let code = value["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        Err(format!(
            "{code}: {}",
            value["message"].as_str().unwrap_or_default()
        ))
    }

    async fn create(&self, queue: &str, words: &Words) -> Result<Value, String> {
        let create = json!({ "QueueName": queue, "Attributes": attributes(words) });
        self.ask("CreateQueue", create).await
    }

    async fn send(&mut self, of: Value, words: &Words) -> String {
        let mut message = Map::new();
        message.insert("MessageBody".into(), json!(words.word(3)));
        let mut attributes = Map::new();
        for (name, value) in &words.options {
            match name.as_str() {
                "group" => drop(message.insert("MessageGroupId".into(), json!(value))),
                "dedup" => drop(message.insert("MessageDeduplicationId".into(), json!(value))),
                "delay" => drop(message.insert("DelaySeconds".into(), json!(value))),
                name => {
                    let value = json!({ "DataType": "String", "StringValue": value });
                    attributes.insert(name.to_owned(), value);
                }
            }
        }
        message.insert("MessageAttributes".into(), Value::Object(attributes));
        match self
            .ask("SendMessage", with(of, Value::Object(message)))
            .await
        {
            Ok(sent) => self.messages.short(sent["MessageId"].as_str().unwrap()),
            Err(code) => code,
        }
    }

    async fn receive(&mut self, of: Value, words: &Words) -> String {
        let mut receive = json!({
            "MaxNumberOfMessages": words.option("max").unwrap_or("10"),
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        for (option, member) in [
            ("visibility", "VisibilityTimeout"),
            ("wait", "WaitTimeSeconds"),
            ("attempt", "ReceiveRequestAttemptId"),
        ] {
            if let Some(value) = words.option(option) {
                receive[member] = json!(value);
            }
        }
        let received = match self.ask("ReceiveMessage", with(of, receive)).await {
            Ok(received) => received,
            Err(code) => return code,
        };
        let messages = received["Messages"].as_array().cloned().unwrap_or_default();
        if messages.is_empty() {
            return "nothing".to_owned();
        }
        let lines: Vec<String> = messages.iter().map(|m| self.show(m)).collect();
        lines.join("\n")
    }

    fn show(&mut self, message: &Value) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let system = &message["Attributes"];
        let mut line = vec![format!(
            "\"{}\" {} receives={} {}",
            text(&message["Body"]),
            self.messages.short(&text(&message["MessageId"])),
            text(&system["ApproximateReceiveCount"]),
            self.handles.short(&text(&message["ReceiptHandle"])),
        )];
        if let Some(group) = system["MessageGroupId"].as_str() {
            line.push(format!("group={group}"));
        }
        if let Some(source) = system["DeadLetterQueueSourceArn"].as_str() {
            line.push(format!("source={}", source.trim_start_matches(ARN)));
        }
        for (name, value) in message["MessageAttributes"]
            .as_object()
            .into_iter()
            .flatten()
        {
            line.push(format!("{name}={}", text(&value["StringValue"])));
        }
        line.join(" ")
    }

    async fn depth(&self, of: Value) -> String {
        let all = with(of, json!({ "AttributeNames": ["All"] }));
        match self.ask("GetQueueAttributes", all).await {
            Ok(shown) => {
                let number = |name: &str| {
                    let name = format!("ApproximateNumberOfMessages{name}");
                    shown["Attributes"][name].as_str().unwrap().to_owned()
                };
                let (ready, hidden, delayed) =
                    (number(""), number("NotVisible"), number("Delayed"));
                format!("visible={ready} hidden={hidden} delayed={delayed}")
            }
            Err(code) => code,
        }
    }

    async fn redrive(&self, queue: &str, words: &Words) -> Result<Value, String> {
        let mut start = json!({ "SourceArn": format!("{ARN}{queue}") });
        if let Some(to) = words.option("to") {
            start["DestinationArn"] = json!(format!("{ARN}{to}"));
        }
        if let Some(rate) = words.option("rate") {
            start["MaxNumberOfMessagesPerSecond"] = json!(rate);
        }
        self.ask("StartMessageMoveTask", start).await
    }

    async fn list_tasks(&mut self, queue: &str) -> String {
        let list = json!({ "SourceArn": format!("{ARN}{queue}"), "MaxResults": 10 });
        let listed = match self.ask("ListMessageMoveTasks", list).await {
            Ok(listed) => listed,
            Err(code) => return code,
        };
        let tasks = listed["Results"].as_array().cloned().unwrap_or_default();
        let lines: Vec<String> = tasks
            .iter()
            .map(|task| {
                let moved = &task["ApproximateNumberOfMessagesMoved"];
                let status = task["Status"].as_str().unwrap_or_default();
                format!(
                    "{status} moved={moved} of={}",
                    task["ApproximateNumberOfMessagesToMove"]
                )
            })
            .collect();
        lines.join("\n")
    }
}

/// Options as attributes of a queue; `dead_letter=NAME:COUNT` is short for a redrive policy.
fn attributes(words: &Words) -> Value {
    let pairs = words.options.iter().map(|(name, value)| {
        if name == "dead_letter" {
            let (queue, count) = value.split_once(':').unwrap();
            let arn = format!("{ARN}{queue}");
            let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": count });
            return ("RedrivePolicy".to_owned(), json!(policy.to_string()));
        }
        (name.clone(), json!(value))
    });
    Value::Object(pairs.collect())
}

fn with(mut members: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut members, more) {
        members.extend(more);
    }
    members
}
