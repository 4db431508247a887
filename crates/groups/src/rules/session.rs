//! Staying alive, leaving, and being taken for dead.

use super::Turn;
use crate::command::{Leaver, MemberRef, Ticket};
use crate::error::Error;
use crate::reply::{Reply, State};

impl Turn<'_> {
    pub(crate) fn heartbeat(&mut self, member: &MemberRef, ticket: Ticket) {
        let result = self.check_member(member).and_then(|()| {
            self.renew_session(&member.member_id);
            match self.live.state {
                State::PreparingRebalance => Err(Error::RebalanceInProgress),
                State::CompletingRebalance | State::Stable => Ok(()),
                State::Dead | State::Empty => Err(Error::UnknownMember),
            }
        });
        self.reply(ticket, Reply::Heartbeat(result));
    }

    pub(crate) fn leave(&mut self, members: Vec<Leaver>, ticket: Ticket) {
        let mut anyone = false;
        let mut results = Vec::with_capacity(members.len());
        for leaver in members {
            let result = self.leave_one(&leaver);
            anyone |= result.is_ok();
            results.push((leaver, result));
        }
        self.reply(ticket, Reply::Leave(results));
        // One rebalance for all who leave together. An empty group stays as it is: only
        // handed-out ids can have left it.
        if anyone && self.live.state != State::Empty {
            self.rebalance_or_complete();
        }
    }

    fn leave_one(&mut self, leaver: &Leaver) -> Result<(), Error> {
        let instance = leaver.instance_id.as_ref();
        let id = if leaver.member_id.is_empty() {
            let owner = instance.and_then(|instance| self.live.instances.get(instance));
            owner.ok_or(Error::UnknownMember)?.clone()
        } else {
            leaver.member_id.clone()
        };
        if self.live.pending.remove(&id).is_some() {
            return Ok(());
        }
        self.check_identity(&id, leaver.instance_id.as_deref())?;
        self.remove_member(&id, Error::UnknownMember);
        Ok(())
    }

    /// A member was silent for its whole session.
    pub(super) fn session_ended(&mut self, id: &str) {
        let Some(member) = self.live.members.get_mut(id) else {
            return;
        };
        member.session_deadline = None;
        if member.may_be_silent() {
            return;
        }
        self.remove_member(id, Error::UnknownMember);
        match self.live.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(),
            State::PreparingRebalance => self.complete_if_all_joined(),
            State::Dead | State::Empty => {}
        }
    }

    /// Nobody came back with an id that was handed out.
    pub(super) fn pending_ended(&mut self, id: &str) {
        self.live.pending.remove(id);
        self.complete_if_all_joined();
    }

    /// Members that got the generation but never asked for their part of it.
    pub(super) fn sync_timer_fired(&mut self) {
        self.live.sync_deadline = None;
        let absent: Vec<String> = self.live.pending_sync.iter().cloned().collect();
        if absent.is_empty() {
            return;
        }
        for id in absent {
            self.remove_member(&id, Error::UnknownMember);
        }
        self.prepare_rebalance();
    }
}
