//! Batches of a few bytes that open to very many message groups: what the state of queues takes in memory is bounded, and
//! what does not fit is refused before it is acknowledged, in each protocol's own words. Plain messages go on, and so does
//! everything that makes room.

use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;
use clients::kafka::{Client, create_topic};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};
use testkit::forge::{Head, Wire, compress};

use crate::amqp::{confirm, connect_as, declare, publish};
use crate::broker::Options;
use crate::memory::{Group, MIB, ask, http_head};
use crate::records::{kafka, now, produce};
use crate::sqs::{Sqs, bodies, code};

const MESSAGE_TOO_LARGE: i16 = 10;
const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
const ZSTD: i16 = 4;
const LIMIT: &str = "FOREBAY__MEMORY__QUEUE_STATE_BYTES";

/// Empty records, each of a message group of its own.
fn groups(numbers: Range<u32>) -> Bytes {
    let count = i32::try_from(numbers.len()).unwrap();
    let mut body = Vec::new();
    for (place, number) in numbers.enumerate() {
        let key = format!("{number:x}");
        let record = Wire {
            offset_delta: i64::try_from(place).unwrap(),
            key: Some(key.as_bytes()),
            value: Some(b""),
            ..Wire::default()
        };
        record.put(&mut body);
    }
    Head::new(ZSTD, count, now()).batch(&compress(ZSTD, &body))
}

async fn code_of(client: &mut Client, topic: &str, batch: Bytes) -> i16 {
    produce(client, topic, batch).await.error_code
}

/// Sends messages of new groups until one is refused; its error's code.
async fn refused_group(sqs: &Sqs, url: &str) -> String {
    for number in 0..1_000 {
        let send = sqs.client.send_message().queue_url(url);
        let send = send.message_body(format!("text {number}"));
        let sent = send.message_group_id(format!("group-{number}")).send();
        if let Err(refused) = sent.await {
            return code(&refused);
        }
    }
    panic!("a thousand groups are taken");
}

/// Publishes a message with a time to live of its own.
async fn publish_mortal(channel: &Channel, queue: &str) -> Confirmation {
    let published = channel.basic_publish(
        "".into(),
        queue.into(),
        BasicPublishOptions::default(),
        b"mortal",
        BasicProperties::default().with_expiration("3600000".into()),
    );
    published.await.unwrap().await.unwrap()
}

/// What the broker says its queues' state takes.
fn state_bytes(sqs: &Sqs) -> u64 {
    let (_, metrics) = sqs.broker.get("/metrics");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("forebay_queue_state_bytes "));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_in_every_protocol_and_the_rest_goes_on() {
    let sqs = Sqs::with(Options::new().env(LIMIT, "1MiB"));
    let (fifo, plain) = (sqs.fifo("groups.fifo").await, sqs.queue("plain", &[]).await);
    let mut client = kafka(&sqs.broker).await;
    assert_eq!(create_topic(&mut client, "topic").await, 0);
    let at = sqs.broker.address("amqp").unwrap();
    let amqp = connect_as(at, "guest", "guest").await.unwrap();
    let channel = amqp.create_channel().await.unwrap();
    confirm(&channel).await;
    declare(&channel, "short").await;

    // What never fits is to be split, as what is too large.
    let too_many = code_of(&mut client, "groups.fifo", groups(0..20_000)).await;
    assert_eq!(too_many, MESSAGE_TOO_LARGE);
    let many = code_of(&mut client, "groups.fifo", groups(0..140_000)).await;
    assert_eq!(many, MESSAGE_TOO_LARGE);
    assert_eq!(state_bytes(&sqs), 0);
    assert_eq!(
        code_of(&mut client, "groups.fifo", groups(0..3_000)).await,
        0
    );
    let more = code_of(&mut client, "groups.fifo", groups(3_000..6_000)).await;
    assert_eq!(more, THROTTLING_QUOTA_EXCEEDED);
    // Groups that are known take next to nothing.
    assert_eq!(
        code_of(&mut client, "groups.fifo", groups(0..3_000)).await,
        0
    );

    assert_eq!(refused_group(&sqs, &fifo).await, "RequestThrottled");
    let taken = state_bytes(&sqs);
    assert!((900_000..=1 << 20).contains(&taken), "{taken}");
    let mut nacked = false;
    for _ in 0..20 {
        nacked |= matches!(
            publish_mortal(&channel, "short").await,
            Confirmation::Nack(_)
        );
    }
    assert!(nacked, "twenty messages with times of their own fit");

    // Runs of offsets take nothing.
    let acked = publish(&channel, "short", "plain").await;
    assert!(matches!(acked, Confirmation::Ack(_)), "{acked:?}");
    sqs.send(&plain, "plain").await;
    assert_eq!(bodies(&sqs.receive(&plain, 60).await), ["plain"]);
    assert_eq!(code_of(&mut client, "topic", groups(0..140_000)).await, 0);
    assert_eq!(sqs.receive(&fifo, 60).await.len(), 10);
    drop((channel, amqp, client));

    let sqs = sqs.restart();
    let again = state_bytes(&sqs);
    assert!(again.abs_diff(taken) < 100_000, "{again}, it was {taken}");
    assert_eq!(refused_group(&sqs, &fifo).await, "RequestThrottled");
    for message in sqs.receive(&fifo, 60).await {
        let handle = message.receipt_handle.unwrap();
        assert_eq!(sqs.delete(&fifo, &handle).await, Ok(()));
    }
    let purge = sqs.client.purge_queue().queue_url(&fifo).send();
    purge.await.unwrap();
    let mut client = kafka(&sqs.broker).await;
    assert_eq!(
        code_of(&mut client, "groups.fifo", groups(6_000..9_000)).await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn small_batches_of_very_many_groups_neither_kill_the_broker_nor_its_next_start() {
    let group = match Group::of("state", 256 * MIB) {
        Ok(group) => group,
        Err(why) => {
            println!("skipped: this process cannot make a control group: {why}");
            return;
        }
    };
    let sqs = Sqs::with(Options::new().within(group.path()));
    let fifo = sqs.fifo("groups.fifo").await;
    let mut client = kafka(&sqs.broker).await;
    let mut codes = Vec::new();
    for round in 0..8 {
        let batch = groups(round * 50_000..(round + 1) * 50_000);
        codes.push(code_of(&mut client, "groups.fifo", batch).await);
    }
    assert_eq!(codes[0], 0);
    assert_eq!(codes[2..], [THROTTLING_QUOTA_EXCEEDED; 6]);
    assert_eq!(sqs.receive(&fifo, 60).await.len(), 10);
    let sqs = sqs.restart();
    assert_eq!(sqs.receive(&fifo, 60).await.len(), 10);
}

/// Attaches an ordered queue to a topic: status and text of the answer.
fn attach(http: SocketAddr, topic: &str) -> (u16, String) {
    let body =
        format!(r#"{{"name":"{topic}.fifo","topic":"{topic}","settings":{{"ordering":"key"}}}}"#);
    let mut request = http_head("/api/v1/queues", "", body.len());
    request.extend_from_slice(body.as_bytes());
    ask(http, &request)
}

/// Empty records of one message group.
fn of_one_group(count: i32) -> Bytes {
    let mut body = Vec::new();
    for place in 0..count {
        let record = Wire {
            offset_delta: place.into(),
            key: Some(b"k"),
            value: Some(b""),
            ..Wire::default()
        };
        record.put(&mut body);
    }
    Head::new(ZSTD, count, now()).batch(&compress(ZSTD, &body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_has_much_to_look_into_does_not_hold_up_the_others() {
    let sqs = Sqs::with(Options::new().env(LIMIT, "1MiB"));
    let mut client = kafka(&sqs.broker).await;
    for topic in ["tiny", "groups"] {
        assert_eq!(create_topic(&mut client, topic).await, 0);
    }
    let batch = of_one_group(200_000);
    for _ in 0..8 {
        assert_eq!(code_of(&mut client, "tiny", batch.clone()).await, 0);
    }
    assert_eq!(code_of(&mut client, "groups", groups(0..20_000)).await, 0);
    let http = sqs.broker.http();
    let attached = tokio::task::spawn_blocking(move || attach(http, "tiny"));
    let mut made_meanwhile = 0;
    for number in 0.. {
        let name = format!("other-{number}");
        assert_eq!(create_topic(&mut client, &name).await, 0);
        assert_eq!(sqs.broker.get("/readyz").0, 200);
        if attached.is_finished() {
            break;
        }
        made_meanwhile += 1;
    }
    let (status, text) = attached.await.unwrap();
    assert_eq!(status, 201, "{text}");
    assert!(made_meanwhile > 2, "only {made_meanwhile} topics are made");
    let fifo = sqs.client.get_queue_url().queue_name("tiny.fifo").send();
    let fifo = fifo.await.unwrap().queue_url.unwrap();
    assert_eq!(sqs.receive(&fifo, 60).await.len(), 10);

    // More groups than there is room for are no queue, and leave nothing behind.
    let refused = tokio::task::spawn_blocking(move || attach(http, "groups"));
    let (status, text) = refused.await.unwrap();
    assert_eq!(status, 429, "{text}");
    assert!(state_bytes(&sqs) < 100_000);
    let sqs = sqs.restart();
    assert_eq!(sqs.receive(&fifo, 60).await.len(), 0, "the group is locked");
    assert_eq!(sqs.depth(&fifo).await[1], 10);
}
