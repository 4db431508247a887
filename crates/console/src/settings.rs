//! A queue's settings as the API writes and reads them: names with units, and what each may be.

use std::collections::BTreeMap;

use engine::queue::{
    After, Backoff, DeadLetterPolicy, DedupScope, Growth, Ordering, Overflow, QueueSettings,
    QueueType,
};
use engine::{Error, Result, vhost};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::error::{Outcome, Problem};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Longest lease.
pub(crate) const LEASE_MS_MAX: u64 = 12 * HOUR_MS;
/// Longest delay of a message, on its way in or back.
pub(crate) const DELAY_MS_MAX: u64 = 30 * DAY_MS;
/// Longest time messages are kept: ten years.
const RETENTION_MS_MAX: u64 = 3650 * DAY_MS;
/// Shortest time they are.
const RETENTION_MS_MIN: u64 = 1000;
/// Longest deduplication window.
const DEDUP_MS_MAX: u64 = 7 * DAY_MS;
/// Longest wait between attempts.
const BACKOFF_MS_MAX: u64 = 12 * HOUR_MS;
/// Largest message, as the engine has it.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;
/// Most levels of priority.
const PRIORITIES_MAX: u64 = 256;
/// Most attempts before a message is dead-lettered.
const ATTEMPTS_MAX: u64 = 1000;
/// What the name of an ordered queue of SQS ends with, and of no other one.
const ORDERED_SUFFIX: &str = ".fifo";
/// Most messages a queue can be allowed to have in flight.
const IN_FLIGHT_MAX: u32 = 1_000_000;

/// Settings of a request; what it does not name stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Changes {
    ordering: Option<Ordering>,
    lease_ms: Option<u64>,
    delay_ms: Option<u64>,
    retention_ms: Option<u64>,
    message_bytes_max: Option<u64>,
    in_flight_max: Option<u32>,
    dead_letter: Removable<DeadLetterForm>,
    dedup_window_ms: Option<u64>,
    dedup_scope: Option<DedupScope>,
    backoff: Removable<BackoffForm>,
    priorities: Option<u16>,
    replay_ms: Option<u64>,
    stream: Option<bool>,
    retention_bytes: Removable<u64>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetterForm {
    /// Absent: as it is.
    queue: Option<String>,
    /// Absent: as it is.
    attempts_max: Option<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackoffForm {
    base_ms: u64,
    max_ms: u64,
    #[serde(default)]
    jitter: bool,
}

/// A setting that `null` takes away, unlike one that is not named.
#[derive(Debug, Clone, Default)]
enum Removable<T> {
    #[default]
    Left,
    Removed,
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Removable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let given = Option::deserialize(deserializer)?;
        Ok(given.map_or(Self::Removed, Self::Set))
    }
}

impl Changes {
    /// The queue that is to take the dead letters from now on.
    pub(crate) fn dead_letter_queue(&self) -> Option<&str> {
        match &self.dead_letter {
            Removable::Set(form) => form.queue.as_deref(),
            Removable::Left | Removable::Removed => None,
        }
    }

    /// Refuses numbers that are out of bounds before anything is asked of the engine.
    pub(crate) fn check(&self) -> Outcome<()> {
        let retention = (RETENTION_MS_MIN, RETENTION_MS_MAX);
        let in_flight = (1, IN_FLIGHT_MAX.into());
        let attempts = match &self.dead_letter {
            Removable::Set(form) => form.attempts_max.map(u64::from),
            Removable::Left | Removable::Removed => None,
        };
        for (name, value, limits) in [
            ("lease_ms", self.lease_ms, (0, LEASE_MS_MAX)),
            ("delay_ms", self.delay_ms, (0, DELAY_MS_MAX)),
            ("retention_ms", self.retention_ms, retention),
            ("dedup_window_ms", self.dedup_window_ms, (0, DEDUP_MS_MAX)),
            ("replay_ms", self.replay_ms, (0, RETENTION_MS_MAX)),
            (
                "in_flight_max",
                self.in_flight_max.map(u64::from),
                in_flight,
            ),
            (
                "message_bytes_max",
                self.message_bytes_max,
                (1, MESSAGE_BYTES_MAX),
            ),
            (
                "priorities",
                self.priorities.map(u64::from),
                (0, PRIORITIES_MAX),
            ),
            ("attempts_max", attempts, (1, ATTEMPTS_MAX)),
        ] {
            match value {
                Some(value) if !(limits.0..=limits.1).contains(&value) => {
                    return Err(Problem::out_of_bounds(name, value, limits));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Queues that are named are in this vhost.
    pub(crate) fn qualify(&mut self, vhost: &str) {
        if let Removable::Set(DeadLetterForm {
            queue: Some(queue), ..
        }) = &mut self.dead_letter
        {
            *queue = vhost::qualify(vhost, queue);
        }
    }

    /// Makes a queue ordered whose name says that it is, as one face of it demands; `false` when it was asked not to be.
    pub(crate) fn order_by_name(&mut self, name: &str) -> bool {
        if !name.ends_with(ORDERED_SUFFIX) {
            return true;
        }
        *self.ordering.get_or_insert(Ordering::Key) == Ordering::Key
    }

    /// The settings of a new queue. Errors: `InvalidConfig`.
    pub(crate) fn into_new(self, kind: Option<QueueType>) -> Result<QueueSettings> {
        let mut settings = QueueSettings::default();
        let stream = self.stream;
        self.apply(&mut settings)?;
        let Some(kind) = kind else {
            return Ok(settings);
        };
        if stream.is_some_and(|stream| stream != (kind == QueueType::Stream)) {
            let stream = settings.stream;
            let word = kind.word();
            return Err(Error::InvalidConfig(format!(
                "`type` is `{word}` and `stream` is {stream}: say one of them"
            )));
        }
        settings.set_type(kind);
        Ok(settings)
    }

    /// Changes settings as they stand. Errors: `InvalidConfig`.
    pub(crate) fn apply(self, settings: &mut QueueSettings) -> Result<()> {
        let retention = (RETENTION_MS_MIN, RETENTION_MS_MAX);
        let dedup = (0, DEDUP_MS_MAX);
        for (name, target, value, limits) in [
            (
                "lease_ms",
                &mut settings.lease_ms,
                self.lease_ms,
                (0, LEASE_MS_MAX),
            ),
            (
                "delay_ms",
                &mut settings.delay_ms,
                self.delay_ms,
                (0, DELAY_MS_MAX),
            ),
            (
                "retention_ms",
                &mut settings.retention_ms,
                self.retention_ms,
                retention,
            ),
            (
                "dedup_window_ms",
                &mut settings.dedup_window_ms,
                self.dedup_window_ms,
                dedup,
            ),
            (
                "replay_ms",
                &mut settings.replay_ms,
                self.replay_ms,
                (0, RETENTION_MS_MAX),
            ),
        ] {
            if let Some(value) = value {
                *target = bounded(name, value, limits)?;
            }
        }
        if let Some(most) = self.in_flight_max {
            let most = bounded("in_flight_max", most.into(), (1, IN_FLIGHT_MAX.into()))?;
            settings.in_flight_max = u32::try_from(most).unwrap_or(IN_FLIGHT_MAX);
        }
        match self.dead_letter {
            Removable::Left => {}
            Removable::Removed => settings.dead_letter = None,
            Removable::Set(form) => {
                settings.dead_letter = Some(form.onto(settings.dead_letter.take())?);
            }
        }
        match self.backoff {
            Removable::Left => {}
            Removable::Removed => settings.backoff = None,
            Removable::Set(form) => settings.backoff = Some(form.check()?),
        }
        match self.retention_bytes {
            Removable::Left => {}
            Removable::Removed => settings.retention_bytes = None,
            Removable::Set(bytes) => settings.retention_bytes = Some(bytes),
        }
        settings.stream = self.stream.unwrap_or(settings.stream);
        settings.ordering = self.ordering.unwrap_or(settings.ordering);
        settings.message_bytes_max = self.message_bytes_max.unwrap_or(settings.message_bytes_max);
        settings.dedup_scope = self.dedup_scope.unwrap_or(settings.dedup_scope);
        settings.priorities = self.priorities.unwrap_or(settings.priorities);
        if let Some(tags) = self.tags {
            settings.tags = tags;
        }
        Ok(())
    }
}

impl DeadLetterForm {
    /// What is not named stays as it is. Errors: `InvalidConfig` when there is nothing that could stay.
    fn onto(self, present: Option<DeadLetterPolicy>) -> Result<DeadLetterPolicy> {
        let (queue, attempts) = present.map(|it| (it.queue, it.attempts_max)).unzip();
        let missing = |name| Error::InvalidConfig(format!("`dead_letter` needs `{name}`"));
        Ok(DeadLetterPolicy {
            queue: self.queue.or(queue).ok_or_else(|| missing("queue"))?,
            attempts_max: self
                .attempts_max
                .or(attempts)
                .ok_or_else(|| missing("attempts_max"))?,
        })
    }
}

impl BackoffForm {
    fn check(self) -> Result<Backoff> {
        let base_ms = bounded("backoff.base_ms", self.base_ms, (0, BACKOFF_MS_MAX))?;
        let max_ms = bounded("backoff.max_ms", self.max_ms, (base_ms, BACKOFF_MS_MAX))?;
        Ok(Backoff {
            base_ms,
            max_ms,
            jitter: self.jitter,
            growth: Growth::default(),
            after: After::default(),
        })
    }
}

fn bounded(name: &str, value: u64, (min, max): (u64, u64)) -> Result<u64> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(Error::InvalidConfig(format!(
        "`{name}` is {value}: expected {min} to {max}"
    )))
}

/// The word for an order.
pub(crate) fn ordering(settings: &QueueSettings) -> &'static str {
    match settings.ordering {
        Ordering::None => "none",
        Ordering::Key => "key",
    }
}

/// All settings. What frontends keep with a queue is theirs and not shown.
pub(crate) fn show(settings: &QueueSettings) -> Value {
    let dead_letter = settings.dead_letter.as_ref();
    let scope = match settings.dedup_scope {
        DedupScope::Queue => "queue",
        DedupScope::Key => "key",
    };
    json!({
        "ordering": ordering(settings),
        "lease_ms": settings.lease_ms,
        "delay_ms": settings.delay_ms,
        "retention_ms": settings.retention_ms,
        "message_bytes_max": settings.message_bytes_max,
        "in_flight_max": settings.in_flight_max,
        "dead_letter": dead_letter.map(|policy| json!({
            "queue": vhost::split(&policy.queue).1,
            "attempts_max": policy.attempts_max,
        })),
        "dedup_window_ms": settings.dedup_window_ms,
        "dedup_scope": scope,
        "backoff": settings.backoff.map(|backoff| json!({
            "base_ms": backoff.base_ms,
            "max_ms": backoff.max_ms,
            "jitter": backoff.jitter,
        })),
        "priorities": settings.priorities,
        "replay_ms": settings.replay_ms,
        "stream": settings.stream,
        "retention_bytes": settings.retention_bytes,
        "tags": settings.tags,
    })
}

/// What is limited by how a queue was declared over AMQP, or by a policy; it is not set here.
pub(crate) fn show_limits(settings: &QueueSettings) -> Value {
    let limits = &settings.limits;
    let overflow = match limits.overflow {
        Overflow::DropOldest => "drop_oldest",
        Overflow::Refuse => "refuse",
        Overflow::RefuseToDeadLetter => "refuse_to_dead_letter",
    };
    json!({
        "message_ttl_ms": limits.message_ttl_ms,
        "expires_ms": limits.expires_ms,
        "messages_max": limits.messages_max,
        "bytes_max": limits.bytes_max,
        "overflow": limits.is_length_limited().then_some(overflow),
        "delivery_limit": settings.failures_max(),
    })
}

/// The exchange that dead letters go to.
pub(crate) fn show_dead_letter_exchange(settings: &QueueSettings) -> Value {
    let by = settings.dead_letter_exchange.as_ref();
    by.map_or(
        Value::Null,
        |by| json!({ "exchange": by.exchange, "key": by.key }),
    )
}

/// Everything of it that a policy can change, by name.
fn by_name(settings: &QueueSettings) -> Map<String, Value> {
    let mut all = Map::new();
    for part in [show(settings), show_limits(settings)] {
        if let Value::Object(members) = part {
            all.extend(members);
        }
    }
    let exchange = show_dead_letter_exchange(settings);
    all.insert("dead_letter_exchange".to_owned(), exchange);
    all
}

/// Which values are a policy's, and of which kind it is.
pub(crate) fn show_sources(
    declared: &QueueSettings,
    by_user: &QueueSettings,
    effective: &QueueSettings,
) -> Value {
    let (declared, by_user) = (by_name(declared), by_name(by_user));
    let sources = by_name(effective).into_iter().filter_map(|(name, value)| {
        let kind = if by_user[&name] != value {
            "operator"
        } else if declared[&name] != value {
            "user"
        } else {
            return None;
        };
        Some((name, json!(kind)))
    });
    Value::Object(sources.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Changes {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_shown_can_be_given() {
        let shown = show(&QueueSettings::default());
        let settings = read(shown).into_new(None).unwrap();
        assert_eq!(settings, QueueSettings::default());
        let all = json!({
            "ordering": "key",
            "lease_ms": 1,
            "delay_ms": 2,
            "retention_ms": 3000,
            "message_bytes_max": 4,
            "in_flight_max": 5,
            "dead_letter": { "queue": "dead", "attempts_max": 6 },
            "dedup_window_ms": 7,
            "dedup_scope": "key",
            "backoff": { "base_ms": 8, "max_ms": 9, "jitter": true },
            "priorities": 0,
            "replay_ms": 10,
            "stream": true,
            "retention_bytes": 11,
            "tags": { "team": "billing" },
        });
        assert_eq!(show(&read(all.clone()).into_new(None).unwrap()), all);
    }

    #[test]
    fn a_type_and_the_rest_agree() {
        let make = |kind, settings: Value| read(settings).into_new(Some(kind));
        let stream = make(QueueType::Stream, json!({ "stream": true })).unwrap();
        assert!(stream.stream);
        let quorum = make(QueueType::Quorum, json!({ "priorities": 5 })).unwrap();
        assert_eq!((quorum.quorum, quorum.priorities), (true, 5));
        for (kind, stream) in [(QueueType::Stream, false), (QueueType::Classic, true)] {
            let refused = make(kind, json!({ "stream": stream })).unwrap_err();
            assert!(refused.to_string().contains("say one of them"), "{refused}");
        }
    }

    #[test]
    fn it_is_told_which_values_are_a_policys() {
        let declared = QueueSettings::default();
        let mut by_user = declared.clone();
        by_user.limits.message_ttl_ms = Some(60_000);
        by_user.limits.messages_max = Some(100);
        let mut effective = by_user.clone();
        effective.limits.messages_max = Some(7);
        let told = show_sources(&declared, &by_user, &effective);
        let expected = json!({
            "message_ttl_ms": "user", "messages_max": "operator", "overflow": "user",
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn null_takes_away_and_absence_leaves() {
        let given = json!({
            "dead_letter": { "queue": "dead", "attempts_max": 6 },
            "backoff": { "base_ms": 8, "max_ms": 9 },
        });
        let mut settings = read(given).into_new(None).unwrap();
        read(json!({ "lease_ms": 5 })).apply(&mut settings).unwrap();
        assert_eq!(settings.lease_ms, 5);
        assert!(settings.dead_letter.is_some() && settings.backoff.is_some());
        let nothing = json!({ "dead_letter": null, "backoff": null });
        read(nothing).apply(&mut settings).unwrap();
        assert_eq!((settings.dead_letter, settings.backoff), (None, None));
    }

    #[test]
    fn half_of_a_dead_letter_policy_changes_that_half() {
        let given = json!({ "dead_letter": { "queue": "dead", "attempts_max": 6 } });
        let mut settings = read(given).into_new(None).unwrap();
        let mut set = |half: Value| {
            let changes = read(json!({ "dead_letter": half }));
            changes.apply(&mut settings).unwrap();
            let policy = settings.dead_letter.clone().unwrap();
            (policy.queue, policy.attempts_max)
        };
        assert_eq!(set(json!({ "attempts_max": 7 })), ("dead".into(), 7));
        assert_eq!(set(json!({ "queue": "other" })), ("other".into(), 7));
        for (half, missing) in [
            (json!({ "attempts_max": 7 }), "`dead_letter` needs `queue`"),
            (
                json!({ "queue": "dead" }),
                "`dead_letter` needs `attempts_max`",
            ),
        ] {
            let refused = read(json!({ "dead_letter": half }))
                .into_new(None)
                .unwrap_err();
            assert!(refused.to_string().contains(missing), "{refused}");
        }
    }

    #[test]
    fn values_have_limits_and_names_are_known() {
        for (name, value) in [
            ("lease_ms", json!(LEASE_MS_MAX + 1)),
            ("delay_ms", json!(u64::MAX)),
            ("retention_ms", json!(0)),
            ("dedup_window_ms", json!(DEDUP_MS_MAX + 1)),
            ("replay_ms", json!(u64::MAX)),
            ("in_flight_max", json!(0)),
            ("backoff", json!({ "base_ms": 9, "max_ms": 8 })),
        ] {
            let refused = read(json!({ name: value })).into_new(None).unwrap_err();
            assert!(refused.to_string().contains(name), "{refused}");
        }
        for unknown in [
            json!({ "leese_ms": 1 }),
            json!({ "annotations": {} }),
            json!({ "dead_letter": { "queue": "q", "attempts_max": 1, "x": 1 } }),
            json!({ "backoff": { "base_ms": 1, "max_ms": 1, "x": 1 } }),
        ] {
            let refused = serde_json::from_value::<Changes>(unknown).unwrap_err();
            assert!(refused.to_string().contains("unknown field"), "{refused}");
        }
    }
}
