//! What is looked at at the end: everything is taken out, and then nothing may be missing and nothing may come again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::Book;
use super::consumer::empty;
use super::ledger::{Ledger, Message, Place, Told};
use super::topology::{TTL_MS, WAIT_MS};

/// Times all queues have to be found empty one after the other: what waits for its time, or moves from one queue to
/// another, is in none of them for a moment.
const SWEEPS: usize = 3;
/// Sweeps before it is given up.
const SWEEPS_MAX: usize = 200;
/// What a report shows at most.
const REPORTED_MAX: usize = 10;

/// Takes everything out of every queue.
pub(crate) async fn drain(at: SocketAddr, book: &Book) -> lapin::Result<()> {
    let mut calm = 0;
    for _ in 0..SWEEPS_MAX {
        let count = sweep(at, book).await?;
        calm = if count == 0 { calm + 1 } else { 0 };
        if calm == SWEEPS {
            return Ok(());
        }
        let millis = u64::from((TTL_MS + WAIT_MS).unsigned_abs());
        tokio::time::sleep(Duration::from_millis(millis / 2)).await;
    }
    book.lock().wrong("the queues are never empty".to_owned());
    Ok(())
}

/// Takes out what is there; returns how much it was.
pub(crate) async fn sweep(at: SocketAddr, book: &Book) -> lapin::Result<usize> {
    let mut count = 0;
    for place in Place::ALL {
        count += empty(at, book, place).await?;
    }
    Ok(count)
}

/// Holds the ledger of what was seen against that of what was confirmed.
pub(crate) fn all_was_seen(ledger: &mut Ledger) {
    let mut lost = Vec::new();
    for (number, message) in ledger.messages.iter().enumerate() {
        if let Some(why) = missing(message) {
            lost.push(format!("message {number} {why}: {message:?}"));
        }
    }
    lost.truncate(REPORTED_MAX);
    for what in lost {
        ledger.lost(what);
    }
    let seen = |place: Place| -> BTreeSet<usize> {
        let all = ledger.messages.iter().enumerate();
        all.filter(|(_, message)| was_seen(message, place))
            .map(|(number, _)| number)
            .collect()
    };
    let (a, b, c) = (seen(Place::FanA), seen(Place::FanB), seen(Place::FanC));
    let torn: Vec<usize> = a
        .iter()
        .chain(&b)
        .chain(&c)
        .copied()
        .filter(|number| ![&a, &b, &c].iter().all(|all| all.contains(number)))
        .take(REPORTED_MAX)
        .collect();
    for number in torn {
        let what = format!(
            "message {number} is in some of its queues only: {:?}",
            ledger.messages[number]
        );
        ledger.wrong(what);
    }
}

fn was_seen(message: &Message, place: Place) -> bool {
    let copy = message.copies.get(&place);
    copy.is_some_and(|copy| !copy.seen.is_empty())
}

fn missing(message: &Message) -> Option<&'static str> {
    for place in message.route.places() {
        let grave = place.grave().filter(|grave| was_seen(message, *grave));
        let is_there = was_seen(message, *place) || grave.is_some();
        if message.told == Told::Confirmed && !is_there {
            return Some("never came");
        }
        let Some(copy) = message.copies.get(place) else {
            continue;
        };
        if *place == Place::Work && copy.must_die && grave.is_none() {
            return Some("was rejected and is no dead letter");
        }
        let latest = copy.seen.keys().last().copied().unwrap_or_default();
        if *place == Place::Again && copy.must_turn > latest {
            return Some("was rejected and never came round");
        }
    }
    None
}
