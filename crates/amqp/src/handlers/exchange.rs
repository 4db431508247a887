//! Class `exchange`: made, compared, removed, bound to one another.

use std::sync::Arc;

use engine::exchange::{Binding, Destination, Exchange, Kind, NewExchange};
use engine::{Error, vhost};

use super::names::{check_not_default, check_reserved, is_reserved, plain, text};
use super::unimplemented;
use crate::arguments::{inequivalent, shown_argument, wrong_type};
use crate::error::{Access, Fault, Outcome, exchange_text};
use crate::session::Session;
use crate::tables;
use crate::wire::exchange::{
    Bind, BindOk, Declare, DeclareOk, Delete, DeleteOk, Method as Methods, Unbind, UnbindOk,
};
use crate::wire::{Table, Value};

/// Names where messages go that find nothing.
const ALTERNATE: &[u8] = b"alternate-exchange";

impl Session {
    pub(super) async fn exchange_method(
        &mut self,
        number: u16,
        method: Methods<'_>,
    ) -> Outcome<()> {
        match method {
            Methods::Declare(declare) => {
                self.declare_exchange(declare).await?;
                if declare.nowait {
                    return Ok(());
                }
                self.say(number, &DeclareOk {})
            }
            Methods::Delete(delete) => {
                self.delete_exchange(delete).await?;
                if delete.nowait {
                    return Ok(());
                }
                self.say(number, &DeleteOk {})
            }
            Methods::Bind(bind) => {
                self.bind_exchange(bind).await?;
                if bind.nowait {
                    return Ok(());
                }
                self.say(number, &BindOk {})
            }
            Methods::Unbind(unbind) => {
                self.unbind_exchange(unbind).await?;
                if unbind.nowait {
                    return Ok(());
                }
                self.say(number, &UnbindOk {})
            }
            Methods::DeclareOk(_)
            | Methods::DeleteOk(_)
            | Methods::BindOk(_)
            | Methods::UnbindOk(_) => Err(unimplemented()),
        }
    }

    fn exchange(&self, name: &str) -> engine::Result<Arc<Exchange>> {
        let broker = &self.context.broker;
        broker
            .on_behalf_of(&self.peer.principal)
            .exchange(&self.peer.vhost, name)
    }

    async fn declare_exchange(&mut self, declare: Declare<'_>) -> Outcome<()> {
        let name = &*plain(declare.exchange)?;
        check_not_default(name)?;
        let known = self.exchange(name);
        let about = self.about(None, Some(name), Access::Configure);
        if declare.passive {
            return known.map(drop).map_err(|error| about.fault(&error));
        }
        let arguments = tables::arguments(declare.arguments);
        let kind = Kind::named(text(declare.kind)?, &arguments);
        let kind = kind.map_err(|error| about.fault(&error.into()))?;
        match known {
            Ok(known) => return compare(&known, &kind, &declare),
            Err(Error::UnknownExchange) => {}
            Err(error) => return Err(about.fault(&error)),
        }
        check_reserved("exchange", name)?;
        let new = NewExchange {
            vhost: self.peer.vhost.clone(),
            name: name.to_owned(),
            kind: kind.clone(),
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            alternate: alternate(declare.arguments, &self.peer.vhost, name)?,
            arguments,
        };
        let broker = &self.context.broker;
        match broker
            .on_behalf_of(&self.peer.principal)
            .declare_exchange(new)
            .await
        {
            Ok(_) => Ok(()),
            // Another request was faster.
            Err(Error::ExchangeExists(_)) => match self.exchange(name) {
                Ok(known) => compare(&known, &kind, &declare),
                Err(error) => Err(about.fault(&error)),
            },
            Err(error) => Err(about.fault(&error)),
        }
    }

    async fn delete_exchange(&mut self, delete: Delete<'_>) -> Outcome<()> {
        let name = &*plain(delete.exchange)?;
        check_not_default(name)?;
        if is_reserved(name) {
            let thing = exchange_text(&self.peer.vhost, name);
            return Err(Fault::refused(format!(
                "deletion of system {thing} not allowed"
            )));
        }
        let broker = &self.context.broker;
        let (principal, vhost) = (&self.peer.principal, &self.peer.vhost);
        let deleted = broker
            .on_behalf_of(principal)
            .delete_exchange(vhost, name, delete.if_unused)
            .await;
        match deleted {
            Ok(()) | Err(Error::UnknownExchange) => Ok(()),
            Err(error) => Err(self
                .about(None, Some(name), Access::Configure)
                .fault(&error)),
        }
    }

    async fn bind_exchange(&mut self, bind: Bind<'_>) -> Outcome<()> {
        let (source, destination) = (&*plain(bind.source)?, &*plain(bind.destination)?);
        check_not_default(source)?;
        check_not_default(destination)?;
        for name in [destination, source] {
            let known = self.exchange(name);
            known.map_err(|error| self.about(None, Some(name), Access::Read).fault(&error))?;
        }
        let binding = self.exchange_binding(source, destination, bind.routing_key, bind.arguments);
        let broker = &self.context.broker;
        let bound = broker
            .on_behalf_of(&self.peer.principal)
            .bind(binding)
            .await;
        bound.map_err(|error| self.about(None, Some(source), Access::Read).fault(&error))
    }

    async fn unbind_exchange(&mut self, unbind: Unbind<'_>) -> Outcome<()> {
        let (source, destination) = (&*plain(unbind.source)?, &*plain(unbind.destination)?);
        check_not_default(source)?;
        check_not_default(destination)?;
        let (key, arguments) = (unbind.routing_key, unbind.arguments);
        let binding = self.exchange_binding(source, destination, key, arguments);
        let broker = &self.context.broker;
        match broker
            .on_behalf_of(&self.peer.principal)
            .unbind(&binding)
            .await
        {
            Ok(()) | Err(Error::UnknownExchange | Error::UnknownQueue) => Ok(()),
            Err(error) => Err(self.about(None, Some(source), Access::Read).fault(&error)),
        }
    }

    fn exchange_binding(
        &self,
        source: &str,
        destination: &str,
        key: &[u8],
        arguments: Table<'_>,
    ) -> Binding {
        Binding {
            vhost: self.peer.vhost.clone(),
            source: source.to_owned(),
            destination: Destination::Exchange(destination.to_owned()),
            key: bytes::Bytes::copy_from_slice(key),
            arguments: tables::arguments(arguments),
        }
    }
}

/// The alternate exchange among the arguments.
fn alternate(arguments: Table<'_>, vhost: &str, name: &str) -> Outcome<Option<String>> {
    let Some(value) = arguments.find(ALTERNATE) else {
        return Ok(None);
    };
    match value {
        Value::Long(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
        other => Err(wrong_type(
            &other,
            "alternate-exchange",
            &exchange_text(vhost, name),
        )),
    }
}

/// Whether a declaration means an exchange that is there.
fn compare(known: &Exchange, kind: &Kind, declare: &Declare<'_>) -> Outcome<()> {
    let vhost = if known.vhost.is_empty() {
        vhost::DEFAULT
    } else {
        &known.vhost
    };
    let thing = exchange_text(vhost, &known.name);
    let document = &known.document;
    if document.kind != *kind {
        let (received, current) = (kind.name(), document.kind.name());
        return Err(inequivalent(
            "type",
            &thing,
            &format!("'{received}'"),
            &format!("'{current}'"),
        ));
    }
    for (name, received, current) in [
        ("durable", declare.durable, known.durable),
        ("auto_delete", declare.auto_delete, document.auto_delete),
        ("internal", declare.internal, document.internal),
    ] {
        if received != current {
            return Err(inequivalent(
                name,
                &thing,
                &format!("'{received}'"),
                &format!("'{current}'"),
            ));
        }
    }
    let current = document.alternate.as_deref().map(str::as_bytes);
    let current = current.map(Value::Long);
    let received = declare.arguments.find(ALTERNATE);
    if current == received {
        return Ok(());
    }
    let bare = current.is_some() && received.is_some();
    Err(inequivalent(
        "alternate-exchange",
        &thing,
        &shown_argument(received, bare),
        &shown_argument(current, bare),
    ))
}
