//! Topics and groups: what the API says of them, and what it refuses.

use serde_json::{Value, json};

use crate::stage::Stage;

async fn topic(stage: &Stage, name: &str, partitions: u32) {
    let body = json!({ "name": name, "partitions": partitions });
    stage.post("/topics", body).await.good(201);
}

async fn append(stage: &Stage, name: &str, records: Value) -> Value {
    let path = format!("/topics/{name}/records");
    let body = json!({ "records": records });
    stage.post(&path, body).await.good(200)["records"].clone()
}

#[tokio::test]
async fn a_topic_is_described_and_changed() {
    let stage = Stage::start().await;
    let body = json!({
        "name": "orders",
        "partitions": 2,
        "settings": { "retention.ms": 60000, "preallocate": true, "cleanup.policy": "delete" },
    });
    let made = stage.post("/topics", body).await;
    assert_eq!(made.headers["location"], "/api/v1/topics/orders");
    let made = made.good(201);
    let settings = json!({
        "retention.ms": "60000", "preallocate": "true", "cleanup.policy": "delete",
    });
    assert_eq!(made["settings"], settings);
    assert_eq!(made["queues"], json!([]));
    assert_eq!(
        made["partitions"],
        json!([
            { "partition": 0, "start": 0, "end": 0 },
            { "partition": 1, "start": 0, "end": 0 },
        ])
    );
    let change = json!({ "settings": { "retention.ms": null }, "partitions": 3 });
    let changed = stage.patch("/topics/orders", change).await.good(200);
    assert_eq!(changed["settings"].get("retention.ms"), None);
    assert_eq!(changed["partitions"].as_array().unwrap().len(), 3);
    // All or nothing.
    let wrong = json!({ "settings": { "retention.ms": 5 }, "partitions": 1 });
    stage
        .patch("/topics/orders", wrong)
        .await
        .refused(422, "invalid", "");
    let nonsense = json!({ "settings": { "nonsense": null } });
    stage.patch("/topics/orders", nonsense).await.refused(
        422,
        "invalid",
        "there is no setting 'nonsense'",
    );
    let described = stage.get("/topics/orders?defaults=true").await.good(200);
    assert_eq!(described["settings"]["retention.ms"], "604800000");
    let listed = stage.get("/topics?max=1").await.good(200);
    let orders = json!({ "vhost": "/", "name": "orders", "partitions": 3, "offsets": 0 });
    assert_eq!(listed, json!({ "topics": [orders] }));
}

#[tokio::test]
async fn topics_come_in_pages() {
    let stage = Stage::start().await;
    for name in ["a", "b", "c"] {
        topic(&stage, name, 1).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let topics = page["topics"].as_array().unwrap().iter();
        topics
            .map(|t| t["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = stage.get("/topics?max=2").await.good(200);
    assert_eq!(
        (names(&first), &first["next"]),
        (vec!["a".into(), "b".into()], &json!("b"))
    );
    let rest = stage.get("/topics?max=2&after=b").await.good(200);
    assert_eq!(
        (names(&rest), rest.get("next")),
        (vec!["c".to_owned()], None)
    );
}

#[tokio::test]
async fn records_go_in_and_out_as_they_are() {
    let stage = Stage::start().await;
    topic(&stage, "orders", 1).await;
    let records = json!([
        { "key": "k", "value": "v", "headers": [{ "name": "h", "value": "1" }], "timestamp_ms": 7 },
        { "value_base64": "/w==" },
        { "key": "gone" },
    ]);
    let placed = append(&stage, "orders", records).await;
    let place = |offset: u64| json!({ "partition": 0, "offset": offset });
    assert_eq!(placed, json!([place(0), place(1), place(2)]));
    let read = stage.get("/topics/orders/records").await.good(200);
    assert_eq!(
        (&read["next"], &read["start"], &read["end"]),
        (&json!(3), &json!(0), &json!(3))
    );
    assert_eq!(
        read["records"][0],
        json!({
            "partition": 0, "offset": 0, "timestamp_ms": 7, "key": "k", "value": "v",
            "headers": [{ "name": "h", "value": "1" }],
        })
    );
    assert_eq!(read["records"][1]["value_base64"], "/w==");
    assert_eq!(read["records"][1]["key"], json!(null));
    assert_eq!(read["records"][2]["value"], json!(null));
    let one = stage
        .get("/topics/orders/records?from=1&max=1")
        .await
        .good(200);
    assert_eq!(
        (one["records"].as_array().unwrap().len(), &one["next"]),
        (1, &json!(2))
    );
    let none = stage
        .get("/topics/orders/records?from=latest")
        .await
        .good(200);
    assert_eq!((&none["records"], &none["next"]), (&json!([]), &json!(3)));
}

#[tokio::test]
async fn a_reader_waits_for_a_record() {
    let stage = Stage::start().await;
    topic(&stage, "orders", 1).await;
    let path = "/topics/orders/records?from=latest&wait_ms=30000";
    let (read, _) = tokio::join!(
        stage.get(path),
        append(&stage, "orders", json!([{ "value": "x" }]))
    );
    assert_eq!(read.good(200)["records"][0]["value"], "x");
}

#[tokio::test]
async fn some_records_may_be_refused() {
    let stage = Stage::start().await;
    topic(&stage, "orders", 1).await;
    let body = json!({ "records": [{ "value": "x" }, { "value": "y", "partition": 3 }] });
    let answer = stage.post("/topics/orders/records", body).await.good(207);
    assert_eq!(answer["records"][0]["offset"], 0);
    assert_eq!(answer["records"][1]["problem"]["status"], 404);
    for (body, why) in [
        (json!({ "records": [] }), "`records`"),
        (
            json!({ "records": [{ "value": "x", "value_base64": "eA==" }] }),
            "exclude",
        ),
        (
            json!({ "records": [{ "timestamp_ms": u64::MAX }] }),
            "`timestamp_ms`",
        ),
        (
            json!({ "records": [{ "headers": [{ "name": "forebay.id" }] }] }),
            "reserved",
        ),
        (json!({ "records": [{ "body": "x" }] }), "`body`"),
    ] {
        stage
            .post("/topics/orders/records", body)
            .await
            .refused(422, "invalid", why);
    }
    for path in [
        "/topics/nowhere",
        "/topics/nowhere/records",
        "/topics/orders/records?partition=5",
    ] {
        stage.get(path).await.refused(404, "no-such-topic", "");
    }
}

#[tokio::test]
async fn a_group_is_moved_described_and_removed() {
    let stage = Stage::start().await;
    topic(&stage, "orders", 2).await;
    append(&stage, "orders", json!([{ "value": "x", "partition": 1 }])).await;
    stage
        .post("/groups/bar/seek", json!({ "to": "latest" }))
        .await
        .refused(404, "no-such-group", "'bar'");
    let seek = json!({ "topic": "orders", "to": "earliest" });
    let moved = stage.post("/groups/bar/seek", seek).await.good(200);
    let at = |partition: u32, offset: u64| json!({ "topic": "orders", "partition": partition, "offset": offset });
    assert_eq!(moved["offsets"], json!([at(0, 0), at(1, 0)]));
    let described = stage.get("/groups/bar").await.good(200);
    assert_eq!(described["state"], "empty");
    assert_eq!(described["lag"], 1);
    assert_eq!(described["offsets"][1]["lag"], 1);
    for (body, why) in [
        (json!({}), "expected one of"),
        (json!({ "to": "latest", "offset": 1 }), "expected one of"),
        (json!({ "topic": "orders", "offset": 2 }), "`offset`"),
        (
            json!({ "topic": "orders", "partition": 7, "to": "latest" }),
            "no such partition",
        ),
    ] {
        stage
            .post("/groups/bar/seek", body)
            .await
            .refused(422, "invalid", why);
    }
    assert_eq!(stage.delete("/groups/bar").await.good(204), json!(null));
    stage
        .get("/groups/bar")
        .await
        .refused(404, "no-such-group", "'bar'");
}
