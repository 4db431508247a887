//! Plain-text scenarios: a transcript of commands and answers, played against the whole broker in this process, on a
//! clock that only the transcript moves.
//!
//! ```text
//! sqs receive orders visibility=30
//! ----
//! "a" m1 receives=1 h1
//! ```
//!
//! Messages and handles are named in the order in which they are first seen. A command that begins with `eventually` is
//! repeated until it is answered as written, for what happens in the background. `UPDATE=1` rewrites the answers.

mod amqp;
mod kafka;
mod peer;
mod sqs;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stage::Stage;
use testkit::HeldTime;

/// Tries of a command that begins with `eventually`, and what lies between two of them.
const TRIES: u32 = 2000;
const PAUSE: Duration = Duration::from_millis(5);
const BEHIND_COMMAND: &str = "----";
const EVENTUALLY: &str = "eventually ";

/// A command and what it is answered with.
struct Exchange {
    /// Comments before it.
    before: String,
    command: String,
    answer: String,
}

fn parse(text: &str) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    let mut lines = text.lines().peekable();
    let mut before = String::new();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            before.extend([line, "\n"]);
            continue;
        }
        assert_eq!(lines.next(), Some(BEHIND_COMMAND), "behind `{line}`");
        let mut answer = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.is_empty()) {
            answer.push(line);
        }
        exchanges.push(Exchange {
            before: std::mem::take(&mut before),
            command: line.to_owned(),
            answer: answer.join("\n"),
        });
    }
    exchanges
}

fn render(exchanges: &[Exchange]) -> String {
    let all = exchanges.iter().map(|exchange| {
        let Exchange {
            before,
            command,
            answer,
        } = exchange;
        format!("{before}{command}\n{BEHIND_COMMAND}\n{answer}\n")
    });
    all.collect()
}

async fn play(exchange: &mut Exchange, stage: &mut Stage) {
    let Some(command) = exchange.command.strip_prefix(EVENTUALLY) else {
        exchange.answer = stage.run(&exchange.command).await;
        return;
    };
    let expected = std::mem::take(&mut exchange.answer);
    for _ in 0..TRIES {
        exchange.answer = stage.run(command).await;
        if exchange.answer == expected {
            return;
        }
        // Real time: what is waited for is the disk.
        tokio::task::spawn_blocking(|| std::sync::mpsc::channel::<()>().1.recv_timeout(PAUSE))
            .await
            .unwrap()
            .unwrap_err();
    }
    // What follows would only be about what did not come.
    assert!(
        is_update(),
        "`{command}` is never answered with\n{expected}\nbut with\n{}",
        exchange.answer
    );
}

/// Whether answers are to be rewritten.
fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn check(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let mut exchanges = parse(&text);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let held = HeldTime::pause();
        let mut stage = Stage::start().await;
        for exchange in &mut exchanges {
            play(exchange, &mut stage).await;
        }
        drop(held);
    });
    let played = render(&exchanges);
    if is_update() {
        fs::write(path, &played).unwrap();
    }
    assert!(
        played == fs::read_to_string(path).unwrap(),
        "{} went differently; UPDATE=1 rewrites it:\n{played}",
        path.display()
    );
}

#[test]
fn scenarios_go_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are scenarios");
    for path in paths {
        check(&path);
    }
}
