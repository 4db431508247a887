//! Settings that are kept for frontends, by the name of what they belong to: only frontends know what they mean, but
//! they survive and everybody sees the same. What follows from them for topics is applied here.

use std::collections::BTreeMap;
use std::sync::Arc;

use security::{Resource, Verb};
use storage::Expected;

use super::command::{Command, KeepCommand};
use super::documents::encode;
use super::kept_settings::{Keep, Kept, Stored, Values};
use super::topic_table::config_of;
use super::{Access, Broker, Inner};
use crate::topic::{Config, Topic, Topics};
use crate::{Error, Result};

/// Things that may have settings kept for them.
const SCOPES_MAX: usize = 10_000;
/// Bytes of a scope's name.
const SCOPE_BYTES_MAX: usize = 1024;
/// Settings kept for one.
const VALUES_MAX: usize = 512;
/// Bytes of their names and values together.
const BYTES_MAX: usize = 64 << 10;

const FOLDER: &str = "kept/";

impl Access {
    /// Changes what is kept, all or nothing; with `dry_run` only checks it. It is asked about `resource`.
    pub async fn keep(&self, resource: Resource<'_>, keep: Keep, dry_run: bool) -> Result<()> {
        self.authorize(Verb::Configure, resource)?;
        self.command(|done| {
            Command::Keep(KeepCommand {
                keep,
                dry_run,
                done,
            })
        })
        .await
    }
}

impl Broker {
    /// What is kept for something. Who may know it is asked by who keeps it, about what it belongs to.
    pub fn kept(&self, scope: &str) -> Arc<Values> {
        let kept = self.inner.kept.load();
        let stored = kept.0.get(scope);
        stored.map_or_else(Arc::default, |stored| Arc::clone(&stored.values))
    }

    /// What something is kept for, in name order.
    pub fn kept_scopes(&self) -> Vec<Arc<str>> {
        self.inner.kept.load().0.keys().cloned().collect()
    }
}

/// What follows for topics from what is kept, on top of the settings.
fn defaults_of(inner: &Inner, kept: &Kept) -> Values {
    let all: BTreeMap<String, Values> = kept
        .0
        .iter()
        .map(|(scope, stored)| (scope.to_string(), Values::clone(&stored.values)))
        .collect();
    let mut defaults = inner.settings.topic_defaults.clone();
    defaults.extend((inner.settings.kept_defaults)(&all));
    defaults
}

/// Restores what is kept; before topics are.
pub(super) async fn recover(inner: &Inner) -> Result<()> {
    let mut kept = Kept::default();
    for (key, stored) in inner.catalog.list(FOLDER).await? {
        let scope = key.strip_prefix(FOLDER).unwrap_or(&key);
        let values: Values = serde_json::from_slice(&stored.value)
            .map_err(|error| Error::Storage(format!("document {key}: {error}")))?;
        let stored = Stored {
            version: stored.version,
            values: Arc::new(values),
        };
        kept.0.insert(scope.into(), stored);
    }
    let defaults = defaults_of(inner, &kept);
    match Config::new(&defaults) {
        Ok(_) => inner.topic_defaults.store(Arc::new(defaults)),
        Err(error) => tracing::error!(%error, "stored defaults of topics ignored"),
    }
    inner.kept.store(Arc::new(kept));
    Ok(())
}

pub(super) async fn handle(inner: &Arc<Inner>, command: KeepCommand) {
    let KeepCommand {
        keep,
        dry_run,
        done,
    } = command;
    drop(done.send(change(inner, keep, dry_run).await));
}

async fn change(inner: &Arc<Inner>, keep: Keep, dry_run: bool) -> Result<()> {
    let kept = inner.kept.load_full();
    let stored = kept.0.get(&*keep.scope);
    check_scope(&kept, &keep.scope)?;
    let mut values = match stored {
        Some(stored) if !keep.replace => Values::clone(&stored.values),
        _ => Values::new(),
    };
    for (name, value) in keep.values {
        match value {
            Some(value) => values.insert(name, value),
            None => values.remove(&name),
        };
    }
    check_size(&values)?;
    let expected = stored.map_or(Expected::Absent, |s| Expected::Version(s.version));
    let had_some = stored.is_some();
    let mut next = Kept::clone(&kept);
    let scope: Arc<str> = keep.scope.into();
    if values.is_empty() {
        next.0.remove(&scope);
    } else {
        let values = Arc::new(values.clone());
        let stored = Stored { version: 0, values };
        next.0.insert(Arc::clone(&scope), stored);
    }
    let defaults = defaults_of(inner, &next);
    Config::new(&defaults)?;
    if dry_run || (values.is_empty() && !had_some) {
        return Ok(());
    }
    let value = (!values.is_empty()).then(|| encode(&values));
    let key = format!("{FOLDER}{scope}");
    let version = inner.catalog.put_if(&key, expected, value).await?;
    if let Some(stored) = next.0.get_mut(&scope) {
        stored.version = version;
    }
    inner.kept.store(Arc::new(next));
    apply(inner, defaults)
}

fn check_scope(kept: &Kept, scope: &str) -> Result<()> {
    let refuse = |text: String| Err(Error::InvalidRequest(text));
    if scope.len() > SCOPE_BYTES_MAX || scope.chars().any(char::is_control) {
        return refuse("settings cannot be kept under this name".to_owned());
    }
    if !kept.0.contains_key(scope) && kept.0.len() >= SCOPES_MAX {
        return refuse(format!("settings are kept for at most {SCOPES_MAX} names"));
    }
    Ok(())
}

fn check_size(values: &Values) -> Result<()> {
    let bytes: usize = values.iter().map(|(n, v)| n.len() + v.len()).sum();
    if values.len() > VALUES_MAX || bytes > BYTES_MAX {
        let text =
            format!("at most {VALUES_MAX} settings of {BYTES_MAX} bytes are kept for one name");
        return Err(Error::InvalidRequest(text));
    }
    Ok(())
}

/// Has topics go by other defaults.
fn apply(inner: &Inner, defaults: Values) -> Result<()> {
    if **inner.topic_defaults.load() == defaults {
        return Ok(());
    }
    inner.topic_defaults.store(Arc::new(defaults));
    let topics = inner.topics.load_full();
    let mut next = Topics::clone(&topics);
    for topic in topics.iter() {
        // What a topic says itself was checked with other defaults, and may contradict these.
        let Ok(config) = config_of(inner, &topic.document.overrides) else {
            tracing::warn!(topic = %topic.name, "topic keeps its settings: the new defaults contradict them");
            continue;
        };
        if config == topic.config {
            continue;
        }
        inner.configure_partitions(topic.id(), config)?;
        let changed = Topic {
            config,
            ..Topic::clone(topic)
        };
        next.insert(Arc::new(changed));
    }
    inner.topics.store(Arc::new(next));
    Ok(())
}
