//! Topic settings: the table is sound, and values are checked.

use std::collections::BTreeMap;

use super::settings::{SETTINGS, find};
use super::{Config, name};

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
