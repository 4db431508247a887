//! Who receives and settles, who moves dead letters back, and who purges.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Refusal};
use super::judge::{self, Asked, Delivered};
use super::ledger::QueueNumber;
use super::{Book, now_ms, sends};
use crate::random::RandomSource;

/// A lease that is meant to outlive a kill, seconds.
pub(crate) const LONG: u64 = 15;

/// What is asked of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) queue: QueueNumber,
    pub(crate) max: usize,
    pub(crate) visibility: u64,
    pub(crate) wait: u64,
}

/// Receives once and judges what came.
pub(crate) async fn receive_once(
    client: &mut Client,
    book: &Book,
    wish: Wish,
) -> io::Result<Vec<Delivered>> {
    let name = {
        let mut ledger = book.lock();
        let queue = &mut ledger.queues[wish.queue];
        queue.open_receives += 1;
        queue.name.clone()
    };
    let asked = json!({
        "QueueUrl": name,
        "MaxNumberOfMessages": wish.max,
        "VisibilityTimeout": wish.visibility,
        "WaitTimeSeconds": wish.wait,
        "AttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    });
    let from = now_ms();
    let answer = client.call("ReceiveMessage", &asked).await;
    let mut ledger = book.lock();
    ledger.queues[wish.queue].open_receives -= 1;
    let answer = answer.inspect_err(|_| ledger.queues[wish.queue].lost_receives += 1)?;
    let asked = Asked {
        queue: wish.queue,
        visibility: wish.visibility,
        from,
        to: now_ms(),
    };
    match answer {
        Ok(answer) => {
            let all = judge::read(&mut ledger, &answer);
            judge::judge(&mut ledger, asked, &all);
            Ok(all)
        }
        Err(refusal) => {
            ledger.wrong(format!("a receive from {name} was refused: {refusal:?}"));
            Ok(Vec::new())
        }
    }
}

/// Receives from all queues and settles some of what comes, until the connection breaks.
pub(crate) async fn receive(
    at: SocketAddr,
    book: &Book,
    mut random: RandomSource,
) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    while !book.lock().over {
        let queue = {
            let ledger = book.lock();
            let all: Vec<QueueNumber> = (0..ledger.queues.len())
                .filter(|queue| !ledger.queues[*queue].purged)
                .collect();
            all[random.index(all.len())]
        };
        let visibility = [0, 1, 1, 2, LONG, LONG, LONG, LONG][random.index(8)];
        let wish = Wish {
            queue,
            max: 1 + random.index(10),
            visibility,
            wait: u64::from(random.once_in(6)),
        };
        let all = receive_once(&mut client, book, wish).await?;
        let mut numbers: Vec<usize> = all.iter().map(|delivered| delivered.number).collect();
        numbers.retain(|_| !random.once_in(4));
        settle_some(&mut client, book, &numbers, &mut random).await?;
        tokio::time::sleep(Duration::from_millis(random.pick(0..4))).await;
    }
    Ok(())
}

/// Settles what was received earlier, also before the last kill, until the connection breaks.
pub(crate) async fn settle_late(
    at: SocketAddr,
    book: &Book,
    mut random: RandomSource,
) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    while !book.lock().over {
        let numbers = held(book, &mut random, |_| true);
        settle_some(&mut client, book, &numbers, &mut random).await?;
        tokio::time::sleep(Duration::from_millis(random.pick(5..40))).await;
    }
    Ok(())
}

/// Some messages in flight, all from one queue, whose leases may be settled until `fits`.
pub(crate) fn held(
    book: &Book,
    random: &mut RandomSource,
    fits: impl Fn(u64) -> bool,
) -> Vec<usize> {
    let ledger = book.lock();
    let queue = random.index(ledger.queues.len());
    let of_queue = |number: &usize| {
        let hold = ledger.messages[*number].hold.as_ref();
        hold.is_some_and(|hold| hold.queue == queue && fits(hold.until))
    };
    let all: Vec<usize> = (0..ledger.messages.len()).filter(of_queue).collect();
    if all.is_empty() {
        return all;
    }
    let first = random.index(all.len());
    all[first..]
        .iter()
        .copied()
        .take(1 + random.index(10))
        .collect()
}

/// Deletes most of these, and changes the visibility of the others.
async fn settle_some(
    client: &mut Client,
    book: &Book,
    numbers: &[usize],
    random: &mut RandomSource,
) -> io::Result<()> {
    let mine = book.lock().take_busy(numbers.iter().copied());
    let (mut delete, mut change) = (Vec::new(), Vec::new());
    for number in mine {
        if random.once_in(3) {
            change.push(number);
        } else {
            delete.push(number);
        }
    }
    delete_these(client, book, &delete).await?;
    let seconds = [0, 1, LONG][random.index(3)];
    change_these(client, book, &change, seconds).await
}

/// A message that is to be settled: its number, its handle, and until when the lease surely holds.
type Settling = (usize, String, u64);

/// What `begin` knows of those that are in flight, by the queue they were received from.
fn begin(
    book: &Book,
    numbers: &[usize],
    begin: impl Fn(&mut super::Ledger, usize, &str) -> u64,
) -> Option<(QueueNumber, Vec<Settling>)> {
    let mut ledger = book.lock();
    let (mut queue, mut all) = (None, Vec::new());
    for number in numbers {
        let Some(hold) = ledger.messages[*number].hold.clone() else {
            ledger.messages[*number].busy = false;
            continue;
        };
        if *queue.get_or_insert(hold.queue) != hold.queue {
            ledger.messages[*number].busy = false;
            continue;
        }
        let until = begin(&mut ledger, *number, &hold.handle);
        all.push((*number, hold.handle, until));
    }
    queue.map(|queue| (queue, all))
}

/// Deletes messages that are marked as busy, one by one or as a batch.
pub(crate) async fn delete_these(
    client: &mut Client,
    book: &Book,
    numbers: &[usize],
) -> io::Result<()> {
    let Some((queue, all)) = begin(book, numbers, super::Ledger::begin_delete) else {
        return Ok(());
    };
    let outcomes = settle(client, book, (queue, "DeleteMessage"), (&all, None)).await?;
    let now = now_ms();
    let mut ledger = book.lock();
    for ((number, _, until), outcome) in all.into_iter().zip(outcomes) {
        ledger.deleted(number, (queue, until), now, outcome);
        ledger.messages[number].busy = false;
    }
    Ok(())
}

/// Changes the visibility of messages that are marked as busy.
async fn change_these(
    client: &mut Client,
    book: &Book,
    numbers: &[usize],
    seconds: u64,
) -> io::Result<()> {
    let Some((queue, all)) = begin(book, numbers, super::Ledger::begin_change) else {
        return Ok(());
    };
    let asked = now_ms();
    let what = (queue, "ChangeMessageVisibility");
    let outcomes = settle(client, book, what, (&all, Some(seconds))).await?;
    let now = now_ms();
    let mut ledger = book.lock();
    for ((number, handle, until), outcome) in all.into_iter().zip(outcomes) {
        ledger.changed((number, &handle), (until, seconds), (asked, now), outcome);
        ledger.messages[number].busy = false;
    }
    Ok(())
}

/// One request for all of them; one outcome each.
async fn settle(
    client: &mut Client,
    book: &Book,
    (queue, action): (QueueNumber, &str),
    (all, seconds): (&[Settling], Option<u64>),
) -> io::Result<Vec<Result<(), String>>> {
    let name = book.lock().queues[queue].name.clone();
    let entry = |handle: &str| {
        let mut entry = json!({ "ReceiptHandle": handle });
        if let Some(seconds) = seconds {
            entry["VisibilityTimeout"] = json!(seconds);
        }
        entry
    };
    if let [(_, handle, _)] = all {
        let mut asked = entry(handle);
        asked["QueueUrl"] = json!(name);
        let answer = client.call(action, &asked).await?;
        return Ok(vec![answer.map(drop).map_err(|refusal| refusal.name)]);
    }
    let entries: Vec<Value> = all
        .iter()
        .enumerate()
        .map(|(i, (_, handle, _))| {
            let mut entry = entry(handle);
            entry["Id"] = json!(format!("e{i}"));
            entry
        })
        .collect();
    let asked = json!({ "QueueUrl": name, "Entries": entries });
    let answer = client.call(&format!("{action}Batch"), &asked).await?;
    Ok((0..all.len()).map(|i| outcome(&answer, i)).collect())
}

fn outcome(answer: &Result<Value, Refusal>, i: usize) -> Result<(), String> {
    let answer = answer.as_ref().map_err(|refusal| refusal.name.clone())?;
    let id = format!("e{i}");
    let is_it = |entry: &&Value| entry["Id"] == id.as_str();
    let mut good = answer["Successful"].as_array().into_iter().flatten();
    if good.any(|entry| is_it(&entry)) {
        return Ok(());
    }
    let mut bad = answer["Failed"].as_array().into_iter().flatten();
    Err(bad.find(is_it).map_or_else(
        || format!("no outcome of {id}: {answer}"),
        |entry| entry["Code"].as_str().unwrap_or_default().to_owned(),
    ))
}

/// Moves dead letters back, and now and then thinks better of it, until the connection breaks.
pub(crate) async fn move_back(
    at: SocketAddr,
    book: &Book,
    source: &str,
    mut random: RandomSource,
) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    while !book.lock().over {
        tokio::time::sleep(Duration::from_millis(random.pick(10..150))).await;
        let mut asked = json!({ "SourceArn": source });
        if random.once_in(2) {
            asked["MaxNumberOfMessagesPerSecond"] = json!(random.pick(50..500));
        }
        // Refused while one runs, which is fine.
        let started = client.call("StartMessageMoveTask", &asked).await?;
        book.lock().totals.moves += u64::from(started.is_ok());
        let handle = started
            .ok()
            .and_then(|task| task.get("TaskHandle").cloned());
        if let Some(handle) = handle.filter(|_| random.once_in(4)) {
            tokio::time::sleep(Duration::from_millis(random.pick(0..20))).await;
            let asked = json!({ "TaskHandle": handle });
            // It may have come to its end.
            let _ = client.call("CancelMessageMoveTask", &asked).await?;
        }
    }
    Ok(())
}

/// Sends to a queue of its own, receives some, and purges it now and then, until the connection breaks.
pub(crate) async fn purge(
    at: SocketAddr,
    book: &Book,
    queue: QueueNumber,
    mut random: RandomSource,
) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    while !book.lock().over {
        match random.pick(0..8) {
            0..=3 => {
                let count = 1 + random.index(5);
                sends::send_some(&mut client, book, queue, count, &mut random).await?;
            }
            4..=6 => {
                let wish = Wish {
                    queue,
                    max: 1 + random.index(5),
                    visibility: [0, 1, LONG][random.index(3)],
                    wait: 0,
                };
                let all = receive_once(&mut client, book, wish).await?;
                let numbers: Vec<usize> = all.iter().map(|d| d.number).collect();
                settle_some(&mut client, book, &numbers, &mut random).await?;
            }
            _ => purge_once(&mut client, book, queue).await?,
        }
        tokio::time::sleep(Duration::from_millis(random.pick(2..20))).await;
    }
    Ok(())
}

async fn purge_once(client: &mut Client, book: &Book, queue: QueueNumber) -> io::Result<()> {
    let (name, there) = {
        let mut ledger = book.lock();
        let mut there = Vec::new();
        for (number, message) in ledger.messages.iter_mut().enumerate() {
            if message.queue == queue && !message.gone.sure {
                message.gone.doubts += 1;
                there.push(number);
            }
        }
        (ledger.queues[queue].name.clone(), there)
    };
    let asked = json!({ "QueueUrl": name });
    let answer = client.call("PurgeQueue", &asked).await?;
    let mut ledger = book.lock();
    if let Err(refusal) = answer {
        ledger.wrong(format!("a purge was refused: {refusal:?}"));
        return Ok(());
    }
    let now = now_ms();
    for number in there {
        ledger.is_gone(number, now);
    }
    Ok(())
}
