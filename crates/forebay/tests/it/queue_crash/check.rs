//! What is looked at while nobody else talks to the broker: right after a restart, and at the end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::actors::{LONG, Wish, delete_these, held, receive_once};
use super::churn::{self, Names, figures};
use super::client::Client;
use super::ledger::{Message, QueueNumber, SLACK};
use super::sends::{send_some, send_these};
use super::{Book, now_ms};
use crate::random::RandomSource;

/// Rounds of draining without anything new before it is given up.
const DRAIN_PAUSE: Duration = Duration::from_millis(50);
const DRAIN_PAUSES: u32 = 1200;

/// After a restart: figures, receipts from before, repeats of what was sent before, and one receive everywhere.
pub(crate) async fn after_restart(
    at: SocketAddr,
    book: &Book,
    names: &Names,
    random: &mut RandomSource,
) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    book.lock().calm();
    churn::check(&mut client, book, names).await?;
    let queues = book.lock().queues.len();
    for queue in 0..queues {
        check_depth(&mut client, book, queue).await?;
    }
    for _ in 0..queues {
        let soon = now_ms() + 1000;
        let numbers = held(book, random, |until| until > soon);
        let mine = book.lock().take_busy(numbers.into_iter());
        delete_these(&mut client, book, &mine).await?;
    }
    send_again(&mut client, book).await?;
    for queue in 0..queues {
        let wish = Wish {
            queue,
            max: 10,
            visibility: 1,
            wait: 0,
        };
        receive_once(&mut client, book, wish).await?;
    }
    Ok(())
}

/// Everything whose sending nobody knows the outcome of is sent again, where that cannot double it; and some of what
/// was acknowledged, which must change nothing.
async fn send_again(client: &mut Client, book: &Book) -> io::Result<()> {
    let queues = book.lock().queues.len();
    for queue in 0..queues {
        let (name, numbers) = {
            let ledger = book.lock();
            let young = now_ms().saturating_sub(200_000);
            let again = |message: &Message| {
                message.queue == queue && message.dedup.is_some() && message.asked > young
            };
            let all = ledger.messages.iter().enumerate().rev();
            let all = all.filter(|(_, message)| again(message));
            let unheard = all.clone().filter(|(_, message)| !message.acked);
            let heard = all.filter(|(_, message)| message.acked).take(5);
            let mut numbers: Vec<usize> = unheard.chain(heard).map(|(number, _)| number).collect();
            numbers.sort_unstable();
            (ledger.queues[queue].name.clone(), numbers)
        };
        for some in numbers.chunks(10) {
            send_these(client, book, (queue, &name), some).await?;
        }
    }
    Ok(())
}

/// How many messages a queue must hold, and can hold, together with its dead-letter queue; and how many must be leased.
async fn check_depth(client: &mut Client, book: &Book, queue: QueueNumber) -> io::Result<()> {
    let (name, dead, moves, for_dead) = {
        let ledger = book.lock();
        let of = &ledger.queues[queue];
        let dead = of.dead.map(|(dead, _)| ledger.queues[dead].name.clone());
        (of.name.clone(), dead, of.moves, of.for_dead)
    };
    if for_dead {
        return Ok(());
    }
    let mut all = vec![(name.clone(), Some(queue))];
    all.extend(dead.map(|dead| (dead, None)));
    if moves {
        // What moves is counted in neither place, or in both, by who asks one after the other.
        await_moves(client, book, &all[1].0).await?;
    }
    let mut depth = 0;
    for (name, number) in &all {
        let Some(figures) = ask_figures(client, name).await? else {
            book.lock().queue(format!("{name} is missing"));
            return Ok(());
        };
        depth += figures.iter().sum::<u64>();
        let now = now_ms();
        let mut ledger = book.lock();
        let is_held = |message: &&Message| {
            let hold = message.hold.as_ref();
            let here = |at: usize| number.is_none_or(|number| number == at);
            message.gone.not_at_all()
                && hold.is_some_and(|h| {
                    here(h.queue) && ledger.queues[h.queue].name == *name && h.until > now + SLACK
                })
        };
        let held = ledger.messages.iter().filter(is_held).count() as u64;
        if figures[1] < held {
            ledger.wrong(format!(
                "{name} has {held} messages in flight, and says {figures:?}"
            ));
        }
    }
    let mut ledger = book.lock();
    let (least, most) = ledger.extent(queue);
    let what = format!("{name} and its dead letters: {depth}, not {least} to {most}");
    if depth < least {
        ledger.lost(what);
    } else if depth > most {
        ledger.back(what);
    }
    Ok(())
}

async fn ask_figures(client: &mut Client, name: &str) -> io::Result<Option<[u64; 3]>> {
    let asked = json!({ "QueueUrl": name, "AttributeNames": ["All"] });
    let answer = client.call("GetQueueAttributes", &asked).await?;
    Ok(answer.ok().map(|answer| figures(&answer)))
}

/// Waits until no move task runs: one that ran when the broker was killed goes on by itself.
async fn await_moves(client: &mut Client, book: &Book, source: &str) -> io::Result<()> {
    let asked = json!({ "QueueUrl": source, "AttributeNames": ["QueueArn"] });
    let Ok(answer) = client.call("GetQueueAttributes", &asked).await? else {
        return Ok(());
    };
    let asked = json!({ "SourceArn": answer["Attributes"]["QueueArn"] });
    for _ in 0..DRAIN_PAUSES {
        let Ok(tasks) = client.call("ListMessageMoveTasks", &asked).await? else {
            return Ok(());
        };
        if tasks["Results"]
            .get(0)
            .is_none_or(|task| task["Status"] != "RUNNING")
        {
            return Ok(());
        }
        tokio::time::sleep(DRAIN_PAUSE).await;
    }
    book.lock()
        .wrong(format!("a move from {source} never ends"));
    Ok(())
}

/// Takes everything out of every queue; then nothing may be missing.
pub(crate) async fn drain(at: SocketAddr, book: &Book) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    let queues = book.lock().queues.len();
    let mut was_empty = false;
    for _ in 0..DRAIN_PAUSES {
        let mut left = 0;
        for queue in 0..queues {
            let name = book.lock().queues[queue].name.clone();
            empty(&mut client, book, queue).await?;
            let figures = ask_figures(&mut client, &name).await?;
            left += figures.unwrap_or_default().iter().sum::<u64>();
        }
        // Twice: a dead letter may have gone from a queue that was not asked yet to one that was.
        if std::mem::replace(&mut was_empty, left == 0) && left == 0 {
            all_is_found(book);
            return Ok(());
        }
        tokio::time::sleep(DRAIN_PAUSE).await;
    }
    book.lock()
        .wrong("the queues are never empty although all is deleted".to_owned());
    Ok(())
}

fn all_is_found(book: &Book) {
    let mut ledger = book.lock();
    let missing = |message: &&Message| message.sent && message.gone.not_at_all();
    let missing: Vec<String> = ledger
        .messages
        .iter()
        .filter(missing)
        .map(|message| format!("never found: {message:?}"))
        .collect();
    for what in missing.into_iter().take(10) {
        ledger.lost(what);
    }
    // Whatever was in doubt is not: the queues are empty.
    let now = now_ms();
    for number in 0..ledger.messages.len() {
        ledger.is_gone(number, now);
    }
}

/// Receives and deletes until nothing comes.
async fn empty(client: &mut Client, book: &Book, queue: QueueNumber) -> io::Result<()> {
    loop {
        let wish = Wish {
            queue,
            max: 10,
            visibility: LONG,
            wait: 0,
        };
        let all = receive_once(client, book, wish).await?;
        if all.is_empty() {
            return Ok(());
        }
        let mine = book.lock().take_busy(all.iter().map(|d| d.number));
        delete_these(client, book, &mine).await?;
    }
}

/// Empty queues get a known number of messages in every state.
pub(crate) async fn fill(at: SocketAddr, book: &Book, random: &mut RandomSource) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    for queue in plain(book) {
        for _ in 0..9 {
            send_some(&mut client, book, queue, 1, random).await?;
        }
        let wish = Wish {
            queue,
            max: 4,
            visibility: 10 * LONG,
            wait: 0,
        };
        let all = receive_once(&mut client, book, wish).await?;
        let mine = book.lock().take_busy(all.iter().take(1).map(|d| d.number));
        delete_these(&mut client, book, &mine).await?;
    }
    Ok(())
}

/// Queues nothing leaves on its own.
fn plain(book: &Book) -> Vec<QueueNumber> {
    let ledger = book.lock();
    let all = 0..ledger.queues.len();
    all.filter(|queue| {
        let queue = &ledger.queues[*queue];
        queue.dead.is_none() && !queue.for_dead
    })
    .collect()
}

/// The figures of these queues are the ledger's, exactly.
pub(crate) async fn figures_are_exact(at: SocketAddr, book: &Book) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    for queue in plain(book) {
        let name = book.lock().queues[queue].name.clone();
        let from = now_ms();
        let figures = ask_figures(&mut client, &name).await?;
        let to = now_ms();
        let mut ledger = book.lock();
        let mut known = [0_u64; 3];
        let mut in_time = true;
        for message in &ledger.messages {
            if message.queue != queue || message.gone.sure {
                continue;
            }
            let until = message.hold.as_ref().map(|hold| hold.until);
            // A delay ends between the first and the last moment it can have begun.
            let due = message.asked + message.delay;
            let delayed = message.delay > 0 && from + SLACK < due;
            in_time &= message.delay == 0 || delayed || to > due + 10_000;
            match until {
                Some(until) if until > to + SLACK => known[1] += 1,
                Some(_) => in_time = false,
                None if delayed => known[2] += 1,
                None => known[0] += 1,
            }
        }
        if in_time && figures != Some(known) {
            ledger.wrong(format!("{name} says {figures:?}, and holds {known:?}"));
        }
    }
    Ok(())
}
