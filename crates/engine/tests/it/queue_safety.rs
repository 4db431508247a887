//! Queues where it hurts: cut in the middle of something, asked for the impossible, met at the worst moment.

use std::time::Duration;

use bytes::Bytes;
use engine::queue::{
    DeadLetterPolicy, Delivered, MoveState, NewMessage, NewQueue, Ordering, QueueSettings, Receive,
    Sent, Settled, Settlement,
};
use engine::{Error, NewTopic};
use storage::batch::BatchBuilder;

use crate::stage::{End, START, Stage, anyone, eventually};

const LEASE: u64 = 30_000;

/// Names in short what `queues.rs` says at length.
impl Stage {
    async fn has_queue(&self, name: &str, settings: QueueSettings) {
        let queue = NewQueue {
            name: name.to_owned(),
            settings,
            topic: None,
        };
        self.access.create_queue(queue).await.unwrap();
    }

    async fn put(&self, queue: &str, message: NewMessage) -> Sent {
        let sent = self.access.send(queue, vec![message]).await;
        sent.unwrap().remove(0).unwrap()
    }

    async fn take(&self, queue: &str, lease_ms: u64) -> Vec<Delivered> {
        let receive = Receive {
            max: 10,
            lease_ms: Some(lease_ms),
            ..Receive::default()
        };
        self.access.receive(queue, receive).await.unwrap()
    }

    async fn ready(&self, queue: &str) -> u64 {
        let depth = self.access.queue_depth(queue).await.unwrap();
        depth.ready
    }

    async fn await_ready(&self, queue: &str, count: u64) {
        for _ in 0..4000 {
            if self.ready(queue).await == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{queue} has {}, not {count}", self.ready(queue).await);
    }
}

fn message(text: &str) -> NewMessage {
    NewMessage {
        body: Bytes::copy_from_slice(text.as_bytes()),
        ..NewMessage::default()
    }
}

fn of_key(text: &str) -> NewMessage {
    NewMessage {
        key: Some(Bytes::from_static(b"a")),
        ..message(text)
    }
}

fn ordered() -> QueueSettings {
    QueueSettings {
        ordering: Ordering::Key,
        ..QueueSettings::default()
    }
}

fn dead_to(queue: &str) -> QueueSettings {
    QueueSettings {
        dead_letter: Some(DeadLetterPolicy {
            queue: queue.into(),
            attempts_max: 1,
        }),
        ..QueueSettings::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_and_fails_in_one_moment_is_not_taken_for_gone() {
    let stage = Stage::new().await;
    stage.has_queue("dead", QueueSettings::default()).await;
    stage.has_queue("orders", dead_to("dead")).await;
    for round in 1..=30 {
        // Both wait: the first is leased the message for no time, the second comes upon it as leased too often, and all
        // that before the message is durable.
        let waiting = [0, 1].map(|_| {
            let broker = stage.broker.clone();
            tokio::spawn(async move {
                let receive = Receive {
                    max: 1,
                    lease_ms: Some(0),
                    wait_ms: 60_000,
                    ..Receive::default()
                };
                broker
                    .on_behalf_of(anyone())
                    .receive("orders", receive)
                    .await
            })
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        stage.put("orders", message("bad")).await;
        // A receiver that came too late to wait gets it now.
        for _ in 0..1000 {
            if stage.ready("dead").await == round {
                break;
            }
            stage.take("orders", 0).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(stage.ready("dead").await, round, "a message is lost");
        for receiver in waiting {
            receiver.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_attempt_that_is_given_up_takes_nothing_from_the_first() {
    let stage = Stage::new().await;
    stage.has_queue("orders", ordered()).await;
    stage.put("orders", of_key("one")).await;
    let attempt = || Receive {
        max: 10,
        lease_ms: Some(LEASE),
        attempt: Some("try".into()),
        ..Receive::default()
    };
    let first = stage.access.receive("orders", attempt()).await;
    let first = first.unwrap().remove(0);
    for i in 0..60 {
        let broker = stage.broker.clone();
        let again = tokio::spawn(async move {
            broker
                .on_behalf_of(anyone())
                .receive("orders", attempt())
                .await
        });
        tokio::time::sleep(Duration::from_micros(i * 20)).await;
        again.abort();
        let _ = again.await;
    }
    let settles = vec![(first.receipt, Settlement::Ack)];
    let settled = stage.access.settle("orders", settles).await;
    assert_eq!(settled.unwrap(), [Settled::Done]);
    assert_eq!(stage.ready("orders").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_is_cut_brings_nothing_back() {
    for moment in 0..40 {
        let stage = Stage::new().await;
        stage.has_queue("orders", QueueSettings::default()).await;
        for text in ["one", "two"] {
            stage.put("orders", message(text)).await;
        }
        while stage.ready("orders").await > 0 {
            let leased = stage.take("orders", LEASE).await;
            let settles = leased
                .iter()
                .map(|leased| (leased.receipt, Settlement::Ack));
            let access = &stage.access;
            let settled = access.settle("orders", settles.collect());
            assert!(settled.await.unwrap().iter().all(|s| *s == Settled::Done));
        }
        let broker = stage.broker.clone();
        let removal =
            tokio::spawn(async move { broker.on_behalf_of(anyone()).delete_queue("orders").await });
        tokio::time::sleep(Duration::from_micros(moment * 60)).await;
        let stage = stage.again(End::Kill).await;
        removal.abort();
        if stage.broker.inventory().queues().named("orders").is_none() {
            stage.has_queue("orders", QueueSettings::default()).await;
        }
        let left = stage.take("orders", LEASE).await;
        assert!(left.is_empty(), "deleted messages are back: {left:?}");
        let topic = stage.broker.inventory().topics();
        let queue = stage.broker.inventory().queues().named("orders").unwrap();
        assert!(queue.document.owns_topic, "at moment {moment}");
        assert_eq!(topic.named("orders").unwrap().id(), queue.document.topic);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_whose_making_is_cut_is_there_as_a_whole_or_not_at_all() {
    for moment in 0..40 {
        let stage = Stage::new().await;
        let broker = stage.broker.clone();
        let making = tokio::spawn(async move {
            let queue = NewQueue {
                name: "orders".into(),
                ..NewQueue::default()
            };
            broker.on_behalf_of(anyone()).create_queue(queue).await
        });
        tokio::time::sleep(Duration::from_micros(moment * 40)).await;
        let stage = stage.again(End::Kill).await;
        making.abort();
        let there = stage.broker.inventory().queues().named("orders").is_some();
        let topic = stage.broker.inventory().topics().named("orders").is_some();
        assert_eq!(there, topic, "at moment {moment}");
        if !there {
            stage.has_queue("orders", QueueSettings::default()).await;
        }
        stage.put("orders", message("one")).await;
        stage.access.delete_queue("orders").await.unwrap();
        assert!(stage.broker.inventory().topics().named("orders").is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_from_beyond_the_end_is_survived() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        replay_ms: 3_600_000,
        ..QueueSettings::default()
    };
    stage.has_queue("orders", settings).await;
    stage.put("orders", message("one")).await;
    let beyond = stage.access.replay("orders", 1 << 40).await;
    assert_eq!(beyond, Ok(0));
    for text in ["two", "three"] {
        stage.put("orders", message(text)).await;
    }
    let stage = stage.again(End::Kill).await;
    assert_eq!(stage.ready("orders").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_goes_although_it_is_leased_for_no_time() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        retention_ms: 60_000,
        ..ordered()
    };
    stage.has_queue("orders", settings).await;
    stage.put("orders", of_key("old")).await;
    stage.skip(Duration::from_secs(61));
    assert!(stage.take("orders", 0).await.is_empty());
    stage.await_ready("orders", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_remembered_longer_than_its_record_is_kept() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        retention_ms: 60_000,
        ..ordered()
    };
    stage.has_queue("orders", settings).await;
    let with_id = || NewMessage {
        dedup: Some(Bytes::from_static(b"id")),
        ..of_key("one")
    };
    let first = stage.put("orders", with_id()).await;
    stage.skip(Duration::from_secs(61));
    eventually("retention", || stage.bounds("orders").0 == 1).await;
    let stage = stage.again(End::Kill).await;
    let again = stage.put("orders", with_id()).await;
    assert_eq!((again.id, again.duplicate), (first.id, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_takes_what_was_there_although_greater_priorities_come() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        priorities: 2,
        ..QueueSettings::default()
    };
    stage.has_queue("from", settings).await;
    stage.has_queue("to", QueueSettings::default()).await;
    for _ in 0..5 {
        stage.put("from", message("low")).await;
    }
    let access = &stage.access;
    let started = access.start_move("from", Some("to"), Some(20));
    started.await.unwrap();
    for _ in 0..5 {
        let urgent = NewMessage {
            priority: 1,
            ..message("high")
        };
        stage.put("from", urgent).await;
    }
    stage.await_ready("to", 5).await;
    let texts = stage.take("to", LEASE).await;
    assert!(texts.iter().all(|one| &one.body[..] == b"low"), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_whose_start_is_cut_ends_and_makes_room_for_the_next() {
    for moment in 0..25 {
        let stage = Stage::new().await;
        let topic = NewTopic {
            name: "events".into(),
            partitions: Some(3),
            replication: None,
            overrides: std::collections::BTreeMap::new(),
        };
        stage.access.create_topic(topic, false).await.unwrap();
        let queue = NewQueue {
            name: "from".into(),
            topic: Some("events".into()),
            ..NewQueue::default()
        };
        stage.access.create_queue(queue).await.unwrap();
        stage.has_queue("to", QueueSettings::default()).await;
        for _ in 0..6 {
            stage.put("from", message("one")).await;
        }
        let broker = stage.broker.clone();
        let start = tokio::spawn(async move {
            broker
                .on_behalf_of(anyone())
                .start_move("from", Some("to"), None)
                .await
        });
        tokio::time::sleep(Duration::from_micros(moment * 100)).await;
        let stage = stage.again(End::Kill).await;
        start.abort();
        // Whatever became of the first one, it ends; and what it has not moved the next one moves.
        for _ in 0..4000 {
            let access = &stage.access;
            let next = access.start_move("from", Some("to"), None);
            match next.await {
                Ok(_) => break,
                Err(Error::MoveRunning) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(other) => panic!("{other}"),
            }
        }
        stage.await_ready("to", 6).await;
        assert_eq!(stage.ready("from").await, 0, "at moment {moment}");
        let tasks = stage.access.moves("from").await.unwrap();
        assert!(tasks.iter().all(|task| task.state != MoveState::Failed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_get_through_while_very_much_is_asked() {
    let stage = Stage::new().await;
    stage.has_queue("dead", QueueSettings::default()).await;
    stage.has_queue("orders", dead_to("dead")).await;
    for _ in 0..20 {
        stage.put("orders", message("bad")).await;
    }
    let mut askers = tokio::task::JoinSet::new();
    for i in 0..4000 {
        let broker = stage.broker.clone();
        askers.spawn(async move {
            let receive = Receive {
                max: 1,
                lease_ms: Some(0),
                ..Receive::default()
            };
            let queue = ["orders", "dead"][i % 2];
            broker
                .on_behalf_of(anyone())
                .receive(queue, receive)
                .await
                .map(|_| ())
        });
    }
    while let Some(asked) = askers.join_next().await {
        asked.unwrap().unwrap();
    }
    for _ in 0..40 {
        stage.take("orders", 0).await;
    }
    stage.await_ready("dead", 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_fits() {
    let stage = Stage::new().await;
    stage.has_queue("orders", QueueSettings::default()).await;
    let largest = NewMessage {
        body: Bytes::from(vec![b'x'; 1 << 20]),
        ..of_key("")
    };
    stage.put("orders", largest).await;
    assert_eq!(stage.take("orders", LEASE).await[0].body.len(), 1 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_publishes_in_the_brokers_name() {
    let stage = Stage::new().await;
    stage.make("events", &[]).await.unwrap();
    let mut builder = BatchBuilder::new(START.cast_signed()).made_here();
    builder.push(START.cast_signed(), None, Some(b"x"), &[]);
    let refused = stage.publish("events", builder.build()).await;
    assert!(
        matches!(refused, Err(Error::InvalidRecord(_))),
        "{refused:?}"
    );
}
