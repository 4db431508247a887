//! The controller's work on exchanges and bindings: which ones there are.
//!
//! Each that survives a restart is a document. A binding's document names what it connects by identity, so that it means
//! nothing to an exchange or a queue made again under the same name. Made: what it rests on is there before, and the
//! document is written before anybody is routed by it. Removed: what is gone leads nowhere at once, and then documents
//! go, an exchange's or a queue's before those of its bindings. A crash in between leaves bindings that connect nothing,
//! which a start forgets; the other way round it would leave an exchange that had been acknowledged as bound, and is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::Expected;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Inner;
use super::command::ExchangeCommand;
use super::documents::encode;
use crate::exchange::{
    self, Arguments, Binding, BindingId, Bound, DEFAULT, Destination, Exchange, ExchangeDocument,
    NewExchange, Removed, Target, octets,
};
use crate::queue::Queue;
use crate::{Error, Result, vhost};

/// Documents removed at the same time.
const REMOVALS_MAX: usize = 256;

/// A binding as the catalog stores it (`bindings/<its identity>`).
#[derive(Serialize, Deserialize)]
struct BindingDocument {
    vhost: String,
    source: String,
    source_id: Uuid,
    destination: Destination,
    destination_id: Uuid,
    #[serde(with = "octets")]
    key: Bytes,
    #[serde(default)]
    arguments: Arguments,
}

/// Where a binding leads, looked up.
struct Found {
    target: Target,
    id: Uuid,
    durable: bool,
}

fn exchange_key(exchange: &Exchange) -> String {
    format!("exchanges/{}", exchange.qualified())
}

fn binding_key(id: BindingId) -> String {
    format!("bindings/{:032x}", id.0)
}

pub(super) async fn handle(inner: &Inner, command: ExchangeCommand) {
    match command {
        ExchangeCommand::Declare { new, done } => drop(done.send(declare(inner, *new).await)),
        ExchangeCommand::Delete {
            vhost,
            name,
            if_unused,
            done,
        } => drop(done.send(delete(inner, &vhost, &name, if_unused).await)),
        ExchangeCommand::Bind { binding, done } => drop(done.send(bind(inner, *binding).await)),
        ExchangeCommand::Unbind { binding, done } => drop(done.send(unbind(inner, &binding).await)),
    }
}

pub(super) fn check_room(what: &str, count: usize, most: usize) -> Result<()> {
    if count < most {
        return Ok(());
    }
    Err(Error::InvalidRequest(format!(
        "the broker holds at most {most} {what}"
    )))
}

async fn declare(inner: &Inner, new: NewExchange) -> Result<Arc<Exchange>> {
    exchange::check(&new)?;
    let known = |routing: &exchange::VhostRouting| routing.exchange(&new.name).is_some();
    if inner.routing_tables.read(&new.vhost, known)? {
        return Err(Error::ExchangeExists(new.name));
    }
    let (count, _) = inner.routing_tables.counts();
    check_room("exchanges", count, inner.settings.exchanges_max)?;
    let exchange = Arc::new(Exchange {
        vhost: Arc::from(&*new.vhost),
        name: Arc::from(&*new.name),
        durable: new.durable,
        document: ExchangeDocument {
            id: inner.random.fresh_id(),
            kind: new.kind,
            auto_delete: new.auto_delete,
            internal: new.internal,
            alternate: new.alternate,
            arguments: new.arguments,
        },
    });
    if exchange.durable {
        let key = exchange_key(&exchange);
        let document = Some(encode(&exchange.document));
        inner
            .catalog
            .put_if(&key, Expected::Absent, document)
            .await?;
    }
    let alternate = inner.policies.load().alternate(&new.vhost, &new.name);
    inner.routing_tables.write(&new.vhost, |routing| {
        routing.insert(&exchange);
        routing.set_alternate(&new.name, alternate);
    })?;
    Ok(exchange)
}

async fn delete(inner: &Inner, vhost: &str, name: &str, if_unused: bool) -> Result<()> {
    let removed = inner.routing_tables.write(vhost, |routing| {
        let known = routing.exchange(name).ok_or(Error::UnknownExchange)?;
        if known.is_standard() {
            return Err(Error::InvalidRequest(format!(
                "the exchange '{name}' cannot be removed"
            )));
        }
        if if_unused && !routing.is_unused(name) {
            return Err(Error::InUse);
        }
        Ok(routing.remove(name))
    })??;
    forget(inner, removed).await
}

async fn bind(inner: &Inner, binding: Binding) -> Result<()> {
    not_default(&binding)?;
    let id = binding.id();
    let (source, known) = inner.routing_tables.read(&binding.vhost, |routing| {
        (routing.check_binding(&binding), routing.has_binding(id))
    })?;
    let source = source?;
    let to = find(inner, &binding.vhost, &binding.destination)?;
    if known {
        return Ok(());
    }
    let (_, count) = inner.routing_tables.counts();
    check_room("bindings", count, inner.settings.bindings_max)?;
    let durable = source.durable && to.durable;
    let bound = Bound {
        source: Arc::clone(&source.name),
        target: to.target,
        key: binding.key.clone(),
        arguments: binding.arguments.clone(),
        durable,
    };
    let vhost = binding.vhost.clone();
    if durable {
        let document = BindingDocument {
            vhost: binding.vhost,
            source: binding.source,
            source_id: source.document.id,
            destination: binding.destination,
            destination_id: to.id,
            key: binding.key,
            arguments: binding.arguments,
        };
        let key = binding_key(id);
        let document = encode(&document);
        inner
            .catalog
            .put_vital(&key, Expected::Any, document)
            .await?;
    }
    inner
        .routing_tables
        .write(&vhost, |routing| routing.bind(id, bound))
}

/// The default exchange has the bindings it has.
fn not_default(binding: &Binding) -> Result<()> {
    let to = Destination::Exchange(DEFAULT.to_owned());
    if binding.source == DEFAULT || binding.destination == to {
        return Err(Error::InvalidRequest(
            "operation not permitted on the default exchange".into(),
        ));
    }
    Ok(())
}

/// Looks up where a binding leads. Errors: `UnknownQueue`, `UnknownExchange`.
fn find(inner: &Inner, vhost: &str, destination: &Destination) -> Result<Found> {
    match destination {
        Destination::Queue(name) => {
            let queue = inner.queues.named(&vhost::qualify(vhost, name));
            let queue = queue.ok_or(Error::UnknownQueue)?;
            let lifetime = queue.settings().lifetime;
            Ok(Found {
                target: Target::Queue(Arc::clone(&queue.name)),
                id: queue.id(),
                durable: !lifetime.transient && lifetime.owner.is_none(),
            })
        }
        Destination::Exchange(name) => {
            let found = inner
                .routing_tables
                .read(vhost, |routing| routing.exchange(name).cloned())?;
            let exchange = found.ok_or(Error::UnknownExchange)?;
            Ok(Found {
                target: Target::Exchange(Arc::clone(&exchange.name)),
                id: exchange.document.id,
                durable: exchange.durable,
            })
        }
    }
}

async fn unbind(inner: &Inner, binding: &Binding) -> Result<()> {
    not_default(binding)?;
    let id = binding.id();
    let removed = inner
        .routing_tables
        .write(&binding.vhost, |routing| routing.unbind(id))?;
    forget(inner, removed).await
}

/// Removes all exchanges and bindings of a vhost that goes.
pub(super) async fn clear(inner: &Inner, vhost: &str) -> Result<()> {
    let removed = inner
        .routing_tables
        .write(vhost, exchange::VhostRouting::clear)?;
    forget(inner, removed).await
}

/// A queue is gone: so are the bindings that led to it, and what rested on them.
pub(super) async fn forget_queue(inner: &Inner, queue: &Queue) -> Result<()> {
    let (vhost, _) = vhost::split(&queue.name);
    let forgotten = inner
        .routing_tables
        .write(vhost, |routing| routing.forget_queue(&queue.name));
    match forgotten {
        Ok(removed) => forget(inner, removed).await,
        // It was stored without its vhost.
        Err(_) => Ok(()),
    }
}

/// Removes the documents of what is gone: exchanges first.
async fn forget(inner: &Inner, removed: Removed) -> Result<()> {
    for exchange in removed.exchanges.iter().filter(|gone| gone.durable) {
        inner.controls.turn();
        let key = exchange_key(exchange);
        inner.catalog.put_if(&key, Expected::Any, None).await?;
    }
    // Many at a time: they share the disk's attention, and one by one a queue with many bindings would go slowly.
    let mut going: JoinSet<storage::Result<u64>> = JoinSet::new();
    for id in removed.bindings {
        inner.controls.turn();
        if going.len() >= REMOVALS_MAX {
            finished(going.join_next().await)?;
        }
        let catalog = Arc::clone(&inner.catalog);
        let key = binding_key(id);
        going.spawn(async move { catalog.put_if(&key, Expected::Any, None).await });
    }
    while !going.is_empty() {
        finished(going.join_next().await)?;
    }
    Ok(())
}

type Joined = Option<std::result::Result<storage::Result<u64>, tokio::task::JoinError>>;

fn finished(joined: Joined) -> Result<()> {
    match joined {
        None => Ok(()),
        Some(Ok(put)) => Ok(put.map(|_| ())?),
        Some(Err(_)) => Err(Error::Unavailable),
    }
}

fn decode<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value)
        .map_err(|error| Error::Storage(format!("document {key}: {error}")))
}

/// Restores all exchanges and bindings; vhosts and queues are there already.
pub(super) async fn recover(inner: &Inner) -> Result<()> {
    for (key, stored) in inner.catalog.list("exchanges/").await? {
        let document: ExchangeDocument = decode(&key, &stored.value)?;
        let qualified = key.strip_prefix("exchanges/").unwrap_or(&key);
        let (vhost, name) = vhost::split(qualified);
        let exchange = Arc::new(Exchange {
            vhost: Arc::from(vhost),
            name: Arc::from(name),
            durable: true,
            document,
        });
        let placed = inner
            .routing_tables
            .write(vhost, |routing| routing.insert(&exchange));
        if placed.is_err() {
            tracing::warn!(exchange = name, vhost, "an exchange without its vhost");
        }
    }
    let mut lost = BTreeSet::new();
    for (key, stored) in inner.catalog.list("bindings/").await? {
        let document: BindingDocument = decode(&key, &stored.value)?;
        let source = (document.vhost.clone(), document.source.clone());
        if !restore(inner, document)? {
            inner.catalog.put_if(&key, Expected::Any, None).await?;
            lost.insert(source);
        }
    }
    for (vhost, source) in lost {
        let idle = inner
            .routing_tables
            .write(&vhost, |routing| routing.remove_if_idle(&Arc::from(source)));
        if let Ok(removed) = idle {
            forget(inner, removed).await?;
        }
    }
    Ok(())
}

/// Places a stored binding; false when what it connects is not there any more.
fn restore(inner: &Inner, document: BindingDocument) -> Result<bool> {
    let source = inner.routing_tables.read(&document.vhost, |routing| {
        routing.exchange(&document.source).cloned()
    });
    let source = source.ok().flatten();
    let source = source.filter(|source| source.document.id == document.source_id);
    let to = find(inner, &document.vhost, &document.destination).ok();
    let to = to.filter(|found| found.id == document.destination_id);
    let (Some(source), Some(to)) = (source, to) else {
        return Ok(false);
    };
    let binding = Binding {
        vhost: document.vhost,
        source: document.source,
        destination: document.destination,
        key: document.key,
        arguments: document.arguments,
    };
    let id = binding.id();
    let bound = Bound {
        source: Arc::clone(&source.name),
        target: to.target,
        key: binding.key,
        arguments: binding.arguments,
        durable: true,
    };
    inner
        .routing_tables
        .write(&binding.vhost, |routing| routing.bind(id, bound))?;
    Ok(true)
}
