//! The house rules that no compiler knows, as one pass over the repository's text.
//!
//! Every rule is a function from text to findings; that a rule can fail is shown by its own test. The whole pass
//! is a test too, so that `cargo test` refuses what `cargo xtask tidy` refuses.

mod cycles;
mod documents;
mod finding;
mod glossary;
mod layers;
mod sources;
mod tree;
mod words;

use anyhow::ensure;

use crate::shell::{root, say};
pub(crate) use finding::Finding;
pub(crate) use tree::TextFile;

/// Fails when a rule is broken, naming each breach.
pub(crate) fn run() -> anyhow::Result<()> {
    let findings = check(&tree::read(&root())?);
    for Finding {
        path,
        line,
        message,
    } in &findings
    {
        say(&format!("{path}:{line}: {message}"));
    }
    ensure!(findings.is_empty(), "tidy: {} findings", findings.len());
    say("tidy: nothing found");
    Ok(())
}

/// All rules over all files.
fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(words::check(file));
        if file.is_rust() {
            findings.extend(sources::check(file));
        }
    }
    findings.extend(glossary::check(files));
    findings.extend(layers::check(files));
    findings.extend(cycles::check(files));
    findings.extend(documents::check(files));
    findings
}

#[cfg(test)]
mod tests {
    use super::{check, root, tree};

    #[test]
    fn the_repository_is_tidy() {
        let files = tree::read(&root()).unwrap();
        assert!(
            files.iter().any(|file| file.path == "ARCHITECTURE.md"),
            "read the wrong folder"
        );
        assert_eq!(check(&files), Vec::new());
    }
}
