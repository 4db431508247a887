//! Owners that end or hang, connections that panic, and the names and documents that used to make them.

use std::io::{Read, Write};
use std::net::TcpStream;

use clients::kafka::{Client, answer, create_topic};
use kafka::wire::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use kafka::wire::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka::wire::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, OffsetCommitRequest,
    OffsetCommitResponse,
};

use crate::broker::{Broker, PATIENCE, command};

/// The protocol's code for a group id that cannot be.
const INVALID_GROUP_ID: i16 = 24;
/// The protocol's number for topics among what has settings.
const TOPIC: i8 = 2;
/// The protocol's number for making a list longer.
const APPEND: i8 = 2;
/// The protocol's code for a setting that makes no sense.
const INVALID_CONFIG: i16 = 40;

/// `POST path` with a JSON body: the status, or `None` when the connection ends without an answer.
fn post(broker: &Broker, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(broker.http()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A process that ends may do so while it is written to.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1)?.parse().ok()
}

/// `forebay queue …` succeeds.
#[track_caller]
fn queue(broker: &Broker, args: &[&str]) -> String {
    let http = broker.http().to_string();
    let mut command = command();
    command.arg("queue").args(args).args(["--http", &http]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Commits an offset for a group; the error code of the answer.
async fn commit(client: &mut Client, group: &str) -> i16 {
    let asked = OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "orders".into(),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let body = client.call(8, &asked).await.unwrap();
    let answered: OffsetCommitResponse<'_> = answer(&body, 8);
    answered.topics[0].partitions[0].error_code
}

/// Makes a list in a topic's settings longer; the error code of the answer.
async fn append(client: &mut Client, topic: &str, item: &str) -> i16 {
    let asked = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.into(),
            configs: vec![AlterableConfig {
                name: "leader.replication.throttled.replicas".into(),
                config_operation: APPEND,
                value: Some(item.into()),
            }],
        }],
        ..IncrementalAlterConfigsRequest::default()
    };
    let body = client.call(1, &asked).await.unwrap();
    let answered: IncrementalAlterConfigsResponse<'_> = answer(&body, 1);
    answered.responses[0].error_code
}

#[tokio::test]
async fn names_and_documents_that_cannot_be_kept_are_refused_and_all_goes_on() {
    let mut broker = Broker::start();
    let kafka = broker.address("kafka").unwrap();
    let mut client = Client::connect(kafka).await.unwrap();
    assert_eq!(create_topic(&mut client, "orders").await, 0);
    for name in ["a\0b", "a\nb", "\u{7f}", &"x".repeat(513)] {
        assert_eq!(
            commit(&mut client, name).await,
            INVALID_GROUP_ID,
            "{name:?}"
        );
    }
    assert_eq!(commit(&mut client, "a b/c:d").await, 0);
    // A document holds a mebibyte; what would be beyond it is refused, and what is there stays.
    let mut codes = Vec::new();
    for number in 0..40 {
        // Nine bytes each, and the comma.
        let items = (0..3200).map(|i| format!("{}:12", 100_000 + number * 3200 + i));
        let items: Vec<String> = items.collect();
        codes.push(append(&mut client, "orders", &items.join(",")).await);
    }
    let taken = codes.iter().take_while(|code| **code == 0).count();
    assert_eq!(taken, 32, "{codes:?}");
    assert!(
        codes[taken..].iter().all(|code| *code == INVALID_CONFIG),
        "{codes:?}"
    );

    let name = "x".repeat(1 << 20);
    let mut answers = Vec::new();
    for (path, body) in [
        (
            "/api/v1/policies",
            format!(r#"{{"name":"p","pattern":"","rules":{{"alternate_exchange":"{name}"}}}}"#),
        ),
        (
            "/api/v1/policies",
            format!(
                r#"{{"name":"p","pattern":"","rules":{{"dead_letter_exchange":{{"exchange":"d","key":"{name}"}}}}}}"#
            ),
        ),
        (
            "/api/v1/policies",
            r#"{"name":"a\u0000b","pattern":"","rules":{"messages_max":1}}"#.to_owned(),
        ),
        (
            "/api/v1/policies",
            r#"{"name":"p","pattern":"","rules":{"dead_letter_exchange":{"exchange":"a\u0000b"}}}"#
                .to_owned(),
        ),
        ("/api/v1/queues", r#"{"name":"a\u0000b"}"#.to_owned()),
    ] {
        answers.push(post(&broker, path, &body));
    }
    assert_eq!(answers, [Some(422); 5]);
    queue(&broker, &["create", "afterwards"]);
    assert_eq!(broker.get("/readyz").0, 200);
    let status = broker.terminate();
    assert!(status.success(), "{}", broker.log());
    assert!(!broker.log().contains("panic"), "{}", broker.log());
}

#[cfg(feature = "failpoints")]
mod planted {
    use std::fs;
    use std::process::Stdio;

    use crate::broker::{Broker, Options, command, eventually};

    use super::{post, queue};

    fn start(bug: &str) -> Broker {
        let broker = Options::new().arg("--planted-bug").arg(bug).start();
        queue(&broker, &["create", "orders"]);
        queue(&broker, &["send", "orders", "acknowledged"]);
        broker
    }

    /// Asks for something in a process of its own, which may never be answered.
    fn ask(broker: &Broker, args: &[&str]) {
        let http = broker.http().to_string();
        let mut command = command();
        command.arg("queue").args(args).args(["--http", &http]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::spawn(move || child.wait());
    }

    fn crash_files(broker: &Broker) -> Vec<String> {
        let files = fs::read_dir(broker.data()).unwrap();
        files
            .map(|file| file.unwrap())
            .filter(|file| file.file_name().to_string_lossy().starts_with("crash-"))
            .map(|file| fs::read_to_string(file.path()).unwrap())
            .collect()
    }

    /// An owner panics: the process ends, says why, leaves no clean mark, and what was acknowledged is there again.
    #[track_caller]
    fn ends(bug: &str, args: &[&str], reason: &str) {
        let mut broker = start(bug);
        ask(&broker, args);
        let status = broker.wait();
        assert_eq!(status.code(), Some(1), "{}", broker.log());
        assert!(
            broker.log().contains(&format!("forebay: {reason}")),
            "{}",
            broker.log()
        );
        assert!(!broker.data().join("store/clean").exists());
        let files = crash_files(&broker);
        let [file] = &files[..] else {
            panic!("{files:?}; {}", broker.log())
        };
        assert!(file.contains(&format!("reason: {reason}")), "{file}");
        assert!(file.contains("\npanic: planted: "), "{file}");
        assert!(
            file.contains("\nlocation: crates/forebay/src/failpoints/owners.rs:"),
            "{file}"
        );
        assert!(file.contains("\nbacktrace:\n"), "{file}");

        let mut broker = broker.restart();
        assert!(queue(&broker, &["peek", "orders"]).contains("acknowledged"));
        queue(&broker, &["create", "afterwards"]);
        assert!(broker.terminate().success(), "{}", broker.log());
        assert!(broker.data().join("store/clean").exists());
    }

    #[test]
    fn a_controller_that_panics_ends_the_process() {
        ends(
            "controller-panics",
            &["create", "planted-bug"],
            "controller stopped: it panicked: planted: the controller panics",
        );
    }

    #[test]
    fn a_panic_with_a_partition_locked_ends_the_process() {
        let mut broker = start("owner-panics");
        ask(&broker, &["send", "orders", "planted-bug"]);
        assert_eq!(broker.wait().code(), Some(1), "{}", broker.log());
        let files = crash_files(&broker);
        assert!(
            files[0].contains("reason: partition 0 of topic "),
            "{files:?}"
        );
        assert!(
            files[0].contains(" stopped: a task panicked while it held it"),
            "{files:?}"
        );
        let broker = broker.restart();
        assert!(queue(&broker, &["peek", "orders"]).contains("acknowledged"));
    }

    #[test]
    fn a_journal_that_panics_ends_the_process() {
        ends(
            "journal-panics",
            &["send", "orders", "planted-bug"],
            "journal stopped: it panicked: planted: the journal panics",
        );
    }

    /// An owner hangs: that is noticed, and a signal still ends the process, without a clean mark.
    #[track_caller]
    fn is_noticed(bug: &str, args: &[&str], owner: &str) -> Broker {
        let broker = start(bug);
        assert_eq!(broker.get("/readyz").0, 200);
        ask(&broker, args);
        let mut last = (0, String::new());
        let noticed = eventually(|| {
            last = broker.get("/readyz");
            last.0 == 503
        });
        assert!(noticed, "{}", broker.log());
        assert!(last.1.contains(&format!("stalled: {owner}")), "{}", last.1);
        assert!(last.1.contains(" has not answered for "), "{}", last.1);
        broker.await_log("an owner does not answer");
        broker
    }

    #[test]
    fn a_task_that_hangs_with_a_partition_locked_is_noticed() {
        let mut broker = is_noticed(
            "owner-hangs",
            &["send", "orders", "planted-bug"],
            "engine thread ",
        );
        assert_eq!(broker.get("/livez"), (503, "failed".to_owned()));
        assert_eq!(broker.terminate().code(), Some(1), "{}", broker.log());
        assert!(!broker.data().join("store/clean").exists());
        let broker = broker.restart();
        assert!(queue(&broker, &["peek", "orders"]).contains("acknowledged"));
    }

    #[test]
    fn a_controller_that_hangs_is_noticed() {
        // What waits for the disk is given longer before only a restart helps.
        let broker = is_noticed("controller-hangs", &["create", "planted-bug"], "controller");
        assert_eq!(broker.get("/livez").0, 200);
    }

    #[test]
    fn a_connection_that_panics_ends_alone() {
        let mut broker = start("connection-panics");
        assert_eq!(
            post(&broker, "/api/v1/queues", r#"{"name":"planted-bug"}"#),
            None
        );
        broker.await_metric(r#"forebay_connection_panics_total{listener="http"} 1"#);
        broker.await_log("connection closed after a panic");
        broker.await_log("planted: a connection panics");
        assert!(queue(&broker, &["peek", "orders"]).contains("acknowledged"));
        assert_eq!(broker.get("/readyz").0, 200);
        assert!(broker.terminate().success(), "{}", broker.log());
    }
}
