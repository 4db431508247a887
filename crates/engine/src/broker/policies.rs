//! Policies through the door, and the controller's work on them.
//!
//! A policy is a document; what it means for queues and exchanges is worked out when they are made, when the broker
//! starts, and anew for all of a vhost whenever one of its policies changes.

use std::sync::Arc;

use security::{Resource, Verb};
use storage::Expected;

use super::command::{Command, PolicyCommand};
use super::documents::encode;
use super::{Access, Broker, Inner, queue_partitions};
use crate::policy::{InEffect, Kind, Policies, Policy, PolicyDocument};
use crate::queue::Queue;
use crate::{Error, Result, vhost};

impl Broker {
    /// The policies that hold for a queue.
    pub fn policies_of(&self, queue: &Queue) -> InEffect {
        let policies = self.inner.policies.load();
        policies.in_effect(&queue.name, &queue.document.settings)
    }
}

/// Most policies of both kinds together.
const POLICIES_MAX: usize = 10_000;

impl Access {
    /// The policies of a vhost.
    pub fn policies(&self, vhost: &str) -> Result<Vec<Policy>> {
        self.authorize(Verb::Describe, Resource::Vhost(vhost))?;
        if !self.inner.routing_tables.has(vhost) {
            return Err(Error::UnknownVhost);
        }
        Ok(self.inner.policies.load().of_vhost(vhost))
    }

    /// Makes a policy, or puts it in the place of the one of its kind and name; it holds when this returns. Errors:
    /// `UnknownVhost`, `InvalidName`, `InvalidConfig`.
    pub async fn put_policy(&self, policy: Policy) -> Result<()> {
        let resource = Resource::Vhost(&policy.vhost);
        self.authorize(Verb::Configure, resource)?;
        let policy = Box::new(policy);
        self.command(|done| Command::Policy(PolicyCommand::Put { policy, done }))
            .await
    }

    /// Removes a policy; returns whether there was one. Errors: `UnknownVhost`.
    pub async fn remove_policy(&self, kind: Kind, vhost: &str, name: &str) -> Result<bool> {
        self.authorize(Verb::Configure, Resource::Vhost(vhost))?;
        let (vhost, name) = (vhost.to_owned(), name.to_owned());
        self.command(|done| {
            Command::Policy(PolicyCommand::Remove {
                kind,
                vhost,
                name,
                done,
            })
        })
        .await
    }
}

fn key(kind: Kind, vhost: &str, name: &str) -> String {
    let kind = match kind {
        Kind::User => "user",
        Kind::Operator => "operator",
    };
    format!("policies/{kind}/{}", vhost::qualify(vhost, name))
}

pub(super) async fn handle(inner: &Arc<Inner>, command: PolicyCommand) {
    match command {
        PolicyCommand::Put { policy, done } => drop(done.send(put(inner, *policy).await)),
        PolicyCommand::Remove {
            kind,
            vhost,
            name,
            done,
        } => drop(done.send(remove(inner, kind, &vhost, &name).await)),
    }
}

async fn put(inner: &Arc<Inner>, policy: Policy) -> Result<()> {
    if !inner.routing_tables.has(&policy.vhost) {
        return Err(Error::UnknownVhost);
    }
    let mut next = Policies::clone(&inner.policies.load());
    let (key, vhost) = (
        key(policy.kind, &policy.vhost, &policy.name),
        policy.vhost.clone(),
    );
    let document = Some(encode(&policy.document));
    next.insert(policy)?;
    if next.len() > POLICIES_MAX {
        return Err(Error::InvalidRequest(format!(
            "the broker holds at most {POLICIES_MAX} policies"
        )));
    }
    inner.catalog.put_if(&key, Expected::Any, document).await?;
    inner.policies.store(Arc::new(next));
    apply(inner, &vhost)
}

async fn remove(inner: &Arc<Inner>, kind: Kind, vhost: &str, name: &str) -> Result<bool> {
    if !inner.routing_tables.has(vhost) {
        return Err(Error::UnknownVhost);
    }
    let mut next = Policies::clone(&inner.policies.load());
    if !next.remove(kind, vhost, name) {
        return Ok(false);
    }
    let key = key(kind, vhost, name);
    inner.catalog.put_if(&key, Expected::Any, None).await?;
    inner.policies.store(Arc::new(next));
    apply(inner, vhost)?;
    Ok(true)
}

/// Removes the policies of a vhost that goes.
pub(super) async fn remove_of_vhost(inner: &Arc<Inner>, vhost: &str) -> Result<()> {
    for policy in inner.policies.load().of_vhost(vhost) {
        inner.controls.turn();
        remove(inner, policy.kind, vhost, &policy.name).await?;
    }
    Ok(())
}

/// Has everything in a vhost go by its policies as they are now.
fn apply(inner: &Arc<Inner>, name: &str) -> Result<()> {
    let policies = inner.policies.load_full();
    let prefix = vhost::qualify(name, "");
    for queue in inner.queues.page(&prefix, None, usize::MAX) {
        inner.controls.turn();
        let settings = policies.settings(&queue.name, &queue.document.settings);
        if vhost::split(&queue.name).0 != name || *settings == *queue.effective {
            continue;
        }
        let changed = Arc::new(Queue {
            effective: settings,
            ..Queue::clone(&queue)
        });
        inner.queues.insert(Arc::clone(&changed));
        queue_partitions::configure_queue_partitions(inner, &changed)?;
        inner.touch(&changed);
    }
    show_alternates(inner, name)
}

/// Has the exchanges of a vhost know their alternates by policy.
fn show_alternates(inner: &Inner, vhost: &str) -> Result<()> {
    let policies = inner.policies.load_full();
    inner.routing_tables.write(vhost, |routing| {
        routing.set_alternates(|exchange| policies.alternate(vhost, exchange));
    })
}

/// Restores all policies; before queues and exchanges.
pub(super) async fn recover(inner: &Inner) -> Result<()> {
    let mut policies = Policies::default();
    for (kind, prefix) in [
        (Kind::User, "policies/user/"),
        (Kind::Operator, "policies/operator/"),
    ] {
        for (key, stored) in inner.catalog.list(prefix).await? {
            let document: PolicyDocument = serde_json::from_slice(&stored.value)
                .map_err(|error| Error::Storage(format!("document {key}: {error}")))?;
            let (vhost, name) = vhost::split(key.strip_prefix(prefix).unwrap_or(&key));
            let (vhost, name) = (vhost.to_owned(), name.to_owned());
            let policy = Policy {
                vhost,
                name,
                kind,
                document,
            };
            // One that this version does not take must not keep the broker from starting.
            if let Err(error) = policies.insert(policy) {
                tracing::error!(policy = key, %error, "ignoring a policy");
            }
        }
    }
    inner.policies.store(Arc::new(policies));
    Ok(())
}

/// Has the exchanges of all vhosts know their alternates; after they were restored.
pub(super) fn recovered(inner: &Inner) -> Result<()> {
    for vhost in inner.routing_tables.names() {
        show_alternates(inner, &vhost)?;
    }
    Ok(())
}
