//! One frame: which channel it belongs to, whether it may come now, and who serves it. A file per class of the
//! specification.
//!
//! Publishes and acknowledgements are served at once and take effect with the batch they arrived in; everything else
//! waits for its answer before the next frame is looked at.

mod basic;
mod channel;
mod confirm;
mod connection;
mod exchange;
mod names;
mod queue;
mod tx;

use crate::channel::{Message, Slot};
use crate::error::{Fault, Outcome};
use crate::metrics::Metrics;
use crate::session::{Ending, Session};
use crate::wire::{self, Arguments, Frame, FrameKind, Frames, Method, ReplyCode};

/// Bytes of bodies that may be arriving on all channels of a connection together, beside one message of the largest
/// size.
const ARRIVING_BYTES_MAX: usize = 64 << 20;

/// Bytes of a method that cannot be read that are shown; more do not fit a reply text.
const SHOWN_BYTES_MAX: usize = 64;

impl Session {
    /// Serves one frame.
    pub(crate) async fn frame(&mut self, frames: &Frames, frame: Frame<'_>) -> Result<(), Ending> {
        if frame.channel == 0 {
            return self.connection_frame(frame);
        }
        match self.channels.get(&frame.channel) {
            Some(Slot::Open(_)) => {}
            Some(Slot::Closing) => return self.closing_frame(frame),
            None => return self.open(frame),
        }
        let number = frame.channel;
        let (numbers, outcome) = match frame.kind {
            FrameKind::Method => {
                let method = decode(frame.payload)?;
                let numbers = method.numbers();
                self.channel(number)
                    .content
                    .expect_method()
                    .map_err(|fault| Ending::Fault(fault, publish_numbers()))?;
                let outcome = match self.quick(frames, number, method) {
                    Some(outcome) => outcome,
                    None => Box::pin(self.method(number, method)).await,
                };
                (numbers, outcome)
            }
            FrameKind::Header | FrameKind::Body => {
                let is_expected = self.channel(number).content.is_expected();
                let numbers = is_expected.then(publish_numbers).unwrap_or_default();
                (numbers, self.content(frames, frame))
            }
            FrameKind::Heartbeat => return Ok(()),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(fault) => Box::pin(self.fail(number, fault, numbers)).await,
        }
    }

    /// Methods that need no answer, and are most of what comes.
    fn quick(&mut self, frames: &Frames, number: u16, method: Method<'_>) -> Option<Outcome<()>> {
        use wire::basic::Method as Basic;
        match method {
            Method::Basic(Basic::Publish(publish)) => {
                Some(self.begin_publish(frames, number, publish))
            }
            Method::Basic(Basic::Ack(ack)) => Some(self.ack(number, ack)),
            Method::Basic(Basic::Nack(nack)) => Some(self.nack(number, nack)),
            Method::Basic(Basic::Reject(reject)) => Some(self.reject(number, reject)),
            _ => None,
        }
    }

    /// A part of a message came.
    fn content(&mut self, frames: &Frames, frame: Frame<'_>) -> Outcome<()> {
        let body_bytes_max = self.context.settings.message_bytes_max;
        let content = &mut self.channel(frame.channel).content;
        let before = content.held_bytes();
        let message: Outcome<Option<Message>> = if frame.kind == FrameKind::Header {
            content.header(frames, frame.payload, body_bytes_max)
        } else {
            content.body(frames, frame.payload)
        };
        let after = content.held_bytes();
        self.arriving = (self.arriving + after).saturating_sub(before);
        match message? {
            Some(message) => self.publish(frame.channel, message),
            None => self.check_arriving(),
        }
    }

    /// Messages that arrive on many channels at once take memory before they are messages.
    fn check_arriving(&self) -> Outcome<()> {
        // The first channel alone is bounded by the size of a message.
        if self.channels.len() < 2 {
            return Ok(());
        }
        if self.arriving > ARRIVING_BYTES_MAX + self.context.settings.message_bytes_max {
            let text = "too many bytes of unfinished messages";
            return Err(Fault::new(ReplyCode::ResourceError, text));
        }
        Ok(())
    }

    async fn method(&mut self, number: u16, method: Method<'_>) -> Outcome<()> {
        match method {
            Method::Channel(method) => self.channel_method(number, method).await,
            Method::Exchange(method) => self.exchange_method(number, method).await,
            Method::Queue(method) => self.queue_method(number, method).await,
            Method::Basic(method) => self.basic_method(number, method).await,
            Method::Confirm(method) => self.confirm_method(number, method),
            Method::Tx(method) => self.tx_method(number, method).await,
            Method::Access(wire::access::Method::Request(_)) => {
                self.say(number, &wire::access::RequestOk { ticket: 1 })
            }
            Method::Access(wire::access::Method::RequestOk(_)) | Method::Connection(_) => {
                Err(unimplemented())
            }
        }
    }

    /// A method was refused: its channel ends, or the connection does.
    async fn fail(&mut self, number: u16, fault: Fault, numbers: (u16, u16)) -> Result<(), Ending> {
        if fault.is_hard() {
            return Err(Ending::Fault(fault, numbers));
        }
        let text = fault.text();
        tracing::debug!(channel = number, text, "channel is closed");
        Metrics::one(&self.context.metrics.channel_faults);
        if let Some(Slot::Open(mut channel)) = self.channels.insert(number, Slot::Closing) {
            self.release(&mut channel, true);
        }
        self.finish_release().await;
        let close = wire::channel::Close {
            reply_code: fault.code.number(),
            reply_text: text.as_bytes(),
            class_id: numbers.0,
            method_id: numbers.1,
        };
        Ok(self.say(number, &close)?)
    }
}

/// A method from a frame's payload. What cannot be read of one that is known is blamed on it.
fn decode(payload: &[u8]) -> Result<Method<'_>, Ending> {
    Method::decode(payload).map_err(|error| match (error, payload) {
        (
            wire::Error::Incomplete | wire::Error::Malformed { .. },
            &[c0, c1, m0, m1, ref rest @ ..],
        ) => {
            let numbers = (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1]));
            let octets: Vec<String> = rest
                .iter()
                .take(SHOWN_BYTES_MAX)
                .map(u8::to_string)
                .collect();
            let text = format!("cannot decode <<{}>>", octets.join(","));
            Ending::Fault(Fault::new(ReplyCode::FrameError, text), numbers)
        }
        (error, _) => Fault::from(error).into(),
    })
}

/// The numbers of the method that carries messages.
fn publish_numbers() -> (u16, u16) {
    (
        <wire::basic::Publish<'_> as Arguments<'_>>::CLASS,
        <wire::basic::Publish<'_> as Arguments<'_>>::METHOD,
    )
}

/// A method that only the other side sends, or that belongs elsewhere.
fn unimplemented() -> Fault {
    Fault::new(ReplyCode::CommandInvalid, "unimplemented method")
}
