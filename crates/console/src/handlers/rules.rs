//! Rules of a policy as a request has them: by our names, or by those that definitions for other brokers use.
//!
//! Keys about things that are not here, such as mirrors, are taken and said to have no effect: a definition that has them
//! otherwise says the right things.

use engine::policy::Rules;
use serde_json::{Map, Value, json};

use crate::error::{Outcome, Problem};

/// Other brokers' names that mean one of our rules.
const RENAMED: &[(&str, &str)] = &[
    ("message-ttl", "message_ttl_ms"),
    ("expires", "expires_ms"),
    ("max-length", "messages_max"),
    ("max-length-bytes", "bytes_max"),
    ("delivery-limit", "delivery_limit"),
    ("alternate-exchange", "alternate_exchange"),
];
/// Words of theirs for what happens to a message for a queue that is full.
const OVERFLOWS: &[(&str, &str)] = &[
    ("drop-head", "drop_oldest"),
    ("reject-publish", "refuse"),
    ("reject-publish-dlx", "refuse_to_dead_letter"),
];
/// Begins the keys about mirrors.
const MIRRORS: &str = "ha-";
/// Numbers that have no effect.
const IDLE_NUMBERS: &[&str] = &[
    "consumer-disconnected-timeout",
    "consumer-timeout",
    "initial-cluster-size",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "queue-version",
    "stream-filter-size-bytes",
    "stream-max-segment-size-bytes",
    "target-group-size",
];
/// Words that have no effect.
const IDLE_WORDS: &[&str] = &[
    "dead-letter-strategy",
    "queue-leader-locator",
    "queue-master-locator",
    "queue-mode",
];

/// The rules, and what is to be said about them.
pub(super) fn read(given: Map<String, Value>) -> Outcome<(Rules, Vec<String>)> {
    let (mut rules, mut idle) = (Map::new(), Map::new());
    let mut rest = given;
    dead_letters(&mut rest, &mut rules)?;
    retries(&mut rest, &mut rules)?;
    for (name, value) in rest {
        if is_idle(&name, &value)? {
            idle.insert(name, value);
            continue;
        }
        let (name, value) = translated(name, value)?;
        put(&mut rules, name, value)?;
    }
    let warnings = idle.keys().map(|name| format!("`{name}` has no effect"));
    let warnings = warnings.collect();
    if !idle.is_empty() {
        put(&mut rules, "without_effect".to_owned(), Value::Object(idle))?;
    }
    let rules = serde_json::from_value(Value::Object(rules));
    let rules = rules.map_err(|error| Problem::invalid(error.to_string()))?;
    Ok((rules, warnings))
}

fn put(rules: &mut Map<String, Value>, name: String, value: Value) -> Outcome<()> {
    if rules.contains_key(&name) {
        return Err(Problem::invalid(format!("`{name}` is given twice")));
    }
    rules.insert(name, value);
    Ok(())
}

fn is_idle(name: &str, value: &Value) -> Outcome<bool> {
    let refuse = |expected: &str| {
        let why = format!("`{name}` is {value}: expected {expected}");
        Err(Problem::invalid(why))
    };
    if IDLE_NUMBERS.contains(&name) && !value.is_u64() {
        return refuse("a whole number that is not negative");
    }
    if IDLE_WORDS.contains(&name) && !value.is_string() {
        return refuse("a text");
    }
    // No limit at all is what a queue has that says nothing, and a policy cannot take one away.
    let no_limit = name == "delivery-limit" && value.as_i64().is_some_and(|limit| limit < 0);
    let is_listed = IDLE_NUMBERS.contains(&name) || IDLE_WORDS.contains(&name);
    Ok(is_listed || name.starts_with(MIRRORS) || no_limit)
}

fn translated(name: String, value: Value) -> Outcome<(String, Value)> {
    if let Some((_, ours)) = RENAMED.iter().find(|(theirs, _)| *theirs == name) {
        return Ok(((*ours).to_owned(), value));
    }
    match &*name {
        "overflow" => {
            let known = OVERFLOWS.iter().find(|(theirs, _)| value == *theirs);
            Ok((name, known.map_or(value, |(_, ours)| json!(ours))))
        }
        "max-age" => {
            let age = value.as_str().and_then(age_ms);
            let age = age.ok_or_else(|| {
                Problem::invalid(format!("`max-age` is {value}: expected an age like `7D`"))
            })?;
            Ok(("retention_ms".to_owned(), json!(age)))
        }
        _ => Ok((name, value)),
    }
}

fn dead_letters(rest: &mut Map<String, Value>, rules: &mut Map<String, Value>) -> Outcome<()> {
    let exchange = rest.remove("dead-letter-exchange");
    let key = rest.remove("dead-letter-routing-key");
    match (exchange, key) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Problem::invalid(
            "`dead-letter-routing-key` needs `dead-letter-exchange`",
        )),
        (Some(exchange), key) => {
            let mut by = json!({ "exchange": exchange });
            if let Some(key) = key {
                by["key"] = key;
            }
            put(rules, "dead_letter_exchange".to_owned(), by)
        }
    }
}

fn retries(rest: &mut Map<String, Value>, rules: &mut Map<String, Value>) -> Outcome<()> {
    let kind = rest.remove("delayed-retry-type");
    let (min, max) = (
        rest.remove("delayed-retry-min"),
        rest.remove("delayed-retry-max"),
    );
    let Some(kind) = kind else {
        return match min.or(max) {
            None => Ok(()),
            Some(_) => Err(Problem::invalid(
                "`delayed-retry-min` and `delayed-retry-max` need `delayed-retry-type`",
            )),
        };
    };
    if kind == "disabled" {
        return Ok(());
    }
    let min = min.ok_or_else(|| {
        let why = format!("`delayed-retry-min` is required when `delayed-retry-type` is {kind}");
        Problem::invalid(why)
    })?;
    let backoff = json!({
        "base_ms": min,
        "max_ms": max.unwrap_or_else(|| json!(u64::from(u32::MAX))),
        "jitter": false,
        "growth": "linear",
        "after": kind,
    });
    put(rules, "backoff".to_owned(), backoff)
}

/// Milliseconds of an age like `7D`.
fn age_ms(text: &str) -> Option<u64> {
    const SECOND_MS: u64 = 1000;
    const DAY_MS: u64 = 86_400 * SECOND_MS;
    let unit_ms = match text.chars().last()? {
        'Y' => 365 * DAY_MS,
        'M' => 30 * DAY_MS,
        'D' => DAY_MS,
        'h' => 3600 * SECOND_MS,
        'm' => 60 * SECOND_MS,
        's' => SECOND_MS,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: Value, expected: &Value, warnings: &[&str]) {
        let Value::Object(given) = given else {
            panic!("no object");
        };
        let (rules, said) = read(given).unwrap();
        assert_eq!(&serde_json::to_value(rules).unwrap(), expected);
        assert_eq!(said, warnings);
    }

    #[track_caller]
    fn refused(given: Value, why: &str) {
        let Value::Object(given) = given else {
            panic!("no object");
        };
        let problem = read(given).unwrap_err();
        assert_eq!(problem.kind.status.as_u16(), 422);
        assert!(problem.detail.contains(why), "{problem:?}");
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let ours = json!({
            "message_ttl_ms": 60_000, "expires_ms": 1, "messages_max": 2, "bytes_max": 3,
            "retention_ms": 7_200_000, "overflow": "refuse", "delivery_limit": 4,
            "dead_letter_exchange": {"exchange": "dlx", "key": "k"},
            "backoff": {"base_ms": 10, "max_ms": 20, "jitter": false, "growth": "linear", "after": "failed"},
            "alternate_exchange": "ae",
        });
        check(ours.clone(), &ours, &[]);
        let theirs = json!({
            "message-ttl": 60_000, "expires": 1, "max-length": 2, "max-length-bytes": 3,
            "max-age": "2h", "overflow": "reject-publish", "delivery-limit": 4,
            "dead-letter-exchange": "dlx", "dead-letter-routing-key": "k",
            "delayed-retry-type": "failed", "delayed-retry-min": 10, "delayed-retry-max": 20,
            "alternate-exchange": "ae",
        });
        check(theirs, &ours, &[]);
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let given = json!({
            "ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "automatic",
            "queue-master-locator": "min-masters", "stream-max-segment-size-bytes": 500_000_000,
            "delivery-limit": -1,
        });
        let kept = json!({ "without_effect": given });
        let warnings = [
            "`delivery-limit` has no effect",
            "`ha-mode` has no effect",
            "`ha-params` has no effect",
            "`ha-sync-mode` has no effect",
            "`queue-master-locator` has no effect",
            "`stream-max-segment-size-bytes` has no effect",
        ];
        check(given, &kept, &warnings);
    }

    #[test]
    fn nonsense_is_refused() {
        for (given, why) in [
            (json!({"max-length": -1}), "invalid value: integer `-1`"),
            (
                json!({"stream-max-segment-size-bytes": -1}),
                "expected a whole number",
            ),
            (json!({"max-age": "7"}), "expected an age like `7D`"),
            (
                json!({"dead-letter-routing-key": "k"}),
                "needs `dead-letter-exchange`",
            ),
            (
                json!({"delayed-retry-type": "all"}),
                "`delayed-retry-min` is required",
            ),
            (json!({"overflow": "drop"}), "unknown variant `drop`"),
            (
                json!({"federation-upstream": "x"}),
                "unknown field `federation-upstream`",
            ),
            (
                json!({"max-length": 1, "messages_max": 1}),
                "`messages_max` is given twice",
            ),
        ] {
            refused(given, why);
        }
    }
}
