//! Start, health, the data folder's lock, and the end.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::{Broker, Options, command, ended, eventually};

/// A broker with its HTTP listener alone.
fn http_only(http: &str, data: &Path) -> Command {
    let mut command = command();
    command.args(["--kafka", "off", "--amqp", "off", "--sqs", "off"]);
    command.args(["--http", http, "--data"]).arg(data);
    command
}

#[test]
fn a_ready_broker_is_healthy_and_counts() {
    let broker = Broker::start();
    assert_ne!(broker.http().port(), 0);
    assert_eq!(broker.get("/livez"), (200, "ok".to_owned()));
    assert_eq!(
        broker.get("/readyz"),
        (200, r#"{"ready":true,"reasons":[]}"#.to_owned())
    );
    let (status, metrics) = broker.get("/metrics");
    assert_eq!(status, 200);
    for start in [
        "process_cpu_seconds_total ",
        "process_start_time_seconds ",
        "forebay_build_info{version=",
        "forebay_connections_accepted_total{listener=\"http\"} 3",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(start)),
            "no {start} in {metrics}"
        );
    }
    broker.await_metric("forebay_connections_open{listener=\"http\"} 1");
    assert_eq!(broker.get("/nowhere").0, 404);
    assert!(broker.log().contains("dev profile"), "{}", broker.log());
}

#[test]
fn an_idle_broker_is_small() {
    let broker = Broker::start();
    // Generous: debug builds are larger than what users run.
    assert!(
        broker.resident_bytes() < 64 << 20,
        "{} bytes",
        broker.resident_bytes()
    );
    assert!(broker.cpu_seconds() < 5.0, "{} s", broker.cpu_seconds());
}

#[test]
fn serve_is_the_default_command_and_listeners_can_be_off() {
    let broker = Options::default()
        .env("FOREBAY__LISTENERS__KAFKA", "off")
        .env("FOREBAY__LISTENERS__SQS", "off")
        // The only one that stays, but on a free port: the usual one may be in use.
        .env("FOREBAY__LISTENERS__AMQP", "127.0.0.1:0")
        .arg("--http")
        .arg("off")
        .start();
    assert!(broker.address("amqp").is_some());
    assert_eq!(broker.address("http"), None);
    assert_eq!(broker.address("kafka"), None);
    assert_eq!(broker.address("sqs"), None);

    let dir = tempfile::tempdir().unwrap();
    let refused = ended(
        command()
            .args(["--http", "off", "--kafka", "nonsense", "--data"])
            .arg(dir.path()),
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr)
            .contains("listeners.kafka = \"nonsense\" (flag --kafka)")
    );
}

#[test]
fn a_data_folder_has_one_process() {
    let broker = Broker::start();
    let second = ended(&mut http_only("127.0.0.1:0", &broker.data()));
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stdout.is_empty());
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        message.contains("is in use by another forebay, process "),
        "{message}"
    );
    assert_eq!(broker.get("/livez").0, 200);
}

#[test]
fn a_killed_broker_starts_again_on_its_data() {
    let broker = Broker::start();
    let data = broker.data();
    let broker = broker.restart();
    assert_eq!(broker.data(), data);
    assert_eq!(broker.get("/readyz").0, 200);
}

#[test]
fn both_signals_end_it_in_peace() {
    let mut terminated = Broker::start();
    assert_eq!(terminated.terminate().code(), Some(0));
    let mut interrupted = Broker::start();
    interrupted.signal(Signal::INT);
    assert_eq!(interrupted.wait().code(), Some(0));
    assert!(
        interrupted.log().contains("stopped"),
        "{}",
        interrupted.log()
    );
}

#[test]
fn an_open_connection_delays_the_end_and_a_second_signal_does_not_wait() {
    let mut broker = Broker::start();
    // A request that never ends keeps the drain busy.
    let mut stuck = TcpStream::connect(broker.http()).unwrap();
    stuck.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    broker.await_metric("forebay_connections_open{listener=\"http\"} 2");
    broker.signal(Signal::TERM);
    broker.await_log("draining");
    broker.signal(Signal::TERM);
    let status = broker.wait();
    assert_eq!((status.code(), status.signal()), (Some(143), None));
}

#[test]
fn a_stuck_client_cannot_prevent_the_end() {
    let mut broker = Broker::start();
    let mut stuck = TcpStream::connect(broker.http()).unwrap();
    stuck.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    broker.await_metric("forebay_connections_open{listener=\"http\"} 2");
    assert_eq!(broker.terminate().code(), Some(0));
}

#[test]
fn a_taken_port_is_named() {
    let broker = Broker::start();
    let dir = tempfile::tempdir().unwrap();
    let http = broker.http().to_string();
    for told in ["storage created", "storage recovered clean_shutdown=true"] {
        let second = ended(&mut http_only(&http, dir.path()));
        assert_eq!(second.status.code(), Some(1));
        let message = String::from_utf8_lossy(&second.stderr).into_owned();
        let why = format!(
            "forebay: cannot listen on {http} for http, set another one with listeners.http or --http: Address already in \
             use (os error 98); listeners.http = \"{http}\" (flag --http)\n"
        );
        assert!(message.contains(&why), "{message}");
        // What could not start has closed its data in order.
        assert!(message.contains(told), "{message}");
    }
}

#[test]
fn the_last_line_has_the_form_of_the_log() {
    let broker = Broker::start();
    let second =
        ended(http_only("127.0.0.1:0", &broker.data()).env("FOREBAY__LOG__FORMAT", "json"));
    assert_eq!(second.status.code(), Some(1));
    let log = String::from_utf8(second.stderr).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    let reason = last["fields"]["reason"].as_str().unwrap();
    assert!(reason.contains("is in use by another forebay"), "{log}");
}

#[test]
fn a_hangup_is_logged_and_changes_nothing() {
    let mut broker = Broker::start();
    broker.signal(Signal::HUP);
    broker.await_log("signal ignored: settings, credentials and certificates are not read again");
    broker.signal(Signal::HUP);
    assert_eq!(broker.get("/readyz").0, 200);
    assert!(!broker.log().contains("draining"), "{}", broker.log());
    assert_eq!(broker.terminate().code(), Some(0));
}

#[test]
fn a_data_folder_that_goes_away_is_a_reason_not_to_be_ready() {
    let broker = Broker::start();
    let (data, away) = (broker.data(), broker.data().with_extension("away"));
    std::fs::rename(&data, &away).unwrap();
    let unready = format!(
        r#"{{"ready":false,"reasons":["data folder: {} is gone"]}}"#,
        data.join("lock").display()
    );
    let is_told = || broker.get("/readyz") == (503, unready.clone());
    assert!(eventually(is_told), "{:?}", broker.get("/readyz"));
    broker.await_log("the data folder is not where it was");
    std::fs::rename(&away, &data).unwrap();
    assert!(eventually(|| broker.get("/readyz").0 == 200));
    broker.await_log("the data folder is where it was again");
}

#[test]
fn an_empty_folder_on_a_full_disk_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let refused = ended(
        http_only("127.0.0.1:0", dir.path()).env("FOREBAY__STORAGE__MIN_FREE_BYTES", "8000TiB"),
    );
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    for told in [
        format!("forebay: cannot start in {}: ", dir.path().display()),
        " MiB are free on its disk, and storage.min_free_bytes is 8000TiB".to_owned(),
        "; storage.min_free_bytes = \"8000TiB\" (env FOREBAY__STORAGE__MIN_FREE_BYTES)\n"
            .to_owned(),
    ] {
        assert!(message.contains(&told), "no {told} in {message}");
    }
}

#[test]
fn the_log_says_which_listeners_let_everyone_in() {
    let broker = Options::new().start();
    let local = "dev profile: these listeners have no authentication, only this machine reaches them \
                 listeners=\"listeners.kafka listeners.amqp listeners.sqs listeners.http\"";
    assert!(broker.log().contains(local), "{}", broker.log());
}
