//! Documents of the catalog: their names, and how they are written.

use bytes::Bytes;
use uuid::Uuid;

pub(super) fn topic_key(name: &str) -> String {
    format!("topics/{name}")
}

pub(super) fn group_key(name: &str) -> String {
    format!("groups/{name}")
}

pub(super) fn removed_key(id: Uuid) -> String {
    format!("removed/{id}")
}

pub(super) fn encode(document: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(document).expect("plain data always serializes"))
}
