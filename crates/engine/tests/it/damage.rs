//! Records that lie on the disk and should not: from an older version, or not what was written any more. Queues survive
//! them, say so, and go on with what is behind them.

use std::time::Duration;

use bytes::Bytes;
use engine::queue::{
    DeadLetterPolicy, Limits, NewMessage, NewQueue, Ordering, QueueSettings, Receive, Settlement,
};
use storage::{Append, Batch, Durability, Log as _, StreamId};
use testkit::forge::{Head, Wire, compress, records, sound};

use crate::stage::{ENDS, End, START, Stage};

const NOW: i64 = START.cast_signed();

impl Stage {
    /// Puts batches into a queue's log as nobody could any more.
    async fn plant(&self, topic: &str, batches: &[Bytes]) {
        let topic = self.broker.inventory().topics().named(topic).unwrap().id();
        let stream = StreamId {
            owner: topic,
            part: 0,
        };
        for bytes in batches {
            let end = self.store.bounds(stream).map_or(0, |bounds| bounds.end);
            let batch = Batch::split_trusted(&mut bytes.clone()).unwrap();
            let batch = batch.placed(end, 0, None);
            let appends = vec![Append { stream, batch }];
            let lsn = self.store.append(appends, Durability::Sync).unwrap();
            let mut progress = self.store.progress();
            progress.wait_for(|p| p.durable >= lsn).await.unwrap();
        }
    }

    async fn queue_of(&self, name: &str, settings: QueueSettings) {
        let queue = NewQueue {
            name: name.to_owned(),
            settings,
            topic: None,
        };
        self.access.create_queue(queue).await.unwrap();
    }

    /// Receives all there is, and acknowledges it.
    async fn drain(&self, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let receive = Receive {
                max: 10,
                lease_ms: Some(60_000),
                ..Receive::default()
            };
            let got = self.access.receive(queue, receive).await.unwrap();
            if got.is_empty() {
                return bodies;
            }
            let settles = got.iter().map(|m| (m.receipt, Settlement::Ack)).collect();
            self.access.settle(queue, settles).await.unwrap();
            let each = got
                .into_iter()
                .map(|m| String::from_utf8_lossy(&m.body).into_owned());
            bodies.extend(each);
        }
    }

    async fn say_one(&self, queue: &str, key: Option<&'static str>, text: &'static str) {
        let message = NewMessage {
            body: Bytes::from_static(text.as_bytes()),
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            ..NewMessage::default()
        };
        let sent = self.access.send(queue, vec![message]).await.unwrap();
        assert!(sent.iter().all(Result::is_ok));
    }

    async fn unreadable(&self, queue: &str) -> u64 {
        let depth = self.access.queue_depth(queue).await.unwrap();
        assert_eq!((depth.ready, depth.in_flight), (0, 0));
        depth.unreadable
    }
}

fn kinds() -> [(&'static str, QueueSettings); 3] {
    let plain = QueueSettings::default();
    let ordered = QueueSettings {
        ordering: Ordering::Key,
        ..plain.clone()
    };
    let limits = Limits {
        bytes_max: Some(1 << 20),
        message_ttl_ms: Some(3_600_000),
        ..Limits::default()
    };
    let limited = QueueSettings {
        limits,
        ..plain.clone()
    };
    [("plain", plain), ("ordered", ordered), ("limited", limited)]
}

fn with_deltas(deltas: &[i64]) -> Bytes {
    let mut body = Vec::new();
    for delta in deltas {
        let record = Wire {
            offset_delta: *delta,
            key: Some(b"k"),
            value: Some(b"odd"),
            ..Wire::default()
        };
        record.put(&mut body);
    }
    let count = i32::try_from(deltas.len()).unwrap();
    Head::new(0, count, NOW).batch(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn places_count_where_offsets_lie() {
    for (name, settings) in kinds() {
        for end in ENDS {
            let stage = Stage::new().await;
            stage.queue_of(name, settings.clone()).await;
            stage.say_one(name, Some("k"), "before").await;
            let lies = [
                &[1, 0][..],
                &[0, 0],
                &[0, 1, 7],
                &[0, 1 << 29],
                &[0, (1 << 31) - 1],
            ];
            let lies: Vec<Bytes> = lies.iter().map(|deltas| with_deltas(deltas)).collect();
            stage.plant(name, &lies).await;
            let stage = stage.again(End::Kill).await;
            stage.say_one(name, Some("k"), "behind").await;
            let stage = stage.again(end).await;
            let mut expected = vec!["odd"; 11];
            expected.insert(0, "before");
            expected.push("behind");
            let mut got = stage.drain(name).await;
            if name != "ordered" {
                // Without order nothing says which comes first of what different tenants sent.
                got.sort_unstable();
                expected.sort_unstable();
            }
            assert_eq!(got, expected, "{name}, {end:?}");
            assert_eq!(stage.unreadable(name).await, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_stays_and_is_passed_over() {
    let two = records(&[(Some(b"k"), b"first"), (Some(b"k"), b"second")]);
    let cut = &compress(4, &two)[..12];
    let cases = [
        (
            "three announced, one there",
            Head::new(0, 3, NOW).batch(&records(&[(Some(b"k"), b"one")])),
            2,
            vec!["one"],
        ),
        (
            "a codec that is not that of the bytes",
            Head::new(1, 2, NOW).batch(&two),
            2,
            vec![],
        ),
        ("cut short", Head::new(4, 2, NOW).batch(cut), 2, vec![]),
        (
            "an empty batch of two thousand million",
            Head::new(1, i32::MAX, NOW).batch(&compress(1, b"")),
            u64::from(i32::MAX.unsigned_abs()),
            vec![],
        ),
    ];
    for (name, settings) in kinds() {
        for (what, bad, unreadable, mut readable) in cases.clone() {
            let stage = Stage::new().await;
            stage.queue_of(name, settings.clone()).await;
            stage.plant(name, &[bad]).await;
            let stage = stage.again(End::Kill).await;
            stage.say_one(name, Some("k"), "behind").await;
            readable.push("behind");
            assert_eq!(stage.drain(name).await, readable, "{what} in {name}");
            assert_eq!(stage.unreadable(name).await, unreadable, "{what} in {name}");
            // Nothing was acknowledged that nobody got, and the log keeps it.
            tokio::time::sleep(Duration::from_millis(60)).await;
            let kept_from = stage.bounds(name).0;
            assert!(kept_from < readable.len() as u64, "{what} in {name}");
            let stage = stage.again(End::PowerLoss(3)).await;
            stage.say_one(name, Some("k"), "later").await;
            assert_eq!(stage.drain(name).await, ["later"], "{what} in {name}");
            assert_eq!(stage.unreadable(name).await, unreadable, "{what} in {name}");
            stage.access.purge_queue(name).await.unwrap();
            assert_eq!(stage.unreadable(name).await, 0, "a purge is final");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_queue_and_moving_its_messages_pass_over_what_cannot_be_read() {
    let stage = Stage::new().await;
    stage.queue_of("dead", QueueSettings::default()).await;
    let policy = DeadLetterPolicy {
        queue: "dead".to_owned(),
        attempts_max: 1,
    };
    let settings = QueueSettings {
        dead_letter: Some(policy),
        ..QueueSettings::default()
    };
    stage.queue_of("orders", settings).await;
    stage
        .plant("orders", &[Head::new(3, 5, NOW).batch(b"no such thing")])
        .await;
    let stage = stage.again(End::Kill).await;
    stage.say_one("orders", None, "good").await;
    let seen = stage.access.peek("orders", 0, 3).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, "good");
    stage
        .access
        .start_move("orders", Some("dead"), None)
        .await
        .unwrap();
    for _ in 0..400 {
        let depth = stage.access.queue_depth("dead").await.unwrap();
        if depth.ready == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stage.drain("dead").await, ["good"]);
    assert_eq!(stage.unreadable("orders").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_opens_to_more_than_is_kept_is_opened_once() {
    let stage = Stage::new().await;
    stage.queue_of("orders", QueueSettings::default()).await;
    let value = vec![b'x'; 60 << 10];
    let many: Vec<(Option<&[u8]>, &[u8])> = (0..600).map(|_| (None, &value[..])).collect();
    for codec in 1..=4 {
        let batch = sound(codec, NOW, &many);
        assert!(batch.len() < 4 << 20, "{codec}");
        stage.plant("orders", &[batch]).await;
    }
    let stage = stage.again(End::Kill).await;
    let got = stage.drain("orders").await;
    assert_eq!(got.len(), 2_400);
    assert!(got.iter().all(|body| body.len() == value.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_old_a_message_is_counts_from_when_it_came() {
    let day = Duration::from_hours(24);
    for end in ENDS {
        for stamp in [NOW - 10 * 86_400_000, NOW + 3_500_000, NOW] {
            let stage = Stage::new().await;
            stage
                .make("events", &[("retention.ms", "-1")])
                .await
                .unwrap();
            let limits = Limits {
                message_ttl_ms: Some(60_000),
                ..Limits::default()
            };
            for (name, settings) in [
                (
                    "short",
                    QueueSettings {
                        limits,
                        ..QueueSettings::default()
                    },
                ),
                ("kept", QueueSettings::default()),
            ] {
                let queue = NewQueue {
                    name: name.to_owned(),
                    settings,
                    topic: Some("events".to_owned()),
                };
                stage.access.create_queue(queue).await.unwrap();
            }
            let publish = async |stage: &Stage, text: &'static str| {
                let bytes = sound(0, stamp, &[(None, text.as_bytes())]);
                let batch = Batch::split_first(&mut bytes.clone()).unwrap();
                stage.publish("events", batch).await.unwrap();
            };
            publish(&stage, "a").await;
            stage.skip(Duration::from_secs(40));
            publish(&stage, "b").await;
            let stage = stage.again(end).await;
            let peek = async |queue: &str| {
                let seen = stage.access.peek(queue, 0, 10).await.unwrap();
                seen.into_iter()
                    .map(|m| String::from_utf8(m.body.to_vec()).unwrap())
                    .collect::<String>()
            };
            assert_eq!(peek("short").await, "ab", "{end:?}");
            stage.skip(Duration::from_secs(30));
            let depth = stage.access.queue_depth("short").await.unwrap();
            assert_eq!(
                (depth.ready, peek("short").await.as_str()),
                (1, "b"),
                "{end:?}, {stamp}"
            );
            stage.skip(Duration::from_secs(31));
            let depth = stage.access.queue_depth("short").await.unwrap();
            assert_eq!(depth.ready, 0, "{end:?}, {stamp}");
            let sent = stage.access.peek("kept", 0, 1).await.unwrap()[0].sent_ms;
            let arrived = START..=START + 1_350_000;
            assert!(arrived.contains(&sent), "{end:?}: sent {sent}");
            stage.skip(3 * day);
            assert_eq!(stage.drain("kept").await, ["a", "b"], "{end:?}, {stamp}");
        }
    }
}
