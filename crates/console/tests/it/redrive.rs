//! Dead letters: where they would go, that they go there, and that a task can be stopped.

use serde_json::{Value, json};

use crate::stage::{Stage, eventually};

/// Lets all messages of a queue fail until they are in the queue for dead letters.
async fn dead_letter(stage: &Stage, queue: &str, count: u64) {
    let before = stage.depth("dead").await.0;
    for message in stage.receive(queue, json!({ "max": 100 })).await {
        let release = json!({ "receipt": message["receipt"], "action": "release", "delay_ms": 0 });
        assert_eq!(stage.settle(queue, release).await, "done");
    }
    // One more receive finds them.
    assert_eq!(stage.receive(queue, json!({ "max": 100 })).await.len(), 0);
    eventually(async || stage.depth("dead").await.0 == before + count).await;
}

async fn stage() -> Stage {
    let stage = Stage::start().await;
    stage.queue("dead", json!({})).await;
    let policy = json!({ "dead_letter": { "queue": "dead", "attempts_max": 1 } });
    for (queue, texts) in [("orders", &["a", "b"][..]), ("bills", &["c"])] {
        stage.queue(queue, policy.clone()).await;
        stage.say(queue, texts).await;
        dead_letter(&stage, queue, texts.len() as u64).await;
    }
    stage
}

async fn start(stage: &Stage, body: Value) -> crate::stage::Answer {
    stage.post("/queues/dead/redrive", body).await
}

#[tokio::test]
async fn a_dry_run_tells_and_moves_nothing() {
    let stage = stage().await;
    let dead = stage.get("/queues/dead/messages?max=1").await.good(200);
    let dead_letter = &dead["messages"][0]["dead_letter"];
    assert_eq!(dead_letter["queue"], "orders");
    assert_eq!(dead_letter["reason"], "attempts");
    stage.say("dead", &["stray"]).await;
    stage.delete("/queues/bills").await.good(204);
    let told = start(&stage, json!({ "dry_run": true })).await.good(200);
    let expected = json!({
        "dry_run": true,
        "messages": 4,
        "destinations": [
            { "queue": "bills", "messages": 1, "exists": false },
            { "queue": "orders", "messages": 2, "exists": true },
        ],
        "without_source": 1,
        "complete": true,
    });
    assert_eq!(told, expected);
    let to = json!({ "dry_run": true, "destination": "orders" });
    let told = start(&stage, to).await.good(200);
    let all = json!([{ "queue": "orders", "messages": 4, "exists": true }]);
    assert_eq!(told["destinations"], all);
    assert_eq!(stage.depth("dead").await, (4, 0, 0));
    let tasks = stage.get("/queues/dead/redrive").await.good(200);
    assert_eq!(tasks, json!({ "tasks": [] }));
}

#[tokio::test]
async fn dead_letters_go_back_to_where_they_came_from() {
    let stage = stage().await;
    let task = start(&stage, json!({})).await.good(202);
    assert_eq!(task["source"], "dead");
    assert_eq!(task["destination"], json!(null));
    assert_eq!(task["to_move"], 3);
    let list = async || stage.get("/queues/dead/redrive").await.good(200);
    eventually(async || list().await["tasks"][0]["state"] == "completed").await;
    let tasks = list().await;
    assert_eq!(tasks["tasks"][0]["id"], task["id"]);
    assert_eq!(tasks["tasks"][0]["moved"], 3);
    assert_eq!(stage.depth("dead").await, (0, 0, 0));
    assert_eq!(stage.depth("orders").await, (2, 0, 0));
    assert_eq!(stage.depth("bills").await, (1, 0, 0));
    let described = stage.get("/queues/dead").await.good(200);
    assert_eq!(described["redrives"], tasks["tasks"]);
}

#[tokio::test]
async fn a_task_can_go_elsewhere_slowly_and_be_stopped() {
    let stage = stage().await;
    // Enough of them that the task runs for longer than this test.
    stage.say("dead", &["stray"; 60]).await;
    stage.queue("elsewhere", json!({})).await;
    let slow = json!({ "destination": "elsewhere", "rate_max": 1 });
    let task = start(&stage, slow.clone()).await.good(202);
    assert_eq!(task["destination"], "elsewhere");
    assert_eq!(task["rate_max"], 1);
    assert_eq!(task["state"], "running");
    start(&stage, slow).await.refused(409, "conflict", "runs");
    let id = task["id"].as_str().unwrap();
    stage
        .delete(&format!("/queues/orders/redrive/{id}"))
        .await
        .refused(404, "no-such-task", "'orders'");
    let path = format!("/queues/dead/redrive/{id}");
    let ended = stage.delete(&path).await.good(200);
    assert_eq!(ended["state"], "cancelled");
    assert!(stage.depth("dead").await.0 > 0);
    stage.delete(&path).await.refused(404, "no-such-task", id);
}

#[tokio::test]
async fn redrives_that_make_no_sense_are_refused() {
    let stage = stage().await;
    for (body, why) in [
        (json!({ "destination": "nowhere" }), "'nowhere'"),
        (json!({ "destination": "dead" }), "same topic"),
        (json!({ "rate_max": 0 }), "`rate_max`"),
        (json!({ "rate": 1 }), "`rate`"),
    ] {
        start(&stage, body).await.refused(422, "invalid", why);
    }
    stage
        .post("/queues/nowhere/redrive", json!({}))
        .await
        .refused(404, "no-such-queue", "'nowhere'");
    stage
        .get("/queues/nowhere/redrive")
        .await
        .refused(404, "no-such-queue", "'nowhere'");
    for task in ["nonsense", "00000000-0000-4000-8000-000000000000"] {
        let path = format!("/queues/dead/redrive/{task}");
        stage.delete(&path).await.refused(404, "no-such-task", task);
    }
}
