//! Making, listing, describing, changing, emptying and removing queues.

use engine::NewTopic;
use security::Principal;
use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn a_queue_is_made_and_described() {
    let stage = Stage::start().await;
    stage.queue("dead", json!({})).await;
    let settings = json!({
        "lease_ms": 5000,
        "dead_letter": { "queue": "dead", "attempts_max": 3 },
        "backoff": { "base_ms": 1000, "max_ms": 60000, "jitter": true },
        "tags": { "team": "billing" },
    });
    let body = json!({ "name": "orders", "settings": settings });
    let made = stage.post("/queues", body).await;
    assert_eq!(made.headers["location"], "/api/v1/queues/orders");
    let made = made.good(201);
    assert_eq!(made["name"], "orders");
    let topic = json!({ "vhost": "/", "name": "orders", "partitions": 1, "own": true });
    assert_eq!(made["topic"], topic);
    assert_eq!(made["settings"]["ordering"], "none");
    for (name, value) in settings.as_object().unwrap() {
        assert_eq!(&made["settings"][name], value, "{name}");
    }
    let depth = json!({ "ready": 0, "in_flight": 0, "delayed": 0 });
    assert_eq!(made["depth"], depth);
    assert_eq!(made["redrives"], json!([]));
    assert_eq!(stage.get("/queues/orders").await.good(200), made);
    let dead = stage.get("/queues/dead").await.good(200);
    assert_eq!(dead["dead_letter_sources"], json!(["orders"]));
}

#[tokio::test]
async fn a_queue_that_cannot_be_made_is_refused() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({})).await;
    let post = async |body| stage.post("/queues", body).await;
    post(json!({ "name": "orders" }))
        .await
        .refused(409, "exists", "'orders'");
    post(json!({ "name": "a\0b" }))
        .await
        .refused(422, "invalid", "");
    post(json!({ "name": "amq.q" }))
        .await
        .refused(422, "invalid", "names that begin with `amq.`");
    post(json!({ "name": "q", "vhost": "zz" })).await.refused(
        404,
        "no-such-resource",
        "there is no vhost 'zz'",
    );
    post(json!({ "name": "q", "type": "stream", "settings": { "stream": false } }))
        .await
        .refused(422, "invalid", "say one of them");
    post(json!({})).await.refused(422, "invalid", "`name`");
    post(json!({ "name": "q", "topic": "nowhere" }))
        .await
        .refused(404, "no-such-topic", "");
    post(json!({ "name": "q", "colour": "red" }))
        .await
        .refused(422, "invalid", "`colour`");
    let settings = async |settings, why| {
        let body = json!({ "name": "q", "settings": settings });
        stage
            .post("/queues", body)
            .await
            .refused(422, "invalid", why);
    };
    settings(json!({ "leese_ms": 1 }), "`leese_ms`").await;
    settings(json!({ "ordering": "random" }), "`random`").await;
    settings(json!({ "lease_ms": u64::MAX }), "`lease_ms`").await;
    settings(json!({ "priorities": 300 }), "256").await;
    let to = |queue| json!({ "dead_letter": { "queue": queue, "attempts_max": 3 } });
    settings(to("nowhere"), "'nowhere'").await;
    settings(to("q"), "its own").await;
    let often = json!({ "dead_letter": { "queue": "orders", "attempts_max": 0 } });
    settings(often, "1 to 1000").await;
}

#[tokio::test]
async fn a_queue_leases_from_a_topic_that_is_there() {
    let stage = Stage::start().await;
    let topic = NewTopic {
        name: "events".to_owned(),
        partitions: Some(3),
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
    let made = stage.post("/queues", body).await.good(201);
    let topic = json!({ "vhost": "/", "name": "events", "partitions": 3, "own": false });
    assert_eq!(made["topic"], topic);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let stage = Stage::start().await;
    for name in ["a1", "a2", "a3", "b1"] {
        stage.queue(name, json!({})).await;
    }
    stage.say("a2", &["x", "y"]).await;
    let all = stage.get("/queues").await.good(200);
    assert_eq!(all["queues"].as_array().unwrap().len(), 4);
    assert_eq!(all.get("next"), None);
    let expected = json!({
        "vhost": "/",
        "name": "a2",
        "type": "classic",
        "ordering": "none",
        "topic": "a2",
        "depth": { "ready": 2, "in_flight": 0, "delayed": 0 },
        "consumers": 0,
    });
    assert_eq!(all["queues"][1], expected);

    let first = stage.get("/queues?prefix=a&max=2").await.good(200);
    assert_eq!(first["queues"][1]["name"], "a2");
    assert_eq!(first["next"], "a2");
    let last = stage.get("/queues?prefix=a&max=2&after=a2").await.good(200);
    assert_eq!(last["queues"].as_array().unwrap().len(), 1);
    assert_eq!(last["queues"][0]["name"], "a3");
    assert_eq!(last.get("next"), None);

    for (query, status, kind) in [
        ("max=0", 422, "invalid"),
        ("max=1001", 422, "invalid"),
        ("max=many", 400, "malformed"),
        ("colour=red", 400, "malformed"),
    ] {
        let answer = stage.get(&format!("/queues?{query}")).await;
        answer.refused(status, kind, "");
    }
}

#[tokio::test]
async fn settings_are_changed_and_taken_away() {
    let stage = Stage::start().await;
    stage.queue("dead", json!({})).await;
    let given = json!({
        "lease_ms": 5000,
        "dead_letter": { "queue": "dead", "attempts_max": 3 },
    });
    stage.queue("orders", given).await;
    let patch = async |settings| {
        let body = json!({ "settings": settings });
        stage.patch("/queues/orders", body).await
    };
    let changed = patch(json!({ "delay_ms": 7 })).await.good(200);
    assert_eq!(changed["settings"]["delay_ms"], 7);
    assert_eq!(changed["settings"]["lease_ms"], 5000);
    assert_eq!(changed["settings"]["dead_letter"]["queue"], "dead");
    let changed = patch(json!({ "dead_letter": null })).await.good(200);
    assert_eq!(changed["settings"]["dead_letter"], json!(null));
    let shown = stage.get("/queues/orders").await.good(200);
    assert_eq!(shown["settings"], changed["settings"]);

    patch(json!({ "ordering": "key" })).await.refused(
        422,
        "invalid",
        "the ordering of a queue cannot be changed",
    );
    patch(json!({ "stream": true })).await.refused(
        422,
        "invalid",
        "the type of a queue cannot be changed",
    );
    patch(json!({ "lease_ms": u64::MAX }))
        .await
        .refused(422, "invalid", "`lease_ms`");
    patch(json!({ "leese_ms": 1 }))
        .await
        .refused(422, "invalid", "`leese_ms`");
    let nowhere = json!({ "dead_letter": { "queue": "nowhere", "attempts_max": 1 } });
    patch(nowhere).await.refused(422, "invalid", "'nowhere'");
    stage
        .patch("/queues/orders", json!({ "name": "other" }))
        .await
        .refused(422, "invalid", "`name`");
}

#[tokio::test]
async fn a_queue_is_emptied_and_removed() {
    let stage = Stage::start().await;
    stage.queue("orders", json!({})).await;
    stage.say("orders", &["a", "b"]).await;
    let purged = stage.post("/queues/orders/purge", json!({})).await;
    assert_eq!(purged.good(204), json!(null));
    assert_eq!(stage.depth("orders").await, (0, 0, 0));
    stage
        .post("/queues/orders/purge", json!({ "sure": true }))
        .await
        .refused(422, "invalid", "`sure`");
    assert_eq!(stage.delete("/queues/orders").await.good(204), json!(null));
    stage
        .delete("/queues/orders")
        .await
        .refused(404, "no-such-queue", "'orders'");
}

#[tokio::test]
async fn a_queue_that_others_depend_on_goes_only_by_force() {
    let stage = Stage::start().await;
    stage.queue("dead", json!({})).await;
    let policy = json!({ "dead_letter": { "queue": "dead", "attempts_max": 1 } });
    stage.queue("orders", policy).await;
    stage
        .delete("/queues/dead")
        .await
        .refused(409, "in-use", "takes the dead letters of 'orders'");
    let forced = stage.delete("/queues/dead?force=true").await;
    assert_eq!(forced.good(204), json!(null));
}

#[tokio::test]
async fn a_queue_may_have_any_name_a_protocol_may_give() {
    let stage = Stage::start().await;
    let made = stage.post("/queues", json!({ "name": "a b/ü" })).await;
    assert_eq!(made.headers["location"], "/api/v1/queues/a%20b%2F%C3%BC");
    assert_eq!(made.good(201)["name"], "a b/ü");
    let found = stage.get("/queues/a%20b%2F%C3%BC").await.good(200);
    assert_eq!(found["name"], "a b/ü");
    for (name, why) in [("", "empty"), ("a\nb", "control characters")] {
        stage
            .post("/queues", json!({ "name": name }))
            .await
            .refused(422, "invalid", why);
    }
}

#[tokio::test]
async fn an_ordered_name_makes_an_ordered_queue() {
    let stage = Stage::start().await;
    let made = stage
        .post("/queues", json!({ "name": "q.fifo" }))
        .await
        .good(201);
    assert_eq!(made["settings"]["ordering"], "key");
    let unordered = json!({ "name": "r.fifo", "settings": { "ordering": "none" } });
    stage
        .post("/queues", unordered)
        .await
        .refused(422, "invalid", "`.fifo`");
}

#[tokio::test]
async fn queues_of_a_vhost_are_named_as_in_it() {
    let stage = Stage::start().await;
    let broker = stage.test.broker();
    let root = Principal::anonymous();
    broker
        .on_behalf_of(&root)
        .create_vhost("shop")
        .await
        .unwrap();
    stage.queue("orders", json!({})).await;
    for name in ["dead", "orders"] {
        let body = json!({ "vhost": "shop", "name": name });
        let made = stage.post("/queues", body).await.good(201);
        assert_eq!(
            (&made["vhost"], &made["name"]),
            (&json!("shop"), &json!(name))
        );
    }
    let names = async |path: &str| -> Vec<String> {
        let listed = stage.get(path).await.good(200);
        let queues = listed["queues"].as_array().unwrap().iter();
        queues
            .map(|q| q["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("/queues").await, ["orders"]);
    assert_eq!(names("/queues?vhost=shop").await, ["dead", "orders"]);
    assert_eq!(names("/queues?vhost=shop&after=dead").await, ["orders"]);
    let settings = json!({ "dead_letter": { "queue": "dead", "attempts_max": 1 } });
    let path = "/queues/orders?vhost=shop";
    let changed = stage
        .patch(path, json!({ "settings": settings }))
        .await
        .good(200);
    assert_eq!(changed["settings"]["dead_letter"]["queue"], "dead");
    let message = json!({ "messages": [{ "body": "x" }] });
    stage
        .post("/queues/orders/messages?vhost=shop", message)
        .await
        .good(200);
    let seen = stage
        .get("/queues/orders/messages?max=5&vhost=shop")
        .await
        .good(200);
    assert_eq!(seen["messages"][0]["body"], "x");
    assert_eq!(stage.depth("orders").await, (0, 0, 0));
    stage.delete("/queues/dead?vhost=shop").await.refused(
        409,
        "in-use",
        "dead letters of 'orders'",
    );
    stage
        .delete("/queues/dead?force=true&vhost=shop")
        .await
        .good(204);
    stage.get("/queues/nowhere?vhost=shop").await.refused(
        404,
        "no-such-queue",
        "'nowhere' in vhost 'shop'",
    );
    stage
        .get("/queues?vhost=nowhere")
        .await
        .refused(404, "no-such-resource", "'nowhere'");
}

#[tokio::test]
async fn a_policy_may_stand_as_it_does_in_definitions() {
    let stage = Stage::start().await;
    let given = json!({
        "vhost": "/", "name": "theirs", "pattern": "^q", "apply-to": "quorum_queues",
        "definition": { "delivery-limit": 5 }, "priority": 1,
    });
    let put = stage.post("/policies", given).await.good(200);
    assert_eq!(put["scope"], "quorum_queues");
    assert_eq!(put["rules"], json!({ "delivery_limit": 5 }));
    for (name, kind, policy, limit) in [
        ("q1", "quorum", json!("theirs"), json!(5)),
        ("q2", "classic", json!(null), json!(null)),
        ("r", "quorum", json!(null), json!(20)),
    ] {
        let body = json!({ "name": name, "type": kind });
        let made = stage.post("/queues", body).await.good(201);
        assert_eq!(made["policies"]["user"], policy, "{name}");
        assert_eq!(made["limits"]["delivery_limit"], limit, "{name}");
    }
    let both = json!({ "name": "p", "pattern": "", "rules": {}, "definition": {} });
    let twice = stage.post("/policies", both).await;
    twice.refused(422, "invalid", "duplicate field `rules`");
}
