//! What a newcomer sees who has just started a broker: its log, its refusals before anything is created, its start
//! page.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use lapin::{Connection, ConnectionProperties};
use rustix::process::Signal;

use crate::broker::{Broker, Options, command, ended};

/// Runs `forebay serve` on a folder that does not exist; it must refuse, and not make it.
#[track_caller]
fn refused(args: &[&str], why: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let output = serve(args, &data);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(last, format!("forebay: {why}"), "{said}");
    assert!(!data.exists(), "{why}");
}

fn serve(args: &[&str], data: &Path) -> Output {
    let mut command = command();
    command.arg("serve").arg("--data").arg(data).args(args);
    ended(&mut command)
}

#[test]
fn what_cannot_work_is_told_before_anything_is_created() {
    refused(
        &["--kafka", "127.0.0.1:7007", "--sqs", "127.0.0.1:7007"],
        "listeners.kafka = \"127.0.0.1:7007\" (flag --kafka) and listeners.sqs = \"127.0.0.1:7007\" (flag --sqs) are the same address and port",
    );
    refused(
        &[
            "--kafka",
            "0.0.0.0:7007",
            "--http",
            "127.0.0.1:7007",
            "--allow-open",
        ],
        "listeners.kafka = \"0.0.0.0:7007\" (flag --kafka) and listeners.http = \"127.0.0.1:7007\" (flag --http) are the same address and port",
    );
    refused(
        &[
            "--kafka", "off", "--amqp", "off", "--sqs", "off", "--http", "off",
        ],
        "all listeners are off: set at least one of listeners.kafka, listeners.amqp, listeners.sqs, listeners.http; \
         listeners.kafka = \"off\" (flag --kafka); listeners.amqp = \"off\" (flag --amqp); \
         listeners.sqs = \"off\" (flag --sqs); listeners.http = \"off\" (flag --http)",
    );
    refused(
        &["--http", "0.0.0.0:7007"],
        "listeners.http = \"0.0.0.0:7007\" (flag --http) can be reached by other machines, and the dev profile lets everyone in: \
         use a loopback address, or accept that with --allow-open (allow_open = true)",
    );
    refused(
        &["--amqp", "0.0.0.0:7007"],
        "listeners.amqp = \"0.0.0.0:7007\" (flag --amqp) can be reached by other machines, and the dev profile lets everyone in: \
         use a loopback address, or accept that with --allow-open (allow_open = true), or require a login with \
         amqp.credentials_file",
    );
}

#[test]
fn a_missing_credentials_file_is_named_by_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (variable, setting) in [
        ("FOREBAY__AMQP__CREDENTIALS_FILE", "amqp.credentials_file"),
        ("FOREBAY__SQS__CREDENTIALS_FILE", "sqs.credentials_file"),
    ] {
        let mut command = command();
        command.arg("serve").arg("--data").arg(&data);
        let output = ended(command.env(variable, "/no/such/file"));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let why = format!(
            "forebay: {setting} = \"/no/such/file\" (env {variable}): cannot read the file: No such file or directory (os error 2)"
        );
        assert_eq!(said.lines().last(), Some(&*why), "{said}");
        assert!(!data.exists());
    }
}

#[test]
fn a_listener_with_a_login_may_be_reached_by_others_and_so_may_all_when_that_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    fs::write(&users, "[shop]\npassword = secret\n").unwrap();
    let with_login = Options::default()
        .arg("--kafka")
        .arg("off")
        .arg("--sqs")
        .arg("off")
        .arg("--http")
        .arg("off")
        .arg("--amqp")
        .arg("0.0.0.0:0")
        .env("FOREBAY__AMQP__CREDENTIALS_FILE", users.to_str().unwrap())
        .start();
    assert!(with_login.address("amqp").unwrap().ip().is_unspecified());
    let open = Options::default()
        .arg("--allow-open")
        .arg("--kafka")
        .arg("0.0.0.0:0")
        .arg("--amqp")
        .arg("off")
        .arg("--sqs")
        .arg("off")
        .arg("--http")
        .arg("127.0.0.1:0")
        .start();
    assert!(open.address("kafka").unwrap().ip().is_unspecified());
    open.await_log("dev profile: everyone who reaches these listeners may do everything");
    open.await_log("listeners.kafka");
}

#[test]
fn a_credentials_file_that_would_surprise_is_refused_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    let settings = dir.path().join("forebay.toml");
    // From the settings file's folder, whatever folder it is started in.
    fs::write(&settings, "[amqp]\ncredentials_file = \"users\"\n").unwrap();
    for (text, why) in [
        ("", "the file names no user: nobody could get in"),
        (
            "[a]\npassword = \"x\"\nrole = \"admin\"\n",
            "line 3: section [a]: unknown name: role; expected password",
        ),
    ] {
        fs::write(&users, text).unwrap();
        let mut command = command();
        command.arg("--config").arg(&settings).arg("--data");
        let output = ended(command.arg(dir.path().join("data")));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let why = format!(
            "forebay: amqp.credentials_file = \"{}\" (file {}): {why}",
            users.display(),
            settings.display()
        );
        assert_eq!(said.lines().last(), Some(&*why), "{said}");
    }
}

#[test]
fn the_log_says_what_is_started_in_one_line() {
    let broker = Options::new().env("FOREBAY__LOG__FORMAT", "json").start();
    let log = broker.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let start = &lines[0]["fields"];
    assert_eq!(start["message"], "forebay is starting");
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(start["profile"], "dev");
    assert_eq!(start["data_dir"], broker.data().to_str().unwrap());
    assert_eq!(start["settings_file"], "none");
    assert_eq!(start["kafka"], "127.0.0.1:0");
    assert!(start["commit"].is_string(), "{start}");
    // A new folder was not closed uncleanly: there was nothing to close.
    let created = lines
        .iter()
        .any(|line| line["fields"]["message"] == "storage created");
    assert!(created && !log.contains("clean_shutdown"), "{log}");
}

#[test]
fn a_restart_says_how_the_last_run_ended_and_a_stop_names_the_signal() {
    let mut broker = Broker::start();
    broker.signal(Signal::INT);
    assert_eq!(broker.wait().code(), Some(0));
    broker.await_log("signal=\"SIGINT\"");
    let broker = broker.restart();
    broker.await_log("storage recovered clean_shutdown=true replayed_bytes=0");
    // Killed now, and started once more.
    let mut broker = broker.restart();
    broker.await_log("storage recovered clean_shutdown=false");
    broker.signal(Signal::TERM);
    assert_eq!(broker.wait().code(), Some(0));
    broker.await_log("signal=\"SIGTERM\"");
    assert!(!broker.log().contains("RecoveryReport"), "{}", broker.log());
}

#[test]
fn a_variable_that_means_nothing_is_warned_about() {
    let broker = Options::new()
        .env("FOREBAY_LOG_LEVELS", "debug")
        .env("FOREBAY_HTTP", "127.0.0.1:1")
        .env("FOREBAY_SERVICE_HOST", "10.0.0.1")
        .env("FOREBAY_PORT_9092_TCP", "tcp://10.0.0.1:9092")
        .start();
    broker.await_log(
        "the environment variable `FOREBAY_LOG_LEVELS` has no effect, did you mean `FOREBAY__LOG__LEVEL`?",
    );
    let warned = broker.log().matches("has no effect").count();
    assert_eq!(warned, 1, "{}", broker.log());
    let shown = command()
        .args(["config", "show"])
        .env("FOREBAY_DATA_DIRS", "x")
        .output()
        .unwrap();
    assert!(shown.status.success());
    assert_eq!(
        String::from_utf8_lossy(&shown.stderr),
        "forebay: the environment variable `FOREBAY_DATA_DIRS` has no effect, did you mean `FOREBAY__DATA__DIR`?\n"
    );
}

#[test]
fn low_disk_is_a_reason_not_to_be_ready() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("forebay.toml");
    fs::write(&file, "").unwrap();
    let mut broker = Options::new().arg("--config").arg(&file).start();
    assert_eq!(broker.terminate().code(), Some(0));
    // More than any disk has: below its watermark from the start.
    fs::write(&file, "[storage]\nmin_free_bytes = \"8000TiB\"\n").unwrap();
    let broker = broker.restart();
    broker.await_log("low disk: publishes are refused free_bytes=");
    let reason =
        "low disk: less than 8000TiB are free (storage.min_free_bytes): publishes are refused";
    let expected = format!(r#"{{"ready":false,"reasons":["{reason}"]}}"#);
    assert_eq!(broker.get("/readyz"), (503, expected));
    assert_eq!(broker.get("/livez").0, 200);
    // Who declares a queue when it starts can start.
    let http = broker.http().to_string();
    let mut create = command();
    create.args(["queue", "create", "new", "--http", &http]);
    assert_eq!(ended(&mut create).status.code(), Some(0));
    let mut send = command();
    send.args(["queue", "send", "new", "body", "--http", &http]);
    let sent = ended(&mut send);
    assert_eq!(sent.status.code(), Some(1), "{sent:?}");
    assert!(String::from_utf8_lossy(&sent.stderr).contains("the disk is nearly full"));
}

#[test]
fn the_version_names_the_commit() {
    let output = command().arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let commit = text
        .strip_prefix(concat!("forebay ", env!("CARGO_PKG_VERSION"), " (commit "))
        .and_then(|rest| rest.strip_suffix(")\n"))
        .expect(&text);
    let is_commit = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(is_commit || commit == "unknown", "{text}");
}

#[test]
fn the_start_page_lists_the_listeners() {
    let broker = Broker::start();
    let (status, page) = broker.get("/");
    assert_eq!(status, 200);
    for listener in ["kafka", "amqp", "sqs", "http"] {
        let line = format!("{listener:8} {}", broker.address(listener).unwrap());
        assert!(
            page.lines().any(|shown| shown == line),
            "no {line} in {page}"
        );
    }
    let (status, index) = broker.get("/api/v1");
    assert_eq!(status, 200);
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["topics"], "/api/v1/topics");
    assert_eq!(index["vhosts"], "/api/v1/vhosts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_logged_with_peer_user_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    fs::write(&users, "[shop]\npassword = secret\n").unwrap();
    let keys = dir.path().join("keys");
    let text = "[shop]\naws_access_key_id = AK\naws_secret_access_key = SK\n";
    fs::write(&keys, text).unwrap();
    let broker = Options::new()
        .env("FOREBAY__AMQP__CREDENTIALS_FILE", users.to_str().unwrap())
        .env("FOREBAY__SQS__CREDENTIALS_FILE", keys.to_str().unwrap())
        .env("FOREBAY__SQS__SIGNATURES", "verify")
        .start();
    let amqp = broker.address("amqp").unwrap();
    for (user, reason) in [("shop", "wrong password"), ("thief", "unknown user")] {
        let url = format!("amqp://{user}:guess@{amqp}/%2f");
        let properties = ConnectionProperties::default();
        Connection::connect(&url, properties).await.unwrap_err();
        broker.await_log(&format!(
            "user={user} mechanism=PLAIN reason=\"{reason}\"\n"
        ));
    }
    broker.await_log("login refused peer=127.0.0.1:");
    assert!(!broker.log().contains("guess"), "{}", broker.log());

    // A length no frame has.
    let mut stream = TcpStream::connect(broker.address("kafka").unwrap()).unwrap();
    stream.write_all(&[0xff; 8]).unwrap();
    broker.await_log("connection closed: protocol error peer=127.0.0.1:");
    broker.await_log("reason=the frame length is out of bounds");

    // ConsumerGroupHeartbeat, and an API that nobody has.
    for (key, reason) in [
        (
            68_u8,
            "ConsumerGroupHeartbeat (API key 68) version 0 is not supported",
        ),
        (255, "API key 255 is not known"),
    ] {
        let mut stream = TcpStream::connect(broker.address("kafka").unwrap()).unwrap();
        let header = [0, 0, 0, 17, 0, key, 0, 0, 0, 0, 0, 1, 0, 6];
        stream.write_all(&header).unwrap();
        stream.write_all(b"till-7\0").unwrap();
        broker.await_log(&format!("client=\"till-7\" reason={reason}"));
    }

    let mut stream = TcpStream::connect(broker.address("sqs").unwrap()).unwrap();
    let request = "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: AmazonSQS.ListQueues\r\n\
        content-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).unwrap();
    broker.await_log("request refused peer=127.0.0.1:");
    broker.await_log("action=ListQueues reason=MissingAuthenticationToken");
}
