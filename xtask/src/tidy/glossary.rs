//! The glossary as a rule: the words that CONTRIBUTING.md puts in backticks under "never say" and "not" are refused as
//! parts of identifiers and as words, in Rust files and documents. Words that also have an ordinary meaning are not in
//! backticks there, and nothing is said about them here.

use std::collections::BTreeSet;

use super::{Finding, TextFile};

/// Where the glossary is.
const DOCUMENT: &str = "CONTRIBUTING.md";
/// Headings of its columns with words that are not used.
const COLUMNS: &[&str] = &["never say", "not"];

/// Where a word is meant in its ordinary sense: word, start of the path, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "letter",
        "crates/amqp/src/wire/",
        "the type letter of a value in a table",
    ),
    (
        "letter",
        "crates/sqs/src/message.rs",
        "a letter of the alphabet",
    ),
    (
        "letter",
        "crates/kafka/src/wire/tests/random.rs",
        "a letter of the alphabet",
    ),
    (
        "letter",
        "crates/bench/src/",
        "letters of the alphabet as bodies",
    ),
    (
        "letter",
        "crates/engine/tests/it/fanout.rs",
        "letters of the alphabet as bodies",
    ),
    (
        "letter",
        "crates/forebay/tests/it/queue_crash/content.rs",
        "letters of the alphabet as bodies",
    ),
    (
        "letter",
        "crates/forebay/tests/it/scenarios/",
        "a letter of the alphabet names a message",
    ),
    ("letter", "xtask/src/codegen/", "a letter of the alphabet"),
];
/// The rule itself has to name what it refuses.
const OWN: &str = "xtask/src/tidy/glossary.rs";
/// Refused in Rust's identifiers only, and there not behind the word beside it: texts need it in its ordinary sense.
const IDENTIFIERS_ONLY: (&str, &str) = ("letter", "dead");

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let Some(glossary) = files.iter().find(|file| file.path == DOCUMENT) else {
        return Vec::new();
    };
    let refused = refused(&glossary.text);
    let checked = files.iter().filter(|file| {
        let is_text = file.is_rust() || file.has_extension("md");
        is_text && file.path != OWN && !file.is_foreign() && !file.is_generated()
    });
    checked
        .flat_map(|file| check_file(file, &refused))
        .collect()
}

/// The words in backticks of the glossary's columns.
fn refused(glossary: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut columns: Vec<usize> = Vec::new();
    for line in glossary.lines() {
        let Some(row) = line.strip_prefix('|') else {
            columns.clear();
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if columns.is_empty() {
            let named = (0..).zip(&cells);
            let named = named.filter(|(_, cell)| COLUMNS.contains(*cell));
            columns = named.map(|(column, _)| column).collect();
        }
        let cells = columns.iter().filter_map(|column| cells.get(*column));
        let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let plain = quoted.filter(|word| word.chars().all(|c| c.is_ascii_lowercase()));
        words.extend(plain.map(str::to_owned));
    }
    words
}

fn check_file(file: &TextFile, refused: &BTreeSet<String>) -> Vec<Finding> {
    let (special, allowed_behind) = IDENTIFIERS_ONLY;
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        if file.path == DOCUMENT && line.starts_with('|') {
            continue;
        }
        let is_refused = |word: &&String| refused.contains(*word) && *word != special;
        let mut found: Vec<String> = words(line)
            .iter()
            .map(|word| singular(word, refused))
            .collect();
        found.retain(|word| is_refused(&word));
        if file.is_rust() && refused.contains(special) {
            let words = words(&code(line));
            let ones = words.iter().map(|word| singular(word, refused));
            let behind = std::iter::once("").chain(words.iter().map(String::as_str));
            let special = ones
                .zip(behind)
                .filter(|(word, before)| word == special && *before != allowed_behind);
            found.extend(special.map(|(word, _)| word));
        }
        found.retain(|word| !is_excepted(word, &file.path));
        findings.extend(found.iter().map(|word| {
            Finding::new(
                file,
                number,
                format!("`{word}`: the glossary of {DOCUMENT} has the word for it"),
            )
        }));
    }
    findings
}

/// The refused word that a word is the plural of; else the word itself.
fn singular(word: &str, refused: &BTreeSet<String>) -> String {
    let one = word.strip_suffix('s').filter(|one| refused.contains(*one));
    one.unwrap_or(word).to_owned()
}

/// A line of Rust without its texts and its comment; of texts over several lines only the first is known for one.
fn code(line: &str) -> String {
    let line = line.replace("\\\"", "");
    let outside = line.split('"').step_by(2);
    let mut code = String::new();
    for part in outside {
        let (before, comment) = part
            .split_once("//")
            .map_or((part, false), |(before, _)| (before, true));
        code.push_str(before);
        code.push(' ');
        if comment {
            break;
        }
    }
    code
}

fn is_excepted(word: &str, path: &str) -> bool {
    let mut known = EXCEPTIONS.iter();
    known.any(|(excepted, start, _)| *excepted == word && path.starts_with(start))
}

/// The words of a line in lower case: of identifiers their parts.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_alphabetic() {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            continue;
        }
        word.extend(c.to_lowercase());
        // `DeadLetter`, and the end of `HTTP` in `HTTPServer`.
        let next = chars.peek().copied().unwrap_or(' ');
        let after = chars.clone().nth(1).unwrap_or(' ');
        let ends = next.is_uppercase() && (c.is_lowercase() || after.is_lowercase());
        if ends {
            words.push(std::mem::take(&mut word));
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use super::{check, refused, words};
    use crate::tidy::TextFile;

    const GLOSSARY: &str = "\
| we say | meaning | never say |
|---|---|---|
| lease | a right, until a deadline (`lease_ms`) | lock, `loan` |

In between `nothing` counts.

| not | but |
|---|---|
| `lane`; said | queue partition, `on_…` |
| `letter` | dead letter |
";

    fn file(path: &str, text: &str) -> TextFile {
        TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[track_caller]
    fn check_line(path: &str, line: &str, found: usize) {
        let files = [file("CONTRIBUTING.md", GLOSSARY), file(path, line)];
        assert_eq!(check(&files).len(), found, "{line}");
    }

    #[test]
    fn only_words_in_backticks_of_the_named_columns_are_refused() {
        let expected = ["lane", "letter", "loan"].map(str::to_owned);
        assert_eq!(refused(GLOSSARY), expected.into());
    }

    #[test]
    fn words_are_parts_of_identifiers() {
        let parts = words("let deadLetters_max: HTTPServer = LANE2.f(\"a b\");");
        let expected = "let dead letters max http server lane f a b";
        assert_eq!(parts.join(" "), expected);
    }

    #[test]
    fn refused_words_are_found_wherever_they_are() {
        for (line, found) in [
            ("struct LaneEvent;", 1),
            ("fn open_lanes(loan: u64) {}", 2),
            ("/// A Loan, and its lane.", 2),
            ("tracing::warn!(\"lanes lost\");", 1),
            ("// planes, loaned, lock and said", 0),
            (
                "fn dead_letter(of: DeadLetters) {} // dead letters, dead-letter job",
                0,
            ),
        ] {
            check_line("crates/a/src/lib.rs", line, found);
            check_line("docs/a.md", line, found);
        }
    }

    #[test]
    fn a_word_that_texts_need_is_refused_in_identifiers() {
        for (line, found) in [
            ("fn letter() {}", 1),
            ("struct LetterJob(OutLetters); // letters", 2),
            ("fn dead_letter(_: DeadLetters) {}", 0),
            ("let most = \"64 letters\"; // a letter each", 0),
        ] {
            check_line("crates/a/src/lib.rs", line, found);
        }
        check_line("docs/a.md", "Letters and digits.", 0);
    }

    #[test]
    fn what_others_wrote_and_other_meanings_are_left_alone() {
        check_line("crates/a/vendor/b.rs", "lane", 0);
        check_line("crates/a/src/wire/generated/b.rs", "lane", 0);
        check_line(
            "crates/sqs/src/message.rs",
            "let letter = |c: char| true;",
            0,
        );
        check_line("crates/sqs/src/message.rs", "let lane = 1;", 1);
        check_line("a.py", "lane", 0);
        let own = format!("{GLOSSARY}\nA lane.\n");
        assert_eq!(check(&[file("CONTRIBUTING.md", &own)]).len(), 1);
    }
}
