//! A connection that makes and deletes what a load works on.

use std::net::SocketAddr;

use amqp::wire::{Method, Table, TableBuilder, Value, exchange, queue};
use anyhow::{Context, Result, bail};

use super::link::{Link, Login};

/// The kind of exchange that leads to every queue bound to it.
const FANOUT: &[u8] = b"fanout";

/// Arguments of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments(Vec<(&'static str, Argument)>);

#[derive(Clone, Debug)]
enum Argument {
    Text(String),
    Number(u32),
}

impl Arguments {
    /// With `x-queue-type`, if there is one.
    pub(super) fn of_type(queue_type: Option<&str>) -> Self {
        let text = |name: &str| ("x-queue-type", Argument::Text(name.to_owned()));
        Self(queue_type.map(text).into_iter().collect())
    }

    /// At most so many messages; more are refused.
    pub(super) fn limited(mut self, messages_max: u32) -> Self {
        let refuse = Argument::Text("reject-publish".to_owned());
        self.0
            .push(("x-max-length", Argument::Number(messages_max)));
        self.0.push(("x-overflow", refuse));
        self
    }

    fn encode(&self) -> Result<TableBuilder> {
        let mut table = TableBuilder::new();
        for (name, value) in &self.0 {
            let value = match value {
                Argument::Text(text) => Value::Long(text.as_bytes()),
                Argument::Number(number) => Value::I64((*number).into()),
            };
            table.push(name.as_bytes(), value)?;
        }
        Ok(table)
    }
}

/// A connection for it.
#[derive(Debug)]
pub(super) struct Control(Link);

impl Control {
    /// Connects.
    pub(super) async fn open(address: SocketAddr, login: &Login) -> Result<Self> {
        Link::open(address, login).await.map(Self)
    }

    /// Name and version of the broker.
    pub(super) fn product(&self) -> &str {
        self.0.product()
    }

    /// Makes a durable queue.
    pub(super) async fn make_queue(&mut self, name: &str, arguments: &Arguments) -> Result<()> {
        let arguments = arguments.encode()?;
        let declare = queue::Declare {
            queue: name.as_bytes(),
            durable: true,
            arguments: arguments.as_table(),
            ..queue::Declare::default()
        };
        let made = self.0.call(&declare, "queue.declare-ok").await;
        made.with_context(|| format!("cannot make queue {name}"))?;
        Ok(())
    }

    /// Deletes a queue with whatever is in it; answers with how much that was.
    pub(super) async fn delete_queue(&mut self, name: &str) -> Result<u32> {
        let delete = queue::Delete {
            queue: name.as_bytes(),
            ..queue::Delete::default()
        };
        let deleted = self.0.call(&delete, "queue.delete-ok").await;
        let deleted = deleted.with_context(|| format!("cannot delete queue {name}"))?;
        match deleted.method()? {
            Method::Queue(queue::Method::DeleteOk(deleted)) => Ok(deleted.message_count),
            _ => bail!("queue.delete-ok is none"),
        }
    }

    /// Makes a durable exchange that leads to all of `queues`.
    pub(super) async fn make_fanout(&mut self, name: &str, queues: &[String]) -> Result<()> {
        let declare = exchange::Declare {
            exchange: name.as_bytes(),
            kind: FANOUT,
            durable: true,
            ..exchange::Declare::default()
        };
        let made = self.0.call(&declare, "exchange.declare-ok").await;
        made.with_context(|| format!("cannot make exchange {name}"))?;
        for queue in queues {
            let bind = queue::Bind {
                queue: queue.as_bytes(),
                exchange: name.as_bytes(),
                routing_key: b"",
                nowait: false,
                arguments: Table::EMPTY,
            };
            self.0.call(&bind, "queue.bind-ok").await?;
        }
        Ok(())
    }

    /// Deletes an exchange.
    pub(super) async fn delete_exchange(&mut self, name: &str) -> Result<()> {
        let delete = exchange::Delete {
            exchange: name.as_bytes(),
            ..exchange::Delete::default()
        };
        self.0.call(&delete, "exchange.delete-ok").await?;
        Ok(())
    }

    /// Leaves.
    pub(super) async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
