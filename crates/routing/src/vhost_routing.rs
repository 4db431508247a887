//! The exchanges and bindings of one vhost: a graph, changed one binding at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::binding::{Binding, BindingId, Destination};
use crate::error::{Error, Result};
use crate::exchange::{DEFAULT, Exchange, ExchangeDocument, STANDARD};
use crate::kind::{self, Kind};
use crate::message::Routed;
use crate::names;
use crate::table::Table;
use crate::targets::Target;
use crate::value::{Arguments, Value};

/// Header that says how long a message waits, where its exchange delays, ms.
const DELAY: &[u8] = b"x-delay";
/// Longest such wait, ms: a hundred years.
const DELAY_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;

/// An exchange with its bindings.
#[derive(Debug)]
struct Node {
    exchange: Arc<Exchange>,
    /// Its alternate, where it was declared without one.
    by_policy: Option<Arc<str>>,
    table: Table,
    outgoing: BTreeSet<BindingId>,
}

/// A binding in its place.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Plain name of the exchange it leads from.
    pub source: Arc<str>,
    /// Where it leads.
    pub target: Target,
    /// What the exchange's kind makes of it.
    pub key: Bytes,
    /// What else was said about it.
    pub arguments: Arguments,
    /// It survives a restart.
    pub durable: bool,
}

/// What went with something that was removed.
#[derive(Debug, Default)]
pub struct Removed {
    /// Exchanges, the stored ones and others.
    pub exchanges: Vec<Arc<Exchange>>,
    /// Bindings that are stored.
    pub bindings: Vec<BindingId>,
}

/// Where a message was found to go.
#[derive(Debug, Default)]
pub struct Found {
    /// Queues by qualified name, each once.
    pub queues: Vec<Arc<str>>,
    /// Also to the queues that bear its keys as names.
    pub by_name: bool,
    /// How long it waits there, ms, where its exchange delays.
    pub delay_ms: Option<u64>,
}

/// One vhost.
#[derive(Debug)]
pub struct VhostRouting {
    vhost: Arc<str>,
    nodes: BTreeMap<Arc<str>, Node>,
    bindings: BTreeMap<BindingId, Bound>,
    incoming: BTreeMap<Target, BTreeSet<BindingId>>,
    /// Topic exchanges that only the broker publishes to.
    internal: Arc<[String]>,
}

impl VhostRouting {
    /// A vhost with what every vhost has.
    #[cfg(test)]
    pub(crate) fn new(vhost: &str) -> Self {
        Self::with(vhost, &Arc::default())
    }

    /// The same with these topic exchanges that only the broker publishes to.
    pub fn with(vhost: &str, internal: &Arc<[String]>) -> Self {
        let mut routing = Self {
            vhost: Arc::from(vhost),
            nodes: BTreeMap::new(),
            bindings: BTreeMap::new(),
            incoming: BTreeMap::new(),
            internal: Arc::clone(internal),
        };
        let open = STANDARD.into_iter().chain([(DEFAULT, Kind::Direct)]);
        let open = open.map(|(name, kind)| (name, kind, false));
        let own = internal.iter().map(|name| (&**name, Kind::Topic, true));
        for (name, kind, internal) in open.chain(own) {
            routing.insert(&Arc::new(Exchange {
                vhost: Arc::clone(&routing.vhost),
                name: Arc::from(name),
                durable: true,
                document: ExchangeDocument {
                    id: Uuid::nil(),
                    kind,
                    auto_delete: false,
                    internal,
                    alternate: None,
                    arguments: Arguments::new(),
                },
            }));
        }
        routing
    }

    /// The exchange of that name.
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.nodes.get(name).map(|node| &node.exchange)
    }

    /// All exchanges in name order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.nodes.values().map(|node| &node.exchange)
    }

    /// Adds an exchange of a name that is free.
    pub fn insert(&mut self, exchange: &Arc<Exchange>) {
        let document = &exchange.document;
        let table = Table::new(&document.kind, &document.arguments);
        let outgoing = BTreeSet::new();
        let node = Node {
            by_policy: None,
            table,
            outgoing,
            exchange: Arc::clone(exchange),
        };
        self.nodes.insert(Arc::clone(&exchange.name), node);
    }

    /// Has exchanges know their alternates, where they were declared without one.
    pub fn set_alternates(&mut self, find: impl Fn(&str) -> Option<Arc<str>>) {
        for (name, node) in &mut self.nodes {
            node.by_policy = find(name);
        }
    }

    /// Has one exchange know its alternate, where it was declared without one.
    pub fn set_alternate(&mut self, name: &str, alternate: Option<Arc<str>>) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.by_policy = alternate;
        }
    }

    /// Whether there is that binding.
    pub fn has_binding(&self, id: BindingId) -> bool {
        self.bindings.contains_key(&id)
    }

    /// How many exchanges and bindings there are, those that every vhost has left out.
    pub fn counts(&self) -> (usize, usize) {
        let standard = STANDARD.len() + 1 + self.internal.len();
        (self.nodes.len() - standard, self.bindings.len())
    }

    /// Whether no binding leads from an exchange.
    pub fn is_unused(&self, name: &str) -> bool {
        self.nodes
            .get(name)
            .is_none_or(|node| node.outgoing.is_empty())
    }

    /// Checks that an exchange of this name takes a binding. Errors: `UnknownExchange`, `InvalidConfig`.
    pub fn check_binding(&self, binding: &Binding) -> Result<Arc<Exchange>> {
        let source = self.exchange(&binding.source);
        let source = source.ok_or(Error::UnknownExchange)?;
        kind::check_binding(&source.document.kind, &binding.key, &binding.arguments)?;
        Ok(Arc::clone(source))
    }

    /// Adds a binding whose source is there, and that is not there itself.
    pub fn bind(&mut self, id: BindingId, bound: Bound) {
        let Some(node) = self.nodes.get_mut(&bound.source) else {
            return;
        };
        node.table
            .add(id, &bound.key, &bound.arguments, &bound.target);
        node.outgoing.insert(id);
        let target = bound.target.clone();
        self.incoming.entry(target).or_default().insert(id);
        self.bindings.insert(id, bound);
    }

    /// Takes a binding out, and what rested on it.
    pub fn unbind(&mut self, id: BindingId) -> Removed {
        let (mut removed, mut idle) = (Removed::default(), Vec::new());
        self.take_binding(id, &mut removed, &mut idle);
        self.take_idle(removed, idle)
    }

    /// Takes out all bindings that lead to a queue, and what rested on them.
    pub fn forget_queue(&mut self, qualified: &Arc<str>) -> Removed {
        let (mut removed, mut idle) = (Removed::default(), Vec::new());
        let target = Target::Queue(Arc::clone(qualified));
        for id in self.incoming.remove(&target).unwrap_or_default() {
            self.take_binding(id, &mut removed, &mut idle);
        }
        self.take_idle(removed, idle)
    }

    /// Takes an exchange out with all bindings from and to it.
    pub fn remove(&mut self, name: &str) -> Removed {
        let (mut removed, mut idle) = (Removed::default(), Vec::new());
        self.take_exchange(name, &mut removed, &mut idle);
        self.take_idle(removed, idle)
    }

    /// Takes everything out but what every vhost has.
    pub fn clear(&mut self) -> Removed {
        let mut removed = Removed::default();
        let before = std::mem::replace(self, Self::with(&self.vhost, &self.internal));
        let exchanges = before.nodes.into_values().map(|node| node.exchange);
        removed.exchanges = exchanges.filter(|gone| !gone.is_standard()).collect();
        let stored = before.bindings.into_iter().filter(|(_, b)| b.durable);
        removed.bindings = stored.map(|(id, _)| id).collect();
        removed
    }

    /// Takes an exchange out that goes with its last binding, if that is gone.
    pub fn remove_if_idle(&mut self, name: &Arc<str>) -> Removed {
        self.take_idle(Removed::default(), vec![Arc::clone(name)])
    }

    fn take_binding(&mut self, id: BindingId, removed: &mut Removed, idle: &mut Vec<Arc<str>>) {
        let Some(bound) = self.bindings.remove(&id) else {
            return;
        };
        removed.bindings.extend(bound.durable.then_some(id));
        if let Some(to_target) = self.incoming.get_mut(&bound.target) {
            to_target.remove(&id);
            if to_target.is_empty() {
                self.incoming.remove(&bound.target);
            }
        }
        if let Some(node) = self.nodes.get_mut(&bound.source) {
            node.table.remove(id, &bound.key, &bound.target);
            node.outgoing.remove(&id);
            if node.outgoing.is_empty() {
                idle.push(bound.source);
            }
        }
    }

    fn take_exchange(&mut self, name: &str, removed: &mut Removed, idle: &mut Vec<Arc<str>>) {
        let Some((name, node)) = self.nodes.remove_entry(name) else {
            return;
        };
        let incoming = self.incoming.remove(&Target::Exchange(name));
        for id in node
            .outgoing
            .into_iter()
            .chain(incoming.unwrap_or_default())
        {
            self.take_binding(id, removed, idle);
        }
        removed.exchanges.push(node.exchange);
    }

    /// Exchanges without bindings go if they were made so, and with them what leads to them, and so on.
    fn take_idle(&mut self, mut removed: Removed, mut idle: Vec<Arc<str>>) -> Removed {
        while let Some(name) = idle.pop() {
            let goes = self
                .nodes
                .get(&name)
                .is_some_and(|node| node.exchange.document.auto_delete && node.outgoing.is_empty());
            if goes {
                self.take_exchange(&name, &mut removed, &mut idle);
            }
        }
        removed
    }

    /// Where a message goes that is published to `name`. Errors: `UnknownExchange`; `Internal` when a client
    /// publishes to an internal exchange.
    pub fn route(&self, name: &str, routed: &Routed<'_>, draw: &dyn Fn() -> u64) -> Result<Found> {
        let first = self.nodes.get(name).ok_or(Error::UnknownExchange)?;
        if first.exchange.document.internal && routed.publisher {
            return Err(Error::Internal {
                exchange: name.to_owned(),
                vhost: (*self.vhost).to_owned(),
            });
        }
        let mut found = Found {
            delay_ms: delay(&first.exchange, routed),
            ..Found::default()
        };
        let mut queues: Vec<&Arc<str>> = Vec::new();
        let mut walk = Walk {
            routing: self,
            first,
            open: vec![first],
            seen: BTreeSet::new(),
        };
        let mut targets = Vec::new();
        let mut repeats = first.table.repeats(routed);
        while let Some(node) = walk.open.pop() {
            if &*node.exchange.name == DEFAULT {
                found.by_name = true;
                continue;
            }
            node.table.find(routed, draw, &mut targets);
            let declared = node.exchange.document.alternate.as_deref();
            if let Some(name) = declared.or(node.by_policy.as_deref())
                && targets.is_empty()
            {
                walk.follow(name);
            }
            for target in targets.drain(..) {
                match target {
                    Target::Queue(queue) => queues.push(queue),
                    Target::Exchange(name) => walk.follow(name),
                }
            }
            repeats |= !walk.open.is_empty();
        }
        if repeats {
            queues.sort_unstable();
            queues.dedup();
        }
        found.queues = queues.into_iter().cloned().collect();
        Ok(found)
    }

    /// All bindings.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.bindings.values().map(|bound| self.binding(bound))
    }

    /// The bindings that lead from an exchange.
    pub fn bindings_from(&self, name: &str) -> impl Iterator<Item = Binding> {
        let node = self.nodes.get(name).into_iter();
        self.listed(node.flat_map(|node| &node.outgoing))
    }

    /// The bindings that lead to a target.
    pub fn bindings_to(&self, target: &Target) -> impl Iterator<Item = Binding> {
        self.listed(self.incoming.get(target).into_iter().flatten())
    }

    fn listed<'s>(
        &'s self,
        ids: impl Iterator<Item = &'s BindingId>,
    ) -> impl Iterator<Item = Binding> {
        ids.filter_map(|id| Some(self.binding(self.bindings.get(id)?)))
    }

    fn binding(&self, bound: &Bound) -> Binding {
        let destination = match &bound.target {
            Target::Queue(qualified) => Destination::Queue(names::split(qualified).1.to_owned()),
            Target::Exchange(name) => Destination::Exchange((**name).to_owned()),
        };
        Binding {
            vhost: (*self.vhost).to_owned(),
            source: (*bound.source).to_owned(),
            destination,
            key: bound.key.clone(),
            arguments: bound.arguments.clone(),
        }
    }
}

/// A message's way through exchanges.
struct Walk<'s> {
    routing: &'s VhostRouting,
    first: &'s Node,
    open: Vec<&'s Node>,
    /// Where it was, the first one left out: most messages go no further than that.
    seen: BTreeSet<&'s str>,
}

impl Walk<'_> {
    /// Goes on to an exchange, unless the message was there already.
    fn follow(&mut self, name: &str) {
        if let Some((name, node)) = self.routing.nodes.get_key_value(name)
            && !std::ptr::eq(node, self.first)
            && self.seen.insert(name)
        {
            self.open.push(node);
        }
    }
}

/// How long a message waits that is published to an exchange.
fn delay(exchange: &Exchange, routed: &Routed<'_>) -> Option<u64> {
    if !matches!(exchange.document.kind, Kind::Delayed(_)) {
        return None;
    }
    let millis = match routed.headers.value(DELAY)? {
        Value::Int(millis) => u64::try_from(millis).ok()?,
        Value::Text(text) => std::str::from_utf8(&text).ok()?.parse().ok()?,
        _ => return None,
    };
    Some(millis.min(DELAY_MS_MAX)).filter(|millis| *millis > 0)
}
