//! `cargo xtask conformance <name>`: runs `conformance/<name>/run.py` against the release binary.
//!
//! Whatever has to be installed for that (Python environments, Node modules) goes to a cache folder outside the
//! clone and is made again only when the list of what is needed changes. Nothing is built when the environment names
//! a broker to run the suites against instead of ours: `FOREBAY_CONFORMANCE_<NAME>=host:port`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;

use crate::shell::{cargo, root, run, say};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The folder below `conformance/`.
    name: String,
    /// Only what fits into a few minutes.
    #[arg(long)]
    quick: bool,
    /// What the suite itself is asked for, such as the protocols of `differ`.
    arguments: Vec<String>,
}

pub(crate) fn run_suite(options: &Options) -> anyhow::Result<()> {
    let suite = root().join("conformance").join(&options.name);
    let script = suite.join("run.py");
    if !script.is_file() {
        bail!(
            "there is no conformance/{}/run.py; there is: {}",
            options.name,
            known()?.join(", ")
        );
    }
    let cache = cache_folder()?.join("conformance").join(&options.name);
    let python = python_environments(&suite, &cache)?;
    let modules = node_modules(&suite, &cache)?;

    let mut command = Command::new(python);
    command.current_dir(root()).arg(script);
    if !names_another_broker(&options.name) {
        command.arg("--binary").arg(release_binary()?);
    }
    // The clone stays clean.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(modules) = modules {
        command.env("NODE_PATH", modules);
    }
    if options.quick {
        command.arg("--quick");
    }
    command.args(&options.arguments);
    run(&mut command)
}

fn names_another_broker(suite: &str) -> bool {
    std::env::var_os(format!("FOREBAY_CONFORMANCE_{}", suite.to_uppercase()))
        .is_some_and(|address| !address.is_empty())
}

/// Every suite there is.
fn known() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let folder = root().join("conformance");
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.path().join("run.py").is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

fn cache_folder() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("FOREBAY_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("forebay")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/forebay")))
        .context("no cache folder: set FOREBAY_CACHE")
}

/// Makes the suite's Python environments and returns the interpreter of the main one.
///
/// `requirements.txt` says what is in the main one, `venv`; `requirements-x.txt` makes another one beside it, `venv-x`,
/// for packages that cannot be installed together with those of the main one.
fn python_environments(suite: &Path, cache: &Path) -> anyhow::Result<PathBuf> {
    for (list, name) in further_environments(suite)? {
        python_environment(&list, &cache.join(name))?;
    }
    python_environment(&suite.join("requirements.txt"), &cache.join("venv"))
}

/// Lists of packages beside the main one, and what the environments made from them are called.
fn further_environments(suite: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(suite)? {
        let path = entry?.path();
        let file = path.file_name().map(|name| name.to_string_lossy());
        let name = file.as_deref().and_then(|file| {
            file.strip_prefix("requirements-")?
                .strip_suffix(".txt")
                .map(|name| format!("venv-{name}"))
        });
        found.extend(name.map(|name| (path, name)));
    }
    found.sort();
    Ok(found)
}

/// The interpreter of an environment with the packages of a list.
fn python_environment(list: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let python = folder.join("bin/python");
    make_when_changed(&[list], folder, || {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder))?;
        if list.is_file() {
            let install = [
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ];
            run(Command::new(&python).args(install).arg(list))?;
        }
        Ok(())
    })?;
    Ok(python)
}

/// The suite's Node modules, when it has a `package.json`.
fn node_modules(suite: &Path, cache: &Path) -> anyhow::Result<Option<PathBuf>> {
    let (package, lock) = (suite.join("package.json"), suite.join("package-lock.json"));
    if !package.is_file() {
        return Ok(None);
    }
    if Command::new("npm").arg("--version").output().is_err() {
        say("> npm is not installed: the suites that need it say so");
        return Ok(None);
    }
    let folder = cache.join("node");
    make_when_changed(&[&package, &lock], &folder, || {
        fs::create_dir_all(&folder)?;
        fs::copy(&package, folder.join("package.json"))?;
        // With a lock file exactly what it names; without one, whatever fits.
        let verb = if lock.is_file() {
            fs::copy(&lock, folder.join("package-lock.json"))?;
            "ci"
        } else {
            "install"
        };
        run(Command::new("npm")
            .args([verb, "--no-audit", "--no-fund"])
            .current_dir(&folder))
    })?;
    Ok(Some(folder.join("node_modules")))
}

/// Calls `make` unless `folder` was made from files with this very content.
fn make_when_changed(
    from: &[&Path],
    folder: &Path,
    make: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wanted: String = from
        .iter()
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .collect();
    let stamp = folder.join(".made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    make()?;
    // Written last: an interrupted installation is made again.
    fs::write(stamp, wanted).context("cannot write to the cache folder")
}

/// Builds the release binary and asks cargo where it put it.
fn release_binary() -> anyhow::Result<PathBuf> {
    say("> cargo build --release --package forebay");
    let args = [
        "build",
        "--release",
        "--package",
        "forebay",
        "--message-format",
        "json-render-diagnostics",
    ];
    let output = cargo(&args)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the release build failed");
    }
    let messages = String::from_utf8(output.stdout)?;
    executable(&messages).context("cargo did not say where the binary is")
}

fn executable(messages: &str) -> Option<PathBuf> {
    let parsed = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut paths = parsed.filter_map(|message| {
        let is_ours = message["target"]["name"] == "forebay";
        message["executable"]
            .as_str()
            .filter(|_| is_ours)
            .map(PathBuf::from)
    });
    paths.next()
}

#[cfg(test)]
mod tests {
    use super::{executable, further_environments, make_when_changed};

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"x\"}\n\
            {\"target\":{\"name\":\"other\"},\"executable\":\"/x\"}\n\
            {\"target\":{\"name\":\"forebay\"},\"executable\":null}\n\
            {\"target\":{\"name\":\"forebay\"},\"executable\":\"/t/release/forebay\"}\n";
        assert_eq!(executable(messages), Some("/t/release/forebay".into()));
        assert_eq!(executable(""), None);
    }

    #[test]
    fn every_further_list_of_packages_is_an_environment() {
        let dir = std::env::temp_dir().join(format!("xtask-lists-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = [
            "requirements.txt",
            "requirements-new.txt",
            "requirements-2022.txt",
            "run.py",
        ];
        for name in files {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let found = further_environments(&dir).unwrap();
        let named: Vec<_> = found.iter().map(|(_, name)| &**name).collect();
        assert_eq!(named, ["venv-2022", "venv-new"]);
        assert_eq!(found[0].0, dir.join("requirements-2022.txt"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn nothing_is_installed_twice_and_a_change_is_noticed() {
        let dir = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
        let (from, made) = (dir.join("list"), dir.join("made"));
        std::fs::create_dir_all(&made).unwrap();
        let mut count = 0;
        for list in ["a", "a", "b"] {
            std::fs::write(&from, list).unwrap();
            make_when_changed(&[&from], &made, || {
                count += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(count, 2);
        assert!(make_when_changed(&[], &made, || anyhow::bail!("interrupted")).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
