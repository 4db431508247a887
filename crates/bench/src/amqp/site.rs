//! What a load works on: a broker, and on it queues and perhaps an exchange, made for one load and deleted after it.

use std::net::SocketAddr;

use anyhow::Result;

use super::control::{Arguments, Control};
use super::link::{Link, Login};
use crate::usage::Source;

/// A broker under load.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Name and version, as it calls itself.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) login: Login,
    pub(super) source: Source,
    /// `x-queue-type` of its queues.
    pub(super) queue_type: Option<String>,
}

impl Peer {
    /// Connects once, to learn its name.
    pub(super) async fn meet(
        address: SocketAddr,
        login: &Login,
        source: Source,
        queue_type: Option<&str>,
    ) -> Result<Self> {
        let control = Control::open(address, login).await?;
        let product = control.product().to_owned();
        control.close().await?;
        let name = match queue_type {
            Some(queue_type) => format!("{product} {queue_type}"),
            None if product.is_empty() => address.to_string(),
            None => product,
        };
        Ok(Self {
            name,
            address,
            login: login.clone(),
            source,
            queue_type: queue_type.map(str::to_owned),
        })
    }

    /// A connection for messages.
    pub(super) async fn link(&self) -> Result<Link> {
        Link::open(self.address, &self.login).await
    }

    /// A connection for everything else.
    pub(super) async fn control(&self) -> Result<Control> {
        Control::open(self.address, &self.login).await
    }

    /// Arguments of a queue without a limit.
    pub(super) fn arguments(&self) -> Arguments {
        Arguments::of_type(self.queue_type.as_deref())
    }
}

/// Queues of one load.
#[derive(Debug)]
pub(super) struct Site {
    control: Control,
    pub(super) queues: Vec<String>,
    /// What leads to all queues at once.
    pub(super) exchange: Option<String>,
}

impl Site {
    /// Makes `queues` queues whose names begin with `name`.
    pub(super) async fn make(peer: &Peer, name: &str, queues: u16) -> Result<Self> {
        let mut site = Self {
            control: peer.control().await?,
            queues: Vec::new(),
            exchange: None,
        };
        for number in 0..queues {
            let queue = format!("{name}-{number}");
            site.add(queue, &peer.arguments()).await?;
        }
        Ok(site)
    }

    /// One more queue.
    pub(super) async fn add(&mut self, queue: String, arguments: &Arguments) -> Result<()> {
        self.control.make_queue(&queue, arguments).await?;
        self.queues.push(queue);
        Ok(())
    }

    /// An exchange that leads to all queues.
    pub(super) async fn join(&mut self, exchange: String) -> Result<()> {
        self.control.make_fanout(&exchange, &self.queues).await?;
        self.exchange = Some(exchange);
        Ok(())
    }

    /// Deletes everything.
    pub(super) async fn remove(mut self) -> Result<()> {
        for queue in &self.queues {
            self.control.delete_queue(queue).await?;
        }
        if let Some(exchange) = &self.exchange {
            self.control.delete_exchange(exchange).await?;
        }
        self.control.close().await
    }
}
