//! The routes, asked without a socket.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use crate::{BuildInfo, Health, Histogram, Metrics, Overview, Source, State, router};

fn state(sources: Vec<Source>) -> State {
    let build = BuildInfo {
        version: "1.2.3",
        commit: "0123456789ab",
        profile: "dev",
    };
    State {
        health: Arc::new(Health::new()),
        metrics: Arc::new(Metrics::new(build, sources)),
        overview: Arc::new(Overview {
            build,
            addresses: vec![("kafka", "127.0.0.1:9092".parse().unwrap())],
        }),
    }
}

async fn ask(state: &State, path: &str) -> (StatusCode, String) {
    let (status, _, body) = ask_for(state, path, "*/*").await;
    (status, body)
}

/// Status, content type and body.
async fn ask_for(state: &State, path: &str, accept: &str) -> (StatusCode, String, String) {
    let request = Request::get(path).header("accept", accept);
    let request = request.body(Body::empty()).unwrap();
    let response = router(state.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let kind = response.headers().get("content-type");
    let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_follows_the_life_of_a_broker() {
    let state = state(Vec::new());
    let health = Arc::clone(&state.health);
    let expect = async |status: StatusCode, body: &str| {
        assert_eq!(ask(&state, "/readyz").await, (status, body.to_owned()));
    };
    expect(
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"ready":false,"reasons":["starting"]}"#,
    )
    .await;
    health.set_ready();
    assert!(health.is_ready());
    expect(StatusCode::OK, r#"{"ready":true,"reasons":[]}"#).await;
    health.add_reason("disk", "12 MiB free".to_owned());
    expect(
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"ready":false,"reasons":["disk: 12 MiB free"]}"#,
    )
    .await;
    health.clear_reason("disk");
    expect(StatusCode::OK, r#"{"ready":true,"reasons":[]}"#).await;
    let reason = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&reason);
    let probed =
        Health::new().with_probe("low disk", Box::new(move || seen.lock().unwrap().clone()));
    probed.set_ready();
    assert!(probed.is_ready());
    *reason.lock().unwrap() = Some("12 MiB free".to_owned());
    assert_eq!(probed.reasons(), ["low disk: 12 MiB free"]);
    health.set_draining();
    expect(
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"ready":false,"reasons":["draining"]}"#,
    )
    .await;
}

#[tokio::test]
async fn liveness_is_lost_only_by_failure() {
    let state = state(Vec::new());
    assert_eq!(
        ask(&state, "/livez").await,
        (StatusCode::OK, "ok".to_owned())
    );
    state.health.set_draining();
    assert_eq!(ask(&state, "/livez").await.0, StatusCode::OK);
    // What hangs may go on.
    state.health.set_stalled(true);
    assert_eq!(
        ask(&state, "/livez").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    state.health.set_stalled(false);
    assert_eq!(ask(&state, "/livez").await.0, StatusCode::OK);
    state.health.set_failed();
    assert_eq!(
        ask(&state, "/livez").await,
        (StatusCode::SERVICE_UNAVAILABLE, "failed".to_owned())
    );
}

#[tokio::test]
async fn a_scrape_shows_the_process_and_the_build() {
    let (status, text) = ask(&state(Vec::new()), "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for name in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_virtual_memory_bytes ",
        "process_threads ",
        "process_open_fds ",
        "process_max_fds ",
        "process_start_time_seconds ",
        "forebay_build_info{version=\"1.2.3\",commit=\"0123456789ab\",profile=\"dev\"} 1",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "no {name} in {text}"
        );
    }
    assert!(!text.contains("# EOF"));
}

#[tokio::test]
async fn a_scrape_comes_in_the_format_that_is_asked_for() {
    let source =
        || -> Source { Box::new(|samples| samples.counter("a_records", "Records", 3_u64)) };
    let state = state(vec![source()]);
    let (text, open) = (
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    );
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    for (accept, kind) in [
        ("*/*", text),
        ("text/plain", text),
        ("text/html,*/*;q=0.8", text),
        ("application/openmetrics-text", open),
        (prometheus, open),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.3", text),
    ] {
        let (_, came, body) = ask_for(&state, "/metrics", accept).await;
        assert_eq!(came, kind, "{accept}");
        let counter = ["# TYPE a_records_total counter", "# TYPE a_records counter"];
        let has = counter.map(|line| body.lines().any(|shown| shown == line));
        assert_eq!(has, [kind == text, kind == open], "{body}");
        assert_eq!(body.ends_with("# EOF\n"), kind == open, "{body}");
    }
}

#[tokio::test]
async fn the_start_page_says_what_there_is() {
    let state = state(Vec::new());
    let (_, kind, body) = ask_for(&state, "/", "*/*").await;
    assert_eq!(kind, "text/plain; charset=utf-8");
    assert_eq!(
        body,
        "Forebay 1.2.3, commit 0123456789ab, profile dev\n\nkafka    127.0.0.1:9092\n\n\
         /api/v1  JSON API: queues, topics, groups, vhosts, exchanges, connections, policies\n\
         /metrics metrics for Prometheus\n\
         /readyz  whether clients may come, and why not\n\
         /livez   whether the process works\n"
    );
    let (_, kind, body) = ask_for(&state, "/", "application/json").await;
    assert_eq!(kind, "application/json");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["listeners"]["kafka"], "127.0.0.1:9092");
    assert_eq!(body["version"], "1.2.3");
    assert_eq!(body["paths"]["/metrics"], "metrics for Prometheus");
    let (_, kind, body) = ask_for(&state, "/", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!(kind, "text/html; charset=utf-8");
    assert!(body.contains("<a href=\"/metrics\">"), "{body}");
    let (status, lost) = ask(&state, "/nowhere").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        lost,
        "there is nothing at /nowhere; `GET /` lists what there is\n"
    );
}

#[tokio::test]
async fn sources_show_every_kind_of_number() {
    let source: Source = Box::new(|samples| {
        samples.counter("a_records", "Records", 3_u64);
        samples.gauge("b_open", "Open", 2.0);
        samples.counters(
            "c_requests",
            "Requests",
            [([("verb", "put")], 1_u64), ([("verb", "get")], 2)],
        );
        samples.gauges("d_depth", "Depth", [([("queue", "q")], 5.0)]);
        let buckets = &[(0.1, 1), (f64::INFINITY, 2)];
        samples.histogram(
            "e_wait_seconds",
            "Wait",
            Histogram {
                sum: 4.5,
                count: 3,
                buckets,
            },
        );
    });
    let text = ask(&state(vec![source]), "/metrics").await.1;
    for line in [
        "# HELP a_records_total Records",
        "# TYPE a_records_total counter",
        "a_records_total 3",
        "b_open 2.0",
        "c_requests_total{verb=\"put\"} 1",
        "c_requests_total{verb=\"get\"} 2",
        "d_depth{queue=\"q\"} 5.0",
        "e_wait_seconds_count 3",
        "e_wait_seconds_bucket{le=\"0.1\"} 1",
        "e_wait_seconds_bucket{le=\"+Inf\"} 3",
    ] {
        assert!(
            text.lines().any(|shown| shown == line),
            "no {line} in {text}"
        );
    }
}

#[tokio::test]
async fn a_label_cannot_forge_a_line() {
    let source: Source = Box::new(|samples| {
        samples.gauges(
            "d_depth",
            "Depth",
            [([("queue", "a\"} 1\nforged 1\\")], 5.0)],
        );
    });
    let text = ask(&state(vec![source]), "/metrics").await.1;
    assert!(
        text.contains(r#"d_depth{queue="a\"} 1\nforged 1\\"} 5.0"#),
        "{text}"
    );
}
