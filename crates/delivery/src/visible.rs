//! Which messages of a queue partition can be read by offset: those that are not done, and those kept for replay. What
//! was acknowledged, and is not kept, nobody reads any more.

use crate::entry::State;
use crate::event::QueueEvent;
use crate::event::put;
use crate::kept::Kept;
use crate::queue_partition::QueuePartition;
use crate::settings::QueueSettings;

/// Runs in one event.
const EVENT_RUNS_MAX: usize = 1 << 16;

impl QueuePartition {
    /// The lowest offset that can be read; the end when there is none.
    pub fn lowest_visible(&self) -> u64 {
        let kept = self.kept.as_ref().and_then(|kept| kept.lowest());
        let oldest = self.oldest();
        kept.map_or(oldest, |kept| kept.min(oldest))
    }

    /// How many messages can be read.
    pub fn visible_count(&self) -> u64 {
        let counts = self.counts();
        let kept = self.kept.as_ref().map_or(0, |kept| kept.count());
        let held = counts.ready + counts.leased + counts.waiting + counts.removing;
        held + counts.unreadable + kept
    }

    /// The lowest offset from `from` on that can be read.
    pub fn first_visible(&self, from: u64) -> Option<u64> {
        let touched = self.entries.range(from..).next().map(|(offset, _)| *offset);
        let groups = self.groups.iter();
        let untouched = groups
            .filter_map(|(_, group)| group.first_plain(from))
            .min();
        let kept = self.kept.as_ref().and_then(|kept| kept.first(from));
        let unreadable = self.unreadable.from(from);
        let all = touched.into_iter().chain(untouched).chain(kept);
        all.chain(unreadable).min()
    }

    /// What can be read of a range, as first offset and end of each run; in no order, and neighbours apart.
    pub fn visible_within(&self, (from, upto): (u64, u64), runs: &mut Vec<(u64, u64)>) {
        let touched = self.entries.range(from..upto);
        runs.extend(touched.map(|(offset, _)| (*offset, offset + 1)));
        for (_, group) in self.groups.iter() {
            let plain = group
                .returned()
                .filter(|offset| (from..upto).contains(offset));
            runs.extend(plain.map(|offset| (offset, offset + 1)));
            let untouched = group.untouched().runs();
            let untouched = untouched.skip_while(|(start, len)| start + len <= from);
            let untouched = untouched.take_while(|(start, _)| *start < upto);
            let clipped = |(start, len): (u64, u64)| (start.max(from), (start + len).min(upto));
            runs.extend(untouched.map(clipped));
        }
        runs.extend(self.unreadable.within(from, upto));
        if let Some(kept) = &self.kept {
            runs.extend(kept.within(from, upto));
        }
    }

    /// Takes note of what an event that was appended at `at` means for what is kept for replay.
    pub fn note_kept(&mut self, event: &QueueEvent, at: u64, settings: &QueueSettings) {
        let keep_ms = settings.replay_ms;
        match event {
            QueueEvent::Acked { offsets } if keep_ms > 0 => {
                let kept = self.kept.get_or_insert_default();
                for offset in offsets {
                    kept.add(*offset, at, keep_ms);
                }
            }
            QueueEvent::Trimmed { before }
            | QueueEvent::Purged { before }
            | QueueEvent::Unkept { before } => self.forget_kept(0, *before),
            QueueEvent::Revived { runs } => {
                for (start, len) in runs {
                    self.forget_kept(*start, start.saturating_add(*len));
                }
            }
            QueueEvent::Replayed { from, upto, .. } => self.forget_kept(*from, *upto),
            _ => {}
        }
    }

    /// Nothing that was replayed is left once all of it is done.
    pub fn forget_revived(&mut self) {
        if self.oldest() >= self.revived {
            self.revived = 0;
        }
    }

    pub(crate) fn forget_kept(&mut self, from: u64, upto: u64) {
        if let Some(kept) = &mut self.kept {
            kept.remove(from, upto);
            self.kept = self.kept.take().filter(|kept| kept.count() > 0);
        }
    }

    /// Gives up what was kept for replay for long enough.
    pub fn expire_kept(&mut self, now: u64, settings: &QueueSettings) {
        if let Some(kept) = &mut self.kept {
            kept.expire(now, settings.replay_ms);
            self.kept = self.kept.take().filter(|kept| kept.count() > 0);
        }
    }

    /// When something kept for replay is given up next, ms.
    pub(crate) fn kept_due(&self, settings: &QueueSettings) -> Option<u64> {
        self.kept.as_ref()?.next_due(settings.replay_ms)
    }

    /// The events that make everything ready again that is kept for replay, from `from` on; and how many messages that
    /// is.
    pub fn revive_events(&self, from: u64) -> (Vec<QueueEvent>, u64) {
        let kept = self.kept.iter();
        let runs = kept.flat_map(|kept| kept.within(from, self.end));
        let mut runs: Vec<(u64, u64)> = runs.map(|(start, end)| (start, end - start)).collect();
        runs.sort_unstable();
        let count = runs.iter().map(|(_, len)| len).sum();
        let events = runs.chunks(EVENT_RUNS_MAX);
        let events = events.map(|runs| QueueEvent::Revived {
            runs: runs.to_vec(),
        });
        (events.collect(), count)
    }

    /// Messages of these runs, none of which is here, are ready again as if they had just come.
    pub fn revive(&mut self, runs: &[(u64, u64)]) {
        let mut fresh = Vec::with_capacity(runs.len());
        for (start, len) in runs {
            // Nothing is ever here twice, whatever an event says.
            let end = start.saturating_add(*len).min(self.end);
            let mut at = *start;
            let here = self.entries.range(*start..end.max(*start));
            for offset in here.map(|(offset, _)| *offset).chain([end]) {
                if at < offset {
                    fresh.push((at, offset - at));
                }
                at = offset + 1;
            }
        }
        let end = fresh.last().map_or(0, |(start, len)| start + len);
        self.revived = self.revived.max(end);
        let group = self.groups.group(0, None, false);
        self.groups.revive(group, &fresh);
    }

    /// The event that drops what is ready and older than its queue keeps messages: everything before `before`. Nothing
    /// goes where something was replayed, which is as if it had just come: the log gives it up in the end.
    pub fn outdate_event(&self, before: u64) -> Option<QueueEvent> {
        if self.revived > 0 || self.groups.ready_before(before, 1).is_empty() {
            return None;
        }
        let held = self.entries.range(..before);
        let held = held.filter(|(_, entry)| entry.state != State::Ready);
        Some(QueueEvent::Cleared {
            before,
            kept: held.map(|(offset, _)| *offset).collect(),
        })
    }

    pub(crate) fn encode_kept(&self, out: &mut Vec<u8>) {
        let none = Kept::default();
        self.kept.as_deref().unwrap_or(&none).encode(out);
        put(out, self.revived);
    }
}
