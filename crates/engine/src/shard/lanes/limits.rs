//! Enforcing a lane's limits: messages that are too old die, and so do those that are too many.

use std::sync::Arc;

use super::OwnedLane;
use crate::queue::lane::LineId;
use crate::queue::{DeathReason, LaneAt};
use crate::shard::Shard;

/// Messages of one lane that are on their way out at once, at most.
const LEAVING_MAX: usize = 1024;

impl Shard {
    /// Has messages die whose time is over: before now or, where `reached`, now. Returns whether there are none left.
    pub(super) fn enforce_age(&mut self, at: LaneAt, moment: (u64, bool)) -> bool {
        let Some(owned) = self.partitions.lane(at) else {
            return true;
        };
        let queue = Arc::clone(&owned.queue);
        let settings = queue.settings();
        if !settings.keeps_dead() {
            let over = owned.lane.too_old(moment, settings, 0);
            if let Some(event) = owned.lane.expire_event() {
                owned.change(event, None);
            }
            self.leave(at, &over, DeathReason::Expired);
            return true;
        }
        while let Some(owned) = self.partitions.lane(at)
            && let Some(room) = room(owned, moment.0)
        {
            let dying = owned.lane.too_old(moment, settings, room);
            if dying.is_empty() {
                return true;
            }
            self.leave(at, &dying, DeathReason::Expired);
        }
        let owned = self.partitions.lane(at);
        owned.is_none_or(|owned| !owned.lane.is_behind(settings, moment.0))
    }

    /// Has messages die that failed too often, and then those that are too many: what came back counts.
    pub(super) fn enforce_counts(&mut self, at: LaneAt, now: u64) {
        self.enforce_failures(at);
        self.enforce_length(at, now);
    }

    /// Has messages die that failed too often.
    pub(super) fn enforce_failures(&mut self, at: LaneAt) {
        if let Some(owned) = self.partitions.lane(at) {
            let dying = owned.lane.failed_too_often(owned.queue.settings());
            self.leave(at, &dying, DeathReason::DeliveryLimit);
        }
    }

    /// Has messages die that are too many: those that nobody waits for.
    pub(super) fn enforce_length(&mut self, at: LaneAt, now: u64) {
        let lane = self.partitions.lane(at);
        if lane.is_some_and(|owned| owned.queue.settings().limits.is_length_limited()) {
            self.offer_fresh(at, now);
        }
        while let Some(owned) = self.partitions.lane(at)
            && let Some(room) = room(owned, now)
        {
            let dying = owned.lane.too_many(owned.queue.settings(), room);
            if dying.is_empty() {
                return;
            }
            self.leave(at, &dying, DeathReason::Overflow);
        }
    }

    /// Offers what has just come to who waits for it, before anyone else asks for it or counts it.
    pub(super) fn offer_fresh(&mut self, at: LaneAt, now: u64) {
        let lane = self.partitions.lane(at);
        if lane.is_some_and(|owned| std::mem::take(&mut owned.unoffered))
            && self.enforce_age(at, (now, false))
        {
            self.serve(at, now);
        }
    }

    /// Messages were let in although the queue is full, only to be dead-lettered.
    pub(in crate::shard) fn refuse_to_dead_letter(&mut self, at: LaneAt, refused: &[u64]) {
        if let Some(owned) = self.partitions.lane(at).filter(|_| !refused.is_empty()) {
            let dying = owned.lane.with_lines(refused);
            self.leave(at, &dying, DeathReason::Overflow);
        }
    }

    fn leave(&mut self, at: LaneAt, dying: &[(u64, LineId)], reason: DeathReason) {
        if dying.is_empty() {
            return;
        }
        if let Some(owned) = self.partitions.lane(at) {
            // Also those that never had an entry.
            owned.lane.set_aside_picked(dying);
        }
        let dying = dying.iter().map(|(offset, _)| (*offset, reason)).collect();
        self.die(at, dying);
    }
}

/// How many more messages may be on their way out.
fn room(owned: &OwnedLane, now: u64) -> Option<usize> {
    if now < owned.patient_until {
        return None;
    }
    let leaving = usize::try_from(owned.lane.leaving()).unwrap_or(usize::MAX);
    LEAVING_MAX.checked_sub(leaving).filter(|room| *room > 0)
}
