//! The firehose: while a vhost is traced, a copy of every message that is published or delivered in it goes to an exchange
//! of its own, with who did it, where, and the properties it had.

use engine::Outgoing;
use engine::exchange::Route;
use engine::queue::Delivered;
use engine::vhost;

use crate::channel::Message;
use crate::message;
use crate::session::Session;
use crate::wire::{ArrayBuilder, Properties, TableBuilder, Value};

/// Where copies go.
pub const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";
/// The node a copy comes from.
const NODE: &[u8] = b"forebay";

/// What is copied.
struct Copied<'m> {
    exchange: &'m [u8],
    keys: Vec<&'m [u8]>,
    properties: &'m [u8],
    body: &'m bytes::Bytes,
}

impl Session {
    /// Whether copies are wanted.
    pub(crate) fn is_traced(&self) -> bool {
        self.peer.space.is_traced()
    }

    /// A message is published; `properties` are those it travels with.
    pub(crate) fn trace_publish(
        &mut self,
        number: u16,
        message: &Message,
        (keys, properties): (&[&[u8]], &[u8]),
        route: &Route,
    ) {
        let exchange = &message.envelope.exchange[..];
        let mut queues = ArrayBuilder::new();
        for queue in route.queues() {
            let (_, name) = vhost::split(&queue.name);
            let _ = queues.push(Value::Long(name.as_bytes()));
        }
        let copied = Copied {
            exchange,
            keys: [&[&message.envelope.key[..]], keys].concat(),
            properties,
            body: &message.body,
        };
        let mut table = self.copied(number, &copied);
        push(
            &mut table,
            b"routed_queues",
            Value::Array(queues.as_array()),
        );
        self.send_copy((&b"publish."[..], exchange), &copied, &table);
    }

    /// A message is delivered from a queue, with these properties.
    pub(crate) fn trace_deliver(
        &mut self,
        number: u16,
        message: &Delivered,
        (queue, redelivered): (&str, bool),
        properties: &[u8],
    ) {
        let (exchange, key) = message::route_of(message, queue);
        // A copy is not copied again.
        if exchange == TRACE_EXCHANGE.as_bytes() {
            return;
        }
        let keys = match &message.keys[..] {
            [] => vec![key],
            keys => keys.iter().map(|key| &key[..]).collect(),
        };
        let copied = Copied {
            exchange,
            keys,
            properties,
            body: &message.body,
        };
        let mut table = self.copied(number, &copied);
        let redelivered = Value::I32(redelivered.into());
        push(&mut table, b"redelivered", redelivered);
        self.send_copy((&b"deliver."[..], queue.as_bytes()), &copied, &table);
    }

    /// The headers of a copy.
    fn copied(&self, number: u16, copied: &Copied<'_>) -> TableBuilder {
        let mut keys = ArrayBuilder::new();
        for key in &copied.keys {
            let _ = keys.push(Value::Long(key));
        }
        let properties = Properties::decode(copied.properties).unwrap_or_default();
        let properties = shown(&properties);
        let connection = self.name();
        let mut table = TableBuilder::new();
        for (name, value) in [
            (&b"exchange_name"[..], Value::Long(copied.exchange)),
            (b"routing_keys", Value::Array(keys.as_array())),
            (b"properties", Value::Table(properties.as_table())),
            (b"node", Value::Long(NODE)),
            (b"vhost", Value::Long(self.peer.vhost.as_bytes())),
            (b"connection", Value::Long(connection.as_bytes())),
            (b"channel", Value::I32(number.into())),
            (b"user", Value::Long(self.peer.principal.name.as_bytes())),
        ] {
            push(&mut table, name, value);
        }
        table
    }

    fn send_copy(&mut self, (what, of): (&[u8], &[u8]), copied: &Copied<'_>, table: &TableBuilder) {
        let key = [what, of].concat();
        let broker = &self.context.broker;
        let route = broker.route_of_broker(&self.peer.vhost, TRACE_EXCHANGE, &key);
        // Most of the time nobody listens to most of it.
        let Some(route) = route.ok().filter(|route| !route.queues().is_empty()) else {
            return;
        };
        let properties = Properties {
            headers: Some(table.as_table()),
            ..Properties::default()
        };
        let raw = message::encoded(&properties);
        let copy = engine::queue::NewMessage {
            headers: message::plain_headers(&raw, &properties),
            body: copied.body.clone(),
            exchange: Some(bytes::Bytes::from_static(TRACE_EXCHANGE.as_bytes())),
            keys: vec![bytes::Bytes::from(key)],
            ..Default::default()
        };
        if let Some(copy) = Outgoing::new(copy, route) {
            self.publishing.add_copy(copy);
        }
    }
}

fn push(table: &mut TableBuilder, name: &[u8], value: Value<'_>) {
    // The broker's own names fit.
    let _ = table.push(name, value);
}

/// Properties as a table: numbers and texts by the names the specification has for them.
fn shown(properties: &Properties<'_>) -> TableBuilder {
    let number = |number: u64| {
        let small = i32::try_from(number).map(Value::I32);
        small.unwrap_or_else(|_| Value::I64(i64::try_from(number).unwrap_or(i64::MAX)))
    };
    let mut table = TableBuilder::new();
    for (name, value) in [
        ("content_type", properties.content_type.map(Value::Long)),
        (
            "content_encoding",
            properties.content_encoding.map(Value::Long),
        ),
        ("headers", properties.headers.map(Value::Table)),
        (
            "delivery_mode",
            properties.delivery_mode.map(|n| number(n.into())),
        ),
        ("priority", properties.priority.map(|n| number(n.into()))),
        ("correlation_id", properties.correlation_id.map(Value::Long)),
        ("reply_to", properties.reply_to.map(Value::Long)),
        ("expiration", properties.expiration.map(Value::Long)),
        ("message_id", properties.message_id.map(Value::Long)),
        ("timestamp", properties.timestamp.map(number)),
        ("type", properties.kind.map(Value::Long)),
        ("user_id", properties.user_id.map(Value::Long)),
        ("app_id", properties.app_id.map(Value::Long)),
        ("cluster_id", properties.cluster_id.map(Value::Long)),
    ] {
        if let Some(value) = value {
            push(&mut table, name.as_bytes(), value);
        }
    }
    table
}
