//! `forebay policy …` against a broker that runs.

use std::process::Output;

use serde_json::Value;

use crate::broker::{Broker, Options, command};

fn run(broker: &Broker, args: &[&str]) -> Output {
    let http = broker.http().to_string();
    let mut command = command();
    command.args(args).args(["--http", &http]);
    command.output().unwrap()
}

#[track_caller]
fn text(broker: &Broker, args: &[&str]) -> String {
    let output = run(broker, args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn policies_are_set_listed_and_deleted() {
    let broker = Options::new().start();
    text(&broker, &["queue", "create", "orders"]);
    let rules = r#"{"messages_max": 2, "overflow": "refuse"}"#;
    let set = [
        "policy",
        "set",
        "short",
        "^orders",
        rules,
        "--priority",
        "-3",
    ];
    text(&broker, &set);
    let cap = r#"{"messages_max": 1}"#;
    text(&broker, &["policy", "set", "cap", "", cap, "--operator"]);
    let listed = text(&broker, &["policy", "list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let seen: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| {
            (
                policy["name"].as_str().unwrap(),
                policy["kind"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen, [("short", "user"), ("cap", "operator")]);
    assert_eq!(listed[0]["priority"], -3);
    assert_eq!(listed[0]["rules"]["overflow"], "refuse");
    let table = text(&broker, &["policy", "list"]);
    assert!(table.contains(r#"{"messages_max":1}"#), "{table}");
    text(&broker, &["queue", "send", "orders", "a"]);
    let refused = run(&broker, &["queue", "send", "orders", "b"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    text(&broker, &["policy", "delete", "cap", "--operator"]);
    text(&broker, &["queue", "send", "orders", "b"]);
    let refused = run(&broker, &["queue", "send", "orders", "c"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let broker = Options::new().start();
    for (args, why) in [
        (&["set", "p", "(", r#"{"messages_max": 2}"#][..], "pattern"),
        (&["set", "p", "x", r#"{"messages": 2}"#], "messages"),
        (&["set", "p", "x", "{}"], "rules must not be empty"),
        (&["set", "p", "x", "{"], "the rules are not JSON"),
        (&["delete", "p"], "no policy"),
        (
            &["list", "--vhost", "nowhere"],
            "there is no vhost 'nowhere'",
        ),
    ] {
        let output = run(&broker, &[&["policy"], args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{args:?}: {said}");
    }
}

#[test]
fn definitions_for_other_brokers_are_taken() {
    let broker = Options::new().start();
    let rules = r#"{"ha-mode": "all", "ha-sync-mode": "automatic"}"#;
    let output = run(&broker, &["policy", "set", "ha", r"^(?!amq\.).*", rules]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "warning: `ha-mode` has no effect\nwarning: `ha-sync-mode` has no effect\n"
    );
    let rules = r#"{"max-length": 1, "overflow": "reject-publish"}"#;
    let set = [
        "policy",
        "set",
        "short",
        r"^(?!amq\.)",
        rules,
        "--priority",
        "1",
    ];
    text(&broker, &set);
    text(&broker, &["queue", "create", "orders"]);
    text(&broker, &["queue", "send", "orders", "a"]);
    let refused = run(&broker, &["queue", "send", "orders", "b"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let listed = text(&broker, &["policy", "list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["rules"]["without_effect"]["ha-mode"], "all");
    assert_eq!(listed[1]["rules"]["messages_max"], 1);
}
