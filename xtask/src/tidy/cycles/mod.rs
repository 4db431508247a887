//! Files of one crate use each other without a cycle, and in short chains.
//!
//! Which file uses which is read from `use`, `mod` and the paths in the code. A name counts for the file that defines it,
//! whichever module it is imported from: a `mod.rs` that only declares and re-exports uses none of its children. What
//! only tests compile does not count. Methods do not count either: no import says in which file they are.
//!
//! The chain of a crate is measured once it has no cycle.

mod exceptions;
mod graph;
mod modules;
mod outline;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, TextFile};
use exceptions::{CHAINS_LEFT, CYCLES_LEFT};
use graph::Graph;
use modules::Modules;

/// Files in one chain.
const CHAIN_MAX: usize = 8;

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    check_with(files, CYCLES_LEFT, CHAINS_LEFT)
}

fn check_with(files: &[TextFile], cycles: &[&str], chains: &[(&str, usize)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_cycles = BTreeSet::new();
    for (source, files) in crates(files) {
        let uses = Modules::of(source, &files).uses();
        let graph = Graph::of(&uses);
        let found = graph.cycles();
        if found.is_empty() {
            findings.extend(chain(source, &graph, chains));
        }
        for cycle in found {
            in_cycles.extend(cycle.iter().map(|file| (*file).to_owned()));
            if let Some(file) = cycle.iter().find(|file| !cycles.contains(file)) {
                let lines = graph.lines(&cycle).join("\n    ");
                findings.push(finding(
                    file,
                    format!("is in a cycle of files:\n    {lines}"),
                ));
            }
        }
    }
    let cut = cycles.iter().filter(|file| !in_cycles.contains(**file));
    findings.extend(cut.map(|file| {
        finding(
            file,
            "is in no cycle any more: take it out of the exceptions".into(),
        )
    }));
    findings
}

fn chain(source: &str, graph: &Graph<'_>, chains: &[(&str, usize)]) -> Option<Finding> {
    let left = chains.iter().find(|(left, _)| *left == source);
    let most = left.map_or(CHAIN_MAX, |(_, most)| *most);
    let chain = graph.longest_chain();
    if chain.len() > most {
        let files = chain.join(" -> ");
        let length = chain.len();
        return Some(finding(
            source,
            format!("a chain of {length} files, {most} allowed: {files}"),
        ));
    }
    (left.is_some() && chain.len() < most).then(|| {
        finding(
            source,
            format!(
                "its longest chain has {} files: lower the exception",
                chain.len()
            ),
        )
    })
}

fn finding(path: &str, message: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line: 0,
        message,
    }
}

/// The crates' folders `src`, with the files in them that a build without tests sees.
fn crates(files: &[TextFile]) -> BTreeMap<&str, Vec<&TextFile>> {
    let mut crates = BTreeMap::<&str, Vec<&TextFile>>::new();
    let sources = files
        .iter()
        .filter(|file| file.is_rust() && !file.names().any(|name| name == "tests"));
    for file in sources {
        let is_ours = file.path.starts_with("crates/") || file.path.starts_with("xtask/");
        if let Some(end) = file.path.find("/src/").filter(|_| is_ours) {
            crates
                .entry(&file.path[..end + "/src/".len()])
                .or_default()
                .push(file);
        }
    }
    crates
}

#[cfg(test)]
mod tests {
    use super::check_with;
    use crate::tidy::TextFile;

    fn findings(files: &[(&str, &str)], cycles: &[&str], chains: &[(&str, usize)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| TextFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        });
        let findings = check_with(&files.collect::<Vec<_>>(), cycles, chains);
        let lines = findings
            .into_iter()
            .map(|found| format!("{}: {}", found.path, found.message));
        lines.collect()
    }

    #[test]
    fn a_cycle_is_found_unless_all_its_files_are_listed() {
        let (a, b) = ("crates/x/src/a.rs", "crates/x/src/b.rs");
        let cyclic = [
            ("crates/x/src/lib.rs", "mod a; mod b;"),
            (a, "use crate::b::B;"),
            (b, "use crate::a::A;"),
        ];
        let found = findings(&cyclic, &[], &[]);
        let lines = "crates/x/src/a.rs -> crates/x/src/b.rs (B)\n    crates/x/src/b.rs -> crates/x/src/a.rs (A)";
        assert_eq!(
            found,
            [format!("{a}: is in a cycle of files:\n    {lines}")]
        );
        assert_eq!(findings(&cyclic, &[a], &[]).len(), 1);
        assert!(findings(&cyclic, &[a, b], &[]).is_empty());
        let cut = [
            ("crates/x/src/lib.rs", "mod a; mod b;"),
            (a, "use crate::b::B;"),
            (b, ""),
        ];
        assert_eq!(findings(&cut, &[a, b], &[]).len(), 2);
    }

    #[test]
    fn files_of_tests_and_of_other_crates_do_not_count() {
        let lib = (
            "crates/x/src/lib.rs",
            "mod a; #[cfg(test)] mod tests; pub struct X;",
        );
        let tests = ("crates/x/src/tests.rs", "use crate::a::A;");
        let a = (
            "crates/x/src/a.rs",
            "#[cfg(test)] mod tests { use crate::X; }",
        );
        let other = ("crates/y/src/lib.rs", "use x::a::A; pub struct X;");
        assert!(findings(&[lib, tests, a, other], &[], &[]).is_empty());
    }

    #[test]
    fn a_chain_is_as_long_as_allowed() {
        let names: Vec<(String, String)> = (0..9)
            .map(|n| {
                (
                    format!("crates/x/src/m{n}.rs"),
                    format!("use crate::m{0}::M{0}; struct M{n};", n + 1),
                )
            })
            .collect();
        let mut files: Vec<(&str, &str)> = names
            .iter()
            .map(|(p, t)| (p.as_str(), t.as_str()))
            .collect();
        files.push(("crates/x/src/m9.rs", ""));
        let found = findings(&files, &[], &[]);
        assert!(
            found[0].contains("a chain of 10 files, 8 allowed: crates/x/src/m0.rs -> "),
            "{found:?}"
        );
        let source = "crates/x/src/";
        assert!(findings(&files, &[], &[(source, 10)]).is_empty());
        assert_eq!(findings(&files, &[], &[(source, 11)]).len(), 1);
        assert!(findings(&files[2..], &[], &[]).is_empty());
    }
}
