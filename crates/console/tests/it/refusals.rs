//! What is refused before any handler: lost requests, other people's pages, and what is no JSON.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use crate::stage::Stage;

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn lost_requests_get_problems_too() {
    let stage = Stage::start().await;
    stage
        .get("/nowhere")
        .await
        .refused(404, "no-such-resource", "/nowhere");
    stage
        .get("/queues/a/b/c/d")
        .await
        .refused(404, "no-such-resource", "");
    stage
        .delete("/queues")
        .await
        .refused(405, "method-not-allowed", "/queues");
    stage
        .get("/queues/nowhere")
        .await
        .refused(404, "no-such-queue", "'nowhere'");
}

#[tokio::test]
async fn a_form_changes_nothing() {
    let stage = Stage::start().await;
    let body = r#"{"name":"orders"}"#;
    for kind in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
    ] {
        let post = request(Method::POST, "/api/v1/queues", kind, body);
        stage.send(post).await.refused(415, "not-json", "");
    }
    let json = [("content-type", "application/json; charset=utf-8")];
    let post = request(Method::POST, "/api/v1/queues", &json, body);
    stage.send(post).await.good(201);
    let purge = "/api/v1/queues/orders/purge";
    let bare = request(Method::POST, purge, &[], "");
    stage.send(bare).await.refused(415, "not-json", "");
    let empty = request(Method::POST, purge, &json, "");
    stage.send(empty).await.good(204);
}

#[tokio::test]
async fn a_page_whose_name_was_made_to_point_here_reads_nothing() {
    let stage = Stage::start().await;
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let headers = [
            ("host", "evil.example:8080"),
            ("content-type", "application/json"),
        ];
        let lured = request(method, "/api/v1/queues", &headers, "");
        stage.send(lured).await.refused(421, "wrong-host", "");
    }
    for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
        let local = request(Method::GET, "/api/v1/queues", &[("host", host)], "");
        stage.send(local).await.good(200);
    }
}

#[tokio::test]
async fn no_answer_lets_another_origin_in() {
    let stage = Stage::start().await;
    let headers = [
        ("origin", "http://evil.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
        ("content-type", "application/json"),
    ];
    for method in [Method::OPTIONS, Method::GET, Method::POST] {
        let asked = request(method, "/api/v1/queues", &headers, "{}");
        let answer = stage.send(asked).await;
        let lets_in = |name: &str| name.starts_with("access-control-");
        let found = answer.headers.keys().find(|name| lets_in(name.as_str()));
        assert_eq!(found, None, "{answer:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_have_to_be_json() {
    let stage = Stage::start().await;
    let json = [("content-type", "application/json")];
    let post = |body: &str| request(Method::POST, "/api/v1/queues", &json, body);
    for broken in ["{", "nonsense", "{\"name\":"] {
        stage
            .send(post(broken))
            .await
            .refused(400, "malformed", "not JSON");
    }
    stage.send(post("[]")).await.refused(422, "invalid", "");
    let large = json!({ "name": "x".repeat(17 << 20) }).to_string();
    stage
        .send(post(&large))
        .await
        .refused(413, "request-too-large", "");
    stage
        .send(post("{\"name\":\"a\",\"nom\":\"b\"}"))
        .await
        .refused(422, "invalid", "`nom`");
}
