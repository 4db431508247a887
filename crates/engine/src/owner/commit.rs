//! The unit of work: everything that one turn changes, in one partition or in several, appended as one and answered when
//! that is as durable as it should be.
//!
//! Room is asked for first: what is admitted is applied before it is appended, and the append cannot be refused any more.

use std::sync::Arc;

use storage::{Append, Durability, Log, Lsn};

use super::completions::{Answer, Completions, Waiting};
use crate::partition::Partition;
use crate::{Error, Result};

/// What a turn changes.
pub(crate) struct Commit {
    appends: Vec<Append>,
    /// The strongest that a part of it asks for.
    durability: Durability,
    /// Whether the log takes records, once that was asked.
    has_room: Option<Result<()>>,
    grown: Vec<(Arc<Partition>, u64)>,
    /// Answers that wait until it is on disk.
    synced: Vec<Answer>,
    /// Answers that wait until it is written.
    written: Vec<Answer>,
}

/// Where the answers of a turn that appended nothing wait: behind what was appended before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    /// Everything that the partitions have appended.
    pub(super) any: Lsn,
    /// Of that, records.
    pub(super) records: Lsn,
    /// When such records count as there.
    pub(super) durability: Durability,
}

impl Default for Newest {
    fn default() -> Self {
        Self {
            any: Lsn(0),
            records: Lsn(0),
            durability: Durability::Flush,
        }
    }
}

/// What became of the append of a turn: nothing was to be appended, its place, or why it failed.
pub(super) type Outcome = Option<Result<(Lsn, Durability)>>;

impl Commit {
    pub(super) fn new() -> Self {
        Self {
            appends: Vec::new(),
            durability: Durability::Flush,
            has_room: None,
            grown: Vec::new(),
            synced: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Whether records may be added. Errors: `DiskFull`, `Unavailable`.
    pub(super) fn room(&mut self, log: &dyn Log) -> Result<()> {
        let asked = self
            .has_room
            .get_or_insert_with(|| Ok(log.append(Vec::new(), Durability::Flush).map(drop)?));
        asked.clone()
    }

    /// Adds a batch.
    pub(super) fn append(&mut self, append: Append, durability: Durability) {
        self.appends.push(append);
        self.durability = stronger(self.durability, durability);
    }

    /// A partition may be read up to here when it is done.
    pub(super) fn grow(&mut self, partition: &Arc<Partition>, upto: u64) {
        match self.grown.last_mut() {
            Some((last, known)) if Arc::ptr_eq(last, partition) => *known = upto,
            _ => self.grown.push((Arc::clone(partition), upto)),
        }
    }

    /// Adds an answer; whether it has to wait for the disk although records may not have to.
    pub(super) fn answer(&mut self, must_be_synced: bool, answer: Answer) {
        if must_be_synced {
            self.synced.push(answer);
        } else {
            self.written.push(answer);
        }
    }

    /// Hands what is to be appended to the log.
    pub(super) fn write(&mut self, log: &dyn Log) -> Outcome {
        if self.appends.is_empty() {
            return None;
        }
        let appends = std::mem::take(&mut self.appends);
        // The disk may have become full after room was asked for: what is applied already has to follow.
        let written = match self.durability {
            Durability::Sync | Durability::Vital => log.append(appends, Durability::Vital),
            Durability::Flush => match log.append(appends.clone(), Durability::Flush) {
                Err(storage::Error::DiskFull) => {
                    self.durability = Durability::Vital;
                    log.append(appends, Durability::Vital)
                }
                other => other,
            },
        };
        let durability = self.durability;
        Some(written.map(|lsn| (lsn, durability)).map_err(Error::from))
    }

    /// Hands the answers over to wait; returns what is to be sent at once, when the partitions have been let go.
    pub(super) fn release(
        self,
        outcome: &Outcome,
        newest: Newest,
        completions: &Completions,
    ) -> Vec<Waiting> {
        let (written, synced) = match outcome {
            Some(Ok((lsn, durability))) => ((*lsn, *durability), (*lsn, Durability::Sync)),
            None => (
                (newest.records, newest.durability),
                (newest.any, Durability::Sync),
            ),
            Some(Err(error)) => {
                let answers = self.written.into_iter().chain(self.synced).collect();
                let grown = Vec::new();
                Waiting { grown, answers }.fail(error);
                return Vec::new();
            }
        };
        let quick = Waiting {
            grown: self.grown,
            answers: self.written,
        };
        let slow = Waiting {
            grown: Vec::new(),
            answers: self.synced,
        };
        let mut ready = Vec::new();
        for (at, waiting) in [(written, quick), (synced, slow)] {
            if !waiting.is_empty() {
                ready.extend(completions.push(at, waiting));
            }
        }
        ready
    }
}

fn stronger(one: Durability, other: Durability) -> Durability {
    let rank = |durability| match durability {
        Durability::Flush => 0,
        Durability::Sync => 1,
        Durability::Vital => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}
