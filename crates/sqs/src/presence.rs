//! What is said to those who only want to know what listens here.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

/// The answer to a browser, a probe or a script; `None` for requests of the service.
pub(crate) fn answer(parts: &Parts) -> Option<Response> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    let query = parts.uri.query().unwrap_or_default();
    let asks = query.split('&').any(|pair| pair.starts_with("Action="));
    if asks || parts.headers.contains_key("x-amz-target") {
        return None;
    }
    let said = match parts.uri.path() {
        "/" => this(),
        // What scripts written for emulators wait for.
        "/health" | "/_localstack/health" => {
            let mut said = this();
            said["status"] = json!("running");
            said["services"] = json!({ "sqs": "running" });
            said
        }
        _ => return None,
    };
    let mut response = Response::new(Body::from(format!("{said}\n")));
    *response.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Some(response)
}

fn this() -> Value {
    json!({
        "service": "sqs",
        "server": "forebay",
        "version": env!("CARGO_PKG_VERSION"),
        "protocols": ["json", "query"],
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn requests_of_the_service_are_left_alone() {
        for (method, uri, answered) in [
            ("GET", "/", true),
            ("HEAD", "/", true),
            ("GET", "/health", true),
            ("GET", "/_localstack/health", true),
            ("POST", "/", false),
            ("GET", "/?Action=ListQueues", false),
            ("GET", "/?Version=1&Action=ListQueues", false),
            ("GET", "/000000000000/health", false),
        ] {
            let request = Request::builder().method(method).uri(uri);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let answer = answer(&parts);
            assert_eq!(answer.is_some(), answered, "{method} {uri}");
            assert!(answer.is_none_or(|a| a.status() == StatusCode::OK));
        }
    }
}
