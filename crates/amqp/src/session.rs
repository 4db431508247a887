//! One connection: what it read is served in order, what it published is handed over together, and what it is handed is
//! written as fast as the peer reads.
//!
//! The socket is not read while the broker is busy with what came from it, or while there is no room in memory for
//! more; deliveries stop while the peer does not read. Neither keeps another connection waiting. While the disk is low,
//! what is published waits and everything else goes on: acknowledgements make space.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use engine::queue::{Settlement, UnackedMessage};
use engine::{Deliveries, Event};
use net::{Account, Connection, Drain, Entry, Owed, Permit, SharedPermit};
use tokio::time::sleep;

use crate::channel::{Channel, Slot};
use crate::closing;
use crate::context::Context;
use crate::error::{About, Access, Fault, Outcome};
use crate::handshake::{FRAME_MAX_BEFORE, Handshake, Held, Peer, Shaken};
use crate::heartbeat::Heartbeat;
use crate::link::{FrameReader, FrameWriter};
use crate::metrics::Metrics;
use crate::publishing::{Publishing, Settled};
use crate::reject_throttle::RejectThrottle;
use crate::replies::{Inbox, Reply};
use crate::wire::{Arguments, Frame, FrameKind, Frames, Method, ReplyCode, basic, connection};

/// Bytes written and not sent above which no more is delivered.
pub(crate) const DELIVER_BYTES_MAX: usize = 1 << 20;
/// Bytes written and not sent above which the socket is not read: answers must not pile up without a limit.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The same, for both, while others wait for memory.
const SCARCE_BYTES_MAX: usize = 64 << 10;
/// Things served in one go before the socket is looked at again.
const SWEEP_MAX: usize = 512;
/// How often a blocked connection looks whether there is space again.
const BLOCKED_LOOK: Duration = Duration::from_millis(500);

/// Serves one connection until the peer leaves, misbehaves, or the broker drains.
pub async fn serve(connection: Connection, context: Arc<Context>, drain: Drain) {
    let peer = connection.peer();
    match Box::pin(converse(connection, context, drain)).await {
        Ok(()) => tracing::debug!(%peer, "connection closed"),
        Err(error) => tracing::debug!(%peer, %error, "connection ended"),
    }
}

/// How it begins and how it ends are futures of their own, or every idle connection would keep room for both.
async fn converse(connection: Connection, context: Arc<Context>, drain: Drain) -> io::Result<()> {
    let Some(mut session) = Box::pin(begin(connection, context)).await? else {
        return Ok(());
    };
    let ending = session.run(&drain).await;
    Box::pin(session.end(ending)).await
}

/// Greets the peer; none if the two do not come together.
async fn begin(connection: Connection, context: Arc<Context>) -> io::Result<Option<Box<Session>>> {
    let addresses = (connection.peer(), connection.local());
    let entry = Arc::clone(connection.entry());
    let account = connection.account().clone();
    let (reader, writer) = connection.split();
    let mut frame_reader = FrameReader::new(reader, FRAME_MAX_BEFORE);
    let mut frame_writer = FrameWriter::new(writer, FRAME_MAX_BEFORE);
    let shaken = Handshake::new(&context, &entry, (&mut frame_reader, &mut frame_writer))
        .shake()
        .await?;
    let (peer, held) = match shaken {
        Shaken::Open(peer, held) => (*peer, held),
        Shaken::Refused(fault, numbers) => {
            closing::close(&mut frame_reader, frame_writer, &fault, numbers).await?;
            return Ok(None);
        }
        Shaken::Over => {
            closing::leave(&mut frame_reader, frame_writer).await?;
            return Ok(None);
        }
    };
    // What was said during the handshake is no sign of life: the first one comes after half an interval.
    frame_writer.take_sent();
    let from = (peer, entry, addresses);
    let mut session = Session::new(context, from, (frame_reader, frame_writer), &account);
    session.held = held;
    Ok(Some(Box::new(session)))
}

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The peer is gone.
    Gone,
    Io(io::Error),
    /// The peer wants it so, and waits for an answer.
    Asked,
    /// The peer gets the reason, with the numbers of the method that failed.
    Fault(Fault, (u16, u16)),
}

impl Ending {
    /// The broker wants it, whatever the peer did.
    fn is_ours(&self) -> bool {
        matches!(self, Self::Fault(fault, _) if fault.code == ReplyCode::ConnectionForced)
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault, (0, 0))
    }
}

/// One connection.
pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) peer: Peer,
    /// The peer's address, and ours.
    addresses: (SocketAddr, SocketAddr),
    entry: Arc<Entry>,
    frame_reader: FrameReader,
    pub(crate) frame_writer: FrameWriter,
    /// Frames that arrived and wait: for their turn, or for space on the disk.
    held: Held,
    /// The peer wants to publish and the disk is low.
    pub(crate) is_blocked: bool,
    /// Bytes of bodies that are arriving, on all channels.
    pub(crate) arriving: usize,
    /// Bytes of bodies that wait for a commit, likewise.
    pub(crate) uncommitted: usize,
    /// Room for what is written and not sent.
    unsent_room: Permit,
    /// What the peer has begun and not finished, and what it has not read.
    unfinished: Option<Owed>,
    unsent: Option<Owed>,
    /// Transactions that are open, with something in them.
    parked: Option<Owed>,
    pub(crate) channels: BTreeMap<u16, Slot>,
    pub(crate) engine: engine::Session,
    deliveries: Deliveries,
    pub(crate) publishing: Publishing,
    pub(crate) reject_throttle: RejectThrottle,
    /// What became of messages and the engine does not know yet.
    pub(crate) settles: Vec<(UnackedMessage, Settlement)>,
    /// Answers to direct requests.
    pub(crate) inbox: Inbox,
    /// Consumers were dropped whose queues may go with them.
    pub(crate) has_unused: bool,
    /// Names channels and consumers.
    count: u64,
    heartbeat: Heartbeat,
}

/// What happened first.
enum Next {
    Settled(Settled),
    Event(Option<Event>),
    Reply(Reply),
    Read(io::Result<usize>),
    Sent(io::Result<()>),
    Tick,
    Look,
    End(Ending),
}

impl Session {
    fn new(
        context: Arc<Context>,
        (peer, entry, addresses): (Peer, Arc<Entry>, (SocketAddr, SocketAddr)),
        (frame_reader, frame_writer): (FrameReader, FrameWriter),
        account: &Account,
    ) -> Self {
        let room = Arc::new(DeliveryRoom(SharedPermit::new(account)));
        let opened = context
            .broker
            .on_behalf_of(&peer.principal)
            .open_session_within(room);
        let (engine, deliveries) = opened;
        entry.set_session(engine.id().as_u128());
        let heartbeat = Heartbeat::new(peer.heartbeat);
        Self {
            context,
            peer,
            addresses,
            entry,
            frame_reader,
            frame_writer,
            held: Held::default(),
            is_blocked: false,
            arriving: 0,
            uncommitted: 0,
            unsent_room: account.permit(),
            unfinished: None,
            unsent: None,
            parked: None,
            channels: BTreeMap::new(),
            engine,
            deliveries,
            publishing: Publishing::default(),
            reject_throttle: RejectThrottle::default(),
            settles: Vec::new(),
            inbox: Inbox::default(),
            has_unused: false,
            count: 0,
            heartbeat,
        }
    }

    async fn run(&mut self, drain: &Drain) -> Ending {
        let (vhost, name) = (Arc::clone(&self.peer.space), self.peer.vhost.clone());
        let entry = Arc::clone(&self.entry);
        let account = self.account().clone();
        let mut forced = pin!(async {
            tokio::select! {
                () = drain.draining() => shutdown(),
                () = vhost.removed() => forced(&format!("vhost '{name}' is deleted")),
                () = entry.closing() => closed(&account),
            }
        });
        // Frames may have come along with the end of the handshake.
        let mut outcome = self.serve_frames().await;
        loop {
            match outcome {
                // Of a peer that goes while the broker stops it is all the same which was noticed first.
                Err(Ending::Gone | Ending::Io(_)) if drain.is_draining() => return shutdown(),
                Err(ending) => return ending,
                Ok(()) => outcome = self.turn(forced.as_mut()).await,
            }
        }
    }

    /// Waits for something, serves it and what else is there, and writes what came of it.
    async fn turn(&mut self, forced: Pin<&mut impl Future<Output = Ending>>) -> Result<(), Ending> {
        let unsent = self.frame_writer.len();
        let may_deliver = unsent < self.unsent_max(DELIVER_BYTES_MAX);
        let is_braked = self.reject_throttle.is_on()
            || self.reject_throttle.is_hot() && !self.publishing.is_idle();
        let is_held = self.holds_frames() || is_braked || !self.publishing.has_room();
        let may_read = !is_held && unsent < self.unsent_max(ANSWER_BYTES_MAX);
        let next = tokio::select! {
            settled = self.publishing.next() => Next::Settled(settled),
            event = self.deliveries.next(), if may_deliver => Next::Event(event),
            reply = self.inbox.next(), if may_deliver => Next::Reply(reply),
            read = self.frame_reader.read(), if may_read => Next::Read(read),
            sent = self.frame_writer.send(), if unsent > 0 => Next::Sent(sent),
            () = self.heartbeat.tick() => Next::Tick,
            () = sleep(BLOCKED_LOOK), if self.is_blocked => Next::Look,
            () = self.reject_throttle.released(), if self.reject_throttle.is_on() => Next::Look,
            ending = forced => Next::End(ending),
        };
        let is_tick = matches!(next, Next::Tick);
        match next {
            Next::Settled(settled) => self.confirm(settled),
            Next::Event(Some(event)) => self.event(event)?,
            Next::Reply(reply) => self.reply(&reply)?,
            Next::Read(read) => match read? {
                0 => return Err(Ending::Gone),
                _ => self.serve_frames().await?,
            },
            Next::Sent(sent) => sent?,
            Next::Tick => self.tick(may_read)?,
            Next::Look => {}
            Next::Event(None) => return Err(shutdown()),
            Next::End(ending) => return Err(ending),
        }
        if self.is_blocked && !self.context.is_disk_low() {
            self.unblock();
            self.serve_frames().await?;
        }
        self.sweep().await?;
        self.settle();
        self.hand_over().await;
        self.frame_writer.send_some().await?;
        self.keep_account(may_read);
        if is_tick {
            // A sign of life is no reason to leave out the next one.
            self.frame_writer.take_sent();
        }
        Ok(())
    }

    /// Bytes written and not sent, so many at most; fewer while others wait for memory.
    fn unsent_max(&self, most: usize) -> usize {
        if self.account().is_scarce() {
            SCARCE_BYTES_MAX
        } else {
            most
        }
    }

    /// Sends what is written, if it is so much that a message might find no room beside it.
    pub(crate) async fn make_room(&mut self) {
        if self.frame_writer.len() >= self.unsent_max(DELIVER_BYTES_MAX) {
            self.unsent = Some(self.account().unsent());
            // What is wrong with the connection shows at the next turn.
            let _ = self.frame_writer.send().await;
        }
        self.unsent_room.set(self.frame_writer.len());
    }

    /// Whose room everything takes that is kept for the peer.
    pub(crate) fn account(&self) -> &Account {
        self.unsent_room.account()
    }

    /// Whether frames wait that cannot be served now.
    fn holds_frames(&self) -> bool {
        !self.held.frames.is_empty()
    }

    /// Takes room for what is kept, and gives back the rest.
    fn keep_account(&mut self, was_read: bool) {
        let waiting = self.arriving + self.uncommitted + self.publishing.kept_bytes();
        let kept = self.held.frames.len() + waiting;
        self.frame_reader.keep(kept);
        self.unsent_room.set(self.frame_writer.len());
        let lacks = was_read && (self.arriving > 0 || !self.frame_reader.received().is_empty());
        if lacks != self.unfinished.is_some() {
            self.unfinished = lacks.then(|| self.account().unfinished());
        }
        let is_parked = self.uncommitted > 0;
        if is_parked != self.parked.is_some() {
            self.parked = is_parked.then(|| self.account().parked());
        }
        let has_unsent = !self.frame_writer.is_empty();
        if has_unsent != self.unsent.is_some() {
            self.unsent = has_unsent.then(|| self.account().unsent());
        }
    }

    /// Serves what is there already, so that it is written together.
    async fn sweep(&mut self) -> Result<(), Ending> {
        self.confirm_ready().await;
        for _ in 0..SWEEP_MAX {
            let unsent = self.frame_writer.len();
            if unsent >= self.unsent_max(DELIVER_BYTES_MAX) {
                break;
            }
            if unsent > self.unsent_room.bytes() + SCARCE_BYTES_MAX {
                self.unsent_room.set(unsent);
            }
            let Some(event) = self.ready_event().await else {
                break;
            };
            self.event(event)?;
        }
        for _ in 0..SWEEP_MAX {
            let Some(reply) = self.inbox.ready() else {
                break;
            };
            self.reply(&reply)?;
        }
        Ok(())
    }

    /// Something that happened already.
    pub(crate) async fn ready_event(&mut self) -> Option<Event> {
        tokio::select! {
            biased;
            event = self.deliveries.next() => event,
            () = std::future::ready(()) => None,
        }
    }

    fn tick(&mut self, was_read: bool) -> Result<(), Ending> {
        if !self.frame_writer.take_sent() {
            self.frame_writer.shrink();
            if self.heartbeat.is_on() {
                self.frame_writer.frames.heartbeat();
            }
        }
        // A peer that is not read does not count as silent.
        let was_received = self.frame_reader.take_received() || !was_read;
        if self.heartbeat.note(was_received) {
            return Ok(());
        }
        let error = io::Error::new(io::ErrorKind::TimedOut, "the peer gives no sign of life");
        Err(error.into())
    }

    /// Serves the frames that have arrived, in order.
    async fn serve_frames(&mut self) -> Result<(), Ending> {
        loop {
            let held = std::mem::take(&mut self.held);
            let waiting = held.frames.iter().skip(held.served);
            for (served, frame) in (held.served..).zip(waiting) {
                let publishes = is_publish(frame.kind, frame.payload);
                if publishes && self.context.is_disk_low() {
                    self.block();
                }
                if self.is_blocked && self.must_wait(frame, publishes) {
                    self.held = Held {
                        frames: held.frames.clone(),
                        served,
                    };
                    return Ok(());
                }
                self.frame(&held.frames, frame).await?;
                if self.publishing.is_large() {
                    self.hand_over().await;
                }
            }
            self.publishing.pin(held.frames.len());
            let frames: Frames = self.frame_reader.frames()?;
            if frames.is_empty() {
                return Ok(());
            }
            self.held = Held { frames, served: 0 };
        }
    }

    /// Whether a frame cannot be served before there is space again: a publish that cannot be refused to the client,
    /// once enough wait, and what has to come after the publishes of its channel that wait.
    fn must_wait(&self, frame: Frame<'_>, publishes: bool) -> bool {
        let Some(channel) = self.open_channel(frame.channel) else {
            // The connection is not closed before what was published is safe.
            let is_close = frame.channel == 0 && frame.kind == FrameKind::Method;
            return is_close && !self.publishing.is_idle();
        };
        if publishes {
            let can_refuse = channel.confirms.is_some();
            return !can_refuse && !self.publishing.has_room_to_wait();
        }
        let waits = channel.transaction.is_some() || self.publishing.has_gathered(frame.channel);
        waits && frame.kind == FrameKind::Method && !goes_on(frame.payload)
    }

    fn block(&mut self) {
        if std::mem::replace(&mut self.is_blocked, true) {
            return;
        }
        Metrics::one(&self.context.metrics.connections_blocked);
        if self.peer.capabilities.connection_blocked {
            let blocked = connection::Blocked {
                reason: b"low on disk",
            };
            // A few words always fit.
            let _ = self.frame_writer.frames.method(0, &blocked);
        }
    }

    fn unblock(&mut self) {
        self.is_blocked = false;
        Metrics::less(&self.context.metrics.connections_blocked, 1);
        if self.peer.capabilities.connection_blocked {
            let _ = self
                .frame_writer
                .frames
                .method(0, &connection::Unblocked {});
        }
    }

    /// Gives everything back and says goodbye.
    async fn end(mut self: Box<Self>, ending: Ending) -> io::Result<()> {
        if !matches!(ending, Ending::Gone | Ending::Io(_)) {
            self.finish_publishing().await;
        }
        if self.is_blocked {
            Metrics::less(&self.context.metrics.connections_blocked, 1);
        }
        self.release_all(!ending.is_ours());
        self.settle();
        let is_ours = ending.is_ours();
        let Self {
            engine,
            mut frame_reader,
            mut frame_writer,
            context,
            entry,
            ..
        } = *self;
        engine.close().await;
        match ending {
            Ending::Gone => Ok(()),
            Ending::Io(error) => Err(error),
            Ending::Asked => {
                let _ = frame_writer.frames.method(0, &connection::CloseOk {});
                closing::leave(&mut frame_reader, frame_writer).await
            }
            Ending::Fault(fault, numbers) => {
                if !is_ours {
                    Metrics::one(&context.metrics.connection_faults);
                    context.log_fault(&entry, &fault.text());
                }
                closing::close(&mut frame_reader, frame_writer, &fault, numbers).await
            }
        }
    }

    /// Gives back what all channels hold; see [`Session::release`].
    fn release_all(&mut self, is_blamed: bool) {
        for slot in std::mem::take(&mut self.channels).into_values() {
            if let Slot::Open(mut channel) = slot {
                self.release(&mut channel, is_blamed);
            }
        }
    }

    /// Gives back what a channel holds, and ends its consumers. Where its end is blamed on what it was working on, that
    /// is the oldest message it holds: those it holds besides were prefetched and are innocent.
    pub(crate) fn release(&mut self, channel: &mut Channel, is_blamed: bool) {
        let metrics = &self.context.metrics;
        Metrics::less(&metrics.channels_open, 1);
        Metrics::less(&metrics.consumers, channel.consumers.len());
        let mut consumers = channel.consumers.values();
        self.has_unused |= consumers.any(|consumer| consumer.subscription.may_take_queue());
        self.arriving -= channel.content.held_bytes().min(self.arriving);
        // First, or what is given back would be handed to them again.
        channel.consumers.clear();
        if let Some(replies) = channel.replies.take() {
            self.context.replies.close(&replies.name);
        }
        if let Some(transaction) = channel.transaction.take() {
            self.uncommitted -= transaction.bytes.min(self.uncommitted);
            let back = transaction.settles.into_iter();
            let back = back.map(|(tag, unacked, _)| (tag, unacked));
            channel.unacked.put_back(back.collect());
        }
        let settles = &mut self.settles;
        let mut charged = is_blamed;
        channel.unacked.take_all(|_, unacked| {
            settles.push((unacked, Settlement::lost(charged)));
            charged = false;
        });
    }

    /// Has what was given back be there, and queues gone whose last consumer was dropped, before an answer says so.
    pub(crate) async fn finish_release(&mut self) {
        self.settle();
        if std::mem::take(&mut self.has_unused) {
            self.engine.sync_unused().await;
        }
    }

    /// Has everything that was published, given back or rejected before be where it belongs.
    pub(crate) async fn catch_up(&mut self) {
        self.finish_publishing().await;
        self.settle();
        self.engine.sync_dead().await;
    }

    /// Names something of this connection.
    pub(crate) fn next_count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// What this connection is called.
    pub(crate) fn name(&self) -> String {
        let (peer, local) = self.addresses;
        format!("{peer} -> {local}")
    }

    /// A channel that is open.
    pub(crate) fn open_channel(&self, number: u16) -> Option<&Channel> {
        match self.channels.get(&number) {
            Some(Slot::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    /// The channel whose method is being served.
    pub(crate) fn channel(&mut self, number: u16) -> &mut Channel {
        match self.channels.get_mut(&number) {
            Some(Slot::Open(channel)) => channel,
            _ => unreachable!("methods are served on open channels only"),
        }
    }

    /// Writes an answer.
    pub(crate) fn say<'m>(&mut self, number: u16, method: &impl Arguments<'m>) -> Outcome<()> {
        Ok(self.frame_writer.frames.method(number, method)?)
    }

    /// The name by which the broker knows what is called so in this connection's vhost.
    pub(crate) fn qualified<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if self.peer.vhost == engine::vhost::DEFAULT {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(engine::vhost::qualify(&self.peer.vhost, name))
        }
    }

    /// What a refusal will name.
    pub(crate) fn about<'n>(
        &'n self,
        queue: Option<&'n str>,
        exchange: Option<&'n str>,
        access: Access,
    ) -> About<'n> {
        About {
            vhost: &self.peer.vhost,
            user: &self.peer.principal.name,
            access,
            queue,
            exchange,
            is_topic: queue.is_some_and(|name| {
                let broker = &self.context.broker;
                broker
                    .on_behalf_of(&self.peer.principal)
                    .is_only_topic(&self.qualified(name))
            }),
        }
    }

    /// Attaches a queue to a topic whose name is used as a queue's, where the settings say so.
    pub(crate) async fn attach(&self, name: &str, access: Access) -> Outcome<()> {
        let broker = &self.context.broker;
        let qualified = self.qualified(name);
        let attached = broker
            .on_behalf_of(&self.peer.principal)
            .attach_on_use(&qualified)
            .await;
        attached.map_err(|error| self.about(Some(name), None, access).fault(&error))
    }
}

/// Whether a frame begins a publish.
fn is_publish(kind: FrameKind, payload: &[u8]) -> bool {
    let [c0, c1] = <basic::Publish<'_> as Arguments<'_>>::CLASS.to_be_bytes();
    let [m0, m1] = <basic::Publish<'_> as Arguments<'_>>::METHOD.to_be_bytes();
    kind == FrameKind::Method && payload.starts_with(&[c0, c1, m0, m1])
}

/// Whether a method may overtake publishes that wait: what settles messages, and what has messages come.
fn goes_on(payload: &[u8]) -> bool {
    use basic::Method as Basic;
    matches!(
        Method::decode(payload),
        Ok(Method::Basic(
            Basic::Ack(_)
                | Basic::Nack(_)
                | Basic::Reject(_)
                | Basic::Qos(_)
                | Basic::Consume(_)
                | Basic::Cancel(_)
        ))
    )
}

/// Room for messages that are handed over, out of the connection's account.
#[derive(Debug)]
struct DeliveryRoom(SharedPermit);

impl engine::Room for DeliveryRoom {
    fn try_take(&self, bytes: usize) -> bool {
        self.0.try_take(bytes)
    }

    fn poll_take(&self, cx: &mut Cx<'_>, bytes: usize) -> Poll<()> {
        self.0.poll_take(cx, bytes)
    }

    fn give_back(&self, bytes: usize) {
        self.0.give_back(bytes);
    }

    fn bytes_max(&self) -> usize {
        self.0.bytes_max()
    }
}

/// The broker stops.
fn shutdown() -> Ending {
    forced("broker forced connection closure with reason 'shutdown'")
}

/// The broker ends the connection, for this reason.
fn forced(reason: &str) -> Ending {
    Fault::new(ReplyCode::ConnectionForced, reason).into()
}

/// An operator wants the connection to end, or it holds memory that others wait for.
fn closed(account: &Account) -> Ending {
    if account.is_evicted() {
        let text = "memory is held without progress while others wait for it";
        return Fault::new(ReplyCode::ResourceError, text).into();
    }
    forced("Closed via management api")
}
