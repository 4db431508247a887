//! The open listeners of one kind, stopped together: the protocols first, the console after them.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use console::Source;
use net::{
    Budget, Capacity, Connections, Drain, Limits, Listener, Observer, Served, Shutdown, Tasks,
};

use crate::settings::{Endpoint, Listen};

/// How long a peer may refuse to read.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// What all listeners share.
#[derive(Debug)]
pub(crate) struct All {
    /// How many connections there may be.
    pub(crate) total: Capacity,
    /// Those there are.
    pub(crate) connections: Connections,
}

/// Listeners that accept, with the means to stop them.
#[derive(Debug)]
pub(crate) struct Listeners {
    total: Capacity,
    connections: Connections,
    budget: Budget,
    drain: Duration,
    shutdown: Shutdown,
    accepting: Tasks,
    observers: Vec<(&'static str, Observer)>,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Listeners {
    /// None yet. They share what `all` has and what `budget` allows connections to hold, and have `drain` to end them.
    pub(crate) fn new(all: &All, budget: &Budget, drain: Duration) -> Self {
        Self {
            total: all.total.clone(),
            connections: all.connections.clone(),
            budget: budget.clone(),
            drain,
            shutdown: Shutdown::new(),
            accepting: Tasks::new(),
            observers: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// Binds every address of `listen`, unless it is off, and lets `serve` run each until the drain it is given. They
    /// share their limits and numbers.
    pub(crate) async fn open<S, F>(
        &mut self,
        name: &'static str,
        listen: &Listen,
        connections_max: usize,
        serve: S,
    ) -> anyhow::Result<()>
    where
        S: Fn(Listener, Drain) -> F,
        F: Future<Output = Served> + Send + 'static,
    {
        let Listen::At(endpoints) = listen else {
            return Ok(());
        };
        let limits = Limits {
            connections_max,
            write_stall: WRITE_STALL,
            drain: self.drain,
        };
        let mut bound: Vec<Listener> = Vec::new();
        for endpoint in endpoints {
            match *endpoint {
                Endpoint::At(address) => self.bind(name, address, limits, &mut bound).await?,
                Endpoint::Localhost(port) => {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    self.bind(name, address, limits, &mut bound).await?;
                    let port = bound.last().map_or(port, |first| first.address().port());
                    self.bind_ipv6_loopback(name, port, &mut bound).await?;
                }
            }
        }
        if let Some(first) = bound.first() {
            self.observers.push((name, first.observer()));
        }
        for listener in bound {
            self.addresses.push((name, listener.address()));
            let serving = serve(listener, self.shutdown.drain());
            self.accepting.spawn(async move {
                serving.await;
            });
        }
        Ok(())
    }

    async fn bind(
        &self,
        name: &'static str,
        address: SocketAddr,
        limits: Limits,
        bound: &mut Vec<Listener>,
    ) -> anyhow::Result<()> {
        let listener = match bound.first() {
            Some(first) => first.another(address).await,
            None => Listener::bind(name, address, limits, &self.total).await,
        };
        let listener = listener.with_context(|| no_listener(name, address))?;
        bound.push(
            listener
                .with_connections(&self.connections)
                .with_budget(&self.budget),
        );
        Ok(())
    }

    /// The other half of `localhost`, which not every machine has.
    async fn bind_ipv6_loopback(
        &self,
        name: &'static str,
        port: u16,
        bound: &mut Vec<Listener>,
    ) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let Some(first) = bound.first() else {
            return Ok(());
        };
        match first.another(address).await {
            Ok(listener) => bound.push(listener),
            Err(error) if is_without_ipv6(&error) => {
                tracing::warn!(listener = name, %address, "no IPv6 loopback address, listening on IPv4 only");
            }
            Err(error) => {
                return Err(error).context(no_listener(name, address));
            }
        }
        Ok(())
    }

    /// Name and real address of each.
    pub(crate) fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// Who observes them, for [`connection_source`].
    pub(crate) fn observers(&self) -> Vec<(&'static str, Observer)> {
        self.observers.clone()
    }

    /// Stops accepting, awaits the connections, cuts what is left.
    pub(crate) async fn close(self) {
        self.shutdown.begin();
        // The listeners keep the deadline themselves; this one only guards against a listener that does not.
        self.accepting
            .finish(self.drain + Duration::from_secs(1))
            .await;
    }
}

fn no_listener(name: &str, address: SocketAddr) -> String {
    format!(
        "cannot listen on {address} for {name}, set another one with listeners.{name} or --{name}"
    )
}

/// Whether an address could not be bound because the machine does not have it.
fn is_without_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// The connection numbers of `observers`, for `/metrics`.
pub(crate) fn connection_source(observers: Vec<(&'static str, Observer)>) -> Source {
    Box::new(move |samples| {
        let now: Vec<_> = observers
            .iter()
            .map(|(name, observer)| ([("listener", *name)], observer.numbers()))
            .collect();
        let open = now.iter().map(|(labels, numbers)| (*labels, numbers.open));
        samples.gauges("forebay_connections_open", "Connections open", open);
        let accepted = now
            .iter()
            .map(|(labels, numbers)| (*labels, numbers.accepted_total));
        samples.counters(
            "forebay_connections_accepted",
            "Connections let in",
            accepted,
        );
        let refused = now
            .iter()
            .map(|(labels, numbers)| (*labels, numbers.refused_total));
        samples.counters(
            "forebay_connections_refused",
            "Connections closed because a limit was reached",
            refused,
        );
        let failed = now
            .iter()
            .map(|(labels, numbers)| (*labels, numbers.accept_errors_total));
        samples.counters("forebay_accept_errors", "Accepts that failed", failed);
        let panicked = now
            .iter()
            .map(|(labels, numbers)| (*labels, numbers.panics_total));
        samples.counters(
            "forebay_connection_panics",
            "Connections that ended because what served them panicked",
            panicked,
        );
    })
}
