//! A topic is no queue until one is attached to it: clients of queues are told how, or it happens on first use.

use amqp::wire::{basic, queue};
use clients::amqp::Raw;
use clients::kafka::Client;

use crate::broker::{Broker, Options};
use crate::sqs::{Sqs, bodies, code};

const ATTACH: &str = "FOREBAY__QUEUES__ATTACH_TOPICS";

async fn create_topic(broker: &Broker, name: &str) {
    let at = broker.address("kafka").unwrap();
    let mut client = Client::connect(at).await.unwrap();
    assert_eq!(clients::kafka::create_topic(&mut client, name).await, 0);
}

fn passive(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: name.as_bytes(),
        passive: true,
        ..queue::Declare::default()
    }
}

fn get(name: &str) -> basic::Get<'_> {
    basic::Get {
        queue: name.as_bytes(),
        no_ack: true,
    }
}

/// A connection with a channel, for a method that may be refused.
fn raw(broker: &Broker) -> Raw {
    Raw::with_channel(broker.address("amqp").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_a_queue_is_said_to_be_one() {
    let sqs = Sqs::start();
    create_topic(&sqs.broker, "orders").await;
    let text = "NOT_FOUND - no queue 'orders' in vhost '/': there is a topic of that name; attach a queue with \
        `forebay queue create orders --topic orders`";
    let mut one = raw(&sqs.broker);
    one.send(1, &passive("orders"));
    one.fails::<queue::Declare<'_>>(1, 404, text);
    let mut one = raw(&sqs.broker);
    one.send(1, &get("orders"));
    one.fails::<basic::Get<'_>>(1, 404, text);
    let mut one = raw(&sqs.broker);
    one.send(1, &passive("other"));
    one.fails::<queue::Declare<'_>>(1, 404, "NOT_FOUND - no queue 'other' in vhost '/'");

    let asked = sqs.client.get_queue_url().queue_name("orders").send().await;
    let refused = asked.unwrap_err();
    assert_eq!(code(&refused), "AWS.SimpleQueueService.NonExistentQueue");
    let text = refused.into_service_error().to_string();
    assert!(
        text.contains("The specified queue does not exist. There is a topic of that name; attach a queue with `forebay queue create orders --topic orders`."),
        "{text}"
    );
    let other = sqs.client.get_queue_url().queue_name("other").send().await;
    let text = other.unwrap_err().into_service_error().to_string();
    assert!(!text.contains("topic"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_settings_say_so_a_topic_gets_its_queue_on_first_use() {
    let sqs = Sqs::with(Options::new().env(ATTACH, "true"));
    for topic in ["by-url", "by-get", "by-passive", "by-consume", "by-bind"] {
        create_topic(&sqs.broker, topic).await;
    }
    let asked = sqs.client.get_queue_url().queue_name("by-url").send().await;
    let url = asked.unwrap().queue_url.unwrap();
    sqs.send(&url, "one").await;
    assert_eq!(bodies(&sqs.receive(&url, 5).await), ["one"]);

    let mut raw = raw(&sqs.broker);
    raw.send(1, &get("by-get"));
    raw.expect("basic.get-empty", 1);
    raw.send(1, &passive("by-passive"));
    raw.expect("queue.declare-ok", 1);
    let consume = basic::Consume {
        queue: b"by-consume",
        consumer_tag: b"t",
        ..basic::Consume::default()
    };
    raw.send(1, &consume);
    raw.expect("basic.consume-ok", 1);
    let bind = queue::Bind {
        queue: b"by-bind",
        exchange: b"amq.fanout",
        ..queue::Bind::default()
    };
    raw.send(1, &bind);
    raw.expect("queue.bind-ok", 1);
    // What is neither stays unknown.
    raw.send(1, &passive("neither"));
    let text = "NOT_FOUND - no queue 'neither' in vhost '/'";
    raw.fails::<queue::Declare<'_>>(1, 404, text);
}
