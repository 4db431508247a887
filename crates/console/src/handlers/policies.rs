//! Policies: list, put, remove.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::policy::{Kind, Policy, PolicyDocument, Scope};
use engine::{Access, vhost};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::queues::check_vhost;
use super::rules;
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

/// A policy as the API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Form {
    vhost: String,
    name: String,
    kind: Kind,
    #[serde(flatten)]
    document: PolicyDocument,
    /// What is to be said about a policy that was just made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// A policy as the API takes it, by its own names or by those of other brokers' definitions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Creation {
    #[serde(default = "default_vhost")]
    vhost: String,
    name: String,
    #[serde(default)]
    kind: Kind,
    pattern: String,
    #[serde(default, alias = "apply-to")]
    scope: Scope,
    #[serde(default)]
    priority: i32,
    #[serde(alias = "definition")]
    rules: Map<String, Value>,
}

fn form(policy: Policy) -> Form {
    Form {
        vhost: policy.vhost,
        name: policy.name,
        kind: policy.kind,
        document: policy.document,
        warnings: Vec::new(),
    }
}

/// The policies of both kinds in a vhost.
pub(crate) async fn list(
    State(broker): State<Access>,
    Params(asked): Params<Where>,
) -> Outcome<Json<Value>> {
    check_vhost(&broker, &asked.vhost)?;
    let policies = broker.policies(&asked.vhost)?;
    let policies: Vec<Form> = policies.into_iter().map(form).collect();
    Ok(Json(json!({ "policies": policies })))
}

/// Makes a policy, or puts it in the place of the one of its name.
pub(crate) async fn put(
    State(broker): State<Access>,
    Asked(asked): Asked<Creation>,
) -> Outcome<Json<Form>> {
    check_vhost(&broker, &asked.vhost)?;
    let (rules, warnings) = rules::read(asked.rules)?;
    let policy = Policy {
        vhost: asked.vhost,
        name: asked.name,
        kind: asked.kind,
        document: PolicyDocument {
            pattern: asked.pattern,
            scope: asked.scope,
            priority: asked.priority,
            rules,
        },
    };
    broker.put_policy(policy.clone()).await?;
    Ok(Json(Form {
        warnings,
        ..form(policy)
    }))
}

pub(crate) async fn remove(
    State(broker): State<Access>,
    Place(name): Place<String>,
    Params(asked): Params<Where>,
) -> Outcome<StatusCode> {
    let Where { vhost, kind } = asked;
    check_vhost(&broker, &vhost)?;
    let removed = broker.remove_policy(kind, &vhost, &name);
    if removed.await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let why = format!("there is no policy '{name}'");
    Err(Problem::new(&NO_ROUTE, why))
}
