//! A lane with its two logs, and a clock the test sets.

use std::collections::BTreeSet;

use storage::Batch;
use storage::batch::BatchBuilder;

use crate::queue::lane::{
    Arrival, Came, DEDUP, DUE, EXPIRES, Lane, LaneEvent, LineId, Outcome, PRIORITY, Picked,
    Receiving,
};
use crate::queue::{Ordering, QueueSettings, Settle, Settled};
use crate::time::Moment;

pub(super) const START: u64 = 1_780_000_000_000;

/// A message to index.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) key: Option<&'static str>,
    pub(super) delay: u64,
    pub(super) dedup: Option<String>,
    pub(super) priority: u8,
    /// How long after it can be lent for the first time it dies, ms.
    pub(super) ttl: Option<u64>,
}

pub(super) struct Stage {
    pub(super) lane: Lane,
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
            lane: Lane::new(0),
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
        let base = self.lane.end();
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
        self.lane.index(
            (&batch, None),
            &self.settings,
            Arrival::Now(Moment::both(self.now)),
        );
        self.records.push(batch);
        self.lane.tick(self.now);
        base
    }

    /// Sends one message of a key.
    pub(super) fn send_key(&mut self, key: &'static str) -> u64 {
        self.send(&[Message {
            key: Some(key),
            ..Message::default()
        }])
    }

    /// Lends up to `max`; returns offsets and loan number.
    pub(super) fn receive(&mut self, max: usize, lease_ms: u64) -> (Vec<u64>, u64) {
        let (taken, loan, dying) = self.receive_as(max, lease_ms, None);
        assert_eq!(dying, [0_u64; 0]);
        (taken, loan)
    }

    pub(super) fn receive_as(
        &mut self,
        max: usize,
        lease_ms: u64,
        attempt: Option<&str>,
    ) -> (Vec<u64>, u64, Vec<u64>) {
        self.lane.tick(self.now);
        let picked = self.lane.pick(max, &self.settings, self.now);
        let Picked { lend, dying } = &picked;
        let offsets: Vec<u64> = lend.iter().map(|(offset, _)| *offset).collect();
        let mut loan = 0;
        if !lend.is_empty() {
            let spec = Receiving { lease_ms, attempt };
            let event = self.lane.lend_event(&picked, &spec, self.now);
            if let LaneEvent::Lent { loan: number, .. } = &event {
                loan = *number;
            }
            let lines: Vec<LineId> = lend.iter().map(|(_, line)| *line).collect();
            self.apply(&event, Some(&lines));
            self.lane.tick(self.now);
        }
        self.lane.set_aside(dying);
        (offsets, loan, dying.clone())
    }

    /// Lends up to `max` without a deadline; returns offsets, loan number, and what must not be lent any more.
    pub(super) fn borrow(&mut self, max: usize) -> (Vec<u64>, u64, Vec<u64>) {
        self.lane.tick(self.now);
        let picked = self.lane.pick(max, &self.settings, self.now);
        let loans = if picked.lend.is_empty() {
            Vec::new()
        } else {
            self.lane.lend_untimed(&picked.lend, self.now)
        };
        self.lane.set_aside(&picked.dying);
        let loan = loans.first().map_or(0, |loan| loan.number);
        let offsets = loans.iter().map(|loan| loan.offset).collect();
        (offsets, loan, picked.dying)
    }

    /// Says what becomes of a message on loan without a deadline.
    pub(super) fn outcome(&mut self, at: (u64, u64), outcome: Outcome) -> Came {
        self.lane.tick(self.now);
        let decided = (self.now, 1.0);
        let came = self.lane.outcome(at, outcome, &self.settings, decided);
        let offsets = vec![at.0];
        match &came {
            Came::Stale => {}
            Came::Undone => self.lane.undo(at.0, at.1),
            Came::Back(event) => self.apply(event, None),
            Came::Done | Came::Dies(_) => self.apply(&LaneEvent::Acked { offsets }, None),
        }
        came
    }

    /// Has messages die that failed too often; returns them.
    pub(super) fn spend(&mut self) -> Vec<u64> {
        let spent = self.lane.failed_too_often(&self.settings);
        self.leave(&spent);
        spent.into_iter().map(|(offset, _)| offset).collect()
    }

    /// Has messages die that are too old, and those that are too many; returns them.
    pub(super) fn enforce(&mut self) -> (Vec<u64>, Vec<u64>) {
        let before = self.held();
        let moment = (self.now, true);
        let old = self.lane.too_old(moment, &self.settings, 0);
        if let Some(event) = self.lane.expire_event() {
            self.apply(&event, None);
        }
        self.leave(&old);
        let after = self.held();
        let old = before.difference(&after).copied().collect();
        let many = self.lane.too_many(&self.settings, usize::MAX);
        self.leave(&many);
        (old, many.into_iter().map(|(offset, _)| offset).collect())
    }

    fn held(&self) -> BTreeSet<u64> {
        let held = self.lane.held_from(0, usize::MAX);
        held.iter().map(|loan| loan.offset).collect()
    }

    fn leave(&mut self, dying: &[(u64, LineId)]) {
        self.lane.set_aside_picked(dying);
        let mut offsets: Vec<u64> = dying.iter().map(|(offset, _)| *offset).collect();
        offsets.sort_unstable();
        if !offsets.is_empty() {
            self.apply(&LaneEvent::Acked { offsets }, None);
        }
    }

    pub(super) fn settle(&mut self, at: (u64, u64), settle: Settle) -> Settled {
        self.lane.tick(self.now);
        let (settled, event) = self
            .lane
            .settle(at, settle, &self.settings, (self.now, 1.0));
        if let Some(event) = event {
            self.lane.settled(at.0, self.now);
            self.apply(&event, None);
        }
        settled
    }

    pub(super) fn apply(&mut self, event: &LaneEvent, lines: Option<&[LineId]>) {
        self.lane.apply(event, lines);
        self.lane.note_kept(event, self.now, &self.settings);
        self.events.push((event.encode(), self.now));
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.lane.tick(self.now);
    }

    pub(super) fn take_snapshot(&mut self) {
        let mut whole = Vec::new();
        for event in self.lane.snapshot() {
            // Through its bytes, as everything that is kept.
            let LaneEvent::Snapshot { bytes, .. } = LaneEvent::decode(&event.encode()).unwrap()
            else {
                unreachable!()
            };
            whole.extend(bytes);
        }
        self.snapshot = Some(whole);
        self.snapshot_end = self.lane.end();
        self.events.clear();
    }

    /// Lets the log forget what the lane is done with, as its owner would.
    pub(super) fn forget(&mut self) {
        let ids = self.lane.dedup_ids() > 0;
        let most = if ids { self.snapshot_end } else { u64::MAX };
        self.start = self.start.max(self.lane.lowest_visible().min(most));
        let start = self.start;
        self.records
            .retain(|batch| batch.header.next_offset() > start);
    }

    /// Folds the lane out of its logs again.
    pub(super) fn restart(&mut self) {
        let window = self.settings.dedup_window_ms;
        let mut lane = self.snapshot.as_ref().map_or_else(
            || Lane::new(self.start),
            |bytes| Lane::decode(bytes, window).unwrap(),
        );
        lane.start_restoring();
        lane.skip_to(self.start);
        // Both clocks of a test are one: stamps say what they said, also when it was set back since.
        let told = Arrival::Before(Moment::both(u64::MAX / 2));
        for batch in &self.records {
            lane.index((batch, None), &self.settings, told);
        }
        for (event, at) in &self.events {
            let event = LaneEvent::decode(event).unwrap();
            lane.apply(&event, None);
            lane.note_kept(&event, *at, &self.settings);
        }
        lane.restored(self.start, &self.settings, self.now);
        lane.stop_restoring();
        lane.tick(self.now);
        self.lane = lane;
    }
}
