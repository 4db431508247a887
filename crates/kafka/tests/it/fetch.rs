//! Fetch: how much, in which order, and how long it waits.

use std::time::Duration;

use kafka::wire::fetch::FetchTopic;
use kafka::wire::{FetchRequest, FetchResponse, MetadataRequest};
use testkit::HeldTime;
use tokio::time::{Instant, advance};
use uuid::Uuid;

use crate::client::{Client, Server};
use crate::kit::{Batch, FETCH_BY_NAME, batches, fetch_from, fetch_request, long_poll};

fn orders(partitions: &[(i32, i64)]) -> FetchTopic<'static> {
    fetch_from(("orders", Uuid::nil()), partitions)
}

async fn ready() -> (Server, Client) {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 3, &[]).await;
    (server, client)
}

async fn ask(client: &mut Client, request: &FetchRequest<'_>) -> FetchResponse<'static> {
    client.ask(FETCH_BY_NAME, request).await
}

fn sizes(answer: &FetchResponse<'_>) -> Vec<(i32, usize)> {
    let partitions = answer.responses.iter().flat_map(|t| &t.partitions);
    partitions
        .map(|p| (p.partition_index, batches(&p.records).len()))
        .collect()
}

#[tokio::test]
async fn the_first_batch_comes_whatever_its_size() {
    let (_server, mut client) = ready().await;
    for _ in 0..3 {
        client.put("orders", 0, &Batch::sized(10_000)).await;
    }
    for (max, partition_max) in [(1, 1 << 20), (1 << 20, 1), (0, 0), (10, 10)] {
        let mut topic = orders(&[(0, 0)]);
        topic.partitions[0].partition_max_bytes = partition_max;
        let request = FetchRequest {
            max_bytes: max,
            ..fetch_request(vec![topic])
        };
        let answer = ask(&mut client, &request).await;
        assert_eq!(sizes(&answer), [(0, 1)], "{max} {partition_max}");
    }
    let mut topic = orders(&[(0, 0)]);
    topic.partitions[0].partition_max_bytes = 25_000;
    let answer = ask(&mut client, &fetch_request(vec![topic])).await;
    assert_eq!(sizes(&answer), [(0, 2)], "only whole batches");
}

#[tokio::test]
async fn partitions_are_filled_in_the_order_asked_for() {
    let (_server, mut client) = ready().await;
    for partition in 0..3 {
        client.put("orders", partition, &Batch::sized(10_000)).await;
    }
    let request = FetchRequest {
        max_bytes: 15_000,
        ..fetch_request(vec![orders(&[(2, 0), (0, 0), (1, 0)])])
    };
    let answer = ask(&mut client, &request).await;
    assert_eq!(sizes(&answer), [(2, 1), (0, 0), (1, 0)]);
    let request = FetchRequest {
        max_bytes: 25_000,
        ..fetch_request(vec![orders(&[(1, 0), (2, 1), (0, 0)])])
    };
    let answer = ask(&mut client, &request).await;
    assert_eq!(
        sizes(&answer),
        [(1, 1), (2, 0), (0, 1)],
        "an empty partition takes no room"
    );
}

#[tokio::test]
async fn a_batch_may_start_before_the_offset_asked_for() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a", "b", "c"])).await;
    client.put("orders", 0, &Batch::of(&["d", "e"])).await;
    for (from, expected) in [
        (0, vec![(0, 3), (3, 2)]),
        (2, vec![(0, 3), (3, 2)]),
        (3, vec![(3, 2)]),
        (4, vec![(3, 2)]),
        (5, vec![]),
    ] {
        let fetched = client.fetch("orders", 0, from).await;
        assert_eq!(fetched.error_code, 0);
        assert_eq!(batches(&fetched.records), expected, "from {from}");
        assert_eq!(
            (
                fetched.high_watermark,
                fetched.last_stable_offset,
                fetched.log_start_offset
            ),
            (5, 5, 0)
        );
    }
}

#[tokio::test]
async fn offsets_outside_the_partition_are_out_of_range() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a"])).await;
    for offset in [2, 1 << 40, i64::MAX, -1, i64::MIN] {
        let fetched = client.fetch("orders", 0, offset).await;
        assert_eq!(fetched.error_code, 1, "{offset}");
        assert_eq!(
            (fetched.high_watermark, fetched.log_start_offset),
            (1, 0),
            "{offset}"
        );
        assert!(!fetched.records.is_null(), "records are empty, not absent");
    }
}

#[tokio::test]
async fn a_session_is_opened_continued_and_ended() {
    let (server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["a"])).await;
    let session = |id, epoch, topics| FetchRequest {
        session_id: id,
        session_epoch: epoch,
        ..fetch_request(topics)
    };
    for version in 7..=12 {
        let all = || vec![orders(&[(0, 0), (1, 0)])];
        let opened: FetchResponse<'_> = client.ask(version, &session(0, 0, all())).await;
        assert_eq!(opened.error_code, 0);
        assert!(opened.session_id > 0, "v{version}");
        assert_eq!(sizes(&opened), [(0, 1), (1, 0)]);
        let id = opened.session_id;
        // On another connection, and from where the records end: there is nothing to tell.
        let mut other = server.connect();
        let moved = session(id, 1, vec![orders(&[(0, 1)])]);
        let quiet: FetchResponse<'_> = other.ask(version, &moved).await;
        assert_eq!((quiet.error_code, quiet.session_id), (0, id));
        assert!(quiet.responses.is_empty(), "{quiet:?}");
        client.put("orders", 1, &Batch::of(&["b"])).await;
        let news: FetchResponse<'_> = client.ask(version, &session(id, 2, vec![])).await;
        assert_eq!(sizes(&news), [(1, 1)], "only what is new");
        for (id, epoch, code) in [(id, 2, 71), (id ^ 1, 3, 70), (0, 3, 70)] {
            let refused: FetchResponse<'_> = client.ask(version, &session(id, epoch, vec![])).await;
            assert_eq!((refused.error_code, refused.session_id), (code, 0));
            assert!(refused.responses.is_empty());
        }
        let ended: FetchResponse<'_> = client.ask(version, &session(id, -1, all())).await;
        assert_eq!((ended.error_code, ended.session_id), (0, 0), "a full fetch");
        let gone: FetchResponse<'_> = client.ask(version, &session(id, 3, vec![])).await;
        assert_eq!(gone.error_code, 70, "v{version}");
        let delete = kafka::wire::DeleteTopicsRequest {
            topic_names: vec!["orders".into()],
            ..Default::default()
        };
        let _: kafka::wire::DeleteTopicsResponse<'_> = client.ask(5, &delete).await;
        client.create("orders", 2, &[]).await;
        client.put("orders", 0, &Batch::of(&["a"])).await;
    }
}

#[tokio::test]
async fn a_session_by_ids_lives_through_the_deletion_of_its_topic() {
    let (_server, mut client) = ready().await;
    let id = client.describe("orders").await.topic_id;
    let by_id = || vec![fetch_from(("", id), &[(0, 0)])];
    let session = |id, epoch, topics| FetchRequest {
        session_id: id,
        session_epoch: epoch,
        ..fetch_request(topics)
    };
    let opened: FetchResponse<'_> = client.ask(16, &session(0, 0, by_id())).await;
    assert!(opened.session_id > 0);
    let by_name: FetchResponse<'_> = client
        .ask(FETCH_BY_NAME, &session(opened.session_id, 1, vec![]))
        .await;
    assert_eq!(by_name.error_code, 106, "its topics have no names");
    let delete = kafka::wire::DeleteTopicsRequest {
        topic_names: vec!["orders".into()],
        ..Default::default()
    };
    let _: kafka::wire::DeleteTopicsResponse<'_> = client.ask(5, &delete).await;
    for epoch in 1..=2 {
        let answer: FetchResponse<'_> = client
            .ask(16, &session(opened.session_id, epoch, vec![]))
            .await;
        let topic = &answer.responses[0];
        assert_eq!((topic.topic_id, topic.partitions[0].error_code), (id, 100));
    }
}

#[tokio::test]
async fn sessions_that_find_no_room_are_not_opened() {
    let server = Server::with(|_, kafka| kafka.fetch_sessions_max = 1).await;
    let mut client = server.connect();
    client.create("orders", 2, &[]).await;
    let open = FetchRequest {
        session_epoch: 0,
        ..fetch_request(vec![orders(&[(0, 0), (1, 0)])])
    };
    let first: FetchResponse<'_> = client.ask(FETCH_BY_NAME, &open).await;
    assert!(first.session_id > 0);
    let second: FetchResponse<'_> = client.ask(FETCH_BY_NAME, &open).await;
    assert_eq!((second.error_code, second.session_id), (0, 0));
    assert_eq!(
        second.responses[0].partitions.len(),
        2,
        "served all the same"
    );
}

#[tokio::test]
async fn a_long_poll_ends_with_a_produce() {
    let (server, mut client) = ready().await;
    let _held = HeldTime::pause();
    let mut reader = server.connect();
    reader
        .send(FETCH_BY_NAME, &long_poll(orders(&[(0, 0), (1, 0)]), 60_000))
        .await;
    settle().await;
    let before = Instant::now();
    client.put("orders", 1, &Batch::of(&["x"])).await;
    let answer: FetchResponse<'_> = reader.answer().await;
    assert_eq!(sizes(&answer), [(0, 0), (1, 1)]);
    assert_eq!(before.elapsed(), Duration::ZERO, "no timer was needed");
}

#[tokio::test]
async fn a_long_poll_waits_for_enough_bytes_or_the_end_of_its_time() {
    let (server, mut client) = ready().await;
    let _held = HeldTime::pause();
    let mut reader = server.connect();
    let request = FetchRequest {
        min_bytes: 1500,
        ..long_poll(orders(&[(0, 0)]), 60_000)
    };
    reader.send(FETCH_BY_NAME, &request).await;
    settle().await;
    client.put("orders", 0, &Batch::sized(1000)).await;
    settle().await;
    assert_pending(&mut reader).await;
    client.put("orders", 0, &Batch::sized(1000)).await;
    let answer: FetchResponse<'_> = reader.answer().await;
    assert_eq!(sizes(&answer), [(0, 2)]);

    let request = FetchRequest {
        min_bytes: 50_000,
        ..request
    };
    reader.send(FETCH_BY_NAME, &request).await;
    settle().await;
    advance(Duration::from_millis(59_990)).await;
    settle().await;
    assert_pending(&mut reader).await;
    advance(Duration::from_millis(20)).await;
    let answer: FetchResponse<'_> = reader.answer().await;
    assert_eq!(sizes(&answer), [(0, 2)], "what there is");
}

/// Lets every task run until all of them wait.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn assert_pending(client: &mut Client) {
    let mut first = [0];
    let read = tokio::io::AsyncReadExt::read(&mut client.connection, &mut first);
    tokio::pin!(read);
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(read.as_mut().poll(cx))).await;
    assert!(polled.is_pending(), "answered too early");
}

#[tokio::test]
async fn a_fetch_that_wants_nothing_or_fails_does_not_wait() {
    let (_server, mut client) = ready().await;
    let _held = HeldTime::pause();
    let nothing = FetchRequest {
        min_bytes: 0,
        max_wait_ms: 60_000,
        ..fetch_request(vec![orders(&[(0, 0)])])
    };
    ask(&mut client, &nothing).await;
    let outside = long_poll(orders(&[(0, 0), (1, 7)]), 60_000);
    let answer = ask(&mut client, &outside).await;
    assert_eq!(answer.responses[0].partitions[1].error_code, 1);
    let unknown = long_poll(orders(&[(0, 0), (9, 0)]), 60_000);
    assert_eq!(
        ask(&mut client, &unknown).await.responses[0].partitions[1].error_code,
        3
    );
    ask(&mut client, &long_poll(orders(&[(0, 0)]), -5)).await;
}

#[tokio::test]
async fn deleting_a_topic_ends_the_polls_that_wait_for_it() {
    let (server, mut client) = ready().await;
    let _held = HeldTime::pause();
    let mut reader = server.connect();
    reader
        .send(FETCH_BY_NAME, &long_poll(orders(&[(0, 0)]), 60_000))
        .await;
    settle().await;
    let request = kafka::wire::DeleteTopicsRequest {
        topic_names: vec!["orders".into()],
        ..kafka::wire::DeleteTopicsRequest::default()
    };
    let _: kafka::wire::DeleteTopicsResponse<'_> = client.ask(5, &request).await;
    let answer: FetchResponse<'_> = reader.answer().await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 3);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_long_poll_along() {
    let (server, mut client) = ready().await;
    let _held = HeldTime::pause();
    let mut reader = server.connect();
    reader
        .send(FETCH_BY_NAME, &long_poll(orders(&[(0, 0)]), 300_000))
        .await;
    settle().await;
    let Client {
        served, connection, ..
    } = reader;
    assert!(!served.is_finished());
    drop(connection);
    served.await.expect("serving ends at once and in order");
    client.put("orders", 0, &Batch::of(&["x"])).await;
}

#[tokio::test]
async fn a_drain_ends_long_polls_with_an_answer() {
    let (server, mut client) = ready().await;
    let _held = HeldTime::pause();
    client
        .send(FETCH_BY_NAME, &long_poll(orders(&[(0, 0)]), 300_000))
        .await;
    settle().await;
    server.broker().drain();
    server.drain();
    let answer: FetchResponse<'_> = client.answer().await;
    assert_eq!(sizes(&answer), [(0, 0)]);
    client.expect_closed().await;
}

#[tokio::test]
async fn requests_behind_a_long_poll_wait_for_it() {
    let (server, mut client) = ready().await;
    let _held = HeldTime::pause();
    let mut reader = server.connect();
    reader
        .send(FETCH_BY_NAME, &long_poll(orders(&[(0, 0)]), 60_000))
        .await;
    for _ in 0..50 {
        reader.send(12, &MetadataRequest::default()).await;
    }
    settle().await;
    assert_pending(&mut reader).await;
    client.put("orders", 0, &Batch::of(&["x"])).await;
    let answer: FetchResponse<'_> = reader.answer().await;
    assert_eq!(sizes(&answer), [(0, 1)]);
    for _ in 0..50 {
        let _: kafka::wire::MetadataResponse<'_> = reader.answer().await;
    }
}

#[tokio::test]
async fn epochs_a_reader_believes_in_are_checked() {
    let (_server, mut client) = ready().await;
    client.put("orders", 0, &Batch::of(&["x"])).await;
    for (epoch, code) in [(-1, 0), (0, 0), (1, 75), (9, 75)] {
        let mut topic = orders(&[(0, 0)]);
        topic.partitions[0].current_leader_epoch = epoch;
        let answer = ask(&mut client, &fetch_request(vec![topic])).await;
        assert_eq!(
            answer.responses[0].partitions[0].error_code, code,
            "epoch {epoch}"
        );
    }
}

#[tokio::test]
async fn unknown_ids_are_told_from_unknown_names() {
    let server = Server::start().await;
    let mut client = server.connect();
    let id = client.create("orders", 1, &[]).await;
    client.put("orders", 0, &Batch::of(&["x"])).await;
    for version in 13..=18 {
        let topics = vec![
            fetch_from(("", id), &[(0, 0), (5, 0)]),
            fetch_from(("", Uuid::from_u128(9)), &[(0, 0)]),
        ];
        let answer: FetchResponse<'_> = client.ask(version, &fetch_request(topics)).await;
        let codes: Vec<_> = answer
            .responses
            .iter()
            .flat_map(|t| &t.partitions)
            .map(|p| p.error_code)
            .collect();
        assert_eq!(codes, [0, 3, 100], "v{version}");
        assert_eq!(answer.responses[0].topic_id, id);
    }
    assert_eq!(client.fetch("nowhere", 0, 0).await.error_code, 3);
}
