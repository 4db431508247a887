//! The settings a topic can have: names, defaults, rules, and what they mean to the engine.
//!
//! Names and defaults are those users know. Every setting that can be given is listed; one that this broker
//! stores and reports without acting on it says so in its help text.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// What kind of value a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number within these bounds.
    Integer {
        /// Smallest allowed value.
        min: i64,
        /// Greatest allowed value.
        max: i64,
    },
    /// A number with a fraction, 0 to 1.
    Ratio,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Some of a few words, comma-separated.
    List(&'static [&'static str]),
    /// A comma-separated list of anything.
    FreeList,
}

/// One setting of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name.
    pub name: &'static str,
    /// Value when not given.
    pub default: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it does.
    pub help: &'static str,
}

const fn setting(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        default,
        kind,
        help,
    }
}

const fn at_least(min: i64) -> Kind {
    Kind::Integer { min, max: i64::MAX }
}

const fn int_at_least(min: i64) -> Kind {
    Kind::Integer {
        min,
        max: i32::MAX as i64,
    }
}

const FOREVER: &str = "9223372036854775807";
const STORED: &str = "Accepted and reported; this broker lays out its files itself.";
const NO_COMPACTION: &str = "Accepted and reported; takes effect once compaction exists.";
const ONE_NODE: &str = "Accepted and reported; a single node has one copy.";
const NOT_TIERED: &str = "Accepted and reported; there is one storage tier.";

/// Every setting of a topic, in name order.
pub const SETTINGS: &[Setting] = &[
    setting(
        "cleanup.policy",
        "delete",
        Kind::List(&["delete", "compact"]),
        "What happens to old records. With `compact` alone nothing is deleted by age or size.",
    ),
    setting(
        "compression.type",
        "producer",
        Kind::Choice(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "Records are kept as the producer compressed them, whatever is set here.",
    ),
    setting(
        "delete.retention.ms",
        "86400000",
        at_least(0),
        NO_COMPACTION,
    ),
    setting(
        "durability",
        "sync",
        Kind::Choice(&["sync", "flush"]),
        "When an append is acknowledged: `sync` on disk, `flush` in the operating system and synced at an interval.",
    ),
    setting("file.delete.delay.ms", "60000", at_least(0), STORED),
    setting(
        "flush.messages",
        FOREVER,
        at_least(1),
        "Accepted and reported; see `durability`.",
    ),
    setting(
        "flush.ms",
        FOREVER,
        at_least(0),
        "Accepted and reported; see `durability`.",
    ),
    setting(
        "follower.replication.throttled.replicas",
        "",
        Kind::FreeList,
        ONE_NODE,
    ),
    setting("index.interval.bytes", "4096", int_at_least(0), STORED),
    setting(
        "leader.replication.throttled.replicas",
        "",
        Kind::FreeList,
        ONE_NODE,
    ),
    setting("local.retention.bytes", "-2", at_least(-2), NOT_TIERED),
    setting("local.retention.ms", "-2", at_least(-2), NOT_TIERED),
    setting("max.compaction.lag.ms", FOREVER, at_least(1), NO_COMPACTION),
    setting(
        "max.message.bytes",
        "1048588",
        int_at_least(0),
        "Largest batch that may be appended, in bytes.",
    ),
    setting(
        "message.timestamp.after.max.ms",
        "3600000",
        at_least(0),
        "How far in the future a record's timestamp may lie.",
    ),
    setting(
        "message.timestamp.before.max.ms",
        FOREVER,
        at_least(0),
        "How far in the past a record's timestamp may lie.",
    ),
    setting(
        "message.timestamp.type",
        "CreateTime",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        "Whether records keep the producer's timestamps or get the time of the append.",
    ),
    setting(
        "min.cleanable.dirty.ratio",
        "0.5",
        Kind::Ratio,
        NO_COMPACTION,
    ),
    setting("min.compaction.lag.ms", "0", at_least(0), NO_COMPACTION),
    setting("min.insync.replicas", "1", int_at_least(1), ONE_NODE),
    setting("preallocate", "false", Kind::Boolean, STORED),
    setting(
        "remote.log.copy.disable",
        "false",
        Kind::Boolean,
        NOT_TIERED,
    ),
    setting(
        "remote.log.delete.on.disable",
        "false",
        Kind::Boolean,
        NOT_TIERED,
    ),
    setting("remote.storage.enable", "false", Kind::Boolean, NOT_TIERED),
    setting(
        "retention.bytes",
        "-1",
        at_least(-1),
        "Oldest records beyond this size of a partition go; -1: no limit.",
    ),
    setting(
        "retention.ms",
        "604800000",
        at_least(-1),
        "Records older than this go; -1: no limit.",
    ),
    setting("segment.bytes", "1073741824", int_at_least(14), STORED),
    setting("segment.index.bytes", "10485760", int_at_least(4), STORED),
    setting("segment.jitter.ms", "0", at_least(0), STORED),
    setting("segment.ms", "604800000", at_least(1), STORED),
    setting(
        "unclean.leader.election.enable",
        "false",
        Kind::Boolean,
        ONE_NODE,
    ),
];

/// Looks a setting up by name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.name == name)
}

impl Setting {
    /// Checks a value.
    pub fn check(&self, value: &str) -> Result<()> {
        let fits = match self.kind {
            Kind::Boolean => matches!(value, "true" | "false"),
            Kind::Integer { min, max } => {
                value.parse::<i64>().is_ok_and(|v| (min..=max).contains(&v))
            }
            Kind::Ratio => value.parse::<f64>().is_ok_and(|v| (0.0..=1.0).contains(&v)),
            Kind::Choice(words) => words.contains(&value),
            Kind::List(words) => {
                !value.is_empty() && value.split(',').all(|v| words.contains(&v.trim()))
            }
            Kind::FreeList => true,
        };
        if fits {
            return Ok(());
        }
        Err(Error::InvalidConfig(format!(
            "Invalid value {value} for configuration {}",
            self.name
        )))
    }
}

/// A topic's settings as the engine acts on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Largest batch, bytes.
    pub batch_bytes_max: usize,
    /// Timestamps are the time of the append.
    pub append_time: bool,
    /// Every record needs a key.
    pub keyed: bool,
    /// How far before now a timestamp may lie, ms.
    pub timestamp_before_max_ms: i64,
    /// How far after now a timestamp may lie, ms.
    pub timestamp_after_max_ms: i64,
    /// When an append counts as done.
    pub durability: storage::Durability,
    /// Records older than this go, ms.
    pub retention_ms: Option<u64>,
    /// A partition larger than this loses its oldest records, bytes.
    pub retention_bytes: Option<u64>,
}

impl Config {
    /// Checks `overrides` and derives what the engine acts on. Errors: `InvalidConfig`.
    pub fn new(overrides: &BTreeMap<String, String>) -> Result<Self> {
        for (name, value) in overrides {
            let setting = find(name).ok_or_else(|| {
                Error::InvalidConfig(format!("Unknown topic config name: {name}"))
            })?;
            setting.check(value)?;
        }
        let value = |name: &str| {
            let default = find(name).map_or("", |s| s.default);
            overrides.get(name).map_or(default, String::as_str)
        };
        let number = |name: &str| value(name).parse::<i64>().unwrap_or(0);
        let limit = |name: &str| u64::try_from(number(name)).ok();
        let deletes = value("cleanup.policy")
            .split(',')
            .any(|p| p.trim() == "delete");
        Ok(Self {
            batch_bytes_max: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            keyed: value("cleanup.policy")
                .split(',')
                .any(|p| p.trim() == "compact"),
            append_time: value("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            durability: match value("durability") {
                "flush" => storage::Durability::Flush,
                _ => storage::Durability::Sync,
            },
            retention_ms: limit("retention.ms").filter(|_| deletes),
            retention_bytes: limit("retention.bytes").filter(|_| deletes),
        })
    }
}
