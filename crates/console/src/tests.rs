//! The routes, asked without a socket.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use crate::{BuildInfo, Health, Histogram, Metrics, Source, State, router};

fn state(sources: Vec<Source>) -> State {
    let build = BuildInfo {
        version: "1.2.3",
        profile: "dev",
    };
    State {
        health: Arc::new(Health::new()),
        metrics: Arc::new(Metrics::new(build, sources)),
    }
}

async fn ask(state: &State, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(state.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
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
        "process_open_fds ",
        "process_start_time_seconds ",
        "forebay_build_info{version=\"1.2.3\",profile=\"dev\"} 1",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "no {name} in {text}"
        );
    }
    assert!(text.ends_with("# EOF\n"));
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
        "# HELP a_records Records",
        "# TYPE a_records counter",
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
