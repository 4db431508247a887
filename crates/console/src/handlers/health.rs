//! `/livez` for the supervisor that may restart us, `/readyz` for the balancer that may send us clients.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;

use crate::state::State;

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

pub(crate) async fn live(Shared(state): Shared<State>) -> (StatusCode, &'static str) {
    if state.health.is_alive() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failed")
    }
}

pub(crate) async fn ready(Shared(state): Shared<State>) -> (StatusCode, Json<Readiness>) {
    let reasons = state.health.reasons();
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, reasons }))
}
