//! Sessions: consumers are handed messages as they come, hold them for as long as they are there, and give everything
//! back when they go.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use engine::queue::{
    Credit, DeadLetterPolicy, Lifetime, Limits, NewMessage, NewQueue, Overflow, QueueSettings,
    Receive, Settlement,
};
use engine::{
    Deliveries, Delivery, Error, Event, NewConsumer, Removal, Result, Session, Subscription,
};

use storage::{Log, StreamId};

use crate::stage::{ENDS, End, Stage, eventually, outgoing};

/// A session and what it is handed.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) deliveries: Deliveries,
}

impl Stage {
    pub(crate) fn peer(&self) -> Peer {
        let (session, deliveries) = self.access.open_session();
        Peer {
            session,
            deliveries,
        }
    }

    pub(crate) async fn declare(&self, name: &str, settings: QueueSettings) -> Result<()> {
        let queue = NewQueue {
            name: name.to_owned(),
            settings,
            topic: None,
        };
        self.access.create_queue(queue).await.map(|_| ())
    }

    pub(crate) async fn fill(&self, queue: &str, texts: &[&str]) {
        let message = |text: &&str| NewMessage {
            body: Bytes::copy_from_slice(text.as_bytes()),
            ..NewMessage::default()
        };
        let messages = texts.iter().map(message).collect();
        for sent in self.access.send(queue, messages).await.unwrap() {
            sent.unwrap();
        }
    }

    pub(crate) async fn depth(&self, queue: &str) -> (u64, u64, u64) {
        let depth = self.access.queue_depth(queue).await.unwrap();
        (depth.ready, depth.in_flight, depth.delayed)
    }

    fn exists(&self, queue: &str) -> bool {
        self.access.queue(queue).is_ok()
    }
}

impl Peer {
    pub(crate) async fn consume(&self, queue: &str, prefetch: u32) -> Subscription {
        self.join(queue, numbered(1, prefetch)).await.unwrap()
    }

    async fn join(&self, queue: &str, consumer: NewConsumer) -> Result<Subscription> {
        self.session.subscribe(queue, consumer).await
    }

    pub(crate) async fn next(&mut self) -> Event {
        let next = tokio::time::timeout(Duration::from_secs(20), self.deliveries.next());
        next.await.expect("nothing came").unwrap()
    }

    pub(crate) async fn take(&mut self) -> Delivery {
        match self.next().await {
            Event::Delivery(delivery) => *delivery,
            other @ Event::Cancelled { .. } => panic!("not a delivery: {other:?}"),
        }
    }

    pub(crate) async fn take_text(&mut self) -> (String, Delivery) {
        let delivery = self.take().await;
        (text(&delivery), delivery)
    }

    pub(crate) async fn nothing(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(50), self.deliveries.next());
        assert!(next.await.is_err(), "something came");
    }

    pub(crate) fn settle(&self, delivery: Delivery, outcome: Settlement) {
        self.session.settle(vec![(delivery.unacked, outcome)]);
    }
}

pub(crate) fn numbered(number: u64, prefetch: u32) -> NewConsumer {
    NewConsumer {
        number,
        credits: vec![Credit::new(Some(prefetch))],
        ..NewConsumer::default()
    }
}

pub(crate) fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

#[tokio::test]
async fn what_comes_is_handed_over_as_far_as_the_window_goes() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    let mut peer = stage.peer();
    let consumer = peer.consume("q", 2).await;
    stage.fill("q", &["a", "b", "c"]).await;
    let (a, first) = peer.take_text().await;
    let (b, second) = peer.take_text().await;
    assert_eq!((&*a, &*b, first.redelivered), ("a", "b", false));
    peer.nothing().await;
    peer.settle(first, Settlement::Ack);
    let (c, third) = peer.take_text().await;
    assert_eq!(c, "c");
    assert_eq!(stage.broker.consumers(consumer.queue()), 1);
    consumer.cancel().await;
    stage.fill("q", &["d"]).await;
    peer.nothing().await;
    // What it holds stays with it.
    assert_eq!(stage.depth("q").await, (1, 2, 0));
    for held in [second, third] {
        peer.settle(held, Settlement::Ack);
    }
    assert_eq!(stage.depth("q").await, (1, 0, 0));
}

#[tokio::test]
async fn everything_comes_back_in_order_when_a_session_goes() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    stage.fill("q", &["a", "b", "c", "d"]).await;
    let mut peer = stage.peer();
    let consumer = peer.consume("q", 3).await;
    // One of them is not even looked at.
    let (a, b) = (peer.take().await, peer.take().await);
    assert_eq!((text(&a), text(&b)), ("a".into(), "b".into()));
    drop((a, b, peer, consumer));
    let mut other = stage.peer();
    let _consumer = other.consume("q", 10).await;
    for (expected, redelivered) in [("a", true), ("b", true), ("c", false), ("d", false)] {
        let (text, delivery) = other.take_text().await;
        assert_eq!((&*text, delivery.redelivered), (expected, redelivered));
        other.settle(delivery, Settlement::Ack);
    }
    assert_eq!(stage.depth("q").await, (0, 0, 0));
}

#[tokio::test]
async fn a_message_given_back_takes_its_old_place() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    stage.fill("q", &["a", "b"]).await;
    let mut peer = stage.peer();
    let consumer = peer.consume("q", 1).await;
    let (_, a) = peer.take_text().await;
    consumer.cancel().await;
    peer.settle(a, Settlement::REQUEUE);
    let got = peer.session.get("q").await.unwrap().unwrap();
    assert_eq!(
        (text(&got), got.redelivered, got.ready),
        ("a".into(), true, 1)
    );
    let next = peer.session.get("q").await.unwrap().unwrap();
    assert_eq!(
        (text(&next), next.redelivered, next.ready),
        ("b".into(), false, 0)
    );
    assert!(peer.session.get("q").await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_done_stays_done_and_what_was_held_is_there_again() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.declare("q", QueueSettings::default()).await.unwrap();
        stage.fill("q", &["a", "b", "c"]).await;
        let mut peer = stage.peer();
        let _consumer = peer.consume("q", 3).await;
        let (a, b, _c) = (peer.take().await, peer.take().await, peer.take().await);
        peer.settle(a, Settlement::Ack);
        peer.settle(b, Settlement::FAIL);
        let b = peer.take().await;
        assert_eq!(text(&b), "b");
        // Whatever is asked of the queue partition now is answered when all of that is on disk.
        stage.access.clear_queue("q").await.unwrap();
        let stage = stage.again(end).await;
        let mut peer = stage.peer();
        let _consumer = peer.consume("q", 10).await;
        let (b, c) = (peer.take().await, peer.take().await);
        assert_eq!((text(&b), text(&c)), ("b".into(), "c".into()), "{end:?}");
        // Nobody knows any more that c was leased, but that it may have been.
        assert!(b.redelivered && c.redelivered, "{end:?}");
        peer.nothing().await;
        stage.fill("q", &["d"]).await;
        let d = peer.take().await;
        assert_eq!((text(&d), d.redelivered), ("d".into(), false), "{end:?}");
    }
}

#[tokio::test]
async fn a_refused_message_is_dropped_or_dead_lettered() {
    let stage = Stage::new().await;
    stage
        .declare("dead", QueueSettings::default())
        .await
        .unwrap();
    stage
        .declare("plain", QueueSettings::default())
        .await
        .unwrap();
    let dead_letter = Some(DeadLetterPolicy {
        queue: "dead".into(),
        attempts_max: 1000,
    });
    let settings = QueueSettings {
        dead_letter,
        delivery_limit: Some(1),
        ..QueueSettings::default()
    };
    stage.declare("q", settings).await.unwrap();
    let mut peer = stage.peer();
    let _consumers = (peer.consume("plain", 1).await, peer.consume("q", 1).await);
    stage.fill("plain", &["gone"]).await;
    let (_, delivery) = peer.take_text().await;
    peer.settle(delivery, Settlement::REJECT);
    stage.fill("q", &["refused", "failed"]).await;
    let (_, refused) = peer.take_text().await;
    peer.settle(refused, Settlement::REJECT);
    for redelivered in [false, true] {
        let (text, failed) = peer.take_text().await;
        assert_eq!((&*text, failed.redelivered), ("failed", redelivered));
        peer.settle(failed, Settlement::FAIL);
    }
    for (expected, reason) in [("refused", "rejected"), ("failed", "delivery_limit")] {
        let dead = stage.access.queue("dead").unwrap();
        eventually("a dead letter", || dead.numbers().ready > 0).await;
        let dead = peer.session.get("dead").await.unwrap().unwrap();
        let from = dead.message.dead.clone().unwrap();
        assert_eq!((text(&dead), &*from.reason), (expected.into(), reason));
        peer.settle(*dead, Settlement::Ack);
    }
    assert_eq!(stage.depth("plain").await, (0, 0, 0));
    assert_eq!(stage.depth("q").await, (0, 0, 0));
}

#[tokio::test]
async fn the_first_of_those_lost_counts_as_failed() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        delivery_limit: Some(1),
        ..QueueSettings::default()
    };
    stage.declare("q", settings).await.unwrap();
    stage.fill("q", &["culprit", "bystander"]).await;
    for round in 0..2 {
        let mut peer = stage.peer();
        let consumer = peer.consume("q", 10).await;
        let (culprit, bystander) = (peer.take().await, peer.take().await);
        assert_eq!(text(&culprit), "culprit", "{round}");
        let lost = |charged| Settlement::lost(charged);
        let outcomes = vec![
            (culprit.unacked, lost(true)),
            (bystander.unacked, lost(false)),
        ];
        consumer.cancel().await;
        peer.session.settle(outcomes);
    }
    let peer = stage.peer();
    let left = peer.session.get("q").await.unwrap().unwrap();
    assert_eq!(text(&left), "bystander");
}

#[tokio::test]
async fn equals_take_turns_and_the_greater_come_first() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    let mut peer = stage.peer();
    let equals = [numbered(1, 2), numbered(2, 2)];
    let [first, second] = equals;
    let _equals = (
        peer.join("q", first).await.unwrap(),
        peer.join("q", second).await.unwrap(),
    );
    let mut greater = numbered(3, 2);
    greater.priority = 5;
    let _greater = peer.join("q", greater).await.unwrap();
    let mut order = Vec::new();
    let mut held = Vec::new();
    for text in ["a", "b", "c", "d", "e", "f", "g"] {
        stage.fill("q", &[text]).await;
        if text != "g" {
            let delivery = peer.take().await;
            order.push(delivery.consumer);
            held.push(delivery);
        }
    }
    assert_eq!(order, [3, 3, 1, 2, 1, 2]);
    peer.nothing().await;
}

#[tokio::test]
async fn a_window_is_shared() {
    let stage = Stage::new().await;
    for queue in ["p", "q"] {
        stage
            .declare(queue, QueueSettings::default())
            .await
            .unwrap();
        stage.fill(queue, &["1", "2"]).await;
    }
    let mut peer = stage.peer();
    let credit = Credit::new(Some(1));
    let mut consumers = Vec::new();
    for (number, queue) in [(1, "p"), (2, "q")] {
        let consumer = NewConsumer {
            number,
            credits: vec![credit.clone()],
            ..NewConsumer::default()
        };
        consumers.push(peer.join(queue, consumer).await.unwrap());
    }
    for _ in 0..4 {
        let delivery = peer.take().await;
        peer.nothing().await;
        assert_eq!(credit.held(), 1);
        peer.settle(delivery, Settlement::Ack);
    }
    peer.nothing().await;
}

#[tokio::test]
async fn one_consumer_at_a_time() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        single_consumer: true,
        ..QueueSettings::default()
    };
    stage.declare("q", settings).await.unwrap();
    let mut peer = stage.peer();
    let first = peer.join("q", numbered(1, 1)).await.unwrap();
    let _second = peer.join("q", numbered(2, 10)).await.unwrap();
    stage.fill("q", &["a", "b"]).await;
    let a = peer.take().await;
    assert_eq!(a.consumer, 1);
    peer.nothing().await;
    first.cancel().await;
    let b = peer.take().await;
    assert_eq!((b.consumer, text(&b)), (2, "b".into()));
}

#[tokio::test]
async fn an_exclusive_consumer_is_alone() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    let peer = stage.peer();
    let exclusive = || NewConsumer {
        exclusive: true,
        ..numbered(1, 1)
    };
    let first = peer.join("q", exclusive()).await.unwrap();
    let refused = peer.join("q", numbered(2, 1)).await;
    assert_eq!(refused.map(|_| ()), Err(Error::InUse));
    first.cancel().await;
    let _second = peer.join("q", numbered(2, 1)).await.unwrap();
    let refused = peer.join("q", exclusive()).await;
    assert_eq!(refused.map(|_| ()), Err(Error::InUse));
}

#[tokio::test]
async fn queues_go_with_whom_they_belong_to() {
    let stage = Stage::new().await;
    let peer = stage.peer();
    let of = |lifetime| QueueSettings {
        lifetime,
        ..QueueSettings::default()
    };
    let exclusive = of(Lifetime {
        transient: true,
        auto_delete: false,
        owner: Some(peer.session.id()),
    });
    stage.declare("mine", exclusive).await.unwrap();
    let other = stage.peer();
    let locked = other.join("mine", numbered(1, 1)).await;
    assert_eq!(locked.map(|_| ()), Err(Error::Locked));
    peer.session.close().await;
    assert!(!stage.exists("mine"));
    let auto_delete = of(Lifetime {
        auto_delete: true,
        ..Lifetime::default()
    });
    stage.declare("auto", auto_delete).await.unwrap();
    let consumers = (
        other.join("auto", numbered(1, 1)).await.unwrap(),
        other.join("auto", numbered(2, 1)).await.unwrap(),
    );
    consumers.0.cancel().await;
    assert!(stage.exists("auto"));
    drop(consumers.1);
    eventually("the queue goes", || !stage.exists("auto")).await;
    let transient = of(Lifetime {
        transient: true,
        ..Lifetime::default()
    });
    stage.declare("transient", transient).await.unwrap();
    stage
        .declare("durable", QueueSettings::default())
        .await
        .unwrap();
    // What a restart throws away waits for no sync.
    let durability = |name: &str| {
        let topics = stage.broker.inventory().topics();
        topics.named(name).unwrap().config.durability
    };
    assert_eq!(durability("transient"), storage::Durability::Flush);
    assert_eq!(durability("durable"), storage::Durability::Sync);
    for (name, is_logged) in [("transient", false), ("durable", true)] {
        stage.fill(name, &["a", "b"]).await;
        let mut peer = stage.peer();
        let consumer = peer.consume(name, 10).await;
        let first = peer.take().await;
        peer.settle(first, Settlement::Ack);
        peer.session.sync().await;
        let stream = StreamId {
            owner: consumer.queue().id(),
            part: 0,
        };
        assert_eq!(stage.store.bounds(stream).is_some(), is_logged, "{name}");
    }
    let stage = stage.again(End::Kill).await;
    assert!(!stage.exists("transient"));
    assert!(stage.exists("durable"));
}

#[tokio::test]
async fn a_queue_nobody_uses_expires() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        limits: Limits {
            expires_ms: Some(60_000),
            ..Limits::default()
        },
        ..QueueSettings::default()
    };
    stage.declare("q", settings).await.unwrap();
    let peer = stage.peer();
    let consumer = peer.consume("q", 1).await;
    stage.skip(Duration::from_secs(61));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stage.exists("q"));
    drop(consumer);
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.skip(Duration::from_secs(59));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stage.exists("q"));
    stage.skip(Duration::from_secs(2));
    eventually("the queue goes", || !stage.exists("q")).await;
}

#[tokio::test]
async fn consumers_hear_that_their_queue_is_gone() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    stage.fill("q", &["a"]).await;
    let mut peer = stage.peer();
    let _consumer = peer.join("q", numbered(9, 1)).await.unwrap();
    let held = peer.take().await;
    let unused = Removal {
        if_unused: true,
        ..Removal::default()
    };
    let access = &stage.access;
    let delete = |removal| access.delete_queue_if("q", removal);
    assert_eq!(delete(unused).await, Err(Error::InUse));
    stage.fill("q", &["b", "c"]).await;
    let empty = Removal {
        if_empty: true,
        ..Removal::default()
    };
    assert_eq!(delete(empty).await, Err(Error::NotEmpty));
    assert_eq!(delete(Removal::default()).await, Ok(2));
    assert!(matches!(
        peer.next().await,
        Event::Cancelled { consumer: 9 }
    ));
    // Too late for anything, and harmless.
    peer.settle(held, Settlement::Ack);
}

#[tokio::test]
async fn clearing_leaves_what_is_held() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    stage.fill("q", &["a", "b", "c"]).await;
    let mut peer = stage.peer();
    let _consumer = peer.consume("q", 1).await;
    let held = peer.take().await;
    assert_eq!(stage.access.clear_queue("q").await, Ok(2));
    assert_eq!(stage.depth("q").await, (0, 1, 0));
    drop(held);
    let again = peer.take().await;
    assert_eq!(text(&again), "a");
    let stage = stage.again(End::Kill).await;
    assert_eq!(stage.depth("q").await, (1, 0, 0));
}

#[tokio::test]
async fn receivers_and_consumers_share_a_queue() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    stage.fill("q", &["a", "b"]).await;
    let receive = Receive {
        max: 1,
        ..Receive::default()
    };
    let leased = stage.access.receive("q", receive).await.unwrap();
    assert_eq!(&leased[0].body[..], b"a");
    let mut peer = stage.peer();
    let _consumer = peer.consume("q", 10).await;
    let b = peer.take().await;
    assert_eq!((text(&b), stage.depth("q").await), ("b".into(), (0, 2, 0)));
    peer.nothing().await;
}

fn with_limits(limits: Limits) -> QueueSettings {
    QueueSettings {
        limits,
        ..QueueSettings::default()
    }
}

/// The same, with dead letters that go to `dead`.
fn with_dead(limits: Limits) -> QueueSettings {
    QueueSettings {
        dead_letter: Some(DeadLetterPolicy {
            queue: "dead".into(),
            attempts_max: 1000,
        }),
        ..with_limits(limits)
    }
}

#[tokio::test]
async fn messages_grow_too_old() {
    let stage = Stage::new().await;
    stage
        .declare("dead", QueueSettings::default())
        .await
        .unwrap();
    let limits = || Limits {
        message_ttl_ms: Some(60_000),
        ..Limits::default()
    };
    stage.declare("q", with_limits(limits())).await.unwrap();
    stage.declare("d", with_dead(limits())).await.unwrap();
    for queue in ["q", "d"] {
        stage.fill(queue, &["old", "older"]).await;
    }
    let peer = stage.peer();
    let held = peer.session.get("q").await.unwrap().unwrap();
    stage.skip(Duration::from_secs(59));
    for queue in ["q", "d"] {
        stage.fill(queue, &["young"]).await;
    }
    assert_eq!(stage.depth("q").await, (2, 1, 0));
    stage.skip(Duration::from_secs(1));
    for queue in ["q", "d"] {
        stage.fill(queue, &["younger"]).await;
    }
    assert_eq!(stage.depth("q").await, (2, 1, 0));
    // What was held when its time came dies when it comes back.
    peer.settle(*held, Settlement::REQUEUE);
    assert_eq!(stage.depth("q").await, (2, 0, 0));
    let dead = stage.access.queue("dead").unwrap();
    eventually("dead letters", || dead.numbers().ready == 2).await;
    for text_of in ["old", "older"] {
        let dead_letter = peer.session.get("dead").await.unwrap().unwrap();
        let from = dead_letter.message.dead.clone().unwrap();
        assert_eq!(
            (text(&dead_letter), &*from.reason),
            (text_of.into(), "expired")
        );
        peer.settle(*dead_letter, Settlement::Ack);
    }
    let stage = stage.again(End::Kill).await;
    assert_eq!(stage.depth("q").await, (2, 0, 0));
    assert_eq!(stage.depth("d").await, (2, 0, 0));
}

#[tokio::test]
async fn a_message_that_grew_too_old_on_its_way_leaves_no_lease_behind() {
    for polls in 0..4 {
        let stage = Stage::new().await;
        let settings = QueueSettings {
            retention_ms: 60_000,
            ..QueueSettings::default()
        };
        stage.declare("q", settings).await.unwrap();
        let mut peer = stage.peer();
        let consumer = peer.consume("q", 1).await;
        stage.fill("q", &["old"]).await;
        while stage.depth("q").await != (0, 1, 0) {
            tokio::task::yield_now().await;
        }
        stage.skip(Duration::from_secs(61));
        for _ in 0..polls {
            // Each time the future is dropped wherever it waits.
            let mut next = Box::pin(peer.deliveries.next());
            let poll_once = std::future::poll_fn(|context| {
                assert!(next.as_mut().poll(context).is_pending(), "it is too old");
                std::task::Poll::Ready(())
            });
            poll_once.await;
        }
        if polls == 0 {
            // It was never looked at: it comes back with the end of its consumer, and is too old then.
            drop(consumer);
            drop(peer);
        }
        for round in 0.. {
            if stage.depth("q").await == (0, 0, 0) {
                break;
            }
            assert!(round < 1000, "{:?}", stage.depth("q").await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_message_may_have_less_time_than_those_before_it() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.declare("q", QueueSettings::default()).await.unwrap();
        let message = |text: &'static str, ttl_ms| NewMessage {
            body: Bytes::from_static(text.as_bytes()),
            ttl_ms,
            ..NewMessage::default()
        };
        let messages = vec![
            message("stays", None),
            message("late", Some(90_000)),
            message("soon", Some(1000)),
            message("at once", Some(0)),
        ];
        stage.access.send("q", messages).await.unwrap();
        assert_eq!(stage.depth("q").await, (3, 0, 0));
        let stage = stage.again(end).await;
        stage.skip(Duration::from_secs(1));
        let peer = stage.peer();
        for expected in ["stays", "late"] {
            let got = peer.session.get("q").await.unwrap().unwrap();
            assert_eq!(text(&got), expected, "{end:?}");
            peer.settle(*got, Settlement::REQUEUE);
            let got = peer.session.get("q").await.unwrap().unwrap();
            peer.settle(*got, Settlement::Ack);
        }
        assert!(peer.session.get("q").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_consumer_gets_what_would_die_at_once() {
    let stage = Stage::new().await;
    let limits = Limits {
        message_ttl_ms: Some(0),
        ..Limits::default()
    };
    stage.declare("q", with_limits(limits)).await.unwrap();
    stage.fill("q", &["nobody is there"]).await;
    let mut peer = stage.peer();
    let _consumer = peer.consume("q", 1).await;
    stage.fill("q", &["a", "b"]).await;
    assert_eq!(peer.take_text().await.0, "a");
    assert_eq!(stage.depth("q").await, (0, 0, 0));
}

#[tokio::test]
async fn a_consumer_gets_what_its_queue_has_no_room_for() {
    let stage = Stage::new().await;
    for (queue, most) in [("none", 0), ("one", 1)] {
        let limits = Limits {
            messages_max: Some(most),
            ..Limits::default()
        };
        stage.declare(queue, with_limits(limits)).await.unwrap();
        stage.fill(queue, &["nobody is there", "nor now"]).await;
        assert_eq!(stage.depth(queue).await, (most, 0, 0), "{queue}");
        stage.access.purge_queue(queue).await.unwrap();
        let mut peer = stage.peer();
        let _consumer = peer.consume(queue, 1).await;
        stage.fill(queue, &["a"]).await;
        let held = peer.take_text().await;
        assert_eq!(held.0, "a", "{queue}");
        stage.fill(queue, &["b", "c"]).await;
        assert_eq!(stage.depth(queue).await, (most, 1, 0), "{queue}");
    }
}

/// Sends four messages, and says which were let in.
async fn send_four(stage: &Stage, queue: &str) -> [bool; 4] {
    let message = |text: &'static str| NewMessage {
        body: Bytes::from_static(text.as_bytes()),
        ..NewMessage::default()
    };
    let messages = ["a", "b", "c", "d"].map(message).to_vec();
    let sent = stage.access.send(queue, messages).await.unwrap();
    let let_in = sent.into_iter().map(|sent| match sent {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, Error::QueueFull);
            false
        }
    });
    let_in.collect::<Vec<_>>().try_into().unwrap()
}

/// Takes everything that is ready in a queue.
async fn drain(peer: &Peer, queue: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(got) = peer.session.get(queue).await.unwrap() {
        let from = got.message.dead.as_ref();
        let from = from.map(|dead| format!(" {} of {}", dead.reason, dead.queue));
        texts.push(format!("{}{}", text(&got), from.unwrap_or_default()));
        peer.settle(*got, Settlement::Ack);
    }
    texts.sort();
    texts
}

#[tokio::test]
async fn what_is_too_much_dies_or_is_refused() {
    let stage = Stage::new().await;
    stage
        .declare("dead", QueueSettings::default())
        .await
        .unwrap();
    let limits = |overflow| Limits {
        messages_max: Some(2),
        overflow,
        ..Limits::default()
    };
    let bytes = Limits {
        bytes_max: Some(2),
        ..Limits::default()
    };
    let (all, two) = ([true; 4], [true, true, false, false]);
    for (queue, settings, let_in) in [
        ("oldest", with_dead(limits(Overflow::DropOldest)), all),
        ("newest", with_dead(limits(Overflow::Refuse)), two),
        (
            "limited",
            with_dead(limits(Overflow::RefuseToDeadLetter)),
            two,
        ),
        ("bytes", with_limits(bytes), all),
    ] {
        stage.declare(queue, settings).await.unwrap();
        assert_eq!(send_four(&stage, queue).await, let_in, "{queue}");
    }
    let dead = stage.access.queue("dead").unwrap();
    eventually("dead letters", || dead.numbers().ready == 4).await;
    let stage = stage.again(End::Kill).await;
    let peer = stage.peer();
    let dead_letters = [
        "a maxlen of oldest",
        "b maxlen of oldest",
        "c maxlen of limited",
        "d maxlen of limited",
    ];
    assert_eq!(drain(&peer, "dead").await, dead_letters);
    for (queue, left) in [
        ("oldest", ["c", "d"]),
        ("newest", ["a", "b"]),
        ("limited", ["a", "b"]),
        ("bytes", ["c", "d"]),
    ] {
        assert_eq!(drain(&peer, queue).await, left, "{queue}");
    }
}

#[tokio::test]
async fn a_full_queue_does_not_stand_in_the_way_of_others() {
    let stage = Stage::new().await;
    stage
        .declare("dead", QueueSettings::default())
        .await
        .unwrap();
    for (queue, overflow) in [
        ("refuses", Overflow::Refuse),
        ("dooms", Overflow::RefuseToDeadLetter),
    ] {
        let limits = Limits {
            messages_max: Some(1),
            overflow,
            ..Limits::default()
        };
        stage.declare(queue, with_dead(limits)).await.unwrap();
    }
    stage
        .declare("open", QueueSettings::default())
        .await
        .unwrap();
    for (text, outcome) in [("a", Ok(())), ("b", Err(Error::QueueFull))] {
        let message = NewMessage {
            body: Bytes::from_static(text.as_bytes()),
            ..NewMessage::default()
        };
        let outgoing = outgoing(&stage.broker, message, &["refuses", "dooms", "open"]);
        let sends = stage.broker.send_routed(vec![outgoing]).await;
        assert_eq!(sends.done().await, [outcome]);
    }
    let dead = stage.access.queue("dead").unwrap();
    eventually("a dead letter", || dead.numbers().ready == 1).await;
    let peer = stage.peer();
    assert_eq!(drain(&peer, "open").await, ["a", "b"]);
    assert_eq!(drain(&peer, "refuses").await, ["a"]);
    assert_eq!(drain(&peer, "dooms").await, ["a"]);
    assert_eq!(drain(&peer, "dead").await, ["b maxlen of dooms"]);
}

#[tokio::test]
async fn what_was_refused_is_where_it_belongs_when_its_session_has_ended() {
    for end in ENDS {
        let stage = Stage::new().await;
        for name in ["dead", "q"] {
            let dead_letter = (name == "q").then(|| DeadLetterPolicy {
                queue: "dead".to_owned(),
                attempts_max: 100,
            });
            let settings = QueueSettings {
                dead_letter,
                ..QueueSettings::default()
            };
            stage.declare(name, settings).await.unwrap();
        }
        stage.fill("q", &["a", "b"]).await;
        let mut peer = stage.peer();
        let consumer = peer.consume("q", 10).await;
        for outcome in [Settlement::REJECT, Settlement::Ack] {
            let delivery = peer.take().await;
            peer.settle(delivery, outcome);
        }
        drop(consumer);
        peer.session.close().await;
        let stage = stage.again(end).await;
        assert_eq!(stage.depth("q").await, (0, 0, 0), "{end:?}");
        assert_eq!(stage.depth("dead").await, (1, 0, 0), "{end:?}");
    }
}

#[tokio::test]
async fn a_queue_that_waits_for_no_sync_gets_what_does() {
    let stage = Stage::new().await;
    let transient = |dead: Option<&str>| QueueSettings {
        lifetime: Lifetime {
            transient: true,
            ..Lifetime::default()
        },
        dead_letter: dead.map(|queue| DeadLetterPolicy {
            queue: queue.to_owned(),
            attempts_max: 100,
        }),
        ..QueueSettings::default()
    };
    stage.declare("dead", transient(None)).await.unwrap();
    stage.declare("q", transient(Some("dead"))).await.unwrap();
    let mut peer = stage.peer();
    let _source = peer.session.subscribe("q", numbered(1, 1)).await.unwrap();
    let _dead = peer
        .session
        .subscribe("dead", numbered(2, 1))
        .await
        .unwrap();
    for round in 0..50 {
        let text = format!("m{round}");
        stage.fill("q", &[&text]).await;
        let (arrived, delivery) = peer.take_text().await;
        assert_eq!((&arrived, delivery.consumer), (&text, 1));
        peer.settle(delivery, Settlement::REJECT);
        // Moved in an append that is synced, and others come at once behind it.
        stage.fill("dead", &["direct"]).await;
        for _ in 0..2 {
            let (_, delivery) = peer.take_text().await;
            assert_eq!((delivery.consumer, delivery.redelivered), (2, false));
            assert_eq!(delivery.message.failed, 0);
            peer.settle(delivery, Settlement::Ack);
        }
        stage.fill("q", &["fetched"]).await;
        let (_, fetched) = peer.take_text().await;
        peer.settle(fetched, Settlement::Ack);
    }
    assert_eq!(stage.depth("dead").await, (0, 0, 0));
}
