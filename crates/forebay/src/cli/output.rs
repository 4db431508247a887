//! How an answer is shown: as a table for people, as JSON or YAML for scripts.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::yaml;
use crate::settings::{ByteSize, Setting, Span};

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
    Yaml,
}

impl Output {
    /// Shows a value; `table` makes it readable.
    pub(super) fn print(
        self,
        value: &Value,
        table: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        let text = match self {
            Self::Table => table(value),
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
            Self::Yaml => yaml::write(value),
        };
        print(&text)
    }
}

/// The reader of stdout has read enough: no failure to report.
#[derive(Debug)]
pub(super) struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl Error for ReaderGone {}

/// Writes to stdout.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => bail!(ReaderGone),
        written => written.context("cannot write to stdout"),
    }
}

/// Shows one line at once, for answers that come bit by bit.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    print(&format!("{line}\n"))
}

/// Longest text in a cell; scripts get all of it.
const CELL_MAX: usize = 80;

/// Lines with aligned columns below their headings.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let first = headings.iter().map(|heading| (*heading).to_owned());
    let mut all = vec![first.collect::<Vec<_>>()];
    all.extend(rows.iter().map(|row| row.iter().map(|c| cell(c)).collect()));
    aligned(&all)
}

/// Names and values, one pair a line.
pub(super) fn pairs(rows: &[(String, String)]) -> String {
    let rows = rows.iter();
    let all: Vec<Vec<String>> = rows.map(|(name, v)| vec![cell(name), escaped(v)]).collect();
    aligned(&all)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    });
    lines.collect()
}

fn cell(text: &str) -> String {
    let text = escaped(text);
    if text.chars().count() <= CELL_MAX {
        return text;
    }
    text.chars().take(CELL_MAX - 1).chain(['…']).collect()
}

/// A message may hold anything; a terminal must not obey it.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A value in one word, by what its name says of it.
pub(super) fn leaf(name: &str, value: &Value) -> String {
    let moment = [
        "created_ms",
        "changed_ms",
        "started_ms",
        "sent_ms",
        "dead_ms",
        "since_ms",
        "timestamp_ms",
        "committed_ms",
    ];
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let words: Vec<String> = values.iter().map(|value| leaf(name, value)).collect();
            words.join(", ")
        }
        Value::Number(number) => match number.as_u64() {
            Some(ms) if moment.contains(&name) => timestamp(ms),
            Some(ms) if name.ends_with("_ms") => Span(std::time::Duration::from_millis(ms)).show(),
            Some(bytes) if name.contains("bytes") => ByteSize(bytes).show(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A time as RFC 3339 writes it, in UTC.
fn timestamp(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Counted in years that begin in March, and eras of 400 of them.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let march = (5 * doy + 2) / 153;
    let day = doy - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = yoe + era * 400 + u64::from(march >= 10);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["longer".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["NAME", "N"], &rows),
            "NAME    N\na       1\nlonger\n"
        );
    }

    #[test]
    fn cells_are_short_and_harmless() {
        assert_eq!(cell("a\n\u{1b}[2J\u{9b}é"), "a\\n\\u{1b}[2J\\u{9b}é");
        let long = cell(&"x".repeat(100));
        assert_eq!((long.chars().count(), long.ends_with('…')), (80, true));
    }

    #[test]
    fn values_are_shown_in_their_units() {
        for (name, value, shown) in [
            ("lease_ms", json!(30_000), "30s"),
            ("message_bytes_max", json!(1 << 20), "1MiB"),
            ("created_ms", json!(0), "1970-01-01T00:00:00Z"),
            (
                "sent_ms",
                json!(951_782_400_000_u64),
                "2000-02-29T00:00:00Z",
            ),
            (
                "sent_ms",
                json!(1_767_225_599_999_u64),
                "2025-12-31T23:59:59Z",
            ),
            ("ready", json!(3), "3"),
            ("own", json!(true), "true"),
            ("topic", json!(null), "-"),
            ("dead_letter_sources", json!(["a", "b"]), "a, b"),
        ] {
            assert_eq!(leaf(name, &value), shown);
        }
    }
}
