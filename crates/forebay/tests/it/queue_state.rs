//! Batches of a few bytes that open to very many message groups: what the state of queues takes in memory is bounded, and
//! what does not fit is refused before it is acknowledged, in each protocol's own words. Plain messages go on, and so does
//! everything that makes room.

use std::ops::Range;

use bytes::Bytes;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};
use testkit::forge::{Head, Wire, compress};

use crate::amqp::{confirm, connect_as, declare, publish};
use crate::broker::Options;
use crate::client::{self, Client};
use crate::memory::{Group, MIB};
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
        let record = Wire {
            offset_delta: i64::try_from(place).unwrap(),
            key: Some(format!("{number:x}").as_bytes()),
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
        let sent = send.message_group_id(format!("group {number}")).send();
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
    assert_eq!(client::create_topic(&mut client, "topic").await, 0);
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
