//! What is due when.

use super::Turn;
use crate::live::{JoinTimer, Live};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Session(String),
    Pending(String),
    Join,
    Sync,
    Check,
}

/// When something is due next.
pub(crate) fn next_deadline(live: &Live) -> Option<u64> {
    let sessions = live
        .members
        .values()
        .filter_map(|member| member.session_deadline);
    let pending = live.pending.values().copied();
    let join = live.join_timer.map(JoinTimer::at);
    let single = [join, live.sync_deadline, live.check_at]
        .into_iter()
        .flatten();
    sessions.chain(pending).chain(single).min()
}

impl Turn<'_> {
    /// Does what is due, earliest first. Every deadline met is cleared or moved into the future,
    /// except for one repetition of an initial delay of zero; so this ends.
    pub(crate) fn tick(&mut self) {
        while next_deadline(self.live).is_some_and(|at| at <= self.now) {
            for due in self.due() {
                self.fire(due);
            }
        }
    }

    /// All that is due now, in order. Firing one may settle another, so each looks again.
    fn due(&self) -> Vec<Due> {
        let live = &self.live;
        let sessions = live
            .members
            .iter()
            .filter_map(|(id, member)| Some((member.session_deadline?, Due::Session(id.clone()))));
        let pending = live
            .pending
            .iter()
            .map(|(id, at)| (*at, Due::Pending(id.clone())));
        let join = live.join_timer.map(|timer| (timer.at(), Due::Join));
        let sync = live.sync_deadline.map(|at| (at, Due::Sync));
        let check = live.check_at.map(|at| (at, Due::Check));
        let single = [join, sync, check].into_iter().flatten();
        let all = sessions.chain(pending).chain(single);
        let mut due: Vec<_> = all.filter(|(at, _)| *at <= self.now).collect();
        due.sort();
        due.into_iter().map(|(_, due)| due).collect()
    }

    fn fire(&mut self, due: Due) {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= self.now);
        match due {
            Due::Session(id) => {
                if is_due(
                    self.live
                        .members
                        .get(&id)
                        .and_then(|member| member.session_deadline),
                ) {
                    self.session_ended(&id);
                }
            }
            Due::Pending(id) => {
                if is_due(self.live.pending.get(&id).copied()) {
                    self.pending_ended(&id);
                }
            }
            Due::Join => {
                if is_due(self.live.join_timer.map(JoinTimer::at)) {
                    self.join_timer_fired();
                }
            }
            Due::Sync => {
                if is_due(self.live.sync_deadline) {
                    self.sync_timer_fired();
                }
            }
            Due::Check => {
                if is_due(self.live.check_at) {
                    self.check_offsets();
                }
            }
        }
    }
}
