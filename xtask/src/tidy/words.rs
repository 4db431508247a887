//! Rules for every text file: words that mean unfinished work, and paths that exist on one machine only.

use super::{Finding, TextFile};

/// Written in halves, so that this file passes its own rule.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];
const MACHINES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("C:", "\\"),
];

pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.is_foreign() {
        return findings;
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        if let Some(word) = UNFINISHED.iter().find(|word| has_word(line, word)) {
            findings.push(Finding::new(
                file,
                number,
                format!("`{word}`: finish it, or leave it out"),
            ));
        }
        if let Some(path) = MACHINES.iter().find(|path| has_path(line, path)) {
            findings.push(Finding::new(
                file,
                number,
                format!("`{path}` exists on one machine only"),
            ));
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word)
    })
}

/// Absolute only: `docs/work/` is nobody's machine.
fn has_path(line: &str, path: &str) -> bool {
    let before_is_path =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '}' | '~');
    line.match_indices(path)
        .any(|(at, _)| !line[..at].ends_with(before_is_path))
}

#[cfg(test)]
mod tests {
    use super::{MACHINES, UNFINISHED, check};
    use crate::tidy::TextFile;

    fn findings(line: &str) -> usize {
        check(&TextFile {
            path: "a.md".to_owned(),
            text: format!("fine\n{line}\n"),
        })
        .len()
    }

    #[test]
    fn unfinished_work_is_refused() {
        for word in UNFINISHED {
            assert_eq!(findings(&format!("// {word} later")), 1, "{word}");
        }
        assert_eq!(findings(&format!("{}S are words too", UNFINISHED[0])), 0);
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        for path in MACHINES {
            assert_eq!(findings(&format!("see {path}me/x")), 1, "{path}");
        }
        assert_eq!(
            findings(&format!(
                "docs{}x and https://a.example{}x",
                MACHINES[3], MACHINES[0]
            )),
            0
        );
    }
}
