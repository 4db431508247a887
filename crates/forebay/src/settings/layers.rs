//! Where values come from: flags over environment over file over default, and nothing unknown in any of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

use super::suggest::closest;
use super::table::{Key, PREFIX};
use super::{KEYS, Settings};

/// Variables that begin like this look as if they were meant for us.
pub(crate) const FAMILY: &str = "FOREBAY_";
/// Those that are, and are no settings: where commands find a broker, and where conformance suites keep their tools.
const OTHERS: &[&str] = &["FOREBAY_HTTP", "FOREBAY_CACHE"];
/// Those that an orchestrator sets in every container for a service named `forebay`.
const SERVICE: &[&str] = &["FOREBAY_SERVICE_", "FOREBAY_PORT"];

/// One value given on the command line.
#[derive(Clone, Debug)]
pub(crate) struct FlagValue {
    /// The key it sets.
    pub(crate) key: &'static str,
    /// The flag as written, for messages.
    pub(crate) flag: &'static str,
    pub(crate) text: String,
}

/// Everything that may hold settings, besides the defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The settings file.
    pub(crate) file: Option<PathBuf>,
    /// The environment; what is not ours is ignored.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) flags: Vec<FlagValue>,
}

/// The value of one key and where it came from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) origin: String,
}

/// A value on its way through the layers.
struct Written {
    key: &'static Key,
    text: String,
    origin: String,
}

impl Sources {
    /// Reads all layers and checks every value; the entries come in the table's order.
    pub(crate) fn resolve(&self) -> anyhow::Result<(Settings, Vec<Entry>)> {
        self.refuse_misspelled()?;
        // Lowest first: a later value of the same key replaces an earlier one.
        let mut written = Vec::new();
        if let Some(path) = &self.file {
            written.extend(read_file(path)?);
        }
        written.extend(read_environment(&self.environment)?);
        written.extend(self.flags.iter().map(read_flag));

        let mut entries = Vec::with_capacity(KEYS.len());
        for key in KEYS {
            entries.push(entry(key, &written)?);
        }
        let text_of = |name: &str| {
            entries
                .iter()
                .find(|entry| entry.key == name)
                .map_or("", |entry| &entry.value)
        };
        let settings = Settings::parse(text_of).map_err(anyhow::Error::msg)?;
        let valid = settings.validate();
        valid.map_err(|error| with_origins(error, &entries))?;
        Ok((settings, entries))
    }

    /// Variables with the name of a setting but for the underscores were meant for us beyond doubt.
    fn refuse_misspelled(&self) -> anyhow::Result<()> {
        let plain = |name: &str| name.replace('_', "");
        for (name, _) in &self.environment {
            if name.starts_with(PREFIX) || OTHERS.contains(&name.as_str()) {
                continue;
            }
            let meant = KEYS.iter().map(Key::variable);
            if let Some(meant) = meant.into_iter().find(|key| plain(key) == plain(name)) {
                bail!("unknown environment variable `{name}`, did you mean `{meant}`?");
            }
        }
        Ok(())
    }

    /// Variables that look like settings and are none, with what may have been meant: they have no effect.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let names = self.environment.iter().map(|(name, _)| name.as_str());
        let strange = names.filter(|name| {
            let is_service = SERVICE.iter().any(|start| name.starts_with(start));
            name.starts_with(FAMILY)
                && !name.starts_with(PREFIX)
                && !OTHERS.contains(name)
                && !is_service
        });
        let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
        let known = known
            .iter()
            .map(String::as_str)
            .chain(OTHERS.iter().copied());
        strange
            .map(|name| match closest(name, known.clone()) {
                Some(meant) => format!(
                    "the environment variable `{name}` has no effect, did you mean `{meant}`?"
                ),
                None => format!(
                    "the environment variable `{name}` has no effect: settings are named \
                         `FOREBAY__SECTION__KEY`, `forebay config show` lists all of them"
                ),
            })
            .collect()
    }
}

/// An error with the values of the settings it names and where those come from, unless they are defaults.
pub(crate) fn with_origins(error: anyhow::Error, entries: &[Entry]) -> anyhow::Error {
    let text = format!("{error:#}");
    let named = |key: &str| {
        let mut places = text.match_indices(key);
        // Not as a part of a longer name.
        places.any(|(at, _)| {
            let part = |c: char| c.is_alphanumeric() || c == '_';
            !text[at + key.len()..].starts_with(part) && !text[..at].ends_with(part)
        })
    };
    let named = entries
        .iter()
        .filter(|entry| entry.origin != "default" && entry.key.contains('.') && named(entry.key));
    let mut told = text.clone();
    for Entry { key, value, origin } in named {
        let set = format!("{key} = \"{value}\"");
        if told.contains(&set) {
            told = told.replacen(&set, &format!("{set} ({origin})"), 1);
        } else {
            told = format!("{told}; {set} ({origin})");
        }
    }
    if told == text {
        return error;
    }
    anyhow::anyhow!("{told}")
}

fn entry(key: &'static Key, written: &[Written]) -> anyhow::Result<Entry> {
    // Even a value that is overridden must be right: it would surprise on the day the override goes.
    let mut last = (key.default.to_owned(), "default".to_owned());
    for value in written.iter().filter(|value| value.key.name == key.name) {
        let canonical = key.canonical(&value.text);
        let canonical = canonical.map_err(|expected| {
            anyhow::anyhow!(
                "{} = \"{}\" ({}): {expected}",
                key.name,
                value.text,
                value.origin
            )
        })?;
        last = (canonical, value.origin.clone());
    }
    Ok(Entry {
        key: key.name,
        value: last.0,
        origin: last.1,
    })
}

fn read_flag(flag: &FlagValue) -> Written {
    let key = KEYS
        .iter()
        .find(|key| key.name == flag.key)
        .expect("flags name keys of the table, by test");
    Written {
        key,
        text: flag.text.clone(),
        origin: format!("flag {}", flag.flag),
    }
}

fn read_environment(environment: &[(String, String)]) -> anyhow::Result<Vec<Written>> {
    let ours = environment
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX));
    ours.map(|(name, text)| {
        let Some(key) = KEYS.iter().find(|key| key.variable() == *name) else {
            let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
            bail!(unknown(
                "environment variable",
                name,
                known.iter().map(String::as_str)
            ));
        };
        Ok(Written {
            key,
            text: text.clone(),
            origin: format!("env {name}"),
        })
    })
    .collect()
}

fn read_file(path: &Path) -> anyhow::Result<Vec<Written>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read settings file {shown}"))?;
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("settings file {shown} is not valid TOML"))?;
    let mut leaves = Vec::new();
    flatten("", &table, &mut leaves);
    let found = leaves.into_iter().map(|(name, value)| {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            bail!(
                "{} in {shown}",
                unknown("setting", &name, KEYS.iter().map(|key| key.name))
            );
        };
        let text = match &value {
            toml::Value::Array(values) if key.list => joined(values),
            single => scalar(single),
        };
        let Some(text) = text else {
            bail!(
                "{name} in {shown}: expected a single value ({})",
                key.kind()
            );
        };
        let text = if key.path {
            from_folder_of(path, text)?
        } else {
            text
        };
        Ok(Written {
            key,
            text,
            origin: format!("file {shown}"),
        })
    });
    found.collect()
}

/// A path as the settings file has it, seen from where the process is.
fn from_folder_of(file: &Path, text: String) -> anyhow::Result<String> {
    // Empty: not set.
    if text.is_empty() || Path::new(&text).is_absolute() {
        return Ok(text);
    }
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let path: PathBuf = folder.join(text).components().collect();
    let path = path.into_os_string().into_string();
    path.map_err(|path| anyhow::anyhow!("{} is not valid UTF-8", path.display()))
}

/// All values of a table under their full names. An empty section is fine; a wrong one shows by its keys.
fn flatten(prefix: &str, table: &toml::Table, leaves: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let name = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => flatten(&name, inner, leaves),
            toml::Value::Table(_)
                if KEYS
                    .iter()
                    .any(|key| key.name.starts_with(&format!("{name}."))) => {}
            _ => leaves.push((name, value.clone())),
        }
    }
}

/// An array as one text; a comma within a value would make it two.
fn joined(values: &[toml::Value]) -> Option<String> {
    let texts: Option<Vec<String>> = values.iter().map(scalar).collect();
    let texts = texts?;
    let clean = texts.iter().all(|text| !text.contains(','));
    clean.then(|| texts.join(","))
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(word) => Some(word.to_string()),
        toml::Value::Float(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    }
}

fn unknown<'k>(what: &str, name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match closest(name, known) {
        Some(meant) => format!("unknown {what} `{name}`, did you mean `{meant}`?"),
        None => format!("unknown {what} `{name}`, `forebay config show` lists all settings"),
    }
}
