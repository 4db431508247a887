//! Settings of the broker: those it was started with, and those that can be changed while it runs, for all brokers or
//! for this one. What is a default of topics takes effect at once; the others are kept and reported.

use std::borrow::Cow;
use std::collections::BTreeMap;

use engine::Error;
use engine::topic::settings::{self, Kind, Setting};

use super::super::Call;
use super::{Layer, Shown, fixed, origin, type_of, value_type};
use crate::context::Context;
use crate::error::Code;

/// Under what the settings of all brokers are kept …
pub(super) const OF_ALL: &str = "brokers";
/// … and those of this one.
pub(super) const OF_THIS: &str = "broker";

const KEPT: &str = "Accepted and reported; this broker sizes itself.";

const fn kept(name: &'static str, default: &'static str, kind: Kind) -> Setting {
    Setting {
        name,
        default,
        kind,
        help: KEPT,
    }
}

const fn at_least(min: i64) -> Kind {
    Kind::Integer {
        min,
        max: i32::MAX as i64,
    }
}

/// Settings that can be changed and are no defaults of topics, in name order.
const OTHERS: &[Setting] = &[
    kept("background.threads", "10", at_least(1)),
    kept(
        "errors.deadletterqueue.auto.create.topics.enable",
        "false",
        Kind::Boolean,
    ),
    kept(
        "errors.deadletterqueue.topic.name.prefix",
        "dlq.",
        Kind::Text,
    ),
    kept(
        "follower.replication.throttled.rate",
        "9223372036854775807",
        Kind::Integer {
            min: 0,
            max: i64::MAX,
        },
    ),
    kept("group.consumer.assignment.interval.ms", "1000", at_least(0)),
    kept(
        "group.coordinator.cached.buffer.max.bytes",
        "1048588",
        at_least(524_288),
    ),
    kept("group.share.assignment.interval.ms", "1000", at_least(0)),
    kept("group.streams.assignment.interval.ms", "1000", at_least(0)),
    kept(
        "leader.replication.throttled.rate",
        "9223372036854775807",
        Kind::Integer {
            min: 0,
            max: i64::MAX,
        },
    ),
    kept(
        "log.cleaner.backoff.ms",
        "15000",
        Kind::Integer {
            min: 0,
            max: i64::MAX,
        },
    ),
    kept(
        "log.cleaner.dedupe.buffer.size",
        "134217728",
        Kind::Integer {
            min: 0,
            max: i64::MAX,
        },
    ),
    kept("log.cleaner.io.buffer.load.factor", "0.9", Kind::Ratio),
    kept("log.cleaner.io.buffer.size", "524288", at_least(0)),
    kept("log.cleaner.threads", "1", at_least(0)),
    kept("max.connection.creation.rate", "2147483647", at_least(0)),
    kept("max.connections", "2147483647", at_least(0)),
    kept("max.connections.per.ip", "2147483647", at_least(0)),
    kept("max.connections.per.ip.overrides", "", Kind::Text),
    kept("num.io.threads", "8", at_least(1)),
    kept("num.network.threads", "3", at_least(1)),
    kept("num.recovery.threads.per.data.dir", "2", at_least(1)),
    kept("num.replica.fetchers", "1", at_least(1)),
    kept("producer.id.expiration.ms", "86400000", at_least(1)),
    kept(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        "9223372036854775807",
        Kind::Integer {
            min: 0,
            max: i64::MAX,
        },
    ),
    kept(
        "share.coordinator.cached.buffer.max.bytes",
        "1048588",
        at_least(524_288),
    ),
    kept(
        "transaction.partition.verification.enable",
        "true",
        Kind::Boolean,
    ),
];

/// A topic's setting, the broker's whose value is its default, and whether that one has a default itself.
const OF_TOPICS: &[(&str, &str, bool)] = &[
    ("cleanup.policy", "log.cleanup.policy", true),
    ("compression.gzip.level", "compression.gzip.level", true),
    ("compression.lz4.level", "compression.lz4.level", true),
    ("compression.type", "compression.type", true),
    ("compression.zstd.level", "compression.zstd.level", true),
    (
        "delete.retention.ms",
        "log.cleaner.delete.retention.ms",
        true,
    ),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms", true),
    ("flush.messages", "log.flush.interval.messages", true),
    ("flush.ms", "log.flush.interval.ms", false),
    ("index.interval.bytes", "log.index.interval.bytes", true),
    ("local.retention.bytes", "log.local.retention.bytes", true),
    ("local.retention.ms", "log.local.retention.ms", true),
    (
        "max.compaction.lag.ms",
        "log.cleaner.max.compaction.lag.ms",
        true,
    ),
    (
        "max.decompressed.message.bytes",
        "max.decompressed.message.bytes",
        true,
    ),
    ("max.message.bytes", "message.max.bytes", true),
    (
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
        true,
    ),
    (
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
        true,
    ),
    ("message.timestamp.type", "log.message.timestamp.type", true),
    (
        "min.cleanable.dirty.ratio",
        "log.cleaner.min.cleanable.ratio",
        true,
    ),
    (
        "min.compaction.lag.ms",
        "log.cleaner.min.compaction.lag.ms",
        true,
    ),
    ("min.insync.replicas", "min.insync.replicas", true),
    ("preallocate", "log.preallocate", true),
    ("remote.copy.lag.bytes", "log.remote.copy.lag.bytes", true),
    ("remote.copy.lag.ms", "log.remote.copy.lag.ms", true),
    ("retention.bytes", "log.retention.bytes", true),
    ("retention.ms", "log.retention.ms", false),
    ("segment.bytes", "log.segment.bytes", true),
    ("segment.index.bytes", "log.index.size.max.bytes", true),
    ("segment.jitter.ms", "log.roll.jitter.ms", false),
    ("segment.ms", "log.roll.ms", false),
    (
        "unclean.leader.election.enable",
        "unclean.leader.election.enable",
        true,
    ),
];

/// The broker's setting whose value is a topic's default, and whether it has a default itself.
pub(super) fn of_topic(name: &str) -> Option<(&'static str, bool)> {
    let found = OF_TOPICS.iter().find(|(topic, ..)| *topic == name)?;
    Some((found.1, found.2))
}

/// A setting that can be changed.
fn find(name: &str) -> Option<Setting> {
    let of_topics = OF_TOPICS.iter().find(|(_, broker, _)| *broker == name);
    if let Some((topic, broker, _)) = of_topics {
        let setting = settings::find(topic)?;
        return Some(Setting {
            name: broker,
            ..*setting
        });
    }
    OTHERS.iter().find(|setting| setting.name == name).copied()
}

/// Whether values can be added to and taken out of a setting, and its default.
pub(super) fn list(name: &str) -> Option<&'static str> {
    let found = find(name).filter(|setting| setting.kind.is_list());
    found.map(|setting| setting.default)
}

/// Checks what is to be set. An unknown name may mean something to a client, and is kept.
pub(super) fn check(name: &str, value: Option<&str>) -> Result<(), Error> {
    if fixed::is_fixed(name) {
        return Err(Error::InvalidRequest(format!(
            "Cannot update these configs dynamically: [{name}]"
        )));
    }
    match (find(name), value) {
        (Some(setting), Some(value)) => setting.check(value).map_err(|error| match error {
            Error::InvalidConfig(text) => Error::InvalidRequest(text),
            other => other,
        }),
        _ => Ok(()),
    }
}

/// The defaults of topics that follow from what was set for brokers; for the engine, which applies them.
pub fn topic_defaults(
    kept: &BTreeMap<String, BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let value = |name: &str| {
        let of = |scope| kept.get(scope).and_then(|values| values.get(name));
        of(OF_THIS).or_else(|| of(OF_ALL))
    };
    OF_TOPICS
        .iter()
        .filter_map(|(topic, broker, _)| Some(((*topic).to_owned(), value(broker)?.clone())))
        .collect()
}

/// Whose settings a resource of this name is: all brokers', or this one's.
pub(super) fn scope(context: &Context, name: &str) -> Result<&'static str, String> {
    if name.is_empty() {
        return Ok(OF_ALL);
    }
    let id: i32 = name
        .parse()
        .map_err(|_| format!("Node id must be an integer, but it is: {name}"))?;
    if id == context.node_id() {
        return Ok(OF_THIS);
    }
    Err(format!(
        "Unexpected broker id, expected {} or empty string, but received {name}",
        context.node_id()
    ))
}

pub(super) fn describe(
    context: &Context,
    call: &Call<'_>,
    name: &str,
) -> Result<Vec<Shown>, super::Refusal> {
    let scope = scope(context, name).map_err(|text| (Code::InvalidRequest, Cow::from(text)))?;
    let of_all = context.broker.kept(OF_ALL);
    if scope == OF_ALL {
        // What all brokers have in common is what was set for all.
        let layers = |value: &String| vec![(None, value.clone(), origin::DYNAMIC_DEFAULT_BROKER)];
        let each = of_all.iter();
        return Ok(each
            .map(|(name, value)| changeable(name, layers(value)))
            .collect());
    }
    let of_this = context.broker.kept(OF_THIS);
    let mut shown: Vec<Shown> = started_with(context, call);
    let known = OF_TOPICS.iter().map(|(_, broker, _)| *broker);
    let known = known.chain(OTHERS.iter().map(|setting| setting.name));
    let set = of_this.keys().chain(of_all.keys()).map(String::as_str);
    let names: std::collections::BTreeSet<&str> = known.chain(set).collect();
    for name in names {
        let mut layers = changed_layers(name, (&of_this, &of_all));
        layers.extend(fixed_layers(context, name));
        shown.push(changeable(name, layers));
    }
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(shown)
}

/// What was set while it ran, strongest first.
pub(super) fn changed_layers(
    name: &str,
    (of_this, of_all): (&BTreeMap<String, String>, &BTreeMap<String, String>),
) -> Vec<Layer> {
    let this = of_this.get(name).map(|v| (v, origin::DYNAMIC_BROKER));
    let all = of_all
        .get(name)
        .map(|v| (v, origin::DYNAMIC_DEFAULT_BROKER));
    let set = this.into_iter().chain(all);
    set.map(|(value, origin)| (None, value.clone(), origin))
        .collect()
}

/// What it was started with, and the default.
pub(super) fn fixed_layers(context: &Context, name: &str) -> Vec<Layer> {
    let mut layers = Vec::new();
    let of_topics = OF_TOPICS.iter().find(|(_, broker, _)| *broker == name);
    let setting = find(name);
    let default = setting.map(|setting| setting.default);
    if let Some((topic, ..)) = of_topics
        && let Some(value) = context.broker.settings().topic_defaults.get(*topic)
        // A default needs no entry.
        && default != Some(value)
    {
        layers.push((None, value.clone(), origin::STATIC_BROKER));
    }
    let has_default = of_topics.is_none_or(|(.., has_default)| *has_default);
    if let Some(default) = default.filter(|_| has_default) {
        layers.push((None, default.to_owned(), origin::DEFAULT));
    }
    layers
}

fn changeable(name: &str, layers: Vec<Layer>) -> Shown {
    let setting = find(name);
    Shown {
        name: name.to_owned(),
        layers,
        kind: setting.map_or(value_type::UNKNOWN, |setting| type_of(setting.kind)),
        help: setting.map(|setting| setting.help),
        read_only: false,
        // An unknown value may be a secret.
        sensitive: setting.is_none(),
    }
}

/// What can be said of how it was started.
fn started_with(context: &Context, call: &Call<'_>) -> Vec<Shown> {
    use value_type::{BOOLEAN, INT, LIST, LONG};
    let broker = context.broker.settings();
    let (host, port) = &call.advertised;
    let listener = format!("PLAINTEXT://{host}:{port}");
    let node = context.node_id().to_string();
    let values = [
        ("advertised.listeners", listener.clone(), LIST),
        (
            "auto.create.topics.enable",
            context.settings.auto_create_topics.to_string(),
            BOOLEAN,
        ),
        ("broker.id", node.clone(), INT),
        ("default.replication.factor", "1".to_owned(), INT),
        (
            "group.initial.rebalance.delay.ms",
            broker.group.initial_rebalance_delay_ms.to_string(),
            INT,
        ),
        (
            "group.max.session.timeout.ms",
            broker.group.session_timeout_max_ms.to_string(),
            INT,
        ),
        (
            "group.min.session.timeout.ms",
            broker.group.session_timeout_min_ms.to_string(),
            INT,
        ),
        ("listeners", listener, LIST),
        ("log.dirs", context.settings.log_dir.path().to_owned(), LIST),
        ("log.retention.hours", "168".to_owned(), INT),
        (
            "max.incremental.fetch.session.cache.slots",
            context.settings.fetch_sessions_max.to_string(),
            INT,
        ),
        ("node.id", node, INT),
        ("num.partitions", broker.default_partitions.to_string(), INT),
        (
            "offset.metadata.max.bytes",
            broker.group.offset_metadata_max.to_string(),
            INT,
        ),
        (
            "offsets.retention.minutes",
            (broker.group.offsets_retention_ms / 60_000).to_string(),
            INT,
        ),
        ("process.roles", "broker,controller".to_owned(), LIST),
        (
            "socket.request.max.bytes",
            context.settings.request_bytes_max.to_string(),
            INT,
        ),
        (
            "connections.max.idle.ms",
            context.settings.idle.as_millis().to_string(),
            LONG,
        ),
    ];
    values.map(fixed_one).into()
}

/// A setting that was given at the start, or did not have to be.
fn fixed_one((name, value, kind): (&str, String, i8)) -> Shown {
    let origin = if DEFAULTS.contains(&(name, &value)) {
        origin::DEFAULT
    } else {
        origin::STATIC_BROKER
    };
    Shown {
        name: name.to_owned(),
        layers: vec![(None, value, origin)],
        kind,
        help: None,
        read_only: true,
        sensitive: false,
    }
}

/// Values with a default at a start.
const DEFAULTS: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "true"),
    ("connections.max.idle.ms", "600000"),
    ("default.replication.factor", "1"),
    ("group.initial.rebalance.delay.ms", "3000"),
    ("group.max.session.timeout.ms", "1800000"),
    ("group.min.session.timeout.ms", "6000"),
    ("log.retention.hours", "168"),
    ("max.incremental.fetch.session.cache.slots", "1000"),
    ("num.partitions", "1"),
    ("offset.metadata.max.bytes", "4096"),
    ("offsets.retention.minutes", "10080"),
    ("socket.request.max.bytes", "104857600"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
        for (topic, broker, _) in OF_TOPICS {
            assert!(settings::find(topic).is_some(), "{topic}");
            assert!(!fixed::is_fixed(broker), "{broker}");
            assert!(find(broker).is_some());
        }
        assert!(OTHERS.is_sorted_by_key(|setting| setting.name));
        for setting in OTHERS {
            setting.check(setting.default).expect(setting.name);
            assert!(!fixed::is_fixed(setting.name), "{}", setting.name);
        }
    }

    #[test]
    fn what_is_set_for_this_broker_goes_before_what_is_set_for_all() {
        let values = |pairs: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(own).collect::<BTreeMap<_, _>>()
        };
        let kept = BTreeMap::from([
            (
                OF_ALL.to_owned(),
                values(&[("log.retention.ms", "5"), ("message.max.bytes", "7")]),
            ),
            (
                OF_THIS.to_owned(),
                values(&[("log.retention.ms", "6"), ("num.io.threads", "4")]),
            ),
        ]);
        assert_eq!(
            topic_defaults(&kept),
            values(&[("retention.ms", "6"), ("max.message.bytes", "7")])
        );
    }
}
