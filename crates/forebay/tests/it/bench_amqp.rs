//! `forebay bench amqp`, with a broker it starts itself and with one that runs already.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::broker::{Broker, command};

/// The rows of a short run with these arguments.
#[track_caller]
fn rows(arguments: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let output = command()
        .args(["bench", "amqp", "--output", "json", "--data"])
        .arg(folder.path())
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        folder.path().read_dir().unwrap().count(),
        0,
        "nothing is left"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_quick_run_has_every_case() {
    let rows = rows(&["--quick", "--seconds", "0.3", "--flood-limit", "200"]);
    let cases: Vec<_> = rows
        .iter()
        .map(|row| row["case"].as_str().unwrap())
        .collect();
    let expected = [
        "publish",
        "consume",
        "both",
        "fan-out",
        "one in flight",
        "steady",
        "steady, flood",
    ];
    assert_eq!(cases, expected);
    for row in &rows {
        assert!(row["records"].as_u64().unwrap() > 0, "{row}");
        assert!(row["broker_cost"]["cpu_seconds"].is_number(), "{row}");
    }
    assert_eq!(rows[0]["published"], rows[1]["records"]);
    assert_eq!(rows[6]["flood"]["accepted"], 200);
}

#[test]
fn two_brokers_take_turns() {
    let (ours, theirs) = (Broker::start(), Broker::start());
    let address = |broker: &Broker| broker.address("amqp").unwrap().to_string();
    let rows = rows(&[
        "--target",
        &address(&ours),
        "--compare",
        &address(&theirs),
        "--compare-queue-type",
        "quorum",
        "--cases",
        "both",
        "--queues",
        "2",
        "--body-bytes",
        "16",
        "--ack-every",
        "10",
        "--seconds",
        "0.2",
        "--rounds",
        "2",
    ]);
    let mut rounds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for row in &rows {
        let broker = row["broker"].as_str().unwrap();
        let round = row["round"].as_u64().unwrap();
        rounds.entry(broker).or_default().push(round);
        assert!(row["broker_cost"].is_null(), "nobody said which process");
    }
    assert_eq!(rounds.len(), 2, "{rounds:?}");
    assert!(rounds.values().all(|rounds| rounds == &[1, 2]));
}
