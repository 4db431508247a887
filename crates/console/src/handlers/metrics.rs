//! `/metrics`: one scrape, in the format the scraper asks for.

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::accept::Accept;
use crate::exposition::plain_text;
use crate::state::State;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What every scraper and every person understands.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn scrape(Shared(state): Shared<State>, headers: HeaderMap) -> Response {
    let Ok(text) = state.metrics.scrape().await else {
        let why = "a metric could not be encoded";
        return (StatusCode::INTERNAL_SERVER_ERROR, why).into_response();
    };
    let accept = Accept::of(&headers);
    let mut answer =
        if accept.quality("application/openmetrics-text") > accept.quality("text/plain") {
            ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
        } else {
            ([(header::CONTENT_TYPE, TEXT)], plain_text(&text)).into_response()
        };
    let varies = header::HeaderValue::from_static("accept");
    answer.headers_mut().insert(header::VARY, varies);
    answer
}
