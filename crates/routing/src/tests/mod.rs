//! Routing: tables of small cases, and random topologies against a matcher that tries everything.

mod kinds;
mod model;
mod paths;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::Result;
use crate::{
    Arguments, Binding, Bound, Destination, Exchange, ExchangeDocument, Headers, Kind, Property,
    Routed, Target, Value, VhostRouting,
};

const VHOST: &str = "/";

/// Headers as a table.
#[derive(Default)]
struct Table(BTreeMap<String, Value>);

impl Headers for Table {
    fn value(&self, name: &[u8]) -> Option<Value> {
        self.0.get(std::str::from_utf8(name).ok()?).cloned()
    }

    fn property(&self, property: Property) -> Option<Value> {
        (property == Property::MessageId)
            .then(|| self.value(b"message-id"))
            .flatten()
    }
}

fn table(headers: &[(&str, Value)]) -> Table {
    let owned = headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
    Table(owned.collect())
}

fn arguments(pairs: &[(&str, Value)]) -> Arguments {
    let owned = pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
    owned.collect()
}

fn document(kind: Kind, arguments: Arguments) -> ExchangeDocument {
    ExchangeDocument {
        id: Uuid::nil(),
        kind,
        auto_delete: false,
        internal: false,
        alternate: None,
        arguments,
    }
}

fn declare(routing: &mut VhostRouting, name: &str, document: ExchangeDocument) {
    routing.insert(&Arc::new(Exchange {
        vhost: Arc::from(VHOST),
        name: Arc::from(name),
        durable: true,
        document,
    }));
}

/// A destination that begins with `q` is a queue's.
fn binding(source: &str, to: &str, key: &str, arguments: Arguments) -> Binding {
    let destination = if to.starts_with('q') {
        Destination::Queue(to.to_owned())
    } else {
        Destination::Exchange(to.to_owned())
    };
    Binding {
        vhost: VHOST.to_owned(),
        source: source.to_owned(),
        destination,
        key: Bytes::copy_from_slice(key.as_bytes()),
        arguments,
    }
}

/// Binds as the broker does.
fn bind(routing: &mut VhostRouting, binding: &Binding) -> Result<()> {
    let source = routing.check_binding(binding)?;
    let id = binding.id();
    if routing.has_binding(id) {
        return Ok(());
    }
    let target = match &binding.destination {
        Destination::Queue(name) => Target::Queue(Arc::from(&**name)),
        Destination::Exchange(name) => Target::Exchange(Arc::from(&**name)),
    };
    let bound = Bound {
        source: Arc::clone(&source.name),
        target,
        key: binding.key.clone(),
        arguments: binding.arguments.clone(),
        durable: true,
    };
    routing.bind(id, bound);
    Ok(())
}

fn routed<'a>(keys: &'a [&'a [u8]], headers: &'a Table) -> Routed<'a> {
    Routed {
        keys,
        headers,
        publisher: true,
    }
}

/// The queues a message with one key and these headers goes to.
fn queues_of(routing: &VhostRouting, exchange: &str, key: &str, headers: &Table) -> Vec<String> {
    let keys = [key.as_bytes()];
    let found = routing.route(exchange, &routed(&keys, headers), &|| 0);
    let queues = found.unwrap().queues;
    queues.iter().map(|queue| (**queue).to_owned()).collect()
}
