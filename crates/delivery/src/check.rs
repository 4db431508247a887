//! What must be true of a queue partition at any time, whatever has happened to it.

use std::collections::BTreeMap;

use crate::ensure::ensure;
use crate::entry::State;
use crate::message_group::MessageGroupId;
use crate::queue_partition::QueuePartition;

/// What of one group is counted in its entries.
#[derive(Default)]
struct Tally {
    leased: u32,
    delayed: u64,
}

impl QueuePartition {
    /// Whether its counts, schedules and groups agree with its entries; what does not, in words. Takes as long as going
    /// through all of it. For tests, and for a start, which must not go on with a state that contradicts itself.
    pub fn check(&self) -> Result<(), String> {
        let tallies = self.check_entries()?;
        for &(due, offset) in &self.due {
            let entry = self.entries.get(&offset);
            let is_due = entry.is_some_and(|e| e.due == due && e.state != State::Ready);
            ensure(is_due, || format!("nothing of {offset} is due at {due}"))?;
        }
        for (id, group) in self.groups.iter() {
            let tally = tallies.get(&id);
            let (leased, delayed) = tally.map_or((0, 0), |tally| (tally.leased, tally.delayed));
            let touched = group.touched();
            ensure(touched.leased == leased, || {
                format!("group {id} counts {} leased, not {leased}", touched.leased)
            })?;
            ensure(touched.delayed == delayed, || {
                format!(
                    "group {id} counts {} delayed, not {delayed}",
                    touched.delayed
                )
            })?;
        }
        self.groups.check()
    }

    /// Entries against what is counted of them; returns the same by group.
    fn check_entries(&self) -> Result<BTreeMap<MessageGroupId, Tally>, String> {
        let (mut leased, mut waiting, mut removing) = (0, 0, 0);
        let mut tallies: BTreeMap<MessageGroupId, Tally> = BTreeMap::new();
        for (offset, entry) in &self.entries {
            ensure(*offset < self.end, || format!("{offset} is behind the end"))?;
            ensure(self.groups.exists(entry.group), || {
                format!("{offset} is of a group that does not exist")
            })?;
            let tally = tallies.entry(entry.group).or_default();
            match entry.state {
                State::Ready => {}
                State::Leased => {
                    leased += 1;
                    tally.leased += 1;
                }
                State::Waiting => waiting += 1,
                State::Delayed => {
                    waiting += 1;
                    tally.delayed += 1;
                }
                State::Removing => removing += 1,
            }
            let is_scheduled = self.due.contains(&(entry.due, *offset));
            let has_deadline =
                matches!(entry.state, State::Leased | State::Waiting | State::Delayed);
            ensure(is_scheduled || !has_deadline, || {
                format!("{offset} would never be looked at")
            })?;
        }
        let counted = (self.leased, self.waiting, self.removing);
        let found = (leased, waiting, removing);
        ensure(counted == found, || {
            format!("counts leased, waiting, removing {counted:?}, and has {found:?}")
        })?;
        let keys = tallies
            .iter()
            .filter(|(id, tally)| tally.leased > 0 && self.groups.get(**id).key().is_some());
        let keys = keys.count() as u64;
        ensure(self.keys_leased == keys, || {
            format!("counts {} keys leased, not {keys}", self.keys_leased)
        })?;
        Ok(tallies)
    }
}
