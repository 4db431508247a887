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
    /// One number, or a whole number within bounds.
    IntegerOr {
        /// The number outside of the bounds.
        other: i64,
        /// Smallest other value.
        min: i64,
        /// Greatest other value.
        max: i64,
    },
    /// Some of a few words, comma-separated.
    List(&'static [&'static str]),
    /// `*`, or pairs of partition and node: `0:1,1:1`.
    Replicas,
    /// Any words, comma-separated.
    Words,
    /// Any text.
    Text,
    /// Only `false`; the text says why.
    Off(&'static str),
}

impl Kind {
    /// Whether values can be added to and taken out of.
    pub fn is_list(self) -> bool {
        matches!(self, Self::List(_) | Self::Replicas | Self::Words)
    }

    /// A value without the spaces that mean nothing: this is how it is shown.
    pub fn tidy(self, value: &str) -> String {
        match self {
            Self::Text => value.to_owned(),
            _ if self.is_list() => items(value.trim()).collect::<Vec<_>>().join(","),
            _ => value.trim().to_owned(),
        }
    }
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

const NO_LEVEL: &str = "Accepted and reported; records are kept as the producer compressed them.";
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
        Kind::List(&["compact", "delete"]),
        "What happens to old records. Without `delete` nothing is deleted by age or size.",
    ),
    setting(
        "compression.gzip.level",
        "-1",
        Kind::IntegerOr {
            other: -1,
            min: 1,
            max: 9,
        },
        NO_LEVEL,
    ),
    setting(
        "compression.lz4.level",
        "9",
        Kind::Integer { min: 1, max: 17 },
        NO_LEVEL,
    ),
    setting(
        "compression.type",
        "producer",
        Kind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "Records are kept as the producer compressed them, whatever is set here.",
    ),
    setting(
        "compression.zstd.level",
        "3",
        Kind::Integer {
            min: -131_072,
            max: 22,
        },
        NO_LEVEL,
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
    setting(
        "errors.deadletterqueue.group.enable",
        "false",
        Kind::Boolean,
        "Accepted and reported; a topic becomes the dead-letter destination of a queue by the queue's own settings.",
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
        Kind::Replicas,
        ONE_NODE,
    ),
    setting("index.interval.bytes", "4096", int_at_least(0), STORED),
    setting(
        "leader.replication.throttled.replicas",
        "",
        Kind::Replicas,
        ONE_NODE,
    ),
    setting("local.retention.bytes", "-2", at_least(-2), NOT_TIERED),
    setting("local.retention.ms", "-2", at_least(-2), NOT_TIERED),
    setting("max.compaction.lag.ms", FOREVER, at_least(1), NO_COMPACTION),
    setting(
        "max.decompressed.message.bytes",
        "2147483639",
        int_at_least(1),
        "Largest size the records of a compressed batch may have when they are opened, in bytes.",
    ),
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
    setting(
        "min.insync.replicas",
        "1",
        int_at_least(1),
        "Accepted and reported; never more than a topic has copies.",
    ),
    setting("preallocate", "false", Kind::Boolean, STORED),
    setting("remote.copy.lag.bytes", "-1", at_least(-1), NOT_TIERED),
    setting("remote.copy.lag.ms", "0", at_least(-1), NOT_TIERED),
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
    setting(
        "remote.storage.enable",
        "false",
        Kind::Off(
            "Tiered Storage functionality is disabled in the broker. \
             Topic cannot be configured with remote log storage.",
        ),
        "Only `false`: there is one storage tier.",
    ),
    setting(
        "retention.bytes",
        "-1",
        at_least(i64::MIN),
        "Oldest records beyond this size of a partition go; below 0: no limit.",
    ),
    setting(
        "retention.ms",
        "604800000",
        at_least(-1),
        "Records older than this go; -1: no limit.",
    ),
    setting("segment.bytes", "1073741824", int_at_least(1 << 20), STORED),
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

/// The same, as an outcome. Errors: `InvalidConfig`.
pub fn require(name: &str) -> Result<&'static Setting> {
    find(name).ok_or_else(|| Error::InvalidConfig(format!("Unknown topic config name: {name}")))
}

impl Setting {
    /// Checks a value.
    pub fn check(&self, value: &str) -> Result<()> {
        let value = value.trim();
        let problem = match self.kind {
            Kind::Boolean => boolean(value),
            Kind::Integer { min, max } => {
                number(value, width(max)).and_then(|n| within(n, (min, max)))
            }
            Kind::IntegerOr { other, min, max } => number(value, width(max)).and_then(|n| {
                if n == other || (min..=max).contains(&n) {
                    return Ok(());
                }
                Err(format!(
                    "Value must be between {min} and {max} or equal to {other}"
                ))
            }),
            Kind::Ratio => ratio(value),
            Kind::Choice(words) if words.contains(&value) => Ok(()),
            Kind::Choice(words) => Err(one_of(words)),
            Kind::Words | Kind::Text => Ok(()),
            Kind::List(words) => return self.check_list(value, words),
            Kind::Replicas => return self.check_replicas(value),
            Kind::Off(why) => match boolean(value) {
                Ok(()) if is_true(value) => return Err(Error::InvalidConfig(why.to_owned())),
                outcome => outcome,
            },
        };
        problem.map_err(|problem| self.invalid(value, &problem))
    }

    fn invalid(&self, value: &str, problem: &str) -> Error {
        Error::InvalidConfig(format!(
            "Invalid value {value} for configuration {}: {problem}",
            self.name
        ))
    }

    fn check_list(&self, value: &str, words: &[&str]) -> Result<()> {
        for word in items(value) {
            if word.is_empty() {
                let text = format!("Configuration '{}' values must not be empty.", self.name);
                return Err(Error::InvalidConfig(text));
            }
            if !words.contains(&word) {
                return Err(self.invalid(word, &one_of(words)));
            }
        }
        Ok(())
    }

    fn check_replicas(&self, value: &str) -> Result<()> {
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        let is_pair = |item: &str| {
            let pair = item.split_once(':');
            pair.is_some_and(|(partition, node)| is_number(partition) && is_number(node))
        };
        if value == "*" || items(value).all(is_pair) {
            return Ok(());
        }
        let listed: Vec<_> = items(value).collect();
        let problem = format!(
            "{} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            self.name
        );
        Err(self.invalid(&format!("[{}]", listed.join(", ")), &problem))
    }
}

/// The items of a list; none in an empty text.
fn items(value: &str) -> impl Iterator<Item = &str> {
    let all = value.split(',').map(str::trim);
    all.filter(move |_| !value.is_empty())
}

fn is_true(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true")
}

fn boolean(value: &str) -> std::result::Result<(), String> {
    if is_true(value) || value.eq_ignore_ascii_case("false") {
        return Ok(());
    }
    Err("Expected value to be either true or false".to_owned())
}

fn one_of(words: &[&str]) -> String {
    format!("String must be one of: {}", words.join(", "))
}

/// The greatest number of the kind that `max` belongs to, and the kind's name.
fn width(max: i64) -> (i64, &'static str) {
    if max <= i64::from(i32::MAX) {
        (i64::from(i32::MAX), "INT")
    } else {
        (i64::MAX, "LONG")
    }
}

fn number(value: &str, (greatest, name): (i64, &str)) -> std::result::Result<i64, String> {
    let number = value.parse::<i64>().ok();
    let number = number.filter(|n| (-greatest - 1..=greatest).contains(n));
    number.ok_or_else(|| format!("Not a number of type {name}"))
}

fn within(number: i64, (min, max): (i64, i64)) -> std::result::Result<(), String> {
    if number < min {
        return Err(format!("Value must be at least {min}"));
    }
    if number > max {
        return Err(format!("Value must be no more than {max}"));
    }
    Ok(())
}

fn ratio(value: &str) -> std::result::Result<(), String> {
    let number = value.parse::<f64>().ok().filter(|n| !n.is_nan());
    match number.ok_or("Not a number of type DOUBLE")? {
        ..0.0 => Err("Value must be at least 0".to_owned()),
        0.0..=1.0 => Ok(()),
        _ => Err("Value must be no more than 1".to_owned()),
    }
}

/// A topic's settings as the engine acts on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Largest batch, bytes.
    pub batch_bytes_max: usize,
    /// Timestamps are the time of the append.
    pub append_time: bool,
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
    /// Every record needs a key.
    pub keyed: bool,
    /// Old records go.
    pub deletes: bool,
    /// Largest size of a compressed batch's records when they are opened, bytes.
    pub opened_bytes_max: usize,
}

impl Config {
    /// Whether records go only when there is a newer one of their key: not by age, size or request.
    pub fn keeps_newest_only(&self) -> bool {
        self.keyed && !self.deletes
    }

    /// Checks `overrides` and derives what the engine acts on. Errors: `InvalidConfig`.
    pub fn new(overrides: &BTreeMap<String, String>) -> Result<Self> {
        for (name, value) in overrides {
            require(name)?.check(value)?;
        }
        let value = |name: &str| {
            let default = find(name).map_or("", |s| s.default);
            overrides.get(name).map_or(default, String::as_str).trim()
        };
        let number = |name: &str| value(name).parse::<i64>().unwrap_or(0);
        let limit = |name: &str| u64::try_from(number(name)).ok();
        let (least, greatest) = (
            number("min.compaction.lag.ms"),
            number("max.compaction.lag.ms"),
        );
        if least > greatest {
            return Err(Error::InvalidConfig(format!(
                "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({greatest})"
            )));
        }
        let has_policy = |policy| items(value("cleanup.policy")).any(|p| p == policy);
        let deletes = has_policy("delete");
        Ok(Self {
            batch_bytes_max: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            append_time: value("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            durability: match value("durability") {
                "flush" => storage::Durability::Flush,
                _ => storage::Durability::Sync,
            },
            retention_ms: limit("retention.ms").filter(|_| deletes),
            retention_bytes: limit("retention.bytes").filter(|_| deletes),
            keyed: has_policy("compact"),
            deletes,
            opened_bytes_max: usize::try_from(number("max.decompressed.message.bytes"))
                .unwrap_or(0),
        })
    }
}
