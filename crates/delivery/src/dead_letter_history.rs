//! Dead-letter history: where, why and how often a message was dead-lettered. It travels with it from queue to queue.

use bytes::Bytes;
use routing::octets;
use serde::{Deserialize, Serialize};

use crate::dead_letter::{DeadLetter, DeadLetterReason};

/// Events that are kept; of a message with more the oldest are forgotten, the very first one last.
const HISTORY_MAX: usize = 64;

/// Why a message was dead-lettered from one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterEvent {
    /// Name of the queue as the broker knows it; see [`routing::split`].
    pub queue: String,
    /// Why.
    pub reason: DeadLetterReason,
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
    /// This was the first time of all.
    #[serde(default)]
    pub is_first: bool,
}

/// A routing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(#[serde(with = "octets")] pub Bytes);

/// Adds an event to the history, newest first: one with the same queue and reason comes to the front and counts up.
pub fn record(dead_letter_history: &mut Vec<DeadLetterEvent>, mut event: DeadLetterEvent) {
    let same = |known: &DeadLetterEvent| known.queue == event.queue && known.reason == event.reason;
    if let Some(place) = dead_letter_history.iter().position(same) {
        let mut known = dead_letter_history.remove(place);
        known.count += 1;
        event = known;
    } else {
        event.is_first = dead_letter_history.is_empty();
    }
    dead_letter_history.insert(0, event);
    while dead_letter_history.len() > HISTORY_MAX {
        let oldest = dead_letter_history
            .iter()
            .rposition(|event| !event.is_first);
        dead_letter_history.remove(oldest.unwrap_or(HISTORY_MAX));
    }
}

/// Whether a message would go round by itself for ever: it was dead-lettered from this queue before, and not rejected
/// since.
pub fn is_cycle(queue: &str, dead_letter_history: &[DeadLetterEvent]) -> bool {
    let Some(place) = dead_letter_history
        .iter()
        .position(|event| event.queue == queue)
    else {
        return false;
    };
    let since = &dead_letter_history[..=place];
    !since
        .iter()
        .any(|event| event.reason == DeadLetterReason::Rejected)
}

/// The history of a message by its reserved headers. One that came without an exchange and was dead-lettered once has
/// only the last event's facts.
pub fn history(
    dead_letter_history: Option<&[u8]>,
    last: Option<&DeadLetter>,
) -> Vec<DeadLetterEvent> {
    match (dead_letter_history, last) {
        (Some(dead_letter_history), _) => decode(dead_letter_history),
        (None, Some(last)) => vec![only(last)],
        (None, None) => Vec::new(),
    }
}

/// Whether the facts of its last event say all about a message that came without an exchange.
pub fn is_plain(dead_letter_history: &[DeadLetterEvent]) -> bool {
    matches!(dead_letter_history, [only] if only.count == 1)
}

fn only(dead: &DeadLetter) -> DeadLetterEvent {
    let (_, plain) = routing::split(&dead.queue);
    let reasons = [
        DeadLetterReason::Attempts,
        DeadLetterReason::Rejected,
        DeadLetterReason::Expired,
        DeadLetterReason::Overflow,
        DeadLetterReason::DeliveryLimit,
    ];
    let reason = reasons.into_iter().find(|r| r.word() == dead.reason);
    DeadLetterEvent {
        queue: dead.queue.clone(),
        reason: reason.unwrap_or(DeadLetterReason::Attempts),
        count: 1,
        first_ms: dead.dead_ms,
        exchange: Bytes::new(),
        keys: vec![Key(Bytes::copy_from_slice(plain.as_bytes()))],
        original_expiration_ms: None,
        is_first: true,
    }
}

/// The history as a header's value.
pub fn encode(dead_letter_history: &[DeadLetterEvent]) -> Vec<u8> {
    serde_json::to_vec(dead_letter_history).unwrap_or_default()
}

/// What [`encode`] made; what cannot be read is no history.
fn decode(value: &[u8]) -> Vec<DeadLetterEvent> {
    serde_json::from_slice(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(queue: &str, reason: DeadLetterReason) -> DeadLetterEvent {
        DeadLetterEvent {
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

    fn history(all: &[(&str, DeadLetterReason)]) -> Vec<DeadLetterEvent> {
        let mut dead_letter_history = Vec::new();
        for (queue, reason) in all {
            record(&mut dead_letter_history, event(queue, *reason));
        }
        dead_letter_history
    }

    #[test]
    fn the_newest_comes_first_and_repeats_count() {
        use DeadLetterReason::{Expired, Rejected};
        let dead_letter_history = history(&[
            ("a", Expired),
            ("b", Rejected),
            ("a", Rejected),
            ("a", Expired),
        ]);
        let shown: Vec<_> = dead_letter_history
            .iter()
            .map(|d| (&*d.queue, d.reason, d.count, d.is_first))
            .collect();
        assert_eq!(
            shown,
            [
                ("a", Expired, 2, true),
                ("a", Rejected, 1, false),
                ("b", Rejected, 1, false)
            ]
        );
        assert_eq!(decode(&encode(&dead_letter_history)), dead_letter_history);
        assert_eq!(decode(b"nonsense"), []);
    }

    #[test]
    fn only_what_nobody_refused_goes_round_for_ever() {
        use DeadLetterReason::{DeliveryLimit, Expired, Overflow, Rejected};
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
            .map(|n| (&**n, DeadLetterReason::Rejected))
            .collect();
        let dead_letter_history = history(&all);
        assert_eq!(dead_letter_history.len(), HISTORY_MAX);
        assert_eq!(dead_letter_history[0].queue, "199");
        assert_eq!(dead_letter_history.last().unwrap().queue, "0");
    }
}
