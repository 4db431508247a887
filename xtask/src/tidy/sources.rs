//! Rules for Rust files: a heading, a size, a name, and nothing that only its owner may do.

use super::{Finding, TextFile};

/// Hand-written production code in one file.
const LINES_MAX: usize = 800;
/// Where one noun would be lost among others.
const NAMES: &[&str] = &[
    "common", "util", "utils", "helpers", "helper", "core", "base", "types", "prelude",
];
/// The only file that asks the machine what time it is.
const CLOCK: &str = "crates/forebay/src/clock.rs";
const CLOCK_CALLS: &[&str] = &["SystemTime::now", "Instant::now"];
/// Crates that speak no protocol, and the names they must not know.
const NEUTRAL: &[&str] = &[
    "crates/engine/",
    "crates/delivery/",
    "crates/groups/",
    "crates/routing/",
    "crates/storage/",
];
const PROTOCOLS: &[&str] = &["kafka", "amqp", "rabbit", "sqs", "amazon"];

pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    [
        heading(file),
        size(file),
        name(file),
        clock(file),
        protocols(file),
    ]
    .concat()
}

fn heading(file: &TextFile) -> Vec<Finding> {
    if file.text.starts_with("//!") {
        return Vec::new();
    }
    vec![Finding::new(
        file,
        1,
        "opens without `//!`: say what the file owns and what it never does",
    )]
}

fn size(file: &TextFile) -> Vec<Finding> {
    let lines = file.production_lines().len();
    if lines <= LINES_MAX || file.is_test() || file.is_generated() {
        return Vec::new();
    }
    vec![Finding::new(
        file,
        0,
        format!("{lines} lines of production code, {LINES_MAX} allowed: split it by noun"),
    )]
}

fn name(file: &TextFile) -> Vec<Finding> {
    let lost = file.names().filter(|name| NAMES.contains(name));
    lost.map(|name| {
        Finding::new(
            file,
            0,
            format!("`{name}` is no noun of ours: a thing lives with its owner"),
        )
    })
    .collect()
}

fn clock(file: &TextFile) -> Vec<Finding> {
    let exempt = file.path == CLOCK
        || file.path.starts_with("xtask/")
        || file.path.starts_with("crates/bench/")
        || file.path.contains("/examples/");
    if exempt || file.is_test() {
        return Vec::new();
    }
    let breaches = numbered(file.production_lines()).filter_map(|(number, line)| {
        // The runtime's own clock stands still where a test stops it.
        let line = line.replace("tokio::time::Instant::now", "");
        let call = CLOCK_CALLS.iter().find(|call| line.contains(**call))?;
        Some(Finding::new(
            file,
            number,
            format!("`{call}` outside {CLOCK}: take the time as an argument"),
        ))
    });
    breaches.collect()
}

fn protocols(file: &TextFile) -> Vec<Finding> {
    if !NEUTRAL.iter().any(|neutral| file.path.starts_with(neutral)) {
        return Vec::new();
    }
    let breaches = numbered(file.text.lines()).filter_map(|(number, line)| {
        let line = line.to_lowercase();
        let protocol = PROTOCOLS
            .iter()
            .find(|protocol| line.contains(**protocol))?;
        Some(Finding::new(
            file,
            number,
            format!("names `{protocol}` in a crate that speaks no protocol"),
        ))
    });
    breaches.collect()
}

fn numbered<'l>(
    lines: impl IntoIterator<Item = &'l str>,
) -> impl Iterator<Item = (usize, &'l str)> {
    (1..).zip(lines)
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, check};
    use crate::tidy::TextFile;

    /// Checks one file; `expected` is the start of its only finding, or empty when it is tidy.
    #[track_caller]
    fn verdict(path: &str, text: &str, expected: &str) {
        let findings = check(&TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        });
        let messages: Vec<&str> = findings
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        match messages[..] {
            [] => assert!(expected.is_empty(), "nothing found"),
            [one] => assert!(!expected.is_empty() && one.contains(expected), "{one}"),
            _ => panic!("{messages:?}"),
        }
    }

    #[test]
    fn every_file_has_a_heading() {
        verdict("crates/a/src/b.rs", "//! B.\n", "");
        verdict("crates/a/src/b.rs", "fn b() {}\n", "opens without");
        verdict("crates/a/src/b.rs", "", "opens without");
    }

    #[test]
    fn long_files_are_refused_unless_tests_or_generated() {
        let of = |lines: usize| format!("//! B.\n{}", "// x\n".repeat(lines - 1));
        verdict("crates/a/src/b.rs", &of(LINES_MAX), "");
        verdict(
            "crates/a/src/b.rs",
            &of(LINES_MAX + 1),
            "lines of production code",
        );
        verdict("crates/a/src/tests.rs", &of(LINES_MAX + 1), "");
        verdict("crates/a/src/generated/b.rs", &of(LINES_MAX + 1), "");
        let tested = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            of(LINES_MAX),
            "// x\n".repeat(50)
        );
        verdict("crates/a/src/b.rs", &tested, "");
    }

    #[test]
    fn names_without_a_noun_are_refused() {
        verdict("crates/common/src/b.rs", "//! B.\n", "`common`");
        verdict("crates/a/src/utils.rs", "//! B.\n", "`utils`");
        verdict("crates/a/src/types/b.rs", "//! B.\n", "`types`");
        verdict("crates/a/src/uncommon.rs", "//! B.\n", "");
    }

    #[test]
    fn only_the_clock_asks_for_the_time() {
        let asks = "//! B.\nlet now = std::time::Instant::now();\n";
        verdict("crates/engine/src/b.rs", asks, "`Instant::now`");
        verdict(
            "crates/net/src/b.rs",
            "//! B.\nSystemTime::now();\n",
            "`SystemTime::now`",
        );
        verdict("crates/forebay/src/clock.rs", asks, "");
        verdict("crates/bench/src/b.rs", asks, "");
        verdict("crates/engine/src/tests.rs", asks, "");
        verdict(
            "crates/engine/src/b.rs",
            "//! B.\n#[cfg(test)]\nmod tests {\nInstant::now()\n}\n",
            "",
        );
    }

    #[test]
    fn neutral_crates_name_no_protocol() {
        verdict(
            "crates/engine/src/b.rs",
            "//! As in Kafka.\n",
            "names `kafka`",
        );
        verdict(
            "crates/storage/src/b.rs",
            "//! For RabbitMQ.\n",
            "names `rabbit`",
        );
        verdict("crates/kafka/src/b.rs", "//! As in Kafka.\n", "");
    }
}
