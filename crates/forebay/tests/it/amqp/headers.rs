//! Headers of a Kafka record that are larger than a consumer's frames: the message comes without them, says so, and
//! holds up nobody.

use amqp::wire::{Method, Properties, basic, connection};
use clients::amqp::{Arrived, Raw};
use testkit::forge::{Head, Wire};

use super::{Amqp, confirm, declare, publish};
use crate::broker::Options;
use crate::records::{kafka, produce};

const OMITTED: &str = "x-forebay-headers-omitted";

/// What a message says, in the frames of who asks for it, before it is given back.
fn looked_at(client: &mut Raw, queue: &str) -> Arrived {
    let consume = basic::Consume {
        queue: queue.as_bytes(),
        ..basic::Consume::default()
    };
    client.send(
        1,
        &basic::Qos {
            prefetch_count: 1,
            ..basic::Qos::default()
        },
    );
    client.expect("basic.qos-ok", 1);
    client.send(1, &consume);
    client.expect("basic.consume-ok", 1);
    client.expect_content("basic.deliver", 1)
}

fn names(arrived: &Arrived) -> Vec<(String, Option<i64>)> {
    let properties = Properties::decode(&arrived.properties).unwrap();
    let headers = properties.headers.unwrap_or_default();
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let named = headers
        .iter()
        .map(|(name, value)| (text(name), value.integer()));
    named.collect()
}

fn ack(client: &mut Raw) {
    let all = basic::Ack {
        delivery_tag: 0,
        multiple: true,
    };
    client.send(1, &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_more_headers_than_a_frame_holds_is_delivered_without_them() {
    let amqp = Amqp::with(Options::new());
    let (_connection, channel) = amqp.channel().await;
    confirm(&channel).await;
    declare(&channel, "work").await;
    let (long, key) = (vec![b'x'; 140_000], [b'k'; 300]);
    let via = [&b"\n"[..], &key].concat();
    let record = Wire {
        value: Some(b"v"),
        headers: &[
            (Some(b"long"), Some(&long)),
            (Some(b"short"), Some(b"y")),
            // No key of a method is that long.
            (Some(b"forebay.via"), Some(&via)),
        ],
        ..Wire::default()
    };
    let mut records = Vec::new();
    record.put(&mut records);
    let batch = Head::new(0, 1, 1_700_000_000_000).batch(&records);
    let produced = produce(&mut kafka(&amqp.broker).await, "work", batch).await;
    assert_eq!(produced.error_code, 0);
    for i in 0..3 {
        publish(&channel, "work", &format!("good {i}")).await;
    }
    let expected = [("short".to_owned(), None), (OMITTED.to_owned(), Some(1))];
    for frame_max in [4096, 131_072, 4096] {
        let mut client = Raw::with_frames_of(amqp.address(), frame_max);
        let first = looked_at(&mut client, "work");
        assert_eq!(first.body, b"v", "in frames of {frame_max}");
        let seen = names(&first);
        let seen: Vec<_> = seen
            .into_iter()
            .filter(|(name, _)| !name.starts_with("x-acquired") && !name.starts_with("x-delivery"))
            .collect();
        assert_eq!(seen, expected, "in frames of {frame_max}");
        let Ok(Method::Basic(basic::Method::Deliver(deliver))) = Method::decode(&first.method)
        else {
            panic!("no delivery");
        };
        assert_eq!(deliver.routing_key, b"work");
        client.send(0, &connection::Close::default());
        client.expect("connection.close-ok", 0);
    }
    let mut client = Raw::with_frames_of(amqp.address(), 4096);
    looked_at(&mut client, "work");
    for i in 0..3 {
        ack(&mut client);
        let next = client.expect_content("basic.deliver", 1);
        assert_eq!(next.body, format!("good {i}").as_bytes());
    }
    let (_, metrics) = amqp.broker.get("/metrics");
    let counted = "forebay_amqp_messages_headers_omitted_total 4";
    assert!(metrics.contains(counted), "{metrics}");
}
