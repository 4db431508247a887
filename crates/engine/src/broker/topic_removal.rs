//! The controller's work on topics that go, with their records and their queues.

use std::sync::Arc;

use storage::Expected;
use uuid::Uuid;

use super::documents::{encode, removed_key, topic_key};
use super::{Inner, queue_removal};
use crate::topic::Topics;
use crate::{Error, Result};

pub(super) async fn delete(inner: &Arc<Inner>, name: &str, id: Uuid) -> Result<()> {
    let topics = inner.topics.load_full();
    let topic = topics
        .named(name)
        .filter(|t| t.id() == id)
        .ok_or(Error::UnknownTopic)?;
    let note = encode(&topic.document);
    let noted = inner
        .catalog
        .put_vital(&removed_key(id), Expected::Any, note)
        .await;
    let forget = (topic_key(name), Expected::Version(topic.version));
    let finish = match noted {
        Ok(_) => {
            inner.catalog.put_if(&forget.0, forget.1, None).await?;
            (removed_key(id), Expected::Any)
        }
        // No room for the note, and removing is what makes room: the records go first. A crash in between
        // leaves an empty topic, which was not acknowledged as removed and can be removed again.
        Err(storage::Error::DiskFull) => forget,
        Err(error) => return Err(error.into()),
    };
    let mut next = Topics::clone(&topics);
    next.remove(name);
    inner.topics.store(Arc::new(next));
    close(inner, id).await?;
    // Behind the note and the records: a queue that went before them would leave records which a queue made again
    // under its name would lease once more.
    queue_removal::remove_of_topic(inner, id).await?;
    inner.catalog.put_if(&finish.0, finish.1, None).await?;
    Ok(())
}

/// Has the owners give up a topic's partitions and records, and groups their offsets for it.
async fn close(inner: &Inner, id: Uuid) -> Result<()> {
    inner.owners.close(id).await?;
    inner.owners.topic_removed(id);
    Ok(())
}
