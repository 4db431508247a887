//! Vhosts through the door, and the controller's work on them.
//!
//! A vhost is a document. Removed: a note first, then everything in it, then its document; a start finishes what it
//! finds a note of. A removal that fails on the way takes its note back: what is left of the vhost goes on being used,
//! and its removal can be asked for again.

use std::sync::Arc;

use security::{Resource, Verb};
use storage::Expected;

use super::command::{Command, Removal, VhostCommand};
use super::documents::encode;
use super::exchange_table::{self, check_room};
use super::{Access, Inner, policies, queue_table};
use crate::exchange::VhostRouting;
use crate::vhost::{self, Vhost, VhostDocument};
use crate::{Error, Result};

/// How much there is in a vhost, what every vhost has left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VhostSizes {
    /// Queues.
    pub queues: usize,
    /// Exchanges.
    pub exchanges: usize,
    /// Bindings.
    pub bindings: usize,
}

impl Access {
    /// The vhosts that the principal may see, in name order.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let mut all = self.inner.routing_tables.vhosts();
        all.retain(|vhost| self.may_see(Resource::Vhost(vhost.name())));
        all
    }

    /// One vhost, if the principal may see it. Errors: `Denied`, `UnknownVhost`.
    pub fn vhost(&self, name: &str) -> Result<Arc<Vhost>> {
        self.authorize(Verb::Describe, Resource::Vhost(name))?;
        self.inner
            .routing_tables
            .vhost(name)
            .ok_or(Error::UnknownVhost)
    }

    /// How much there is in a vhost. Errors: `Denied`, `UnknownVhost`.
    pub fn vhost_sizes(&self, name: &str) -> Result<VhostSizes> {
        self.vhost(name)?;
        let counts = |routing: &VhostRouting| (routing.exchanges().count(), routing.counts().1);
        let counts = self.inner.routing_tables.read(name, counts);
        let (exchanges, bindings) = counts.unwrap_or_default();
        Ok(VhostSizes {
            queues: self.inner.queues.count_of_vhost(name),
            exchanges,
            bindings,
        })
    }

    /// Makes a vhost, unless it is there; returns whether it was made now. Errors: `InvalidName`; `InvalidRequest` when
    /// there are as many as there may be.
    pub async fn create_vhost(&self, name: &str) -> Result<bool> {
        self.authorize(Verb::Create, Resource::Vhost(name))?;
        if self.inner.routing_tables.has(name) {
            return Ok(false);
        }
        let name = name.to_owned();
        self.command(|done| Command::Vhost(VhostCommand::Create { name, done }))
            .await
    }

    /// Has copies made of what is published and delivered in a vhost, or not any more; forgotten by a restart. Errors:
    /// `UnknownVhost`.
    pub fn trace_vhost(&self, name: &str, traced: bool) -> Result<()> {
        self.authorize(Verb::Configure, Resource::Vhost(name))?;
        let vhost = self
            .inner
            .routing_tables
            .vhost(name)
            .ok_or(Error::UnknownVhost)?;
        vhost.set_traced(traced);
        Ok(())
    }

    /// Removes a vhost with all queues, exchanges, bindings and policies in it. Errors: `UnknownVhost`,
    /// `InvalidRequest` for the default one.
    pub async fn delete_vhost(&self, name: &str) -> Result<()> {
        self.authorize(Verb::Delete, Resource::Vhost(name))?;
        let name = name.to_owned();
        self.command(|done| Command::Vhost(VhostCommand::Delete { name, done }))
            .await
    }
}

fn key(name: &str) -> String {
    format!("vhosts/{name}")
}

fn removed_key(name: &str) -> String {
    format!("removed-vhosts/{name}")
}

pub(super) async fn handle(inner: &Arc<Inner>, command: VhostCommand) {
    match command {
        VhostCommand::Create { name, done } => drop(done.send(create(inner, &name).await)),
        VhostCommand::Delete { name, done } => drop(done.send(delete(inner, &name).await)),
    }
}

async fn create(inner: &Inner, name: &str) -> Result<bool> {
    vhost::check_name(name)?;
    if inner.routing_tables.has(name) {
        return Ok(false);
    }
    let (count, most) = (
        inner.routing_tables.names().len(),
        inner.settings.vhosts_max,
    );
    check_room("vhosts", count, most)?;
    let document = VhostDocument {
        id: inner.random.fresh_id(),
        created_ms: inner.clock.wall_ms(),
    };
    let value = Some(encode(&document));
    let key = key(name);
    inner.catalog.put_if(&key, Expected::Any, value).await?;
    inner.routing_tables.insert(Vhost::new(name, document));
    Ok(true)
}

async fn delete(inner: &Arc<Inner>, name: &str) -> Result<()> {
    if name == vhost::DEFAULT {
        return Err(Error::InvalidRequest(
            "the default vhost cannot be removed".into(),
        ));
    }
    let vhost = inner
        .routing_tables
        .vhost(name)
        .ok_or(Error::UnknownVhost)?;
    let note = removed_key(name);
    let value = Some(encode(vhost.document()));
    match inner.catalog.put_if(&note, Expected::Any, value).await {
        // No room for the note, and removing is what makes room: a crash leaves a vhost that can be removed again.
        Ok(_) | Err(storage::Error::DiskFull) => {}
        Err(error) => return Err(error.into()),
    }
    let removed = remove(inner, name).await;
    // Also when the removal failed: what is left of the vhost must not go at the next start.
    let noted = inner.catalog.put_if(&note, Expected::Any, None).await;
    removed?;
    noted?;
    Ok(())
}

/// Removes everything in a vhost, and at last the vhost itself.
async fn remove(inner: &Arc<Inner>, name: &str) -> Result<()> {
    let prefix = vhost::qualify(name, "");
    for queue in inner.queues.page(&prefix, None, usize::MAX) {
        inner.controls.turn();
        queue_table::delete(inner, &queue.name, Removal::default()).await?;
    }
    policies::remove_of_vhost(inner, name).await?;
    exchange_table::clear(inner, name).await?;
    inner
        .catalog
        .put_if(&key(name), Expected::Any, None)
        .await?;
    inner.routing_tables.remove(name);
    Ok(())
}

/// Restores all vhosts; before what is in them.
pub(super) async fn recover(inner: &Inner) -> Result<()> {
    for (key, stored) in inner.catalog.list("vhosts/").await? {
        let document: VhostDocument = decode(&key, &stored.value)?;
        let name = key.strip_prefix("vhosts/").unwrap_or(&key);
        inner.routing_tables.insert(Vhost::new(name, document));
    }
    Ok(())
}

/// Finishes removals a crash has interrupted; when everything is there.
pub(super) async fn finish_removals(inner: &Arc<Inner>) -> Result<()> {
    for (note, stored) in inner.catalog.list("removed-vhosts/").await? {
        let document: VhostDocument = decode(&note, &stored.value)?;
        let name = note.strip_prefix("removed-vhosts/").unwrap_or(&note);
        let known = inner.routing_tables.vhost(name);
        if known.is_some_and(|known| *known.document() == document) {
            remove(inner, name).await?;
        }
        inner.catalog.put_if(&note, Expected::Any, None).await?;
    }
    Ok(())
}

fn decode(key: &str, value: &[u8]) -> Result<VhostDocument> {
    serde_json::from_slice(value)
        .map_err(|error| Error::Storage(format!("document {key}: {error}")))
}
