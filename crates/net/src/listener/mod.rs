//! A listening socket: whom it lets in, how many at once, and how it stops.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::{Budget, Capacity, Connection, Connections, Drain, Tasks};

/// The first pause after a failed accept; doubled up to [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause: when descriptors run out, only time and closing connections help.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a connection that holds memory others wait for may take to end by itself.
const EVICTED_GRACE: Duration = Duration::from_secs(1);

/// What one listener allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; one more is accepted and closed.
    pub connections_max: usize,
    /// How long a peer may refuse to read what we send.
    pub write_stall: Duration,
    /// How long open connections may go on once the drain has begun.
    pub drain: Duration,
}

/// A bound socket that has not begun to accept.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
    total: Capacity,
    budget: Budget,
    observer: Observer,
    connections: Connections,
}

/// Reads a listener's numbers while it runs.
#[derive(Clone, Debug)]
pub struct Observer {
    own: Capacity,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
}

/// What happened at a listener since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionNumbers {
    /// Connections open now.
    pub open: u64,
    /// Connections handed to the frontend.
    pub accepted_total: u64,
    /// Connections closed at once because a limit was reached.
    pub refused_total: u64,
    /// Accepts that failed, for instance for want of file descriptors.
    pub accept_errors_total: u64,
    /// Connections that ended because what served them panicked.
    pub panics_total: u64,
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Connections that were still open at the deadline and were cut.
    pub cut: usize,
}

impl Listener {
    /// Binds `address`; port 0 picks a free one. `total` is shared with the other listeners.
    pub async fn bind(
        name: &'static str,
        address: SocketAddr,
        limits: Limits,
        total: &Capacity,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self {
            name,
            address: socket.local_addr()?,
            socket,
            limits,
            total: total.clone(),
            budget: Budget::unlimited(),
            observer: Observer {
                own: Capacity::new(limits.connections_max),
                counts: Arc::default(),
            },
            connections: Connections::default(),
        })
    }

    /// Binds one more address for the same listener: they share limits and numbers.
    pub async fn another(&self, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self {
            name: self.name,
            address: socket.local_addr()?,
            socket,
            limits: self.limits,
            total: self.total.clone(),
            connections: self.connections.clone(),
            budget: self.budget.clone(),
            observer: self.observer.clone(),
        })
    }

    /// Enters its connections in this table.
    #[must_use]
    pub fn with_connections(mut self, connections: &Connections) -> Self {
        self.connections = connections.clone();
        self
    }

    /// What its connections hold counts against this budget.
    #[must_use]
    pub fn with_budget(mut self, budget: &Budget) -> Self {
        self.budget = budget.clone();
        self
    }

    /// What it was called at [`Listener::bind`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The real address, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its numbers, readable for as long as anyone likes.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Accepts until `drain` begins, one task per connection; then awaits them up to the limit.
    pub async fn serve<H, F>(self, drain: Drain, handle: H) -> Served
    where
        H: Fn(Connection) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = Tasks::new();
        let mut pause = ACCEPT_PAUSE_MIN;
        let draining = drain.draining();
        tokio::pin!(draining);
        loop {
            tokio::select! {
                biased;
                () = &mut draining => break,
                () = tasks.collect_ended(), if !tasks.is_empty() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        pause = ACCEPT_PAUSE_MIN;
                        self.admit(stream, &mut tasks, &handle);
                    }
                    Err(error) => pause = self.endure(&error, pause).await,
                },
            }
        }
        self.finish(tasks).await
    }

    fn admit<H, F>(&self, stream: TcpStream, tasks: &mut Tasks, handle: &H)
    where
        H: Fn(Connection) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(slots) = self.observer.own.take().zip(self.total.take()) else {
            self.observer.counts.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(listener = self.name, "connection refused, limit reached");
            return;
        };
        // The peer may be gone before we look at it: no error of ours, no connection either.
        let Ok(connection) = Connection::tcp(stream) else {
            return;
        };
        self.observer
            .counts
            .accepted
            .fetch_add(1, Ordering::Relaxed);
        let (name, peer) = (self.name, connection.peer());
        let counts = Arc::clone(&self.observer.counts);
        let account = self.budget.account(name, peer);
        let present = self.connections.enter(name, peer);
        let entry = Arc::clone(&present.entry);
        let connection = connection
            .with_write_stall(self.limits.write_stall)
            .with_account(account.clone())
            .with_entry(Arc::clone(&entry));
        let served = handle(connection);
        tasks.spawn(async move {
            let served = async {
                if let Err(panic) = caught(served).await {
                    counts.panicked.fetch_add(1, Ordering::Relaxed);
                    let reason = reason(&*panic);
                    tracing::error!(listener = name, %peer, reason, "connection closed after a panic");
                }
            };
            let mut served = pin!(served);
            tokio::select! {
                () = &mut served => {}
                () = account.evicted() => {
                    // Whose protocol has words for it is told why.
                    entry.close();
                    let _ = timeout(EVICTED_GRACE, served).await;
                }
                () = entry.overdue() => {
                    tracing::debug!(peer = %entry.peer(), "connection cut: it was to end and did not");
                }
            }
            drop(present);
            drop(slots);
        });
    }

    /// Counts a failed accept, waits if waiting helps, and returns the next pause.
    async fn endure(&self, error: &io::Error, pause: Duration) -> Duration {
        self.observer.counts.failed.fetch_add(1, Ordering::Relaxed);
        if concerns_one_peer(error) {
            return pause;
        }
        tracing::warn!(listener = self.name, %error, pause_ms = pause.as_millis(), "accept failed");
        sleep(pause).await;
        (pause * 2).min(ACCEPT_PAUSE_MAX)
    }

    async fn finish(self, tasks: Tasks) -> Served {
        // Closed first, so that clients are refused instead of queueing for someone who no longer accepts.
        drop(self.socket);
        let cut = tasks.finish(self.limits.drain).await;
        if cut > 0 {
            tracing::warn!(
                listener = self.name,
                cut,
                "connections cut at the drain deadline"
            );
        }
        Served { cut }
    }
}

impl Observer {
    /// The numbers now.
    pub fn numbers(&self) -> ConnectionNumbers {
        ConnectionNumbers {
            open: self.own.used() as u64,
            accepted_total: self.counts.accepted.load(Ordering::Relaxed),
            refused_total: self.counts.refused.load(Ordering::Relaxed),
            accept_errors_total: self.counts.failed.load(Ordering::Relaxed),
            panics_total: self.counts.panicked.load(Ordering::Relaxed),
        }
    }
}

/// Runs what serves one connection: when it panics, it alone ends. What others can see is the engine's, whose owners
/// are told what to do and are not in the hands of this task.
async fn caught<F: Future<Output = ()>>(served: F) -> Result<(), Box<dyn Any + Send>> {
    let mut served = pin!(served);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| served.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// True when the next accept may well succeed: the error is about the connection that was waiting.
fn concerns_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
