//! A queue partition with its two logs, and a clock the test sets.

use std::collections::BTreeSet;

use storage::Batch;
use storage::batch::BatchBuilder;

use crate::arrival::Arrival;
use crate::decide::Picked;
use crate::decide::Receiving;
use crate::event::QueueEvent;
use crate::message_group::MessageGroupId;
use crate::moment::Moment;
use crate::queue_partition::QueuePartition;
use crate::reserved::{DEDUP, DUE, EXPIRES, PRIORITY};
use crate::settings::{Ordering, QueueSettings};
use crate::settle::Decided;
use crate::settlement::{FailureClass, Settled, Settlement};

pub(super) const START: u64 = 1_780_000_000_000;

/// A message to index.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) key: Option<&'static str>,
    pub(super) delay: u64,
    pub(super) dedup: Option<String>,
    pub(super) priority: u8,
    /// How long after it can be leased for the first time it expires, ms.
    pub(super) ttl: Option<u64>,
}

pub(super) struct Stage {
    pub(super) state: QueuePartition,
    pub(super) settings: QueueSettings,
    pub(super) now: u64,
    records: Vec<Batch>,
    /// With the time each was appended.
    pub(super) events: Vec<(Vec<u8>, u64)>,
    snapshot: Option<Vec<u8>>,
    /// Records before this are accounted for by the snapshot.
    snapshot_end: u64,
    /// Records before this are not in the log any more.
    pub(super) start: u64,
}

impl Stage {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self {
            state: QueuePartition::new(0),
            settings,
            now: START,
            records: Vec::new(),
            events: Vec::new(),
            snapshot: None,
            snapshot_end: 0,
            start: 0,
        }
    }

    pub(super) fn ordered() -> Self {
        Self::new(QueueSettings {
            ordering: Ordering::Key,
            ..QueueSettings::default()
        })
    }

    /// Appends messages in one batch; returns the first offset.
    pub(super) fn send(&mut self, messages: &[Message]) -> u64 {
        let base = self.state.end();
        let mut builder = BatchBuilder::new(self.now.cast_signed()).made_here();
        for message in messages {
            let due = (self.now + message.delay).to_be_bytes();
            let priority = [message.priority];
            let in_order = self.settings.ordering == Ordering::Key;
            let delay = if in_order {
                self.settings.delay_ms
            } else {
                message.delay
            };
            let expires = message.ttl.map(|ttl| self.now + delay + ttl);
            let expires = expires.map(u64::to_be_bytes);
            let headers = [
                expires.as_ref().map(|at| (EXPIRES, &at[..])),
                (message.delay > 0).then_some((DUE, &due[..])),
                message.dedup.as_ref().map(|id| (DEDUP, id.as_bytes())),
                (message.priority > 0).then_some((PRIORITY, &priority[..])),
            ];
            let headers: Vec<_> = headers
                .into_iter()
                .flatten()
                .map(|(name, value)| (name, Some(value)))
                .collect();
            let key = message.key.map(str::as_bytes);
            let time = self.now.cast_signed();
            builder.push_record(time, key, Some(b"x"), headers.iter().copied());
        }
        let batch = builder.build().placed(base, 0, None);
        self.state.index(
            (&batch, None),
            &self.settings,
            Arrival::Now(Moment::both(self.now)),
        );
        self.records.push(batch);
        self.state.tick(self.now);
        base
    }

    /// Sends one message of a key.
    pub(super) fn send_key(&mut self, key: &'static str) -> u64 {
        self.send(&[Message {
            key: Some(key),
            ..Message::default()
        }])
    }

    /// Leases up to `max`; returns offsets and lease number.
    pub(super) fn receive(&mut self, max: usize, lease_ms: u64) -> (Vec<u64>, u64) {
        let (taken, lease, removing) = self.receive_as(max, lease_ms, None);
        assert_eq!(removing, [0_u64; 0]);
        (taken, lease)
    }

    pub(super) fn receive_as(
        &mut self,
        max: usize,
        lease_ms: u64,
        attempt: Option<&str>,
    ) -> (Vec<u64>, u64, Vec<u64>) {
        self.state.tick(self.now);
        let picked = self.state.pick(max, &self.settings, self.now);
        let Picked { leases, removing } = &picked;
        let offsets: Vec<u64> = leases.iter().map(|(offset, _)| *offset).collect();
        let mut lease = 0;
        if !leases.is_empty() {
            let spec = Receiving { lease_ms, attempt };
            let event = self.state.lease_event(&picked, &spec, self.now);
            if let QueueEvent::Leased { lease: number, .. } = &event {
                lease = *number;
            }
            let groups: Vec<MessageGroupId> = leases.iter().map(|(_, group)| *group).collect();
            self.apply(&event, Some(&groups));
            self.state.tick(self.now);
        }
        self.state.reserve_for_removal(removing);
        (offsets, lease, removing.clone())
    }

    /// Leases up to `max` without a deadline; returns offsets, lease number, and what must not be leased any more.
    pub(super) fn lease_untimed(&mut self, max: usize) -> (Vec<u64>, u64, Vec<u64>) {
        self.state.tick(self.now);
        let picked = self.state.pick(max, &self.settings, self.now);
        let leases = if picked.leases.is_empty() {
            Vec::new()
        } else {
            self.state.acquire_untimed(&picked.leases, self.now)
        };
        self.state.reserve_for_removal(&picked.removing);
        let lease = leases.first().map_or(0, |lease| lease.number);
        let offsets = leases.iter().map(|lease| lease.offset).collect();
        (offsets, lease, picked.removing)
    }

    /// Removes messages that failed too often; returns them.
    pub(super) fn spend(&mut self) -> Vec<u64> {
        let spent = self.state.failed_too_often(&self.settings);
        self.leave(&spent);
        spent.into_iter().map(|(offset, _)| offset).collect()
    }

    /// Removes messages that are too old, and those that are too many; returns them.
    pub(super) fn enforce(&mut self) -> (Vec<u64>, Vec<u64>) {
        let before = self.held();
        let moment = (self.now, true);
        let old = self.state.too_old(moment, &self.settings, 0);
        if let Some(event) = self.state.expire_event() {
            self.apply(&event, None);
        }
        self.leave(&old);
        let after = self.held();
        let old = before.difference(&after).copied().collect();
        let many = self.state.too_many(&self.settings, usize::MAX);
        self.leave(&many);
        (old, many.into_iter().map(|(offset, _)| offset).collect())
    }

    fn held(&self) -> BTreeSet<u64> {
        let held = self.state.held_from(0, usize::MAX);
        held.iter().map(|lease| lease.offset).collect()
    }

    fn leave(&mut self, removing: &[(u64, MessageGroupId)]) {
        self.state.reserve_picked(removing);
        let mut offsets: Vec<u64> = removing.iter().map(|(offset, _)| *offset).collect();
        offsets.sort_unstable();
        if !offsets.is_empty() {
            self.apply(&QueueEvent::Acked { offsets }, None);
        }
    }

    /// Says what becomes of a message in flight.
    pub(super) fn settle(&mut self, at: (u64, u64), settlement: &Settlement) -> Settled {
        self.state.tick(self.now);
        let decided = (self.now, 1.0);
        let decided = self.state.decide(at, settlement, &self.settings, decided);
        let offsets = vec![at.0];
        match decided {
            Decided::Refused(why) => why,
            Decided::Undone => {
                self.state.undo(at.0, at.1);
                Settled::Done
            }
            Decided::Acked(settled) => {
                self.state.settled(at.0, self.now);
                self.apply(&QueueEvent::Acked { offsets }, None);
                settled
            }
            Decided::Removed(_) => {
                self.apply(&QueueEvent::Acked { offsets }, None);
                Settled::Done
            }
            Decided::Changed(event) => {
                if !matches!(settlement, Settlement::Undo | Settlement::Extend(_)) {
                    self.state.settled(at.0, self.now);
                }
                self.apply(&event, None);
                Settled::Done
            }
        }
    }

    pub(super) fn apply(&mut self, event: &QueueEvent, groups: Option<&[MessageGroupId]>) {
        self.state.apply(event, groups);
        self.state.note_kept(event, self.now, &self.settings);
        self.events.push((event.encode(), self.now));
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.state.tick(self.now);
    }

    pub(super) fn take_snapshot(&mut self) {
        let mut whole = Vec::new();
        for event in self.state.snapshot() {
            // Through its bytes, as everything that is kept.
            let QueueEvent::Snapshot { bytes, .. } = QueueEvent::decode(&event.encode()).unwrap()
            else {
                unreachable!()
            };
            whole.extend(bytes);
        }
        self.snapshot = Some(whole);
        self.snapshot_end = self.state.end();
        self.events.clear();
    }

    /// Lets the log forget what the queue partition is done with, as its owner would.
    pub(super) fn forget(&mut self) {
        let ids = self.state.dedup_ids() > 0;
        let most = if ids { self.snapshot_end } else { u64::MAX };
        self.start = self.start.max(self.state.lowest_visible().min(most));
        let start = self.start;
        self.records
            .retain(|batch| batch.header.next_offset() > start);
    }

    /// Folds the queue partition out of its logs again.
    pub(super) fn restart(&mut self) {
        let window = self.settings.dedup_window_ms;
        let mut queue_partition = self.snapshot.as_ref().map_or_else(
            || QueuePartition::new(self.start),
            |bytes| QueuePartition::decode(bytes, window).unwrap(),
        );
        queue_partition.start_restoring();
        queue_partition.skip_to(self.start);
        // Both clocks of a test are one: stamps say what they said, also when it was set back since.
        let arrival = Arrival::Before(Moment::both(u64::MAX / 2));
        for batch in &self.records {
            queue_partition.index((batch, None), &self.settings, arrival);
        }
        for (event, at) in &self.events {
            let event = QueueEvent::decode(event).unwrap();
            queue_partition.apply(&event, None);
            queue_partition.note_kept(&event, *at, &self.settings);
        }
        queue_partition.restored(self.start, &self.settings, self.now);
        queue_partition.stop_restoring();
        queue_partition.tick(self.now);
        self.state = queue_partition;
    }
}

/// Given back as failed, ready again after so long, ms.
pub(super) fn released(delay: u64) -> Settlement {
    Settlement::Release {
        delay: Some(delay),
        class: Some(FailureClass::Transient),
    }
}
