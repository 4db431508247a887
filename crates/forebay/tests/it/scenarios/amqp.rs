//! Commands of AMQP clients, over one connection in memory that is opened when it is first needed.

use amqp::wire::{Array, Method, Properties, Table, TableBuilder, Value, basic, exchange, queue};

use super::peer::{Confirm, Delivery, Peer, Refusal};
use super::stage::{Stage, Words};

/// Said of what is to be gone after a restart.
const TRANSIENT: &str = "transient";
const PERSISTENT: u8 = 2;
/// Of an identity as text.
const ID_LENGTH: usize = 36;
/// When every scenario begins, s.
const BEGIN_S: u64 = 1_780_000_000;

impl Stage {
    pub(super) async fn amqp(&mut self, words: &Words) -> String {
        let mut peer = if let Some(peer) = self.peer.take() {
            peer
        } else {
            self.connections += 1;
            let (number, drain) = (self.connections, self.shutdown.drain());
            Peer::connect(&self.amqp, number, drain).await
        };
        let outcome = match words.word(1) {
            "exchange" | "queue" | "bind" | "unbind" => declare(&mut peer, words).await,
            "publish" => publish(&mut peer, words).await,
            "get" => self.get(&mut peer, words).await,
            "consume" | "cancel" => consume(&mut peer, words).await,
            "held" => {
                let waited = peer.wait().await;
                waited.map(|()| self.show_all(peer.held.values()))
            }
            "ack" | "nack" | "reject" => self.settle(&mut peer, words).await,
            "purge" | "depth" => count(&mut peer, words).await,
            "close" => {
                peer.close().await;
                return "ok".to_owned();
            }
            // A client that is cancelled receives nothing any more.
            "vanish" => return "ok".to_owned(),
            other => panic!("there is no command `amqp {other}`"),
        };
        self.peer = Some(peer);
        outcome.unwrap_or_else(|refusal| refusal)
    }

    async fn get(&mut self, peer: &mut Peer, words: &Words) -> Result<String, Refusal> {
        let get = basic::Get {
            queue: words.word(2).as_bytes(),
            no_ack: words.has("no-ack"),
        };
        let answer = peer.ask(&get).await?;
        let Ok(Method::Basic(basic::Method::GetOk(got))) = Method::decode(&answer) else {
            return Ok("nothing".to_owned());
        };
        let delivery = Delivery {
            tag: got.delivery_tag,
            name: peer.name_of(got.delivery_tag),
            redelivered: got.redelivered,
            exchange: answer.slice_ref(got.exchange),
            key: answer.slice_ref(got.routing_key),
            ..Delivery::nothing()
        };
        let delivery = peer.content(delivery).await;
        let shown = self.show_delivery(&delivery);
        if !get.no_ack {
            peer.held.insert(delivery.tag, delivery);
        }
        Ok(shown)
    }

    async fn settle(&mut self, peer: &mut Peer, words: &Words) -> Result<String, Refusal> {
        let name = self.deliveries.long(words.word(2));
        let tag = name.rsplit('.').next().unwrap().parse().unwrap();
        let (multiple, requeue) = (words.has("multiple"), words.has("requeue"));
        if multiple {
            peer.held.retain(|held, _| *held > tag);
        } else {
            peer.held.remove(&tag);
        }
        let delivery_tag = tag;
        let told = match words.word(1) {
            "ack" => {
                let ack = basic::Ack {
                    delivery_tag,
                    multiple,
                };
                peer.tell(&ack).await
            }
            "nack" => {
                let nack = basic::Nack {
                    delivery_tag,
                    multiple,
                    requeue,
                };
                peer.tell(&nack).await
            }
            _ => {
                let reject = basic::Reject {
                    delivery_tag,
                    requeue,
                };
                peer.tell(&reject).await
            }
        };
        told.map(|()| "ok".to_owned())
    }

    fn show_all<'d>(&mut self, all: impl Iterator<Item = &'d Delivery>) -> String {
        let lines: Vec<String> = all.map(|delivery| self.show_delivery(delivery)).collect();
        if lines.is_empty() {
            return "nothing".to_owned();
        }
        lines.join("\n")
    }

    fn show_delivery(&mut self, delivery: &Delivery) -> String {
        let (exchange, key) = (text(&delivery.exchange), text(&delivery.key));
        let name = self.deliveries.short(&delivery.name);
        let mut line = vec![format!(
            "\"{}\" {name} by={exchange}/{key}",
            text(&delivery.body)
        )];
        if delivery.redelivered {
            line.push("redelivered".to_owned());
        }
        let properties = Properties::decode(&delivery.properties).unwrap();
        let mut say = |name: &str, value: Option<String>| {
            line.extend(value.map(|value| format!("{name}={value}")));
        };
        say("mode", properties.delivery_mode.map(|n| n.to_string()));
        say("priority", properties.priority.map(|n| n.to_string()));
        for (name, value) in [
            ("content-type", properties.content_type),
            ("correlation-id", properties.correlation_id),
            ("reply-to", properties.reply_to),
            ("expiration", properties.expiration),
            ("type", properties.kind),
        ] {
            say(name, value.map(text));
        }
        let id = properties.message_id.map(text);
        // Those the broker gave have names.
        let name = |id: String| match id.len() {
            ID_LENGTH => self.messages.short(&id),
            _ => id,
        };
        say("message-id", id.map(name));
        for (name, value) in properties.headers.unwrap_or_default() {
            say(&text(name), Some(self.show_value(&value)));
        }
        line.join(" ")
    }

    fn show_value(&self, value: &Value<'_>) -> String {
        match *value {
            Value::Long(bytes) => text(bytes),
            Value::I32(number) => number.to_string(),
            Value::I64(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            Value::Timestamp(seconds) => format!("+{}s", seconds.saturating_sub(BEGIN_S)),
            Value::Array(array) => self.show_array(array),
            Value::Table(table) => self.show_table(table),
            ref other => format!("{other:?}"),
        }
    }

    fn show_array(&self, array: Array<'_>) -> String {
        let values: Vec<String> = array.iter().map(|v| self.show_value(&v)).collect();
        format!("[{}]", values.join(" "))
    }

    fn show_table(&self, table: Table<'_>) -> String {
        let values = table.iter();
        let values: Vec<String> = values
            .map(|(name, value)| format!("{}:{}", text(name), self.show_value(&value)))
            .collect();
        format!("{{{}}}", values.join(" "))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number if it looks like one.
fn value(text: &str) -> Value<'_> {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => text
            .parse()
            .map_or(Value::Long(text.as_bytes()), Value::I32),
    }
}

fn table<'w>(options: impl Iterator<Item = &'w (String, String)>) -> TableBuilder {
    let mut table = TableBuilder::new();
    for (name, text) in options {
        table.push(name.as_bytes(), value(text)).unwrap();
    }
    table
}

async fn declare(peer: &mut Peer, words: &Words) -> Result<String, Refusal> {
    let [name, second, third] = [2, 3, 4].map(|place| words.word(place).as_bytes());
    let arguments = table(words.options.iter());
    let arguments = arguments.as_table();
    let durable = !words.has(TRANSIENT);
    let answered = match words.word(1) {
        "exchange" => {
            let declare = exchange::Declare {
                exchange: name,
                kind: second,
                durable,
                arguments,
                ..exchange::Declare::default()
            };
            peer.ask(&declare).await
        }
        "queue" => {
            let declare = queue::Declare {
                queue: name,
                durable,
                exclusive: words.has("exclusive"),
                arguments,
                ..queue::Declare::default()
            };
            peer.ask(&declare).await
        }
        "bind" => {
            let bind = queue::Bind {
                queue: name,
                exchange: second,
                routing_key: third,
                nowait: false,
                arguments,
            };
            peer.ask(&bind).await
        }
        _ => {
            let unbind = queue::Unbind {
                queue: name,
                exchange: second,
                routing_key: third,
                arguments,
            };
            peer.ask(&unbind).await
        }
    };
    answered.map(|_| "ok".to_owned())
}

/// Options that are no property are headers.
async fn publish(peer: &mut Peer, words: &Words) -> Result<String, Refusal> {
    const PROPERTIES: [&str; 7] = [
        "priority",
        "content-type",
        "correlation-id",
        "reply-to",
        "expiration",
        "message-id",
        "type",
    ];
    let all = words.options.iter();
    let headers = all.filter(|(name, _)| !PROPERTIES.contains(&name.as_str()));
    let headers = table(headers);
    let headers = headers.as_table();
    let bytes = |name: &str| words.option(name).map(str::as_bytes);
    let properties = Properties {
        delivery_mode: Some(PERSISTENT),
        priority: words.option("priority").map(|n| n.parse().unwrap()),
        content_type: bytes("content-type"),
        correlation_id: bytes("correlation-id"),
        reply_to: bytes("reply-to"),
        expiration: bytes("expiration"),
        message_id: bytes("message-id"),
        kind: bytes("type"),
        headers: (!headers.is_empty()).then_some(headers),
        ..Properties::default()
    };
    let publish = basic::Publish {
        exchange: words.word(2).as_bytes(),
        routing_key: words.word(3).as_bytes(),
        mandatory: words.has("mandatory"),
        immediate: false,
    };
    let confirm = peer.publish(publish, &properties, words.word(4)).await?;
    let confirm = match confirm {
        Confirm::Ack => "confirmed",
        Confirm::Nack => "refused",
    };
    Ok(match peer.returned.take() {
        Some(why) => format!("returned {why}, {confirm}"),
        None => confirm.to_owned(),
    })
}

/// Consumers are called like their queues; options but the prefetch count are arguments.
async fn consume(peer: &mut Peer, words: &Words) -> Result<String, Refusal> {
    let name = words.word(2).as_bytes();
    if words.word(1) == "cancel" {
        let cancel = basic::Cancel {
            consumer_tag: name,
            nowait: false,
        };
        peer.ask(&cancel).await?;
        return Ok("ok".to_owned());
    }
    let qos = basic::Qos {
        prefetch_size: 0,
        prefetch_count: words.option("prefetch").unwrap_or("0").parse().unwrap(),
        global: false,
    };
    peer.ask(&qos).await?;
    let arguments = table(words.options.iter().filter(|(name, _)| name != "prefetch"));
    let consume = basic::Consume {
        queue: name,
        consumer_tag: name,
        arguments: arguments.as_table(),
        ..basic::Consume::default()
    };
    peer.ask(&consume).await?;
    Ok("ok".to_owned())
}

async fn count(peer: &mut Peer, words: &Words) -> Result<String, Refusal> {
    let name = words.word(2).as_bytes();
    let answer = if words.word(1) == "purge" {
        let purge = queue::Purge {
            queue: name,
            nowait: false,
        };
        peer.ask(&purge).await?
    } else {
        let declare = queue::Declare {
            queue: name,
            passive: true,
            ..queue::Declare::default()
        };
        peer.ask(&declare).await?
    };
    Ok(match Method::decode(&answer) {
        Ok(Method::Queue(queue::Method::PurgeOk(ok))) => format!("purged {}", ok.message_count),
        Ok(Method::Queue(queue::Method::DeclareOk(ok))) => {
            format!("ready={} consumers={}", ok.message_count, ok.consumer_count)
        }
        other => panic!("{other:?}"),
    })
}
