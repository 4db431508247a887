//! Queues that come and go: one that was removed stays removed, and one made again under its name begins empty.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::Book;
use super::client::Client;
use super::ledger::is_fifo;
use crate::random::RandomSource;

/// Names that come and go; few, so that names are used again.
const NAMES: [&str; 4] = ["churn-a", "churn-b", "churn-c.fifo", "churn-d.fifo"];

/// What is known about a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Life {
    /// Never made, or its end was acknowledged.
    #[default]
    Gone,
    /// Asked for, not acknowledged.
    Coming,
    /// Acknowledged.
    There,
    /// Its end was asked for, not acknowledged.
    Going,
}

/// One name's history.
#[derive(Debug, Default)]
struct Name {
    life: Life,
    /// Which of the queues of this name it is.
    era: u64,
    sent: u64,
    /// Messages of this era that must be there.
    there: BTreeSet<String>,
    /// Messages of this era that may be.
    maybe: BTreeSet<String>,
}

/// All names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeMap<&'static str, Name>>>);

impl Names {
    fn with<T>(&self, name: &'static str, look: impl FnOnce(&mut Name) -> T) -> T {
        look(self.0.lock().unwrap().entry(name).or_default())
    }
}

/// Makes, uses and removes queues until the connection breaks.
pub(crate) async fn churn(
    at: SocketAddr,
    book: &Book,
    names: &Names,
    mut random: RandomSource,
) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    loop {
        let name = NAMES[random.index(NAMES.len())];
        match names.with(name, |name| name.life) {
            Life::Gone => make(&mut client, book, names, name).await?,
            Life::There => match random.pick(0..6) {
                0 => remove(&mut client, book, names, name).await?,
                1..=3 => send(&mut client, book, names, name).await?,
                _ => take(&mut client, book, names, name).await?,
            },
            Life::Coming | Life::Going => unreachable!("settled by the checker"),
        }
        tokio::time::sleep(Duration::from_millis(random.pick(0..20))).await;
    }
}

async fn make(
    client: &mut Client,
    book: &Book,
    names: &Names,
    name: &'static str,
) -> io::Result<()> {
    names.with(name, |name| {
        name.life = Life::Coming;
        name.era += 1;
        name.there.clear();
        name.maybe.clear();
    });
    let mut asked = json!({ "QueueName": name });
    if is_fifo(name) {
        asked["Attributes"] = json!({ "FifoQueue": "true" });
    }
    match client.call("CreateQueue", &asked).await? {
        Ok(_) => names.with(name, |name| name.life = Life::There),
        Err(refusal) => {
            book.lock()
                .wrong(format!("{name} could not be made: {refusal:?}"));
            return Err(io::ErrorKind::Other.into());
        }
    }
    Ok(())
}

async fn remove(
    client: &mut Client,
    book: &Book,
    names: &Names,
    name: &'static str,
) -> io::Result<()> {
    names.with(name, |name| name.life = Life::Going);
    match client
        .call("DeleteQueue", &json!({ "QueueUrl": name }))
        .await?
    {
        Ok(_) => names.with(name, |name| name.life = Life::Gone),
        Err(refusal) => {
            book.lock()
                .wrong(format!("{name} could not be removed: {refusal:?}"));
            return Err(io::ErrorKind::Other.into());
        }
    }
    Ok(())
}

async fn send(
    client: &mut Client,
    book: &Book,
    names: &Names,
    name: &'static str,
) -> io::Result<()> {
    let body = names.with(name, |history| {
        history.sent += 1;
        let body = format!("{name} {} {}", history.era, history.sent);
        history.maybe.insert(body.clone());
        body
    });
    let mut asked = json!({ "QueueUrl": name, "MessageBody": body });
    if is_fifo(name) {
        asked["MessageGroupId"] = json!("one");
        // The same in every era: a queue that is made again remembers nothing.
        let number = body.rsplit(' ').next().unwrap_or_default();
        asked["MessageDeduplicationId"] = json!(number);
    }
    match client.call("SendMessage", &asked).await? {
        Ok(_) => names.with(name, |name| {
            name.maybe.remove(&body);
            name.there.insert(body);
        }),
        Err(refusal) => book
            .lock()
            .wrong(format!("a send to {name} was refused: {refusal:?}")),
    }
    Ok(())
}

/// Receives one message and deletes it.
async fn take(
    client: &mut Client,
    book: &Book,
    names: &Names,
    name: &'static str,
) -> io::Result<()> {
    let asked = json!({ "QueueUrl": name, "VisibilityTimeout": 2 });
    let answer = match client.call("ReceiveMessage", &asked).await? {
        Ok(answer) => answer,
        Err(refusal) => {
            book.lock()
                .wrong(format!("a receive from {name} was refused: {refusal:?}"));
            return Ok(());
        }
    };
    let Some(message) = answer["Messages"].get(0) else {
        return Ok(());
    };
    let body = message["Body"].as_str().unwrap_or_default().to_owned();
    let known = names.with(name, |name| {
        name.there.remove(&body) | name.maybe.insert(body.clone())
    });
    if !known {
        // It was in neither: deleted for sure, or of a queue that is gone.
        names.with(name, |name| name.maybe.insert(body.clone()));
    }
    let asked = json!({ "QueueUrl": name, "ReceiptHandle": message["ReceiptHandle"] });
    if client.call("DeleteMessage", &asked).await?.is_ok() {
        names.with(name, |name| name.maybe.remove(&body));
    }
    Ok(())
}

/// After a restart: which names are there, and how much is in them.
pub(crate) async fn check(client: &mut Client, book: &Book, names: &Names) -> io::Result<()> {
    for name in NAMES {
        let asked = json!({ "QueueUrl": name, "AttributeNames": ["All"] });
        let there = client.call("GetQueueAttributes", &asked).await?.ok();
        let life = names.with(name, |name| name.life);
        let mut ledger = book.lock();
        match (life, &there) {
            (Life::There, None) => ledger.queue(format!("{name} is missing")),
            (Life::Gone, Some(_)) => ledger.queue(format!("{name} is back")),
            _ => {}
        }
        names.with(name, |history| {
            history.life = if there.is_some() {
                Life::There
            } else {
                Life::Gone
            };
            let Some(attributes) = there else { return };
            let depth = depth(&attributes);
            let (least, most) = (
                history.there.len() as u64,
                (history.there.len() + history.maybe.len()) as u64,
            );
            if depth < least {
                ledger.lost(format!("{name} holds {depth} of {history:?}"));
            } else if depth > most {
                ledger.back(format!("{name} holds {depth} of {history:?}"));
            }
        });
    }
    Ok(())
}

/// Everything a queue holds, as its attributes tell.
pub(crate) fn depth(answer: &Value) -> u64 {
    figures(answer).iter().sum()
}

/// What is ready, leased and delayed.
pub(crate) fn figures(answer: &Value) -> [u64; 3] {
    ["", "NotVisible", "Delayed"].map(|which| {
        let name = format!("ApproximateNumberOfMessages{which}");
        let text = answer["Attributes"][name].as_str().unwrap_or_default();
        text.parse().unwrap_or(0)
    })
}
