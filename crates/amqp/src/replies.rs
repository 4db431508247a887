//! Answers to direct requests: they go from connection to connection without a queue, and are lost when no client waits
//! for them any more.
//!
//! A client that consumes from [`REPLY_QUEUE`] gets a name of its own, under which its requests travel; what is
//! published to that name is handed to it. Nothing here survives a disconnect.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use net::Permit;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What clients consume from to get answers, and what they ask to be answered to.
pub(crate) const REPLY_QUEUE: &[u8] = b"amq.rabbitmq.reply-to";
/// What the names begin with that answers are published to.
const REPLY_PREFIX: &[u8] = b"amq.rabbitmq.reply-to.";
/// Answers that may wait for one connection; more than that are lost, as they would be without it.
const WAITING_MAX: usize = 1024;

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The channel that asked, in this life of it.
    pub(crate) channel: u16,
    pub(crate) incarnation: u64,
    /// What it was published to.
    pub(crate) key: Bytes,
    pub(crate) properties: Bytes,
    pub(crate) body: Bytes,
    /// Room for it, until it is taken.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) room: Permit,
}

#[derive(Debug)]
struct Address {
    channel: u16,
    incarnation: u64,
    inbox: Sender<Reply>,
}

/// Who waits for answers, of all connections.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    addresses: Mutex<HashMap<Arc<str>, Address>>,
}

/// Whether this is a name that answers are published to.
pub(crate) fn is_reply_name(name: &[u8]) -> bool {
    name.starts_with(REPLY_PREFIX)
}

/// Where one connection's answers arrive; made when it first waits for one.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Option<(Sender<Reply>, Receiver<Reply>)>);

impl Inbox {
    fn sender(&mut self) -> Sender<Reply> {
        let (sender, _) = self.0.get_or_insert_with(|| channel(WAITING_MAX));
        sender.clone()
    }

    /// The next answer; waits for ever where none is expected.
    pub(crate) async fn next(&mut self) -> Reply {
        if let Some((_, receiver)) = &mut self.0
            && let Some(reply) = receiver.recv().await
        {
            return reply;
        }
        std::future::pending().await
    }

    /// An answer that is there already.
    pub(crate) fn ready(&mut self) -> Option<Reply> {
        self.0.as_mut()?.1.try_recv().ok()
    }
}

impl Replies {
    /// A channel waits for answers under this name from now on.
    pub(crate) fn open(&self, name: &str, (channel, incarnation): (u16, u64), inbox: &mut Inbox) {
        let address = Address {
            channel,
            incarnation,
            inbox: inbox.sender(),
        };
        self.addresses().insert(Arc::from(name), address);
    }

    /// No client waits under this name any more.
    pub(crate) fn close(&self, name: &str) {
        self.addresses().remove(name);
    }

    /// Whether a client waits under this name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| self.addresses().contains_key(name))
    }

    /// Hands an answer over; false when no client waits for it.
    pub(crate) fn send(
        &self,
        key: &Bytes,
        properties: &Bytes,
        body: &Bytes,
        mut room: Permit,
    ) -> bool {
        let Ok(name) = std::str::from_utf8(key) else {
            return false;
        };
        let addresses = self.addresses();
        let Some(address) = addresses.get(name) else {
            return false;
        };
        // A client that does not take its answers loses them.
        if !room.try_grow_to(properties.len() + body.len()) {
            return true;
        }
        let reply = Reply {
            channel: address.channel,
            incarnation: address.incarnation,
            key: key.clone(),
            properties: properties.clone(),
            body: body.clone(),
            room,
        };
        let _ = address.inbox.try_send(reply);
        true
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Address>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_who_asked() {
        let (replies, mut inbox) = (Replies::default(), Inbox::default());
        let name = "amq.rabbitmq.reply-to.x";
        let (near, _far) = net::Connection::pair(1);
        let room = || near.account().permit();
        let send = |replies: &Replies| {
            let key = Bytes::from_static(name.as_bytes());
            replies.send(&key, &Bytes::new(), &Bytes::from_static(b"42"), room())
        };
        assert!(is_reply_name(name.as_bytes()) && !is_reply_name(REPLY_QUEUE));
        assert!(!send(&replies));
        replies.open(name, (3, 7), &mut inbox);
        assert!(replies.has(name.as_bytes()));
        assert!(send(&replies));
        let reply = inbox.ready().unwrap();
        assert_eq!(
            (reply.channel, reply.incarnation, &reply.body[..]),
            (3, 7, &b"42"[..])
        );
        for _ in 0..WAITING_MAX + 10 {
            assert!(send(&replies), "what is too much is lost, not refused");
        }
        replies.close(name);
        assert!(!send(&replies));
    }
}
