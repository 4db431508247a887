//! Exchanges, queues and bindings: those that stay, those that come and go, and those that must not outlive the broker.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::{
    BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};

use super::Book;
use super::judge::{DELIVERY_LIMIT, PRIORITY_MAX};
use super::ledger::Place;
use crate::amqp::confirm;
use crate::random::RandomSource;

/// How long messages live in the queue that has such a limit, ms.
pub(crate) const TTL_MS: i32 = 300;
/// How long refused messages wait, ms.
pub(crate) const WAIT_MS: i32 = 40;
/// Names that come and go; few, so that names are used again.
const CHURNING: u64 = 4;
const NOT_FOUND: u16 = 404;

/// What is known of a queue that comes and goes together with its binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Asked for, not answered.
    Coming,
    There,
    Going,
    Gone,
}

/// Queues that come and go.
pub(crate) type Names = BTreeMap<String, Life>;

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn arguments(all: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in all {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// The arguments of a queue that stays.
fn arguments_of(place: Place) -> FieldTable {
    let graves = ("x-dead-letter-exchange", text("graves"));
    match place {
        Place::Work => {
            let limit = i32::try_from(DELIVERY_LIMIT).unwrap();
            arguments(&[graves, ("x-delivery-limit", AMQPValue::LongInt(limit))])
        }
        Place::Brief => arguments(&[
            graves,
            ("x-dead-letter-routing-key", text("expired")),
            ("x-message-ttl", AMQPValue::LongInt(TTL_MS)),
        ]),
        Place::Ranked => arguments(&[(
            "x-max-priority",
            AMQPValue::LongInt(i32::from(PRIORITY_MAX)),
        )]),
        Place::Again => arguments(&[
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("again-wait")),
        ]),
        _ => FieldTable::default(),
    }
}

fn queue_options(durable: bool) -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable,
        ..QueueDeclareOptions::default()
    }
}

async fn declare(channel: &Channel, name: &str, arguments: FieldTable) -> lapin::Result<()> {
    let declared = channel.queue_declare(name.into(), queue_options(true), arguments);
    declared.await.map(drop)
}

async fn exchange(
    channel: &Channel,
    (name, kind): (&str, ExchangeKind),
    durable: bool,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        durable,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    declared.await
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        options,
        FieldTable::default(),
    );
    bound.await
}

/// Makes what stays.
pub(crate) async fn make(connection: &Connection) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    for (name, kind) in [
        ("jobs", ExchangeKind::Direct),
        ("graves", ExchangeKind::Direct),
        ("all", ExchangeKind::Fanout),
        ("news", ExchangeKind::Topic),
    ] {
        exchange(&channel, (name, kind), true).await?;
    }
    for place in Place::ALL {
        declare(&channel, place.name(), arguments_of(place)).await?;
    }
    let wait = arguments(&[
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("again")),
        ("x-message-ttl", AMQPValue::LongInt(WAIT_MS)),
    ]);
    declare(&channel, "again-wait", wait).await?;
    for (queue, exchange, key) in [
        ("work", "jobs", "work"),
        ("dead", "graves", "work"),
        ("expired", "graves", "expired"),
        ("fan-a", "all", ""),
        ("fan-b", "all", "x"),
        ("fan-c", "all", ""),
    ] {
        bind(&channel, queue, exchange, key).await?;
    }
    Ok(())
}

/// Declares what must not outlive the broker, and holds it until the connection breaks.
pub(crate) async fn pass_by(connection: &Connection, book: &Book) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    exchange(&channel, ("passing", ExchangeKind::Fanout), false).await?;
    let declared = channel.queue_declare(
        "passing".into(),
        queue_options(false),
        FieldTable::default(),
    );
    declared.await?;
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("mine".into(), exclusive, FieldTable::default());
    declared.await?;
    // A durable exchange with a transient queue, and the other way round.
    bind(&channel, "passing", "news", "passing").await?;
    bind(&channel, "fan-a", "passing", "").await?;
    while !book.lock().over {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Makes queues with a binding and removes them again.
pub(crate) async fn churn(
    connection: &Connection,
    (book, names): (&Book, &std::sync::Mutex<Names>),
    mut random: RandomSource,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    while !book.lock().over {
        let name = format!("churn-{}", random.pick(0..CHURNING));
        let life = names.lock().unwrap().get(&name).copied();
        let set = |life| {
            names.lock().unwrap().insert(name.clone(), life);
        };
        if life == Some(Life::There) {
            set(Life::Going);
            let deleted = channel.queue_delete((&*name).into(), QueueDeleteOptions::default());
            deleted.await?;
            set(Life::Gone);
        } else {
            set(Life::Coming);
            declare(&channel, &name, FieldTable::default()).await?;
            bind(&channel, &name, "news", &format!("about.{name}")).await?;
            set(Life::There);
        }
        tokio::time::sleep(Duration::from_millis(random.pick(0..30))).await;
    }
    Ok(())
}

/// What is there must be, and what must not is not.
pub(crate) async fn check(
    connection: &Connection,
    book: &Book,
    names: &mut Names,
) -> lapin::Result<()> {
    for place in Place::ALL {
        // As it was declared: the arguments must have stayed too.
        let channel = connection.create_channel().await?;
        let name = place.name();
        let declared = channel.queue_declare(name.into(), queue_options(true), arguments_of(place));
        match declared.await {
            Ok(queue) => depth(book, place, queue.message_count()),
            Err(error) => {
                let what = format!("queue {name} is not as it was: {error}");
                book.lock().topology(what);
            }
        }
    }
    for (name, life) in names.iter_mut() {
        let is_there = is_there(connection, name).await?;
        let is_bound = is_bound(connection, "news", &format!("about.{name}")).await?;
        match (*life, is_there, is_bound) {
            (Life::There, true, true) | (Life::Gone, false, false) => {}
            (Life::There, ..) => {
                let what = format!("queue {name}: there {is_there}, bound {is_bound}");
                book.lock().topology(what);
            }
            (Life::Gone, ..) => {
                let what = format!("queue {name} is back: {is_there}, bound {is_bound}");
                book.lock().topology(what);
            }
            (Life::Coming | Life::Going, false, true) => {
                let what = format!("queue {name} is bound and not there");
                book.lock().wrong(what);
            }
            (Life::Coming | Life::Going, ..) => {}
        }
        // One that came without its binding is made again.
        *life = if is_there && is_bound {
            Life::There
        } else {
            Life::Gone
        };
        if is_there && !is_bound {
            let channel = connection.create_channel().await?;
            let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
            deleted.await?;
        }
    }
    for name in ["passing", "mine"] {
        if is_there(connection, name).await? {
            let what = format!("queue {name} is still there");
            book.lock().topology(what);
        }
    }
    if is_bound(connection, "news", "passing").await? {
        book.lock()
            .topology("the binding of a transient queue is still there".to_owned());
    }
    if exchange_is_there(connection, "passing").await? {
        book.lock()
            .topology("a transient exchange is still there".to_owned());
    }
    for name in ["jobs", "graves", "all", "news"] {
        if !exchange_is_there(connection, name).await? {
            book.lock().topology(format!("exchange {name}"));
        }
    }
    Ok(())
}

/// How much a queue holds while nobody consumes is what the ledger knows.
fn depth(book: &Book, place: Place, count: u32) {
    if !place.keeps_all() {
        return;
    }
    let mut ledger = book.lock();
    let (least, most) = ledger.extent(place);
    let what = format!("{} holds {count}, not {least} to {most}", place.name());
    let count = usize::try_from(count).unwrap();
    if count < least {
        ledger.lost(what);
    } else if count > most {
        ledger.back(what);
    }
}

/// Whether the answer is that there is none of that name.
fn found(outcome: lapin::Result<()>) -> lapin::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            lapin::ErrorKind::ProtocolError(why) if why.get_id() == NOT_FOUND => Ok(false),
            _ => Err(error),
        },
    }
}

async fn is_there(connection: &Connection, queue: &str) -> lapin::Result<bool> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    found(declared.await.map(drop))
}

async fn exchange_is_there(connection: &Connection, name: &str) -> lapin::Result<bool> {
    let channel = connection.create_channel().await?;
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Direct;
    let declared = channel.exchange_declare(name.into(), kind, passive, FieldTable::default());
    found(declared.await)
}

/// Whether a message published so finds a queue.
async fn is_bound(connection: &Connection, exchange: &str, key: &str) -> lapin::Result<bool> {
    let channel = connection.create_channel().await?;
    confirm(&channel).await;
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let published = channel.basic_publish(
        exchange.into(),
        key.into(),
        mandatory,
        b"is anybody there?",
        BasicProperties::default(),
    );
    let confirmed = published.await?.await?;
    channel.close(200, "".into()).await?;
    Ok(confirmed == Confirmation::Ack(None))
}
