//! Class `connection`, once the connection is open: how it ends, and how its credential is renewed.

use security::{Resource, Verb};

use super::decode;
use crate::channel::Slot;
use crate::error::{Access, Fault};
use crate::handshake::check_vhost;
use crate::session::{Ending, Session};
use crate::wire::connection::{Method as Connection, UpdateSecret, UpdateSecretOk};
use crate::wire::{Frame, FrameKind, Method, ReplyCode};

impl Session {
    /// Serves a frame that belongs to no channel.
    pub(super) fn connection_frame(&mut self, frame: Frame<'_>) -> Result<(), Ending> {
        match frame.kind {
            FrameKind::Heartbeat => return Ok(()),
            FrameKind::Method => {}
            FrameKind::Header | FrameKind::Body => {
                return Err(Fault::unexpected("content on channel 0").into());
            }
        }
        let method = decode(frame.payload)?;
        let outcome = match method {
            Method::Connection(Connection::Close(_)) => return Err(Ending::Asked),
            Method::Connection(Connection::UpdateSecret(update)) => self.update_secret(update),
            Method::Connection(_)
            | Method::Channel(_)
            | Method::Access(_)
            | Method::Exchange(_)
            | Method::Queue(_)
            | Method::Basic(_)
            | Method::Confirm(_)
            | Method::Tx(_) => Err(Fault::new(
                ReplyCode::ChannelError,
                "unexpected method in connection state running",
            )),
        };
        outcome.map_err(|fault| Ending::Fault(fault, method.numbers()))
    }

    /// Whether all consumers may still read.
    fn check_consumers(&self) -> Result<(), Fault> {
        let open = self.channels.values().filter_map(|slot| match slot {
            Slot::Open(channel) => Some(channel),
            Slot::Closing => None,
        });
        let (broker, principal) = (&self.context.broker, &self.peer.principal);
        for consumer in open.flat_map(|channel| channel.consumers.values()) {
            let name = self.qualified(&consumer.queue);
            if !broker
                .on_behalf_of(principal)
                .allows(Verb::Consume, Resource::Queue(&name))
            {
                let about = self.about(Some(&consumer.queue), None, Access::Read);
                let refused = about.fault(&engine::Error::Denied);
                return Err(Fault::not_allowed(refused.explanation));
            }
        }
        Ok(())
    }

    /// The secret of the login is replaced. Users of the broker's own are known by their password alone, and that does
    /// not expire: whatever the new one is, it is taken and not looked at. What the user may do is looked at again.
    fn update_secret(&mut self, _: UpdateSecret<'_>) -> Result<(), Fault> {
        check_vhost(&self.context, &self.peer.principal, &self.peer.vhost)?;
        self.check_consumers()?;
        self.say(0, &UpdateSecretOk {})
    }
}
