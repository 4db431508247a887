//! Documents in memory: what is durable, and what is on its way.
//!
//! A put is checked against the newest version, durable or not, so that of two racing puts with the same
//! expectation one loses at once. It becomes visible when the journal thread reports its number durable; changes
//! are published to watchers in that order.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Included, Unbounded};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::lock::lock;
use crate::{Change, Document, Error, Expected, Lsn, Result};

/// Changes a watcher may fall behind before it has to list again.
const WATCH_CHANGES_MAX: usize = 1024;
/// Largest value.
pub(super) const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Longest key.
pub(super) const KEY_BYTES_MAX: usize = 8 * 1024;
/// Changed documents whose keys are kept in any case; of more, only while others are the greater part.
const CHANGED_KEYS_MAX: usize = 4096;
/// Leases are documents under keys no caller can name; their version is the epoch.
pub(super) const LEASE_PREFIX: &str = "\0lease/";

/// Durable documents by key. There may be hundreds of thousands, so they have no byte to spare.
pub(super) type Table = BTreeMap<Box<str>, Kept>;

/// A durable document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) version: u64,
    pub(super) value: Box<[u8]>,
}

impl Kept {
    fn document(&self) -> Document {
        Document {
            version: self.version,
            value: Bytes::copy_from_slice(&self.value),
        }
    }
}

#[derive(Debug)]
struct Pending {
    lsn: Lsn,
    key: String,
    version: u64,
    value: Option<Bytes>,
}

/// The newest state of a key that has changes on their way.
#[derive(Debug, Clone, Copy)]
struct Newest {
    version: u64,
    exists: bool,
    changes: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    committed: Table,
    pending: VecDeque<Pending>,
    newest: HashMap<String, Newest>,
    /// No deleted key had a greater version: new keys start above it, so that no key ever repeats one.
    floor: u64,
    /// Since the last checkpoint.
    changed: Changed,
}

/// Documents that were put or deleted.
#[derive(Debug)]
pub(super) enum Changed {
    Keys(BTreeSet<Box<str>>),
    /// So many that all of them are meant: their keys would take as much as a new checkpoint spares.
    All,
}

impl Default for Changed {
    fn default() -> Self {
        Self::Keys(BTreeSet::new())
    }
}

/// What a put comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    Version(u64),
    /// A delete of what does not exist.
    Nothing,
}

impl State {
    /// Documents and version floor as a checkpoint says.
    pub(super) fn restored(committed: Table, floor: u64) -> Self {
        Self {
            committed,
            floor,
            ..Self::default()
        }
    }

    /// The version a change would get, if `expected` holds.
    pub(super) fn prepare(&self, key: &str, expected: Expected, deletes: bool) -> Result<Prepared> {
        let current = match self.newest.get(key) {
            Some(newest) => newest.exists.then_some(newest.version),
            None => self.committed.get(key).map(|document| document.version),
        };
        let holds = match expected {
            Expected::Any => true,
            Expected::Absent => current.is_none(),
            Expected::Version(version) => current == Some(version),
        };
        if !holds {
            return Err(Error::Conflict(key.to_owned()));
        }
        Ok(match current {
            Some(version) => Prepared::Version(version + 1),
            None if deletes => Prepared::Nothing,
            None => Prepared::Version(self.floor + 1),
        })
    }

    /// Takes note of a change that was handed to the journal.
    pub(super) fn handed_over(&mut self, lsn: Lsn, key: &str, version: u64, value: Option<Bytes>) {
        let newest = self.newest.entry(key.to_owned()).or_insert(Newest {
            version,
            exists: false,
            changes: 0,
        });
        newest.version = version;
        newest.exists = value.is_some();
        newest.changes += 1;
        if value.is_none() {
            self.floor = self.floor.max(version);
        }
        self.pending.push_back(Pending {
            lsn,
            key: key.to_owned(),
            version,
            value,
        });
    }

    fn apply(&mut self, key: &str, version: u64, value: Option<&Bytes>) {
        if let Some(value) = value {
            let value = Box::from(&value[..]);
            self.committed.insert(key.into(), Kept { version, value });
        } else {
            self.committed.remove(key);
            self.floor = self.floor.max(version);
        }
        self.note_changed(key);
    }

    fn note_changed(&mut self, key: &str) {
        let Changed::Keys(keys) = &mut self.changed else {
            return;
        };
        if !keys.contains(key) {
            keys.insert(key.into());
        }
        if keys.len() > CHANGED_KEYS_MAX && keys.len() > self.committed.len() / 2 {
            self.changed = Changed::All;
        }
    }

    /// What changed since this was called last, for a checkpoint.
    pub(super) fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// That checkpoint was not written.
    pub(super) fn put_back_changed(&mut self, unsaved: Changed) {
        match (&mut self.changed, unsaved) {
            (Changed::Keys(keys), Changed::Keys(unsaved)) => keys.extend(unsaved),
            (changed, _) => *changed = Changed::All,
        }
    }

    /// All durable documents, leases among them, and the version floor.
    pub(super) fn image(&self) -> (&Table, u64) {
        (&self.committed, self.floor)
    }
}

/// All documents, for the threads of the store.
#[derive(Debug)]
pub(super) struct DocumentTable {
    state: Mutex<State>,
    changes: broadcast::Sender<Change>,
}

impl DocumentTable {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            changes: broadcast::Sender::new(WATCH_CHANGES_MAX),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Sets what the journal says.
    pub(super) fn restore(&self, key: &str, version: u64, value: Option<&Bytes>) {
        self.lock().apply(key, version, value);
    }

    /// Everything up to `lsn` is durable.
    pub(super) fn commit(&self, lsn: Lsn) {
        let mut state = self.lock();
        while let Some(change) = state.pending.pop_front_if(|change| change.lsn <= lsn) {
            let (version, value) = (change.version, change.value);
            state.apply(&change.key, version, value.as_ref());
            if let Some(newest) = state.newest.get_mut(&change.key) {
                newest.changes -= 1;
                if newest.changes == 0 {
                    state.newest.remove(&change.key);
                }
            }
            if !change.key.starts_with(LEASE_PREFIX) {
                let key = change.key;
                let document = value.map(|value| Document { version, value });
                // Without watchers there is nobody to tell.
                let _ = self.changes.send(Change { key, document });
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Document> {
        self.lock().committed.get(key).map(Kept::document)
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<(String, Document)> {
        let state = self.lock();
        state
            .committed
            .range::<str, _>((Included(prefix), Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| !key.starts_with(LEASE_PREFIX))
            .map(|(key, kept)| (key.to_string(), kept.document()))
            .collect()
    }

    pub(super) fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}
