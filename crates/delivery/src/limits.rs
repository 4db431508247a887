//! What a queue partition lets in and how long it keeps it: messages that are too old, and those too many.

use crate::entry::State;
use crate::event::QueueEvent;
use crate::event::{Reader, Unreadable, put};
use crate::expiry::{Expiry, Mark};
use crate::message_group::MessageGroupId;
use crate::meta::Meta;
use crate::queue_partition::QueuePartition;
use crate::settings::{Overflow, QueueSettings};

impl QueuePartition {
    /// Notes when messages that came at `at` are too old for their queue.
    pub(crate) fn mark(&mut self, from: u64, at: u64, settings: &QueueSettings) {
        if let Some(age) = settings.limits.message_ttl_ms {
            self.expiry.get_or_insert_default().mark(from, at, age);
        }
    }

    /// Whether messages that come now begin a new mark.
    pub(crate) fn begins_mark(&self, at: u64, settings: &QueueSettings) -> bool {
        let age = settings.limits.message_ttl_ms;
        let marks = self.expiry.as_ref().map(|expiry| expiry.marks());
        age.is_some_and(|age| marks.is_none_or(|marks| marks.begins(at, age)))
    }

    /// Notes what is limited about a message that came.
    pub(crate) fn note_limits(&mut self, record: &Meta, settings: &QueueSettings) {
        if let Some(at) = record.expires {
            self.expiry.get_or_insert_default().note(record.offset, at);
        }
        if settings.limits.bytes_max.is_some() {
            let sizes = self.sizes.get_or_insert_default();
            sizes.push(record.offset, record.bytes);
        }
    }

    pub(crate) fn size_leased(&mut self, offset: u64, leased: bool) {
        if let Some(sizes) = &mut self.sizes {
            sizes.set_leased(offset, leased);
        }
    }

    /// A message is gone.
    pub(crate) fn forget_limits(&mut self, offset: u64) {
        if let Some(expiry) = &mut self.expiry {
            expiry.forget(offset);
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.forget(offset);
        }
    }

    pub(crate) fn drop_limits(&mut self, before: u64, kept: &[u64]) {
        if let Some(expiry) = &mut self.expiry {
            expiry.drop_before(before, kept);
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.drop_range((0, before), kept);
        }
    }

    /// Messages of a range are gone.
    pub(crate) fn drop_limits_of(&mut self, from: u64, upto: u64) {
        if let Some(expiry) = &mut self.expiry {
            expiry.drop_range(from, upto);
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.drop_range((from, upto), &[]);
        }
    }

    /// The queue's limits have changed: its age counts from now for what is there, and sizes that were not looked at
    /// count as nothing.
    pub fn limits_changed(&mut self, settings: &QueueSettings, now: u64) {
        if let Some(age) = settings.limits.message_ttl_ms {
            let expiry = self.expiry.get_or_insert_default();
            if !expiry.has_marks() {
                expiry.mark(0, now, age);
            }
        }
        if settings.limits.bytes_max.is_none() {
            self.sizes = None;
        }
    }

    /// Messages from `offset` on have just come: they do not expire before waiting receivers were offered them.
    pub fn note_fresh(&mut self, offset: u64) {
        if let Some(expiry) = &mut self.expiry {
            expiry.note_fresh(offset);
        }
    }

    /// Those who wait were offered what had just come.
    pub fn offered(&mut self) {
        if let Some(expiry) = &mut self.expiry {
            expiry.offered();
        }
    }

    /// Lets messages grow too old. Returns up to `max` that are ready and have to be removed, with their groups. With
    /// `reached` those whose last moment is now as well.
    pub fn too_old(
        &mut self,
        (now, reached): (u64, bool),
        settings: &QueueSettings,
        max: usize,
    ) -> Vec<(u64, MessageGroupId)> {
        let Some(expiry) = &mut self.expiry else {
            return Vec::new();
        };
        let over = expiry.pass((now, reached), settings.limits.message_ttl_ms, self.end);
        let before = expiry.before();
        let mut removing = self.groups.ready_before(before, max);
        for offset in over {
            let entry = self.entries.get(&offset);
            let group = match entry {
                // It is looked at again when it is ready.
                Some(entry) if entry.state != State::Ready => continue,
                Some(entry) => Some(entry.group),
                None => self.find_group(offset),
            };
            let known = offset < before;
            if let Some(group) = group.filter(|_| !known) {
                removing.push((offset, group));
            }
        }
        removing.sort_unstable();
        removing
    }

    /// The event that drops what is ready and older than the queue allows, if there is any.
    pub fn expire_event(&self) -> Option<QueueEvent> {
        let before = self.expiry.as_ref()?.before();
        if self.groups.ready_before(before, 1).is_empty() {
            return None;
        }
        let kept = self.entries.range(..before);
        let kept = kept.filter(|(_, entry)| entry.state != State::Ready);
        let kept = kept.map(|(offset, _)| *offset).collect();
        Some(QueueEvent::Cleared { before, kept })
    }

    /// Messages that came back and have failed more often than they may, with their groups: whichever consumer failed
    /// them, and whether they were given back or their time ran out.
    pub fn failed_too_often(&mut self, settings: &QueueSettings) -> Vec<(u64, MessageGroupId)> {
        let back = std::mem::take(&mut self.back);
        let Some(most) = settings.failures_max() else {
            return Vec::new();
        };
        let spent = |offset: u64| {
            let entry = self.entries.get(&offset)?;
            let is_back = matches!(entry.state, State::Ready | State::Waiting) && !entry.stay;
            let failed = entry.failed.saturating_add(u32::from(entry.open));
            (is_back && failed > most).then_some((offset, entry.group))
        };
        back.into_iter().filter_map(spent).collect()
    }

    /// Whether messages that are too old have not been removed yet.
    pub fn is_behind(&self, settings: &QueueSettings, now: u64) -> bool {
        let Some(expiry) = &self.expiry else {
            return false;
        };
        let age = settings.limits.message_ttl_ms;
        expiry.is_behind(now, age, self.end)
            || !self.groups.ready_before(expiry.before(), 1).is_empty()
    }

    /// Whether a queue that refuses what is too much refuses `more` messages of `bytes` together.
    pub fn is_full(&self, settings: &QueueSettings, (more, bytes): (u64, u64)) -> bool {
        let limits = &settings.limits;
        if limits.overflow == Overflow::DropOldest {
            // What is there already makes room.
            return false;
        }
        let ready = self.groups.ready();
        let sizes = self.sizes.as_ref().map_or(0, |sizes| sizes.ready());
        limits.messages_max.is_some_and(|max| ready + more > max)
            || limits.bytes_max.is_some_and(|max| sizes + bytes > max)
    }

    /// Up to `max` messages that are too many: of the lowest priority and oldest first, with their groups.
    pub fn too_many(&self, settings: &QueueSettings, max: usize) -> Vec<(u64, MessageGroupId)> {
        let limits = &settings.limits;
        if limits.overflow != Overflow::DropOldest {
            return Vec::new();
        }
        let over = limits
            .messages_max
            .map_or(0, |most| self.groups.ready().saturating_sub(most));
        let bytes = limits.bytes_max.map_or(0, |most| {
            let ready = self.sizes.as_ref().map_or(0, |sizes| sizes.ready());
            ready.saturating_sub(most)
        });
        if over == 0 && bytes == 0 {
            return Vec::new();
        }
        let (mut count, mut freed) = (0, 0);
        let mut removing = Vec::new();
        for (offset, group) in self.groups.least() {
            if (count >= over && freed >= bytes) || removing.len() >= max {
                break;
            }
            count += 1;
            freed += self
                .sizes
                .as_ref()
                .map_or(0, |sizes| u64::from(sizes.of(offset)));
            removing.push((offset, group));
        }
        removing
    }

    /// Messages with their groups, as far as they are ready.
    pub fn with_groups(&self, offsets: &[u64]) -> Vec<(u64, MessageGroupId)> {
        let with_group = |offset: &u64| Some((*offset, self.find_group(*offset)?));
        offsets.iter().filter_map(with_group).collect()
    }

    /// Messages reserved for removal that are still there.
    pub fn removing(&self) -> u64 {
        self.removing
    }

    pub(crate) fn encode_limits(&self, out: &mut Vec<u8>) {
        let (own, marks, before) = self
            .expiry
            .as_ref()
            .map_or_else(Default::default, |expiry| expiry.all());
        put(out, before);
        put(out, marks.len() as u64);
        for mark in marks {
            for value in [mark.offset, mark.first_ms, mark.last_ms] {
                put(out, value);
            }
        }
        put(out, own.len() as u64);
        for (offset, at) in own {
            put(out, offset);
            put(out, at);
        }
        let parts = self.sizes.as_ref().map_or(0, |sizes| sizes.parts());
        put(out, parts as u64);
        for (base, each) in self.sizes.iter().flat_map(|sizes| sizes.all()) {
            put(out, base);
            put(out, each.len() as u64);
            for size in each {
                put(out, u64::from(*size));
            }
        }
    }

    /// Reads it; in an old snapshot all sizes follow each other.
    pub(crate) fn decode_limits(
        &mut self,
        bytes: &mut Reader<'_>,
        old: bool,
    ) -> Result<(), Unreadable> {
        let before = bytes.number()?;
        let mut marks = Vec::new();
        for _ in 0..bytes.count()? {
            marks.push(Mark {
                offset: bytes.number()?,
                first_ms: bytes.number()?,
                last_ms: bytes.number()?,
            });
        }
        let mut own = Vec::new();
        for _ in 0..bytes.count()? {
            own.push((bytes.number()?, bytes.number()?));
        }
        if before > 0 || !marks.is_empty() || !own.is_empty() {
            self.expiry = Some(Box::new(Expiry::restored(own, marks, before)));
        }
        let parts = if old { 1 } else { bytes.count()? };
        for _ in 0..parts {
            let base = bytes.number()?;
            let count = bytes.count()?;
            for offset in (base..).take(count) {
                let sizes = self.sizes.get_or_insert_default();
                sizes.push(offset, bytes.small()?);
            }
        }
        Ok(())
    }
}
