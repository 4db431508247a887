//! Checks of published batches, before their owners get them: what a batch says of its records is its sender's word
//! until it has been looked through.
//!
//! Plain batches are looked through where they lie, at once. Compressed ones are opened as a stream, by a few workers,
//! so that neither a connection nor an owner of partitions is held up; only small ones are tried at once. All workers
//! together open no more than `workers::OPENING_BYTES_MAX` at a time.

use std::sync::Arc;

use storage::batch::{Fault, OPENED_BYTES_MAX, Outline, Outlines, Refusal, Rules};
use storage::{Batch, BatchHeader};

use super::Inner;
use crate::owner::Entry;
use crate::partition::{Partition, check_batch};
use crate::queue::QueueSettings;
use crate::topic::Topic;
use crate::{Error, RecordErrors, Result};

/// Records a batch may have for a topic whose queues look into records: as many as fit into the largest batch that producers
/// make unless told otherwise, when they hold nothing but a key of one byte.
const LOOKED_INTO_MAX: i32 = 1 << 17;
/// What the outline of a record takes, its key left out, bytes.
const OUTGROUP_BYTES: usize = size_of::<Outline>() + 16;
/// What the keys of a compressed batch may take together, when it is opened for queues that look into records: so much for
/// each record, at least and at most so much for the batch.
const KEY_BYTES: usize = 1 << 10;
const KEYS_BYTES_MIN: usize = 1 << 20;
const KEYS_BYTES_MAX: usize = 16 << 20;
/// A compressed batch up to this size is opened at once …
const SMALL_BYTES: usize = 8 << 10;
/// … as far as it opens to no more than this.
const SMALL_OPENED_BYTES: usize = 64 << 10;

/// A batch with what it has to comply with.
pub(super) struct Unchecked {
    topic: Arc<Topic>,
    index: u32,
    batch: Batch,
    rules: Rules,
    /// Range of timestamps, as it is told.
    range: (i64, i64),
}

impl Unchecked {
    /// Refuses what the header alone gives away. Errors: `InvalidRecord`, `InvalidTimestamp`, `TooLarge`.
    pub(super) fn new(
        inner: &Inner,
        topic: Arc<Topic>,
        partition: &Partition,
        batch: Batch,
    ) -> Result<Self> {
        check_origin(&batch.header)?;
        let config = &topic.config;
        check_batch(&batch, config)?;
        let now = inner.clock.wall_ms().cast_signed();
        let (before, after) = (
            config.timestamp_before_max_ms,
            config.timestamp_after_max_ms,
        );
        let allowed = || (now.saturating_sub(before).max(0), now.saturating_add(after));
        let rules = Rules {
            keyed: config.keyed,
            timestamps: (!config.append_time).then(allowed),
            outlines: inner.wanted_of(&topic),
            keys_bytes_max: keys_bytes_max(&batch),
            opened_bytes_max: config.opened_bytes_max.min(OPENED_BYTES_MAX),
        };
        if rules.outlines != Outlines::None && batch.header.record_count > LOOKED_INTO_MAX {
            return Err(Error::OpensTooLarge);
        }
        Ok(Self {
            index: partition.index,
            range: (now.wrapping_sub(before), now.wrapping_add(after)),
            topic,
            batch,
            rules,
        })
    }

    /// What it takes in memory until its owner has it, with the outlines of its records, bytes; at most.
    pub(super) fn room(&self) -> usize {
        let outlines = if self.rules.outlines == Outlines::None {
            0
        } else {
            let records = usize::try_from(self.batch.header.record_count).unwrap_or(0);
            let outlines = records.saturating_mul(OUTGROUP_BYTES);
            outlines.saturating_add(self.rules.keys_bytes_max)
        };
        self.batch.bytes().saturating_add(outlines)
    }

    /// Looks through the batch if that is quickly done; else it comes back.
    pub(super) fn at_once(self) -> std::result::Result<Result<Entry>, Box<Self>> {
        if self.batch.header.codec() == 0 {
            return Ok(self.check());
        }
        if self.batch.bytes() > SMALL_BYTES || self.batch.opening_bytes() > SMALL_OPENED_BYTES {
            return Err(Box::new(self));
        }
        let rules = Rules {
            opened_bytes_max: SMALL_OPENED_BYTES.min(self.rules.opened_bytes_max),
            ..self.rules
        };
        match self.batch.check(&rules) {
            Err(Refusal::Batch(storage::batch::BatchError::Opened)) => Err(Box::new(self)),
            checked => Ok(self.result_of(checked)),
        }
    }

    /// Looks through the batch.
    fn check(self) -> Result<Entry> {
        let checked = self.batch.check(&self.rules);
        self.result_of(checked)
    }

    fn result_of(
        self,
        checked: std::result::Result<storage::batch::Checked, Refusal>,
    ) -> Result<Entry> {
        match checked {
            Ok(checked) => Ok(Entry {
                topic_id: self.topic.id(),
                index: self.index,
                batch: self.batch.with_max_timestamp(checked.max_timestamp),
                largest_value: checked.largest_value,
                outlines: checked.outlines,
            }),
            Err(Refusal::Batch(error)) => Err(error.into()),
            Err(Refusal::Records { count, first }) => Err(self.refuse(count, &first)),
        }
    }

    fn refuse(&self, count: usize, first: &[(usize, Fault)]) -> Error {
        let timestamps = first
            .iter()
            .any(|(_, fault)| matches!(fault, Fault::Timestamp(_)));
        let first = first
            .iter()
            .map(|(place, fault)| (*place, self.text(*place, *fault)));
        Error::InvalidRecords(Box::new(RecordErrors {
            timestamps,
            count,
            first: first.collect(),
        }))
    }

    fn text(&self, place: usize, fault: Fault) -> String {
        match fault {
            Fault::NoKey => format!(
                "Compacted topic cannot accept message without key in topic partition {}-{}",
                self.topic.name, self.index
            ),
            Fault::Timestamp(timestamp) => {
                let (oldest, newest) = self.range;
                format!(
                    "Timestamp {timestamp} of message with offset {place} is out of range. The timestamp should be \
                     within [{oldest}, {newest}]"
                )
            }
            Fault::Offset(given) => {
                format!("Offset delta {given} of the record in place {place} must be {place}")
            }
        }
    }
}

/// What the keys of a batch may take together, bytes: those of a plain one are no larger than it is.
fn keys_bytes_max(batch: &Batch) -> usize {
    if batch.header.codec() == 0 {
        return batch.bytes();
    }
    let records = usize::try_from(batch.header.record_count).unwrap_or(0);
    let keys = records.saturating_mul(KEY_BYTES);
    keys.clamp(KEYS_BYTES_MIN, KEYS_BYTES_MAX)
        .max(batch.bytes())
}

/// What a batch that was looked through takes, with the outlines of its records, bytes.
pub(super) fn held(entry: &Entry) -> usize {
    let outlines = entry.outlines.iter().flatten();
    let keys = outlines.map(|outline| outline.key.as_ref().map_or(0, bytes::Bytes::len));
    let outlines = keys.map(|key| OUTGROUP_BYTES + key);
    entry.batch.bytes() + outlines.sum::<usize>()
}

impl Inner {
    /// What queues want to know of the records of a topic when they come.
    fn wanted_of(&self, topic: &Topic) -> Outlines {
        let queues = self.queues.of_topic(topic.id());
        let mut settings = queues.iter().map(|queue| queue.settings());
        if settings.any(QueueSettings::looks_into_records) {
            Outlines::Keys
        } else {
            Outlines::None
        }
    }

    /// Looks through batches that take their time, in order.
    pub(super) async fn check_all(
        &self,
        batches: Vec<(usize, Box<Unchecked>)>,
    ) -> Vec<(usize, Result<Entry>)> {
        let places: Vec<usize> = batches.iter().map(|(place, _)| *place).collect();
        let bytes = batches.iter().map(|(_, b)| b.batch.opening_bytes()).max();
        let check = move || {
            let checked = batches
                .into_iter()
                .map(|(place, batch)| (place, batch.check()));
            checked.collect()
        };
        let checked = self.workers.run(bytes.unwrap_or(0), check).await;
        // Whatever a worker did not come back from was not a sound batch.
        let refused = |place| {
            let why = "the records cannot be read".to_owned();
            (place, Err(Error::InvalidRecord(why)))
        };
        checked.unwrap_or_else(|| places.into_iter().map(refused).collect())
    }
}

/// Only the broker says that a batch is its own, what such a batch says in reserved headers is believed; and only the
/// broker gives offsets.
fn check_origin(header: &BatchHeader) -> Result<()> {
    if header.has_reserved_bits() {
        return Err(Error::InvalidRecord(
            "an attribute of the batch is reserved".into(),
        ));
    }
    if header.is_append_time() {
        return Err(Error::InvalidTimestampType);
    }
    if header.base_offset != 0 {
        return Err(Error::InvalidRecord(
            "the base offset of a batch that is produced must be 0".into(),
        ));
    }
    Ok(())
}
