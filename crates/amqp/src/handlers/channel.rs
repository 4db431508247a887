//! Class `channel`: how a channel begins and ends.

use super::{decode, unimplemented};
use crate::channel::{Channel, Slot};
use crate::error::{Fault, Outcome};
use crate::metrics::Metrics;
use crate::session::{Ending, Session};
use crate::wire::channel::{CloseOk, FlowOk, Method as Methods, OpenOk};
use crate::wire::{Frame, FrameKind, Method, ReplyCode};

impl Session {
    /// Serves a frame on a channel that is not open: only one can be right.
    pub(super) fn open(&mut self, frame: Frame<'_>) -> Result<(), Ending> {
        let method = match frame.kind {
            FrameKind::Method => Some(decode(frame.payload)?),
            FrameKind::Header | FrameKind::Body | FrameKind::Heartbeat => None,
        };
        let numbers = method.map_or((0, 0), |method| method.numbers());
        let outcome = match method {
            Some(Method::Channel(Methods::Open(_))) => return self.open_new(frame.channel),
            _ => Err(Fault::new(
                ReplyCode::ChannelError,
                "expected 'channel.open'",
            )),
        };
        outcome.map_err(|fault| Ending::Fault(fault, numbers))
    }

    fn open_new(&mut self, number: u16) -> Result<(), Ending> {
        let (open, most) = (self.channels.len(), usize::from(self.peer.channel_max));
        if open >= most {
            // It is the connection that has too many, not the method that is wrong.
            return Err(Fault::not_allowed(format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({most})"
            ))
            .into());
        }
        Metrics::one(&self.context.metrics.channels_open);
        let incarnation = self.next_count();
        let channel = Slot::Open(Box::new(Channel::new(incarnation)));
        self.channels.insert(number, channel);
        Ok(self.say(number, &OpenOk {})?)
    }

    /// Serves a frame on a channel whose end the client has not answered yet.
    pub(super) fn closing_frame(&mut self, frame: Frame<'_>) -> Result<(), Ending> {
        if frame.kind != FrameKind::Method {
            return Ok(());
        }
        match Method::decode(frame.payload) {
            Ok(Method::Channel(Methods::CloseOk(_))) => {
                self.channels.remove(&frame.channel);
                Ok(())
            }
            // The client closes it as well, and gets its answer; its answer to us is still to come.
            Ok(Method::Channel(Methods::Close(_))) => Ok(self.say(frame.channel, &CloseOk {})?),
            _ => Ok(()),
        }
    }

    pub(super) async fn channel_method(&mut self, number: u16, method: Methods<'_>) -> Outcome<()> {
        match method {
            Methods::Open(_) => Err(Fault::new(
                ReplyCode::ChannelError,
                "second 'channel.open' seen",
            )),
            Methods::Flow(flow) if flow.active => self.say(number, &FlowOk { active: true }),
            Methods::Flow(_) => Err(Fault::not_implemented("active=false")),
            Methods::Close(_) => self.close(number).await,
            // Nothing was asked that these would answer.
            Methods::FlowOk(_) => Ok(()),
            Methods::CloseOk(_) | Methods::OpenOk(_) => Err(unimplemented()),
        }
    }

    async fn close(&mut self, number: u16) -> Outcome<()> {
        // What was published on it is there for consumers that the client starts after the answer.
        self.finish_publishing().await;
        // The number may be used again as soon as the client has the answer.
        if let Some(Slot::Open(mut channel)) = self.channels.remove(&number) {
            self.release(&mut channel, true);
        }
        self.finish_release().await;
        self.say(number, &CloseOk {})
    }
}
