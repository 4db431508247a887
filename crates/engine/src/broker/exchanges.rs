//! Exchanges and bindings through the door: make, find, connect and remove them; ask where a message goes.

use std::borrow::Cow;
use std::sync::Arc;

use security::{Resource, Verb};
use tokio::sync::oneshot;

use super::command::{Command, ExchangeCommand};
use super::{Access, Broker, Inner};
use crate::exchange::{
    Binding, DEFAULT, Destination, Exchange, NewExchange, NoHeaders, Route, Routed, Target,
    VhostRouting,
};
use crate::{Error, Result, vhost};

impl Access {
    /// Makes an exchange. Errors: `ExchangeExists`, `InvalidName`, `InvalidConfig`, `UnknownVhost`.
    pub async fn declare_exchange(&self, exchange: NewExchange) -> Result<Arc<Exchange>> {
        let qualified = qualified(&exchange.vhost, &exchange.name);
        self.authorize(Verb::Create, Resource::Exchange(&qualified))?;
        if let Some(alternate) = &exchange.alternate {
            let alternate = vhost::qualify(&exchange.vhost, alternate);
            self.authorize(Verb::Consume, Resource::Exchange(&qualified))?;
            self.authorize(Verb::Publish, Resource::Exchange(&alternate))?;
        }
        drop(qualified);
        let new = Box::new(exchange);
        self.exchange_command(|done| ExchangeCommand::Declare { new, done })
            .await
    }

    /// One exchange, if the principal may see it. Errors: `Denied`, `UnknownVhost`, `UnknownExchange`.
    pub fn exchange(&self, vhost: &str, name: &str) -> Result<Arc<Exchange>> {
        let qualified = qualified(vhost, name);
        self.authorize(Verb::Describe, Resource::Exchange(&qualified))?;
        let routing_tables = &self.inner.routing_tables;
        let found = routing_tables.read(vhost, |routing| routing.exchange(name).cloned())?;
        found.ok_or(Error::UnknownExchange)
    }

    /// The exchanges of a vhost that the principal may see, in name order, the standard ones included.
    pub fn exchanges(&self, vhost: &str) -> Vec<Arc<Exchange>> {
        let routing_tables = &self.inner.routing_tables;
        let all = routing_tables.read(vhost, |routing| routing.exchanges().cloned().collect());
        let mut all: Vec<Arc<Exchange>> = all.unwrap_or_default();
        all.retain(|exchange| self.may_see(Resource::Exchange(&qualified(vhost, &exchange.name))));
        all
    }

    /// The bindings of a vhost both ends of which the principal may see, in no order; the default exchange has none that
    /// could be listed.
    pub fn bindings(&self, vhost: &str) -> Vec<Binding> {
        let routing_tables = &self.inner.routing_tables;
        let all = routing_tables.read(vhost, |routing| routing.bindings().collect());
        self.visible(all.unwrap_or_default())
    }

    /// Whether there is that binding, and the principal may see both its ends.
    pub fn has_binding(&self, binding: &Binding) -> bool {
        let known = |routing: &VhostRouting| routing.has_binding(binding.id());
        let is_there = self.inner.routing_tables.read(&binding.vhost, known);
        is_there.unwrap_or(false) && self.may_see_binding(binding)
    }

    fn visible(&self, mut bindings: Vec<Binding>) -> Vec<Binding> {
        bindings.retain(|binding| self.may_see_binding(binding));
        bindings
    }

    fn may_see_binding(&self, binding: &Binding) -> bool {
        let vhost = &binding.vhost;
        let sees_end = match &binding.destination {
            Destination::Queue(name) => self.may_see(Resource::Queue(&qualified(vhost, name))),
            Destination::Exchange(name) => {
                self.may_see(Resource::Exchange(&qualified(vhost, name)))
            }
        };
        sees_end && self.may_see(Resource::Exchange(&qualified(vhost, &binding.source)))
    }

    /// The bindings that lead from an exchange.
    pub fn bindings_from(&self, vhost: &str, source: &str) -> Vec<Binding> {
        let routing_tables = &self.inner.routing_tables;
        let all = routing_tables.read(vhost, |routing| routing.bindings_from(source).collect());
        self.visible(all.unwrap_or_default())
    }

    /// The bindings that lead to a queue or an exchange.
    pub fn bindings_to(&self, vhost: &str, destination: &Destination) -> Vec<Binding> {
        let target = match destination {
            Destination::Queue(name) => Target::Queue(Arc::from(&*qualified(vhost, name))),
            Destination::Exchange(name) => Target::Exchange(Arc::from(&**name)),
        };
        let routing_tables = &self.inner.routing_tables;
        let all = routing_tables.read(vhost, |routing| routing.bindings_to(&target).collect());
        self.visible(all.unwrap_or_default())
    }

    /// Removes an exchange with all bindings from and to it. Errors: `UnknownVhost`, `UnknownExchange`, `InUse` when it
    /// has bindings and `if_unused` is asked for, `InvalidRequest` for those that every vhost has.
    pub async fn delete_exchange(&self, vhost: &str, name: &str, if_unused: bool) -> Result<()> {
        let qualified = qualified(vhost, name);
        self.authorize(Verb::Delete, Resource::Exchange(&qualified))?;
        let (vhost, name) = (vhost.to_owned(), name.to_owned());
        self.exchange_command(|done| ExchangeCommand::Delete {
            vhost,
            name,
            if_unused,
            done,
        })
        .await
    }

    /// Binds; what is bound already stays so. Errors: `UnknownVhost`, `UnknownExchange`, `UnknownQueue`,
    /// `InvalidConfig` for key and arguments, `InvalidRequest` for the default exchange.
    pub async fn bind(&self, binding: Binding) -> Result<()> {
        self.may_bind(&binding)?;
        let binding = Box::new(binding);
        self.exchange_command(|done| ExchangeCommand::Bind { binding, done })
            .await
    }

    /// Takes a binding away; one that is not there is no error. Errors: `UnknownVhost`, `InvalidRequest` for the
    /// default exchange.
    pub async fn unbind(&self, binding: &Binding) -> Result<()> {
        self.may_bind(binding)?;
        let binding = Box::new(binding.clone());
        self.exchange_command(|done| ExchangeCommand::Unbind { binding, done })
            .await
    }

    /// Where a message goes that is published to an exchange. Errors: `Denied`, `UnknownVhost`, `UnknownExchange`,
    /// `InvalidRequest` for an internal exchange.
    pub fn route(&self, vhost: &str, exchange: &str, routed: &Routed<'_>) -> Result<Route> {
        let qualified = qualified(vhost, exchange);
        self.authorize(Verb::Publish, Resource::Exchange(&qualified))?;
        self.inner.route(vhost, exchange, routed)
    }

    /// Reading from the source, and writing to where it leads.
    fn may_bind(&self, binding: &Binding) -> Result<()> {
        let source = qualified(&binding.vhost, &binding.source);
        self.authorize(Verb::Consume, Resource::Exchange(&source))?;
        match &binding.destination {
            Destination::Queue(name) => {
                let name = qualified(&binding.vhost, name);
                self.authorize(Verb::Publish, Resource::Queue(&name))
            }
            Destination::Exchange(name) => {
                let name = qualified(&binding.vhost, name);
                self.authorize(Verb::Publish, Resource::Exchange(&name))
            }
        }
    }

    async fn exchange_command<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T>>) -> ExchangeCommand,
    ) -> Result<T> {
        self.command(|done| Command::Exchange(make(done))).await
    }
}

impl Broker {
    /// Where a message goes that the broker itself publishes to an exchange of a vhost, on nobody's behalf: a copy of what was
    /// published or delivered there. Errors: `UnknownVhost`, `UnknownExchange`.
    pub fn route_of_broker(&self, vhost: &str, exchange: &str, key: &[u8]) -> Result<Route> {
        let routed = Routed {
            keys: &[key],
            headers: &NoHeaders,
            publisher: false,
        };
        self.inner.route(vhost, exchange, &routed)
    }
}

impl Inner {
    /// Where a message goes, without authorization. Errors: as [`Access::route`].
    pub(super) fn route(&self, vhost: &str, exchange: &str, routed: &Routed<'_>) -> Result<Route> {
        // A publish to a queue by its name is the most frequent of all, and asks no table of exchanges.
        if exchange == DEFAULT {
            let mut route = Route::default();
            self.by_name(vhost, routed, &mut route);
            return Ok(route);
        }
        let draw = || self.draw();
        let found = self
            .routing_tables
            .read(vhost, |routing| routing.route(exchange, routed, &draw))??;
        let mut route = Route {
            queues: self.queues.all_named(&found.queues),
            delay_ms: found.delay_ms,
        };
        if found.by_name {
            self.by_name(vhost, routed, &mut route);
        }
        Ok(route)
    }

    /// Adds the queues that bear the message's keys as names.
    fn by_name(&self, vhost: &str, routed: &Routed<'_>, route: &mut Route) {
        for key in routed.keys {
            let Ok(name) = std::str::from_utf8(key) else {
                continue;
            };
            if let Some(queue) = self.queues.named(&qualified(vhost, name))
                && !route.queues.iter().any(|known| known.id() == queue.id())
            {
                route.queues.push(queue);
            }
        }
    }

    /// An even draw.
    fn draw(&self) -> u64 {
        let (high, low) = self.random.fresh_id().as_u64_pair();
        // Some bits of an identity say what kind it is: all others take their part.
        (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8
    }
}

/// As [`vhost::qualify`], without a copy where the name is what it was.
fn qualified<'n>(vhost: &str, name: &'n str) -> Cow<'n, str> {
    if vhost == vhost::DEFAULT {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(vhost::qualify(vhost, name))
    }
}
