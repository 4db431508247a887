//! Streams: queues that are read by position, by any number of consumers, and keep what they are given.

use std::time::Duration;

use engine::policy::{Kind, Policy, PolicyDocument, Rules, Scope};
use engine::queue::{Limits, NewQueue, Position, QueueSettings, Receive, Settlement};
use engine::{Error, Event, NewConsumer, Subscription};

use crate::sessions::{Peer, numbered};
use crate::stage::{ENDS, START, Stage, eventually};

impl Stage {
    async fn stream(&self, name: &str, texts: &[&str]) {
        self.declare(name, stream()).await.unwrap();
        self.fill(name, texts).await;
    }

    /// First offset that is there.
    fn start(&self, name: &str) -> u64 {
        let topics = self.broker.inventory().topics();
        topics.named(name).unwrap().partitions[0].start()
    }
}

impl Peer {
    async fn read(&self, queue: &str, from: Position) -> Subscription {
        let read = self.session.read(queue, from, NewConsumer::default());
        read.await.unwrap()
    }

    async fn takes(&mut self, texts: &[&str]) {
        for expected in texts {
            let (text, delivery) = self.take_text().await;
            assert_eq!((&*text, delivery.redelivered), (*expected, false));
            self.settle(delivery, Settlement::Ack);
        }
    }
}

fn stream() -> QueueSettings {
    QueueSettings {
        stream: true,
        ..QueueSettings::default()
    }
}

#[tokio::test]
async fn everyone_reads_everything_as_far_as_the_window_goes() {
    let stage = Stage::new().await;
    stage.stream("log", &["a", "b", "c"]).await;
    let (mut one, mut other) = (stage.peer(), stage.peer());
    let of_one = one.session.read("log", Position::First, numbered(1, 2));
    let of_one = of_one.await.unwrap();
    let _of_other = other.read("log", Position::First).await;
    other.takes(&["a", "b", "c"]).await;
    let (a, first) = one.take_text().await;
    let (b, _second) = one.take_text().await;
    assert_eq!((&*a, &*b), ("a", "b"));
    assert_eq!(first.message.sequence, 0);
    one.nothing().await;
    // Whatever becomes of it, it does not come again: there is only room.
    one.settle(first, Settlement::REQUEUE);
    let (c, third) = one.take_text().await;
    assert_eq!((&*c, third.redelivered), ("c", false));
    assert_eq!(stage.broker.consumers(of_one.queue()), 2);
    assert_eq!(stage.depth("log").await, (3, 0, 0));
    drop(third);
    stage.fill("log", &["d"]).await;
    one.takes(&["d"]).await;
    other.takes(&["d"]).await;
    of_one.cancel().await;
    stage.fill("log", &["e"]).await;
    other.takes(&["e"]).await;
    one.nothing().await;
}

#[tokio::test]
async fn a_reader_begins_where_it_says() {
    let stage = Stage::new().await;
    stage.stream("log", &["a", "b"]).await;
    stage.skip(Duration::from_secs(10));
    stage.fill("log", &["c", "d"]).await;
    for (from, there, behind) in [
        (Position::First, &["a", "b", "c", "d"][..], "first"),
        (Position::Last, &["first"], "last"),
        (Position::Next, &[], "next"),
        (
            Position::Offset(2),
            &["c", "d", "first", "last", "next"],
            "offset",
        ),
        (
            Position::Time(START + 1),
            &["c", "d", "first", "last", "next", "offset"],
            "time",
        ),
        (Position::Time(START + 3_600_000), &[], "never"),
    ] {
        let mut peer = stage.peer();
        let _reader = peer.read("log", from).await;
        peer.takes(there).await;
        peer.nothing().await;
        stage.fill("log", &[behind]).await;
        if behind != "never" {
            peer.takes(&[behind]).await;
        }
    }
}

#[tokio::test]
async fn an_offset_to_come_is_waited_for() {
    let stage = Stage::new().await;
    stage.stream("log", &["a"]).await;
    let mut peer = stage.peer();
    let _reader = peer.read("log", Position::Offset(3)).await;
    stage.fill("log", &["b", "c"]).await;
    peer.nothing().await;
    stage.fill("log", &["d", "e"]).await;
    peer.takes(&["d", "e"]).await;
}

#[tokio::test]
async fn who_waits_is_handed_what_comes() {
    let stage = Stage::new().await;
    stage.stream("log", &[]).await;
    let mut peer = stage.peer();
    let _reader = peer.read("log", Position::Next).await;
    for round in 0..20 {
        let text = format!("m{round}");
        // It waits already, or is about to.
        let texts = [&*text];
        let ((), taken) = tokio::join!(stage.fill("log", &texts), peer.take_text());
        assert_eq!(taken.0, text);
        peer.settle(taken.1, Settlement::Ack);
    }
}

#[tokio::test]
async fn readers_and_consumers_of_a_session_all_get_their_share() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    stage.stream("log", &many).await;
    stage.fill("q", &many).await;
    let mut peer = stage.peer();
    let read = peer.session.read("log", Position::First, numbered(1, 100));
    let _reader = read.await.unwrap();
    // Each message is asked for by itself.
    let _consumer_of_leases = peer.session.subscribe("q", numbered(2, 1)).await.unwrap();
    let mut counts = [0, 0];
    for _ in 0..100 {
        let delivery = peer.take().await;
        counts[usize::try_from(delivery.consumer).unwrap() - 1] += 1;
        peer.settle(delivery, Settlement::Ack);
    }
    assert_eq!(counts, [50, 50]);
}

#[tokio::test]
async fn what_was_acknowledged_stays_whatever_happens() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.stream("log", &["a", "b", "c"]).await;
        let receive = Receive {
            max: 10,
            ..Receive::default()
        };
        let leased = stage.access.receive("log", receive).await.unwrap();
        assert_eq!(leased.len(), 3);
        let done = leased
            .iter()
            .map(|m| (m.receipt, Settlement::Ack))
            .collect();
        stage.access.settle("log", done).await.unwrap();
        assert_eq!(stage.depth("log").await, (0, 0, 0));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let stage = stage.again(end).await;
        let mut peer = stage.peer();
        let _reader = peer.read("log", Position::First).await;
        peer.takes(&["a", "b", "c"]).await;
        assert_eq!(stage.depth("log").await, (0, 0, 0), "{end:?}");
    }
}

#[tokio::test]
async fn age_and_bytes_are_what_limits_it() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        retention_ms: 60_000,
        retention_bytes: Some(2000),
        ..stream()
    };
    stage.declare("log", settings).await.unwrap();
    let text = "x".repeat(100);
    for _ in 0..50 {
        stage.fill("log", &[&text]).await;
    }
    eventually("there are too many bytes", || stage.start("log") > 30).await;
    let start = stage.start("log");
    assert!(start < 50, "some are left");
    let mut peer = stage.peer();
    let _reader = peer.read("log", Position::First).await;
    let first = peer.take().await;
    assert_eq!(first.message.sequence, start);
    stage.skip(Duration::from_secs(61));
    eventually("they are too old", || stage.start("log") == 50).await;
    assert_eq!(stage.depth("log").await, (0, 0, 0));
}

#[tokio::test]
async fn a_policy_limits_it_too() {
    let stage = Stage::new().await;
    stage.stream("log", &["a", "b"]).await;
    let rules = Rules {
        messages_max: Some(1),
        message_ttl_ms: Some(1),
        retention_ms: Some(1000),
        ..Rules::default()
    };
    let policy = Policy {
        vhost: "/".into(),
        name: "short".into(),
        kind: Kind::User,
        document: PolicyDocument {
            pattern: "^log$".into(),
            scope: Scope::All,
            priority: 0,
            rules,
        },
    };
    stage.access.put_policy(policy).await.unwrap();
    assert_eq!(
        stage.depth("log").await,
        (2, 0, 0),
        "nothing is crowded out"
    );
    assert_eq!(stage.start("log"), 0);
    stage.skip(Duration::from_secs(2));
    eventually("they are too old", || stage.start("log") == 2).await;
}

#[tokio::test]
async fn its_readers_hear_when_it_goes() {
    let stage = Stage::new().await;
    stage.stream("log", &["a"]).await;
    let mut peer = stage.peer();
    let read = peer.session.read("log", Position::Next, numbered(7, 1));
    let _reader = read.await.unwrap();
    peer.nothing().await;
    stage.access.delete_queue("log").await.unwrap();
    let event = peer.next().await;
    assert!(
        matches!(event, Event::Cancelled { consumer: 7 }),
        "{event:?}"
    );
    let gone = peer.session.read("log", Position::Next, numbered(8, 1));
    assert_eq!(gone.await.unwrap_err(), Error::UnknownQueue);
}

#[tokio::test]
async fn another_queue_of_its_topic_may_go() {
    let stage = Stage::new().await;
    stage
        .declare("log", QueueSettings::default())
        .await
        .unwrap();
    let attached = NewQueue {
        name: "other".to_owned(),
        topic: Some("log".to_owned()),
        settings: QueueSettings::default(),
    };
    stage.access.create_queue(attached).await.unwrap();
    let mut peer = stage.peer();
    let _reader = peer.read("log", Position::First).await;
    peer.nothing().await;
    // It is woken by that, although nothing came for it.
    stage.access.delete_queue("other").await.unwrap();
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.fill("log", &["a"]).await;
    };
    tokio::join!(peer.takes(&["a"]), later);
}

#[tokio::test]
async fn a_stream_that_goes_while_it_is_read_is_missed_too() {
    let stage = Stage::new().await;
    stage.stream("log", &["a", "b", "c"]).await;
    let mut peer = stage.peer();
    let _reader = peer.read("log", Position::First).await;
    let (first, held) = peer.take_text().await;
    assert_eq!(first, "a");
    stage.access.delete_queue("log").await.unwrap();
    peer.settle(held, Settlement::Ack);
    // What was read ahead may still come.
    let mut event = peer.next().await;
    while matches!(event, Event::Delivery(_)) {
        event = peer.next().await;
    }
    assert!(matches!(event, Event::Cancelled { consumer: 0 }));
}

#[tokio::test]
async fn a_queue_that_is_no_stream_is_read_without_being_changed() {
    let stage = Stage::new().await;
    stage.declare("q", QueueSettings::default()).await.unwrap();
    stage.fill("q", &["a", "b"]).await;
    let mut peer = stage.peer();
    let _reader = peer.read("q", Position::First).await;
    peer.takes(&["a", "b"]).await;
    assert_eq!(stage.depth("q").await, (2, 0, 0));
    let _consumer_of_leases = peer.consume("q", 10).await;
    peer.takes(&["a", "b"]).await;
    assert_eq!(stage.depth("q").await, (0, 0, 0));
}

#[tokio::test]
async fn what_cannot_be_a_stream_is_refused() {
    let stage = Stage::new().await;
    let with_limits = |limits| QueueSettings { limits, ..stream() };
    for settings in [
        QueueSettings {
            priorities: 5,
            ..stream()
        },
        with_limits(Limits {
            messages_max: Some(5),
            ..Limits::default()
        }),
        with_limits(Limits {
            message_ttl_ms: Some(5),
            ..Limits::default()
        }),
    ] {
        let refused = stage.declare("log", settings).await;
        assert!(matches!(refused, Err(Error::InvalidConfig(_))));
    }
}
