//! One file per resource.

pub(crate) mod connections;
pub(crate) mod exchanges;
pub(crate) mod groups;
pub(crate) mod health;
pub(crate) mod messages;
pub(crate) mod metrics;
mod move_task;
pub(crate) mod policies;
pub(crate) mod queues;
pub(crate) mod redrive;
pub(crate) mod root;
mod rules;
pub(crate) mod topics;
pub(crate) mod vhosts;

use axum::Json;
use axum::http::Uri;
use serde_json::{Value, json};

use crate::error::{NO_ROUTE, NOT_ALLOWED, Problem};

/// What there is below `/api/v1`.
pub(crate) async fn index() -> Json<Value> {
    let resources = [
        "queues",
        "vhosts",
        "policies",
        "topics",
        "groups",
        "exchanges",
        "bindings",
        "connections",
        "consumers",
    ];
    let places = resources.map(|name| (name.to_owned(), json!(format!("/api/v1/{name}"))));
    Json(Value::Object(places.into_iter().collect()))
}

/// A path below `/api/v1` that leads nowhere.
pub(crate) async fn no_route(uri: Uri) -> Problem {
    Problem::new(&NO_ROUTE, format!("there is nothing at {}", uri.path()))
}

/// A method that a path does not have.
pub(crate) async fn not_allowed(uri: Uri) -> Problem {
    let why = format!("{} does not have this method", uri.path());
    Problem::new(&NOT_ALLOWED, why)
}
