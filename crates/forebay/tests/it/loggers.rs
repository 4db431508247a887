//! The log of a running broker: its levels are changed as administrators' tools do it, and nobody has to read it.

use std::fs::File;
use std::io::{Read as _, Write as _, pipe};
use std::net::TcpStream;

use clients::kafka::{Client, answer};
use kafka::wire::describe_configs::DescribeConfigsResource;
use kafka::wire::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use kafka::wire::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::broker::{Broker, Options, command};

const LOGGERS: i8 = 8;

/// Gives a logger a level, or takes it away; the error code of the answer.
async fn set(client: &mut Client, logger: &str, level: Option<&str>) -> i16 {
    let asked = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: LOGGERS,
            resource_name: "1".into(),
            configs: vec![AlterableConfig {
                name: logger.into(),
                config_operation: i8::from(level.is_none()),
                value: level.map(Into::into),
            }],
        }],
        ..IncrementalAlterConfigsRequest::default()
    };
    let body = client.call(1, &asked).await.unwrap();
    let answered: IncrementalAlterConfigsResponse<'_> = answer(&body, 1);
    answered.responses[0].error_code
}

async fn level(client: &mut Client, logger: &str) -> String {
    let asked = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: LOGGERS,
            resource_name: "1".into(),
            configuration_keys: None,
        }],
        ..DescribeConfigsRequest::default()
    };
    let body = client.call(4, &asked).await.unwrap();
    let answered: DescribeConfigsResponse<'_> = answer(&body, 4);
    let mut configs = answered.results[0].configs.iter();
    let found = configs.find(|config| config.name == logger);
    found.unwrap().value.as_deref().unwrap().to_owned()
}

/// Has the broker notice that a peer sends nonsense; what it says of that, where it says so.
fn nonsense(broker: &Broker) -> String {
    let mut stream = TcpStream::connect(broker.address("kafka").unwrap()).unwrap();
    let peer = stream.local_addr().unwrap();
    stream.write_all(&[0xff; 8]).unwrap();
    // It is logged before the connection goes.
    let _ = stream.read_to_end(&mut Vec::new());
    format!("protocol error peer={peer}")
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_of_the_log_change_while_it_runs() {
    let broker = Options::new().env("FOREBAY__LOG__LEVEL", "info").start();
    let at = broker.address("kafka").unwrap();
    let mut client = Client::connect(at).await.unwrap();
    assert_eq!(level(&mut client, "root").await, "INFO");
    assert_eq!(level(&mut client, "kafka").await, "INFO");
    let said = nonsense(&broker);
    broker.await_log(&said);

    assert_eq!(set(&mut client, "kafka", Some("FATAL")).await, 0);
    assert_eq!(level(&mut client, "kafka").await, "FATAL");
    assert_eq!(level(&mut client, "root").await, "INFO");
    let unsaid = nonsense(&broker);
    assert_eq!(set(&mut client, "kafka", None).await, 0);
    assert_eq!(level(&mut client, "kafka").await, "INFO");
    let said = nonsense(&broker);
    broker.await_log(&said);
    assert!(!broker.log().contains(&unsaid), "{}", broker.log());

    assert_eq!(set(&mut client, "root", Some("DEBUG")).await, 0);
    assert_eq!(level(&mut client, "storage").await, "DEBUG");
    assert_eq!(set(&mut client, "root", Some("LOUD")).await, 40);
    assert_eq!(set(&mut client, "root", None).await, 42);
    assert_eq!(set(&mut client, "nobody", Some("INFO")).await, 40);
}

/// Serves and stops in order, though no line of its log can be written any more.
#[track_caller]
fn serves_on(mut broker: Broker) {
    for _ in 0..3 {
        nonsense(&broker);
    }
    let (status, metrics) = broker.get("/metrics");
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("forebay_log_lines_dropped_total "));
    let dropped: u64 = dropped.expect(&metrics).parse().unwrap();
    assert!(status == 200 && dropped >= 3, "{dropped} lines dropped");
    assert_eq!(broker.get("/readyz").0, 200);
    assert_eq!(broker.terminate().code(), Some(0));
    let crashes = broker.data().read_dir().unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("crash-")
    });
    assert_eq!(crashes.count(), 0);
}

#[test]
fn a_log_on_a_full_disk_stops_nobody() {
    for format in ["text", "json"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let options = Options::new().env("FOREBAY__LOG__FORMAT", format);
        serves_on(options.stderr(full).start());
    }
}

#[test]
fn a_log_whose_reader_has_gone_stops_nobody() {
    let (reader, writer) = pipe().unwrap();
    let broker = Options::new().stderr(writer).start();
    drop(reader);
    serves_on(broker);
}

#[test]
fn a_full_stdout_stops_nobody() {
    let (mut log, writer) = pipe().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command()
        .args(["--kafka", "off", "--amqp", "off", "--sqs", "off"])
        .args(["--http", "127.0.0.1:0", "--data"])
        .arg(dir.path())
        .stdout(full)
        .stderr(writer)
        .spawn()
        .unwrap();
    // Storage is there after the signals are listened to, and shortly before it serves.
    let mut logged = Vec::new();
    while !String::from_utf8_lossy(&logged).contains("storage created") {
        let mut some = [0; 1024];
        let read = log.read(&mut some).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&logged));
        logged.extend_from_slice(&some[..read]);
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("stopped"), "{rest}");
}
