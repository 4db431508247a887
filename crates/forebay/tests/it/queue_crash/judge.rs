//! Holds what a receive answered against the ledger.

use std::collections::BTreeMap;

use serde_json::Value;

use super::content::{self, Attributes};
use super::ledger::{Hold, Ledger, QueueNumber, SLACK, Seen};

/// A receive, as its sender knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) queue: QueueNumber,
    pub(crate) visibility: u64,
    /// Before it was sent and after its answer came, ms.
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A message as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) number: usize,
    pub(crate) handle: String,
    id: String,
    body: String,
    attributes: Attributes,
    count: u64,
    sequence: Option<u128>,
    group: Option<String>,
    dedup: Option<String>,
    source: Option<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Twenty digits.
pub(crate) fn sequence(value: &Value) -> Option<u128> {
    value.as_str()?.parse().ok()
}

/// Reads an answer; what makes no sense goes into the ledger.
pub(crate) fn read(ledger: &mut Ledger, answer: &Value) -> Vec<Delivered> {
    let mut all = Vec::new();
    for message in answer["Messages"].as_array().into_iter().flatten() {
        let body = text(&message["Body"]);
        let known = content::number(&body).filter(|number| *number < ledger.messages.len());
        let Some(number) = known else {
            ledger.wrong(format!("nobody sent {message}"));
            continue;
        };
        let attributes = content::from_json(&message["MessageAttributes"]);
        let sums = (
            content::md5_of_body(&body),
            content::md5_of_attributes(&attributes),
        );
        let told = (
            text(&message["MD5OfBody"]),
            message["MD5OfMessageAttributes"]
                .as_str()
                .map(str::to_owned),
        );
        if sums != told {
            ledger.wrong(format!(
                "message {number}: checksums {told:?}, not {sums:?}"
            ));
        }
        let system = &message["Attributes"];
        let optional = |name: &str| system[name].as_str().map(str::to_owned);
        all.push(Delivered {
            number,
            handle: text(&message["ReceiptHandle"]),
            id: text(&message["MessageId"]),
            attributes,
            count: text(&system["ApproximateReceiveCount"])
                .parse()
                .unwrap_or(0),
            sequence: sequence(&system["SequenceNumber"]),
            group: optional("MessageGroupId"),
            dedup: optional("MessageDeduplicationId"),
            source: optional("DeadLetterQueueSourceArn"),
            body,
        });
    }
    all
}

/// Judges all messages of an answer, and takes note of their leases.
pub(crate) fn judge(ledger: &mut Ledger, asked: Asked, all: &[Delivered]) {
    ledger.totals.receives += all.len() as u64;
    ledger.queues[asked.queue].receives += 1;
    let mut last: BTreeMap<&str, u128> = BTreeMap::new();
    for delivered in all {
        content_is_whole(ledger, delivered);
        may_be_leased(ledger, asked, delivered);
        comes_from(ledger, asked, delivered);
        counts_up(ledger, asked, delivered);
        if let (Some(group), Some(place)) = (&delivered.group, delivered.sequence)
            && last
                .insert(group, place)
                .is_some_and(|before| before >= place)
        {
            ledger.wrong(format!(
                "message {}: behind a later one of its group",
                delivered.number
            ));
        }
    }
    for delivered in all {
        is_in_turn(ledger, asked, delivered, all);
    }
    for delivered in all {
        acquire(ledger, asked, delivered);
    }
}

fn content_is_whole(ledger: &mut Ledger, delivered: &Delivered) {
    let message = &ledger.messages[delivered.number];
    let same = message.body == delivered.body
        && message.attributes == delivered.attributes
        && message.group == delivered.group;
    // A moved message is a new one, and its deduplication id is the broker's; in a dead-letter queue it is the
    // message's id.
    let moves = ledger.queues[message.queue].moves;
    let dedup = if delivered.source.is_some() && message.dedup.is_some() {
        Some(&delivered.id)
    } else {
        message.dedup.as_ref()
    };
    if !same || (dedup != delivered.dedup.as_ref() && !moves) {
        let what = format!(
            "message {}: {delivered:?}, not {message:?}",
            delivered.number
        );
        ledger.wrong(what);
    }
}

/// It is not gone, its delay is over, and nobody else has it.
fn may_be_leased(ledger: &mut Ledger, asked: Asked, delivered: &Delivered) {
    let number = delivered.number;
    let message = &ledger.messages[number];
    let due = message.asked + message.delay;
    let early = message.delay > 0 && asked.to + SLACK < due;
    // Answers may be read in another order than they were given: only what was leased later counts.
    let later = |hold: &Hold| {
        asked.from > hold.told + SLACK || (hold.id == delivered.id && delivered.count > hold.count)
    };
    let hold = message.hold.clone();
    let held = hold.filter(|hold| hold.until > asked.to + SLACK && later(hold));
    if message.gone.sure {
        if asked.from <= message.gone.at {
            return;
        }
        let what = format!("message {number}, by {asked:?}: {message:?}");
        return ledger.back(what);
    }
    if early {
        ledger.wrong(format!(
            "message {number} is delayed until {due}: {asked:?}"
        ));
    }
    if let Some(hold) = held {
        ledger.wrong(format!(
            "message {number} is leased until {} and leased again: {asked:?}, count {}",
            hold.until, delivered.count
        ));
    }
}

/// It came out of a queue it can be in.
fn comes_from(ledger: &mut Ledger, asked: Asked, delivered: &Delivered) {
    let number = delivered.number;
    let message = &ledger.messages[number];
    let home = &ledger.queues[message.queue];
    let at_home = message.queue == asked.queue;
    let mut wrong = None;
    if at_home {
        if message.dead.is_some_and(|at| at < asked.from) && !home.moves {
            wrong = Some("is back from the dead letters");
        } else if message.overtaken.is_some_and(|at| at < asked.from) && !home.moves {
            wrong = Some("was overtaken by one of its group");
        } else if delivered.source.is_some() {
            wrong = Some("has a source although it is at home");
        }
    } else if home.dead.map(|(dead, _)| dead) != Some(asked.queue) {
        wrong = Some("is in a strange queue");
    } else if home.dead.is_some_and(|(_, most)| delivered.count <= most) {
        wrong = Some("was moved too early");
    } else if !delivered
        .source
        .as_ref()
        .is_some_and(|arn| arn.ends_with(&format!(":{}", home.name)))
    {
        wrong = Some("does not say where it comes from");
    }
    let same_id = message.id.as_ref().is_none_or(|id| *id == delivered.id);
    if !same_id && !home.moves {
        wrong = Some("has another identity than when it was sent: it is there twice");
    }
    if at_home
        && message.sequence.is_some()
        && message.sequence != delivered.sequence
        && !home.moves
    {
        wrong = Some("has another place than when it was sent");
    }
    if let Some(why) = wrong {
        let name = &ledger.queues[asked.queue].name;
        let what = format!("message {number} {why}, in {name}: {delivered:?}, {message:?}");
        ledger.wrong(what);
    }
    if at_home {
        ledger.know(number, &delivered.id, delivered.sequence);
    } else {
        let message = &mut ledger.messages[number];
        message.sent = true;
        ledger.totals.dead += u64::from(message.dead.is_none());
        message.dead.get_or_insert(asked.to);
    }
}

/// Counts of receives that did not overlap rise, and no two are the same.
fn counts_up(ledger: &mut Ledger, asked: Asked, delivered: &Delivered) {
    let number = delivered.number;
    let seen = Seen {
        id: delivered.id.clone(),
        count: delivered.count,
        asked: asked.from,
        answered: asked.to,
    };
    let before = |a: &Seen, b: &Seen| a.answered + SLACK < b.asked;
    let of_id = ledger.messages[number]
        .seen
        .iter()
        .filter(|s| s.id == seen.id);
    let clash = of_id.clone().find(|old| {
        old.count == seen.count
            || (before(old, &seen) && old.count > seen.count)
            || (before(&seen, old) && seen.count > old.count)
    });
    if let Some(old) = clash.cloned() {
        ledger.wrong(format!("message {number}: count {seen:?} after {old:?}"));
    }
    // Every receive that was acknowledged counts; those nobody heard of may.
    let told = of_id_count(ledger, delivered) + 1;
    let home = ledger.messages[number].queue;
    let lost: u64 = [Some(home), Some(asked.queue)]
        .into_iter()
        .flatten()
        .map(|queue| ledger.queues[queue].lost_receives)
        .sum();
    if delivered.count > told + lost + open_receives(ledger, home, asked.queue) {
        ledger.wrong(format!(
            "message {number} was received {told} times, at most {lost} unheard of, and counts {}",
            delivered.count
        ));
    }
    ledger.messages[number].seen.push(seen);
}

fn of_id_count(ledger: &Ledger, delivered: &Delivered) -> u64 {
    let seen = &ledger.messages[delivered.number].seen;
    seen.iter().filter(|seen| seen.id == delivered.id).count() as u64
}

/// Receives that are on their way.
fn open_receives(ledger: &Ledger, home: QueueNumber, at: QueueNumber) -> u64 {
    ledger.queues[home].open_receives + ledger.queues[at].open_receives
}

/// In order: whatever is before it in its group has left, or comes with it.
fn is_in_turn(ledger: &mut Ledger, asked: Asked, delivered: &Delivered, all: &[Delivered]) {
    let number = delivered.number;
    let message = &ledger.messages[number];
    let home = message.queue;
    let (Some(group), Some(place)) = (message.group.clone(), message.sequence) else {
        return;
    };
    if home != asked.queue || !ledger.queues[home].fifo {
        return;
    }
    let leaves = ledger.queues[home].dead.is_some();
    let earlier: Vec<usize> = ledger
        .groups
        .get(&(home, group))
        .into_iter()
        .flat_map(|group| group.range(..place).map(|(_, number)| *number))
        .filter(|earlier| !all.iter().any(|d| d.number == *earlier))
        .collect();
    for earlier in earlier {
        let before = &ledger.messages[earlier];
        if before.gone.not_at_all() && !leaves {
            let what = format!(
                "message {number} before {earlier} of its group: {asked:?}, {before:?}, {:?}",
                ledger.messages[number]
            );
            ledger.wrong(what);
        } else {
            ledger.messages[earlier].overtaken.get_or_insert(asked.to);
        }
    }
}

/// From now on it is this receiver's.
fn acquire(ledger: &mut Ledger, asked: Asked, delivered: &Delivered) {
    let message = &mut ledger.messages[delivered.number];
    if message.gone.sure {
        return;
    }
    let of_id = message.seen.iter().filter(|seen| seen.id == delivered.id);
    let newest = of_id.map(|seen| seen.count).max();
    // Answers may be read in another order than they were given.
    if newest.is_some_and(|newest| newest > delivered.count) {
        return;
    }
    message.hold = Some(Hold {
        queue: asked.queue,
        handle: delivered.handle.clone(),
        id: delivered.id.clone(),
        count: delivered.count,
        told: asked.to,
        until: if asked.visibility == 0 {
            0
        } else {
            asked.from + asked.visibility * 1000
        },
    });
}
