//! Whether the queues of a topic take a batch that is appended to it: what they refuse from senders of single messages
//! they refuse from others too. A batch is taken by all of them, whole, or by none.

use storage::Batch;
use storage::batch::Outline;

use super::of_partition::Lanes;
use crate::queue::{Overflow, Queue};
use crate::{Error, Result};

/// Bodies of the records of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct Bodies {
    bytes: u64,
    largest: u64,
}

/// Refuses a batch that a queue does not take. Errors: `QueueFull` for now, `LimitExceeded` for good.
pub(in crate::shard) fn check(
    lanes: &Lanes,
    batch: &Batch,
    outlines: Option<&[Outline]>,
) -> Result<()> {
    let records = u64::from(batch.header.record_count.unsigned_abs());
    let mut known = None;
    for queue in lanes.queues() {
        let bodies = if outlines.is_some() || wants_bodies(queue, batch) {
            *known.get_or_insert_with(|| match outlines {
                Some(outlines) => bodies(outlines),
                None => bodies(&batch.outlines(false)),
            })
        } else {
            Bodies::default()
        };
        check_limits(queue, records, bodies)?;
        if queue.settings().limits.overflow == Overflow::DropOldest {
            continue;
        }
        let mut used = lanes.used();
        let lane = used.find(|lane| lane.queue.id() == queue.id());
        let more = (records, bodies.bytes);
        if lane.is_some_and(|lane| lane.lane.is_full(queue.settings(), more)) {
            return Err(Error::QueueFull);
        }
    }
    Ok(())
}

/// Whether it matters to a queue how large the records are. A message is not larger than its batch; one that is
/// compressed was opened at the door where the queue limits its bytes.
fn wants_bodies(queue: &Queue, batch: &Batch) -> bool {
    let settings = queue.settings();
    let may_be_large = batch.bytes() as u64 > settings.message_bytes_max;
    settings.limits.bytes_max.is_some() || (may_be_large && batch.header.codec() == 0)
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

fn bodies(outlines: &[Outline]) -> Bodies {
    let sizes = outlines
        .iter()
        .map(|outline| u64::from(outline.value_bytes));
    Bodies {
        bytes: sizes.clone().sum(),
        largest: sizes.max().unwrap_or(0),
    }
}
