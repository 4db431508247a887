//! One connection: requests in, answers out, strictly in order.
//!
//! Publishes overlap: the next one is read and handed over while earlier ones wait for the disk. Everything
//! else waits for what came before it, as clients of this protocol expect.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use net::{Account, Connection, Drain, Entry, SharedPermit, Writer};
use security::Principal;

use crate::context::{Context, Settings};
use crate::frames::{Frame, Frames};
use crate::handlers;
use crate::wire::{ApiKey, Segments};

/// Publishes of one connection that may wait for the disk at the same time.
const PIPELINE_MAX: usize = 64;

/// Requests without records from this size on are charged for what they decode to.
const LARGE_REQUEST_BYTES: usize = 4 << 10;
/// How much more memory a request without records may take than its bytes.
const DECODED_FACTOR: usize = 16;
/// How often what a request says is there while it waits for others: as it came, and with its group.
const WAITING_COPIES: usize = 2;

/// Serves one connection until the peer leaves, misbehaves, or the broker drains.
pub async fn serve(connection: Connection, context: Arc<Context>, drain: Drain) {
    let peer = connection.peer();
    let mut session = Session::new(connection, context);
    match session.run(drain).await {
        Ok(()) => tracing::debug!(%peer, "connection closed"),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => session.log_malformed(&error),
        Err(error) => tracing::debug!(%peer, %error, "connection ended"),
    }
}

/// An answer that may not be there yet; `None` when the request wants none.
type Answer = Pin<Box<dyn Future<Output = io::Result<Option<Segments>>> + Send>>;

struct Session {
    context: Arc<Context>,
    principal: Principal,
    entry: Arc<Entry>,
    /// What the client calls itself is known.
    is_named: bool,
    client_host: String,
    advertised: (String, u16),
    frames: Frames<net::Reader>,
    writer: Writer,
    /// Publishes handed over, oldest first.
    waiting: VecDeque<Answer>,
    /// Encoded answers to be written.
    out: VecDeque<Bytes>,
    account: Account,
    /// Room for the answer that is being made or written.
    room: SharedPermit,
}

/// What happened first.
enum Next {
    Frame(io::Result<Option<Frame>>),
    Answer(io::Result<Option<Segments>>),
    Drain,
}

/// The host that a client which reached this connection can reach again, as far as that can be known: the address it
/// came in by. Who comes by the gateway of a container is outside of it, on its host mostly, where the container's own
/// address leads nowhere.
fn reached(settings: &Settings, connection: &Connection) -> String {
    let peer = connection.peer().ip().to_canonical();
    if settings.host_gateways.contains(&peer) {
        return "localhost".to_owned();
    }
    connection.local().ip().to_canonical().to_string()
}

impl Session {
    fn new(connection: Connection, context: Arc<Context>) -> Self {
        let local = connection.local();
        let advertised = context
            .settings
            .advertised
            .clone()
            .unwrap_or_else(|| (reached(&context.settings, &connection), local.port()));
        let client_host = format!("/{}", connection.peer().ip());
        let entry = Arc::clone(connection.entry());
        let account = connection.account().clone();
        let (reader, writer) = connection.split();
        let frames = Frames::new(reader, context.limits.clone(), &account);
        Self {
            context,
            principal: Principal::anonymous(),
            entry,
            is_named: false,
            client_host,
            advertised,
            frames,
            writer,
            waiting: VecDeque::new(),
            out: VecDeque::new(),
            room: SharedPermit::new(&account),
            account,
        }
    }

    async fn run(&mut self, drain: Drain) -> io::Result<()> {
        let entry = Arc::clone(&self.entry);
        loop {
            let next = tokio::select! {
                // Answers first: they free memory and keep the client going.
                biased;
                answer = front(&mut self.waiting) => Next::Answer(answer),
                frame = self.frames.next(), if self.waiting.len() < PIPELINE_MAX => Next::Frame(frame),
                () = drain.draining() => Next::Drain,
                () = entry.closing() => Next::Drain,
            };
            match next {
                Next::Answer(answer) => {
                    self.waiting.pop_front();
                    self.queue(answer?.as_ref());
                    self.flush_when_quiet().await?;
                }
                Next::Frame(frame) => match frame? {
                    Some(frame) => self.request(frame).await?,
                    None => return self.finish().await,
                },
                Next::Drain => return self.finish().await,
            }
        }
    }

    /// Answers what was handed over, then lets go.
    async fn finish(&mut self) -> io::Result<()> {
        while let Some(answer) = self.waiting.pop_front() {
            let answer = answer.await?;
            self.queue(answer.as_ref());
        }
        self.flush().await
    }

    async fn request(&mut self, frame: Frame) -> io::Result<()> {
        let Frame { bytes, room } = frame;
        let call = handlers::open(&bytes).inspect_err(|_| {
            self.count_malformed();
            // The log names the client, with its first request too.
            if let Some(client) = handlers::client_of(&bytes).filter(|_| !self.is_named) {
                self.entry.set_client(&client);
            }
        })?;
        self.context.metrics.request(call.key.into());
        if !self.is_named
            && let Some(client) = &call.client_id
        {
            self.entry.set_client(client);
            self.is_named = true;
        }
        if call.key == ApiKey::Produce {
            let frame_bytes = bytes.len();
            let (context, principal) = (Arc::clone(&self.context), self.principal.clone());
            // Boxed: what it holds while it waits must not be part of every idle connection.
            let begun = handlers::produce::begin(&context, &principal, call, frame_bytes);
            let pending = self.answering(Box::pin(begun)).await?;
            let pending = pending.inspect_err(|_| self.count_malformed())?;
            self.waiting.push_back(Box::pin(async move {
                let answer = pending.finish().await;
                // The batch stays in memory until it is durable, and so does its place in the budget.
                drop(room);
                answer
            }));
            return Ok(());
        }
        self.finish().await?;
        // Lists of small things decode to several times their size, and are answered one by one.
        let mut room = room;
        let most = self.account.budget().request_bytes_max();
        if bytes.len() > LARGE_REQUEST_BYTES {
            let decoded = bytes.len() * DECODED_FACTOR;
            let decoded = decoded.min(handlers::decoded_bytes_max(most));
            room.grow_to(decoded.max(bytes.len())).await;
        }
        let call = call
            .with_peer(self.client_host.clone(), self.advertised.clone())
            .with_room(self.room.clone(), most, room.bytes());
        let context = Arc::clone(&self.context);
        let waits_for_others = matches!(call.key, ApiKey::JoinGroup | ApiKey::SyncGroup);
        // Boxed: the largest handler's state must not be part of every idle connection.
        let mut answer = Box::pin(handlers::handle(&context, &self.principal, call));
        let mut parked = None;
        let mut answered = None;
        if waits_for_others {
            answered = at_once(&mut answer).await;
            // What it was decoded to is not needed any more, and its group has a copy of what it says.
            room.set(bytes.len() * WAITING_COPIES);
            parked = Some(self.account.parked());
        }
        let rest = async {
            match answered {
                Some(answer) => answer,
                None => answer.await,
            }
        };
        let answer = tokio::select! {
            answer = rest => answer,
            // A dropped long poll or join holds nothing.
            () = self.frames.gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let answer = answer.inspect_err(|_| self.count_malformed())?;
        // The request is not needed any more, and the answer takes what it takes.
        drop((room, parked));
        self.room.set(answer.len());
        self.queue(Some(&answer));
        self.flush().await
    }

    /// Waits for a publish to be handed over, and sends answers to earlier ones meanwhile: to look through a compressed
    /// batch may take a while.
    async fn answering<T>(&mut self, mut begun: impl Future<Output = T> + Unpin) -> io::Result<T> {
        loop {
            tokio::select! {
                biased;
                handed = &mut begun => return Ok(handed),
                answer = front(&mut self.waiting) => {
                    self.waiting.pop_front();
                    self.queue(answer?.as_ref());
                    self.flush_when_quiet().await?;
                }
            }
        }
    }

    /// The peer did not keep to the protocol: an operator may want to know who that is.
    fn log_malformed(&self, error: &io::Error) {
        let now = self.context.broker.now_ms();
        let Some(suppressed) = self.context.malformed.admit(now) else {
            return;
        };
        let facts = self.entry.facts();
        tracing::info!(
            peer = %self.entry.peer(),
            user = %self.principal.name,
            client = facts.client.as_deref(),
            reason = %error,
            suppressed = NonZeroU64::new(suppressed),
            "connection closed: protocol error"
        );
    }

    fn count_malformed(&self) {
        self.context
            .metrics
            .malformed
            .fetch_add(1, Ordering::Relaxed);
    }

    fn queue(&mut self, answer: Option<&Segments>) {
        self.out
            .extend(answer.into_iter().flat_map(Segments::parts).cloned());
    }

    /// Writes unless another answer is ready to go along.
    async fn flush_when_quiet(&mut self) -> io::Result<()> {
        while let Some(answer) = ready_front(&mut self.waiting).await {
            self.waiting.pop_front();
            self.queue(answer?.as_ref());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let _unsent = self.account.unsent();
        self.writer.write_segments(&mut self.out).await?;
        self.room.set(0);
        // A burst must not leave an idle connection with the memory of its largest answer.
        self.out = VecDeque::new();
        Ok(())
    }
}

/// What is there without waiting.
async fn at_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = std::future::ready(()) => None,
    }
}

/// The oldest waiting answer; waits for ever when there is none.
async fn front(waiting: &mut VecDeque<Answer>) -> io::Result<Option<Segments>> {
    match waiting.front_mut() {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

/// The oldest waiting answer, if it is there already.
async fn ready_front(waiting: &mut VecDeque<Answer>) -> Option<io::Result<Option<Segments>>> {
    at_once(waiting.front_mut()?).await
}
