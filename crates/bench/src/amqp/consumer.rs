//! A connection that consumes one queue: every message is checked, and must be the one after the one before. There is
//! one publisher per queue and one consumer, so the order is the publisher's, and a message lost or delivered twice
//! shows at once.

use std::time::Duration;

use amqp::wire::{
    ContentHeader, Frame, FrameKind, Frames, Method, Table, Writer, basic, queue as queues,
};
use anyhow::{Context, Result, bail, ensure};
use tokio::sync::watch;

use super::link::{CHANNEL, Link, explain, method};
use super::message::Gauge;
use super::tally::Tally;
use crate::run::Run;

/// Where the delivery tag stands in the frame of an acknowledgement: behind its head, class and method.
const TAG_AT: std::ops::Range<usize> = 11..19;

/// How many messages were published to a queue; nothing while that is not known.
pub(super) type Total = watch::Receiver<Option<u64>>;

/// How a consumer works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) prefetch: u16,
    /// Every so many messages one acknowledgement is sent for all of them.
    pub(super) ack_every: u16,
    pub(super) body_bytes: usize,
    /// Whether the age of a message means something.
    pub(super) timed: bool,
}

/// A connection that consumes.
#[derive(Debug)]
pub(super) struct Consumer {
    link: Link,
    queue: String,
    manner: Manner,
    gauge: Gauge,
    acks: Acks,
    /// The delivery whose header or body is still to come.
    open: Option<Open>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    tag: u64,
    has_header: bool,
}

impl Consumer {
    /// Asks for the messages of a queue; they begin to come before it is run.
    pub(super) async fn start(mut link: Link, queue: &str, manner: Manner) -> Result<Self> {
        let qos = basic::Qos {
            prefetch_size: 0,
            prefetch_count: manner.prefetch,
            global: false,
        };
        link.call(&qos, "basic.qos-ok").await?;
        Ok(Self {
            link,
            queue: queue.to_owned(),
            manner,
            gauge: Gauge::new(manner.body_bytes),
            acks: Acks::new(manner.ack_every)?,
            open: None,
            tally: Tally::default(),
        })
    }

    /// Consumes until everything that was published has come and is acknowledged.
    pub(super) async fn run(mut self, run: &Run, mut total: Total) -> Result<Tally> {
        self.consume().await?;
        loop {
            let known = *total.borrow_and_update();
            if known == Some(self.tally.received) {
                break;
            }
            tokio::select! {
                frames = self.link.turn() => self.take_all(&frames?, run)?,
                changed = total.changed(), if known.is_none() => {
                    changed.context("the publisher has failed")?;
                }
            }
        }
        self.acks.put_rest(&mut self.link);
        self.check_empty().await?;
        self.link.close().await?;
        Ok(self.tally)
    }

    /// Without waiting for an answer: messages come right behind it.
    async fn consume(&mut self) -> Result<()> {
        let consume = basic::Consume {
            queue: self.queue.as_bytes(),
            consumer_tag: b"c",
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: true,
            arguments: Table::EMPTY,
        };
        self.link.put_method(CHANNEL, &consume)?;
        self.link.flush().await
    }

    /// Nothing may be left, neither in the queue nor on its way to us.
    async fn check_empty(&mut self) -> Result<()> {
        let declare = queues::Declare {
            queue: self.queue.as_bytes(),
            passive: true,
            ..queues::Declare::default()
        };
        let answer = self.link.call(&declare, "queue.declare-ok").await?;
        let Method::Queue(queues::Method::DeclareOk(state)) = answer.method()? else {
            bail!("queue.declare-ok is none");
        };
        let left = state.message_count;
        ensure!(left == 0, "{left} messages more than were published");
        Ok(())
    }

    fn take_all(&mut self, frames: &Frames, run: &Run) -> Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let now = run.elapsed();
        for frame in frames {
            self.take(&frame, now)?;
        }
        run.answered();
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, now: Duration) -> Result<()> {
        match (frame.kind, &mut self.open) {
            (FrameKind::Method, None) => match method(frame)? {
                Method::Basic(basic::Method::Deliver(deliver)) => {
                    self.open = Some(Open {
                        tag: deliver.delivery_tag,
                        has_header: false,
                    });
                    Ok(())
                }
                other => bail!("{} came where a message was due", explain(&other)),
            },
            (FrameKind::Header, Some(open)) if !open.has_header => {
                let header = ContentHeader::decode(frame.payload)?;
                let expected = self.gauge.body_bytes() as u64;
                ensure!(
                    header.body_bytes == expected,
                    "a message came back with another size"
                );
                open.has_header = true;
                Ok(())
            }
            (FrameKind::Body, Some(open)) if open.has_header => {
                let tag = open.tag;
                self.body(tag, frame.payload, now)
            }
            (FrameKind::Heartbeat, _) => Ok(()),
            (kind, _) => bail!("a {kind:?} frame came out of turn"),
        }
    }

    fn body(&mut self, tag: u64, piece: &[u8], now: Duration) -> Result<()> {
        let Some(stamp) = self.gauge.piece(piece)? else {
            return Ok(());
        };
        self.open = None;
        let due = self.tally.received;
        ensure!(
            stamp.number == due,
            "message {} of queue {} came where {due} was due",
            stamp.number,
            self.queue
        );
        let sent = self.manner.timed.then_some(stamp.sent);
        self.tally.received(now, sent);
        self.acks.done(tag, &mut self.link);
        Ok(())
    }
}

/// Acknowledges, each message or several at once.
#[derive(Debug)]
struct Acks {
    frame: Vec<u8>,
    every: u16,
    /// Messages since the last acknowledgement, and the tag of the newest one.
    waiting: u16,
    tag: u64,
}

impl Acks {
    fn new(every: u16) -> Result<Self> {
        let ack = basic::Ack {
            delivery_tag: 0,
            multiple: every > 1,
        };
        let mut writer = Writer::new(u32::MAX);
        writer.method(CHANNEL, &ack)?;
        Ok(Self {
            frame: writer.take_bytes().to_vec(),
            every,
            waiting: 0,
            tag: 0,
        })
    }

    fn done(&mut self, tag: u64, link: &mut Link) {
        self.tag = tag;
        self.waiting += 1;
        if self.waiting == self.every {
            self.put_rest(link);
        }
    }

    fn put_rest(&mut self, link: &mut Link) {
        if self.waiting > 0 {
            self.frame[TAG_AT].copy_from_slice(&self.tag.to_be_bytes());
            link.put(&self.frame);
            self.waiting = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp::wire::Splitter;
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn an_acknowledgement_is_a_frame_with_its_tag() {
        for every in [1, 100] {
            let mut acks = Acks::new(every).unwrap();
            acks.frame[TAG_AT].copy_from_slice(&0x0102_0304_0506_0708_u64.to_be_bytes());
            let mut bytes = BytesMut::from(&acks.frame[..]);
            let frames = Splitter::new(4096).split(&mut bytes).unwrap();
            let frame = frames.iter().next().unwrap();
            let Method::Basic(basic::Method::Ack(ack)) = method(&frame).unwrap() else {
                panic!("an acknowledgement");
            };
            assert_eq!(ack.delivery_tag, 0x0102_0304_0506_0708);
            assert_eq!(ack.multiple, every > 1);
        }
    }
}
