//! Idempotent producers of one partition: what makes a repeated batch harmless and a gap visible.
//!
//! The partition remembers, per producer, the epoch and the last five batches. A batch that repeats one of
//! them is answered with the original offset; one that does not follow the last is refused.

use std::collections::HashMap;

use storage::BatchHeader;

use crate::{Error, Result};

/// How many batches back a repeat is recognised: the most a producer may have in flight.
pub(super) const WINDOW: usize = 5;

/// Producers a partition remembers at most: some 10 MiB. Anybody who may publish can come as a new one with every batch.
pub(super) const PRODUCERS_MAX: usize = 50_000;

/// A batch already in the log, or about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Sequence number of the first record.
    pub first_sequence: i32,
    /// Sequence number of the last record.
    pub last_sequence: i32,
    /// Offset of the first record.
    pub base_offset: u64,
    /// Greatest timestamp of the batch, ms.
    pub max_timestamp: i64,
}

/// One producer's standing in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The producer's incarnation.
    pub epoch: i16,
    /// When it last appended, ms.
    pub last_seen: u64,
    /// Its last batches, oldest first; never empty, at most five.
    pub batches: Vec<Remembered>,
}

/// The producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: HashMap<i64, Producer>,
}

/// What is to become of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// It continues its producer's sequence, or has no producer.
    Append,
    /// It is in the log already.
    Duplicate(Remembered),
}

impl Producers {
    /// Decides about a batch. Errors: `OutOfOrderSequence`, `ProducerFenced`.
    pub fn decide(&self, header: &BatchHeader) -> Result<SequenceCheck> {
        // A producer the partition does not know (any more) may start anywhere: its state may have expired.
        let Some(known) = self.by_id.get(&header.producer_id) else {
            return Ok(SequenceCheck::Append);
        };
        if header.producer_epoch < known.epoch {
            return Err(Error::ProducerFenced(header.producer_epoch));
        }
        if header.producer_epoch > known.epoch {
            return expect_sequence(0, header.base_sequence);
        }
        let last = last_sequence(header);
        let same =
            |b: &&Remembered| b.first_sequence == header.base_sequence && b.last_sequence == last;
        if let Some(original) = known.batches.iter().find(same) {
            return Ok(SequenceCheck::Duplicate(*original));
        }
        let newest = known.batches.last().map_or(-1, |b| b.last_sequence);
        expect_sequence(sequence_after(newest, 1), header.base_sequence)
    }

    /// Remembers a batch that was appended with its final offset. Beyond a number of producers, those that were silent for
    /// longest are forgotten.
    pub fn apply(&mut self, header: &BatchHeader, now: u64) {
        if header.producer_id < 0 || header.is_control() {
            return;
        }
        let batch = Remembered {
            first_sequence: header.base_sequence,
            last_sequence: last_sequence(header),
            base_offset: header.base_offset,
            max_timestamp: header.max_timestamp,
        };
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&header.producer_id) {
            self.forget_a_quarter();
        }
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer {
                epoch: header.producer_epoch,
                last_seen: now,
                batches: Vec::with_capacity(1),
            });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == WINDOW {
            producer.batches.remove(0);
        }
        producer.batches.push(batch);
        producer.last_seen = now;
    }

    /// Forgets producers that have been silent since before `horizon` (ms); returns how many.
    pub fn expire(&mut self, horizon: u64) -> usize {
        let before = self.by_id.len();
        self.by_id
            .retain(|_, producer| producer.last_seen >= horizon);
        before - self.by_id.len()
    }

    /// Forgets the quarter that was silent for longest: many at once, so that not every new producer costs a look at all.
    fn forget_a_quarter(&mut self) {
        let silence = |(id, producer): (&i64, &Producer)| (producer.last_seen, *id);
        let mut all: Vec<_> = self.by_id.iter().map(silence).collect();
        let quarter = all.len() / 4;
        let (_, first_kept, _) = all.select_nth_unstable(quarter);
        let first_kept = *first_kept;
        self.by_id
            .retain(|id, producer| silence((id, producer)) >= first_kept);
    }

    /// All producers, by id.
    pub fn sorted(&self) -> Vec<(i64, &Producer)> {
        let mut all: Vec<_> = self
            .by_id
            .iter()
            .map(|(id, producer)| (*id, producer))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// Puts back a producer from a snapshot.
    pub fn restore(&mut self, id: i64, producer: Producer) {
        self.by_id.insert(id, producer);
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Sequence number of a batch's last record.
fn last_sequence(header: &BatchHeader) -> i32 {
    sequence_after(header.base_sequence, header.last_offset_delta)
}

/// Sequence numbers go from `i32::MAX` back to 0.
fn sequence_after(sequence: i32, steps: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(steps);
    let wrapped = if sum > i64::from(i32::MAX) {
        sum - i64::from(i32::MAX) - 1
    } else {
        sum
    };
    i32::try_from(wrapped).unwrap_or(0)
}

fn expect_sequence(expected: i32, got: i32) -> Result<SequenceCheck> {
    if expected == got {
        Ok(SequenceCheck::Append)
    } else {
        Err(Error::OutOfOrderSequence { expected, got })
    }
}
