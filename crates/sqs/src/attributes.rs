//! Attributes of a queue: which there are, what they may be, and which setting of the engine's queue each of them is.

use engine::queue::{
    After, Backoff, DeadLetterPolicy, DedupScope, Growth, Ordering, Queue, QueueSettings,
};
use serde_json::{Value, json};

use crate::arn::Home;
use crate::error::{
    Fault, INVALID_ATTRIBUTE_NAME, INVALID_ATTRIBUTE_VALUE, INVALID_PARAMETER, Outcome,
};

/// Attributes anybody may ask for, in the order in which they are shown; extensions only where they are set.
const SHOWN: &[&str] = &[
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "QueueArn",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
    "Forebay.MaximumMessageSize",
    "Forebay.MaximumDelaySeconds",
    "Forebay.Priorities",
    "Forebay.RetryBackoff",
    "Forebay.ReplayRetentionPeriod",
    "Forebay.DeduplicationWindow",
    "Forebay.SourceTopic",
];

/// What a request asks about that is not in the settings.
pub(crate) struct Facts<'a> {
    pub(crate) home: &'a Home,
    /// Ready, in flight, delayed.
    pub(crate) depth: (u64, u64, u64),
}

/// Largest message without the extension.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Among which messages a deduplication id is unique.
const SCOPE: &str = "DeduplicationScope";
/// Longest policy.
const POLICY_BYTES_MAX: usize = 8192;
/// Greatest delay that needs no extension, s.
const DELAY_MAX: u64 = 900;
/// Greatest delay with it, s: thirty days.
const LONG_DELAY_MAX: u64 = 30 * 24 * 3600;

fn bad_value(name: &str) -> Fault {
    Fault::new(
        &INVALID_ATTRIBUTE_VALUE,
        format!("Invalid value for the parameter {name}."),
    )
}

/// The refusal to make a queue one of the other type.
fn type_stays() -> Fault {
    Fault::new(
        &INVALID_ATTRIBUTE_VALUE,
        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
    )
}

/// The refusal of an attribute that only queues in order have.
fn only_fifo(name: &str) -> Fault {
    Fault::new(
        &INVALID_ATTRIBUTE_NAME,
        format!("You can specify the {name} only when FifoQueue is set to true."),
    )
}

/// The refusal of an unknown attribute.
pub(crate) fn unknown(name: &str) -> Fault {
    Fault::new(
        &INVALID_ATTRIBUTE_NAME,
        format!("Unknown Attribute {name}."),
    )
}

fn number(name: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Outcome<u64> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| bad_value(name))
}

fn word<'v>(name: &str, value: &'v str, words: &[&str]) -> Outcome<&'v str> {
    if words.contains(&value) {
        Ok(value)
    } else {
        Err(bad_value(name))
    }
}

/// Yes or no, in any case.
fn boolean(name: &str, value: &str) -> Outcome<&'static str> {
    let says = |word: &str| value.eq_ignore_ascii_case(word);
    match (says("true"), says("false")) {
        (true, _) => Ok("true"),
        (_, true) => Ok("false"),
        _ => Err(bad_value(name)),
    }
}

/// What the frontend keeps beside the engine's settings.
pub(crate) fn note<'s>(settings: &'s QueueSettings, name: &str) -> Option<&'s str> {
    let key = format!("sqs.{name}");
    settings.annotations.get(&key).map(String::as_str)
}

/// Sets or, when empty, removes what the frontend keeps.
pub(crate) fn set_note(settings: &mut QueueSettings, name: &str, value: &str) {
    let key = format!("sqs.{name}");
    if value.is_empty() {
        settings.annotations.remove(&key);
    } else {
        settings.annotations.insert(key, value.to_owned());
    }
}

/// Longest delay of this queue's messages, s.
pub(crate) fn delay_max(settings: &QueueSettings) -> u64 {
    let extended = note(settings, "Forebay.MaximumDelaySeconds");
    extended.and_then(|v| v.parse().ok()).unwrap_or(DELAY_MAX)
}

/// Gives one attribute a value. What needs other queues to be looked at is checked elsewhere.
fn set(home: &Home, settings: &mut QueueSettings, name: &str, value: &str) -> Outcome<()> {
    let fifo = settings.ordering == Ordering::Key;
    match name {
        "VisibilityTimeout" => settings.lease_ms = number(name, value, 0..=43_200)? * 1000,
        "DelaySeconds" => {
            settings.delay_ms = number(name, value, 0..=delay_max(settings))? * 1000;
        }
        "MessageRetentionPeriod" => {
            settings.retention_ms = number(name, value, 60..=1_209_600)? * 1000;
        }
        "MaximumMessageSize" => {
            settings.message_bytes_max = number(name, value, 1024..=MESSAGE_BYTES_MAX)?;
        }
        "ReceiveMessageWaitTimeSeconds" => {
            let seconds = number(name, value, 0..=20)?;
            set_note(settings, name, &seconds.to_string());
        }
        "RedrivePolicy" => set_redrive(home, settings, value)?,
        "RedriveAllowPolicy" => set_redrive_allow(settings, value)?,
        "Policy" => {
            let sound = value.is_empty() || serde_json::from_str::<Value>(value).is_ok();
            if !sound || value.len() > POLICY_BYTES_MAX {
                return Err(bad_value(name));
            }
            set_note(settings, name, value);
        }
        "KmsMasterKeyId" => {
            set_note(settings, name, value);
            if !value.is_empty() {
                set_note(settings, "SqsManagedSseEnabled", "false");
            }
        }
        "KmsDataKeyReusePeriodSeconds" => {
            let seconds = number(name, value, 60..=86_400)?;
            set_note(settings, name, &seconds.to_string());
        }
        "SqsManagedSseEnabled" => {
            let on = boolean(name, value)?;
            set_note(settings, name, on);
            if on == "true" {
                set_note(settings, "KmsMasterKeyId", "");
            }
        }
        // Only said when the queue is made, and then true.
        "FifoQueue" if fifo && value.eq_ignore_ascii_case("true") => {}
        "FifoQueue" if fifo => return Err(type_stays()),
        "ContentBasedDeduplication" if fifo => {
            set_note(settings, name, boolean(name, value)?);
        }
        // What a queue was made with goes on deciding, whatever is shown later.
        "DeduplicationScope" if fifo => {
            let scope = word(name, value, &["queue", "messageGroup"])?;
            set_note(settings, name, scope);
        }
        "FifoThroughputLimit" if fifo => {
            let limit = word(name, value, &["perQueue", "perMessageGroupId"])?;
            set_note(settings, name, limit);
        }
        "DeduplicationScope" | "FifoThroughputLimit" => return Err(only_fifo(name)),
        _ => set_extension(settings, name, value)?,
    }
    Ok(())
}

fn set_extension(settings: &mut QueueSettings, name: &str, value: &str) -> Outcome<()> {
    match name {
        "Forebay.MaximumMessageSize" => {
            settings.message_bytes_max = number(name, value, 1024..=64 << 20)?;
        }
        "Forebay.MaximumDelaySeconds" => {
            number(name, value, DELAY_MAX..=LONG_DELAY_MAX)?;
            set_note(settings, name, value);
        }
        "Forebay.Priorities" => {
            let levels = number(name, value, 1..=256)?;
            settings.priorities = u16::try_from(levels).map_err(|_| bad_value(name))?;
        }
        "Forebay.RetryBackoff" => settings.backoff = parse_backoff(value)?,
        "Forebay.ReplayRetentionPeriod" => {
            settings.replay_ms = number(name, value, 0..=1_209_600)? * 1000;
        }
        "Forebay.DeduplicationWindow" => {
            settings.dedup_window_ms = number(name, value, 10..=604_800)? * 1000;
        }
        "Forebay.SourceTopic" => {}
        _ => return Err(unknown(name)),
    }
    Ok(())
}

/// `base=1s,max=10m,jitter=full`; empty: none.
fn parse_backoff(value: &str) -> Outcome<Option<Backoff>> {
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = || bad_value("Forebay.RetryBackoff");
    let mut backoff = Backoff {
        base_ms: 1000,
        max_ms: 600_000,
        jitter: true,
        growth: Growth::default(),
        after: After::default(),
    };
    for field in value.split(',') {
        let (name, value) = field.split_once('=').ok_or_else(wrong)?;
        match (name.trim(), value.trim()) {
            ("base", value) => backoff.base_ms = parse_span(value).ok_or_else(wrong)?,
            ("max", value) => backoff.max_ms = parse_span(value).ok_or_else(wrong)?,
            ("jitter", "full") => backoff.jitter = true,
            ("jitter", "none") => backoff.jitter = false,
            _ => return Err(wrong()),
        }
    }
    Ok(Some(backoff))
}

fn show_backoff(backoff: Backoff) -> String {
    let (base, max) = (show_span(backoff.base_ms), show_span(backoff.max_ms));
    let jitter = if backoff.jitter { "full" } else { "none" };
    format!("base={base},max={max},jitter={jitter}")
}

/// A span in the largest unit that says it exactly.
fn show_span(ms: u64) -> String {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let exact = units
        .iter()
        .find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    exact.map_or_else(
        || format!("{ms}ms"),
        |(name, unit)| format!("{}{name}", ms / unit),
    )
}

/// `500ms`, `5s`, `2m`, `1h` in ms; at most twelve hours.
fn parse_span(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (millis <= 43_200_000).then_some(millis)
}

fn set_redrive(home: &Home, settings: &mut QueueSettings, value: &str) -> Outcome<()> {
    if value.is_empty() {
        settings.dead_letter = None;
        return Ok(());
    }
    let refuse = |reason: &str| Fault::parameter("RedrivePolicy", value, reason);
    let policy: Value = serde_json::from_str(value)
        .map_err(|_| refuse("Redrive policy is not a valid JSON map."))?;
    let policy = policy
        .as_object()
        .ok_or_else(|| refuse("Redrive policy is not a valid JSON map."))?;
    let missing = |name| {
        refuse(&format!(
            "Redrive policy does not contain mandatory attribute: {name}."
        ))
    };
    let count = policy
        .get("maxReceiveCount")
        .ok_or_else(|| missing("maxReceiveCount"))?;
    let target = policy
        .get("deadLetterTargetArn")
        .and_then(Value::as_str)
        .ok_or_else(|| missing("deadLetterTargetArn"))?;
    if let Some(other) = policy
        .keys()
        .find(|key| !matches!(key.as_str(), "maxReceiveCount" | "deadLetterTargetArn"))
    {
        return Err(refuse(&format!(
            "Redrive policy contains unknown attribute: {other}."
        )));
    }
    // As a number or as text.
    let text = count
        .as_str()
        .map_or_else(|| count.to_string(), str::to_owned);
    let attempts = text.parse::<u32>().ok().filter(|n| (1..=1000).contains(n));
    let attempts_max = attempts.ok_or_else(|| {
        refuse(&format!(
            "Invalid value for maxReceiveCount: {text}, valid values are from 1 to 1000 both inclusive."
        ))
    })?;
    let queue = home.name_in_arn(target);
    let queue = queue.ok_or_else(|| refuse("Invalid value for deadLetterTargetArn."))?;
    settings.dead_letter = Some(DeadLetterPolicy {
        queue,
        attempts_max,
    });
    Ok(())
}

fn set_redrive_allow(settings: &mut QueueSettings, value: &str) -> Outcome<()> {
    let wrong = || {
        Fault::parameter(
            "RedriveAllowPolicy",
            value,
            "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.",
        )
    };
    if !value.is_empty() {
        let policy: Value = serde_json::from_str(value).map_err(|_| wrong())?;
        let permission = policy.get("redrivePermission").and_then(Value::as_str);
        let sources = policy.get("sourceQueueArns").and_then(Value::as_array);
        let sound = match permission {
            Some("allowAll" | "denyAll") => sources.is_none(),
            Some("byQueue") => sources.is_some_and(|s| (1..=10).contains(&s.len())),
            _ => false,
        };
        if !sound {
            return Err(wrong());
        }
    }
    set_note(settings, "RedriveAllowPolicy", value);
    Ok(())
}

/// Whether a dead-letter queue lets `source` use it, which the broker knows by that name.
pub(crate) fn allows_source(home: &Home, target: &QueueSettings, source: &str) -> bool {
    let Some(policy) = note(target, "RedriveAllowPolicy") else {
        return true;
    };
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    match policy.get("redrivePermission").and_then(Value::as_str) {
        Some("denyAll") => false,
        Some("byQueue") => {
            let sources = policy.get("sourceQueueArns").and_then(Value::as_array);
            let names = sources.into_iter().flatten().filter_map(Value::as_str);
            names
                .filter_map(|arn| home.name_in_arn(arn))
                .any(|name| name == source)
        }
        _ => true,
    }
}

/// The settings of a new queue. Fifo attributes of a queue that is none are unknown.
pub(crate) fn settings<'a>(
    home: &Home,
    fifo: bool,
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Outcome<QueueSettings> {
    let mut settings = QueueSettings {
        ordering: if fifo { Ordering::Key } else { Ordering::None },
        ..QueueSettings::default()
    };
    set_all(home, &mut settings, given)?;
    if note(&settings, SCOPE) == Some("messageGroup") {
        settings.dedup_scope = DedupScope::Key;
    }
    set_note(&mut settings, SCOPE, "");
    Ok(settings)
}

/// Gives several attributes values, limits before what they limit.
pub(crate) fn set_all<'a>(
    home: &Home,
    settings: &mut QueueSettings,
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Outcome<()> {
    let is_limit = |name: &str| name.starts_with("Forebay.Maximum");
    let mut given: Vec<_> = given.into_iter().collect();
    given.sort_by_key(|(name, _)| !is_limit(name));
    for (name, value) in given {
        set(home, settings, name, value)?;
    }
    if settings.delay_ms > 0 && settings.delay_ms >= settings.retention_ms {
        return Err(Fault::new(
            &INVALID_ATTRIBUTE_VALUE,
            "Invalid value for the parameter DelaySeconds. Reason: Messages would be older than MessageRetentionPeriod before they could be received.",
        ));
    }
    let per_group = note(settings, "FifoThroughputLimit") == Some("perMessageGroupId");
    if per_group && setting(settings, true, SCOPE).as_deref() != Some("messageGroup") {
        return Err(Fault::new(
            &INVALID_PARAMETER,
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
        ));
    }
    Ok(())
}

/// The attributes asked for; `All` means all that have a value.
pub(crate) fn show(
    queue: &Queue,
    wanted: &[String],
    facts: &Facts<'_>,
) -> Outcome<Vec<(String, String)>> {
    if let Some(name) = wanted
        .iter()
        .find(|name| *name != "All" && !SHOWN.contains(&name.as_str()))
    {
        return Err(unknown(name));
    }
    let all = wanted.iter().any(|name| name == "All");
    let names = SHOWN
        .iter()
        .filter(|name| all || wanted.iter().any(|wanted| wanted == *name));
    Ok(names
        .filter_map(|name| Some(((*name).to_owned(), value(queue, name, facts)?)))
        .collect())
}

fn value(queue: &Queue, name: &str, facts: &Facts<'_>) -> Option<String> {
    let settings = queue.settings();
    let fifo = settings.ordering == Ordering::Key;
    let (ready, in_flight, delayed) = facts.depth;
    Some(match name {
        "ApproximateNumberOfMessages" => ready.to_string(),
        "ApproximateNumberOfMessagesNotVisible" => in_flight.to_string(),
        "ApproximateNumberOfMessagesDelayed" => delayed.to_string(),
        "QueueArn" => facts.home.arn(&queue.name),
        "CreatedTimestamp" => (queue.document.created_ms / 1000).to_string(),
        "LastModifiedTimestamp" => (queue.document.changed_ms / 1000).to_string(),
        "RedrivePolicy" => redrive(settings, |name| facts.home.arn(name))?,
        _ => return setting(settings, fifo, name),
    })
}

/// The value of an attribute that is a setting.
pub(crate) fn setting(settings: &QueueSettings, fifo: bool, name: &str) -> Option<String> {
    let noted = |default: &str| note(settings, name).unwrap_or(default).to_owned();
    Some(match name {
        "VisibilityTimeout" => (settings.lease_ms / 1000).to_string(),
        "MaximumMessageSize" => settings.message_bytes_max.to_string(),
        "MessageRetentionPeriod" => (settings.retention_ms / 1000).to_string(),
        "DelaySeconds" => (settings.delay_ms / 1000).to_string(),
        "ReceiveMessageWaitTimeSeconds" => noted("0"),
        "SqsManagedSseEnabled" => noted("true"),
        "FifoQueue" => fifo.then(|| "true".to_owned())?,
        "ContentBasedDeduplication" => fifo.then(|| noted("false"))?,
        SCOPE => fifo.then(|| {
            noted(match settings.dedup_scope {
                DedupScope::Queue => "queue",
                DedupScope::Key => "messageGroup",
            })
        })?,
        "FifoThroughputLimit" => fifo.then(|| noted("perQueue"))?,
        "RedrivePolicy" => redrive(settings, str::to_owned)?,
        _ => return extension(settings, name).or_else(|| Some(note(settings, name)?.to_owned())),
    })
}

/// The redrive policy as it is shown; `arn` makes resource names of queues' names.
fn redrive(settings: &QueueSettings, arn: impl Fn(&str) -> String) -> Option<String> {
    let policy = settings.dead_letter.as_ref()?;
    let target = arn(&policy.queue);
    let shown = json!({ "deadLetterTargetArn": target, "maxReceiveCount": policy.attempts_max });
    Some(shown.to_string())
}

/// The value of an extension that is a setting of the engine's, where it is not what every queue has.
fn extension(settings: &QueueSettings, name: &str) -> Option<String> {
    let seconds = |ms: u64| (ms / 1000).to_string();
    let bytes = settings.message_bytes_max;
    match name {
        "Forebay.MaximumMessageSize" => (bytes > MESSAGE_BYTES_MAX).then(|| bytes.to_string()),
        "Forebay.Priorities" => (settings.priorities > 1).then(|| settings.priorities.to_string()),
        "Forebay.RetryBackoff" => settings.backoff.map(show_backoff),
        "Forebay.ReplayRetentionPeriod" => {
            (settings.replay_ms > 0).then(|| seconds(settings.replay_ms))
        }
        "Forebay.DeduplicationWindow" => {
            let default = QueueSettings::default().dedup_window_ms;
            (settings.dedup_window_ms != default).then(|| seconds(settings.dedup_window_ms))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        Home(crate::arn::Namespace {
            account: "000000000000".into(),
            region: "us-east-1".into(),
        })
    }

    fn with(fifo: bool, name: &str, value: &str) -> Outcome<QueueSettings> {
        settings(&home(), fifo, [(name, value)])
    }

    #[test]
    fn values_have_limits() {
        for (name, good, bad) in [
            ("VisibilityTimeout", "43200", "43201"),
            ("DelaySeconds", "900", "901"),
            ("MessageRetentionPeriod", "60", "59"),
            ("MaximumMessageSize", "1048576", "1048577"),
            ("ReceiveMessageWaitTimeSeconds", "20", "21"),
            ("KmsDataKeyReusePeriodSeconds", "60", "59"),
            ("KmsDataKeyReusePeriodSeconds", "300", "86401"),
            ("SqsManagedSseEnabled", "false", "no"),
            ("Policy", "{}", "{"),
            ("Forebay.Priorities", "10", "0"),
            (
                "Forebay.RetryBackoff",
                "base=1s,max=1m,jitter=none",
                "base=1",
            ),
        ] {
            let settings = with(false, name, good).expect(name);
            assert_eq!(
                setting(&settings, false, name).as_deref(),
                Some(good),
                "{name}"
            );
            with(false, name, bad).expect_err(name);
        }
    }

    #[test]
    fn fifo_attributes_are_unknown_elsewhere() {
        for (name, value) in [
            ("FifoQueue", "true"),
            ("ContentBasedDeduplication", "true"),
            ("DeduplicationScope", "queue"),
            ("FifoThroughputLimit", "perQueue"),
        ] {
            with(true, name, value).expect(name);
            let refused = with(false, name, value).expect_err(name);
            assert_eq!(refused.shape.name, "InvalidAttributeName");
        }
        with(true, "FifoQueue", "false").expect_err("only true");
        with(true, "FifoThroughputLimit", "perMessageGroupId").expect_err("needs the scope");
    }

    #[test]
    fn yes_and_no_are_said_in_any_case() {
        for (said, meant) in [("True", "true"), ("TRUE", "true"), ("False", "false")] {
            let settings = with(true, "ContentBasedDeduplication", said).unwrap();
            let shown = setting(&settings, true, "ContentBasedDeduplication");
            assert_eq!(shown.as_deref(), Some(meant));
            let settings = with(false, "SqsManagedSseEnabled", said).unwrap();
            let shown = setting(&settings, false, "SqsManagedSseEnabled");
            assert_eq!(shown.as_deref(), Some(meant));
        }
        with(true, "FifoQueue", "TRUE").unwrap();
        with(false, "SqsManagedSseEnabled", "yes").expect_err("no word for it");
    }

    #[test]
    fn the_scope_a_queue_was_made_with_goes_on_deciding() {
        let mut made = with(true, SCOPE, "messageGroup").unwrap();
        assert_eq!(made.dedup_scope, DedupScope::Key);
        assert_eq!(note(&made, SCOPE), None);
        set_all(
            &home(),
            &mut made,
            [("FifoThroughputLimit", "perMessageGroupId")],
        )
        .unwrap();
        // Shown is what was set last; a limit per group needs that, too.
        set_all(&home(), &mut made, [(SCOPE, "queue")])
            .expect_err("the limit needs the other scope");
        let both = [("FifoThroughputLimit", "perQueue"), (SCOPE, "queue")];
        let mut changed = with(true, SCOPE, "messageGroup").unwrap();
        set_all(&home(), &mut changed, both).unwrap();
        assert_eq!(changed.dedup_scope, DedupScope::Key);
        assert_eq!(setting(&changed, true, SCOPE).as_deref(), Some("queue"));
    }

    #[test]
    fn no_delay_is_longer_than_messages_are_kept() {
        let both = |delay, kept| {
            settings(
                &home(),
                false,
                [("DelaySeconds", delay), ("MessageRetentionPeriod", kept)],
            )
        };
        both("59", "60").unwrap();
        both("0", "60").unwrap();
        let refused = both("60", "60").expect_err("gone when it is due");
        assert_eq!(refused.shape.name, "InvalidAttributeValue");
    }

    #[test]
    fn redrive_policies_are_read_with_numbers_and_with_text() {
        let arn = "arn:aws:sqs:us-east-1:000000000000:dead";
        for count in ["3", "\"3\""] {
            let text = format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":{count}}}");
            let settings = with(false, "RedrivePolicy", &text).unwrap();
            let policy = settings.dead_letter.unwrap();
            assert_eq!((&*policy.queue, policy.attempts_max), ("dead", 3));
        }
        for bad in ["x", "{}", "{\"maxReceiveCount\":3}", "[]"] {
            with(false, "RedrivePolicy", bad).expect_err(bad);
        }
    }

    #[test]
    fn what_was_set_elsewhere_is_shown() {
        let settings = QueueSettings {
            dead_letter: Some(DeadLetterPolicy {
                queue: "dead".into(),
                attempts_max: 4,
            }),
            backoff: Some(Backoff {
                base_ms: 500,
                max_ms: 3_600_000,
                jitter: true,
                growth: Growth::default(),
                after: After::default(),
            }),
            message_bytes_max: 2 << 20,
            priorities: 5,
            replay_ms: 60_000,
            dedup_window_ms: 10_000,
            ..QueueSettings::default()
        };
        for (name, shown) in [
            (
                "RedrivePolicy",
                r#"{"deadLetterTargetArn":"dead","maxReceiveCount":4}"#,
            ),
            ("Forebay.RetryBackoff", "base=500ms,max=1h,jitter=full"),
            ("Forebay.MaximumMessageSize", "2097152"),
            ("Forebay.Priorities", "5"),
            ("Forebay.ReplayRetentionPeriod", "60"),
            ("Forebay.DeduplicationWindow", "10"),
        ] {
            assert_eq!(
                setting(&settings, false, name).as_deref(),
                Some(shown),
                "{name}"
            );
            assert_eq!(
                setting(&QueueSettings::default(), false, name),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn a_longer_delay_needs_the_extension() {
        let given = [
            ("DelaySeconds", "3600"),
            ("Forebay.MaximumDelaySeconds", "86400"),
        ];
        assert_eq!(settings(&home(), false, given).unwrap().delay_ms, 3_600_000);
    }

    #[test]
    fn sources_can_be_kept_out() {
        let arn = "arn:aws:sqs:us-east-1:000000000000:orders";
        let by_queue =
            format!("{{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"{arn}\"]}}");
        for (policy, orders, others) in [
            ("{\"redrivePermission\":\"allowAll\"}", true, true),
            ("{\"redrivePermission\":\"denyAll\"}", false, false),
            (&by_queue, true, false),
        ] {
            let settings = with(false, "RedriveAllowPolicy", policy).unwrap();
            assert_eq!(
                allows_source(&home(), &settings, "orders"),
                orders,
                "{policy}"
            );
            assert_eq!(
                allows_source(&home(), &settings, "others"),
                others,
                "{policy}"
            );
        }
        with(
            false,
            "RedriveAllowPolicy",
            "{\"redrivePermission\":\"byQueue\"}",
        )
        .unwrap_err();
    }
}
