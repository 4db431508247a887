//! Policies: list, put, remove.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::policy::{Kind, Policy, PolicyDocument};
use engine::{Broker, vhost};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::principal;
use crate::error::{NO_ROUTE, Outcome, Problem};
use crate::request::{Asked, Params, Place};

/// Where policies are looked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Where {
    #[serde(default = "default_vhost")]
    vhost: String,
    #[serde(default)]
    kind: Kind,
}

fn default_vhost() -> String {
    vhost::DEFAULT.to_owned()
}

/// A policy as the API writes and reads it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Form {
    #[serde(default = "default_vhost")]
    vhost: String,
    name: String,
    #[serde(default)]
    kind: Kind,
    #[serde(flatten)]
    document: PolicyDocument,
}

fn form(policy: Policy) -> Form {
    Form {
        vhost: policy.vhost,
        name: policy.name,
        kind: policy.kind,
        document: policy.document,
    }
}

/// The policies of both kinds in a vhost.
pub(crate) async fn list(
    State(broker): State<Broker>,
    Params(asked): Params<Where>,
) -> Outcome<Json<Value>> {
    let policies = broker.policies(&principal(), &asked.vhost)?;
    let policies: Vec<Form> = policies.into_iter().map(form).collect();
    Ok(Json(json!({ "policies": policies })))
}

/// Makes a policy, or puts it in the place of the one of its name.
pub(crate) async fn put(
    State(broker): State<Broker>,
    Asked(asked): Asked<Form>,
) -> Outcome<Json<Form>> {
    let policy = Policy {
        vhost: asked.vhost,
        name: asked.name,
        kind: asked.kind,
        document: asked.document,
    };
    broker.put_policy(&principal(), policy.clone()).await?;
    Ok(Json(form(policy)))
}

pub(crate) async fn remove(
    State(broker): State<Broker>,
    Place(name): Place<String>,
    Params(asked): Params<Where>,
) -> Outcome<StatusCode> {
    let Where { vhost, kind } = asked;
    let principal = principal();
    let removed = broker.remove_policy(&principal, kind, &vhost, &name);
    if removed.await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let why = format!("there is no policy '{name}'");
    Err(Problem::new(&NO_ROUTE, why))
}
