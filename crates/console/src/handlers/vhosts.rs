//! Vhosts: list, make, describe and remove them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use engine::vhost::{self, Vhost};
use engine::{Access, Error};
use serde::Deserialize;
use serde_json::{Value, json};

use super::queues::escaped;
use crate::error::{NO_ROUTE, Outcome, Problem};
use crate::request::{Asked, Place};

pub(crate) async fn list(State(broker): State<Access>) -> Json<Value> {
    let vhosts = broker.vhosts();
    let shown = vhosts.iter().map(|vhost| show(&broker, vhost));
    let shown: Vec<Value> = shown.collect();
    Json(json!({ "vhosts": shown }))
}

/// A vhost to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Creation {
    name: String,
}

pub(crate) async fn create(
    State(broker): State<Access>,
    Asked(creation): Asked<Creation>,
) -> Outcome<Response> {
    let Creation { name } = creation;
    let made = broker.create_vhost(&name).await?;
    let vhost = of_vhost(&name, broker.vhost(&name))?;
    let body = Json(show(&broker, &vhost));
    if !made {
        return Ok(body.into_response());
    }
    let location = format!("/api/v1/vhosts/{}", escaped(&name));
    Ok((StatusCode::CREATED, [(LOCATION, location)], body).into_response())
}

pub(crate) async fn describe(
    State(broker): State<Access>,
    Place(name): Place<String>,
) -> Outcome<Json<Value>> {
    let vhost = of_vhost(&name, broker.vhost(&name))?;
    Ok(Json(show(&broker, &vhost)))
}

/// What can be changed of a vhost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    traced: bool,
}

pub(crate) async fn change(
    State(broker): State<Access>,
    Place(name): Place<String>,
    Asked(change): Asked<Change>,
) -> Outcome<Json<Value>> {
    of_vhost(&name, broker.trace_vhost(&name, change.traced))?;
    let vhost = of_vhost(&name, broker.vhost(&name))?;
    Ok(Json(show(&broker, &vhost)))
}

pub(crate) async fn delete(
    State(broker): State<Access>,
    Place(name): Place<String>,
) -> Outcome<StatusCode> {
    of_vhost(&name, broker.delete_vhost(&name).await)?;
    Ok(StatusCode::NO_CONTENT)
}

fn of_vhost<T>(name: &str, outcome: engine::Result<T>) -> Outcome<T> {
    outcome.map_err(|error| match error {
        Error::UnknownVhost => Problem::new(&NO_ROUTE, format!("there is no vhost '{name}'")),
        other => other.into(),
    })
}

fn show(broker: &Access, vhost: &Vhost) -> Value {
    let name = vhost.name();
    let sizes = broker.vhost_sizes(name).unwrap_or_default();
    json!({
        "name": name,
        "default": name == vhost::DEFAULT,
        "traced": vhost.is_traced(),
        "created_ms": Some(vhost.document().created_ms).filter(|created| *created > 0),
        "queues": sizes.queues,
        "exchanges": sizes.exchanges,
        "bindings": sizes.bindings,
    })
}
