//! Policies: rules for all queues and exchanges whose names match, apart from their declarations and changeable at any
//! time.
//!
//! Of the policies of a vhost that match a name the one of the greatest priority holds, alone. An operator's policies
//! are chosen in the same way, and narrow what is left: users cannot widen them. What a queue was declared with comes
//! before its policy, except that of two numbers the lower one holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use fancy_regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::queue::{Backoff, DeadLetterExchange, Overflow, QueueSettings, QueueType};
use crate::{Error, Result, vhost};

/// Longest pattern, bytes: what it is compiled to stays small.
const PATTERN_BYTES_MAX: usize = 1024;
/// Most bytes a part of it is compiled to.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Most instructions it is compiled to.
const INSTRUCTIONS_MAX: usize = 100_000;
/// Times a pattern may go back and try another way for one name; one that needs more matches nothing.
const STEPS_BACK_MAX: usize = 20_000;
/// Largest document of a policy, bytes.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// What a policy applies to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues.
    Queues,
    /// Queues of the type `classic`.
    ClassicQueues,
    /// Queues of the type `quorum`.
    QuorumQueues,
    /// Queues of the type `stream`.
    Streams,
    /// Exchanges.
    Exchanges,
}

/// What a policy is looked for.
#[derive(Debug, Clone, Copy)]
enum Target {
    Queue(QueueType),
    Exchange,
}

impl Scope {
    fn covers(self, target: Target) -> bool {
        match self {
            Self::All => true,
            Self::Queues => matches!(target, Target::Queue(_)),
            Self::ClassicQueues => matches!(target, Target::Queue(QueueType::Classic)),
            Self::QuorumQueues => matches!(target, Target::Queue(QueueType::Quorum)),
            Self::Streams => matches!(target, Target::Queue(QueueType::Stream)),
            Self::Exchanges => matches!(target, Target::Exchange),
        }
    }
}

/// Whose rules they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A user's: they hold where a declaration says nothing.
    #[default]
    User,
    /// An operator's: they narrow what users say. Only times to live, lengths, limits and what happens beyond them.
    Operator,
}

/// What holds for a queue or an exchange; absent: nothing is said about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Messages not leased within this time expire, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ttl_ms: Option<u64>,
    /// The queue is removed when nobody used it for this long, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Messages that may be ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_max: Option<u64>,
    /// Bytes of bodies that may be ready; in a stream, bytes of its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Messages older than this are gone, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// What happens beyond that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// Failures after which a message is dead-lettered or dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_limit: Option<u32>,
    /// Where dead letters go by way of an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_exchange: Option<DeadLetterExchange>,
    /// Waits between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How long messages stay readable after they were acknowledged, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_ms: Option<u64>,
    /// The exchange that gets what an exchange matched with no binding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternate_exchange: Option<String>,
    /// What was said beside that and means nothing here; kept to be shown. A policy that says nothing else holds like
    /// any other, in the place of those of lower priority.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without_effect: BTreeMap<String, serde_json::Value>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The vhost it holds in.
    pub vhost: String,
    /// Its name there, unique among those of its kind.
    pub name: String,
    /// Whose rules they are.
    pub kind: Kind,
    /// What they say.
    pub document: PolicyDocument,
}

/// A policy as the catalog stores it (`policies/<kind>/<name>`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDocument {
    /// A regular expression; it matches wherever in a name it is found.
    pub pattern: String,
    /// What it applies to.
    #[serde(default)]
    pub scope: Scope,
    /// Of several that match, the one of the greatest priority holds.
    #[serde(default)]
    pub priority: i32,
    /// The rules.
    pub rules: Rules,
}

impl Rules {
    /// Rules a user makes: they hold where the declaration says nothing.
    fn fill(&self, settings: &mut QueueSettings) {
        self.narrow(settings);
        if settings.dead_letter_exchange.is_none() {
            settings
                .dead_letter_exchange
                .clone_from(&self.dead_letter_exchange);
        }
        if settings.backoff.is_none() {
            settings.backoff = self.backoff;
        }
        if settings.replay_ms == 0 && !settings.stream {
            settings.replay_ms = self.replay_ms.unwrap_or(0);
        }
    }

    /// Of two numbers the lower one holds.
    fn narrow(&self, settings: &mut QueueSettings) {
        let age = [settings.retention_ms].into_iter();
        settings.retention_ms = age.chain(self.retention_ms).min().unwrap_or(u64::MAX);
        if settings.stream {
            self.narrow_stream(settings);
            return;
        }
        let limits = &mut settings.limits;
        for (has, rule) in [
            (&mut limits.message_ttl_ms, self.message_ttl_ms),
            (&mut limits.expires_ms, self.expires_ms),
            (&mut limits.messages_max, self.messages_max),
            (&mut limits.bytes_max, self.bytes_max),
        ] {
            *has = has.iter().copied().chain(rule).min();
        }
        if limits.overflow == Overflow::default() {
            limits.overflow = self.overflow.unwrap_or_default();
        }
        let limit = settings.delivery_limit.into_iter();
        settings.delivery_limit = limit.chain(self.delivery_limit).min();
    }

    /// Of a stream nothing is taken that limits it, but by its age and bytes.
    fn narrow_stream(&self, settings: &mut QueueSettings) {
        let QueueSettings {
            limits,
            retention_bytes,
            ..
        } = settings;
        for (has, rule) in [
            (&mut limits.expires_ms, self.expires_ms),
            (retention_bytes, self.bytes_max),
        ] {
            *has = has.iter().copied().chain(rule).min();
        }
    }

    fn check(&self, kind: Kind) -> Result<()> {
        let refuse = |why: &str| Err(Error::InvalidConfig(why.into()));
        if self.expires_ms == Some(0) {
            return refuse("a queue cannot expire at once");
        }
        let beyond = self.dead_letter_exchange.is_some()
            || self.backoff.is_some()
            || self.replay_ms.is_some()
            || self.alternate_exchange.is_some();
        if kind == Kind::Operator && beyond {
            return refuse("an operator's policy only limits");
        }
        if *self == Self::default() {
            return refuse("rules must not be empty");
        }
        if let Some(exchange) = &self.dead_letter_exchange {
            exchange.check()?;
        }
        if let Some(alternate) = &self.alternate_exchange {
            vhost::check_reference(alternate)?;
        }
        if let Some(backoff) = &self.backoff {
            backoff.check()?;
        }
        Ok(())
    }
}

/// The policies that hold for a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InEffect {
    /// Name of the user's.
    pub user: Option<String>,
    /// Name of the operator's.
    pub operator: Option<String>,
    /// The queue's settings as they are with the user's alone.
    pub by_user: QueueSettings,
}

/// A policy that is ready to be asked.
#[derive(Debug)]
struct Ready {
    policy: Policy,
    pattern: Regex,
    /// It was said that its pattern takes too long for some name.
    gave_up: AtomicBool,
}

impl Ready {
    fn matches(&self, name: &str) -> bool {
        self.pattern.is_match(name).unwrap_or_else(|error| {
            if !self.gave_up.swap(true, Relaxed) {
                let Policy { vhost, name: policy, .. } = &self.policy;
                tracing::warn!(%vhost, %policy, name, %error, "policy pattern takes too long, it matches nothing");
            }
            false
        })
    }
}

fn compile(text: &str) -> Result<Regex> {
    let pattern = RegexBuilder::new(text)
        .backtrack_limit(STEPS_BACK_MAX)
        .delegate_size_limit(COMPILED_BYTES_MAX)
        .delegate_dfa_size_limit(COMPILED_BYTES_MAX)
        .max_prog_size(INSTRUCTIONS_MAX)
        .build();
    pattern.map_err(|error| Error::InvalidConfig(format!("the pattern '{text}': {error}")))
}

/// All policies. Asked by everybody, changed by the controller alone, as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies(BTreeMap<(Kind, String, String), Arc<Ready>>);

impl Policies {
    /// Checks a policy and takes it in. Errors: `InvalidName`, `InvalidConfig`.
    pub(crate) fn insert(&mut self, policy: Policy) -> Result<()> {
        vhost::check_name(&policy.name)?;
        policy.document.rules.check(policy.kind)?;
        let text = &policy.document.pattern;
        if text.len() > PATTERN_BYTES_MAX {
            return Err(Error::InvalidConfig(
                "a pattern has at most 1024 bytes".into(),
            ));
        }
        let document = serde_json::to_vec(&policy.document);
        if document.map_or(usize::MAX, |document| document.len()) > DOCUMENT_BYTES_MAX {
            return Err(Error::InvalidConfig(
                "the document of a policy has at most 64 KiB".into(),
            ));
        }
        let pattern = compile(text)?;
        let key = (policy.kind, policy.vhost.clone(), policy.name.clone());
        let ready = Ready {
            policy,
            pattern,
            gave_up: AtomicBool::new(false),
        };
        self.0.insert(key, Arc::new(ready));
        Ok(())
    }

    /// Takes one out; whether it was there.
    pub(crate) fn remove(&mut self, kind: Kind, vhost: &str, name: &str) -> bool {
        let key = (kind, vhost.to_owned(), name.to_owned());
        self.0.remove(&key).is_some()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those of a vhost.
    pub(crate) fn of_vhost(&self, vhost: &str) -> Vec<Policy> {
        let all = self.0.values().map(|ready| &ready.policy);
        all.filter(|policy| policy.vhost == vhost)
            .cloned()
            .collect()
    }

    /// The policy that holds for a name.
    fn holding(&self, kind: Kind, target: Target, vhost: &str, name: &str) -> Option<&Policy> {
        let of_kind = self.0.values().filter(|ready| {
            let policy = &ready.policy;
            let applies = policy.document.scope.covers(target);
            policy.kind == kind && policy.vhost == vhost && applies && ready.matches(name)
        });
        let best = of_kind.max_by_key(|ready| ready.policy.document.priority)?;
        Some(&best.policy)
    }

    /// The settings that hold for a queue of this qualified name, declared with others.
    pub(crate) fn settings(
        &self,
        queue: &str,
        declared: &Arc<QueueSettings>,
    ) -> Arc<QueueSettings> {
        let (user, operator) = self.of_queue(queue, declared);
        if user.is_none() && operator.is_none() {
            return Arc::clone(declared);
        }
        let mut settings = QueueSettings::clone(declared);
        if let Some(policy) = user {
            policy.document.rules.fill(&mut settings);
        }
        if let Some(policy) = operator {
            policy.document.rules.narrow(&mut settings);
        }
        settings.shared()
    }

    /// The user's and the operator's policy that hold for a queue.
    fn of_queue(
        &self,
        queue: &str,
        declared: &QueueSettings,
    ) -> (Option<&Policy>, Option<&Policy>) {
        let (vhost, name) = vhost::split(queue);
        let target = Target::Queue(declared.queue_type());
        let of = |kind| self.holding(kind, target, vhost, name);
        (of(Kind::User), of(Kind::Operator))
    }

    /// What holds for a queue, by name, and what its user's policy alone makes of it.
    pub(crate) fn in_effect(&self, queue: &str, declared: &QueueSettings) -> InEffect {
        let (user, operator) = self.of_queue(queue, declared);
        let mut by_user = declared.clone();
        if let Some(policy) = user {
            policy.document.rules.fill(&mut by_user);
        }
        let name = |policy: Option<&Policy>| policy.map(|policy| policy.name.clone());
        InEffect {
            user: name(user),
            operator: name(operator),
            by_user,
        }
    }

    /// The alternate of an exchange that was declared without one.
    pub(crate) fn alternate(&self, vhost: &str, exchange: &str) -> Option<Arc<str>> {
        let policy = self.holding(Kind::User, Target::Exchange, vhost, exchange)?;
        let rules = &policy.document.rules;
        rules.alternate_exchange.as_deref().map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Limits;

    fn policy(name: &str, kind: Kind, pattern: &str, priority: i32, rules: Rules) -> Policy {
        Policy {
            vhost: "/".into(),
            name: name.into(),
            kind,
            document: PolicyDocument {
                pattern: pattern.into(),
                scope: Scope::All,
                priority,
                rules,
            },
        }
    }

    fn growing(base_ms: u64, max_ms: u64) -> Rules {
        let backoff = Backoff {
            base_ms,
            max_ms,
            jitter: false,
            growth: crate::queue::Growth::Linear,
            after: crate::queue::After::All,
        };
        Rules {
            backoff: Some(backoff),
            ..Rules::default()
        }
    }

    fn length(messages_max: u64) -> Rules {
        Rules {
            messages_max: Some(messages_max),
            ..Rules::default()
        }
    }

    fn holds(policies: &Policies, queue: &str, declared: Option<u64>) -> Option<u64> {
        let declared = QueueSettings {
            limits: Limits {
                messages_max: declared,
                ..Limits::default()
            },
            ..QueueSettings::default()
        };
        let settings = policies.settings(queue, &declared.shared());
        settings.limits.messages_max
    }

    #[test]
    fn a_scope_may_be_one_type_of_queue() {
        let settings = |kind| {
            let mut settings = QueueSettings::default();
            settings.set_type(kind);
            settings
        };
        for (scope, covered) in [
            (Scope::ClassicQueues, QueueType::Classic),
            (Scope::QuorumQueues, QueueType::Quorum),
            (Scope::Streams, QueueType::Stream),
        ] {
            let mut policies = Policies::default();
            let mut one = policy("p", Kind::User, "", 0, length(5));
            one.document.scope = scope;
            one.document.rules.alternate_exchange = Some("ae".into());
            policies.insert(one).unwrap();
            for kind in [QueueType::Classic, QueueType::Quorum, QueueType::Stream] {
                let effect = policies.in_effect("q", &settings(kind));
                assert_eq!(effect.user.is_some(), kind == covered, "{scope:?} {kind:?}");
            }
            assert_eq!(policies.alternate("/", "x"), None);
        }
    }

    #[test]
    fn it_is_told_which_policies_hold() {
        let mut policies = Policies::default();
        for policy in [
            policy("mine", Kind::User, "", 0, length(100)),
            policy("theirs", Kind::Operator, "", 0, length(7)),
        ] {
            policies.insert(policy).unwrap();
        }
        let effect = policies.in_effect("q", &QueueSettings::default());
        assert_eq!(effect.user.as_deref(), Some("mine"));
        assert_eq!(effect.operator.as_deref(), Some("theirs"));
        assert_eq!(effect.by_user.limits.messages_max, Some(100));
        assert_eq!(holds(&policies, "q", None), Some(7));
    }

    #[test]
    fn of_a_stream_age_and_bytes_are_limited() {
        let mut policies = Policies::default();
        let rules = Rules {
            messages_max: Some(1),
            message_ttl_ms: Some(2),
            bytes_max: Some(300),
            retention_ms: Some(400),
            expires_ms: Some(500),
            delivery_limit: Some(6),
            ..Rules::default()
        };
        policies
            .insert(policy("p", Kind::Operator, "", 0, rules))
            .unwrap();
        let stream = QueueSettings {
            stream: true,
            retention_bytes: Some(1000),
            ..QueueSettings::default()
        };
        let settings = policies.settings("q", &stream.clone().shared());
        let expected = QueueSettings {
            retention_bytes: Some(300),
            retention_ms: 400,
            limits: Limits {
                expires_ms: Some(500),
                ..Limits::default()
            },
            ..stream
        };
        assert_eq!(*settings, expected);
    }

    #[test]
    fn the_greatest_priority_holds_alone_and_the_lower_number() {
        let mut policies = Policies::default();
        let ttl = Rules {
            message_ttl_ms: Some(5),
            ..Rules::default()
        };
        for policy in [
            policy("all", Kind::User, "", 0, length(100)),
            policy("orders", Kind::User, "^orders", 1, length(50)),
            policy("ttl", Kind::User, "short$", 2, ttl),
            policy("cap", Kind::Operator, "", 0, length(70)),
        ] {
            policies.insert(policy).unwrap();
        }
        for (queue, declared, expected) in [
            ("other", None, Some(70)),
            ("orders.eu", None, Some(50)),
            ("orders.eu", Some(10), Some(10)),
            ("orders.eu", Some(60), Some(50)),
            // The other policy does not hold beside it.
            ("orders.short", None, Some(70)),
            // Nor in another vhost.
            ("shop\u{1f}orders", None, None),
        ] {
            assert_eq!(holds(&policies, queue, declared), expected, "{queue}");
        }
        assert!(policies.remove(Kind::User, "/", "orders"));
        assert!(!policies.remove(Kind::User, "/", "orders"));
        assert_eq!(holds(&policies, "orders.eu", None), Some(70));
    }

    #[test]
    fn a_policy_says_more_than_what_is_only_implied() {
        let mut policies = Policies::default();
        let limit = |most| Rules {
            delivery_limit: Some(most),
            ..Rules::default()
        };
        let policy = policy("p", Kind::User, "", 0, limit(50));
        policies.insert(policy).unwrap();
        for (declared, implied, expected) in [
            (None, Some(20), Some(50)),
            (None, None, Some(50)),
            (Some(5), None, Some(5)),
            (Some(60), None, Some(50)),
        ] {
            let declared = QueueSettings {
                delivery_limit: declared,
                implied_delivery_limit: implied,
                ..QueueSettings::default()
            };
            let plain = Policies::default().settings("q", &declared.clone().shared());
            assert_eq!(plain.failures_max(), declared.failures_max());
            let settings = policies.settings("q", &declared.shared());
            assert_eq!(settings.failures_max(), expected);
        }
    }

    #[test]
    fn what_is_declared_comes_first() {
        let dead_letters = |exchange: &str| DeadLetterExchange {
            exchange: exchange.into(),
            key: None,
        };
        let mut policies = Policies::default();
        let rules = Rules {
            dead_letter_exchange: Some(dead_letters("policy")),
            overflow: Some(Overflow::Refuse),
            ..Rules::default()
        };
        let dead = policy("dead", Kind::User, ".", 0, rules);
        policies.insert(dead).unwrap();
        let mut declared = QueueSettings::default();
        let plain = policies.settings("q", &declared.clone().shared());
        assert_eq!(plain.dead_letter_exchange, Some(dead_letters("policy")));
        assert_eq!(plain.limits.overflow, Overflow::Refuse);
        declared.dead_letter_exchange = Some(dead_letters("own"));
        let own = policies.settings("q", &declared.shared());
        assert_eq!(own.dead_letter_exchange, Some(dead_letters("own")));
    }

    #[test]
    fn patterns_look_around_within_their_time() {
        let mut policies = Policies::default();
        let pattern = r"^(?!amq\.).*";
        policies
            .insert(policy("own", Kind::User, pattern, 0, length(7)))
            .unwrap();
        for (queue, expected) in [
            ("orders", Some(7)),
            ("amq", Some(7)),
            ("my.amq.x", Some(7)),
            ("amq.gen-1", None),
            ("shop\u{1f}orders", None),
        ] {
            assert_eq!(holds(&policies, queue, None), expected, "{queue}");
        }
        // One that would try all of 2^40 ways matches nothing, and another one holds.
        policies
            .insert(policy("slow", Kind::User, r"^(?=(a|a)*b)", 9, length(1)))
            .unwrap();
        let name = "a".repeat(40);
        assert_eq!(holds(&policies, &name, None), Some(7));
        assert_eq!(holds(&policies, "aaab", None), Some(1));
    }

    #[test]
    fn what_has_no_effect_is_kept_and_holds_alone() {
        let mut policies = Policies::default();
        policies
            .insert(policy("short", Kind::User, "", 0, length(5)))
            .unwrap();
        let mirrored = Rules {
            without_effect: BTreeMap::from([("ha-mode".to_owned(), "all".into())]),
            ..Rules::default()
        };
        policies
            .insert(policy("ha", Kind::User, "^ha", 1, mirrored))
            .unwrap();
        assert_eq!(holds(&policies, "ha.q", None), None);
        assert_eq!(holds(&policies, "q", None), Some(5));
        let large = Rules {
            without_effect: BTreeMap::from([("x".to_owned(), "y".repeat(64 << 10).into())]),
            ..Rules::default()
        };
        policies
            .insert(policy("large", Kind::User, "", 0, large))
            .unwrap_err();
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut policies = Policies::default();
        let alternate = Rules {
            alternate_exchange: Some("x".into()),
            ..Rules::default()
        };
        for bad in [
            policy("", Kind::User, "", 0, length(1)),
            policy("p", Kind::User, "(", 0, length(1)),
            policy("p", Kind::User, &"a".repeat(2000), 0, length(1)),
            policy("p", Kind::User, "", 0, Rules::default()),
            policy("p", Kind::Operator, "", 0, alternate.clone()),
            policy("p", Kind::User, "", 0, growing(20, 10)),
        ] {
            policies.insert(bad).unwrap_err();
        }
        let good = policy("p", Kind::User, "^x", 0, alternate);
        policies.insert(good).unwrap();
        assert_eq!(policies.alternate("/", "xy").as_deref(), Some("x"));
        assert_eq!(policies.alternate("/", "y"), None);
    }
}
