//! What is handed over to the journal, as it is on its way there.
//!
//! Batches that are appended together may have their records in common: what goes to many streams at once is held, and
//! written, once.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::body::Body;
use crate::{Append, Lsn, StreamId};

/// What a queued entry changes.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Batches(Batches),
    Trim {
        stream: StreamId,
        before: u64,
    },
    Remove {
        stream: StreamId,
    },
    Put {
        key: String,
        version: u64,
        value: Bytes,
    },
    Delete {
        key: String,
        version: u64,
    },
}

/// A change on its way to the journal.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) lsn: Lsn,
    pub(super) sync: bool,
    pub(super) change: Change,
    /// Bytes it takes in a group.
    pub(super) bytes: u64,
}

/// The batches of one append, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Batches {
    appends: Vec<Append>,
    /// For each batch the first one with the same records, which may be itself; none where no other has them. Empty when
    /// that is so for all.
    first: Vec<Option<usize>>,
}

impl Batches {
    pub(super) fn new(appends: Vec<Append>) -> Self {
        let first = match appends.len() {
            0 | 1 => Vec::new(),
            _ => find_shared(&appends),
        };
        Self { appends, first }
    }

    /// Each batch, with how many before it the first one with the same records stands, unless it is that itself.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Append, Option<usize>)> {
        let appends = self.appends.iter().enumerate();
        appends.map(|(index, append)| {
            let first = self.first(index).filter(|first| *first < index);
            (append, first.map(|first| index - first))
        })
    }

    /// Each batch, with what it has in common with others.
    pub(super) fn with_bodies(&self) -> impl Iterator<Item = (&Append, Option<Arc<Body>>)> {
        let mut bodies: HashMap<usize, Arc<Body>> = HashMap::new();
        let appends = self.appends.iter().enumerate();
        appends.map(move |(index, append)| {
            let body = self.first(index).map(|first| {
                let body = bodies.entry(first);
                Arc::clone(body.or_insert_with(|| Arc::new(Body::of(&append.batch))))
            });
            (append, body)
        })
    }

    fn first(&self, index: usize) -> Option<usize> {
        self.first.get(index).copied().flatten()
    }
}

fn find_shared(appends: &[Append]) -> Vec<Option<usize>> {
    let mut known: HashMap<(usize, usize), usize> = HashMap::new();
    let mut first = Vec::new();
    for (index, append) in appends.iter().enumerate() {
        let Some(place) = append.batch.place_in_memory() else {
            continue;
        };
        let earlier = *known.entry(place).or_insert(index);
        if earlier < index {
            first.resize(appends.len(), None);
            first[earlier] = Some(earlier);
            first[index] = Some(earlier);
        }
    }
    first
}
