//! Transactions of a session, and settlements: everything of one commit or nothing, and the same rules whichever way a message is settled.

use std::time::Duration;

use bytes::Bytes;
use engine::queue::{
    DeadLetter, DeadLetterExchange, DeadLetterPolicy, Failure, FailureClass, Limits, NewMessage,
    NewQueue, Overflow, QueueSettings, Settlement,
};
use engine::{Error, NewTopic, Outgoing};

use crate::queues::{LEASE, texts};
use crate::stage::{ENDS, Stage, outgoing};

impl Stage {
    /// A message on its way to these queues.
    fn outgoing(&self, text: &'static str, queues: &[&str]) -> Outgoing {
        let message = NewMessage {
            body: Bytes::from_static(text.as_bytes()),
            ..NewMessage::default()
        };
        outgoing(&self.broker, message, queues)
    }

    /// The only message of queue `dead`, once it is there.
    async fn dead_letter(&self) -> DeadLetter {
        loop {
            let held = self.access.peek("dead", 0, 2).await.unwrap();
            if let [held_one] = &held[..] {
                return held_one.dead.clone().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn held_texts(&self, queue: &str) -> Vec<String> {
        let held = self.access.peek(queue, 0, 100).await.unwrap();
        texts(&held).into_iter().map(str::to_owned).collect()
    }
}

fn full_with_one() -> QueueSettings {
    QueueSettings {
        limits: Limits {
            messages_max: Some(1),
            overflow: Overflow::Refuse,
            ..Limits::default()
        },
        ..QueueSettings::default()
    }
}

#[tokio::test]
async fn what_a_transaction_does_is_all_there_after_every_end() {
    for end in ENDS {
        let stage = Stage::new().await;
        for name in ["in", "a", "b"] {
            stage.queue(name, QueueSettings::default()).await;
        }
        stage.say("in", &["order"]).await;
        let mut peer = stage.peer();
        let _consumer = peer.consume("in", 1).await;
        let order = peer.take().await;
        let messages = vec![
            stage.outgoing("one", &["a"]),
            stage.outgoing("both", &["a", "b"]),
            stage.outgoing("two", &["b"]),
        ];
        let settled = vec![(order.unacked, Settlement::Ack)];
        peer.session.commit(messages, settled).await.unwrap();
        let stage = stage.again(end).await;
        assert_eq!(stage.held_texts("in").await, [""; 0], "{end:?}");
        assert_eq!(stage.held_texts("a").await, ["one", "both"], "{end:?}");
        assert_eq!(stage.held_texts("b").await, ["both", "two"], "{end:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_one_queue_refuses_does_nothing() {
    for end in ENDS {
        let stage = Stage::new().await;
        for name in ["in", "a", "dead"] {
            stage.queue(name, QueueSettings::default()).await;
        }
        stage.queue("full", full_with_one()).await;
        stage.say("in", &["order"]).await;
        stage.say("full", &["there"]).await;
        let mut peer = stage.peer();
        let consumer = peer.consume("in", 1).await;
        let order = peer.take().await;
        let messages = vec![
            stage.outgoing("one", &["a"]),
            stage.outgoing("too much", &["a", "full"]),
        ];
        let settled = vec![(order.unacked, Settlement::Ack)];
        let refused = peer.session.commit(messages, settled).await;
        assert_eq!(refused, Err(Error::QueueFull));
        assert_eq!(stage.held_texts("a").await, [""; 0], "{end:?}");
        // What was to be acknowledged came back.
        let again = peer.take().await;
        assert!(again.redelivered, "{end:?}");
        consumer.cancel().await;
        drop(again);
        let stage = stage.again(end).await;
        assert_eq!(stage.held_texts("in").await, ["order"], "{end:?}");
        assert_eq!(stage.held_texts("a").await, [""; 0], "{end:?}");
        assert_eq!(stage.held_texts("full").await, ["there"], "{end:?}");
    }
}

#[tokio::test]
async fn a_transaction_goes_over_two_queues_of_one_topic_in_its_order() {
    let stage = Stage::new().await;
    let topic = NewTopic {
        name: "t".into(),
        partitions: Some(1),
        ..NewTopic::default()
    };
    stage.access.create_topic(topic, false).await.unwrap();
    for name in ["a", "b"] {
        let queue = NewQueue {
            name: name.into(),
            topic: Some("t".into()),
            settings: QueueSettings::default(),
        };
        stage.access.create_queue(queue).await.unwrap();
    }
    let peer = stage.peer();
    let messages = vec![
        stage.outgoing("1", &["a"]),
        stage.outgoing("2", &["b"]),
        stage.outgoing("3", &["a"]),
    ];
    peer.session.commit(messages, Vec::new()).await.unwrap();
    // The queues of a topic share its records.
    for name in ["a", "b"] {
        assert_eq!(stage.held_texts(name).await, ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_transaction_rejects_into_the_dead_letter_queue_before_it_answers() {
    let stage = Stage::new().await;
    stage.queue("dead", QueueSettings::default()).await;
    let dead_letter = DeadLetterPolicy {
        queue: "dead".into(),
        attempts_max: 1000,
    };
    let settings = QueueSettings {
        dead_letter: Some(dead_letter),
        ..QueueSettings::default()
    };
    stage.queue("in", settings).await;
    stage.say("in", &["bad"]).await;
    let mut peer = stage.peer();
    let _consumer = peer.consume("in", 1).await;
    let bad = peer.take().await;
    let settled = vec![(bad.unacked, Settlement::REJECT)];
    peer.session.commit(Vec::new(), settled).await.unwrap();
    assert_eq!(stage.held_texts("dead").await, ["bad"]);
}

/// A queue whose messages may fail once, and then go to `dead`.
async fn with_delivery_limit(stage: &Stage) {
    stage.queue("dead", QueueSettings::default()).await;
    let settings = QueueSettings {
        delivery_limit: Some(1),
        dead_letter_exchange: Some(DeadLetterExchange {
            exchange: String::new(),
            key: Some("dead".into()),
        }),
        ..QueueSettings::default()
    };
    stage.queue("work", settings).await;
}

/// How a message fails.
#[derive(Debug, Clone, Copy)]
enum Failing {
    /// It was received, and is given back.
    Released,
    /// It was received, and its lease runs out.
    Expired,
    /// A connected consumer says so.
    Consumer,
}

impl Stage {
    async fn fail_next(&self, queue: &str, how: Failing) {
        if matches!(how, Failing::Consumer) {
            let mut peer = self.peer();
            let consumer = peer.consume(queue, 1).await;
            let delivery = peer.take().await;
            // It is not given the message once more.
            consumer.cancel().await;
            peer.settle(delivery, Settlement::FAIL);
            return peer.session.sync().await;
        }
        let got = self.receive(queue, 1, LEASE).await;
        match how {
            Failing::Expired => self.skip(Duration::from_millis(LEASE)),
            _ => drop(self.settle(queue, got[0].receipt, Settlement::FAIL).await),
        }
    }
}

#[tokio::test]
async fn one_limit_of_failures_holds_whichever_way_a_message_fails() {
    let ways = [Failing::Released, Failing::Expired, Failing::Consumer];
    for (first, second) in ways.into_iter().flat_map(|f| ways.map(|s| (f, s))) {
        let stage = Stage::new().await;
        with_delivery_limit(&stage).await;
        stage.say("work", &["poison"]).await;
        stage.fail_next("work", first).await;
        stage.fail_next("work", second).await;
        // Nobody gets it a third time.
        let third = stage.receive("work", 1, LEASE).await;
        assert_eq!(texts(&third), [""; 0], "{first:?}, {second:?}");
        let of = stage.dead_letter().await;
        assert_eq!(&*of.reason, "delivery_limit", "{first:?}, {second:?}");
    }
}

#[tokio::test]
async fn a_refusal_says_its_class_and_why_in_the_dead_letter() {
    let stage = Stage::new().await;
    with_delivery_limit(&stage).await;
    stage.say("work", &["poison"]).await;
    let got = stage.receive("work", 1, LEASE).await;
    let failure = Failure::new(FailureClass::Invalid, Some("no amount"));
    let settlement = Settlement::Reject(failure);
    stage.settle("work", got[0].receipt, settlement).await;
    let of = stage.dead_letter().await;
    assert_eq!(
        (&*of.reason, of.class.as_deref(), of.message.as_deref()),
        ("rejected", Some("invalid"), Some("no amount"))
    );
}
