//! Enforcing a queue partition's limits: messages that are too old are removed, and so are those that are too many.

use std::sync::Arc;

use delivery::MessageGroupId;
use uuid::Uuid;

use super::OwnedQueuePartition;
use crate::owner::round::Round;
use crate::queue::{DeadLetterCause, DeadLetterReason};

/// Messages of one queue partition that are on their way out at once, at most.
const REMOVING_MAX: usize = 1024;

impl Round<'_> {
    /// Removes messages whose time is over: before now or, where `reached`, now. Returns whether there are none left.
    pub(in crate::owner) fn enforce_age(&mut self, queue: Uuid, moment: (u64, bool)) -> bool {
        let Some(owned) = self.queue_partition(queue) else {
            return true;
        };
        let known = Arc::clone(&owned.queue);
        let settings = known.settings();
        if !settings.keeps_dead() {
            let over = owned.state.too_old(moment, settings, 0);
            if let Some(event) = owned.state.expire_event() {
                owned.change(event, None);
            }
            self.send_away(queue, &over, DeadLetterReason::Expired);
            return true;
        }
        while let Some(owned) = self.queue_partition(queue)
            && let Some(room) = room(owned, moment.0)
        {
            let removing = owned.state.too_old(moment, settings, room);
            if removing.is_empty() {
                return true;
            }
            self.send_away(queue, &removing, DeadLetterReason::Expired);
        }
        let owned = self.queue_partition(queue);
        owned.is_none_or(|owned| !owned.state.is_behind(settings, moment.0))
    }

    /// Removes messages that failed too often, and then those that are too many: what came back counts.
    pub(in crate::owner) fn enforce_counts(&mut self, queue: Uuid) {
        self.enforce_failures(queue);
        self.enforce_length(queue);
    }

    /// Removes messages that failed too often.
    pub(in crate::owner) fn enforce_failures(&mut self, queue: Uuid) {
        if let Some(owned) = self.queue_partition(queue) {
            let removing = owned.state.failed_too_often(owned.queue.settings());
            self.send_away(queue, &removing, DeadLetterReason::DeliveryLimit);
        }
    }

    /// Removes messages that are too many: those that no receiver waits for.
    fn enforce_length(&mut self, queue: Uuid) {
        let now = self.now.now;
        let queue_partition = self.queue_partition(queue);
        if queue_partition.is_some_and(|owned| owned.queue.settings().limits.is_length_limited()) {
            self.offer_fresh(queue);
        }
        while let Some(owned) = self.queue_partition(queue)
            && let Some(room) = room(owned, now)
        {
            let removing = owned.state.too_many(owned.queue.settings(), room);
            if removing.is_empty() {
                return;
            }
            self.send_away(queue, &removing, DeadLetterReason::Overflow);
        }
    }

    /// Offers what has just come to who waits for it, before anyone else asks for it or counts it.
    pub(super) fn offer_fresh(&mut self, queue: Uuid) {
        let now = self.now.now;
        let queue_partition = self.queue_partition(queue);
        if queue_partition.is_some_and(|owned| std::mem::take(&mut owned.unoffered))
            && self.enforce_age(queue, (now, false))
        {
            self.serve(queue);
        }
    }

    /// Messages were let in although the queue is full, only to be dead-lettered.
    pub(crate) fn refuse_to_dead_letter(&mut self, queue: Uuid, refused: &[u64]) {
        if let Some(owned) = self.queue_partition(queue).filter(|_| !refused.is_empty()) {
            let removing = owned.state.with_groups(refused);
            self.send_away(queue, &removing, DeadLetterReason::Overflow);
        }
    }

    fn send_away(
        &mut self,
        queue: Uuid,
        removing: &[(u64, MessageGroupId)],
        reason: DeadLetterReason,
    ) {
        let cause = DeadLetterCause::from(reason);
        if removing.is_empty() {
            return;
        }
        if let Some(owned) = self.queue_partition(queue) {
            // Also those that never had an entry.
            owned.state.reserve_picked(removing);
        }
        let removing = removing
            .iter()
            .map(|(offset, _)| (*offset, cause.clone()))
            .collect();
        self.remove_messages(queue, removing);
    }
}

/// How many more messages may be on their way out.
fn room(owned: &OwnedQueuePartition, now: u64) -> Option<usize> {
    if now < owned.patient_until {
        return None;
    }
    let removing = usize::try_from(owned.state.removing()).unwrap_or(usize::MAX);
    REMOVING_MAX.checked_sub(removing).filter(|room| *room > 0)
}
