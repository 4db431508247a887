//! Writes a JSON value as YAML 1.2, in block style: what people expect to read, and every parser to take.
//!
//! Only the few forms that JSON needs. A text stands plain where nothing could take it for anything else, and in double
//! quotes with JSON's escapes everywhere else.

use std::fmt::Write;

use serde_json::Value;

/// The document, with a line end.
pub(super) fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => members_at(&mut text, members, 0, false),
        Value::Array(values) if !values.is_empty() => list_at(&mut text, values, 0, false),
        other => {
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
    text
}

/// One line per member. The first one may stand behind the dash of a list.
fn members_at(
    text: &mut String,
    members: &serde_json::Map<String, Value>,
    depth: usize,
    behind_dash: bool,
) {
    for (place, (name, value)) in members.iter().enumerate() {
        if place > 0 || !behind_dash {
            indent(text, depth);
        }
        text.push_str(&word(name));
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                members_at(text, inner, depth + 1, false);
            }
            Value::Array(inner) if !inner.is_empty() => {
                text.push('\n');
                list_at(text, inner, depth + 1, false);
            }
            other => {
                let _ = writeln!(text, " {}", scalar(other));
            }
        }
    }
}

fn list_at(text: &mut String, values: &[Value], depth: usize, behind_dash: bool) {
    for (place, value) in values.iter().enumerate() {
        if place > 0 || !behind_dash {
            indent(text, depth);
        }
        text.push_str("- ");
        match value {
            Value::Object(inner) if !inner.is_empty() => members_at(text, inner, depth + 1, true),
            Value::Array(inner) if !inner.is_empty() => list_at(text, inner, depth + 1, true),
            other => {
                let _ = writeln!(text, "{}", scalar(other));
            }
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// A value that fits into one line.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        // Empty, or a number, a truth value or nothing: JSON's form is YAML's.
        other => other.to_string(),
    }
}

fn word(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    // JSON lets through what a terminal would act on.
    let mut quoted = String::new();
    for c in Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

/// Whether a text can be taken for nothing but itself, by parsers of older versions too.
fn is_plain(text: &str) -> bool {
    const OTHERS: &[&str] = &[
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf",
    ];
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ');
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(inside)
        && !OTHERS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, expected: &str) {
        assert_eq!(write(value), expected);
    }

    #[test]
    fn scalars_stand_alone() {
        check(&json!(null), "null\n");
        check(&json!(true), "true\n");
        check(&json!(-1.5), "-1.5\n");
        check(&json!("plain"), "plain\n");
        check(&json!({}), "{}\n");
        check(&json!([]), "[]\n");
    }

    #[test]
    fn objects_and_lists_are_blocks() {
        check(
            &json!({
                "queues": [
                    { "depth": { "ready": 1 }, "name": "a" },
                    { "name": "b", "tags": {} },
                ],
                "next": null,
                "some": [1, "two", [3, [4]], [], [{ "x": 5, "z": 6 }]],
            }),
            "next: null
queues:
  - depth:
      ready: 1
    name: a
  - name: b
    tags: {}
some:
  - 1
  - two
  - - 3
    - - 4
  - []
  - - x: 5
      z: 6
",
        );
        check(&json!([{ "a": [1] }]), "- a:\n    - 1\n");
    }

    #[test]
    fn texts_that_could_be_something_else_are_quoted() {
        for plain in [
            "a",
            "orders-1.fifo",
            "no such queue",
            "Truely",
            "e5",
            "path/to",
        ] {
            check(&json!(plain), &format!("{plain}\n"));
        }
        for quoted in [
            "",
            " a",
            "a ",
            "1",
            "1e5",
            "0x1",
            "-1",
            ".5",
            "~",
            "-",
            "- a",
            "null",
            "True",
            "NO",
            "on",
            "y",
            "a: b",
            "a #b",
            "a:",
            "[a]",
            "{a}",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a`",
            "'a'",
            "2001-01-01",
            "é",
            "a.",
            "---",
            "...",
        ] {
            check(&json!(quoted), &format!("\"{quoted}\"\n"));
        }
        check(&json!({ "no": 1, "a:b": 2 }), "\"a:b\": 2\n\"no\": 1\n");
    }

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        check(&json!("a\"b\\c"), "\"a\\\"b\\\\c\"\n");
        check(&json!("two\nlines\t"), "\"two\\nlines\\t\"\n");
        check(&json!("\u{1b}[2J"), "\"\\u001b[2J\"\n");
        check(
            &json!("\u{9b}\u{7f}\u{2028}"),
            "\"\\u009b\\u007f\\u2028\"\n",
        );
    }
}
