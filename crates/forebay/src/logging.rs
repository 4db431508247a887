//! Log lines, to stderr; stdout belongs to the addresses and the ready line.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat, PARTS};

/// The logger that every part follows that has no level of its own.
const ROOT: &str = "root";

/// Puts a filter in the place of the one that counts now.
type Replace = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The levels of the process's log lines, which can be changed while it runs, until the next start.
pub(crate) struct Levels {
    /// What the settings say.
    configured: String,
    /// What was changed since, by logger.
    changed: Mutex<BTreeMap<String, String>>,
    replace: Replace,
}

/// There is one log, as there is one stderr.
static LEVELS: OnceLock<Arc<Levels>> = OnceLock::new();

/// The form of the lines, once it is started.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Says why the process ends: as a log line where a machine reads the log, in plain words otherwise.
pub(crate) fn fatal(reason: &str) {
    let is_json = FORMAT.get() == Some(&LogFormat::Json);
    if is_json && tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(reason, "forebay cannot go on");
    } else {
        // With stderr closed nothing can be shown; the exit code still says it.
        let _ = writeln!(io::stderr(), "forebay: {reason}");
    }
}

/// Lines that stderr did not take.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many log lines could not be written since the start.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Stderr, whose reader may have gone and whose disk may be full: a line that it does not take is dropped and counted.
/// An error is nobody's here; the subscriber would print it to stderr, and panic because that fails too.
struct Stderr;

impl Write for Stderr {
    /// The subscriber writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The levels of the log, once it is started.
pub(crate) fn levels() -> Option<Arc<Levels>> {
    LEVELS.get().cloned()
}

/// Starts logging; called once.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level.0).context("log.level")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(|| Stderr);
    let replace: Replace = match log.format {
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            let lines = lines.with_ansi(colours).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let handle = lines.reload_handle();
            lines.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    };
    FORMAT.get_or_init(|| log.format);
    LEVELS.get_or_init(|| {
        Arc::new(Levels {
            configured: log.level.0.clone(),
            changed: Mutex::default(),
            replace,
        })
    });
    Ok(())
}

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Levels")
            .field("configured", &self.configured)
            .finish_non_exhaustive()
    }
}

impl kafka::Loggers for Levels {
    fn levels(&self) -> Vec<(String, String)> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let own = own_levels(&self.configured, &changed);
        let root = own.get(ROOT).cloned();
        // What no directive names is switched off as soon as there is one.
        let root = root.unwrap_or_else(|| level_name("off"));
        let mut levels: BTreeMap<String, String> = PARTS
            .iter()
            .map(|part| ((*part).to_owned(), root.clone()))
            .collect();
        levels.insert(ROOT.to_owned(), root);
        levels.extend(own);
        levels.into_iter().collect()
    }

    fn set(&self, logger: &str, level: Option<&str>) -> Result<(), String> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = changed.clone();
        match level {
            Some(level) => next.insert(logger.to_owned(), level.to_owned()),
            None => next.remove(logger),
        };
        (self.replace)(filter(&self.configured, &next)?)?;
        *changed = next;
        Ok(())
    }
}

/// Every logger that has a level of its own, with its name in capitals; the newest word counts.
fn own_levels(configured: &str, changed: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let plain = configured
        .split(',')
        // Directives about spans and fields are no loggers; they go on counting.
        .filter(|directive| !directive.contains(['[', '{']));
    let mut own: BTreeMap<String, String> = plain
        .filter_map(|directive| match directive.split_once('=') {
            Some((target, level)) => Some((target.trim().to_owned(), level_name(level.trim()))),
            None if directive.trim().is_empty() => None,
            None => Some((ROOT.to_owned(), level_name(directive.trim()))),
        })
        .collect();
    own.extend(changed.clone());
    own
}

/// The filter that these levels come to.
fn filter(configured: &str, changed: &BTreeMap<String, String>) -> Result<EnvFilter, String> {
    let mut filter = EnvFilter::try_new(configured).map_err(|error| error.to_string())?;
    for (logger, level) in changed {
        let word = match level.as_str() {
            "FATAL" => "off",
            level => level,
        };
        let directive = match logger.as_str() {
            ROOT => word.to_owned(),
            target => format!("{target}={word}"),
        };
        let directive = directive
            .parse()
            .map_err(|_| format!("no level: {level}"))?;
        filter = filter.add_directive(directive);
    }
    Ok(filter)
}

/// A level as administrators' tools write it. Nothing is logged as fatal, so that it switches a logger off.
fn level_name(word: &str) -> String {
    match word.to_ascii_uppercase().as_str() {
        "OFF" => "FATAL".to_owned(),
        level => level.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kafka::Loggers as _;

    use super::*;

    fn levels(configured: &str) -> Levels {
        Levels {
            configured: configured.to_owned(),
            changed: Mutex::default(),
            replace: Box::new(|_| Ok(())),
        }
    }

    fn level(levels: &Levels, logger: &str) -> String {
        let found = levels.levels();
        let found = found.into_iter().find(|(name, _)| name == logger);
        found.expect("a known logger").1
    }

    #[test]
    fn a_part_follows_the_root_until_it_has_a_level_of_its_own() {
        let levels = levels("info,kafka=debug");
        assert_eq!(level(&levels, "root"), "INFO");
        assert_eq!(level(&levels, "engine"), "INFO");
        assert_eq!(level(&levels, "kafka"), "DEBUG");
        levels.set("root", Some("WARN")).unwrap();
        assert_eq!(level(&levels, "engine"), "WARN");
        assert_eq!(level(&levels, "kafka"), "DEBUG");
        levels.set("engine", Some("TRACE")).unwrap();
        levels.set("kafka", Some("FATAL")).unwrap();
        assert_eq!(level(&levels, "engine"), "TRACE");
        assert_eq!(level(&levels, "kafka"), "FATAL");
        levels.set("engine", None).unwrap();
        levels.set("kafka", None).unwrap();
        assert_eq!(level(&levels, "engine"), "WARN");
        assert_eq!(level(&levels, "kafka"), "DEBUG");
    }

    #[test]
    fn the_filter_is_what_the_levels_say() {
        let changed = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let shown = |configured: &str, pairs: &[(&str, &str)]| {
            let filter = filter(configured, &changed(pairs)).unwrap().to_string();
            let mut directives: Vec<String> = filter.split(',').map(str::to_owned).collect();
            directives.sort();
            directives
        };
        assert_eq!(shown("info", &[("root", "WARN")]), ["warn"]);
        assert_eq!(
            shown("info,kafka=debug", &[("kafka", "FATAL"), ("net", "TRACE")]),
            ["info", "kafka=off", "net=trace"]
        );
    }

    #[test]
    fn what_the_settings_do_not_name_is_off() {
        assert_eq!(level(&levels("kafka=debug"), "root"), "FATAL");
    }
}
