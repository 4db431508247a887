//! Topic settings: the table is sound, and values are checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::settings::{SETTINGS, find};
use super::{Config, Overrides, Topic, TopicDocument, Topics, name};

fn with(name: &str, value: &str) -> crate::Result<Config> {
    Config::new(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
}

#[test]
fn the_table_is_sorted_and_its_defaults_are_valid() {
    assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
    for setting in SETTINGS {
        setting.check(setting.default).expect(setting.name);
    }
}

#[test]
fn values_are_checked() {
    for (name, good, bad) in [
        ("retention.ms", "-1", "-2"),
        ("retention.ms", " 60000 ", "1.5"),
        ("retention.bytes", "10", "ten"),
        ("cleanup.policy", "compact,delete", "shred"),
        ("cleanup.policy", "", "compact,"),
        ("durability", "flush", "maybe"),
        ("preallocate", "TRUE", "yes"),
        ("remote.storage.enable", "False", "true"),
        ("min.cleanable.dirty.ratio", "0.7", "1.1"),
        ("min.cleanable.dirty.ratio", "1", "NaN"),
        ("segment.bytes", "1048576", "1048575"),
        ("max.message.bytes", "2147483647", "2147483648"),
        ("compression.gzip.level", "-1", "0"),
        ("compression.gzip.level", "9", "10"),
        ("compression.lz4.level", "17", "18"),
        ("compression.zstd.level", "-131072", "-131073"),
        ("leader.replication.throttled.replicas", "*", "foo"),
        (
            "follower.replication.throttled.replicas",
            "0:1,0:2",
            "0:1,2",
        ),
    ] {
        with(name, good).expect(name);
        with(name, bad).expect_err(name);
    }
    with("no.such.setting", "1").expect_err("unknown");
    assert!(find("no.such.setting").is_none());
}

#[test]
fn what_is_wrong_with_a_value_is_said() {
    for (name, value, text) in [
        (
            "retention.ms",
            "-2",
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        ),
        (
            "max.message.bytes",
            "2147483648",
            "Invalid value 2147483648 for configuration max.message.bytes: Not a number of type INT",
        ),
        (
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "compression.lz4.level",
            "18",
            "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
        ),
        (
            "cleanup.policy",
            "delete,shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "cleanup.policy",
            "compact,",
            "Configuration 'cleanup.policy' values must not be empty.",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. \
             Topic cannot be configured with remote log storage.",
        ),
        (
            "leader.replication.throttled.replicas",
            "foo,1:2",
            "Invalid value [foo, 1:2] for configuration leader.replication.throttled.replicas: \
             leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
             format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
        ("x.y", "1", "Unknown topic config name: x.y"),
    ] {
        assert_eq!(with(name, value).unwrap_err().to_string(), text);
    }
    let lags = [
        ("min.compaction.lag.ms", "100"),
        ("max.compaction.lag.ms", "50"),
    ];
    let lags = lags.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        Config::new(&BTreeMap::from(lags)).unwrap_err().to_string(),
        "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)"
    );
}

#[test]
fn what_compacts_alone_is_not_deleted_by_age() {
    assert_eq!(
        with("cleanup.policy", "compact").unwrap().retention_ms,
        None
    );
    assert_eq!(
        with("cleanup.policy", "delete").unwrap().retention_ms,
        Some(604_800_000)
    );
    assert_eq!(with("retention.ms", "-1").unwrap().retention_ms, None);
    let neither = with("cleanup.policy", "").unwrap();
    assert_eq!((neither.retention_ms, neither.keyed), (None, false));
    let both = with("cleanup.policy", " compact , delete ").unwrap();
    assert_eq!((both.retention_ms, both.keyed), (Some(604_800_000), true));
    assert_eq!(with("retention.ms", " 5 ").unwrap().retention_ms, Some(5));
}

#[test]
fn names_have_rules() {
    for good in ["a", "orders.v1", "_x-Y", &"n".repeat(249)] {
        name::check(good).expect(good);
    }
    for bad in ["", ".", "..", "a b", "a/b", "ä", &"n".repeat(250)] {
        name::check(bad).expect_err(bad);
    }
}

fn topic(name: &str, id: u128) -> Arc<Topic> {
    let document = TopicDocument {
        id: Uuid::from_u128(id),
        partitions: 0,
        replication: 1,
        overrides: Overrides::default(),
    };
    Arc::new(Topic {
        name: Arc::from(name),
        document,
        version: 0,
        config: Config::new(&BTreeMap::new()).unwrap(),
        partitions: Vec::new(),
    })
}

#[test]
fn names_that_differ_by_a_dot_for_an_underscore_collide() {
    let many = "a.b_c.d_e.f_g.h_i.j_k";
    let mut topics = Topics::default();
    for (id, name) in (1..).zip(["a.b", "x_y_z", many, "plain"]) {
        topics.insert(topic(name, id));
    }
    let collides = |name| topics.colliding(name).map(|topic| topic.name.to_string());
    for (name, with) in [
        ("a_b", Some("a.b")),
        ("a.b", None),
        ("a-b", None),
        ("x.y.z", Some("x_y_z")),
        ("x.y_z", Some("x_y_z")),
        ("x.y", None),
        ("plain", None),
        ("a.b.c.d.e.f.g.h.i.j.k", Some(many)),
        (many, None),
    ] {
        assert_eq!(collides(name).as_deref(), with, "{name}");
    }
}

#[test]
fn the_table_of_topics_is_a_sorted_map_whose_copies_stand_still() {
    let mut topics = Topics::default();
    assert!(topics.named("t1").is_none() && topics.remove("t1").is_none());
    let mut model = BTreeMap::new();
    let mut kept = (topics.clone(), model.clone());
    let mut random = 1_u64;
    for step in 0..20_000_u128 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let name = format!("t{}", (random >> 33) % 4000);
        // More and more of them, then fewer and fewer.
        let grows = (random >> 20) % 4 > u64::from(step > 10_000) * 2;
        if grows {
            topics.insert(topic(&name, step));
            model.insert(name, step);
        } else {
            let removed = topics.remove(&name).map(|topic| topic.id().as_u128());
            assert_eq!(removed, model.remove(&name));
        }
        if step == 10_000 {
            kept = (topics.clone(), model.clone());
        }
    }
    for (topics, model) in [(topics, model), kept] {
        assert!(model.len() > 600, "it is more than a piece");
        let all: Vec<_> = topics
            .iter()
            .map(|t| (t.name.to_string(), t.id().as_u128()))
            .collect();
        assert_eq!((all.len(), topics.len()), (model.len(), model.len()));
        assert!(all.iter().map(|(name, id)| (name, id)).eq(&model));
        for (name, id) in &model {
            assert_eq!(topics.named(name).unwrap().id().as_u128(), *id);
            assert_eq!(&*topics.with_id(Uuid::from_u128(*id)).unwrap().name, name);
        }
        assert!(topics.named("none").is_none() && topics.with_id(Uuid::max()).is_none());
    }
}
