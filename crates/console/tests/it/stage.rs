//! A broker and its API: requests in, status and JSON out.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use net::Connections;
use serde_json::{Value, json};
use testkit::TestBroker;
use tower::ServiceExt;

pub(crate) struct Stage {
    pub(crate) test: TestBroker,
    router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of a request that was carried out.
    #[track_caller]
    pub(crate) fn good(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }

    /// Checks a refusal; `why` is part of its detail.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, kind: &str, why: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(
            self.body["type"],
            format!("urn:forebay:problem:{kind}"),
            "{self:?}"
        );
        let detail = self.body["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{self:?}");
    }
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let test = TestBroker::start().await;
        let router = console::api(test.broker(), Connections::default());
        Self { test, router }
    }

    /// Any request at all.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", "127.0.0.1:8080")
            .header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None).await
    }

    /// Makes a queue.
    pub(crate) async fn queue(&self, name: &str, settings: Value) {
        let body = json!({ "name": name, "settings": settings });
        self.post("/queues", body).await.good(201);
    }

    /// Sends texts.
    pub(crate) async fn say(&self, queue: &str, texts: &[&str]) {
        let messages: Vec<Value> = texts.iter().map(|text| json!({ "body": text })).collect();
        let path = format!("/queues/{queue}/messages");
        let body = json!({ "messages": messages });
        self.post(&path, body).await.good(200);
    }

    /// Borrows messages.
    pub(crate) async fn receive(&self, queue: &str, body: Value) -> Vec<Value> {
        let path = format!("/queues/{queue}/receive");
        let answer = self.post(&path, body).await.good(200);
        answer["messages"].as_array().unwrap().clone()
    }

    /// Settles one message; returns what became of it.
    pub(crate) async fn settle(&self, queue: &str, form: Value) -> String {
        let path = format!("/queues/{queue}/settle");
        let body = json!({ "settle": [form] });
        let answer = self.post(&path, body).await.good(200);
        answer["outcomes"][0].as_str().unwrap().to_owned()
    }

    /// Ready, in flight, delayed.
    pub(crate) async fn depth(&self, queue: &str) -> (u64, u64, u64) {
        let described = self.get(&format!("/queues/{queue}")).await.good(200);
        let count = |name: &str| described["depth"][name].as_u64().unwrap();
        (count("ready"), count("in_flight"), count("delayed"))
    }
}

/// The bodies of messages.
pub(crate) fn bodies(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["body"].as_str().unwrap())
        .collect()
}

/// Asks again and again until it holds.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came true");
}
