//! Messages for several queues: in all of them or in none, in the order they were handed over, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::exchange::{Kind, Route};
use engine::queue::{Delivered, NewMessage, NewQueue, Queue, QueueSettings, Receive};
use engine::{Broker, Error, Outgoing, Result};
use storage::Batch;

use crate::exchanges::{exchange, to_queue};
use crate::stage::{ENDS, End, Stage, anyone, outgoing};

fn message(text: &str) -> NewMessage {
    NewMessage {
        body: Bytes::copy_from_slice(text.as_bytes()),
        ..NewMessage::default()
    }
}

fn queue(broker: &Broker, name: &str) -> Arc<Queue> {
    broker.on_behalf_of(anyone()).queue(name).unwrap()
}

fn out(broker: &Broker, text: &str, queues: &[&str]) -> Outgoing {
    outgoing(broker, message(text), queues)
}

async fn send(broker: &Broker, messages: Vec<Outgoing>) -> Vec<Result<()>> {
    broker.send_routed(messages).await.done().await
}

/// Everything a queue holds, in its order.
async fn bodies(broker: &Broker, name: &str) -> Vec<String> {
    let seen = broker
        .on_behalf_of(anyone())
        .peek(name, 0, 100_000)
        .await
        .unwrap();
    let text = |m: &Delivered| String::from_utf8(m.body.to_vec()).unwrap();
    seen.iter().map(text).collect()
}

async fn with(settings: QueueSettings, name: &str, stage: &Stage) {
    let queue = NewQueue {
        name: name.to_owned(),
        settings,
        topic: None,
    };
    stage.access.create_queue(queue).await.unwrap();
}

async fn take(broker: &Broker, name: &str, wait_ms: u64) -> Vec<Delivered> {
    let receive = Receive {
        max: 10,
        wait_ms,
        ..Receive::default()
    };
    broker
        .on_behalf_of(anyone())
        .receive(name, receive)
        .await
        .unwrap()
}

#[tokio::test]
async fn one_message_reaches_all_its_queues_and_says_how_it_came() {
    let stage = Stage::new().await;
    stage.add_exchange(exchange("x", Kind::Fanout)).await;
    for name in ["a", "b", "c"] {
        stage.plain_queue(name).await;
        stage.bind(to_queue("x", name, "")).await.unwrap();
    }
    let route = stage.route("/", "x", "key").unwrap();
    let sent = NewMessage {
        exchange: Some(Bytes::from_static(b"x")),
        keys: vec![Bytes::from_static(b"key"), Bytes::from_static(b"cc")],
        headers: vec![(Bytes::from_static(b"h"), Bytes::from_static(b"v"))],
        ..message("hello")
    };
    let outgoing = Outgoing::new(sent.clone(), route).unwrap();
    let outcomes = send(&stage.broker, vec![outgoing]).await;
    assert_eq!(outcomes, [Ok(())]);
    for name in ["a", "b", "c"] {
        let got = take(&stage.broker, name, 0).await.remove(0);
        assert_eq!(got.body, sent.body);
        assert_eq!(
            (got.exchange, got.keys),
            (sent.exchange.clone(), sent.keys.clone())
        );
        assert_eq!(
            got.headers.len(),
            1,
            "what is reserved is not shown as a header"
        );
        assert_eq!(queue(&stage.broker, name).numbers().sent, 1);
    }
    stage
        .access
        .send("a", vec![message("plain")])
        .await
        .unwrap()[0]
        .as_ref()
        .unwrap();
    let plain = take(&stage.broker, "a", 0).await.remove(0);
    assert_eq!((plain.exchange, plain.keys.len()), (None, 0));
}

#[tokio::test]
async fn who_waits_is_served_when_the_partitions_come_back() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.plain_queue(name).await;
    }
    let waiting: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let broker = stage.broker.clone();
            tokio::spawn(async move { take(&broker, name, 20_000).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let messages = vec![out(&stage.broker, "now", &["a", "b"])];
    // Handed over is enough: nobody waits for the outcome.
    drop(stage.broker.send_routed(messages).await);
    for receiver in waiting {
        assert_eq!(receiver.await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_holds_between_direct_and_fanned_out_messages() {
    let stage = Stage::new().await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        stage.plain_queue(name).await;
    }
    let broker = &stage.broker;
    let mut pending = Vec::new();
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    for n in 0..600_u32 {
        let mut messages = Vec::new();
        for part in 0..=(n % 3) {
            // Some are large enough to be shared, some are copied.
            let size = [8, 700, 1600][((n + part) % 3) as usize];
            let text = format!("{:size$}", format!("{n}.{part}"));
            // One queue, two, three or all, in no pattern that a batch could hide behind.
            let picked: Vec<usize> = match (n * 7 + part * 3) % 5 {
                0 | 1 => vec![(n % 4) as usize],
                2 => vec![(n % 3) as usize, 3],
                3 => vec![0, 1, 2],
                _ => vec![0, 1, 2, 3],
            };
            let queues: Vec<&str> = picked.iter().map(|i| names[*i]).collect();
            for i in picked {
                expected[i].push(text.clone());
            }
            messages.push(out(broker, &text, &queues));
        }
        pending.push(broker.send_routed(messages).await);
    }
    for sends in pending {
        assert!(sends.done().await.iter().all(Result::is_ok));
    }
    for (name, expected) in names.iter().zip(expected) {
        assert_eq!(bodies(broker, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn all_of_it_or_nothing_survives() {
    for end in ENDS {
        let stage = Stage::new().await;
        for name in ["a", "b", "c"] {
            stage.plain_queue(name).await;
        }
        let messages: Vec<_> = (0..40)
            .map(|n| out(&stage.broker, &n.to_string(), &["a", "b", "c"]))
            .collect();
        assert!(
            send(&stage.broker, messages)
                .await
                .iter()
                .all(Result::is_ok)
        );
        // Not acknowledged: it may be there or not, but the same everywhere.
        for n in 40..200 {
            let messages = vec![out(&stage.broker, &n.to_string(), &["c", "a", "b"])];
            drop(stage.broker.send_routed(messages).await);
        }
        let stage = stage.again(end).await;
        let there = bodies(&stage.broker, "a").await;
        assert!(there.len() >= 40, "{end:?}");
        for name in ["b", "c"] {
            assert_eq!(bodies(&stage.broker, name).await, there, "{end:?}");
        }
        let more = vec![out(&stage.broker, "more", &["a", "b", "c"])];
        let outcomes = send(&stage.broker, more).await;
        assert_eq!(outcomes, [Ok(())]);
    }
}

#[tokio::test]
async fn a_refusal_by_one_queue_is_the_messages_outcome_and_leaves_the_others_alone() {
    let stage = Stage::new().await;
    let small = QueueSettings {
        message_bytes_max: 4,
        ..QueueSettings::default()
    };
    with(small, "small", &stage).await;
    for name in ["a", "b"] {
        stage.plain_queue(name).await;
    }
    let broker = &stage.broker;
    let messages = vec![
        out(broker, "one", &["a", "small"]),
        out(broker, "too large", &["a", "b", "small"]),
        out(broker, "two", &["small"]),
        out(broker, "large enough", &["small"]),
        out(broker, "three", &["a", "b"]),
    ];
    let outcomes = send(broker, messages).await;
    let too_large = |bytes| Err(Error::TooLarge { bytes, allowed: 4 });
    assert_eq!(
        outcomes,
        [Ok(()), too_large(9), Ok(()), too_large(12), Ok(())]
    );
    assert_eq!(bodies(broker, "a").await, ["one", "three"]);
    assert_eq!(bodies(broker, "b").await, ["three"]);
    assert_eq!(bodies(broker, "small").await, ["one", "two"]);
}

#[tokio::test]
async fn a_queue_that_is_gone_counts_as_never_found() {
    let stage = Stage::new().await;
    for name in ["a", "b", "c"] {
        stage.plain_queue(name).await;
    }
    let broker = &stage.broker;
    let late = || {
        vec![
            out(broker, "to two", &["a", "b"]),
            out(broker, "to gone", &["b", "c"]),
            out(broker, "to one", &["b"]),
        ]
    };
    let messages = late();
    for name in ["b", "c"] {
        broker
            .on_behalf_of(anyone())
            .delete_queue(name)
            .await
            .unwrap();
    }
    let outcomes = send(broker, messages).await;
    let gone = || Err(Error::UnknownQueue);
    assert_eq!(outcomes, [Ok(()), gone(), gone()]);
    assert_eq!(bodies(broker, "a").await, ["to two"]);
    assert!(Outgoing::new(message("x"), Route::default()).is_none());
}

#[tokio::test]
async fn queues_of_one_topic_get_one_record() {
    let stage = Stage::new().await;
    stage.make("events", &[]).await.unwrap();
    for name in ["one", "two"] {
        let queue = NewQueue {
            name: name.to_owned(),
            topic: Some("events".to_owned()),
            ..NewQueue::default()
        };
        stage.access.create_queue(queue).await.unwrap();
    }
    stage.plain_queue("a").await;
    let broker = &stage.broker;
    let messages: Vec<_> = (0..6)
        .map(|n| out(broker, &n.to_string(), &["one", "two", "a"]))
        .collect();
    let outcomes = send(broker, messages).await;
    assert!(outcomes.iter().all(Result::is_ok));
    for name in ["one", "two", "a"] {
        let mut got = bodies(broker, name).await;
        got.sort();
        assert_eq!(got, ["0", "1", "2", "3", "4", "5"], "{name}");
    }
}

#[tokio::test]
async fn repeats_are_dropped_where_they_are_repeats() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.plain_queue(name).await;
    }
    let broker = &stage.broker;
    let named = |text: &str, queues: &[&str]| {
        let message = NewMessage {
            dedup: Some(Bytes::from_static(b"id")),
            ..message(text)
        };
        outgoing(broker, message, queues)
    };
    let messages = vec![
        named("first", &["a"]),
        named("second", &["a", "b"]),
        named("third", &["a", "b"]),
    ];
    let outcomes = send(broker, messages).await;
    assert_eq!(outcomes, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(bodies(broker, "a").await, ["first"]);
    assert_eq!(bodies(broker, "b").await, ["second"]);
}

const MANY: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A sender that names the queues in an order of its own.
async fn send_much(broker: Broker, sender: usize) {
    let mut pending = Vec::new();
    for n in 0..100 {
        let mut queues = MANY.to_vec();
        queues.rotate_left((sender + n) % 5);
        if sender % 2 == 1 {
            queues.reverse();
        }
        queues.truncate(1 + (sender + n) % 5);
        let messages = vec![out(&broker, &format!("{sender}:{n}"), &queues)];
        pending.push(broker.send_routed(messages).await);
    }
    for sends in pending {
        assert!(sends.done().await.iter().all(Result::is_ok));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_senders_over_the_same_queues_do_not_wait_for_each_other() {
    let stage = Stage::new().await;
    for name in MANY {
        stage.plain_queue(name).await;
    }
    let senders = (0..6_usize).map(|sender| tokio::spawn(send_much(stage.broker.clone(), sender)));
    let senders: Vec<_> = senders.collect();
    let receiver = {
        let broker = stage.broker.clone();
        tokio::spawn(async move {
            // Others are served in between.
            for _ in 0..50 {
                take(&broker, "a", 0).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    let all = async {
        for sender in senders {
            sender.await.unwrap();
        }
        receiver.await.unwrap();
    };
    tokio::time::timeout(Duration::from_mins(1), all)
        .await
        .expect("nobody waits for ever");
    for name in ["b", "e"] {
        let there = bodies(&stage.broker, name).await;
        for sender in 0..6 {
            let prefix = format!("{sender}:");
            let of_sender = there.iter().filter_map(|body| body.strip_prefix(&prefix));
            let numbers: Vec<u32> = of_sender.map(|n| n.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "{name} has {sender}'s in their order");
        }
    }
    let stage = stage.again(End::Kill).await;
    assert!(!bodies(&stage.broker, "b").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn senders_that_go_away_leave_the_partitions_where_they_belong() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.plain_queue(name).await;
    }
    for n in 0..200_u64 {
        let broker = stage.broker.clone();
        let sender = tokio::spawn(async move {
            let messages = (0..3).map(|_| out(&broker, "x", &["a", "b"])).collect();
            broker.send_routed(messages).await
        });
        if n % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(n)).await;
        }
        sender.abort();
    }
    let messages = vec![out(&stage.broker, "last", &["a", "b"])];
    let sent = send(&stage.broker, messages);
    let outcomes = tokio::time::timeout(Duration::from_secs(20), sent).await;
    assert_eq!(outcomes.expect("both are there"), [Ok(())]);
    assert_eq!(
        bodies(&stage.broker, "a").await,
        bodies(&stage.broker, "b").await
    );
}

#[tokio::test]
async fn a_fan_out_does_not_overtake_what_its_sender_sent_directly() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.plain_queue(name).await;
    }
    let broker = &stage.broker;
    let mut pending = Vec::new();
    for messages in [
        vec![out(broker, "1", &["a"]), out(broker, "2", &["b"])],
        vec![out(broker, "3", &["a", "b"])],
        vec![out(broker, "4", &["a"]), out(broker, "5", &["b", "a"])],
    ] {
        pending.push(broker.send_routed(messages).await);
    }
    for sends in pending {
        assert!(sends.done().await.iter().all(Result::is_ok));
    }
    assert_eq!(bodies(broker, "a").await, ["1", "3", "4", "5"]);
    assert_eq!(bodies(broker, "b").await, ["2", "3", "5"]);
}

/// The values in each batch of a queue, in its order.
async fn batches(stage: &Stage, name: &str) -> Vec<Vec<String>> {
    let (chunk, end) = stage.chunk(name, 0).await.unwrap();
    assert_eq!(chunk.next_offset, end);
    let values = |batch: &Batch| {
        let values = batch.records().map(|record| record.unwrap().value.unwrap());
        let text = |value: Bytes| String::from_utf8(value.to_vec()).unwrap();
        values.map(text).collect()
    };
    chunk.batches().unwrap().iter().map(values).collect()
}

/// Sends ten messages of a size to queues, every second one to others. Each queue has to get what is for it, in so many
/// batches as `expected` says, and the journal so many bodies.
async fn send_by_turns(size: usize, routes: [&[&str]; 2], expected: (&[(&str, usize)], u64)) {
    let stage = Stage::new().await;
    let (shapes, bodies) = expected;
    for (name, _) in shapes {
        stage.plain_queue(name).await;
    }
    let text = |number: usize| format!("{number:size$}");
    let messages = (0..10).map(|n| out(&stage.broker, &text(n), routes[n % 2]));
    let messages = messages.collect();
    let before = stage.store.stats().journal_written_bytes;
    let outcomes = send(&stage.broker, messages).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let written = stage.store.stats().journal_written_bytes - before;
    // What is beside the bodies; the journal writes whole pages, and there may be others in between.
    let mut overhead = 3 * 4096 + 30 * bodies;
    for (name, expected) in shapes {
        let got = batches(&stage, name).await;
        assert_eq!(got.len(), *expected, "{name} of {shapes:?}");
        let own = (0..10).filter(|n| routes[n % 2].contains(name)).map(text);
        assert!(got.concat() == own.collect::<Vec<_>>(), "{name}");
        overhead += 120 * *expected as u64;
    }
    let least = bodies * size as u64;
    assert!(
        (least..least + overhead).contains(&written),
        "{written} for {bodies} bodies of {size}"
    );
}

#[tokio::test]
async fn messages_for_the_same_queues_share_a_batch_and_no_queue_gets_another_ones() {
    let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for size in [100, 1100, 6000] {
        let one_each = all.map(|name| (name, 1));
        send_by_turns(size, [&all, &all], (&one_each, 10)).await;
        // What goes elsewhere in between does not part them.
        send_by_turns(size, [&all[..5], &all[5..]], (&one_each, 10)).await;
    }
    let overlap = [&all[..2], &all[1..3]];
    // Each is a body for both its queues.
    let apart = [("a", 5), ("b", 10), ("c", 5)];
    send_by_turns(3000, overlap, (&apart, 10)).await;
    // Each is copied for both.
    let copied = [("a", 1), ("b", 1), ("c", 1)];
    send_by_turns(1000, overlap, (&copied, 20)).await;
    // Ten of these are more than a batch may be.
    let two_each = [("a", 2), ("b", 2)];
    send_by_turns(9000, [&all[..2], &all[..2]], (&two_each, 10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_are_one_body_for_all_queues_that_get_the_same() {
    const QUEUES: usize = 60;
    for end in ENDS {
        let stage = Stage::new().await;
        let names: Vec<String> = (0..QUEUES).map(|i| format!("q{i:02}")).collect();
        for (i, name) in names.iter().enumerate() {
            // Every third one writes priorities down.
            let priorities = if i % 3 == 0 { 5 } else { 1 };
            let settings = QueueSettings {
                priorities,
                ..QueueSettings::default()
            };
            with(settings, name, &stage).await;
        }
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let large = |dead_letter: &str| dead_letter.repeat(20_000);
        let sent = [
            ("small".to_owned(), &all[..]),
            (large("a"), &all[..]),
            (large("b"), &all[30..]),
            ("for one".to_owned(), &all[5..6]),
            (large("c"), &all[7..8]),
            ("small too".to_owned(), &all[..]),
            (large("d"), &all[..40]),
            (large("e"), &all[..]),
        ];
        let before = stage.store.stats().journal_written_bytes;
        let messages = sent.iter();
        let messages = messages.map(|(text, queues)| out(&stage.broker, text, queues));
        let outcomes = send(&stage.broker, messages.collect()).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let written = stage.store.stats().journal_written_bytes - before;
        // Four messages in two manners, one for a single queue, and what each queue costs.
        let bodies_bytes = (4 * 2 + 1) * 20_000;
        let most = bodies_bytes + QUEUES as u64 * 8 * 250;
        assert!((bodies_bytes..most).contains(&written), "{written}");
        let stage = stage.again(end).await;
        for name in &all {
            let own = sent.iter().filter(|(_, queues)| queues.contains(name));
            let own: Vec<String> = own.map(|(text, _)| text.clone()).collect();
            assert!(bodies(&stage.broker, name).await == own, "{name}, {end:?}");
        }
    }
}
