//! Consumer groups, as they are asked for from outside.

use std::sync::{Arc, PoisonError};

use super::Access;
use super::command::Command;
use crate::group::{self, Group};
use crate::{Error, Result};
use security::{Resource, Verb};

/// Longest group name, bytes.
const NAME_BYTES_MAX: usize = 512;
/// Times a group is made again that goes before its first command comes to it.
const CREATIONS_MAX: usize = 16;

/// Checks a group's name: at most 512 bytes without control characters. The empty one is a name too, which old clients
/// commit under.
fn check_name(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::InvalidName(format!("a group's name {why}")));
    if name.len() > NAME_BYTES_MAX {
        return refuse("has at most 512 bytes");
    }
    if name.chars().any(char::is_control) {
        return refuse("has no control characters");
    }
    Ok(())
}

/// What a principal must be allowed to do with a group that it asks for this: members of a group consume, and what
/// removes the work of others is deletion.
fn right_for(command: &group::Command) -> Verb {
    use group::Command as Asked;
    match command {
        Asked::Join(_)
        | Asked::Sync(_)
        | Asked::Heartbeat(_)
        | Asked::Leave { .. }
        | Asked::CommitOffsets(_)
        | Asked::EndTransaction { .. } => Verb::Consume,
        Asked::DeleteOffsets { .. } | Asked::Delete | Asked::TopicDeleted(_) => Verb::Delete,
    }
}

impl Access {
    /// Carries out a command on a group. With `create`, a group that does not exist comes into being first: when there is
    /// no memory for it, the error is `group::Error::StateFull`. Needs the right to consume; to delete the group or its
    /// offsets, the right to delete.
    pub async fn group_command(
        &self,
        name: &str,
        command: group::Command,
        create: bool,
    ) -> Result<group::Reply> {
        self.authorize(right_for(&command), Resource::Group(name))?;
        check_name(name)?;
        let name: Arc<str> = Arc::from(name);
        if create && !self.group_exists(&name) {
            self.create_group(&name, command.adds_to_new()).await?;
        }
        let mut reply = self.send_to_group(&name, command.clone()).await;
        // A group that has no member and no offset yet may be removed by the maintenance at any moment; the controller has
        // finished that by the time it answers.
        for _ in 0..CREATIONS_MAX {
            if !create || !matches!(reply, Err(Error::Group(group::Error::NotFound))) {
                break;
            }
            self.create_group(&name, command.adds_to_new()).await?;
            reply = self.send_to_group(&name, command.clone()).await;
        }
        if matches!(reply, Ok(group::Reply::Delete(Ok(())))) {
            self.command(|done| Command::RemoveGroup { name, done })
                .await?;
        }
        reply
    }

    async fn create_group(&self, name: &Arc<str>, adds: u64) -> Result<()> {
        let name = Arc::clone(name);
        self.command(|done| Command::CreateGroup { name, adds, done })
            .await
    }

    async fn send_to_group(
        &self,
        name: &Arc<str>,
        command: group::Command,
    ) -> Result<group::Reply> {
        let group = self.inner.owners.group(name);
        let group = group.ok_or(Error::Group(group::Error::NotFound))?;
        group.command(command).await
    }

    /// Looks at a group; what was seen is durable when the answer comes.
    pub async fn inspect_group<T: Send + 'static>(
        &self,
        name: &str,
        look: impl FnOnce(Option<&Group>) -> T + Send + 'static,
    ) -> Result<T> {
        self.authorize(Verb::Describe, Resource::Group(name))?;
        self.inventory().inspect_group(name, look).await
    }

    /// Names of the groups that the principal may see, sorted.
    pub fn group_names(&self) -> Vec<Arc<str>> {
        let mut names = self.inventory().group_names();
        names.retain(|name| self.may_see(Resource::Group(name)));
        names
    }

    fn group_exists(&self, name: &str) -> bool {
        self.inner
            .groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(name)
    }
}
