//! `forebay config show` and the refusal of what is unknown or impossible.

use std::fs;
use std::process::Output;

use crate::broker::command;

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    command()
        .args(args)
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

/// The whole table as lines of single-spaced words.
fn shown(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[track_caller]
fn refused(args: &[&str], env: &[(&str, &str)], why: &str) {
    let output = run(args, env);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(why), "{message}");
}

#[test]
fn every_value_tells_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forebay.toml");
    fs::write(&path, "[listeners]\nhttp = \"127.0.0.1:1\"\nkafka = \"127.0.0.1:1\"\n[storage]\nflush_interval = \"2s\"\n").unwrap();
    let file = path.to_str().unwrap();
    let args = [
        "config", "show", "--origin", "--config", file, "--http", "off",
    ];
    let env = [
        ("FOREBAY__LISTENERS__HTTP", "127.0.0.1:2"),
        ("FOREBAY__LISTENERS__KAFKA", "127.0.0.1:2"),
    ];
    let lines = shown(&run(&args, &env));
    for line in [
        "listeners.http off flag --http",
        "listeners.kafka 127.0.0.1:2 env FOREBAY__LISTENERS__KAFKA",
        &format!("storage.flush_interval 2s file {file}"),
        "log.level info default",
    ] {
        assert!(
            lines.iter().any(|shown| shown == line),
            "no {line} in {lines:?}"
        );
    }
}

#[test]
fn plain_and_json_show_the_same() {
    let plain = shown(&run(&["config", "show"], &[]));
    assert!(
        plain.contains(&"kafka.max_request_bytes 100MiB".to_owned()),
        "{plain:?}"
    );
    let yaml = run(&["config", "show", "-o", "yaml"], &[]);
    let yaml = String::from_utf8(yaml.stdout).unwrap();
    assert!(yaml.starts_with("- key: profile\n  value: dev\n"), "{yaml}");
    let json = run(&["config", "show", "-o", "json", "--origin"], &[]);
    let entries: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let first = serde_json::json!({ "key": "profile", "value": "dev", "origin": "default" });
    assert_eq!(entries[0], first);
    assert_eq!(entries.as_array().unwrap().len(), plain.len());
}

#[test]
fn the_unknown_is_refused_with_a_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forebay.toml");
    fs::write(&path, "[storage]\nflush_intervall = \"2s\"\n").unwrap();
    refused(
        &["serve", "--config", path.to_str().unwrap()],
        &[],
        "did you mean `storage.flush_interval`?",
    );
    refused(
        &["config", "show"],
        &[("FOREBAY__LOG__LEVLE", "info")],
        "did you mean `FOREBAY__LOG__LEVEL`?",
    );
}

#[test]
fn what_this_build_lacks_is_said_before_anything_starts() {
    refused(
        &["serve"],
        &[("FOREBAY__AMQP__FRAME_MAX", "4095")],
        "amqp.frame_max must be between 4KiB",
    );
    refused(
        &["serve"],
        &[("FOREBAY__AMQP__HEARTBEAT", "1500ms")],
        "amqp.heartbeat must be whole seconds",
    );
    refused(
        &["serve"],
        &[("FOREBAY__STORAGE__JOURNAL_FILE_BYTES", "1001")],
        "; storage.journal_file_bytes = \"1001\" (env FOREBAY__STORAGE__JOURNAL_FILE_BYTES)\n",
    );
    let dir = tempfile::tempdir().unwrap();
    refused(
        &["--data", dir.path().to_str().unwrap()],
        &[("FOREBAY__MEMORY__BUDGET_BYTES", "1MiB")],
        "memory.budget_bytes is 1MiB: at least 32MiB are needed; memory.budget_bytes = \"1MiB\" (env \
         FOREBAY__MEMORY__BUDGET_BYTES)\n",
    );
    refused(
        &["--kafka", "broker.example:9092"],
        &[],
        "(flag --kafka): expected `address:port`, and `broker.example` is a name, which is not looked up",
    );
    refused(
        &["serve"],
        &[("FOREBAY_KAFKA_NODE_ID", "3")],
        "unknown environment variable `FOREBAY_KAFKA_NODE_ID`, did you mean `FOREBAY__KAFKA__NODE_ID`?",
    );
    refused(
        &["--profile", "production"],
        &[],
        "requires authentication, TLS and an encryption key source",
    );
    refused(
        &["--http", "0.0.0.0:8080"],
        &[],
        "listeners.http = \"0.0.0.0:8080\" (flag --http) can be reached by other machines",
    );
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure_to_tell_of() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command();
    let output = command.args(["config", "show"]).stdout(writer).output();
    let output = output.unwrap();
    assert_eq!(
        (output.status.code(), &*output.stderr),
        (Some(141), &b""[..])
    );
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = crate::broker::command();
    let full = command.args(["config", "show"]).stdout(full).output();
    let full = full.unwrap();
    assert_eq!(full.status.code(), Some(1));
    let told = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!(
        told.starts_with("forebay: cannot write to stdout: "),
        "{told}"
    );
}
