//! Handing out a generation's assignment.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Turn;
use crate::command::{Sync, Ticket};
use crate::error::Error;
use crate::event::GroupEvent;
use crate::live::Parked;
use crate::reply::{Reply, State, Synced};

impl Turn<'_> {
    pub(crate) fn sync(&mut self, sync: Sync, ticket: Ticket) {
        if let Err(error) = self.try_sync(sync, ticket) {
            self.reply(ticket, Reply::Sync(Err(error)));
        }
    }

    fn try_sync(&mut self, sync: Sync, ticket: Ticket) -> Result<(), Error> {
        self.check_member(&sync.member)?;
        let differs = |theirs: &Option<String>, ours: &Option<String>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differs(&sync.protocol_type, &self.live.protocol_type)
            || differs(&sync.protocol_name, &self.live.protocol_name)
        {
            return Err(Error::InconsistentProtocol);
        }
        let id = sync.member.member_id;
        match self.live.state {
            State::Dead | State::Empty => Err(Error::UnknownMember),
            State::PreparingRebalance => Err(Error::RebalanceInProgress),
            State::CompletingRebalance => {
                let leads = self.live.is_leader(&id);
                if leads {
                    self.check_assignments(&sync.assignments)?;
                    self.check_assignments_fit(&sync.assignments)?;
                }
                self.park_sync(&id, ticket);
                if leads {
                    self.form(sync.assignments);
                }
                Ok(())
            }
            State::Stable => {
                self.synced(&id);
                let reply = self.assignment_of(&id);
                self.reply(ticket, Reply::Sync(Ok(reply)));
                Ok(())
            }
        }
    }

    fn check_assignments(&self, assignments: &[(String, Bytes)]) -> Result<(), Error> {
        let sizes = || assignments.iter().map(|(_, assignment)| assignment.len());
        let one_too_large = sizes().any(|bytes| bytes > self.settings.member_bytes_max);
        if one_too_large || sizes().sum::<usize>() > self.settings.membership_bytes_max {
            return Err(Error::TooLarge);
        }
        Ok(())
    }

    fn check_assignments_fit(&self, assignments: &[(String, Bytes)]) -> Result<(), Error> {
        let members = &self.live.members;
        let before = members.values().map(|m| m.record.assignment.len() as u64);
        let known = assignments
            .iter()
            .filter(|(id, _)| members.contains_key(id));
        let then = known.map(|(_, assignment)| assignment.len() as u64);
        let without = self.live.cost.members.saturating_sub(before.sum());
        self.check_members_fit(without.saturating_add(then.sum()), 0)
    }

    fn park_sync(&mut self, id: &str, ticket: Ticket) {
        self.synced(id);
        let Some(member) = self.live.members.get_mut(id) else {
            return;
        };
        let earlier = member.sync.replace(Parked(Some(ticket)));
        if let Some(earlier) = earlier.and_then(|parked| parked.0) {
            // The client asked again without waiting; only its last request will be served.
            self.reply(earlier, Reply::Sync(Err(Error::RebalanceInProgress)));
        }
    }

    fn synced(&mut self, id: &str) {
        self.live.pending_sync.remove(id);
        if self.live.pending_sync.is_empty() {
            self.live.sync_deadline = None;
        }
    }

    /// The leader has spoken: the generation is formed and everyone who waits gets its part.
    /// Members the leader left out get nothing; names it made up are ignored.
    fn form(&mut self, assignments: Vec<(String, Bytes)>) {
        let mut assignments: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.live.members {
            member.record.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.live.state = State::Stable;
        self.record(GroupEvent::Formed {
            membership: self.live.membership(),
            at: self.now,
        });
        let ids: Vec<String> = self.live.members.keys().cloned().collect();
        for id in ids {
            let reply = self.assignment_of(&id);
            let Some(member) = self.live.members.get_mut(&id) else {
                continue;
            };
            let Some(parked) = member.sync.take() else {
                continue;
            };
            member.renew_session(self.now);
            if let Some(ticket) = parked.0 {
                self.reply(ticket, Reply::Sync(Ok(reply)));
            }
        }
    }

    fn assignment_of(&self, id: &str) -> Synced {
        let member = self.live.members.get(id);
        Synced {
            protocol_type: self.live.protocol_type.clone(),
            protocol_name: self.live.protocol_name.clone(),
            assignment: member
                .map(|member| member.record.assignment.clone())
                .unwrap_or_default(),
        }
    }
}
