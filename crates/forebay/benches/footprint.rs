//! Measures memory and start times of the release binary: the numbers of `docs/reference/footprint.md`.
//!
//! `cargo bench -p forebay --bench footprint`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a harness fails by panicking, and its output is its result"
)]

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka::wire::create_topics::CreatableTopic;
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, CreateTopicsResponse, Message, ProduceRequest,
    ProduceResponse,
};
use storage::batch::BatchBuilder;

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/it/broker.rs"]
mod broker;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/it/client.rs"]
mod client;

use broker::Broker;
use client::{Client, answer, request};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const CONNECTIONS: u64 = 10_000;
const BACKLOG: u64 = 10 * GIB;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn settle() {
    std::thread::park_timeout(Duration::from_millis(1500));
}

#[expect(
    clippy::disallowed_methods,
    reason = "start times are measured in real time"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64())
}

fn restarted(broker: Broker) -> (Broker, f64) {
    timed(|| broker.restart())
}

fn kafka(broker: &Broker) -> SocketAddr {
    broker.address("kafka").unwrap()
}

async fn create_topics(at: SocketAddr, count: u64) {
    const AT_ONCE: u64 = 200;
    let mut client = Client::connect(at).await.unwrap();
    for first in (0..count).step_by(200) {
        let topic = |i| CreatableTopic {
            name: Cow::Owned(format!("orders.of.customer.{i:05}")),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let asked = CreateTopicsRequest {
            topics: (first..count.min(first + AT_ONCE)).map(topic).collect(),
            timeout_ms: 60_000,
            ..CreateTopicsRequest::default()
        };
        let body = client.call(7, &asked).await.unwrap();
        let response: CreateTopicsResponse<'_> = answer(&body, 7);
        assert!(response.topics.iter().all(|topic| topic.error_code == 0));
    }
}

/// A request of one batch of 1 KiB records, a bit less than 1 MiB.
fn bulk(topic: &str) -> (Bytes, u64) {
    const VERSION: i16 = 9;
    let mut builder = BatchBuilder::new(-1);
    let value: Vec<u8> = (0..KIB).map(|i| (i * 7 % 251) as u8).collect();
    while (builder.bytes() as u64) < MIB - 2 * KIB {
        builder.push(-1, None, Some(&value), &[]);
    }
    let bytes = builder.bytes() as u64;
    let records = builder.build().to_bytes().into();
    let message = ProduceRequest {
        acks: -1,
        timeout_ms: 60_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index: 0, records }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    (request(VERSION, 1, &message), bytes)
}

async fn fill(at: SocketAddr, topic: &str, bytes: u64) {
    const AHEAD: u64 = 5;
    let mut client = Client::connect(at).await.unwrap();
    let (frame, each) = bulk(topic);
    let count = bytes / each;
    for sent in 0..count + AHEAD {
        if sent < count {
            client.send(&frame).await.unwrap();
        }
        if sent >= AHEAD {
            let body = client.receive(ApiKey::Produce, 9, 1).await.unwrap();
            let response: ProduceResponse<'_> = answer(&body, 9);
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        }
    }
}

fn idle_and_start() {
    let (broker, seconds) = timed(Broker::start);
    settle();
    let (all, anonymous) = (broker.resident_bytes(), broker.anonymous_bytes());
    println!("start, fresh: {seconds:.3} s");
    println!(
        "idle RSS: {} KiB, of it anonymous {} KiB",
        all / KIB,
        anonymous / KIB
    );
    for count in [1_000, 10_000] {
        let mut broker = Broker::start();
        settle();
        let before = broker.resident_bytes();
        let ((), making) = timed(|| block_on(create_topics(kafka(&broker), count)));
        settle();
        let after = broker.resident_bytes();
        println!(
            "{count} empty topics: made in {making:.1} s, {:.2} KiB each",
            (after - before) as f64 / KIB as f64 / count as f64
        );
        let cpu = broker.cpu_seconds();
        std::thread::park_timeout(Duration::from_secs(20));
        println!(
            "{count} empty topics: idle CPU {:.1} %",
            (broker.cpu_seconds() - cpu) * 5.0
        );
        broker.kill();
        let (mut broker, seconds) = restarted(broker);
        settle();
        let rss = broker.resident_bytes();
        println!(
            "start, {count} topics, killed: {seconds:.3} s, RSS {} KiB",
            rss / KIB
        );
        assert!(broker.terminate().success());
        let (broker, seconds) = restarted(broker);
        settle();
        let rss = broker.resident_bytes();
        println!(
            "start, {count} topics, stopped: {seconds:.3} s, RSS {} KiB",
            rss / KIB
        );
    }
}

fn idle_connections() {
    let broker = Broker::start();
    settle();
    let before = broker.resident_bytes();
    let asked = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let frame = request(3, 1, &asked);
    let connections: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(kafka(&broker)).unwrap();
            stream.write_all(&frame).unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut body).unwrap();
            stream
        })
        .collect();
    settle();
    let each = (broker.resident_bytes() - before) as f64 / KIB as f64 / CONNECTIONS as f64;
    println!(
        "{CONNECTIONS} idle connections ({}): {each:.2} KiB each",
        ApiVersionsRequest::NAME
    );
    drop(connections);
    broker.await_metric("forebay_connections_open{listener=\"kafka\"} 0");
    settle();
    println!(
        "after they left: RSS {} KiB, before {} KiB",
        broker.resident_bytes() / KIB,
        before / KIB
    );
}

fn backlog() {
    let mut broker = Broker::start();
    block_on(create_topics(kafka(&broker), 1));
    let fill_all = || block_on(fill(kafka(&broker), "orders.of.customer.00000", BACKLOG));
    let ((), seconds) = timed(fill_all);
    println!(
        "{} GiB of 1 KiB records: {:.0} MiB/s, RSS {} MiB at the end",
        BACKLOG / GIB,
        BACKLOG as f64 / MIB as f64 / seconds,
        broker.resident_bytes() / MIB
    );
    settle();
    println!("at rest: RSS {} MiB", broker.resident_bytes() / MIB);
    broker.kill();
    let (mut broker, seconds) = restarted(broker);
    settle();
    println!(
        "start, killed: {seconds:.3} s, RSS {} MiB",
        broker.resident_bytes() / MIB
    );
    assert!(broker.terminate().success());
    let (broker, seconds) = restarted(broker);
    settle();
    println!(
        "start, stopped: {seconds:.3} s, RSS {} MiB",
        broker.resident_bytes() / MIB
    );
}

fn main() {
    idle_and_start();
    idle_connections();
    backlog();
}
