//! Permissions: statements of a queue's policy, added and removed by their label.

use serde::Deserialize;
use serde_json::{Value, json};

use super::queues::change_settings;
use super::{Call, nothing};
use crate::actions::ACTIONS;
use crate::attributes::{note, set_note};
use crate::error::{Fault, OVER_LIMIT, Outcome};

/// Actions one statement can allow.
const ACTIONS_MAX: usize = 7;
/// Actions that can be allowed, beside all of them.
const GRANTABLE: &[&str] = &[
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];

const NO_LABEL: &str = "can't find label.";
const ONLY_OWNER: &str = "Only the queue owner is allowed to invoke this action.";
const NO_ACTION: &str = "Please refer to the appropriate WSDL for a list of valid actions. ";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Add {
    queue_url: Option<String>,
    label: Option<String>,
    #[serde(rename = "AWSAccountIds")]
    accounts: Option<Vec<String>>,
    actions: Option<Vec<String>>,
}

pub(super) async fn add(call: &Call<'_>, add: Add) -> Outcome<Value> {
    let queue = call.queue(add.queue_url.as_deref())?;
    let label = add.label.ok_or_else(|| Fault::missing("Label"))?;
    let accounts = add
        .accounts
        .ok_or_else(|| Fault::missing("AWSAccountIds"))?;
    if accounts.is_empty() {
        let reason = "Unable to verify.";
        return Err(Fault::parameter("PrincipalId", "[]", reason));
    }
    let actions = add.actions.filter(|a| !a.is_empty());
    let actions = actions.ok_or_else(|| Fault::missing("Actions"))?;
    if actions.len() > ACTIONS_MAX {
        let message = format!(
            "{} Actions were found, maximum allowed is {ACTIONS_MAX}.",
            actions.len()
        );
        return Err(Fault::new(&OVER_LIMIT, message));
    }
    if let Some(action) = actions.iter().find(|a| !GRANTABLE.contains(&a.as_str())) {
        let is_known = ACTIONS.contains(&action.as_str());
        let reason = if is_known { ONLY_OWNER } else { NO_ACTION };
        return Err(Fault::parameter(
            "ActionName",
            format!("SQS:{action}"),
            reason,
        ));
    }
    let resource = call.arn(&queue.name);
    let principals: Vec<String> = accounts
        .iter()
        .map(|account| format!("arn:aws:iam::{account}:root"))
        .collect();
    let actions: Vec<String> = actions
        .iter()
        .map(|action| format!("SQS:{action}"))
        .collect();
    let one = |mut all: Vec<String>| {
        if all.len() == 1 {
            json!(all.remove(0))
        } else {
            json!(all)
        }
    };
    let statement = json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": { "AWS": one(principals) },
        "Action": one(actions),
        "Resource": resource,
    });
    let id = format!("{resource}/SQSDefaultPolicy");
    change_settings(call, &queue, move |settings| {
        let mut policy = policy(note(settings, "Policy"), &id);
        let statements = statements(&mut policy);
        if statements.iter().any(|s| s["Sid"] == json!(label)) {
            return Err(Fault::parameter("Label", label, "Already exists."));
        }
        statements.push(statement);
        set_note(settings, "Policy", &policy.to_string());
        Ok(())
    })
    .await?;
    Ok(nothing())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Remove {
    queue_url: Option<String>,
    label: Option<String>,
}

pub(super) async fn remove(call: &Call<'_>, remove: Remove) -> Outcome<Value> {
    let queue = call.queue(remove.queue_url.as_deref())?;
    let label = remove.label.ok_or_else(|| Fault::missing("Label"))?;
    change_settings(call, &queue, move |settings| {
        let Some(text) = note(settings, "Policy") else {
            return Err(Fault::parameter("Label", label, NO_LABEL));
        };
        let mut policy = policy(Some(text), "");
        let statements = statements(&mut policy);
        let had = statements.len();
        statements.retain(|s| s["Sid"] != json!(label));
        if statements.len() == had {
            return Err(Fault::parameter("Label", label, NO_LABEL));
        }
        let left = if statements.is_empty() {
            String::new()
        } else {
            policy.to_string()
        };
        set_note(settings, "Policy", &left);
        Ok(())
    })
    .await?;
    Ok(nothing())
}

/// The policy as it stands, or a new one.
fn policy(text: Option<&str>, id: &str) -> Value {
    let there = text.and_then(|text| serde_json::from_str(text).ok());
    there
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({ "Version": "2008-10-17", "Id": id, "Statement": [] }))
}

/// Its statements, of which there may be one that stands for itself.
fn statements(policy: &mut Value) -> &mut Vec<Value> {
    let statement = &mut policy["Statement"];
    if !statement.is_array() {
        let only = statement.take();
        *statement = Value::Array(if only.is_null() {
            Vec::new()
        } else {
            vec![only]
        });
    }
    statement.as_array_mut().expect("made one just now")
}
