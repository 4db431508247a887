//! `forebay vhost …` against a broker that runs, and vhosts from the settings.

use std::process::Output;

use serde_json::{Value, json};

use crate::broker::{Broker, Options, command};

fn run(broker: &Broker, args: &[&str]) -> Output {
    let http = broker.http().to_string();
    let mut command = command();
    command.arg("vhost").args(args).args(["--http", &http]);
    command.output().unwrap()
}

#[track_caller]
fn text(broker: &Broker, args: &[&str]) -> String {
    let output = run(broker, args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn listed(broker: &Broker) -> Vec<String> {
    let listed: Value = serde_json::from_str(&text(broker, &["list", "-o", "json"])).unwrap();
    let all = listed.as_array().unwrap().iter();
    all.map(|vhost| vhost["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn vhosts_are_created_listed_and_deleted() {
    let mut broker = Broker::start();
    assert_eq!(listed(&broker), ["/"]);
    let made = text(&broker, &["create", "a/b", "-o", "json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert!(made["created_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let shown = json!({
        "name": "a/b", "default": false, "traced": false, "created_ms": made["created_ms"],
        "queues": 0, "exchanges": 7, "bindings": 0,
    });
    assert_eq!(made, shown);
    // Another time it is there already.
    text(&broker, &["create", "a/b"]);
    broker = broker.restart();
    assert_eq!(listed(&broker), ["/", "a/b"]);
    assert_eq!(text(&broker, &["delete", "a/b"]), "deleted a/b\n");
    for (args, why) in [
        (&["delete", "a/b"][..], "there is no vhost 'a/b'"),
        (&["delete", "/"], "the default vhost cannot be removed"),
        (&["create", ""], "the name '' is empty"),
        (&["create", "a\nb"], "has control characters"),
    ] {
        let output = run(&broker, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{args:?}: {said}");
    }
    assert_eq!(listed(&broker), ["/"]);
}

#[test]
fn the_settings_name_vhosts_to_create() {
    let options = Options::new().env("FOREBAY__AMQP__VHOSTS", "shop, stage");
    let mut broker = options.start();
    assert_eq!(listed(&broker), ["/", "shop", "stage"]);
    broker = broker.restart();
    assert_eq!(listed(&broker), ["/", "shop", "stage"]);
}
