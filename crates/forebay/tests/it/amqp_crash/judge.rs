//! Holds a delivery against the ledger.

use std::collections::BTreeMap;

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};

use super::ledger::{Held, Ledger, Message, Place, Told, Turn};

/// Failures a message survives in the queue that has such a limit.
pub(crate) const DELIVERY_LIMIT: u32 = 3;
/// Levels of the queue that has priorities.
pub(crate) const PRIORITY_MAX: u8 = 5;

/// Producer and priority: of these the order is kept.
type Line = (u64, u8);

/// A consumer's view of a queue.
pub(crate) struct Watch {
    place: Place,
    connection: u64,
    /// Nothing is given back and nobody else consumes: redelivered messages come in their order too.
    is_alone: bool,
    /// What others had received for the first time before it began.
    floor: BTreeMap<Line, usize>,
    last: BTreeMap<Line, usize>,
}

impl Watch {
    /// To be made before the consumer is.
    pub(crate) fn new(ledger: &Ledger, place: Place, connection: u64) -> Self {
        let of_place = ledger.newest.iter().filter(|((p, ..), _)| *p == place);
        Self {
            place,
            connection,
            is_alone: false,
            floor: of_place.map(|((_, p, c), n)| ((*p, *c), *n)).collect(),
            last: BTreeMap::new(),
        }
    }

    pub(crate) fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Takes note of a delivery; none when it makes no sense.
    pub(crate) fn take(&mut self, ledger: &mut Ledger, delivery: &Delivery) -> Option<Held> {
        ledger.totals.deliveries += 1;
        ledger.totals.redelivered += u64::from(delivery.redelivered);
        let place = self.place;
        let Some(number) = known(ledger, delivery) else {
            let start = String::from_utf8_lossy(&delivery.data[..delivery.data.len().min(50)]);
            let what = format!("{}: nobody published {start:?}", place.name());
            ledger.wrong(what);
            return None;
        };
        let deaths = deaths(delivery);
        let held = Held {
            tag: delivery.delivery_tag,
            number,
            place,
            turn: turn(place, &deaths),
        };
        may_come(ledger, held, delivery);
        if let Err(why) = history(ledger, held, &deaths, delivery) {
            report(ledger, held, &format!("{why}: {deaths:?}"));
        }
        if held.turn == 0 && place.home().is_none() {
            self.is_in_turn(ledger, held, delivery.redelivered);
        }
        note(ledger, held, self.connection);
        Some(held)
    }

    /// What comes for the first time comes in the order in which it was published.
    fn is_in_turn(&mut self, ledger: &mut Ledger, held: Held, redelivered: bool) {
        let message = &ledger.messages[held.number];
        let class = match held.place {
            Place::Ranked => message.priority.min(PRIORITY_MAX),
            _ => 0,
        };
        let line = (message.producer, class);
        let is_known = !redelivered && !ledger.left.contains(&held.place);
        if !is_known && !self.is_alone {
            return;
        }
        let before = self.last.insert(line, held.number);
        let mut wrong = before.filter(|before| *before >= held.number);
        if !redelivered {
            let floor = self.floor.get(&line).copied();
            wrong = wrong.or_else(|| floor.filter(|floor| *floor >= held.number));
            let newest = ledger.newest.entry((held.place, line.0, line.1));
            let newest = newest.or_insert(held.number);
            *newest = held.number.max(*newest);
        }
        if let Some(before) = wrong {
            report(ledger, held, &format!("comes behind {before}"));
        }
    }
}

/// It is not gone, no consumer has it, and consumers that may have had it are named.
fn may_come(ledger: &mut Ledger, held: Held, delivery: &Delivery) {
    let message = &ledger.messages[held.number];
    let told = message.told;
    let home = held.place.home().unwrap_or(held.place);
    let is_strange = !message.route.places().contains(&home);
    let copy = message.copies.get(&held.place).cloned();
    let copy = copy.unwrap_or_default();
    if matches!(told, Told::Pending | Told::Withdrawn) {
        let name = held.place.name();
        let what = format!("{name}: message {} was never committed", held.number);
        ledger.back(what);
    }
    if copy.gone.is_some_and(|gone| gone >= held.turn) {
        let what = format!(
            "{held:?} is gone: {message:?}",
            message = ledger.messages[held.number]
        );
        ledger.back(what);
    }
    let at_home = ledger.messages[held.number].copies.get(&home);
    let was_done = at_home.is_some_and(|copy| copy.gone.is_some() && !copy.must_die);
    if home != held.place && copy.seen.is_empty() && was_done {
        let name = held.place.name();
        let what = format!("{name}: message {} was acknowledged", held.number);
        ledger.back(what);
    }
    if is_strange {
        report(ledger, held, "is in a strange queue");
    }
    let is_held = copy.holder.is_some_and(|(_, turn)| turn == held.turn);
    if is_held && !ledger.closing {
        report(ledger, held, "a consumer has it");
    }
    if copy.seen.contains_key(&held.turn) && !delivery.redelivered {
        report(ledger, held, "comes again as if for the first time");
    }
    if copy.seen.keys().any(|turn| *turn > held.turn) {
        report(ledger, held, "comes from the past");
    }
    let (exchange, key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
    let path = (exchange, key);
    let expected = match held.place {
        Place::Dead => ("graves", "work"),
        Place::Expired => ("graves", "expired"),
        Place::Again => ("", "again"),
        _ => ledger.messages[held.number].route.path(),
    };
    if path != expected {
        report(ledger, held, &format!("came by {path:?}"));
    }
}

/// The message, if its body is one that was published.
fn known(ledger: &Ledger, delivery: &Delivery) -> Option<usize> {
    let text = std::str::from_utf8(&delivery.data).ok()?;
    let (number, filler) = text.split_once(':')?;
    let number: usize = number.parse().ok()?;
    let message = ledger.messages.get(number)?;
    let is_whole = filler.len() == message.filler && filler.bytes().all(|b| b == b'x');
    is_whole.then_some(number)
}

/// One death.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Death {
    queue: String,
    reason: String,
    exchange: String,
    keys: Vec<String>,
    count: i64,
}

fn text(table: &FieldTable, name: &str) -> String {
    match table.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => String::new(),
    }
}

fn headers(delivery: &Delivery) -> Option<&FieldTable> {
    delivery.properties.headers().as_ref()
}

/// The history a message tells of itself, newest first.
fn deaths(delivery: &Delivery) -> Vec<Death> {
    let list = headers(delivery).and_then(|headers| headers.inner().get("x-death"));
    let Some(AMQPValue::FieldArray(list)) = list else {
        return Vec::new();
    };
    let tables = list.as_slice().iter().filter_map(|death| match death {
        AMQPValue::FieldTable(table) => Some(table),
        _ => None,
    });
    tables
        .map(|table| Death {
            queue: text(table, "queue"),
            reason: text(table, "reason"),
            exchange: text(table, "exchange"),
            keys: match table.inner().get("routing-keys") {
                Some(AMQPValue::FieldArray(keys)) => keys
                    .as_slice()
                    .iter()
                    .filter_map(|key| match key {
                        AMQPValue::LongString(key) => Some(key.to_string()),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            },
            count: match table.inner().get("count") {
                Some(AMQPValue::LongLongInt(count)) => *count,
                _ => 0,
            },
        })
        .collect()
}

/// How often it went round before it came here.
fn turn(place: Place, deaths: &[Death]) -> Turn {
    let of_place = deaths
        .iter()
        .find(|death| place == Place::Again && death.queue == "again");
    of_place.map_or(0, |death| death.count)
}

fn death(queue: &str, reason: &str, (exchange, key): (&str, &str), count: i64) -> Death {
    Death {
        queue: queue.to_owned(),
        reason: reason.to_owned(),
        exchange: exchange.to_owned(),
        keys: vec![key.to_owned()],
        count,
    }
}

/// What it says of its deaths is what became of it.
fn history(
    ledger: &mut Ledger,
    held: Held,
    deaths: &[Death],
    delivery: &Delivery,
) -> Result<(), &'static str> {
    let message = &ledger.messages[held.number];
    let copy = held.place.home().and_then(|home| message.copies.get(&home));
    let copy = copy.cloned().unwrap_or_default();
    let expected = match held.place {
        Place::Dead => {
            let reason = deaths.first().map(|death| &*death.reason);
            let is_so = match reason {
                Some("rejected") => copy.rejects > 0,
                Some("delivery_limit") => copy.failures + ledger.broken > DELIVERY_LIMIT,
                _ => false,
            };
            if !is_so {
                return Err("nobody gave a reason for this death");
            }
            let reason = reason.unwrap_or_default();
            vec![death("work", reason, ("jobs", "work"), 1)]
        }
        Place::Expired => vec![death("brief", "expired", ("", "brief"), 1)],
        Place::Again if held.turn > 0 => {
            let copy = message.copies.get(&held.place).cloned().unwrap_or_default();
            if held.turn > i64::from(copy.rejects) {
                return Err("died more often than it was refused");
            }
            vec![
                death("again-wait", "expired", ("", "again-wait"), held.turn),
                death("again", "rejected", ("", "again"), held.turn),
            ]
        }
        _ => Vec::new(),
    };
    if deaths != expected {
        return Err("has another history");
    }
    let (Some(first), Some(last)) = (expected.last(), expected.first()) else {
        return Ok(());
    };
    for (which, death) in [("first", first), ("last", last)] {
        let told = |what: &str| {
            let name = format!("x-{which}-death-{what}");
            headers(delivery).map(|headers| text(headers, &name))
        };
        let all = [told("queue"), told("reason"), told("exchange")];
        let of = [&death.queue, &death.reason, &death.exchange];
        if all != of.map(|text| Some(text.clone())) {
            return Err("tells of another first or last death");
        }
    }
    Ok(())
}

fn note(ledger: &mut Ledger, held: Held, connection: u64) {
    let copy = ledger.copy(held);
    *copy.seen.entry(held.turn).or_default() += 1;
    (copy.must_die, copy.must_turn) = (false, held.turn);
    let is_first = copy.seen.values().sum::<u32>() == 1;
    ledger.hold(connection, held);
    if let Some(home) = held.place.home() {
        // It left home in the moment it came here.
        let home = Held {
            place: home,
            ..held
        };
        ledger.copy(home).gone = Some(0);
        ledger.totals.dead += u64::from(is_first);
    }
}

fn report(ledger: &mut Ledger, held: Held, why: &str) {
    let message: &Message = &ledger.messages[held.number];
    let name = held.place.name();
    let what = format!(
        "{name}: message {} {why}: {held:?}, {message:?}",
        held.number
    );
    ledger.wrong(what);
}
