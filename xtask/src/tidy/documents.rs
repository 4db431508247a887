//! Rules for the documents: short enough to be read, and true about what exists.

use std::path::Path;

use super::{Finding, TextFile};

/// Documents that a newcomer must be able to read in one sitting.
const LINES_MAX: &[(&str, usize)] = &[("ARCHITECTURE.md", 250), ("CONTRIBUTING.md", 200)];
/// Folders whose paths are checked when a root document names them.
const FOLDERS: &[&str] = &["crates/", "docs/", "xtask/", "conformance/"];
/// The README's test command, which the continuous build runs word for word.
const TEST_COMMAND: &str = "cargo test --workspace";

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let documents = files.iter().filter(|file| file.has_extension("md"));
    let mut findings: Vec<Finding> = documents
        .flat_map(|file| {
            [
                length(file),
                named_paths(file, files),
                links(file, files),
                items(file, files),
            ]
            .concat()
        })
        .collect();
    findings.extend(test_command(files));
    findings
}

fn length(file: &TextFile) -> Vec<Finding> {
    let lines = file.text.lines().count();
    let max = LINES_MAX
        .iter()
        .find(|(path, max)| *path == file.path && lines > *max);
    max.map(|(_, max)| Finding::new(file, 0, format!("{lines} lines, {max} allowed")))
        .into_iter()
        .collect()
}

/// Paths in backticks, in the documents at the root: a map that names places that are gone is worse than none.
fn named_paths(file: &TextFile, files: &[TextFile]) -> Vec<Finding> {
    if file.path.contains('/') {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for quoted in line.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| quoted.starts_with(folder));
            let is_pattern = quoted.contains(['<', '*', '{', ' ', '…']);
            if is_path && !is_pattern && !exists(quoted, files) {
                findings.push(Finding::new(
                    file,
                    number,
                    format!("`{quoted}` does not exist"),
                ));
            }
        }
    }
    findings
}

/// Links between documents.
fn links(file: &TextFile, files: &[TextFile]) -> Vec<Finding> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for target in line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next())
        {
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !resolve(folder, target).is_some_and(|path| exists(&path, files)) {
                findings.push(Finding::new(
                    file,
                    number,
                    format!("the link to `{target}` leads nowhere"),
                ));
            }
        }
    }
    findings
}

/// Links from the name of an item to a source file: the item has to be there.
fn items(file: &TextFile, files: &[TextFile]) -> Vec<Finding> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for (name, target) in linked_items(line) {
            let path = resolve(folder, target);
            let source = path.and_then(|path| files.iter().find(|file| file.path == path));
            if source.is_some_and(|source| !has_item(&source.text, name)) {
                findings.push(Finding::new(
                    file,
                    number,
                    format!("`{name}` is not in `{target}`"),
                ));
            }
        }
    }
    findings
}

/// Names in backticks that lead to a source file, with where they lead.
fn linked_items(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        let (target, _) = rest.split_once(')')?;
        let is_source = Path::new(target).extension() == Some("rs".as_ref());
        let is_item = is_source && !name.contains('/');
        is_item.then_some((name, target))
    })
}

/// Whether a source file defines an item, by the last part of its name.
fn has_item(source: &str, name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    let defines = |line: &str| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let keywords = ["fn", "struct", "enum", "trait", "type", "const", "mod"];
        let is_defined = |pair: &[&str]| keywords.contains(&pair[0]) && pair[1] == name;
        let is_variant = line.starts_with("    ") && words.first() == Some(&name);
        is_variant || words.windows(2).any(is_defined)
    };
    source.lines().any(defines)
}

fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn exists(path: &str, files: &[TextFile]) -> bool {
    let path = path.trim_end_matches('/');
    // Without an extension the tree does not read it, but a document may name it.
    let unread = matches!(path, "LICENSE" | ".ci/run");
    let below = format!("{path}/");
    unread
        || files
            .iter()
            .any(|file| file.path == path || file.path.starts_with(&below))
}

fn test_command(files: &[TextFile]) -> Vec<Finding> {
    let both = files
        .iter()
        .filter(|file| matches!(file.path.as_str(), "README.md" | ".ci/run"));
    both.filter(|file| !file.text.lines().any(|line| line.trim() == TEST_COMMAND))
        .map(|file| {
            Finding::new(
                file,
                0,
                format!("does not run the tests with `{TEST_COMMAND}`"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::TextFile;

    fn messages(path: &str, text: &str) -> Vec<String> {
        let file = |path: &str, text: &str| TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file(path, text),
            file("crates/net/src/lib.rs", "pub fn serve() {}\n"),
            file("docs/a.md", ""),
        ];
        check(&files)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn long_maps_are_refused() {
        assert!(messages("ARCHITECTURE.md", &"x\n".repeat(250)).is_empty());
        assert_eq!(
            messages("ARCHITECTURE.md", &"x\n".repeat(251)),
            ["251 lines, 250 allowed"]
        );
    }

    #[test]
    fn places_that_are_gone_are_refused() {
        assert!(
            messages(
                "ARCHITECTURE.md",
                "see `crates/net`, `crates/net/src/lib.rs`, `crates/<name>`"
            )
            .is_empty()
        );
        assert_eq!(
            messages("ARCHITECTURE.md", "see `crates/gone`"),
            ["`crates/gone` does not exist"]
        );
    }

    #[test]
    fn links_lead_somewhere() {
        assert!(
            messages(
                "docs/b/c.md",
                "[a](../a.md#part) [w](https://x.example/y) [p](#part)"
            )
            .is_empty()
        );
        assert_eq!(
            messages("docs/b/c.md", "[a](a.md)"),
            ["the link to `a.md` leads nowhere"]
        );
        assert_eq!(
            messages("docs/c.md", "[a](../../a.md)"),
            ["the link to `../../a.md` leads nowhere"]
        );
    }

    #[test]
    fn readme_and_build_run_the_same_tests() {
        assert!(messages("README.md", "```\ncargo test --workspace\n```").is_empty());
        assert_eq!(messages("README.md", "cargo test").len(), 1);
        assert_eq!(
            messages(".ci/run", "cargo test --workspace --release").len(),
            1
        );
    }

    #[test]
    fn an_item_that_is_named_has_to_be_where_the_link_leads() {
        let link = |name| format!("see [`{name}`](../crates/net/src/lib.rs)");
        assert!(messages("docs/b.md", &link("serve")).is_empty());
        assert!(messages("docs/b.md", &link("net::serve")).is_empty());
        assert_eq!(
            messages("docs/b.md", &link("listen")),
            ["`listen` is not in `../crates/net/src/lib.rs`"]
        );
    }
}
