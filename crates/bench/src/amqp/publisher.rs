//! A connection that publishes: a window of messages not yet confirmed, always full, or messages at a steady pace.

use std::time::Duration;

use amqp::wire::{Frame, FrameKind, Method, basic, confirm};
use anyhow::{Result, bail, ensure};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::link::{Link, explain, method};
use super::message::{Stamp, Template};
use super::tally::Tally;
use super::unconfirmed::Unconfirmed;
use crate::run::Run;

/// When a publisher sends the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As soon as less than so many are unconfirmed.
    Window(usize),
    /// So often, whatever the broker does.
    PerSecond(u32),
}

/// What becomes of messages the broker does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusals {
    /// They end the measurement.
    Fail,
    /// They are counted.
    Count,
}

/// How a publisher works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) pace: Pace,
    pub(super) refusals: Refusals,
    /// It ends after so many messages, if its time is not over before.
    pub(super) messages_max: u64,
}

/// A connection that publishes, in confirm mode.
#[derive(Debug)]
pub(super) struct Publisher {
    link: Link,
    template: Template,
    manner: Manner,
    unconfirmed: Unconfirmed,
    tally: Tally,
}

impl Publisher {
    /// Has the channel confirm what will be published.
    pub(super) async fn start(mut link: Link, template: Template, manner: Manner) -> Result<Self> {
        let select = confirm::Select { nowait: false };
        link.call(&select, "confirm.select-ok").await?;
        Ok(Self {
            link,
            template,
            manner,
            unconfirmed: Unconfirmed::new(),
            tally: Tally::default(),
        })
    }

    /// Publishes until the row is over and everything is confirmed.
    pub(super) async fn run(mut self, run: &Run) -> Result<Tally> {
        match self.manner.pace {
            Pace::Window(window) => self.run_window(window, run).await?,
            Pace::PerSecond(rate) => self.run_pace(rate, run).await?,
        }
        self.link.close().await?;
        Ok(self.tally)
    }

    async fn run_window(&mut self, window: usize, run: &Run) -> Result<()> {
        loop {
            if run.may_repeat() {
                self.fill(window, run.elapsed());
            }
            if self.unconfirmed.len() == 0 {
                return Ok(());
            }
            self.turn(run).await?;
        }
    }

    fn fill(&mut self, window: usize, now: Duration) {
        while self.unconfirmed.len() < window && self.link.has_room() && self.put(now) {}
    }

    async fn run_pace(&mut self, rate: u32, run: &Run) -> Result<()> {
        let period = Duration::from_secs(1) / rate;
        let mut ticks: Interval = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick(), if run.may_repeat() => {
                    self.put(run.elapsed());
                }
                turned = self.turn(run), if self.unconfirmed.len() > 0 => turned?,
                else => return Ok(()),
            }
        }
    }

    /// Queues one message, unless there were enough.
    fn put(&mut self, now: Duration) -> bool {
        let number = self.tally.published;
        if number == self.manner.messages_max {
            return false;
        }
        let stamp = Stamp { sent: now, number };
        self.link.put(self.template.stamped(stamp));
        self.unconfirmed.push(now);
        self.tally.published += 1;
        true
    }

    async fn turn(&mut self, run: &Run) -> Result<()> {
        let frames = self.link.turn().await?;
        if frames.is_empty() {
            return Ok(());
        }
        let now = run.elapsed();
        for frame in &frames {
            self.take(&frame, now)?;
        }
        run.answered();
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, now: Duration) -> Result<()> {
        if frame.kind == FrameKind::Heartbeat {
            return Ok(());
        }
        let tally = &mut self.tally;
        match method(frame)? {
            Method::Basic(basic::Method::Ack(ack)) => {
                let each = |sent| tally.confirmed(now, sent);
                self.unconfirmed
                    .answered(ack.delivery_tag, ack.multiple, each)
            }
            Method::Basic(basic::Method::Nack(nack)) => {
                let refusals = self.manner.refusals;
                ensure!(refusals == Refusals::Count, "the broker refused a message");
                let each = |_sent| tally.refused += 1;
                self.unconfirmed
                    .answered(nack.delivery_tag, nack.multiple, each)
            }
            other => bail!("{} came where a confirm was due", explain(&other)),
        }
    }
}
