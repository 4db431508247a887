//! Queues: what is sent is leased, once at a time, and everything outlives the process.

use std::time::Duration;

use bytes::Bytes;
use engine::queue::{
    DeadLetterPolicy, Delivered, FailureClass, MoveState, NewMessage, NewQueue, Ordering,
    QueueSettings, Receipt, Receive, Settled, Settlement,
};
use engine::{Error, NewTopic, Result};

use crate::stage::{ENDS, End, Stage, anyone, batch, eventually};

/// A test's view of queues.
impl Stage {
    pub(crate) async fn queue(&self, name: &str, settings: QueueSettings) {
        let queue = NewQueue {
            name: name.to_owned(),
            settings,
            topic: None,
        };
        self.access.create_queue(queue).await.unwrap();
    }

    async fn send(&self, queue: &str, message: NewMessage) -> Result<engine::queue::Sent> {
        let sent = self.access.send(queue, vec![message]).await?;
        sent.into_iter().next().unwrap()
    }

    pub(crate) async fn say(&self, queue: &str, texts: &[&str]) {
        let messages = texts.iter().map(|text| message(text)).collect();
        for sent in self.access.send(queue, messages).await.unwrap() {
            sent.unwrap();
        }
    }

    pub(crate) async fn receive(&self, queue: &str, max: usize, lease_ms: u64) -> Vec<Delivered> {
        let receive = Receive {
            max,
            lease_ms: Some(lease_ms),
            ..Receive::default()
        };
        self.access.receive(queue, receive).await.unwrap()
    }

    pub(crate) async fn settle(
        &self,
        queue: &str,
        receipt: Receipt,
        settle: Settlement,
    ) -> Settled {
        let settles = vec![(receipt, settle)];
        self.access.settle(queue, settles).await.unwrap()[0]
    }

    async fn counts(&self, queue: &str) -> (u64, u64, u64) {
        let depth = self.access.queue_depth(queue).await.unwrap();
        (depth.ready, depth.in_flight, depth.delayed)
    }
}

fn message(text: &str) -> NewMessage {
    NewMessage {
        body: Bytes::copy_from_slice(text.as_bytes()),
        ..NewMessage::default()
    }
}

fn of_key(key: &'static str, text: &str) -> NewMessage {
    NewMessage {
        key: Some(Bytes::from_static(key.as_bytes())),
        ..message(text)
    }
}

pub(crate) fn texts(delivered: &[Delivered]) -> Vec<&str> {
    let bodies = delivered.iter().map(|d| std::str::from_utf8(&d.body));
    bodies.map(|text| text.unwrap()).collect()
}

fn ordered() -> QueueSettings {
    QueueSettings {
        ordering: Ordering::Key,
        ..QueueSettings::default()
    }
}

fn dead_to(queue: &str, attempts_max: u32) -> QueueSettings {
    QueueSettings {
        dead_letter: Some(DeadLetterPolicy {
            queue: queue.into(),
            attempts_max,
        }),
        ..QueueSettings::default()
    }
}

pub(crate) const LEASE: u64 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_leased_once_and_gone_when_acknowledged() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    stage.say("orders", &["one", "two"]).await;
    let first = stage.receive("orders", 1, LEASE).await;
    assert_eq!(texts(&first), ["one"]);
    assert_eq!(texts(&stage.receive("orders", 10, LEASE).await), ["two"]);
    assert_eq!(stage.counts("orders").await, (0, 2, 0));
    let receipt = first[0].receipt;
    assert_eq!(
        stage.settle("orders", receipt, Settlement::Ack).await,
        Settled::Done
    );
    assert_eq!(
        stage.settle("orders", receipt, Settlement::Ack).await,
        Settled::Gone
    );
    assert_eq!(stage.counts("orders").await, (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_runs_out_makes_the_message_ready_again() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    stage.say("orders", &["one"]).await;
    let first = stage.receive("orders", 1, 1000).await;
    stage.skip(Duration::from_secs(1));
    let second = stage.receive("orders", 1, 1000).await;
    assert_eq!((second[0].acquired, second[0].id), (2, first[0].id));
    assert_eq!(second[0].first_received_ms, first[0].first_received_ms);
    let stale = stage
        .settle("orders", first[0].receipt, Settlement::Ack)
        .await;
    assert_eq!(stale, Settled::Stale);
    assert_eq!(stage.counts("orders").await, (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_receipts_and_counts_outlive_every_end() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.queue("orders", QueueSettings::default()).await;
        stage
            .say("orders", &["gone", "leased", "again", "waits"])
            .await;
        stage
            .send(
                "orders",
                NewMessage {
                    delay_ms: Some(60_000),
                    ..message("delayed")
                },
            )
            .await
            .unwrap();
        let all = stage.receive("orders", 4, LEASE).await;
        stage
            .settle("orders", all[0].receipt, Settlement::Ack)
            .await;
        stage.settle("orders", all[2].receipt, released(0)).await;
        let wait = released(50_000);
        stage.settle("orders", all[3].receipt, wait).await;
        let before = stage.counts("orders").await;
        assert_eq!(before, (1, 1, 2), "{end:?}");

        let stage = stage.again(end).await;
        assert_eq!(stage.counts("orders").await, before, "{end:?}");
        let again = stage.receive("orders", 10, LEASE).await;
        assert_eq!(texts(&again), ["again"]);
        assert_eq!((again[0].acquired, again[0].id), (2, all[2].id));
        let settled = stage
            .settle("orders", all[1].receipt, Settlement::Ack)
            .await;
        assert_eq!(settled, Settled::Done, "{end:?}");
        stage.skip(Duration::from_mins(1));
        let late = stage.receive("orders", 10, LEASE).await;
        // What ran out or waited stands behind the others, in the order in which that ended.
        assert_eq!(texts(&late), ["delayed", "again", "waits"], "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_ids_outlive_every_end() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.queue("orders", ordered()).await;
        let with_id = |key, text, id: &'static str| NewMessage {
            dedup: Some(Bytes::from_static(id.as_bytes())),
            ..of_key(key, text)
        };
        let first = stage.send("orders", with_id("a", "a1", "1")).await.unwrap();
        stage.send("orders", with_id("a", "a2", "2")).await.unwrap();
        stage.send("orders", with_id("b", "b1", "3")).await.unwrap();
        let leased = stage.receive("orders", 1, LEASE).await;
        assert_eq!(texts(&leased), ["a1"]);

        let stage = stage.again(end).await;
        assert_eq!(texts(&stage.receive("orders", 10, LEASE).await), ["b1"]);
        let again = stage.send("orders", with_id("a", "a1", "1")).await.unwrap();
        assert!(again.duplicate, "{end:?}");
        assert_eq!((again.id, again.sequence), (first.id, first.sequence));
        stage
            .settle("orders", leased[0].receipt, Settlement::Ack)
            .await;
        assert_eq!(texts(&stage.receive("orders", 10, LEASE).await), ["a2"]);
        stage.skip(Duration::from_mins(5));
        let late = stage.send("orders", with_id("a", "a1", "1")).await.unwrap();
        assert!(!late.duplicate, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_waits_and_is_served_by_what_comes() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    let broker = stage.broker.clone();
    let waiting = tokio::spawn(async move {
        let receive = Receive {
            max: 1,
            wait_ms: 20_000,
            ..Receive::default()
        };
        broker
            .on_behalf_of(anyone())
            .receive("orders", receive)
            .await
            .unwrap()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    stage.say("orders", &["one"]).await;
    assert_eq!(texts(&waiting.await.unwrap()), ["one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_takes_nothing() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    for _ in 0..20 {
        let broker = stage.broker.clone();
        let waiting = tokio::spawn(async move {
            let receive = Receive {
                max: 1,
                wait_ms: 20_000,
                ..Receive::default()
            };
            broker
                .on_behalf_of(anyone())
                .receive("orders", receive)
                .await
                .unwrap()
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
        // Some are cut while they wait, some while they are being served.
        let (sent, ()) = tokio::join!(stage.send("orders", message("one")), async {
            waiting.abort();
        });
        sent.unwrap();
        let served = waiting.await.is_ok();
        if !served {
            eventually_ready(&stage).await;
            let leased = stage.receive("orders", 1, LEASE).await;
            assert_eq!((texts(&leased), leased[0].acquired), (vec!["one"], 1));
        }
        stage.access.purge_queue("orders").await.unwrap();
    }
}

async fn eventually_ready(stage: &Stage) {
    for _ in 0..1000 {
        if stage.counts("orders").await.0 == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!(
        "the message stays in flight: {:?}",
        stage.counts("orders").await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_too_often_is_moved_with_its_story_and_back() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.queue("dead", QueueSettings::default()).await;
        stage.queue("orders", dead_to("dead", 2)).await;
        stage.say("orders", &["bad"]).await;
        let mut id = None;
        for attempt in 1..=2 {
            let leased = stage.receive("orders", 1, 1000).await;
            assert_eq!(leased[0].acquired, attempt);
            id = Some(leased[0].id);
            stage.skip(Duration::from_secs(1));
        }
        assert_eq!(texts(&stage.receive("orders", 1, 1000).await), [""; 0]);
        let dead = wait_for(&stage, "dead").await;
        let story = dead.dead.clone().unwrap();
        assert_eq!((Some(dead.id), dead.acquired), (id, 3));
        assert_eq!((&*story.queue, &*story.reason), ("orders", "attempts"));
        assert_eq!((story.attempts, story.sequence), (2, 0));
        let start = crate::stage::START;
        assert_eq!((story.sent_ms, story.first_received_ms), (start, start));
        assert_eq!(
            (story.last_received_ms, story.dead_ms),
            (start + 1000, start + 2000)
        );
        assert_eq!(stage.counts("orders").await, (0, 0, 0));
        stage.settle("dead", dead.receipt, released(0)).await;

        let stage = stage.again(end).await;
        assert_eq!(stage.counts("dead").await, (1, 0, 0), "{end:?}");
        let task = stage.access.start_move("dead", None, None).await;
        let task = task.unwrap();
        // One message may have been moved before anybody could look.
        let begun = [MoveState::Running, MoveState::Completed];
        assert!(task.to_move == 1 && begun.contains(&task.state), "{task:?}");
        let back = wait_for(&stage, "orders").await;
        assert_eq!((&back.body[..], back.acquired), (&b"bad"[..], 1));
        assert!(back.dead.is_none());
        for _ in 0..1000 {
            let task = stage.access.moves("dead").await.unwrap().remove(0);
            if task.state == MoveState::Completed {
                assert_eq!(task.moved, 1);
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let stage = stage.again(end).await;
        let task = stage.access.moves("dead").await.unwrap().remove(0);
        assert_eq!((task.state, task.moved), (MoveState::Completed, 1));
        assert_eq!(stage.counts("dead").await, (0, 0, 0), "{end:?}");
    }
}

async fn wait_for(stage: &Stage, queue: &str) -> Delivered {
    for _ in 0..1000 {
        if let Some(one) = stage.receive(queue, 1, LEASE).await.pop() {
            return one;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("nothing comes to {queue}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_counted_by_where_they_failed() {
    let stage = Stage::new().await;
    stage.queue("dead", QueueSettings::default()).await;
    stage.queue("orders", dead_to("dead", 1)).await;
    stage.say("orders", &["one"]).await;
    assert_eq!(stage.receive("orders", 1, 0).await.len(), 1);
    assert!(stage.receive("orders", 1, 0).await.is_empty());
    let one = wait_for(&stage, "dead").await;
    let back = released(0);
    let back = stage.settle("dead", one.receipt, back).await;
    assert_eq!(back, Settled::Done);
    let texts: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    stage.say("dead", &texts).await;
    for (max, strays, more) in [(1000, 200, false), (201, 200, false), (200, 199, true)] {
        let dead_letters = stage.access.dead_letters("dead", max).await;
        let dead_letters = dead_letters.unwrap();
        assert_eq!(dead_letters.sources[&Some("orders".to_owned())], 1, "{max}");
        assert_eq!(
            (dead_letters.sources[&None], dead_letters.more),
            (strays, more),
            "{max}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_dead_letter_queue_messages_stay() {
    let stage = Stage::new().await;
    stage.queue("orders", dead_to("nowhere", 1)).await;
    stage.say("orders", &["bad"]).await;
    for attempt in 1..4 {
        let leased = wait_for(&stage, "orders").await;
        assert_eq!(leased.acquired, attempt);
        stage.settle("orders", leased.receipt, released(0)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_obeys_its_rate_goes_on_after_a_kill_and_can_be_cancelled() {
    let mut stage = Stage::new().await;
    stage.queue("from", QueueSettings::default()).await;
    stage.queue("to", QueueSettings::default()).await;
    let many: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    stage.say("from", &many).await;
    let to = Some("to");
    let started = stage.access.start_move("from", to, Some(100)).await;
    let task = started.unwrap();
    let second = stage.access.start_move("from", to, None).await;
    assert_eq!(second, Err(Error::MoveRunning));
    tokio::time::sleep(Duration::from_millis(300)).await;
    stage = stage.again(End::Kill).await;
    let moved_before = stage.counts("to").await.0;
    for _ in 0..1000 {
        if stage.counts("to").await.0 > moved_before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = stage.access.cancel_move(task.id).await.unwrap();
    assert_eq!((ended.id, ended.state), (task.id, MoveState::Cancelled));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (left, arrived) = (stage.counts("from").await.0, stage.counts("to").await.0);
    assert_eq!(left + arrived, 200);
    assert!(left > 0 && arrived > moved_before, "{left} {arrived}");
    let again = stage.access.cancel_move(task.id).await;
    assert_eq!(again, Err(Error::UnknownMove));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_received_message_by_message_and_a_queue_read_by_offset() {
    let stage = Stage::new().await;
    stage.make("events", &[]).await.unwrap();
    stage.publish("events", batch(&["before"])).await.unwrap();
    let queue = NewQueue {
        name: "billing".into(),
        topic: Some("events".into()),
        ..NewQueue::default()
    };
    stage.access.create_queue(queue).await.unwrap();
    stage
        .publish("events", batch(&["after", "more"]))
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let leased = stage.receive("billing", 10, LEASE).await;
        seen.extend(texts(&leased).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, ["before", "after", "more"]);
    // Both partitions are the queue's.
    for text in ["x", "y"] {
        stage.say("billing", &[text]).await;
    }
    assert_eq!(stage.counts("billing").await, (2, 3, 0));

    stage.queue("jobs", QueueSettings::default()).await;
    stage.say("jobs", &["one", "two"]).await;
    assert_eq!(stage.values("jobs", 0).await.unwrap(), ["one", "two"]);
    stage.publish("jobs", batch(&["three"])).await.unwrap();
    let leased = stage.receive("jobs", 10, LEASE).await;
    assert_eq!(texts(&leased), ["one", "two", "three"]);

    let stage = stage.again(End::Kill).await;
    assert_eq!(stage.counts("billing").await, (2, 3, 0));
    stage.access.delete_queue("billing").await.unwrap();
    // The three from before, and one of the two that took turns.
    assert_eq!(stage.values("events", 0).await.unwrap().len(), 4);
    stage.access.delete_queue("jobs").await.unwrap();
    assert!(stage.values("jobs", 0).await.is_err());
    let stage = stage.again(End::Kill).await;
    assert!(stage.broker.inventory().queues().is_empty());
    let left = stage.documents("").await;
    assert!(left.iter().all(|key| !key.contains("queue")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_in_several_partitions_is_settled_in_all_of_them_or_in_none() {
    for seed in 0..20 {
        let stage = Stage::new().await;
        let topic = NewTopic {
            name: "events".into(),
            partitions: Some(8),
            ..NewTopic::default()
        };
        let made = stage.access.create_topic(topic, false).await;
        made.unwrap();
        let queue = NewQueue {
            name: "billing".into(),
            topic: Some("events".into()),
            ..NewQueue::default()
        };
        stage.access.create_queue(queue).await.unwrap();
        // They take turns.
        stage.say("billing", &["x"; 8]).await;
        let mut held = Vec::new();
        while held.len() < 8 {
            held.extend(stage.receive("billing", 10, LEASE).await);
        }
        let settles = held.iter().map(|m| (m.receipt, Settlement::Ack)).collect();
        let access = &stage.access;
        let mut settle = Box::pin(access.settle("billing", settles));
        // It is handed over, and the power fails before or after it is on disk.
        let waited = tokio::time::timeout(Duration::from_micros(seed * 20), &mut settle).await;
        let was_answered = waited.is_ok();
        drop(settle);
        let stage = stage.again(End::PowerLoss(seed)).await;
        let (ready, in_flight, _) = stage.counts("billing").await;
        match ready + in_flight {
            0 => {}
            8 if !was_answered => {}
            left => panic!("{left} of 8 are left, answered: {was_answered}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_is_forgotten_by_the_log_unless_it_is_kept_for_replay() {
    for replay_ms in [0, 3_600_000] {
        let stage = Stage::new().await;
        let settings = QueueSettings {
            replay_ms,
            ..QueueSettings::default()
        };
        stage.queue("orders", settings).await;
        let many: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        stage.say("orders", &many).await;
        for _ in 0..10 {
            for leased in stage.receive("orders", 10, LEASE).await {
                stage
                    .settle("orders", leased.receipt, Settlement::Ack)
                    .await;
            }
        }
        assert_eq!(stage.counts("orders").await, (0, 0, 0));
        if replay_ms == 0 {
            eventually("the log forgets", || stage.bounds("orders").0 == 100).await;
        } else {
            assert_eq!(stage.access.replay("orders", 40).await, Ok(60));
            let stage = stage.again(End::Kill).await;
            assert_eq!(stage.counts("orders").await, (60, 0, 0));
            assert_eq!(
                texts(&stage.receive("orders", 2, LEASE).await),
                ["40", "41"]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peeking_disturbs_nothing_and_purging_leaves_nothing() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    stage.say("orders", &["one", "two", "three"]).await;
    let leased = stage.receive("orders", 1, LEASE).await;
    stage
        .settle("orders", leased[0].receipt, Settlement::Ack)
        .await;
    let seen = stage.access.peek("orders", 0, 10).await.unwrap();
    assert_eq!(texts(&seen), ["two", "three"]);
    assert_eq!(seen[0].acquired, 0);
    assert_eq!(stage.counts("orders").await, (2, 0, 0));
    stage.receive("orders", 1, LEASE).await;
    stage.access.purge_queue("orders").await.unwrap();
    assert_eq!(stage.counts("orders").await, (0, 0, 0));
    let stage = stage.again(End::Kill).await;
    assert_eq!(stage.counts("orders").await, (0, 0, 0));
    stage.say("orders", &["four"]).await;
    assert_eq!(texts(&stage.receive("orders", 10, LEASE).await), ["four"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_nothing_has_happened_to_begin_where_their_topic_ended() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.make("events", &[]).await.unwrap();
        stage.publish("events", batch(&["old"])).await.unwrap();
        let broker = &stage.broker;
        let access = broker.on_behalf_of(anyone());
        let all = access.delete_records("events", 0, None);
        all.await.unwrap();
        for name in ["billing", "shipping"] {
            let queue = NewQueue {
                name: name.into(),
                topic: Some("events".into()),
                ..NewQueue::default()
            };
            broker
                .on_behalf_of(anyone())
                .create_queue(queue)
                .await
                .unwrap();
        }
        // Looked at, before and after the end, and as good as new.
        assert!(stage.receive("billing", 10, LEASE).await.is_empty());
        assert_eq!(stage.counts("billing").await, (0, 0, 0));
        let stage = stage.again(end).await;
        assert_eq!(stage.counts("billing").await, (0, 0, 0));
        assert!(stage.receive("billing", 10, LEASE).await.is_empty());
        stage.publish("events", batch(&["new"])).await.unwrap();
        for name in ["billing", "shipping"] {
            let leased = stage.receive(name, 10, LEASE).await;
            assert_eq!(texts(&leased), ["new"], "{name}, {end:?}");
            assert_eq!(leased[0].sequence, 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_not_leased() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        retention_ms: 60_000,
        ..QueueSettings::default()
    };
    stage.queue("orders", settings).await;
    stage.say("orders", &["old"]).await;
    stage.skip(Duration::from_secs(61));
    stage.say("orders", &["new"]).await;
    assert_eq!(texts(&stage.receive("orders", 10, LEASE).await), ["new"]);
    for _ in 0..1000 {
        if stage.counts("orders").await == (0, 1, 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{:?}", stage.counts("orders").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_kept() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        in_flight_max: 2,
        message_bytes_max: 10,
        ..QueueSettings::default()
    };
    stage.queue("orders", settings.clone()).await;
    stage.say("orders", &["1", "2", "3"]).await;
    assert_eq!(stage.receive("orders", 10, LEASE).await.len(), 2);
    let more = stage.access.receive("orders", Receive::default()).await;
    assert_eq!(more.unwrap_err(), Error::InFlightLimit);
    let large = stage.send("orders", message("12345678901")).await;
    assert!(matches!(
        large,
        Err(Error::TooLarge {
            bytes: 11,
            allowed: 10
        })
    ));
    let twice = NewQueue {
        name: "orders".into(),
        settings,
        topic: None,
    };
    let twice = stage.access.create_queue(twice).await;
    assert_eq!(twice.unwrap_err(), Error::QueueExists("orders".into()));
    let missing = stage.access.send("none", vec![message("x")]).await;
    assert_eq!(missing.unwrap_err(), Error::UnknownQueue);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_messages_fit_alone_and_together() {
    let stage = Stage::new().await;
    let most = 2 << 20;
    let settings = QueueSettings {
        message_bytes_max: most,
        ..QueueSettings::default()
    };
    stage.queue("dead", settings.clone()).await;
    let failing = QueueSettings {
        message_bytes_max: most,
        ..dead_to("dead", 1)
    };
    stage.queue("orders", failing).await;
    // What a frontend notes beside the message is not the sender's to answer for.
    let large = || NewMessage {
        headers: vec![("forebay.note".into(), "x".into())],
        ..message(&"x".repeat(2 << 20))
    };
    let sent = stage
        .access
        .send("orders", vec![message("small"), large(), large()])
        .await
        .unwrap();
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let received = stage.receive("orders", 10, LEASE).await;
    assert_eq!(received.len(), 3);
    assert_eq!(received[2].body.len(), 2 << 20);
    // They also leave together.
    stage.skip(Duration::from_millis(LEASE));
    assert!(stage.receive("orders", 10, LEASE).await.is_empty());
    for _ in 0..3 {
        wait_for(&stage, "dead").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_broker_marks_a_batch_as_its_own() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    let mut forged = storage::batch::BatchBuilder::new(0).made_here();
    forged.push(0, None, Some(b"x"), &[("forebay.due", b"later")]);
    let refused = stage.publish("orders", forged.build()).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidRecord(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_of_another_queue_is_refused() {
    let stage = Stage::new().await;
    stage.queue("a", QueueSettings::default()).await;
    stage.queue("b", QueueSettings::default()).await;
    stage.say("a", &["one"]).await;
    let leased = stage.receive("a", 1, LEASE).await;
    let settled = stage.settle("b", leased[0].receipt, Settlement::Ack).await;
    assert_eq!(settled, Settled::Foreign);
    let receipt = Receipt::from_bytes(&leased[0].receipt.to_bytes()).unwrap();
    assert_eq!(
        stage.settle("a", receipt, Settlement::Ack).await,
        Settled::Done
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_attempt_gets_the_same_receipts_also_after_a_kill() {
    let stage = Stage::new().await;
    stage.queue("orders", ordered()).await;
    stage.send("orders", of_key("a", "one")).await.unwrap();
    let attempt = || Receive {
        max: 10,
        attempt: Some("try".into()),
        ..Receive::default()
    };
    let first = stage.access.receive("orders", attempt()).await;
    let first = first.unwrap();
    let stage = stage.again(End::Kill).await;
    let again = stage.access.receive("orders", attempt()).await;
    assert_eq!(again.unwrap()[0].receipt, first[0].receipt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_counted_once() {
    let stage = Stage::new().await;
    stage.queue("dead", QueueSettings::default()).await;
    stage.queue("orders", dead_to("dead", 1)).await;
    stage.say("orders", &["one", "three"]).await;
    stage.send("orders", of_key("a", "bad")).await.unwrap();
    stage
        .publish("orders", batch(&["from elsewhere"]))
        .await
        .unwrap();
    let leased = stage.receive("orders", 10, 1000).await;
    assert_eq!(leased.len(), 4);
    for done in [&leased[0], &leased[1], &leased[3]] {
        stage.settle("orders", done.receipt, Settlement::Ack).await;
        stage.settle("orders", done.receipt, Settlement::Ack).await;
    }
    let queue = stage.broker.inventory().queues().named("orders").unwrap();
    stage.broker.look_for_oldest(&queue).await;
    let numbers = queue.numbers();
    assert_eq!((numbers.ready, numbers.in_flight), (0, 1));
    assert_eq!(numbers.oldest_ms, Some(crate::stage::START));
    stage.skip(Duration::from_secs(1));
    assert_eq!(stage.receive("orders", 1, 1000).await.len(), 0);
    wait_for(&stage, "dead").await;
    stage.broker.look_for_oldest(&queue).await;
    let numbers = queue.numbers();
    assert_eq!((numbers.sent, numbers.received), (4, 4));
    assert_eq!((numbers.deleted, numbers.dead_lettered), (3, 1));
    assert_eq!((numbers.empty_receives, numbers.deduplicated), (1, 0));
    assert_eq!((numbers.ready, numbers.in_flight), (0, 0));
    assert_eq!(numbers.oldest_ms, None);
    let dead = stage.broker.inventory().queues().named("dead").unwrap();
    // What was moved there was not sent there.
    assert_eq!((dead.numbers().sent, dead.numbers().in_flight), (0, 1));
    assert_eq!(dead.numbers().keys_in_flight, 1);
    let totals = stage.broker.metrics();
    let sent = totals
        .messages_sent
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(sent, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_decides_how_large_its_messages_are() {
    let stage = Stage::new().await;
    let large = QueueSettings {
        message_bytes_max: 4 << 20,
        ..QueueSettings::default()
    };
    stage.queue("large", large).await;
    stage.queue("orders", QueueSettings::default()).await;
    for (queue, bytes) in [("orders", 1 << 20), ("large", 4 << 20)] {
        let body = "x".repeat(bytes);
        stage.send(queue, message(&body)).await.unwrap();
        let leased = stage.receive(queue, 1, LEASE).await;
        assert_eq!(leased[0].body.len(), bytes);
        let refused = stage.send(queue, message(&(body + "x"))).await;
        assert!(
            matches!(refused, Err(Error::TooLarge { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_peers_say_about_a_message_is_not_believed() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    let story = br#"{"queue":"vault","reason":"attempts","sequence":0,"attempts":1,"dead_ms":0}"#;
    let forged = || {
        let now = crate::stage::START.cast_signed();
        let mut builder = storage::batch::BatchBuilder::new(now);
        let id = [7; 16];
        let headers: [(&str, &[u8]); 4] = [
            ("forebay.dead", story),
            ("forebay.id", &id),
            ("forebay.due", &u64::MAX.to_be_bytes()),
            ("kind", b"coffee"),
        ];
        builder.push(now, None, Some(b"one"), &headers);
        builder
    };
    let refused = stage.publish("orders", forged().made_here().build()).await;
    assert!(
        matches!(refused, Err(Error::InvalidRecord(_))),
        "{refused:?}"
    );
    stage.publish("orders", forged().build()).await.unwrap();
    let leased = stage.receive("orders", 1, LEASE).await;
    assert_eq!(leased[0].dead, None);
    assert_ne!(leased[0].id.as_bytes(), &[7; 16]);
    let names: Vec<_> = leased[0]
        .headers
        .iter()
        .map(|(name, _)| &name[..])
        .collect();
    assert_eq!(names, [b"kind"]);
}

/// Given back as failed, ready again after so long, ms.
fn released(delay: u64) -> Settlement {
    Settlement::Release {
        delay: Some(delay),
        class: Some(FailureClass::Transient),
    }
}
