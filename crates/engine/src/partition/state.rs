//! What the owner of a partition knows: where the next batch goes and who has sent what.
//!
//! `decide` holds all rules and changes nothing; `apply` changes the state by a batch that is in the log and
//! cannot refuse. A restart is `apply` over the batches since the last snapshot.

use storage::{Batch, BatchHeader};

use super::producers::{Producers, SequenceCheck};
use crate::topic::Config;
use crate::{Error, Result};

/// The owner's state of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// First readable offset.
    pub start: u64,
    /// Offset of the next record.
    pub end: u64,
    /// Idempotent producers seen here.
    pub producers: Producers,
}

/// A decided append.
#[derive(Debug)]
pub enum Decision {
    /// Append this batch, which has its final place.
    Append(Batch),
    /// The batch is in the log already, from `base_offset` on.
    Duplicate {
        /// Offset of the original's first record.
        base_offset: u64,
    },
}

impl PartitionState {
    /// Decides what a batch becomes at `now` (ms).
    pub fn decide(&self, batch: Batch, config: &Config, now: u64) -> Result<Decision> {
        self.decide_at(self.end, batch, config, now)
    }

    /// The same for a batch that comes behind others which are appended with it, so that it begins at `base`.
    pub fn decide_at(
        &self,
        base: u64,
        batch: Batch,
        config: &Config,
        now: u64,
    ) -> Result<Decision> {
        if !batch.header.is_made_here() {
            check_batch(&batch, config)?;
            check_time(&batch, config, now)?;
        }
        match self.producers.decide(&batch.header)? {
            SequenceCheck::Duplicate(original) => Ok(Decision::Duplicate {
                base_offset: original.base_offset,
            }),
            SequenceCheck::Append => {
                // A batch without a time would be older than any retention allows.
                let untimed = batch.header.max_timestamp < 0;
                // What the broker has just written bears that time already.
                let is_stamped = batch.header.is_made_here() && batch.header.is_append_time();
                let stamps = untimed || (config.append_time && !is_stamped);
                let append_time = stamps.then_some(now.cast_signed());
                Ok(Decision::Append(batch.placed(
                    base,
                    super::LEADER_EPOCH,
                    append_time,
                )))
            }
        }
    }

    /// Takes note of a batch that was appended. Panics when it does not continue the partition.
    pub fn apply(&mut self, header: &BatchHeader, now: u64) {
        assert_eq!(
            header.base_offset, self.end,
            "a batch must continue its partition"
        );
        self.end = header.next_offset();
        self.producers.apply(header, now);
    }

    /// Moves the first readable offset forward; never back, never past the end.
    pub fn trim(&mut self, before: u64) {
        self.start = self.start.max(before.min(self.end));
    }
}

/// Refuses what a peer's batch must not be, by its header.
pub(crate) fn check_batch(batch: &Batch, config: &Config) -> Result<()> {
    let header = &batch.header;
    if batch.bytes() > config.batch_bytes_max {
        return Err(Error::TooLarge {
            bytes: batch.bytes(),
            allowed: config.batch_bytes_max,
        });
    }
    if header.is_control() {
        return Err(Error::InvalidRecord(
            "only the broker writes control batches".into(),
        ));
    }
    if header.is_transactional() {
        return Err(Error::InvalidRecord(
            "transactions are not supported".into(),
        ));
    }
    Ok(())
}

/// Refuses a batch whose greatest timestamp the topic does not allow; those of its records were checked before.
fn check_time(batch: &Batch, config: &Config, now: u64) -> Result<()> {
    if config.append_time {
        return Ok(());
    }
    let (header, now) = (&batch.header, now.cast_signed());
    let is_late = header.max_timestamp > now.saturating_add(config.timestamp_after_max_ms);
    let is_early = header.max_timestamp >= 0
        && header.max_timestamp < now.saturating_sub(config.timestamp_before_max_ms);
    if is_late || is_early {
        return Err(Error::InvalidTimestamp(header.max_timestamp));
    }
    Ok(())
}
