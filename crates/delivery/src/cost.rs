//! What a queue partition takes in memory: an estimate that is made without going through it, and what a message would add.

use std::collections::HashSet;

use storage::batch::Outline;

use crate::message_group::{GROUP_BYTES, KEY_BYTES_MAX};
use crate::meta;
use crate::queue_partition::{QueuePartition, TENANTS_MAX};
use crate::settings::{Ordering, QueueSettings};

/// A message that was touched: its entry, and when its state ends.
const ENTRY_BYTES: usize = 112;
/// A message that is delayed: the same, and its place in its group.
const DELAYED_BYTES: usize = ENTRY_BYTES + 160;
/// A deduplication id.
const ID_BYTES: usize = 56;
/// A message with a time of its own to expire.
const EXPIRES_BYTES: usize = 72;
/// A named attempt, with the offsets it got.
const ATTEMPT_BYTES: usize = 320;
/// The size of a message, where sizes are kept.
const SIZE_BYTES: usize = 6;
/// A message of a key, where messages of other keys lie between: a run of its own.
const GAP_BYTES: usize = 4;
/// A run of offsets that is kept for replay, or cannot be read.
const RUN_BYTES: usize = 40;

/// What a message brings along that takes memory for as long as it is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Brings<'m> {
    /// Its message key.
    pub key: Option<&'m [u8]>,
    /// Its priority, as its sender named it.
    pub level: u8,
    /// It has a deduplication id.
    pub has_id: bool,
    /// It is delayed.
    pub is_delayed: bool,
    /// It has a time to live of its own.
    pub expires: bool,
}

impl QueuePartition {
    /// What it takes in memory, bytes.
    pub fn state_bytes(&self) -> u64 {
        let expiry = self.expiry.as_ref();
        let dedup = self.dedup.as_ref();
        let kept = self.kept.as_ref();
        let runs = kept.map_or(0, |kept| kept.runs()) + self.unreadable.iter().len();
        let bytes = self.entries.len() * ENTRY_BYTES
            + self.groups.bytes()
            + dedup.map_or(0, |dedup| dedup.len()) * ID_BYTES
            + expiry.map_or(0, |expiry| expiry.count()) * EXPIRES_BYTES
            + self.attempts.len() * ATTEMPT_BYTES
            + self.sizes.as_ref().map_or(0, |sizes| sizes.count()) * SIZE_BYTES
            + runs * RUN_BYTES;
        bytes as u64
    }

    /// What a single message would add to it, at most.
    pub fn adds(&self, brings: Brings<'_>, settings: &QueueSettings) -> u64 {
        let mut bytes = 0;
        if let Some(key) = brings.key
            && self.may_take_line(settings)
            && !self.groups.has(meta::level_in(brings.level, settings), key)
        {
            bytes += GROUP_BYTES + key.len().min(KEY_BYTES_MAX);
        }
        let counted = [
            (brings.has_id, ID_BYTES),
            (brings.is_delayed, DELAYED_BYTES),
            (brings.expires, EXPIRES_BYTES),
            (settings.limits.bytes_max.is_some(), SIZE_BYTES),
        ];
        let counted = counted.iter().filter(|(brought, _)| *brought);
        bytes += counted.map(|(_, bytes)| bytes).sum::<usize>();
        bytes as u64
    }

    /// What so many records of a peer's batch would add to it, at most, whatever their keys are.
    pub fn adds_at_most(&self, records: u64, settings: &QueueSettings) -> u64 {
        let groups = if settings.ordering == Ordering::Key {
            records
        } else if settings.limits.bytes_max.is_some() {
            records.min(TENANTS_MAX.saturating_sub(self.groups.len()) as u64)
        } else {
            0
        };
        let group = (GROUP_BYTES + KEY_BYTES_MAX) as u64;
        Self::adds_besides(records, settings).saturating_add(groups.saturating_mul(group))
    }

    /// What the records of a batch would add to it.
    pub fn adds_batch(&self, outlines: &[Outline], settings: &QueueSettings) -> u64 {
        let most = if settings.ordering == Ordering::Key {
            usize::MAX
        } else {
            TENANTS_MAX.saturating_sub(self.groups.len())
        };
        let mut new: HashSet<&[u8]> = HashSet::new();
        let mut bytes = Self::adds_besides(outlines.len() as u64, settings);
        let keys = outlines.iter();
        for key in keys.filter_map(|outline| outline.key.as_deref()) {
            if new.len() == most {
                break;
            }
            if !self.groups.has(0, key) && new.insert(key) {
                bytes += (GROUP_BYTES + key.len().min(KEY_BYTES_MAX)) as u64;
            }
        }
        bytes
    }

    /// What records add, their keys left out.
    fn adds_besides(records: u64, settings: &QueueSettings) -> u64 {
        let keyed = settings.ordering == Ordering::Key;
        let each = [
            (keyed, GAP_BYTES),
            (keyed && settings.delay_ms > 0, DELAYED_BYTES),
            (settings.limits.bytes_max.is_some(), SIZE_BYTES),
        ];
        let each = each.iter().filter(|(adds, _)| *adds);
        let each: usize = each.map(|(_, bytes)| bytes).sum();
        records.saturating_mul(each as u64)
    }

    fn may_take_line(&self, settings: &QueueSettings) -> bool {
        settings.ordering == Ordering::Key || self.groups.len() < TENANTS_MAX
    }
}
