//! What a message of this protocol is to clients of another, and the other way round.

use amqp::wire::{Properties, Value, basic, queue};
use aws_sdk_sqs::types::MessageSystemAttributeName;
use clients::amqp::{Arrived, Raw, table};

use crate::broker::Broker;
use crate::sqs::Sqs;

fn get(raw: &mut Raw, queue: &str) -> Arrived {
    raw.send(
        1,
        &basic::Get {
            queue: queue.as_bytes(),
            no_ack: true,
        },
    );
    raw.expect_content("basic.get-ok", 1)
}

#[tokio::test]
async fn other_protocols_read_and_write_the_same_queue() {
    let broker = Broker::start();
    let at = broker.address("amqp").unwrap();
    let sqs = Sqs::of(broker, "test", "test");
    let mut raw = Raw::with_channel(at);
    raw.declare("orders");
    let headers = table(&[("color", Value::Long(b"red")), ("count", Value::I32(3))]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        content_type: Some(b"text/plain"),
        ..Properties::default()
    };
    let publish = basic::Publish {
        routing_key: b"orders",
        ..basic::Publish::default()
    };
    raw.publish(1, publish, &properties, b"from here");
    raw.send(
        1,
        &queue::Declare {
            queue: b"orders",
            passive: true,
            ..queue::Declare::default()
        },
    );
    raw.expect("queue.declare-ok", 1);
    let url = sqs.client.get_queue_url().queue_name("orders").send().await;
    let url = url.unwrap().queue_url.unwrap();
    let received = sqs
        .client
        .receive_message()
        .queue_url(&url)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .wait_time_seconds(5)
        .send()
        .await
        .unwrap();
    let message = &received.messages()[0];
    assert_eq!(message.body(), Some("from here"));
    let attributes = message.message_attributes().unwrap();
    for (name, value) in [
        ("color", "red"),
        ("count", "3"),
        ("content-type", "text/plain"),
    ] {
        assert_eq!(attributes[name].string_value(), Some(value), "{name}");
        assert_eq!(attributes[name].data_type(), "String");
    }
    let done = sqs.client.delete_message().queue_url(&url);
    done.receipt_handle(message.receipt_handle().unwrap())
        .send()
        .await
        .unwrap();
    comes_from_there(&sqs, &url, &mut raw).await;
}

/// What the other protocol sends has properties made from what it says.
async fn comes_from_there(sqs: &Sqs, url: &str, raw: &mut Raw) {
    let attribute = aws_sdk_sqs::types::MessageAttributeValue::builder()
        .data_type("String")
        .string_value("blue")
        .build()
        .unwrap();
    let sent = sqs
        .client
        .send_message()
        .queue_url(url)
        .message_body("from there")
        .message_attributes("color", attribute)
        .send()
        .await
        .unwrap();
    let got = get(raw, "orders");
    assert_eq!(got.body, b"from there");
    let properties = Properties::decode(&got.properties).unwrap();
    let headers = properties.headers.unwrap();
    assert_eq!(headers.find(b"color"), Some(Value::Long(b"blue")));
    assert_eq!(properties.delivery_mode, Some(2));
    assert_eq!(
        properties.message_id.map(<[u8]>::to_vec),
        sent.message_id.map(String::into_bytes)
    );
    assert!(properties.timestamp.unwrap() > 1_500_000_000);
    let Ok(amqp::wire::Method::Basic(basic::Method::GetOk(ok))) =
        amqp::wire::Method::decode(&got.method)
    else {
        panic!("no message");
    };
    assert_eq!((ok.exchange, ok.routing_key), (&b""[..], &b"orders"[..]));
}
