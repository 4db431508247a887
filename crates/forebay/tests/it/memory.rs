//! Peers that begin and do not finish, and ask and do not read: what they hold is bounded for the process, and a
//! neighbour is served.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use amqp::wire::{Arguments, Content, Properties, Writer, basic, channel, connection, queue, tx};
use bytes::Bytes;
use clients::kafka::{Client, create_topic, request};
use kafka::wire::fetch::{FetchPartition, FetchTopic};
use kafka::wire::join_group::JoinGroupRequestProtocol;
use kafka::wire::{FetchRequest, JoinGroupRequest};

use crate::broker::{Broker, Options, PATIENCE};
use crate::records::produce;

pub(crate) const MIB: u64 = 1 << 20;

/// A peer that sends for as long as it is listened to.
fn push(at: SocketAddr, head: &[u8], piece: &[u8], pieces: usize) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let mut send = |bytes: &[u8]| match stream.write_all(bytes) {
        Ok(()) => true,
        // It is not listened to any more, or was given up.
        Err(error) => {
            let kinds = [
                ErrorKind::WouldBlock,
                ErrorKind::TimedOut,
                ErrorKind::ConnectionReset,
                ErrorKind::BrokenPipe,
            ];
            assert!(kinds.contains(&error.kind()), "{error}");
            false
        }
    };
    if send(head) {
        let _ = (0..pieces).all(|_| send(piece));
    }
    stream
}

fn method<'a>(number: u16, arguments: &impl Arguments<'a>) -> Vec<u8> {
    let mut writer = Writer::new(128 << 10);
    writer.method(number, arguments).unwrap();
    writer.take_bytes().to_vec()
}

/// Everything an AMQP client says until the body of a message of 15 MiB begins.
fn amqp_head() -> Vec<u8> {
    let mut content = amqp_message(15 << 20);
    content.truncate(15 << 20);
    [amqp_login(), content].concat()
}

/// Logs in and opens a channel.
fn amqp_login() -> Vec<u8> {
    let start = connection::StartOk {
        mechanism: b"PLAIN",
        response: b"\0guest\0guest",
        locale: b"en_US",
        ..connection::StartOk::default()
    };
    let tune = connection::TuneOk {
        channel_max: 10,
        frame_max: 128 << 10,
        heartbeat: 0,
    };
    [
        b"AMQP\0\0\x09\x01".to_vec(),
        method(0, &start),
        method(0, &tune),
        method(0, &connection::Open { virtual_host: b"/" }),
        method(1, &channel::Open {}),
    ]
    .concat()
}

/// A message of so many bytes to the queue `work`.
fn amqp_message(bytes: usize) -> Vec<u8> {
    let body = Bytes::from(vec![b'x'; bytes]);
    let publish = basic::Publish {
        routing_key: b"work",
        ..basic::Publish::default()
    };
    let mut content = Writer::new(128 << 10);
    let whole = Content {
        properties: Properties::NONE,
        body: std::slice::from_ref(&body),
    };
    content.content(1, &publish, whole).unwrap();
    content.take_bytes().to_vec()
}

pub(crate) fn http_head(path: &str, target: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{target}content-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

fn sqs_request(action: &str, body: &str) -> Vec<u8> {
    let target = format!("x-amz-target: AmazonSQS.{action}\r\n");
    let mut request = http_head("/", &target, body.len());
    request.extend_from_slice(body.as_bytes());
    request
}

/// Asks and reads the answer: its status and its body.
pub(crate) fn ask(at: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 8 << 10];
    loop {
        let read = stream.read(&mut piece).expect("an answer in time");
        assert!(read > 0, "the connection ended");
        answer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        if length.is_some_and(|length| body.len() >= length) {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return (status, body.to_owned());
        }
    }
}

/// A queue with a few large messages that anybody may receive again and again.
fn fill(broker: &Broker) {
    let sqs = broker.address("sqs").unwrap();
    for name in ["large", "small"] {
        let create = format!(r#"{{"QueueName":"{name}"}}"#);
        assert_eq!(ask(sqs, &sqs_request("CreateQueue", &create)).0, 200);
    }
    let text = "y".repeat(250_000);
    for _ in 0..40 {
        let send = format!(
            r#"{{"QueueUrl":"http://localhost/000000000000/large","MessageBody":"{text}"}}"#
        );
        assert_eq!(ask(sqs, &sqs_request("SendMessage", &send)).0, 200);
    }
}

fn fetch() -> Bytes {
    let partition = FetchPartition {
        partition: 0,
        partition_max_bytes: 50 << 20,
        current_leader_epoch: -1,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: "large".into(),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    let fetch = FetchRequest {
        max_bytes: 50 << 20,
        min_bytes: 1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    request(11, 0, &fetch)
}

/// Everything at once, from all sides.
fn besiege(broker: &Broker) -> Vec<TcpStream> {
    let at = |name: &str| broker.address(name).unwrap();
    let piece = vec![b'z'; 256 << 10];
    let mut peers = Vec::new();
    let body = amqp_head();
    for _ in 0..150 {
        peers.push(push(at("amqp"), &body, b"", 0));
    }
    let half = http_head("/", "x-amz-target: AmazonSQS.SendMessage\r\n", 4 << 20);
    for _ in 0..200 {
        peers.push(push(at("sqs"), &half, &piece, 15));
    }
    let receive = sqs_request(
        "ReceiveMessage",
        r#"{"QueueUrl":"http://localhost/000000000000/large","MaxNumberOfMessages":10,"VisibilityTimeout":0}"#,
    );
    for _ in 0..300 {
        peers.push(push(at("sqs"), &receive, &receive, 20));
    }
    let fetch = fetch();
    for _ in 0..100 {
        peers.push(push(at("kafka"), &fetch, &fetch, 20));
    }
    for length in [15_i32 << 20, 100 << 20] {
        for _ in 0..50 {
            peers.push(push(at("kafka"), &length.to_be_bytes(), &piece, 50));
        }
    }
    let half = http_head("/api/v1/queues/small/messages", "", 4 << 20);
    for _ in 0..50 {
        peers.push(push(at("http"), &half, &piece, 15));
    }
    peers
}

/// Sends, receives and deletes.
fn is_served(broker: &Broker, round: usize) {
    let sqs = broker.address("sqs").unwrap();
    let url = "http://localhost/000000000000/small";
    let send = format!(r#"{{"QueueUrl":"{url}","MessageBody":"number {round}"}}"#);
    assert_eq!(ask(sqs, &sqs_request("SendMessage", &send)).0, 200);
    let receive = format!(r#"{{"QueueUrl":"{url}","WaitTimeSeconds":5}}"#);
    let (status, body) = ask(sqs, &sqs_request("ReceiveMessage", &receive));
    assert_eq!(status, 200, "{body}");
    let receipt = body.split(r#""ReceiptHandle":""#).nth(1);
    let receipt = receipt.and_then(|rest| rest.split('"').next());
    let receipt = receipt.unwrap_or_else(|| panic!("round {round}: {body}"));
    let delete = format!(r#"{{"QueueUrl":"{url}","ReceiptHandle":"{receipt}"}}"#);
    assert_eq!(ask(sqs, &sqs_request("DeleteMessage", &delete)).0, 200);
}

#[test]
fn what_peers_hold_is_bounded_and_a_neighbour_is_served() {
    let options = Options::new().env("FOREBAY__MEMORY__BUDGET_BYTES", "64MiB");
    let mut broker = options.start();
    fill(&broker);
    is_served(&broker, 0);
    let peers = besiege(&broker);
    for round in 1..=50 {
        is_served(&broker, round);
    }
    let peak = broker.peak_bytes();
    assert!(peak < 160 * MIB, "{} MiB at the most", peak / MIB);
    drop(peers);
    broker.await_metric("forebay_memory_waiting 0");
    is_served(&broker, 51);
    assert!(broker.terminate().success(), "{}", broker.log());
}

/// A client with an open transaction that it never ends, and so many messages of a mebibyte in it.
fn transaction(at: SocketAddr, messages: usize) -> TcpStream {
    let declare = queue::Declare {
        queue: b"work",
        ..queue::Declare::default()
    };
    let head = [amqp_login(), method(1, &declare), method(1, &tx::Select {})];
    push(at, &head.concat(), &amqp_message(1 << 20), messages)
}

/// A group's member with a large description of itself, which waits until the others have come back.
fn member(at: SocketAddr, number: usize) -> TcpStream {
    let join = JoinGroupRequest {
        group_id: "group".into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 300_000,
        group_instance_id: Some(format!("m{number}").into()),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "p".into(),
            metadata: vec![b'm'; 900_000].into(),
        }],
        ..JoinGroupRequest::default()
    };
    push(at, &request(5, 1, &join), b"", 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_holders_stop_nobody_else() {
    let options = Options::new().env("FOREBAY__MEMORY__BUDGET_BYTES", "64MiB");
    let broker = options.start();
    let (amqp, kafka) = (
        broker.address("amqp").unwrap(),
        broker.address("kafka").unwrap(),
    );
    let mut client = Client::connect(kafka).await.unwrap();
    assert_eq!(create_topic(&mut client, "topic").await, 0);
    let batch = testkit::forge::sound(0, 1_700_000_000_000, &[(None, b"v")]);
    let produced = produce(&mut client, "topic", batch).await;
    assert_eq!(produced.error_code, 0);
    let mut open: Vec<TcpStream> = (0..20).map(|_| transaction(amqp, 7)).collect();
    let members: Vec<TcpStream> = (0..40).map(|number| member(kafka, number)).collect();
    let (_, metrics) = broker.get("/metrics");
    assert!(!metrics.contains("forebay_memory_waiting 0"), "{metrics}");
    for _ in 0..20 {
        let mut client = Client::connect(kafka).await.unwrap();
        let fetched = tokio::time::timeout(PATIENCE, client.fetch("topic", 0, 0));
        let fetched = fetched.await.expect("an answer in time").unwrap();
        assert!(!fetched.is_empty());
    }
    // Who holds more than its share, and ends nothing, is told to go.
    broker.await_log("it held memory without progress while others waited");
    let told = open.iter_mut().any(|stream| {
        let mut said = Vec::new();
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let _ = stream.read_to_end(&mut said);
        let text = b"RESOURCE_ERROR - memory is held";
        said.windows(text.len()).any(|part| part == text)
    });
    assert!(told, "{}", broker.log());
    drop((open, members));
    broker.await_metric("forebay_memory_waiting 0");
}

#[test]
fn a_transaction_that_is_too_large_is_refused() {
    let options = Options::new().env("FOREBAY__MEMORY__BUDGET_BYTES", "64MiB");
    let broker = options.start();
    let mut stream = transaction(broker.address("amqp").unwrap(), 10);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = b"RESOURCE_ERROR - a transaction of more than 6291456 bytes is too large";
    let (mut said, mut piece) = (Vec::new(), [0; 1024]);
    while !said.windows(text.len()).any(|part| part == text) {
        let read = stream.read(&mut piece).expect("a refusal in time");
        assert!(read > 0, "the connection ended");
        said.extend_from_slice(&piece[..read]);
    }
}

/// A control group of so many bytes, if this process may make one; removed when dropped.
pub(crate) struct Group(PathBuf);

impl Group {
    pub(crate) fn of(name: &str, bytes: u64) -> Result<Self, String> {
        let name = format!("forebay-test-{name}-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let (parent, limit) = if root.join("cgroup.controllers").exists() {
            (root.to_owned(), "memory.max")
        } else {
            (root.join("memory"), "memory.limit_in_bytes")
        };
        let group = Self(parent.join(name));
        fs::create_dir(&group.0).map_err(|error| format!("{}: {error}", group.0.display()))?;
        let limited = fs::write(group.0.join(limit), bytes.to_string());
        limited.map_err(|error| format!("{limit}: {error}"))?;
        Ok(group)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_control_group_of_256_mib_is_enough() {
    let group = match Group::of("siege", 256 * MIB) {
        Ok(group) => group,
        Err(why) => {
            println!("skipped: this process cannot make a control group: {why}");
            return;
        }
    };
    let mut broker = Options::new().within(group.path()).start();
    broker.await_metric(&format!("forebay_memory_budget_bytes {}", 72 * MIB));
    fill(&broker);
    let peers = besiege(&broker);
    for round in 1..=50 {
        is_served(&broker, round);
    }
    drop(peers);
    assert!(broker.terminate().success(), "{}", broker.log());
}
