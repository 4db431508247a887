//! The deaths a message died: where, why, how often. They travel with it from queue to queue.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{DeadLetter, DeathReason};
use crate::exchange::octets;
use crate::vhost;

/// Entries that are kept; of a message that died in more ways the oldest are forgotten, its first death last.
const DEATHS_MAX: usize = 64;

/// What a message died of in one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Name of the queue as the broker knows it; see [`crate::vhost::split`].
    pub queue: String,
    /// Why.
    pub reason: DeathReason,
    /// How often.
    pub count: u64,
    /// When for the first time, ms.
    pub first_ms: u64,
    /// The exchange it had come by then; empty for one that was sent to the queue itself.
    #[serde(with = "octets")]
    pub exchange: Bytes,
    /// The keys it had come with.
    pub keys: Vec<Key>,
    /// How long it was to live, ms, if that was said about it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_expiration_ms: Option<u64>,
    /// This was its first death of all.
    #[serde(default)]
    pub is_first: bool,
}

/// A routing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(#[serde(with = "octets")] pub Bytes);

/// Takes a death into the history, newest first: one that was died before comes to the front and counts up.
pub(crate) fn record(deaths: &mut Vec<Death>, mut death: Death) {
    let same = |known: &Death| known.queue == death.queue && known.reason == death.reason;
    if let Some(place) = deaths.iter().position(same) {
        let mut known = deaths.remove(place);
        known.count += 1;
        death = known;
    } else {
        death.is_first = deaths.is_empty();
    }
    deaths.insert(0, death);
    while deaths.len() > DEATHS_MAX {
        let oldest = deaths.iter().rposition(|death| !death.is_first);
        deaths.remove(oldest.unwrap_or(DEATHS_MAX));
    }
}

/// Whether a message would go round by itself for ever: it died in this queue before, and nobody refused it since.
pub(crate) fn is_cycle(queue: &str, deaths: &[Death]) -> bool {
    let Some(place) = deaths.iter().position(|death| death.queue == queue) else {
        return false;
    };
    let since = &deaths[..=place];
    !since
        .iter()
        .any(|death| death.reason == DeathReason::Rejected)
}

/// The history of a message by its reserved headers. One that came without an exchange and died once has only its last
/// death's story.
pub(crate) fn history(deaths: Option<&[u8]>, last: Option<&DeadLetter>) -> Vec<Death> {
    match (deaths, last) {
        (Some(deaths), _) => decode(deaths),
        (None, Some(last)) => vec![only(last)],
        (None, None) => Vec::new(),
    }
}

/// Whether the story of its last death says all about a message that came without an exchange.
pub(crate) fn is_plain(deaths: &[Death]) -> bool {
    matches!(deaths, [only] if only.count == 1)
}

fn only(dead: &DeadLetter) -> Death {
    let (_, plain) = vhost::split(&dead.queue);
    let reasons = [
        DeathReason::Attempts,
        DeathReason::Rejected,
        DeathReason::Expired,
        DeathReason::Overflow,
        DeathReason::DeliveryLimit,
    ];
    let reason = reasons.into_iter().find(|r| r.word() == dead.reason);
    Death {
        queue: dead.queue.clone(),
        reason: reason.unwrap_or(DeathReason::Attempts),
        count: 1,
        first_ms: dead.dead_ms,
        exchange: Bytes::new(),
        keys: vec![Key(Bytes::copy_from_slice(plain.as_bytes()))],
        original_expiration_ms: None,
        is_first: true,
    }
}

/// The history as a header's value.
pub(crate) fn encode(deaths: &[Death]) -> Vec<u8> {
    serde_json::to_vec(deaths).unwrap_or_default()
}

/// What [`encode`] made; what cannot be read is no history.
fn decode(value: &[u8]) -> Vec<Death> {
    serde_json::from_slice(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(queue: &str, reason: DeathReason) -> Death {
        Death {
            queue: queue.to_owned(),
            reason,
            count: 1,
            first_ms: 7,
            exchange: Bytes::from_static(b"x"),
            keys: vec![Key(Bytes::from_static(b"\xff"))],
            original_expiration_ms: None,
            is_first: false,
        }
    }

    fn history(all: &[(&str, DeathReason)]) -> Vec<Death> {
        let mut deaths = Vec::new();
        for (queue, reason) in all {
            record(&mut deaths, death(queue, *reason));
        }
        deaths
    }

    #[test]
    fn the_newest_comes_first_and_repeats_count() {
        use DeathReason::{Expired, Rejected};
        let deaths = history(&[
            ("a", Expired),
            ("b", Rejected),
            ("a", Rejected),
            ("a", Expired),
        ]);
        let told: Vec<_> = deaths
            .iter()
            .map(|d| (&*d.queue, d.reason, d.count, d.is_first))
            .collect();
        assert_eq!(
            told,
            [
                ("a", Expired, 2, true),
                ("a", Rejected, 1, false),
                ("b", Rejected, 1, false)
            ]
        );
        assert_eq!(decode(&encode(&deaths)), deaths);
        assert_eq!(decode(b"nonsense"), []);
    }

    #[test]
    fn only_what_nobody_refused_goes_round_for_ever() {
        use DeathReason::{DeliveryLimit, Expired, Overflow, Rejected};
        for (died, into, cycle) in [
            (&[("a", Expired)][..], "b", false),
            (&[("a", Expired)], "a", true),
            (&[("a", Rejected)], "a", false),
            (&[("a", Expired), ("b", Overflow)], "a", true),
            (&[("a", Rejected), ("b", Expired)], "a", false),
            (&[("a", Expired), ("b", Rejected)], "a", false),
            (&[("b", Rejected), ("a", DeliveryLimit)], "a", true),
        ] {
            assert_eq!(is_cycle(into, &history(died)), cycle, "{died:?} {into}");
        }
    }

    #[test]
    fn a_long_history_keeps_its_beginning() {
        let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        let all: Vec<_> = names
            .iter()
            .map(|n| (&**n, DeathReason::Rejected))
            .collect();
        let deaths = history(&all);
        assert_eq!(deaths.len(), DEATHS_MAX);
        assert_eq!(deaths[0].queue, "199");
        assert_eq!(deaths.last().unwrap().queue, "0");
    }
}
