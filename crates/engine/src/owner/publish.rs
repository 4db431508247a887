//! Batches that are appended to a partition, its start, and its snapshots.

use delivery::{Arrival, QueueEvent};
use storage::batch::Outline;
use storage::{Append, Durability};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::forgetting::keep_ids;
use super::queues::check_room;
use super::round::Round;
use super::snapshots::{SNAPSHOT_BYTES, snapshot, trim_to};
use crate::partition::Decision;
use crate::{Error, PublishResults, Published, Result};

/// One batch of a publish, for one partition.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) topic_id: uuid::Uuid,
    pub(crate) index: u32,
    pub(crate) batch: storage::Batch,
    /// Size of its largest body, where it comes from a peer.
    pub(crate) largest_value: u32,
    /// Of its records, where a queue wanted them when it was checked.
    pub(crate) outlines: Option<Vec<Outline>>,
}

impl Round<'_> {
    /// Decides and applies every batch; one answer when all of them are as durable as they should be.
    pub(crate) fn publish(
        &mut self,
        entries: Vec<Entry>,
        permit: Option<OwnedSemaphorePermit>,
        done: oneshot::Sender<PublishResults>,
    ) {
        let results: PublishResults = entries.into_iter().map(|entry| self.place(entry)).collect();
        // Of an original that is not durable yet, its repeat is not confirmed before it either.
        let must_be_synced = self.durability() != Durability::Flush;
        let answer = move |failed: Option<Error>| {
            drop(permit);
            let _ = done.send(match failed {
                Some(error) => results.iter().map(|_| Err(error.clone())).collect(),
                None => results,
            });
        };
        self.answer(must_be_synced, Box::new(answer));
    }

    /// When records that are appended now count as there.
    pub(super) fn durability(&self) -> Durability {
        self.owned.durability(self.env.completions.durable())
    }

    /// Decides and applies one batch.
    pub(super) fn place(&mut self, entry: Entry) -> Result<Published> {
        let start = self.owned.state.start;
        let (outlines, largest) = (entry.outlines, entry.largest_value);
        let owned = &*self.owned;
        let decided = owned
            .state
            .decide(entry.batch, &owned.config, self.now.wall)?;
        let batch = match decided {
            Decision::Duplicate { base_offset } => {
                return Ok(Published {
                    base_offset,
                    append_time: None,
                    start,
                    duplicate: true,
                });
            }
            Decision::Append(batch) => batch,
        };
        let reserved = check_room(&owned.queues, &batch, (outlines.as_deref(), largest))?;
        self.commit.room(&*self.env.log)?;
        let header = batch.header;
        self.append_batch(batch, outlines.as_deref());
        // The queues count it themselves now.
        drop(reserved);
        Ok(Published {
            base_offset: header.base_offset,
            append_time: header.is_append_time().then_some(header.max_timestamp),
            start,
            duplicate: false,
        })
    }

    /// Applies a batch that was written here; returns how many records it has.
    pub(crate) fn append_made_here(&mut self, batch: storage::Batch) -> u64 {
        let records = u64::from(batch.header.record_count.unsigned_abs());
        let owned = &*self.owned;
        let decided = owned.state.decide(batch, &owned.config, self.now.wall);
        let Ok(Decision::Append(batch)) = decided else {
            unreachable!("what is written here has no producer, and nothing to refuse");
        };
        self.append_batch(batch, None);
        records
    }

    /// Applies a batch that was decided and has its final place: it is part of this turn's commit.
    fn append_batch(&mut self, batch: storage::Batch, outlines: Option<&[Outline]>) {
        let (now, durability) = (self.now, self.durability());
        let header = batch.header;
        let bytes = batch.bytes() as u64;
        let records = u64::from(header.record_count.unsigned_abs());
        self.env.metrics.published(records, bytes);
        let owned = &mut *self.owned;
        if !owned.queues.is_empty() {
            let is_stamped = Arrival::is_stamped(&header);
            for queue_partition in owned.queues.all(header.base_offset) {
                if !is_stamped {
                    queue_partition.note_arrival(&header, now.now);
                }
                queue_partition.index(&batch, outlines, now);
            }
            self.gather_all();
        }
        let owned = &mut *self.owned;
        owned.state.apply(&header, now.now);
        owned.bytes_since_snapshot += bytes;
        owned.has_grown = true;
        let stream = self.owner.partition.records();
        self.commit.append(Append { stream, batch }, durability);
        self.commit
            .grow(&self.owner.partition, header.next_offset());
    }

    /// Moves the partition's start; returns where it is then. Errors: `OffsetOutOfRange`, `Unavailable`.
    pub(crate) fn trim(&mut self, before: u64) -> Result<u64> {
        // Only what may be read may be deleted.
        if before > self.owner.partition.high_watermark() {
            return Err(Error::OffsetOutOfRange);
        }
        if before <= self.owned.state.start {
            return Ok(self.owned.state.start);
        }
        // A snapshot stands behind every event it accounts for.
        self.flush()?;
        let (log, now) = (&*self.env.log, self.now.now);
        let partition = &self.owner.partition;
        keep_ids((partition, self.owned), log, before, now);
        let trimmed = trim_to((partition, self.owned), log, before, now);
        trimmed.ok_or(Error::Unavailable)?;
        for queue_partition in self.owned.queues.used_mut() {
            queue_partition.change(QueueEvent::Trimmed { before }, None);
        }
        self.gather_all();
        Ok(self.owned.state.start)
    }

    /// Takes a snapshot of the producers when that pays.
    pub(super) fn snapshot_if_due(&mut self) {
        if self.owned.bytes_since_snapshot >= SNAPSHOT_BYTES {
            let partition = &self.owner.partition;
            snapshot((partition, self.owned), &*self.env.log, self.now.now);
        }
    }
}
