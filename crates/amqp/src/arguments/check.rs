//! What each argument may be. Reasons are printed the way clients' tests have them, which is that of another language.

use super::{QUEUE_TYPE, STREAM, age};
use crate::error::{Fault, Outcome, queue_text};
use crate::wire::{Table, Value};

/// Longest time to live of a message, or of a queue that is not used, ms.
pub(crate) const LIFETIME_MS_MAX: i64 = 0xffff_ffff;
/// Most priorities beside the lowest.
const PRIORITY_MAX: i64 = 255;
const OVERFLOWS: &[&[u8]] = &[b"drop-head", b"reject-publish", b"reject-publish-dlx"];
const STRATEGIES: &[&[u8]] = &[b"at-most-once", b"at-least-once"];
const LOCATORS: &[&[u8]] = &[
    b"client-local",
    b"balanced",
    b"random",
    b"least-leaders",
    b"min-masters",
];
/// How long acknowledged messages can be replayed.
pub(super) const REPLAY: &[u8] = b"x-replay";
/// Names where dead letters go.
const DEAD_LETTER_EXCHANGE: &[u8] = b"x-dead-letter-exchange";
const TYPES: &[&[u8]] = &[b"classic", b"quorum", STREAM];
/// Of the arguments there are, those a queue can have that is read by position. All others are about messages that
/// leave.
const OF_STREAMS: &[&[u8]] = &[
    QUEUE_TYPE,
    b"x-max-age",
    b"x-max-length-bytes",
    b"x-stream-max-segment-size-bytes",
    b"x-stream-filter-size-bytes",
    b"x-expires",
    b"x-initial-cluster-size",
    b"x-queue-leader-locator",
];
/// Sizes of a filter, bytes.
const FILTER_SIZES: std::ops::RangeInclusive<i64> = 16..=255;
const RETRIES: &[&[u8]] = &[b"disabled", b"all", b"failed", b"returned"];
const MODES: &[&[u8]] = &[b"default", b"lazy"];

/// Why a value cannot be; printed as it is.
type Reason = String;

/// Judges a value; gets all arguments, because some need others.
type Judge = fn(&Value<'_>, &Table<'_>) -> Result<(), Reason>;

/// The arguments there are, in the order they are checked and compared.
const KNOWN: &[(&[u8], Judge)] = &[
    (b"x-expires", expiry),
    (b"x-message-ttl", lifetime),
    (DEAD_LETTER_EXCHANGE, text),
    (b"x-dead-letter-routing-key", dead_letter_key),
    (b"x-dead-letter-strategy", strategy),
    (b"x-max-length", not_negative),
    (b"x-max-length-bytes", not_negative),
    (b"x-max-age", max_age),
    (REPLAY, replay),
    (b"x-stream-max-segment-size-bytes", not_negative),
    (b"x-stream-filter-size-bytes", filter_size),
    (b"x-max-in-memory-length", not_negative),
    (b"x-max-in-memory-bytes", not_negative),
    (b"x-max-priority", priority),
    (b"x-overflow", overflow),
    (b"x-queue-mode", mode),
    (b"x-queue-version", version),
    (b"x-single-active-consumer", flag),
    (QUEUE_TYPE, queue_type),
    (b"x-quorum-initial-group-size", positive),
    (b"x-initial-cluster-size", positive),
    (b"x-queue-leader-locator", locator),
    (b"x-queue-master-locator", locator),
    (b"x-delivery-limit", integer),
    (b"x-member-placement-tag", text),
    (b"x-consumer-timeout", not_negative),
    (b"x-consumer-disconnected-timeout", not_negative),
    (b"x-delayed-retry-type", retry),
    (b"x-delayed-retry-min", not_negative),
    (b"x-delayed-retry-max", longest_retry),
];

/// Arguments of other brokers and their extensions that promise what is not done here; their values say so unless they
/// switch it off.
const UNKEPT: &[&[u8]] = &[
    b"x-message-deduplication",
    b"x-deduplication-header",
    b"x-cache-size",
    b"x-cache-ttl",
    b"x-cache-persistence",
];

/// Names of the arguments there are, in the order they are compared.
pub(super) fn names() -> impl Iterator<Item = &'static [u8]> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// Refuses the first argument that cannot be.
pub(crate) fn check(vhost: &str, queue: &str, arguments: &Table<'_>) -> Outcome<()> {
    if let Some(value) = arguments.find(DEAD_LETTER_EXCHANGE)
        && value.string().is_none()
    {
        let name = String::from_utf8_lossy(DEAD_LETTER_EXCHANGE);
        return Err(wrong_type(&value, &name, &queue_text(vhost, queue)));
    }
    let is_stream = arguments.find(QUEUE_TYPE) == Some(Value::Long(STREAM));
    let thing = queue_text(vhost, queue);
    let refuse = |name: &[u8], why: &str| {
        let name = String::from_utf8_lossy(name);
        Fault::precondition(format!("invalid arg '{name}' for {thing}{why}"))
    };
    for name in UNKEPT {
        let value = arguments.find(name);
        if value.is_some_and(|value| value != Value::Bool(false)) {
            return Err(refuse(name, ": unsupported"));
        }
    }
    for (name, judge) in KNOWN {
        let Some(value) = arguments.find(name) else {
            continue;
        };
        if is_stream && !OF_STREAMS.contains(name) {
            return Err(refuse(name, " of queue type rabbit_stream_queue"));
        }
        judge(&value, arguments).map_err(|reason| refuse(name, &format!(": {reason}")))?;
    }
    Ok(())
}

/// The fault of an argument that should have named an exchange.
pub(crate) fn wrong_type(value: &Value<'_>, name: &str, thing: &str) -> Fault {
    let found = value.type_name();
    Fault::precondition(format!(
        "invalid type '{found}' for arg '{name}' in {thing}"
    ))
}

fn whole(value: &Value<'_>) -> Result<i64, Reason> {
    value
        .integer()
        .ok_or_else(|| format!("\"expected integer, got {}\"", value.type_name()))
}

fn string<'a>(value: &Value<'a>) -> Result<&'a [u8], Reason> {
    value
        .string()
        .ok_or_else(|| format!("{{unacceptable_type,{}}}", value.type_name()))
}

fn integer(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    whole(value).map(drop)
}

fn not_negative(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    match whole(value)? {
        0.. => Ok(()),
        n => Err(format!("{{value_negative,{n}}}")),
    }
}

fn positive(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    not_negative(value, arguments)?;
    match whole(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => Ok(()),
    }
}

/// Zero is worse than negative here.
fn expiry(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    positive(value, arguments)?;
    lifetime(value, arguments)
}

fn lifetime(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    not_negative(value, arguments)?;
    match whole(value)? {
        n if n > LIFETIME_MS_MAX => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn version(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    not_negative(value, arguments)?;
    match whole(value)? {
        1 | 2 => Ok(()),
        n => Err(format!("\"unsupported queue version '{n}'\"")),
    }
}

fn max_age(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    match age::ms(string(value)?) {
        Some(_) => Ok(()),
        None => Err("invalid_max_age".to_owned()),
    }
}

/// A time in milliseconds, or as ages are written.
fn replay(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    if value.string().is_none() {
        return not_negative(value, arguments);
    }
    max_age(value, arguments)
}

fn filter_size(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    match whole(value)? {
        n if FILTER_SIZES.contains(&n) => Ok(()),
        n => Err(format!("{{out_of_range,{n}}}")),
    }
}

fn priority(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    not_negative(value, arguments)?;
    match whole(value)? {
        n if n > PRIORITY_MAX => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn text(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    string(value).map(drop)
}

fn flag(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    match value {
        Value::Bool(_) => Ok(()),
        other => Err(format!("{{unacceptable_type,{}}}", other.type_name())),
    }
}

fn dead_letter_key(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    string(value)?;
    match arguments.find(DEAD_LETTER_EXCHANGE) {
        Some(_) => Ok(()),
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
    }
}

fn one_of(value: &Value<'_>, allowed: &[&[u8]], reason: &str) -> Result<(), Reason> {
    if allowed.contains(&string(value)?) {
        Ok(())
    } else {
        Err(reason.to_owned())
    }
}

fn strategy(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    one_of(value, STRATEGIES, "invalid_dlx_strategy")
}

fn overflow(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    one_of(value, OVERFLOWS, "invalid_overflow")
}

fn mode(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    let name = String::from_utf8_lossy(string(value)?);
    let reason = format!("\"unsupported queue mode '{name}'\"");
    one_of(value, MODES, &reason)
}

fn locator(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    one_of(value, LOCATORS, "invalid_queue_locator_arg")
}

fn retry(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    one_of(value, RETRIES, "invalid_delayed_retry_type")
}

fn longest_retry(value: &Value<'_>, arguments: &Table<'_>) -> Result<(), Reason> {
    not_negative(value, arguments)?;
    let longest = whole(value)?;
    let shortest = arguments.find(b"x-delayed-retry-min");
    match shortest.and_then(|value| value.integer()) {
        Some(shortest) if longest < shortest => Err(format!(
            "\"delayed-retry-max ({longest}) must not be smaller than delayed-retry-min ({shortest})\""
        )),
        _ => Ok(()),
    }
}

fn queue_type(value: &Value<'_>, _: &Table<'_>) -> Result<(), Reason> {
    let name = string(value)?;
    let reason = format!(
        "\"unsupported queue type '{}'\"",
        String::from_utf8_lossy(name)
    );
    one_of(value, TYPES, &reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TableBuilder;

    #[track_caller]
    fn refused(name: &str, value: Value<'_>, reason: &str) {
        let mut table = TableBuilder::new();
        table.push(name.as_bytes(), value).unwrap();
        let fault = check("/", "q", &table.as_table()).unwrap_err();
        assert_eq!(
            fault.text(),
            format!(
                "PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/': {reason}"
            )
        );
    }

    #[test]
    fn values_that_cannot_be_are_refused_in_known_words() {
        refused("x-message-ttl", Value::I32(-1), "{value_negative,-1}");
        refused(
            "x-message-ttl",
            Value::Long(b"1"),
            "\"expected integer, got longstr\"",
        );
        refused("x-expires", Value::I32(0), "{value_zero,0}");
        refused("x-expires", Value::I32(-1), "{value_negative,-1}");
        let long = Value::I64(1 << 40);
        refused("x-expires", long, "{value_too_large,1099511627776}");
        refused("x-message-ttl", long, "{value_too_large,1099511627776}");
        let mode = Value::Long(b"nonsense");
        refused(
            "x-queue-mode",
            mode,
            "\"unsupported queue mode 'nonsense'\"",
        );
        let version = Value::I32(3);
        refused(
            "x-queue-version",
            version,
            "\"unsupported queue version '3'\"",
        );
        refused(
            "x-max-priority",
            Value::I32(300),
            "{max_value_exceeded,300}",
        );
        refused("x-max-length", Value::I64(-5), "{value_negative,-5}");
        refused("x-overflow", Value::Long(b"zzz"), "invalid_overflow");
        refused(
            "x-queue-type",
            Value::Long(b"zzz"),
            "\"unsupported queue type 'zzz'\"",
        );
        refused(
            "x-dead-letter-routing-key",
            Value::Long(b"k"),
            "routing_key_but_no_dlx_defined",
        );
        refused(
            "x-dead-letter-strategy",
            Value::I32(1),
            "{unacceptable_type,signedint}",
        );
        refused(
            "x-single-active-consumer",
            Value::Long(b"true"),
            "{unacceptable_type,longstr}",
        );
    }

    #[test]
    fn what_is_promised_and_not_kept_is_refused() {
        refused("x-message-deduplication", Value::Bool(true), "unsupported");
        refused("x-cache-size", Value::I32(10), "unsupported");
        let mut table = TableBuilder::new();
        let off = ("x-message-deduplication", Value::Bool(false));
        table.push(off.0.as_bytes(), off.1).unwrap();
        check("/", "q", &table.as_table()).unwrap();
    }

    #[test]
    fn a_minimum_is_not_above_its_maximum() {
        let mut table = TableBuilder::new();
        for (name, value) in [("x-delayed-retry-min", 20), ("x-delayed-retry-max", 10)] {
            table.push(name.as_bytes(), Value::I32(value)).unwrap();
        }
        assert_eq!(
            check("/", "q", &table.as_table()).unwrap_err().explanation,
            "invalid arg 'x-delayed-retry-max' for queue 'q' in vhost '/': \"delayed-retry-max (10) must not be smaller than delayed-retry-min (20)\""
        );
        refused("x-delayed-retry-max", Value::I32(-1), "{value_negative,-1}");
    }

    #[test]
    fn a_stream_has_arguments_of_its_own() {
        let mut table = TableBuilder::new();
        for (name, value) in [
            (QUEUE_TYPE, Value::Long(STREAM)),
            (b"x-max-age", Value::Long(b"7D")),
            (b"x-max-length-bytes", Value::I64(1)),
            (b"x-stream-max-segment-size-bytes", Value::I32(500_000_000)),
            (b"x-stream-filter-size-bytes", Value::I32(32)),
            (b"x-anything", Value::Void),
        ] {
            table.push(name, value).unwrap();
        }
        check("/", "q", &table.as_table()).unwrap();
        table.push(b"x-message-ttl", Value::I32(1)).unwrap();
        assert_eq!(
            check("/", "q", &table.as_table()).unwrap_err().explanation,
            "invalid arg 'x-message-ttl' for queue 'q' in vhost '/' of queue type rabbit_stream_queue"
        );
        refused("x-max-age", Value::Long(b"7"), "invalid_max_age");
        refused("x-max-age", Value::I32(7), "{unacceptable_type,signedint}");
        refused("x-replay", Value::Long(b"7"), "invalid_max_age");
        let size = "x-stream-filter-size-bytes";
        refused(size, Value::I32(15), "{out_of_range,15}");
    }

    #[test]
    fn an_exchange_has_to_be_named() {
        let mut table = TableBuilder::new();
        table.push(DEAD_LETTER_EXCHANGE, Value::I32(1)).unwrap();
        assert_eq!(
            check("/", "q", &table.as_table()).unwrap_err().explanation,
            "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"
        );
    }

    #[test]
    fn whatever_is_known_is_taken_together() {
        let mut table = TableBuilder::new();
        for (name, value) in [
            ("x-queue-type", Value::Long(b"quorum")),
            ("x-max-priority", Value::U8(10)),
            ("x-delivery-limit", Value::I32(-1)),
            ("x-message-ttl", Value::I64(0)),
            ("x-expires", Value::U32(1)),
            ("x-dead-letter-routing-key", Value::Long(b"k")),
            ("x-dead-letter-exchange", Value::Long(b"")),
            ("x-anything", Value::Void),
            ("x-queue-mode", Value::Long(b"lazy")),
            ("x-delayed-retry-type", Value::Long(b"all")),
        ] {
            table.push(name.as_bytes(), value).unwrap();
        }
        check("/", "q", &table.as_table()).unwrap();
    }
}
