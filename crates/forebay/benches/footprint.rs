//! Measures memory and start times of the release binary: the numbers of `docs/reference/footprint.md`.
//!
//! `cargo bench -p forebay --bench footprint [-- PART…]`; the parts are named in `PARTS`.

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
use clients::kafka::{Client, answer, request};
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

use broker::Broker;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const CONNECTIONS: u64 = 10_000;
const BACKLOG: u64 = 10 * GIB;
const QUEUES: usize = 100_000;
/// Clients that make queues: each waits for a sync, and syncs are shared.
const QUEUE_MAKERS: usize = 64;

/// What can be measured, and whether it is when nothing is named.
const PARTS: &[(&str, bool, fn())] = &[
    ("idle", true, idle_and_start),
    ("connections", true, idle_connections),
    ("backlog", true, backlog),
    ("queues", false, empty_queues),
    ("queue-backlog", false, queue_backlog),
];

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

/// One SQS client on one connection, unsigned.
struct Sqs(TcpStream);

impl Sqs {
    fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// The body of the answer, which must be a good one.
    fn ask(&mut self, action: &str, body: &str) -> String {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-target: AmazonSQS.{action}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                assert!(head.starts_with("HTTP/1.1 200"), "{action}: {text}");
                let length = head.split("content-length: ").nth(1).unwrap();
                let length = length.split('\r').next().unwrap();
                if body.len() == length.parse::<usize>().unwrap() {
                    return body.to_owned();
                }
            }
            let count = self.0.read(&mut piece).unwrap();
            assert!(count > 0, "{action}: the broker left");
            answer.extend_from_slice(&piece[..count]);
        }
    }

    fn make_queue(&mut self, name: &str) {
        self.ask("CreateQueue", &format!(r#"{{"QueueName":"{name}"}}"#));
    }

    /// Whether there was a message.
    fn receive(&mut self, queue: &str) -> bool {
        let url = format!("http://localhost/000000000000/{queue}");
        let answer = self.ask("ReceiveMessage", &format!(r#"{{"QueueUrl":"{url}"}}"#));
        answer.contains("ReceiptHandle")
    }
}

fn sqs(broker: &Broker) -> SocketAddr {
    broker.address("sqs").unwrap()
}

fn make_queues(at: SocketAddr, count: usize) {
    std::thread::scope(|scope| {
        for maker in 0..QUEUE_MAKERS {
            scope.spawn(move || {
                let mut client = Sqs::connect(at);
                for number in (maker..count).step_by(QUEUE_MAKERS) {
                    client.make_queue(&format!("orders-of-customer-{number:06}"));
                }
            });
        }
    });
}

fn empty_queues() {
    let mut broker = Broker::start();
    settle();
    let before = broker.resident_bytes();
    let ((), seconds) = timed(|| make_queues(sqs(&broker), QUEUES));
    settle();
    let each =
        |broker: &Broker| (broker.resident_bytes() - before) as f64 / KIB as f64 / QUEUES as f64;
    println!(
        "{QUEUES} empty queues: made in {seconds:.0} s, {:.2} KiB each",
        each(&broker)
    );
    let cpu = broker.cpu_seconds();
    std::thread::park_timeout(Duration::from_secs(20));
    println!(
        "{QUEUES} empty queues: idle CPU {:.1} %",
        (broker.cpu_seconds() - cpu) * 5.0
    );
    broker.kill();
    let (mut broker, seconds) = restarted(broker);
    settle();
    println!(
        "start, {QUEUES} queues, killed: {seconds:.3} s, {:.2} KiB each",
        each(&broker)
    );
    assert!(broker.terminate().success());
    let (broker, seconds) = restarted(broker);
    settle();
    println!(
        "start, {QUEUES} queues, stopped: {seconds:.3} s, {:.2} KiB each",
        each(&broker)
    );
}

fn queue_backlog() {
    let mut broker = Broker::start();
    Sqs::connect(sqs(&broker)).make_queue("orders");
    // The queue and the topic of its name are one thing.
    let ((), seconds) = timed(|| block_on(fill(kafka(&broker), "orders", BACKLOG)));
    println!(
        "{} GiB of 1 KiB messages in a queue: {:.0} MiB/s, RSS {} MiB at the end",
        BACKLOG / GIB,
        BACKLOG as f64 / MIB as f64 / seconds,
        broker.resident_bytes() / MIB
    );
    settle();
    println!("at rest: RSS {} MiB", broker.resident_bytes() / MIB);
    let mut client = Sqs::connect(sqs(&broker));
    for _ in 0..10_000 {
        assert!(client.receive("orders"), "the queue is full of messages");
    }
    println!(
        "10,000 of them in flight: RSS {} MiB",
        broker.resident_bytes() / MIB
    );
    broker.kill();
    for how in ["killed", "stopped"] {
        let (again, seconds) = restarted(broker);
        let (found, first) = timed(|| Sqs::connect(sqs(&again)).receive("orders"));
        assert!(found, "the queue is full of messages");
        settle();
        println!(
            "start, {how}: {seconds:.3} s, first message {first:.3} s later, RSS {} MiB",
            again.resident_bytes() / MIB
        );
        broker = again;
        assert!(broker.terminate().success());
    }
}

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let unknown = |name: &&String| !PARTS.iter().any(|(part, _, _)| part == name);
    if let Some(name) = named.iter().find(unknown) {
        let parts: Vec<&str> = PARTS.iter().map(|(part, _, _)| *part).collect();
        panic!("there is no part {name}; there are: {}", parts.join(", "));
    }
    for (part, by_default, measure) in PARTS {
        let is_named = named.iter().any(|name| name == part);
        if is_named || (named.is_empty() && *by_default) {
            measure();
        }
    }
}
