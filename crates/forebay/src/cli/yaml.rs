//! Writes a JSON value as YAML 1.2, in block style: what people expect to read, and every parser to take.

use serde_json::Value;

/// The document, with a line end.
pub(super) fn write(value: &Value) -> String {
    let options = serde_saphyr::ser_options! {
        // Lists stand inside of what they belong to.
        compact_list_indent: false,
        // A text is one line, whatever is in it.
        prefer_block_scalars: false,
    };
    serde_saphyr::to_string_with_options(value, options).expect("JSON is YAML, too")
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
            "é",
            "a.",
            "there is no queue 'a'",
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
            "12:30",
            "---",
            "...",
        ] {
            check(&json!(quoted), &format!("\"{quoted}\"\n"));
        }
        check(&json!("-"), "'-'\n");
        check(&json!("a\"b\\c"), "a\"b\\c\n");
        check(&json!({ "no": 1, "a:b": 2 }), "\"a:b\": 2\n\"no\": 1\n");
    }

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        check(&json!("two\nlines\t"), "\"two\\nlines\\t\"\n");
        check(&json!("\u{1b}[2J"), "\"\\e[2J\"\n");
        check(
            &json!("\u{9b}\u{7f}\u{2028}\u{feff}"),
            "\"\\x9B\\x7F\\L\\uFEFF\"\n",
        );
    }
}
