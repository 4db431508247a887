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
        &["--profile", "production"],
        &[],
        "requires authentication, TLS and an encryption key source",
    );
    refused(
        &["--http", "0.0.0.0:8080"],
        &[],
        "listeners.http = \"0.0.0.0:8080\" can be reached by other machines",
    );
}
