//! Whether the queues of a topic take a batch that is appended to it: what they refuse from senders of single messages
//! they refuse from others too. A batch is taken by all of them, whole, or by none.

use delivery::QueuePartition;
use storage::Batch;
use storage::batch::Outline;

use super::of_partition::QueuePartitions;
use crate::memory::StateShare;
use crate::queue::{Overflow, Queue};
use crate::{Error, Result};

/// Bodies of the records of a batch.
#[derive(Debug, Clone, Copy)]
struct Bodies {
    bytes: u64,
    largest: u64,
}

/// Refuses a peer's batch that a queue does not take; with the size of its largest body, and outlines where a queue wanted
/// them when the batch was checked. Single messages were admitted when they were sent. Returns the room that was taken for
/// what the batch adds to the state of queues, until they hold it. Errors: `QueueFull` and `QueueStateFull` for now,
/// `LimitExceeded` and `OpensTooLarge` for good.
pub(in crate::owner) fn check(
    queue_partitions: &QueuePartitions,
    batch: &Batch,
    (outlines, largest): (Option<&[Outline]>, u32),
) -> Result<Vec<StateShare>> {
    if batch.header.is_made_here() {
        return Ok(Vec::new());
    }
    let records = u64::from(batch.header.record_count.unsigned_abs());
    let mut known = None;
    for queue in queue_partitions.queues() {
        let bytes = if queue.settings().limits.bytes_max.is_some() {
            *known.get_or_insert_with(|| match outlines {
                Some(outlines) => outlines.iter().map(bytes_of).sum(),
                // The limit came after the batch was checked.
                None => batch.outlines(false).map(bytes_of).sum(),
            })
        } else {
            0
        };
        let bodies = Bodies {
            bytes,
            largest: largest.into(),
        };
        check_limits(queue, records, bodies)?;
        if queue.settings().limits.overflow == Overflow::DropOldest {
            continue;
        }
        let mut used = queue_partitions.used();
        let queue_partition = used.find(|queue_partition| queue_partition.queue.id() == queue.id());
        let more = (records, bytes);
        if queue_partition
            .is_some_and(|queue_partition| queue_partition.state.is_full(queue.settings(), more))
        {
            return Err(Error::QueueFull);
        }
    }
    reserve(queue_partitions, batch, outlines)
}

/// What an empty queue would refuse too.
fn check_limits(queue: &Queue, records: u64, bodies: Bodies) -> Result<()> {
    let (settings, name) = (queue.settings(), &queue.name);
    let refuse = |what: String| Err(Error::LimitExceeded(format!("queue {name} takes {what}")));
    let most = settings.message_bytes_max;
    if bodies.largest > most {
        let size = bodies.largest;
        return refuse(format!(
            "messages of at most {most} bytes, and one has {size}"
        ));
    }
    let limits = &settings.limits;
    if limits.overflow == Overflow::DropOldest {
        return Ok(());
    }
    if let Some(most) = limits.messages_max.filter(|most| records > *most) {
        return refuse(format!(
            "at most {most} messages, and the batch has {records}"
        ));
    }
    if let Some(most) = limits.bytes_max.filter(|most| bodies.bytes > *most) {
        let size = bodies.bytes;
        return refuse(format!("at most {most} bytes, and the batch has {size}"));
    }
    Ok(())
}

/// How many bytes the body of a record has.
fn bytes_of(outline: impl std::borrow::Borrow<Outline>) -> u64 {
    u64::from(outline.borrow().value_bytes)
}

/// What fits into so small a part of the room that is left needs no closer look.
const PLENTY: u64 = 32;

/// Takes room for what a peer's batch adds to the state of queues, until they hold it. Errors: `QueueStateFull` for now,
/// `OpensTooLarge` when there never will be room.
fn reserve(
    queue_partitions: &QueuePartitions,
    batch: &Batch,
    outlines: Option<&[Outline]>,
) -> Result<Vec<StateShare>> {
    let records = u64::from(batch.header.record_count.unsigned_abs());
    let mut shares = Vec::new();
    for queue in queue_partitions.queues() {
        let (memory, settings) = (queue.numbers.memory(), queue.settings());
        let mut used = queue_partitions.used();
        let queue_partition = used.find(|queue_partition| queue_partition.queue.id() == queue.id());
        let none = QueuePartition::new(0);
        let queue_partition =
            queue_partition.map_or(&none, |queue_partition| &queue_partition.state);
        let most = queue_partition.adds_at_most(records, settings);
        let left = memory.max().saturating_sub(memory.used());
        if most <= left / PLENTY {
            continue;
        }
        let adds = outlines.map_or(most, |outlines| {
            queue_partition.adds_batch(outlines, settings)
        });
        if adds > memory.max() {
            return Err(Error::OpensTooLarge);
        }
        shares.push(memory.reserve(adds)?);
    }
    Ok(shares)
}
