//! Settings of groups: kept and reported, for the kinds of group they mean something to.

use std::collections::BTreeMap;

use engine::Error;
use engine::topic::settings::{Kind, Setting};

use super::{Shown, origin, type_of};
use crate::context::Context;

const HELP: &str =
    "Accepted and reported; groups of this broker have the settings their members ask for.";

/// Where a group's settings are kept.
pub(super) const SCOPE: &str = "group/";

const fn setting(name: &'static str, default: &'static str, kind: Kind) -> Setting {
    Setting {
        name,
        default,
        kind,
        help: HELP,
    }
}

const fn at_least(min: i64) -> Kind {
    Kind::Integer {
        min,
        max: i32::MAX as i64,
    }
}

/// In name order.
const SETTINGS: &[Setting] = &[
    setting("consumer.assignment.interval.ms", "1000", at_least(0)),
    setting("consumer.heartbeat.interval.ms", "5000", at_least(1)),
    setting("consumer.session.timeout.ms", "45000", at_least(1)),
    setting(
        "errors.deadletterqueue.copy.record.enable",
        "false",
        Kind::Boolean,
    ),
    setting("errors.deadletterqueue.topic.name", "", Kind::Text),
    setting("share.assignment.interval.ms", "1000", at_least(0)),
    setting("share.auto.offset.reset", "latest", Kind::Text),
    setting("share.delivery.count.limit", "5", at_least(2)),
    setting("share.heartbeat.interval.ms", "5000", at_least(1)),
    setting(
        "share.isolation.level",
        "read_uncommitted",
        Kind::Choice(&["read_committed", "read_uncommitted"]),
    ),
    setting("share.partition.max.record.locks", "2000", at_least(100)),
    setting("share.record.lock.duration.ms", "30000", at_least(1000)),
    setting("share.renew.acknowledge.enable", "true", Kind::Boolean),
    setting("share.session.timeout.ms", "45000", at_least(1)),
    setting("streams.assignment.interval.ms", "1000", at_least(0)),
    setting("streams.assignor.name", "sticky", Kind::Choice(&["sticky"])),
    setting("streams.heartbeat.interval.ms", "5000", at_least(1)),
    setting("streams.initial.rebalance.delay.ms", "3000", at_least(0)),
    setting("streams.num.standby.replicas", "0", at_least(0)),
    setting("streams.rack.aware.assignment.tags", "", Kind::Words),
    setting("streams.session.timeout.ms", "45000", at_least(1)),
];

/// What a number has to lie between.
const RANGES: &[(&str, i64, i64)] = &[
    ("consumer.assignment.interval.ms", 0, 15_000),
    ("consumer.heartbeat.interval.ms", 5_000, 15_000),
    ("consumer.session.timeout.ms", 45_000, 60_000),
    ("share.assignment.interval.ms", 0, 15_000),
    ("share.delivery.count.limit", 2, 10),
    ("share.heartbeat.interval.ms", 5_000, 15_000),
    ("share.partition.max.record.locks", 100, 4_000),
    ("share.record.lock.duration.ms", 15_000, 60_000),
    ("share.session.timeout.ms", 45_000, 60_000),
    ("streams.assignment.interval.ms", 0, 15_000),
    ("streams.heartbeat.interval.ms", 5_000, 15_000),
    ("streams.session.timeout.ms", 45_000, 60_000),
];
const STANDBY_REPLICAS_MAX: i64 = 2;

fn invalid<T>(text: String) -> Result<T, Error> {
    Err(Error::InvalidConfig(text))
}

/// Checks what is to be set.
pub(super) fn check(name: &str, value: Option<&str>) -> Result<(), Error> {
    let found = SETTINGS.iter().find(|setting| setting.name == name);
    let Some(value) = value else { return Ok(()) };
    let Some(setting) = found else {
        return invalid(format!("Unknown group config name: {name}"));
    };
    setting.check(value)?;
    let value = value.trim();
    if name == "share.auto.offset.reset" && !is_reset(value) {
        let said = format!("Invalid value {value} for configuration {name}");
        let quoted = format!("Invalid value `{value}` for configuration {name}");
        return invalid(format!(
            "{said}: {quoted}. The value must be either 'earliest', 'latest' or of the format \
             'by_duration:<PnDTnHnMn.nS>'."
        ));
    }
    let number = value.parse::<i64>().unwrap_or(0);
    if let Some((_, from, to)) = RANGES.iter().find(|(ranged, ..)| *ranged == name)
        && !(*from..=*to).contains(&number)
    {
        return invalid(format!(
            "{name} must be in the range {from} to {to} inclusive."
        ));
    }
    if name == "streams.num.standby.replicas" && number > STANDBY_REPLICAS_MAX {
        return invalid(format!(
            "{name} must be less than or equal to {STANDBY_REPLICAS_MAX}"
        ));
    }
    Ok(())
}

/// `earliest`, `latest`, or how far back.
fn is_reset(value: &str) -> bool {
    let duration = |text: &str| {
        text.strip_prefix('P')
            .is_some_and(|rest| rest.bytes().any(|byte| byte.is_ascii_digit()))
    };
    matches!(value, "earliest" | "latest")
        || value.strip_prefix("by_duration:").is_some_and(duration)
}

/// All settings of a group.
pub(super) fn describe(context: &Context, name: &str) -> Vec<Shown> {
    let kept: BTreeMap<String, String> = (*context.broker.kept(&format!("{SCOPE}{name}"))).clone();
    let shown = SETTINGS.iter().map(|setting| {
        let own = kept.get(setting.name);
        let own = own.map(|value| (None, value.clone(), origin::GROUP));
        let default = (None, setting.default.to_owned(), origin::DEFAULT);
        Shown {
            name: setting.name.to_owned(),
            layers: own.into_iter().chain([default]).collect(),
            kind: type_of(setting.kind),
            help: Some(setting.help),
            read_only: false,
            sensitive: false,
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        for setting in SETTINGS {
            check(setting.name, Some(setting.default)).expect(setting.name);
        }
        for (name, ..) in RANGES {
            assert!(
                SETTINGS.iter().any(|setting| setting.name == *name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (name, value, text) in [
            (
                "consumer.session.timeout.ms",
                "1",
                "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.",
            ),
            (
                "share.delivery.count.limit",
                "1",
                "Invalid value 1 for configuration share.delivery.count.limit: Value must be at least 2",
            ),
            (
                "share.delivery.count.limit",
                "11",
                "share.delivery.count.limit must be in the range 2 to 10 inclusive.",
            ),
            ("no.such", "1", "Unknown group config name: no.such"),
            (
                "streams.num.standby.replicas",
                "5",
                "streams.num.standby.replicas must be less than or equal to 2",
            ),
        ] {
            assert_eq!(check(name, Some(value)).unwrap_err().to_string(), text);
        }
        for value in ["earliest", "latest", "by_duration:PT1H"] {
            check("share.auto.offset.reset", Some(value)).expect(value);
        }
        check("share.auto.offset.reset", Some("by_duration:P")).expect_err("no duration");
    }
}
