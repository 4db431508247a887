//! Who consumes: settles what comes in every way there is, and goes in every way there is.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions};
use lapin::{Channel, Consumer};
use tokio::time::timeout;

use super::Book;
use super::judge::Watch;
use super::ledger::{Fate, Held, Place};
use super::relay::Relay;
use crate::amqp::{connect_as, next_of, try_consume};
use crate::random::RandomSource;

/// How long a consumer waits for a message before it goes.
const IDLE: Duration = Duration::from_millis(100);
/// After how long without a message a queue counts as empty.
const EMPTY: Duration = Duration::from_millis(50);
const PREFETCHES: [u16; 5] = [0, 1, 5, 20, 100];

/// Consumes on one connection after the other, until the broker is gone.
pub(crate) async fn consume_all(
    at: SocketAddr,
    book: &Book,
    mut random: RandomSource,
) -> lapin::Result<()> {
    while !book.lock().over {
        let connection = book.lock().name();
        let lived = live(at, (book, connection), &mut random).await;
        if lived.is_err() {
            book.lock().ended(connection);
        }
        lived?;
    }
    Ok(())
}

/// One connection with one consumer.
async fn live(
    at: SocketAddr,
    (book, connection): (&Book, u64),
    random: &mut RandomSource,
) -> lapin::Result<()> {
    let relay = Relay::to(at).await?;
    let place = Place::ALL[random.index(Place::ALL.len())];
    let may_be_cut = random.once_in(3);
    let to = if may_be_cut { relay.address() } else { at };
    let client = connect_as(to, "guest", "guest").await?;
    let channel = client.create_channel().await?;
    let prefetch = PREFETCHES[random.index(PREFETCHES.len())];
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let watch = Watch::new(&book.lock(), place, connection);
    let mut consumer = try_consume(&channel, place.name(), "me").await?;
    let mut desk = Desk {
        channel,
        place,
        book,
        connection,
        watch,
        held: Vec::new(),
    };
    while place.has_residents() && !book.lock().over {
        desk.work(&mut consumer, random).await?;
    }
    desk.work(&mut consumer, random).await?;
    book.lock().left.insert(place);
    if may_be_cut {
        {
            let mut ledger = book.lock();
            ledger.ended(connection);
            ledger.totals.cut += 1;
        }
        drop(relay);
        return Ok(());
    }
    book.lock().release(connection);
    client.close(200, "".into()).await?;
    book.lock().closed(connection);
    Ok(())
}

/// A consumer and what lies before it.
struct Desk<'b> {
    channel: Channel,
    place: Place,
    book: &'b Book,
    connection: u64,
    watch: Watch,
    held: Vec<Held>,
}

impl Desk<'_> {
    async fn work(
        &mut self,
        consumer: &mut Consumer,
        random: &mut RandomSource,
    ) -> lapin::Result<()> {
        let most = [1, 10, 60, 400][random.index(4)];
        for _ in 0..most {
            if self.book.lock().over {
                break;
            }
            let Ok(next) = timeout(IDLE, next_of(consumer)).await else {
                // A consumer that waits for room has to make some.
                if self.held.is_empty() {
                    break;
                }
                self.settle(random).await?;
                continue;
            };
            let Some(delivery) = next else { break };
            let held = self.watch.take(&mut self.book.lock(), &delivery?);
            self.held.extend(held);
            if random.once_in(2) {
                self.settle(random).await?;
            }
        }
        Ok(())
    }

    /// Settles one message, or all up to it.
    async fn settle(&mut self, random: &mut RandomSource) -> lapin::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let at = random.index(self.held.len());
        let fate = self.fate(random);
        let multiple = matches!(fate, Fate::Ack | Fate::Requeue) && random.once_in(3);
        let held: Vec<Held> = if multiple {
            self.held.drain(..=at).collect()
        } else {
            vec![self.held.remove(at)]
        };
        let tag = held.last().map_or(0, |held| held.tag);
        for held in held {
            self.book.lock().settle(self.connection, held, fate);
        }
        match fate {
            Fate::Ack => {
                self.channel
                    .basic_ack(tag, BasicAckOptions { multiple })
                    .await
            }
            Fate::Requeue => {
                let requeue = true;
                let options = BasicNackOptions { multiple, requeue };
                self.channel.basic_nack(tag, options).await
            }
            Fate::Fail | Fate::Reject => {
                let requeue = fate == Fate::Fail;
                let options = BasicRejectOptions { requeue };
                self.channel.basic_reject(tag, options).await
            }
        }
    }

    fn fate(&self, random: &mut RandomSource) -> Fate {
        let may_die = matches!(self.place, Place::Work | Place::Again);
        match random.pick(0..10) {
            0 | 1 if may_die => Fate::Reject,
            2 | 3 if self.place == Place::Work => Fate::Fail,
            4 => Fate::Requeue,
            _ => Fate::Ack,
        }
    }
}

/// Takes everything out of a queue while nobody else is there; returns how much it was.
pub(crate) async fn empty(at: SocketAddr, book: &Book, place: Place) -> lapin::Result<usize> {
    let client = connect_as(at, "guest", "guest").await?;
    let channel = client.create_channel().await?;
    let connection = book.lock().name();
    let mut watch = Watch::new(&book.lock(), place, connection).alone();
    let mut consumer = try_consume(&channel, place.name(), "last").await?;
    let mut count = 0;
    while let Ok(Some(delivery)) = timeout(EMPTY, next_of(&mut consumer)).await {
        let delivery = delivery?;
        let tag = delivery.delivery_tag;
        let held = watch.take(&mut book.lock(), &delivery);
        if let Some(held) = held {
            book.lock().settle(connection, held, Fate::Ack);
        }
        let options = BasicAckOptions::default();
        channel.basic_ack(tag, options).await?;
        count += 1;
    }
    book.lock().release(connection);
    client.close(200, "".into()).await?;
    book.lock().closed(connection);
    Ok(count)
}
