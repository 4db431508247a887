//! The commands in `docs/guides`, run as they stand there, and what they are said to print.
//!
//! A `console` block has commands behind `$ ` and below each what it prints. Runs of spaces count as one, `…` stands for
//! anything in a line, and alone for any number of lines. What a page's other blocks say is run by the conformance
//! suites, which have the clients.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::broker::Broker;

/// A command and what it prints.
#[derive(Debug, Default)]
struct Step {
    command: String,
    printed: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        match (line, is_inside) {
            ("```console", false) => is_inside = true,
            ("```", true) => is_inside = false,
            (line, true) => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    printed: Vec::new(),
                }),
                (None, Some(step)) => step.printed.push(single(line)),
                (None, None) => panic!("what prints {line:?}?"),
            },
            (_, false) => {}
        }
    }
    steps
}

/// A line with single spaces.
fn single(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line is one that a pattern means.
fn is_line(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Whether the lines are those that the patterns mean.
fn are_lines(patterns: &[String], lines: &[String]) -> bool {
    match (patterns.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((pattern, rest)), _) if pattern == "…" => {
            are_lines(rest, lines) || !lines.is_empty() && are_lines(patterns, &lines[1..])
        }
        (Some((pattern, rest)), Some((line, more))) => {
            is_line(pattern, line) && are_lines(rest, more)
        }
        _ => false,
    }
}

/// Runs everything a page has one begin to type against a broker of its own.
#[track_caller]
fn check(name: &str) {
    check_at(&Broker::start(), name);
}

/// Runs everything a page has one begin to type, in one shell.
#[track_caller]
fn check_at(broker: &Broker, name: &str) {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let page = fs::read_to_string(pages.join(name)).unwrap();
    let steps = steps(&page);
    assert!(steps.len() > 5, "{name} has {} commands", steps.len());
    let program = Path::new(env!("CARGO_BIN_EXE_forebay"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    // One shell, because what a command puts into a variable is there for the next one.
    let end = "--- end of a step ---";
    let mut script = String::new();
    for Step { command, .. } in &steps {
        if command.starts_with("forebay queue peek ") {
            // A dead letter is there a moment after its message failed.
            script.extend([
                "for i in 1 2 3 4 5 6 7 8 9; do [ $(",
                command,
                " | wc -l) -gt 1 ] && break; sleep 0.3; done\n",
            ]);
        }
        script.extend(["{ ", command, "\n} 2>&1\necho '", end, "'\n"]);
    }
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .env("PATH", path)
        .env("FOREBAY_HTTP", broker.http().to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let end = format!("{end}\n");
    let mut printed = text.split(end.as_str());
    for step in &steps {
        let lines = printed.next().unwrap_or_default().lines();
        let lines: Vec<String> = lines.map(single).collect();
        assert!(
            are_lines(&step.printed, &lines),
            "{name}: `{}` printed\n{}\nand not\n{}",
            step.command,
            lines.join("\n"),
            step.printed.join("\n")
        );
    }
}

#[test]
fn concepts() {
    check("concepts.md");
}

#[test]
fn kafka() {
    check("kafka-first-ten-minutes.md");
}

#[test]
fn amqp() {
    check("amqp-first-ten-minutes.md");
}

#[test]
fn sqs() {
    check("sqs-first-ten-minutes.md");
}

#[test]
fn moving_from_rabbitmq() {
    check("moving-from-rabbitmq.md");
}

/// The commands of the README's part for the shell, which need no client.
fn root_commands() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let block = blocks
        .into_iter()
        .find(|block| block.contains("forebay queue create"));
    block.expect("commands in the README").to_owned()
}

#[test]
fn pages_can_be_followed_one_after_another() {
    let broker = Broker::start();
    let program = Path::new(env!("CARGO_BIN_EXE_forebay"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let output = Command::new("sh")
        .args(["-e", "-c", &root_commands()])
        .env("PATH", path)
        .env("FOREBAY_HTTP", broker.http().to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for page in [
        "concepts.md",
        "kafka-first-ten-minutes.md",
        "amqp-first-ten-minutes.md",
        "sqs-first-ten-minutes.md",
        "moving-from-rabbitmq.md",
    ] {
        check_at(&broker, page);
    }
}

#[test]
fn every_page_is_run() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let source = include_str!("guides.rs");
    for page in fs::read_dir(pages).unwrap() {
        let page = page.unwrap();
        let has_commands = fs::read_to_string(page.path()).unwrap().contains("```");
        let name = page.file_name().into_string().unwrap();
        let is_run = source.contains(&format!("check(\"{name}\")"));
        assert!(is_run || !has_commands, "{name} is not run");
    }
}

#[test]
fn lines_are_compared_as_pages_mean_them() {
    let own = |lines: &[&str]| -> Vec<String> { lines.iter().map(|l| (*l).to_owned()).collect() };
    let check = |patterns: &[&str], lines: &[&str]| are_lines(&own(patterns), &own(lines));
    assert!(check(&["a … c", "…", "z"], &["a b c", "x", "y", "z"]));
    assert!(check(&["…"], &[]));
    assert!(check(&["a", "…"], &["a"]));
    for (patterns, lines) in [
        (&["a"][..], &["b"][..]),
        (&["a"], &["a", "b"]),
        (&["a", "b"], &["a"]),
        (&["… c"], &["a b"]),
        (&["a…"], &["b"]),
        (&[], &["a"]),
    ] {
        assert!(!check(patterns, lines), "{patterns:?} {lines:?}");
    }
}
