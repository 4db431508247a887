//! Sending, receiving, settling, looking and replaying.

use engine::NewTopic;
use security::Principal;
use serde_json::{Value, json};

use crate::stage::{Stage, bodies};

#[tokio::test]
async fn what_is_sent_is_received_as_it_was() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({ "priorities": 5 })).await;
    let text = json!({
        "body": "héllo",
        "key": "customer-1",
        "headers": [{ "name": "kind", "value": "greeting" }],
        "priority": 2,
    });
    let bytes = json!({ "body_base64": "/wA=", "key_base64": "/w==" });
    let body = json!({ "messages": [text, bytes] });
    let sent = stage.post("/queues/orders/messages", body).await.good(200);
    let sent = sent["messages"].as_array().unwrap();
    assert_eq!(sent[0]["duplicate"], false);
    assert!(sent[0]["sequence"].as_u64() < sent[1]["sequence"].as_u64());

    let received = stage.receive("orders", json!({ "max": 10 })).await;
    assert_eq!(received.len(), 2, "{received:?}");
    let first = received[0].as_object().unwrap();
    assert_eq!(first["id"], sent[0]["id"]);
    assert_eq!(first["sequence"], sent[0]["sequence"]);
    assert_eq!(first["body"], "héllo");
    assert_eq!(first["key"], "customer-1");
    let headers = json!([{ "name": "kind", "value": "greeting" }]);
    assert_eq!(first["headers"], headers);
    assert_eq!(
        (&first["priority"], &first["deliveries"]),
        (&json!(2), &json!(1))
    );
    let second = received[1].as_object().unwrap();
    assert_eq!(second["body_base64"], "/wA=");
    assert_eq!(second["key_base64"], "/w==");
    assert!(!second.contains_key("body") && !second.contains_key("key"));
    assert_eq!(stage.depth("orders").await, (0, 2, 0));
}

#[tokio::test]
async fn delays_and_repeats_are_the_senders() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({})).await;
    let body = json!({ "messages": [
        { "body": "later", "delay_ms": 60000 },
        { "body": "once", "dedup": "one" },
        { "body": "twice", "dedup": "one" },
    ] });
    let sent = stage.post("/queues/orders/messages", body).await.good(200);
    assert_eq!(sent["messages"][1]["duplicate"], false);
    assert_eq!(sent["messages"][2]["duplicate"], true);
    assert_eq!(sent["messages"][2]["id"], sent["messages"][1]["id"]);
    assert_eq!(stage.depth("orders").await, (1, 0, 1));
    let received = stage.receive("orders", json!({ "max": 10 })).await;
    assert_eq!(bodies(&received), ["once"]);
    assert_eq!(received[0]["dedup"], "one");
}

#[tokio::test]
async fn messages_that_cannot_be_sent_are_refused() {
    let stage = Stage::start().await;
    stage
        .queue("orders", json!({ "message_bytes_max": 4 }))
        .await;
    let path = "/queues/orders/messages";
    let send = async |messages: Value| {
        let body = json!({ "messages": messages });
        stage.post(path, body).await
    };
    send(json!([{ "body": "12345" }]))
        .await
        .refused(422, "invalid", "5 bytes");
    let some = send(json!([{ "body": "1234" }, { "body": "12345" }]))
        .await
        .good(207);
    assert_eq!(some["messages"][0]["duplicate"], false);
    assert_eq!(some["messages"][1]["problem"]["status"], 422);
    assert_eq!(stage.depth("orders").await, (1, 0, 0));

    send(json!([])).await.refused(422, "invalid", "1 to 1000");
    let many: Vec<Value> = (0..1001).map(|_| json!({})).collect();
    send(json!(many)).await.refused(422, "invalid", "1 to 1000");
    send(json!([{ "boddy": "x" }]))
        .await
        .refused(422, "invalid", "`boddy`");
    send(json!([{ "body": "x", "body_base64": "eA==" }]))
        .await
        .refused(422, "invalid", "exclude");
    send(json!([{ "headers": [{ "name": "forebay.due" }] }]))
        .await
        .refused(422, "invalid", "reserved");
    stage
        .post(path, json!({ "body": "x" }))
        .await
        .refused(422, "invalid", "`body`");
    let body = json!({ "messages": [{}] });
    stage
        .post("/queues/nowhere/messages", body)
        .await
        .refused(404, "no-such-queue", "'nowhere'");
}

#[tokio::test]
async fn messages_in_flight_are_settled_by_receipt() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({})).await;
    stage.say("orders", &["a", "b", "c"]).await;
    let leased = stage
        .receive("orders", json!({ "max": 3, "lease_ms": 1000 }))
        .await;
    let receipt = |n: usize| leased[n]["receipt"].clone();
    let ack = json!({ "receipt": receipt(0), "action": "ack" });
    assert_eq!(stage.settle("orders", ack.clone()).await, "done");
    assert_eq!(stage.settle("orders", ack).await, "gone");
    let extend = |ms: u64| json!({ "receipt": receipt(1), "action": "extend", "lease_ms": ms });
    assert_eq!(stage.settle("orders", extend(60_000)).await, "done");
    let release = json!({ "receipt": receipt(2), "action": "release", "delay_ms": 0 });
    assert_eq!(stage.settle("orders", release).await, "done");
    assert_eq!(stage.depth("orders").await, (1, 1, 0));

    stage.test.clock().skip(std::time::Duration::from_secs(2));
    let again = stage.receive("orders", json!({ "max": 3 })).await;
    assert_eq!(bodies(&again), ["c"]);
    assert_eq!(again[0]["deliveries"], 2);
    let stale = json!({ "receipt": receipt(2), "action": "release" });
    assert_eq!(stage.settle("orders", stale).await, "stale");
    let wait = json!({ "receipt": again[0]["receipt"], "action": "release", "delay_ms": 5000 });
    assert_eq!(stage.settle("orders", wait).await, "done");
    assert_eq!(stage.depth("orders").await, (0, 1, 1));

    stage.queue("others", json!({})).await;
    let foreign = json!({ "receipt": receipt(1), "action": "ack" });
    assert_eq!(stage.settle("others", foreign).await, "foreign");
}

#[tokio::test]
async fn settlements_that_make_no_sense_are_refused() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({})).await;
    let settle = async |settle: Value| {
        let body = json!({ "settle": settle });
        stage.post("/queues/orders/settle", body).await
    };
    settle(json!([])).await.refused(422, "invalid", "1 to 1000");
    settle(json!([{ "receipt": "nonsense", "action": "ack" }]))
        .await
        .refused(422, "invalid", "receipt");
    settle(json!([{ "receipt": "x", "action": "burn" }]))
        .await
        .refused(422, "invalid", "`burn`");
    settle(json!([{ "action": "ack" }]))
        .await
        .refused(422, "invalid", "`receipt`");
    settle(json!([{ "receipt": "x", "action": "extend" }]))
        .await
        .refused(422, "invalid", "`lease_ms`");
}

#[tokio::test]
async fn a_receiver_may_wait() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({})).await;
    let (received, ()) = tokio::join!(
        stage.receive("orders", json!({ "wait_ms": 20000 })),
        async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            stage.say("orders", &["at last"]).await;
        }
    );
    assert_eq!(bodies(&received), ["at last"]);
    assert_eq!(stage.receive("orders", json!({})).await, [json!(null); 0]);
    for (body, why) in [
        (json!({ "max": 0 }), "1 to 100"),
        (json!({ "max": 101 }), "1 to 100"),
        (json!({ "wait_ms": 60001 }), "`wait_ms`"),
        (json!({ "lease_ms": u64::MAX }), "`lease_ms`"),
        (json!({ "vait_ms": 1 }), "`vait_ms`"),
    ] {
        let answer = stage.post("/queues/orders/receive", body).await;
        answer.refused(422, "invalid", why);
    }
    stage
        .post("/queues/nowhere/receive", json!({}))
        .await
        .refused(404, "no-such-queue", "'nowhere'");
}

#[tokio::test]
async fn a_full_queue_asks_for_patience() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({ "in_flight_max": 1 })).await;
    stage.say("orders", &["a", "b"]).await;
    assert_eq!(stage.receive("orders", json!({ "max": 2 })).await.len(), 1);
    let answer = stage.post("/queues/orders/receive", json!({})).await;
    answer.refused(429, "throttled", "in flight");
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn looking_leases_nothing() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({})).await;
    stage.say("orders", &["a", "b", "c"]).await;
    let path = "/queues/orders/messages";
    let first = stage.get(&format!("{path}?max=2")).await.good(200);
    let messages = first["messages"].as_array().unwrap();
    assert_eq!(bodies(messages), ["a", "b"]);
    assert_eq!(messages[0]["deliveries"], 0);
    assert_eq!(messages[0].get("receipt"), None);
    let next = first["next"].as_u64().unwrap();
    let rest = stage.get(&format!("{path}?from={next}")).await.good(200);
    assert_eq!(bodies(rest["messages"].as_array().unwrap()), ["c"]);
    assert_eq!(rest.get("next"), None);
    assert_eq!(stage.depth("orders").await, (3, 0, 0));
    stage
        .get(&format!("{path}?max=101"))
        .await
        .refused(422, "invalid", "1 to 100");
    stage
        .get(&format!("{path}?since=1"))
        .await
        .refused(400, "malformed", "`since`");
    stage
        .get("/queues/nowhere/messages")
        .await
        .refused(404, "no-such-queue", "'nowhere'");
}

#[tokio::test]
async fn looking_at_several_partitions_names_them() {
    let stage = Stage::start().await;
    let topic = NewTopic {
        name: "events".to_owned(),
        partitions: Some(2),
        ..NewTopic::default()
    };
    let anyone = Principal::anonymous();
    let broker = stage.test.broker();
    broker
        .on_behalf_of(&anyone)
        .create_topic(topic, false)
        .await
        .unwrap();
    let body = json!({ "name": "workers", "topic": "events" });
    stage.post("/queues", body).await.good(201);
    stage.say("workers", &["a", "b", "c", "d"]).await;
    let seen = stage.get("/queues/workers/messages?max=4").await.good(200);
    let messages = seen["messages"].as_array().unwrap();
    let of = |n: u64| messages.iter().filter(|m| m["partition"] == n).count();
    assert_eq!((of(0), of(1)), (2, 2), "{seen}");
    assert_eq!(seen.get("next"), None);
}

#[tokio::test]
async fn what_was_acknowledged_can_be_leased_again() {
    let stage = Stage::start().await;
    stage
        .queue("orders", json!({ "replay_ms": 3_600_000 }))
        .await;
    stage.say("orders", &["a", "b"]).await;
    for message in stage.receive("orders", json!({ "max": 2 })).await {
        let ack = json!({ "receipt": message["receipt"], "action": "ack" });
        assert_eq!(stage.settle("orders", ack).await, "done");
    }
    let path = "/queues/orders/replay";
    let replayed = stage.post(path, json!({ "from": 1 })).await.good(200);
    assert_eq!(replayed, json!({ "replayed": 1 }));
    let again = stage.receive("orders", json!({ "max": 2 })).await;
    assert_eq!(bodies(&again), ["b"]);

    stage
        .post(path, json!({}))
        .await
        .refused(422, "invalid", "`from`");
    stage.queue("steps", json!({ "ordering": "key" })).await;
    stage
        .post("/queues/steps/replay", json!({ "from": 0 }))
        .await
        .refused(422, "invalid", "without order");
    stage
        .post("/queues/nowhere/replay", json!({ "from": 0 }))
        .await
        .refused(404, "no-such-queue", "'nowhere'");
}

#[tokio::test]
async fn sequences_from_beyond_the_end_find_nothing() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({ "replay_ms": 1000 })).await;
    stage.say("orders", &["a", "b"]).await;
    let [leased] = &stage.receive("orders", json!({})).await[..] else {
        panic!("one is leased");
    };
    let ack = json!({ "receipt": leased["receipt"], "action": "ack" });
    assert_eq!(stage.settle("orders", ack).await, "done");
    for from in [2, 3, u64::MAX] {
        let body = json!({ "from": from });
        let answer = stage.post("/queues/orders/replay", body).await;
        assert_eq!(answer.good(200), json!({ "replayed": 0 }));
        let path = format!("/queues/orders/messages?from={from}");
        let seen = stage.get(&path).await.good(200);
        assert_eq!(seen, json!({ "messages": [] }));
    }
    assert_eq!(stage.depth("orders").await, (1, 0, 0));
    stage.say("orders", &["c"]).await;
    let rest = stage.receive("orders", json!({ "max": 3 })).await;
    assert_eq!(bodies(&rest), ["b", "c"]);
}
