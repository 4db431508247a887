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
        ("retention.bytes", "10", "ten"),
        ("cleanup.policy", "compact,delete", "shred"),
        ("durability", "flush", "maybe"),
        ("preallocate", "true", "yes"),
        ("min.cleanable.dirty.ratio", "0.7", "1.1"),
        ("segment.bytes", "14", "13"),
    ] {
        with(name, good).expect(name);
        with(name, bad).expect_err(name);
    }
    with("no.such.setting", "1").expect_err("unknown");
    assert!(find("no.such.setting").is_none());
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
fn the_table_of_topics_is_a_sorted_map_whose_copies_stand_still() {
    let mut topics = Topics::default();
    assert!(topics.named("t1").is_none() && topics.remove("t1").is_none());
    let mut model = BTreeMap::new();
    let mut kept = (topics.clone(), model.clone());
    let mut dice = 1_u64;
    for step in 0..20_000_u128 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let name = format!("t{}", (dice >> 33) % 4000);
        // More and more of them, then fewer and fewer.
        let grows = (dice >> 20) % 4 > u64::from(step > 10_000) * 2;
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
