//! Dead letters by way of exchanges: to as many queues as there are, with their history, and never round for ever.

use std::time::Duration;

use bytes::Bytes;
use engine::exchange::Kind;
use engine::queue::{
    DeadLetterExchange, DeadLetterPolicy, DeadLetterReason, Delivered, Key, NewMessage, NewQueue,
    Ordering, QueueSettings, Settlement,
};
use engine::{Delivery, NewConsumer};

use crate::exchanges::{exchange, to_queue};
use crate::stage::{ENDS, START, Stage, eventually, outgoing};

fn dead_to(exchange: &str, key: Option<&str>) -> QueueSettings {
    QueueSettings {
        dead_letter_exchange: Some(DeadLetterExchange {
            exchange: exchange.to_owned(),
            key: key.map(str::to_owned),
        }),
        delivery_limit: Some(0),
        ..QueueSettings::default()
    }
}

impl Stage {
    async fn queue_set(&self, name: &str, settings: QueueSettings) {
        let queue = NewQueue {
            name: name.to_owned(),
            settings,
            topic: None,
        };
        self.access.create_queue(queue).await.unwrap();
    }

    /// Sends a message as if it had been published to exchange `from` with key `k`.
    async fn publish_to(&self, queue: &str, from: &str) {
        let message = NewMessage {
            body: Bytes::from_static(b"text"),
            exchange: Some(Bytes::copy_from_slice(from.as_bytes())),
            keys: vec![Bytes::from_static(b"k"), Bytes::from_static(b"cc")],
            ..NewMessage::default()
        };
        let outgoing = vec![outgoing(&self.broker, message, &[queue])];
        let sends = self.broker.send_routed(outgoing);
        sends.await.done().await.remove(0).unwrap();
    }

    /// Takes the queue's next message and settles it like this.
    async fn settle_next(&self, queue: &str, outcome: Settlement) {
        let (session, mut deliveries) = self.access.open_session();
        let consumer = NewConsumer::default();
        let consumer = session.subscribe(queue, consumer).await.unwrap();
        let Some(engine::Event::Delivery(delivery)) = deliveries.next().await else {
            panic!("{queue} gave nothing");
        };
        consumer.cancel().await;
        let Delivery { unacked, .. } = *delivery;
        session.settle(vec![(unacked, outcome)]);
    }

    async fn held(&self, queue: &str) -> Vec<Delivered> {
        self.access.peek(queue, 0, 100).await.unwrap()
    }

    async fn await_held(&self, queue: &str, count: usize) -> Vec<Delivered> {
        for _ in 0..4000 {
            let held = self.held(queue).await;
            if held.len() == count {
                return held;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{queue} never holds {count}");
    }

    fn dead_lettered(&self, queue: &str) -> u64 {
        let queue = self.access.queue(queue).unwrap();
        queue.numbers().dead_lettered
    }
}

#[tokio::test]
async fn a_dead_letter_goes_wherever_its_exchange_says() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.add_exchange(exchange("dlx", Kind::Fanout)).await;
        stage.queue_set("work", dead_to("dlx", None)).await;
        for name in ["d1", "d2", "d3"] {
            stage.plain_queue(name).await;
            stage.bind(to_queue("dlx", name, "")).await.unwrap();
        }
        stage.publish_to("work", "x").await;
        stage.settle_next("work", Settlement::REJECT).await;
        for name in ["d1", "d2", "d3"] {
            stage.await_held(name, 1).await;
        }
        let stage = stage.again(end).await;
        assert!(stage.held("work").await.is_empty(), "{end:?}");
        for name in ["d1", "d2", "d3"] {
            let dead_letter = stage.held(name).await.remove(0);
            assert_eq!(dead_letter.exchange.as_deref(), Some(&b"dlx"[..]));
            assert_eq!(dead_letter.keys, [&b"k"[..], &b"cc"[..]]);
            let [event] = &dead_letter.dead_letter_history[..] else {
                panic!("{:?}", dead_letter.dead_letter_history);
            };
            assert_eq!(
                (&*event.queue, event.reason),
                ("work", DeadLetterReason::Rejected)
            );
            assert_eq!(
                (event.count, event.first_ms, event.is_first),
                (1, START, true)
            );
            assert_eq!(event.exchange, "x");
            assert_eq!(event.keys, [Key("k".into()), Key("cc".into())]);
            assert_eq!(dead_letter.dead.unwrap().reason, "rejected");
            assert!(dead_letter.headers.is_empty());
        }
    }
}

#[tokio::test]
async fn the_policys_key_takes_the_place_of_the_messages_own() {
    let stage = Stage::new().await;
    stage
        .queue_set("work", dead_to("amq.direct", Some("dead")))
        .await;
    for (name, key) in [("other", "k"), ("dead", "dead")] {
        stage.plain_queue(name).await;
        stage.bind(to_queue("amq.direct", name, key)).await.unwrap();
    }
    stage.publish_to("work", "").await;
    stage.settle_next("work", Settlement::FAIL).await;
    let dead_letter = stage.await_held("dead", 1).await.remove(0);
    assert_eq!(dead_letter.keys, [&b"dead"[..]]);
    assert_eq!(
        dead_letter.dead_letter_history[0].reason,
        DeadLetterReason::DeliveryLimit
    );
    assert_eq!(dead_letter.dead_letter_history[0].keys.len(), 2);
    assert!(stage.held("other").await.is_empty());
}

#[tokio::test]
async fn what_came_without_an_exchange_came_by_its_queues_name() {
    let stage = Stage::new().await;
    stage.queue_set("work", dead_to("amq.topic", None)).await;
    stage.plain_queue("dead").await;
    stage
        .bind(to_queue("amq.topic", "dead", "work"))
        .await
        .unwrap();
    let message = NewMessage {
        body: Bytes::from_static(b"text"),
        ..NewMessage::default()
    };
    let sent = stage.access.send("work", vec![message]).await;
    sent.unwrap().remove(0).unwrap();
    stage.settle_next("work", Settlement::REJECT).await;
    let dead_letter = stage.await_held("dead", 1).await.remove(0);
    assert_eq!(dead_letter.dead_letter_history[0].exchange, "");
    assert_eq!(
        dead_letter.dead_letter_history[0].keys,
        [Key("work".into())]
    );
}

#[tokio::test]
async fn dead_letters_that_lead_nowhere_are_gone() {
    let stage = Stage::new().await;
    stage
        .queue_set("lost", dead_to("no such exchange", None))
        .await;
    stage
        .queue_set("unbound", dead_to("amq.fanout", None))
        .await;
    for name in ["lost", "unbound"] {
        stage.publish_to(name, "").await;
        stage.settle_next(name, Settlement::REJECT).await;
        stage.await_held(name, 0).await;
        eventually("it is counted", || stage.dead_lettered(name) == 1).await;
    }
}

#[tokio::test]
async fn what_is_refused_may_come_round_and_is_counted() {
    let stage = Stage::new().await;
    // Back to itself, and by way of another queue.
    stage.queue_set("self", dead_to("", Some("self"))).await;
    stage.publish_to("self", "x").await;
    for round in 1..=3 {
        stage.settle_next("self", Settlement::REJECT).await;
        eventually("it died", || stage.dead_lettered("self") == round).await;
        let dead_letter = stage.await_held("self", 1).await.remove(0);
        assert_eq!(
            (
                dead_letter.dead_letter_history.len(),
                dead_letter.dead_letter_history[0].count
            ),
            (1, round)
        );
        assert_eq!(
            dead_letter.dead_letter_history[0].exchange, "x",
            "as it was the first time"
        );
    }
    stage.queue_set("there", dead_to("", Some("back"))).await;
    stage.queue_set("back", dead_to("", Some("there"))).await;
    stage.publish_to("there", "").await;
    stage.settle_next("there", Settlement::REJECT).await;
    stage.await_held("back", 1).await;
    stage.settle_next("back", Settlement::FAIL).await;
    let dead_letter = stage.await_held("there", 1).await.remove(0);
    let queues: Vec<&str> = dead_letter
        .dead_letter_history
        .iter()
        .map(|event| &*event.queue)
        .collect();
    assert_eq!(queues, ["back", "there"]);
    // It was refused, but not since it was in the queue where it would go now.
    stage.settle_next("there", Settlement::FAIL).await;
    stage.await_held("there", 0).await;
    eventually("it died", || stage.dead_lettered("there") == 2).await;
    assert!(
        stage.held("back").await.is_empty(),
        "that would be for ever"
    );
}

#[tokio::test]
async fn a_policy_that_names_a_queue_keeps_the_history_too() {
    let stage = Stage::new().await;
    let by_policy = QueueSettings {
        dead_letter: Some(DeadLetterPolicy {
            queue: "dead".into(),
            attempts_max: 100,
        }),
        ..dead_to("amq.fanout", None)
    };
    stage.queue_set("work", by_policy).await;
    stage.queue_set("dead", dead_to("", Some("grave"))).await;
    stage.plain_queue("grave").await;
    stage.publish_to("work", "x").await;
    stage.settle_next("work", Settlement::FAIL).await;
    let dead_letter = stage.await_held("dead", 1).await.remove(0);
    assert_eq!(
        dead_letter.exchange.as_deref(),
        Some(&b"x"[..]),
        "none moved it"
    );
    stage.settle_next("dead", Settlement::REJECT).await;
    let dead_letter = stage.await_held("grave", 1).await.remove(0);
    let shown: Vec<_> = dead_letter
        .dead_letter_history
        .iter()
        .map(|event| (&*event.queue, event.reason, event.is_first))
        .collect();
    assert_eq!(
        shown,
        [
            ("dead", DeadLetterReason::Rejected, false),
            ("work", DeadLetterReason::DeliveryLimit, true)
        ]
    );
    assert_eq!(dead_letter.dead.unwrap().queue, "dead");
}

#[tokio::test]
async fn what_waits_in_a_queue_of_its_own_comes_back_when_its_time_is_over() {
    let stage = Stage::new().await;
    stage.queue_set("work", dead_to("", Some("wait"))).await;
    let mut waiting = dead_to("", Some("work"));
    waiting.limits.message_ttl_ms = Some(5_000);
    stage.queue_set("wait", waiting).await;
    stage.publish_to("work", "x").await;
    for round in 1..=3 {
        // Whenever it was sent: it waits anew every time.
        stage.skip(Duration::from_mins(10));
        stage.settle_next("work", Settlement::REJECT).await;
        stage.await_held("wait", 1).await;
        stage.skip(Duration::from_millis(4_900));
        stage.access.queue_depth("wait").await.unwrap();
        assert_eq!(stage.held("wait").await.len(), 1);
        stage.skip(Duration::from_millis(200));
        stage.access.queue_depth("wait").await.unwrap();
        let dead_letter = stage.await_held("work", 1).await.remove(0);
        let shown: Vec<_> = dead_letter
            .dead_letter_history
            .iter()
            .map(|d| (&*d.queue, d.count))
            .collect();
        assert_eq!(shown, [("wait", round), ("work", round)]);
        assert_eq!(
            dead_letter.dead_letter_history[0].reason,
            DeadLetterReason::Expired
        );
        assert_eq!(
            dead_letter.dead_letter_history[0].original_expiration_ms,
            None
        );
    }
}

#[tokio::test]
async fn a_time_to_live_of_its_own_is_told_and_ends() {
    let stage = Stage::new().await;
    stage.queue_set("work", dead_to("", Some("dead"))).await;
    stage.plain_queue("dead").await;
    let message = NewMessage {
        body: Bytes::from_static(b"text"),
        ttl_ms: Some(3_000),
        ..NewMessage::default()
    };
    let sent = stage.access.send("work", vec![message]).await;
    sent.unwrap().remove(0).unwrap();
    stage.skip(Duration::from_secs(4));
    stage.access.queue_depth("work").await.unwrap();
    stage.await_held("dead", 1).await;
    stage.skip(Duration::from_hours(1));
    stage.access.queue_depth("dead").await.unwrap();
    let dead_letter = stage.await_held("dead", 1).await.remove(0);
    assert_eq!(
        dead_letter.dead_letter_history[0].reason,
        DeadLetterReason::Expired
    );
    assert_eq!(
        dead_letter.dead_letter_history[0].original_expiration_ms,
        Some(3_000)
    );
}

#[tokio::test]
async fn who_died_once_without_an_exchange_needs_no_list() {
    let stage = Stage::new().await;
    let to = |queue: &str| QueueSettings {
        dead_letter: Some(DeadLetterPolicy {
            queue: queue.to_owned(),
            attempts_max: 100,
        }),
        ..QueueSettings::default()
    };
    stage.queue_set("work", to("dead")).await;
    stage.queue_set("dead", to("grave")).await;
    stage.plain_queue("grave").await;
    let message = NewMessage {
        body: Bytes::from_static(b"text"),
        ..NewMessage::default()
    };
    let sent = stage.access.send("work", vec![message]).await;
    sent.unwrap().remove(0).unwrap();
    for (from, to, dead_letter_history) in [("work", "dead", 1), ("dead", "grave", 2)] {
        stage.settle_next(from, Settlement::REJECT).await;
        let dead_letter = stage.await_held(to, 1).await.remove(0);
        assert_eq!(dead_letter.dead_letter_history.len(), dead_letter_history);
        let first = dead_letter.dead_letter_history.last().unwrap();
        assert_eq!((&*first.queue, first.is_first), ("work", true));
        assert_eq!(first.keys, [Key("work".into())]);
    }
}

#[tokio::test]
async fn a_dead_letter_for_many_queues_is_one_body() {
    const QUEUES: u64 = 40;
    let stage = Stage::new().await;
    for number in 0..QUEUES {
        let name = format!("dead-{number}");
        stage.queue_set(&name, QueueSettings::default()).await;
        let bound = stage.bind(to_queue("amq.fanout", &name, "")).await;
        bound.unwrap();
    }
    stage.queue_set("work", dead_to("amq.fanout", None)).await;
    let body = "x".repeat(30_000);
    let message = NewMessage {
        body: Bytes::from(body.clone()),
        ..NewMessage::default()
    };
    let outgoing = outgoing(&stage.broker, message, &["work"]);
    let sends = stage.broker.send_routed(vec![outgoing]);
    sends.await.done().await.remove(0).unwrap();
    let before = stage.store.stats().journal_written_bytes;
    stage.settle_next("work", Settlement::REJECT).await;
    for number in 0..QUEUES {
        let name = format!("dead-{number}");
        let dead_letter = stage.await_held(&name, 1).await.remove(0);
        assert!(dead_letter.body == body);
        assert_eq!(dead_letter.dead_letter_history[0].queue, "work");
    }
    let written = stage.store.stats().journal_written_bytes - before;
    assert!(written < 30_000 + QUEUES * 300 + 30_000, "{written}");
}

#[tokio::test]
async fn messages_dead_lettered_together_are_one_batch_for_all_their_queues() {
    const QUEUES: usize = 12;
    const BODY: usize = 3_000;
    let stage = Stage::new().await;
    let name = |number: usize| format!("dead-{number}");
    for number in 0..QUEUES {
        let in_order = QueueSettings {
            ordering: Ordering::Key,
            ..QueueSettings::default()
        };
        // Every third one is written in another manner.
        let settings = [in_order, QueueSettings::default()];
        let settings = settings[usize::from(number % 3 > 0)].clone();
        stage.queue_set(&name(number), settings).await;
        let bound = stage.bind(to_queue("amq.fanout", &name(number), "")).await;
        bound.unwrap();
    }
    stage.queue_set("work", dead_to("amq.fanout", None)).await;
    let bodies: Vec<String> = (0..10).map(|n| format!("{n:BODY$}")).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    stage.fill("work", &texts).await;
    let (session, mut deliveries) = stage.access.open_session();
    let consumer = session.subscribe("work", NewConsumer::default());
    let _consumer = consumer.await.unwrap();
    let mut rejected = Vec::new();
    for _ in &bodies {
        let Some(engine::Event::Delivery(delivery)) = deliveries.next().await else {
            panic!("a message was to come");
        };
        rejected.push((delivery.unacked, Settlement::REJECT));
    }
    let before = stage.store.stats().journal_written_bytes;
    session.settle(rejected);
    for number in 0..QUEUES {
        let held = stage.await_held(&name(number), bodies.len()).await;
        let held: Vec<&[u8]> = held.iter().map(|message| &message.body[..]).collect();
        assert!(held == texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
        let (chunk, _) = stage.chunk(&name(number), 0).await.unwrap();
        assert_eq!(chunk.batches().unwrap().len(), 1, "{}", name(number));
    }
    let written = stage.store.stats().journal_written_bytes - before;
    let once = (bodies.len() * BODY) as u64;
    // Once for each manner, with some headers for each message; a copy for each queue would be twelve times as much.
    assert!((2 * once..4 * once).contains(&written), "{written}");
}
