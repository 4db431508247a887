//! The repository's own text files: what was written by hand, not what was built or installed.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Folders that are never ours to judge.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    "forebay-data",
    "node_modules",
    "__pycache__",
    "corpus",
    "artifacts",
];
/// Text by its extension; everything else is skipped.
const TEXT: &[&str] = &[
    "rs", "md", "toml", "py", "js", "sh", "txt", "json", "yml", "yaml",
];
/// Text without one of these extensions.
const NAMED: &[&str] = &["run", ".gitignore"];

/// One file, as the rules see it.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|own| own == extension)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// True for text that others wrote and we keep word for word.
    pub(crate) fn is_foreign(&self) -> bool {
        self.names()
            .any(|name| matches!(name, "vendor" | "schemas"))
    }

    /// File name and folders, without extension.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.path
            .split('/')
            .map(|name| name.strip_suffix(".rs").unwrap_or(name))
    }

    /// True for code that only tests run.
    pub(crate) fn is_test(&self) -> bool {
        self.names()
            .any(|name| matches!(name, "tests" | "benches" | "testkit" | "fuzz"))
    }

    /// True for code that a chore wrote.
    pub(crate) fn is_generated(&self) -> bool {
        self.names().any(|name| name == "generated")
    }

    /// The lines before an inline test module.
    pub(crate) fn production_lines(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.text.lines().collect();
        let inline_tests = lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]"
                && pair[1].starts_with("mod ")
                && pair[1].trim_end().ends_with('{')
        });
        lines[..inline_tests.unwrap_or(lines.len())].to_vec()
    }
}

/// Reads all text files below `root`, in a stable order.
pub(super) fn read(root: &Path) -> anyhow::Result<Vec<TextFile>> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if is_text(&name) {
            let text =
                fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            files.push(TextFile { path, text });
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| TEXT.contains(&extension)) || NAMED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::TextFile;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn an_inline_test_module_is_no_production_code() {
        let inline = file("a.rs", "//! a\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(inline.production_lines(), ["//! a", "fn a() {}"]);
        let beside = file("a.rs", "//! a\n#[cfg(test)]\nmod tests;\nfn a() {}\n");
        assert_eq!(beside.production_lines().len(), 4);
    }

    #[test]
    fn tests_and_generated_code_are_known_by_their_place() {
        assert!(file("crates/a/src/b/tests.rs", "").is_test());
        assert!(file("crates/a/tests/it/main.rs", "").is_test());
        assert!(!file("crates/a/src/testing.rs", "").is_test());
        assert!(file("crates/a/src/wire/generated/x.rs", "").is_generated());
        assert!(file("xtask/src/codegen/schemas/x.json", "").is_foreign());
    }
}
