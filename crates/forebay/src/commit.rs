//! Finds the commit a source tree is at by reading files of its `.git`, without running anything. Used by the build
//! script; a tree without `.git`, unpacked from a tarball, has none.

use std::fs;
use std::path::{Path, PathBuf};

/// Digits of a commit that are shown.
const SHORT: usize = 12;
/// Digits of a commit in a repository of either kind.
const LENGTHS: [usize; 2] = [40, 64];
/// References that lead to references, followed so far.
const DEPTH_MAX: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// All digits of the commit.
    pub(crate) commit: Option<String>,
    /// The files it was read from: when one of them changes, so may the commit.
    pub(crate) files: Vec<PathBuf>,
}

/// Looks at the tree in `root` alone: a repository further up is another one.
pub(crate) fn find(root: &Path) -> Found {
    let mut found = Found::default();
    let Some(git) = git_folder(&root.join(".git")) else {
        return found;
    };
    // The folder of a linked work tree has its own head and shares the references.
    let shared = read(&git.join("commondir")).map(|path| git.join(path));
    let folders = [Some(git), shared];
    let folders: Vec<PathBuf> = folders.into_iter().flatten().collect();
    found.commit = resolve(&folders, "HEAD", DEPTH_MAX, &mut found.files);
    found
}

/// A commit as it is written, if that is one.
pub(crate) fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    let is_commit = LENGTHS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| text.to_ascii_lowercase())
}

/// What of a commit is shown.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}

/// `.git` is a folder, or a file that says where the folder is.
fn git_folder(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let text = read(path)?;
    let place = text.strip_prefix("gitdir:")?.trim();
    Some(path.parent()?.join(place))
}

fn resolve(
    folders: &[PathBuf],
    name: &str,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Option<String> {
    // A reference may not lead out of the repository.
    let is_tame = !name.starts_with('/') && !name.split('/').any(|part| part == "..");
    if depth == 0 || !is_tame {
        return None;
    }
    for folder in folders {
        let file = folder.join(name);
        let Some(text) = read(&file) else { continue };
        files.push(file);
        return match text.strip_prefix("ref:") {
            Some(next) => resolve(folders, next.trim(), depth - 1, files),
            None => parse(&text),
        };
    }
    folders.iter().find_map(|folder| {
        let file = folder.join("packed-refs");
        let text = read(&file)?;
        files.push(file);
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let mut named = lines.filter(|(_, packed)| packed.trim() == name);
        parse(named.next()?.0)
    })
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef01234567";

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = find(&dir.path().join("tree"));
        assert_eq!(found.commit.as_deref(), expected);
        assert_eq!(found.files.is_empty(), expected.is_none(), "{found:?}");
    }

    #[test]
    fn a_branch_is_followed_wherever_it_is_kept() {
        let head = ("tree/.git/HEAD", "ref: refs/heads/next\n");
        check(&[head, ("tree/.git/refs/heads/next", A)], Some(A));
        let packed = format!(
            "# pack-refs\n{} refs/heads/other\n{A} refs/heads/next\n",
            "f".repeat(40)
        );
        check(&[head, ("tree/.git/packed-refs", &packed)], Some(A));
        check(&[("tree/.git/HEAD", A)], Some(A));
    }

    #[test]
    fn a_linked_work_tree_shares_its_branches() {
        let files = [
            ("tree/.git", "gitdir: ../main/.git/worktrees/tree\n"),
            ("main/.git/worktrees/tree/HEAD", "ref: refs/heads/next\n"),
            ("main/.git/worktrees/tree/commondir", "../..\n"),
            ("main/.git/refs/heads/next", A),
        ];
        check(&files, Some(A));
    }

    #[test]
    fn a_tarball_has_none_and_a_repository_around_it_is_not_asked() {
        check(&[("tree/Cargo.toml", "")], None);
        check(&[(".git/HEAD", A), ("tree/Cargo.toml", "")], None);
    }

    #[test]
    fn only_a_commit_is_one() {
        for text in [
            "",
            "main",
            "0123456",
            &"g".repeat(40),
            &format!("{A}\nevil"),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&A.to_uppercase()).as_deref(), Some(A));
        assert_eq!(short(A), "0123456789ab");
    }
}
