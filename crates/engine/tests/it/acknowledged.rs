//! What was acknowledged is gone for readers by offset, by the message; unless its queue keeps it for replay.

use std::time::Duration;

use engine::queue::{QueueSettings, Settlement};
use storage::Batch;
use testkit::forge::sound;

use crate::queues::{LEASE, texts};
use crate::stage::{ENDS, End, Stage};

/// When batches of producers say that they were made, ms.
const NOW: i64 = 1_700_000_000_000;

fn keeping(replay: Duration) -> QueueSettings {
    QueueSettings {
        replay_ms: u64::try_from(replay.as_millis()).unwrap(),
        ..QueueSettings::default()
    }
}

/// Receives everything and acknowledges what `done` says.
async fn acknowledge(stage: &Stage, count: usize, done: impl Fn(usize) -> bool) {
    let mut seen = 0;
    while seen < count {
        for leased in stage.receive("orders", 10, LEASE).await {
            if done(seen) {
                stage
                    .settle("orders", leased.receipt, Settlement::Ack)
                    .await;
            }
            seen += 1;
        }
    }
}

async fn say(stage: &Stage, count: usize) {
    let all: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    stage.say("orders", &all).await;
}

/// Attaches a queue to the topic of the queue `orders`.
async fn attach(stage: &Stage, name: &str) {
    let attached = engine::queue::NewQueue {
        name: name.into(),
        topic: Some("orders".into()),
        ..engine::queue::NewQueue::default()
    };
    stage.access.create_queue(attached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_by_offset_get_what_is_not_done_and_nothing_else() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.queue("orders", QueueSettings::default()).await;
        say(&stage, 100).await;
        acknowledge(&stage, 100, |i| {
            i < 10 || i % 3 == 0 || (50..70).contains(&i)
        })
        .await;
        let left: Vec<String> = (10..100)
            .filter(|i| i % 3 != 0 && !(50..70).contains(i))
            .map(|i: usize| i.to_string())
            .collect();
        assert_eq!(stage.values("orders", 0).await.unwrap(), left);
        let behind: Vec<String> = left
            .iter()
            .filter(|v| v.len() == 2 && v.as_str() >= "51")
            .cloned()
            .collect();
        assert_eq!(
            stage.values("orders", 51).await.unwrap(),
            behind,
            "from a gap on"
        );
        let stage = stage.again(end).await;
        assert_eq!(stage.values("orders", 0).await.unwrap(), left, "{end:?}");
        // When all is done nothing is left, and what comes then is read.
        stage.access.purge_queue("orders").await.unwrap();
        assert_eq!(stage.values("orders", 0).await.unwrap(), [""; 0]);
        stage.say("orders", &["new"]).await;
        assert_eq!(stage.values("orders", 0).await.unwrap(), ["new"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_batch_that_opens_to_much_is_read_piece_by_piece() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    let value = vec![b'x'; 300 << 10];
    let each: Vec<(Option<&[u8]>, &[u8])> = (0..20).map(|_| (None, &value[..])).collect();
    let mut bytes = sound(4, NOW, &each);
    assert!(bytes.len() < 100 << 10);
    let batch = Batch::split_trusted(&mut bytes).unwrap();
    stage.publish("orders", batch).await.unwrap();
    acknowledge(&stage, 20, |i| i == 5).await;
    let (mut offset, mut offsets, mut fetches) = (0, Vec::new(), 0);
    while offset < 20 {
        let (chunk, _) = stage.chunk("orders", offset).await.unwrap();
        assert!(chunk.bytes <= 1 << 20, "{} bytes", chunk.bytes);
        let batches = chunk.batches().unwrap();
        let records = batches.iter().flat_map(Batch::records);
        offsets.extend(records.map(|record| record.unwrap().offset));
        assert!(chunk.next_offset > offset, "it goes on");
        offset = chunk.next_offset;
        fetches += 1;
    }
    let left: Vec<u64> = (0..20).filter(|i| *i != 5).collect();
    assert_eq!(offsets, left);
    assert_eq!(fetches, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_does_not_fall_out_of_a_queue_that_is_purged_meanwhile() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    let purge = async {
        for _ in 0..300 {
            stage.say("orders", &["a", "b"]).await;
            stage.access.purge_queue("orders").await.unwrap();
        }
    };
    let read = async {
        loop {
            let values = stage.values("orders", 0).await;
            assert!(values.is_ok(), "{values:?}");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = purge => {}
        () = read => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_keeps_for_replay_as_long_as_it_says_and_by_the_message() {
    let stage = Stage::new().await;
    stage
        .queue("orders", keeping(Duration::from_secs(100)))
        .await;
    say(&stage, 20).await;
    acknowledge(&stage, 10, |i| i % 2 == 0).await;
    stage.skip(Duration::from_secs(50));
    acknowledge(&stage, 10, |i| i % 2 == 0).await;
    let all: Vec<String> = (0..20).map(|i: usize| i.to_string()).collect();
    assert_eq!(stage.values("orders", 0).await.unwrap(), all);
    stage.skip(Duration::from_secs(51));
    let later: Vec<String> = (0..20)
        .filter(|i| *i >= 10 || i % 2 == 1)
        .map(|i: usize| i.to_string())
        .collect();
    // Those of the first round are over; a restart does not make them last longer.
    let stage = stage.again(End::Kill).await;
    assert_eq!(stage.values("orders", 0).await.unwrap(), later);
    let replayed = stage.access.replay("orders", 0).await;
    assert_eq!(replayed, Ok(5));
    let depth = stage.access.queue_depth("orders").await.unwrap();
    assert_eq!(
        depth.ready, 15,
        "all that were not acknowledged ran out, and five are back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_outlives_what_is_too_old_to_be_received() {
    let stage = Stage::new().await;
    let settings = QueueSettings {
        retention_ms: 60_000,
        ..keeping(Duration::from_hours(1))
    };
    stage.queue("orders", settings).await;
    say(&stage, 4).await;
    acknowledge(&stage, 4, |i| i < 2).await;
    stage.skip(Duration::from_mins(2));
    let mut left = Vec::new();
    for _ in 0..500 {
        left = stage.values("orders", 0).await.unwrap();
        if left.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left, ["0", "1"], "the others are too old");
    let replayed = stage.access.replay("orders", 1).await;
    assert_eq!(replayed, Ok(1));
    // It is there again as if it had just come.
    assert_eq!(texts(&stage.receive("orders", 9, LEASE).await), ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_keeps_nothing_cannot_be_replayed_and_another_queue_gets_nothing_back() {
    let stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    say(&stage, 5).await;
    acknowledge(&stage, 5, |i| i < 3).await;
    let refused = stage.access.replay("orders", 0).await;
    assert!(
        matches!(refused, Err(engine::Error::InvalidRequest(_))),
        "{refused:?}"
    );
    attach(&stage, "copies").await;
    let copies = stage.receive("copies", 9, LEASE).await;
    assert_eq!(texts(&copies), ["3", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_keeps_what_another_queue_of_the_topic_has_not_done() {
    for (attached, end) in [("a", End::Kill), ("z", End::Kill), ("z", End::Stop)] {
        let stage = Stage::new().await;
        stage.queue("orders", QueueSettings::default()).await;
        attach(&stage, attached).await;
        // Those between the two give the first time to serve before the last is there.
        for i in 0..100 {
            let name = format!("p{i}");
            stage.queue(&name, QueueSettings::default()).await;
            stage.say(&name, &["x"]).await;
        }
        say(&stage, 100).await;
        acknowledge(&stage, 100, |_| true).await;
        let stage = stage.again(end).await;
        let mut left = Vec::new();
        while left.len() < 100 {
            let some = stage.receive(attached, 10, LEASE).await;
            assert!(!some.is_empty(), "{attached} {end:?} {left:?}");
            left.extend(texts(&some).into_iter().map(str::to_owned));
        }
        let all: Vec<String> = (0..100).map(|i: usize| i.to_string()).collect();
        assert_eq!(left, all, "{attached} {end:?}");
        assert!(stage.receive("orders", 10, LEASE).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attached_queue_begins_where_it_was_attached_after_a_restart_too() {
    for (end, done) in ENDS.into_iter().flat_map(|end| [(end, 3), (end, 5)]) {
        let stage = Stage::new().await;
        stage.queue("orders", QueueSettings::default()).await;
        say(&stage, 5).await;
        acknowledge(&stage, 5, |i| i < done).await;
        attach(&stage, "copies").await;
        let stage = stage.again(end).await;
        stage.say("orders", &["new"]).await;
        let copies = stage.receive("copies", 9, LEASE).await;
        let all = ["0", "1", "2", "3", "4", "new"];
        assert_eq!(texts(&copies), all[done..], "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_by_offset_see_what_is_left_as_soon_as_a_start_is_over() {
    let mut stage = Stage::new().await;
    stage.queue("orders", QueueSettings::default()).await;
    for round in 0..100 {
        stage.say("orders", &["a", "b", "c"]).await;
        acknowledge(&stage, 3, |i| i != 1).await;
        if round % 2 == 1 {
            // The log gives up what is done.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stage = stage.again(End::Kill).await;
        let left = stage.values("orders", 0).await;
        let expected = vec!["b".to_owned()];
        assert_eq!(left, Ok(expected), "round {round}");
        stage.skip(Duration::from_millis(LEASE));
        acknowledge(&stage, 1, |_| true).await;
    }
}
