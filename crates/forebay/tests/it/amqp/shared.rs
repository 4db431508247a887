//! One message to a thousand queues is one body: in memory, in the journal, and in segments.

use std::fs;
use std::path::Path;

use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tokio::task::JoinSet;

use super::{Amqp, confirm, declare};

const QUEUES: usize = 1000;
const BODY: usize = 100 * 1024;
const CONNECTIONS: usize = 8;
/// A body for each queue would be a hundred of these.
const MIB: u64 = 1 << 20;

fn body(number: u8) -> Vec<u8> {
    let byte = |i: usize| (i * 31).to_le_bytes()[0] ^ number;
    (0..BODY).map(byte).collect()
}

fn name(number: usize) -> String {
    format!("copy-{number}")
}

/// Does something with all queues, over a few connections at once.
async fn for_all<F>(amqp: &Amqp, work: impl Fn(Channel, usize) -> F + Copy + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let mut tasks = JoinSet::new();
    for first in 0..CONNECTIONS {
        let (connection, channel) = amqp.channel().await;
        tasks.spawn(async move {
            for number in (first..QUEUES).step_by(CONNECTIONS) {
                work(channel.clone(), number).await;
            }
            drop(connection);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn make(channel: Channel, number: usize) {
    declare(&channel, &name(number)).await;
    let bound = channel.queue_bind(
        name(number).into(),
        "amq.fanout".into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
}

async fn publish(channel: &Channel, number: u8) {
    let body = body(number);
    let published = channel.basic_publish(
        "amq.fanout".into(),
        "".into(),
        BasicPublishOptions::default(),
        &body,
        BasicProperties::default().with_delivery_mode(2),
    );
    let confirmed = published.await.unwrap().await.unwrap();
    assert!(confirmed.is_ack());
}

async fn take(channel: &Channel, number: usize) -> Vec<u8> {
    let options = BasicGetOptions { no_ack: true };
    let got = channel
        .basic_get(name(number).into(), options)
        .await
        .unwrap();
    got.unwrap_or_else(|| panic!("{} is empty", name(number)))
        .delivery
        .data
}

fn metric(amqp: &Amqp, name: &str) -> u64 {
    let (_, text) = amqp.broker.get("/metrics");
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).expect(name)
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_to_a_thousand_queues_is_one_body() {
    let amqp = Amqp::start();
    for_all(&amqp, make).await;
    let (connection, channel) = amqp.channel().await;
    confirm(&channel).await;
    let journal = || metric(&amqp, "forebay_journal_written_bytes_total");
    let (memory, written) = (amqp.broker.resident_bytes(), journal());
    publish(&channel, 0).await;
    let more = journal() - written;
    assert!(more < MIB, "one message: {more} bytes in the journal");
    for number in 1..=10 {
        publish(&channel, number).await;
    }
    let more = journal() - written;
    assert!(
        more < 6 * MIB,
        "eleven messages: {more} bytes in the journal"
    );
    let unflushed = metric(&amqp, "forebay_storage_unflushed_bytes");
    assert!(unflushed < 8 * MIB, "{unflushed} bytes in memory");
    let grown = amqp.broker.resident_bytes().saturating_sub(memory);
    assert!(grown < 48 * MIB, "grown by {grown} bytes");
    drop((connection, channel));

    // After `kill -9` each queue has them, still as one body.
    let mut amqp = amqp.restart();
    let memory = amqp.broker.resident_bytes();
    assert!(memory < 160 * MIB, "{memory} bytes after a restart");
    for_all(&amqp, |channel, number| async move {
        assert!(take(&channel, number).await == body(0), "{number}");
    })
    .await;
    // What is left moves to segments.
    assert!(amqp.broker.terminate().success());
    let segments = folder_bytes(&amqp.broker.data().join("store/segments"));
    assert!(segments < 8 * MIB, "{segments} bytes of segments");
    let amqp = amqp.restart();
    for_all(&amqp, |channel, number| async move {
        assert!(take(&channel, number).await == body(1), "{number}");
    })
    .await;
    let (_connection, channel) = amqp.channel().await;
    for number in (0..QUEUES).step_by(97) {
        for message in 2..=10 {
            assert!(take(&channel, number).await == body(message));
        }
    }
}
