//! Policies: they hold for what is there and for what comes, from the moment they are made until they are removed, and
//! after a restart.

use bytes::Bytes;
use engine::exchange::{
    Binding, Destination, Kind as ExchangeKind, NewExchange, NoHeaders, Routed,
};
use engine::policy::{Kind, Policy, PolicyDocument, Rules, Scope};
use engine::queue::{NewMessage, NewQueue, QueueSettings};
use engine::{Broker, Error};

use crate::stage::{ENDS, Stage, anyone};

fn policy(name: &str, pattern: &str, rules: Rules) -> Policy {
    Policy {
        vhost: "/".into(),
        name: name.into(),
        kind: Kind::User,
        document: PolicyDocument {
            pattern: pattern.into(),
            scope: Scope::All,
            priority: 0,
            rules,
        },
    }
}

fn length(messages_max: u64) -> Rules {
    Rules {
        messages_max: Some(messages_max),
        ..Rules::default()
    }
}

async fn declare(broker: &Broker, name: &str) {
    let queue = NewQueue {
        name: name.into(),
        settings: QueueSettings::default(),
        topic: None,
    };
    broker
        .on_behalf_of(anyone())
        .create_queue(queue)
        .await
        .unwrap();
}

async fn fill(broker: &Broker, queue: &str, count: usize) -> u64 {
    let message = NewMessage {
        body: Bytes::from_static(b"x"),
        ..NewMessage::default()
    };
    let sent = broker
        .on_behalf_of(anyone())
        .send(queue, vec![message; count])
        .await;
    assert!(sent.unwrap().iter().all(Result::is_ok));
    broker
        .on_behalf_of(anyone())
        .queue_depth(queue)
        .await
        .unwrap()
        .ready
}

#[tokio::test]
async fn they_hold_for_what_is_there_and_for_what_comes() {
    for end in ENDS {
        let stage = Stage::new().await;
        declare(&stage.broker, "orders.old").await;
        assert_eq!(fill(&stage.broker, "orders.old", 5).await, 5);
        let short = policy("short", "^orders", length(3));
        stage.access.put_policy(short).await.unwrap();
        declare(&stage.broker, "orders.new").await;
        declare(&stage.broker, "other").await;
        for (queue, ready) in [("orders.old", 3), ("orders.new", 3), ("other", 5)] {
            assert_eq!(fill(&stage.broker, queue, 5).await, ready, "{queue}");
        }
        let stage = stage.again(end).await;
        let broker = &stage.broker;
        assert_eq!(
            broker.on_behalf_of(anyone()).policies("/").unwrap().len(),
            1
        );
        assert_eq!(fill(broker, "orders.new", 2).await, 3, "{end:?}");
        // What a queue was declared with is not touched by it.
        let queue = broker.on_behalf_of(anyone()).queue("orders.new").unwrap();
        assert_eq!(queue.document.settings.limits.messages_max, None);
        assert_eq!(queue.settings().limits.messages_max, Some(3));
        for (removed, ready) in [(true, 5), (false, 7)] {
            let access = broker.on_behalf_of(anyone());
            let gone = access.remove_policy(Kind::User, "/", "short");
            assert_eq!(gone.await, Ok(removed));
            assert_eq!(fill(broker, "orders.new", 2).await, ready);
        }
    }
}

#[tokio::test]
async fn an_exchange_gets_its_alternate_by_policy() {
    let stage = Stage::new().await;
    let broker = &stage.broker;
    let exchange = |name: &str, kind| NewExchange {
        vhost: "/".into(),
        name: name.into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        alternate: None,
        arguments: Vec::new(),
    };
    declare(broker, "caught").await;
    for new in [
        exchange("first", ExchangeKind::Direct),
        exchange("lost", ExchangeKind::Fanout),
    ] {
        broker
            .on_behalf_of(anyone())
            .declare_exchange(new)
            .await
            .unwrap();
    }
    let binding = Binding {
        vhost: "/".into(),
        source: "lost".into(),
        destination: Destination::Queue("caught".into()),
        key: Bytes::new(),
        arguments: Vec::new(),
    };
    broker.on_behalf_of(anyone()).bind(binding).await.unwrap();
    let rules = Rules {
        alternate_exchange: Some("lost".into()),
        ..Rules::default()
    };
    let catches = policy("catches", "^(first|second)$", rules);
    broker
        .on_behalf_of(anyone())
        .put_policy(catches)
        .await
        .unwrap();
    let second = exchange("second", ExchangeKind::Topic);
    broker
        .on_behalf_of(anyone())
        .declare_exchange(second)
        .await
        .unwrap();
    for name in ["first", "second"] {
        let routed = Routed {
            keys: &[b"nobody"],
            headers: &NoHeaders,
            publisher: true,
        };
        let route = broker
            .on_behalf_of(anyone())
            .route("/", name, &routed)
            .unwrap();
        let names: Vec<_> = route.queues().iter().map(|queue| &*queue.name).collect();
        assert_eq!(names, ["caught"], "{name}");
    }
}

#[tokio::test]
async fn they_belong_to_a_vhost() {
    let stage = Stage::new().await;
    let broker = &stage.broker;
    let elsewhere = Policy {
        vhost: "shop".into(),
        ..policy("p", "", length(1))
    };
    let refused = broker
        .on_behalf_of(anyone())
        .put_policy(elsewhere.clone())
        .await;
    assert_eq!(refused, Err(Error::UnknownVhost));
    broker
        .on_behalf_of(anyone())
        .create_vhost("shop")
        .await
        .unwrap();
    broker
        .on_behalf_of(anyone())
        .put_policy(elsewhere)
        .await
        .unwrap();
    declare(broker, "q").await;
    assert_eq!(fill(broker, "q", 2).await, 2);
    let name = engine::vhost::qualify("shop", "q");
    declare(broker, &name).await;
    assert_eq!(fill(broker, &name, 2).await, 1);
    broker
        .on_behalf_of(anyone())
        .delete_vhost("shop")
        .await
        .unwrap();
    broker
        .on_behalf_of(anyone())
        .create_vhost("shop")
        .await
        .unwrap();
    assert_eq!(
        broker.on_behalf_of(anyone()).policies("shop"),
        Ok(Vec::new())
    );
}
