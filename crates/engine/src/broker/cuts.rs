//! Cuts: which messages make up the batches that one of several partitions gets. What is cut alike is written once for
//! all of them, and held and stored once from then on.

use std::collections::BTreeMap;

use storage::Batch;

/// A message with more bytes is a batch of its own when it goes to several partitions; smaller ones are copied for each.
pub(super) const COPIED_BYTES: usize = 1024;

/// The batches of one partition, in order, each as the messages it holds.
#[derive(Debug)]
pub(super) struct Cuts<T> {
    batches: Vec<Vec<T>>,
    /// The last one may get more.
    is_open: bool,
}

impl<T> Default for Cuts<T> {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            is_open: false,
        }
    }
}

impl<T> Cuts<T> {
    /// Adds a message, in a batch of its own if it is `alone`.
    pub(super) fn add(&mut self, message: T, alone: bool) {
        match self.batches.last_mut() {
            Some(last) if self.is_open && !alone => last.push(message),
            _ => self.batches.push(vec![message]),
        }
        self.is_open = !alone;
    }

    /// The batches.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[T]> {
        self.batches.iter().map(Vec::as_slice)
    }
}

/// Batches that were written, by what decides about their bytes.
pub(super) struct Written<K>(BTreeMap<K, Batch>);

impl<K> Default for Written<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Written<K> {
    /// The batch, written by `write` if it is not there yet. Its records are shared.
    pub(super) fn batch(&mut self, key: K, write: impl FnOnce(&K) -> Batch) -> Batch {
        use std::collections::btree_map::Entry;
        match self.0.entry(key) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(vacant) => {
                let batch = write(vacant.key());
                vacant.insert(batch).clone()
            }
        }
    }
}
