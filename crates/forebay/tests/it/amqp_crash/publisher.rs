//! Who publishes: one by one, in windows, and in transactions.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

use super::Book;
use super::judge::Watch;
use super::ledger::{Fate, Held, Message, Place, Route, Told};
use super::relay::Relay;
use crate::amqp::connect_as;
use crate::random::RandomSource;

/// Nothing more is published while so much waits.
const BACKLOG_MAX: usize = 2000;
/// A key that leads nowhere.
const HOMELESS: &str = "nobody";
const PERSISTENT: u8 = 2;

/// Publishes under confirms on one connection after the other, until the broker is gone.
pub(crate) async fn publish(
    at: SocketAddr,
    book: &Book,
    mut random: RandomSource,
) -> lapin::Result<()> {
    while !book.lock().over {
        let relay = Relay::to(at).await?;
        let may_be_cut = random.once_in(3);
        let to = if may_be_cut { relay.address() } else { at };
        let connection = connect_as(to, "guest", "guest").await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let producer = book.lock().name();
        for _ in 0..random.pick(1..30) {
            let count = if random.once_in(2) {
                1
            } else {
                1 + random.index(40)
            };
            let is_last = may_be_cut && random.once_in(8);
            let sent = send_window(&channel, (book, producer), count, &mut random).await?;
            if is_last {
                break;
            }
            await_window(sent, book).await?;
            pause(book, &mut random).await;
        }
        if may_be_cut {
            drop(relay);
        } else {
            connection.close(200, "".into()).await?;
        }
    }
    Ok(())
}

async fn pause(book: &Book, random: &mut RandomSource) {
    while book.lock().backlog > BACKLOG_MAX && !book.lock().over {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(random.pick(0..10))).await;
}

fn new_message(producer: u64, told: Told, random: &mut RandomSource) -> Message {
    Message {
        producer,
        route: Route::ALL[random.index(Route::ALL.len())],
        priority: u8::try_from(random.index(8)).unwrap(),
        filler: match random.pick(0..60) {
            0 => random.index(200_000),
            1..=9 => random.index(5_000),
            _ => random.index(200),
        },
        told,
        copies: std::collections::BTreeMap::new(),
    }
}

async fn send(
    channel: &Channel,
    (number, message): (usize, &Message),
) -> lapin::Result<PublisherConfirm> {
    let (exchange, key) = message.route.path();
    let options = BasicPublishOptions {
        mandatory: number.is_multiple_of(2),
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_priority(message.priority);
    let body = format!("{number}:{}", "x".repeat(message.filler));
    let body = body.as_bytes();
    channel
        .basic_publish(exchange.into(), key.into(), options, body, properties)
        .await
}

/// Publishes without waiting; now and then one that finds no queue.
async fn send_window(
    channel: &Channel,
    (book, producer): (&Book, u64),
    count: usize,
    random: &mut RandomSource,
) -> lapin::Result<Vec<(Option<usize>, PublisherConfirm)>> {
    let mut sent = Vec::with_capacity(count);
    for _ in 0..count {
        if random.once_in(40) {
            let mandatory = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let properties = BasicProperties::default();
            let lost =
                channel.basic_publish("jobs".into(), HOMELESS.into(), mandatory, b"", properties);
            sent.push((None, lost.await?));
        }
        let message = new_message(producer, Told::Asked, random);
        let number = book.lock().begin(message.clone());
        sent.push((Some(number), send(channel, (number, &message)).await?));
    }
    Ok(sent)
}

async fn await_window(
    sent: Vec<(Option<usize>, PublisherConfirm)>,
    book: &Book,
) -> lapin::Result<()> {
    // What is returned comes before its own confirm, and the client hands it out with the next one, whosever that is.
    let (mut homeless, mut returned, mut refused) = (0, 0, 0);
    for (number, confirmed) in sent {
        homeless += u64::from(number.is_none());
        match (confirmed.await?, number) {
            (Confirmation::Ack(back), number) => {
                returned +=
                    u64::from(back.is_some_and(|back| back.routing_key.as_str() == HOMELESS));
                if let Some(number) = number {
                    book.lock().confirmed(number);
                }
            }
            // It is stopping.
            (Confirmation::Nack(_), _) => refused += 1,
            (Confirmation::NotRequested, _) => book.lock().wrong("no confirm".to_owned()),
        }
    }
    let mut ledger = book.lock();
    ledger.totals.returned += returned;
    if homeless != returned && refused == 0 {
        ledger.wrong(format!(
            "{homeless} found no queue, and {returned} came back"
        ));
    }
    Ok(())
}

/// Publishes and acknowledges in transactions, until the broker is gone.
pub(crate) async fn transact(
    at: SocketAddr,
    book: &Book,
    mut random: RandomSource,
) -> lapin::Result<()> {
    let connection = connect_as(at, "guest", "guest").await?;
    let channel = connection.create_channel().await?;
    channel.tx_select().await?;
    let producer = book.lock().name();
    while !book.lock().over {
        let taken = take(&channel, (book, producer), &mut random).await?;
        let mut numbers = Vec::new();
        for _ in 0..random.pick(0..6) {
            let message = new_message(producer, Told::Pending, &mut random);
            let number = book.lock().begin(message.clone());
            numbers.push(number);
            send(&channel, (number, &message)).await?.await?;
        }
        if let Some(held) = taken {
            channel
                .basic_ack(held.tag, BasicAckOptions::default())
                .await?;
        }
        if random.once_in(3) {
            book.lock().tell(&numbers, Told::Withdrawn);
            channel.tx_rollback().await?;
            book.lock().totals.rolled_back += 1;
            if let Some(held) = taken {
                give_back(&channel, (book, producer), held, &mut random).await?;
            }
        } else {
            book.lock().tell(&numbers, Told::Asked);
            commit(&channel, (book, producer), taken).await?;
            let mut ledger = book.lock();
            ledger.totals.committed += 1;
            for number in numbers {
                ledger.confirmed(number);
            }
        }
        pause(book, &mut random).await;
    }
    Ok(())
}

/// Commits, with what was acknowledged in the transaction. A commit nobody hears of may be one all the same: until it is
/// confirmed, the message may be there or not.
async fn commit(
    channel: &Channel,
    (book, connection): (&Book, u64),
    acknowledged: Option<Held>,
) -> lapin::Result<()> {
    if let Some(held) = acknowledged {
        book.lock().settle(connection, held, Fate::Ack);
    }
    channel.tx_commit().await?;
    if let Some(held) = acknowledged {
        book.lock().sure(held, Fate::Ack);
    }
    Ok(())
}

async fn take(
    channel: &Channel,
    (book, connection): (&Book, u64),
    random: &mut RandomSource,
) -> lapin::Result<Option<Held>> {
    if random.once_in(2) {
        return Ok(None);
    }
    let place = [Place::Work, Place::FanB, Place::Dead][random.index(3)];
    let mut watch = Watch::new(&book.lock(), place, connection);
    let options = BasicGetOptions::default();
    let got = channel.basic_get(place.name().into(), options).await?;
    Ok(got.and_then(|got| {
        let delivery: Delivery = got.delivery;
        watch.take(&mut book.lock(), &delivery)
    }))
}

/// What was rolled back is held as before.
async fn give_back(
    channel: &Channel,
    (book, connection): (&Book, u64),
    held: Held,
    random: &mut RandomSource,
) -> lapin::Result<()> {
    if random.once_in(2) {
        channel
            .basic_ack(held.tag, BasicAckOptions::default())
            .await?;
        return commit(channel, (book, connection), Some(held)).await;
    }
    let options = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    channel.basic_nack(held.tag, options).await?;
    book.lock().settle(connection, held, Fate::Requeue);
    channel.tx_commit().await
}
