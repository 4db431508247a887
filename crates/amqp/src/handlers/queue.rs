//! Class `queue`: made, compared, bound, emptied, removed.

use std::sync::Arc;

use engine::exchange::{Binding, Destination};
use engine::queue::{Lifetime, NewQueue, Queue};
use engine::{Error, Removal};

use super::names::{check_not_default, check_reserved, plain, text};
use super::unimplemented;
use crate::arguments::{self, QUEUE_TYPE, QUORUM, STREAM, inequivalent};
use crate::error::{Access, Fault, Outcome, queue_text};
use crate::replies::{REPLY_QUEUE, is_reply_name};
use crate::session::Session;
use crate::tables;
use crate::wire::queue::{
    Bind, BindOk, Declare, DeclareOk, Delete, DeleteOk, Method as Methods, Purge, PurgeOk, Unbind,
    UnbindOk,
};
use crate::wire::{Table, Value};

/// What queues are called whose client leaves that to the broker.
const GENERATED: &str = "amq.gen-";

/// How full a queue is, as clients see it.
struct Fill {
    messages: u32,
    consumers: u32,
}

impl Session {
    pub(super) async fn queue_method(&mut self, number: u16, method: Methods<'_>) -> Outcome<()> {
        match method {
            Methods::Declare(declare) => self.declare_queue(number, declare).await,
            Methods::Bind(bind) => self.bind_queue(number, bind).await,
            Methods::Unbind(unbind) => self.unbind_queue(number, unbind).await,
            Methods::Purge(purge) => self.purge(number, purge).await,
            Methods::Delete(delete) => self.delete_queue(number, delete).await,
            Methods::DeclareOk(_)
            | Methods::BindOk(_)
            | Methods::PurgeOk(_)
            | Methods::DeleteOk(_)
            | Methods::UnbindOk(_) => Err(unimplemented()),
        }
    }

    /// A queue this connection may use.
    pub(super) fn queue(&self, name: &str, access: Access) -> Outcome<Arc<Queue>> {
        let queue = self.engine.queue(&self.qualified(name));
        queue.map_err(|error| self.about(Some(name), None, access).fault(&error))
    }

    async fn declare_queue(&mut self, number: u16, declare: Declare<'_>) -> Outcome<()> {
        let given = &*plain(declare.queue)?;
        if is_reply_name(declare.queue) || declare.queue == REPLY_QUEUE {
            return self.declare_reply_queue(number, &declare);
        }
        // What was published before is counted in the answer.
        self.catch_up().await;
        let name = match given {
            "" if !declare.passive => self.context.fresh_name(GENERATED),
            given => given.to_owned(),
        };
        let queue = if declare.passive {
            self.attach(&name, Access::Configure).await?;
            self.queue(&name, Access::Configure)?
        } else {
            self.queue_declared_so(&name, given.is_empty(), &declare)
                .await?
        };
        self.context.broker.touch_queue(&queue);
        let fill = self.fill(&queue).await;
        self.channel(number).last_queue = Some(name.clone());
        if declare.nowait {
            return Ok(());
        }
        self.say(
            number,
            &DeclareOk {
                queue: name.as_bytes(),
                message_count: fill.messages,
                consumer_count: fill.consumers,
            },
        )
    }

    async fn fill(&self, queue: &Queue) -> Fill {
        let broker = &self.context.broker;
        let depth = broker
            .on_behalf_of(&self.peer.principal)
            .queue_depth(&queue.name)
            .await;
        // What waits for a retry or for its time is there too.
        let there = depth.map_or(0, |depth| depth.ready + depth.delayed);
        Fill {
            messages: u32::try_from(there).unwrap_or(u32::MAX),
            consumers: broker.consumers(queue),
        }
    }

    /// Answers are waited for under names that look like queues of one consumer.
    fn declare_reply_queue(&mut self, number: u16, declare: &Declare<'_>) -> Outcome<()> {
        let is_there = declare.queue == REPLY_QUEUE || self.context.replies.has(declare.queue);
        if !is_there {
            let name = text(declare.queue)?;
            return Err(Fault::not_found(format!(
                "no {}",
                queue_text(&self.peer.vhost, name)
            )));
        }
        if declare.nowait {
            return Ok(());
        }
        self.say(
            number,
            &DeclareOk {
                queue: declare.queue,
                message_count: 0,
                consumer_count: 1,
            },
        )
    }

    /// The queue of that name, made unless it is there and meant.
    async fn queue_declared_so(
        &mut self,
        name: &str,
        is_generated: bool,
        declare: &Declare<'_>,
    ) -> Outcome<Arc<Queue>> {
        if !is_generated {
            check_reserved("queue", name)?;
        }
        let vhost = &self.peer.vhost;
        arguments::check(vhost, name, &declare.arguments)?;
        check_type(vhost, name, declare)?;
        if let Some(known) = self.known_queue(name, Access::Configure)? {
            self.compare(name, &known, declare)?;
            return Ok(known);
        }
        let new = NewQueue {
            name: self.qualified(name).into_owned(),
            settings: self.settings_of(declare),
            topic: None,
        };
        let broker = &self.context.broker;
        match broker
            .on_behalf_of(&self.peer.principal)
            .create_queue(new)
            .await
        {
            Ok(queue) => Ok(queue),
            // Another request was faster.
            Err(Error::QueueExists(_)) => {
                let known = self.queue(name, Access::Configure)?;
                self.compare(name, &known, declare)?;
                Ok(known)
            }
            Err(error) => Err(self
                .about(Some(name), None, Access::Configure)
                .fault(&error)),
        }
    }

    fn known_queue(&self, name: &str, access: Access) -> Outcome<Option<Arc<Queue>>> {
        match self.engine.queue(&self.qualified(name)) {
            Ok(queue) => Ok(Some(queue)),
            Err(Error::UnknownQueue) => Ok(None),
            Err(error) => Err(self.about(Some(name), None, access).fault(&error)),
        }
    }

    fn settings_of(&self, declare: &Declare<'_>) -> engine::queue::QueueSettings {
        let keeps_durable = declare.durable && declare.exclusive;
        let mut settings = arguments::apply(&declare.arguments, keeps_durable);
        settings.lifetime = Lifetime {
            transient: !declare.durable || declare.exclusive,
            auto_delete: declare.auto_delete,
            owner: declare.exclusive.then(|| self.engine.id()),
        };
        settings
    }

    /// Whether a declaration means a queue that is there.
    fn compare(&self, name: &str, known: &Queue, declare: &Declare<'_>) -> Outcome<()> {
        let vhost = &self.peer.vhost;
        let declared = arguments::declared(known, &declare.arguments);
        for (what, received, current) in [
            ("durable", declare.durable, declared.durable),
            ("auto_delete", declare.auto_delete, declared.auto_delete),
        ] {
            if received != current {
                return Err(inequivalent(
                    what,
                    &queue_text(vhost, name),
                    &format!("'{received}'"),
                    &format!("'{current}'"),
                ));
            }
        }
        if declare.exclusive != declared.exclusive {
            let about = self.about(Some(name), None, Access::Configure);
            return Err(about.fault(&Error::Locked));
        }
        arguments::check_equivalent((vhost, name), declared.arguments(), declare.arguments)
    }

    async fn bind_queue(&mut self, number: u16, bind: Bind<'_>) -> Outcome<()> {
        let exchange = &*plain(bind.exchange)?;
        let binding = self.binding(
            number,
            (bind.queue, exchange),
            bind.routing_key,
            bind.arguments,
        )?;
        let Destination::Queue(name) = binding.destination.clone() else {
            return Err(unimplemented());
        };
        self.attach(&name, Access::Write).await?;
        self.queue(&name, Access::Write)?;
        let broker = &self.context.broker;
        let bound = broker
            .on_behalf_of(&self.peer.principal)
            .bind(binding)
            .await;
        bound.map_err(|error| {
            self.about(Some(&name), Some(exchange), Access::Write)
                .fault(&error)
        })?;
        if bind.nowait {
            return Ok(());
        }
        self.say(number, &BindOk {})
    }

    async fn unbind_queue(&mut self, number: u16, unbind: Unbind<'_>) -> Outcome<()> {
        let exchange = &*plain(unbind.exchange)?;
        let binding = self.binding(
            number,
            (unbind.queue, exchange),
            unbind.routing_key,
            unbind.arguments,
        )?;
        let Destination::Queue(name) = binding.destination.clone() else {
            return Err(unimplemented());
        };
        let access = self.engine.access();
        // What is not bound is unbound already, whichever session has the queue.
        if access.has_binding(&binding) {
            self.known_queue(&name, Access::Write)?;
        }
        match access.unbind(&binding).await {
            Ok(()) | Err(Error::UnknownExchange | Error::UnknownQueue) => {}
            Err(error) => {
                let about = self.about(Some(&name), Some(exchange), Access::Write);
                return Err(about.fault(&error));
            }
        }
        self.say(number, &UnbindOk {})
    }

    /// The binding a client means; an empty key without a queue stands for the queue's name.
    fn binding(
        &self,
        number: u16,
        (queue, exchange): (&[u8], &str),
        key: &[u8],
        arguments: Table<'_>,
    ) -> Outcome<Binding> {
        check_not_default(exchange)?;
        let name = self.queue_name(number, queue)?;
        let key = if queue.is_empty() && key.is_empty() {
            name.as_bytes()
        } else {
            key
        };
        Ok(Binding {
            vhost: self.peer.vhost.clone(),
            source: exchange.to_owned(),
            key: bytes::Bytes::copy_from_slice(key),
            destination: Destination::Queue(name),
            arguments: tables::arguments(arguments),
        })
    }

    async fn purge(&mut self, number: u16, purge: Purge<'_>) -> Outcome<()> {
        self.catch_up().await;
        let name = self.queue_name(number, purge.queue)?;
        let queue = self.queue(&name, Access::Read)?;
        if queue.settings().stream {
            let thing = queue_text(&self.peer.vhost, &name);
            let text = format!("queue.purge not supported by stream queues {thing}");
            return Err(Fault::not_implemented(text));
        }
        let broker = &self.context.broker;
        let cleared = broker
            .on_behalf_of(&self.peer.principal)
            .clear_queue(&queue.name)
            .await;
        let count =
            cleared.map_err(|error| self.about(Some(&name), None, Access::Read).fault(&error))?;
        if purge.nowait {
            return Ok(());
        }
        let message_count = u32::try_from(count).unwrap_or(u32::MAX);
        self.say(number, &PurgeOk { message_count })
    }

    async fn delete_queue(&mut self, number: u16, delete: Delete<'_>) -> Outcome<()> {
        self.catch_up().await;
        let name = self.queue_name(number, delete.queue)?;
        let count = match self.known_queue(&name, Access::Configure)? {
            Some(queue) => self.remove(&name, &queue, &delete).await?,
            None => 0,
        };
        if delete.nowait {
            return Ok(());
        }
        let message_count = u32::try_from(count).unwrap_or(u32::MAX);
        self.say(number, &DeleteOk { message_count })
    }

    async fn remove(&self, name: &str, queue: &Queue, delete: &Delete<'_>) -> Outcome<u64> {
        let removal = Removal {
            id: Some(queue.id()),
            if_unused: delete.if_unused,
            if_empty: delete.if_empty,
        };
        let broker = &self.context.broker;
        let principal = &self.peer.principal;
        match broker
            .on_behalf_of(principal)
            .delete_queue_if(&queue.name, removal)
            .await
        {
            Ok(count) => Ok(count),
            Err(Error::UnknownQueue) => Ok(0),
            Err(error) => Err(self
                .about(Some(name), None, Access::Configure)
                .fault(&error)),
        }
    }
}

/// What a type of queue cannot be.
fn check_type(vhost: &str, name: &str, declare: &Declare<'_>) -> Outcome<()> {
    let kind = declare.arguments.find(QUEUE_TYPE);
    let is_quorum = kind == Some(Value::Long(QUORUM));
    let is_stream = kind == Some(Value::Long(STREAM));
    let refuse = |property: &str| {
        let thing = queue_text(vhost, name);
        Err(Fault::precondition(format!(
            "invalid property '{property}' for {thing}"
        )))
    };
    if is_stream && declare.auto_delete {
        return refuse("auto-delete");
    }
    let is_kept = is_quorum || is_stream;
    if is_kept && !declare.durable {
        return refuse("non-durable");
    }
    if is_kept && declare.exclusive {
        return refuse("exclusive-owner");
    }
    Ok(())
}
