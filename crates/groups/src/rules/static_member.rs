//! A static member comes back: same instance id, no memory of its member id.

use super::Turn;
use crate::command::{Join, Ticket};
use crate::error::Error;
use crate::event::{GroupEvent, MemberRecord};
use crate::live::{Member, Parked};
use crate::reply::State;
use crate::settings::Subscription;

impl Turn<'_> {
    /// Gives the member a new id, so that a twin that still uses the old one is fenced. In a
    /// stable group the newcomer steps into the standing assignment without a rebalance, unless
    /// what it wants has changed.
    pub(super) fn replace_static(&mut self, old_id: &str, id: &str, join: Join, ticket: Ticket) {
        let was_leader = self.live.is_leader(old_id);
        let had_to_sync = self.live.pending_sync.contains(old_id);
        let Some(old) = self.live.remove(old_id) else {
            return;
        };
        let before = old.record.clone();
        let can_skip_assignment = join.can_skip_assignment;
        self.answer_removed(old, Error::FencedInstance);
        self.step_in(&before, id, join, ticket);
        if was_leader {
            self.live.leader = Some(id.to_owned());
        }
        if self.live.state == State::Stable && !self.wants_other_things(&before, id) {
            if had_to_sync {
                self.live.pending_sync.insert(id.to_owned());
            }
            self.record_stepped_in(&before.id, id);
            self.answer_stepped_in(&before.id, id, can_skip_assignment);
            return;
        }
        self.record_renamed(&before.id, id);
        self.rebalance_or_complete();
    }

    fn step_in(&mut self, before: &MemberRecord, id: &str, join: Join, ticket: Ticket) {
        let mut member = Member::new(id.to_owned(), join);
        member.record.assignment = before.assignment.clone();
        member.join = Some(Parked(Some(ticket)));
        member.renew_session(self.now);
        self.live.insert(member);
    }

    /// Metadata may differ in what the member remembered from before; only another protocol or
    /// other topics call for a new assignment.
    fn wants_other_things(&self, before: &MemberRecord, id: &str) -> bool {
        let protocol = self.live.protocol_name.as_deref();
        if self.live.elect_protocol().as_deref() != protocol {
            return true;
        }
        let Some(member) = self.live.members.get(id) else {
            return false;
        };
        let kind = self.live.protocol_type.as_deref().unwrap_or_default();
        let topics =
            |record: &MemberRecord| (self.settings.subscription)(kind, &record.metadata(protocol));
        match (topics(before), topics(&member.record)) {
            (Subscription::Topics(before), Subscription::Topics(after)) => before != after,
            _ => false,
        }
    }

    fn record_stepped_in(&mut self, old_id: &str, id: &str) {
        let Some(member) = self.live.members.get(id) else {
            return;
        };
        let member = member.record.clone();
        self.record(GroupEvent::MemberReplaced {
            old_id: old_id.to_owned(),
            member,
        });
    }

    /// During a rebalance only the id becomes durable: should we restart before the rebalance
    /// ends, the last generation goes on, and the newcomer must not be fenced from it.
    fn record_renamed(&mut self, old_id: &str, id: &str) {
        let mut members = self.durable.membership().members.iter();
        let Some(mut member) = members.find(|member| member.id == old_id).cloned() else {
            return;
        };
        id.clone_into(&mut member.id);
        self.record(GroupEvent::MemberReplaced {
            old_id: old_id.to_owned(),
            member,
        });
    }

    fn answer_stepped_in(&mut self, old_id: &str, id: &str, can_skip_assignment: bool) {
        let mut joined = self.joined(id);
        if self.live.is_leader(id) {
            joined.skip_assignment = can_skip_assignment;
            if !can_skip_assignment {
                // An older client that took itself for the leader would assign at once, and the
                // group would not expect it. Naming its old id makes it behave as a follower.
                old_id.clone_into(&mut joined.leader);
                joined.members.clear();
            }
        }
        self.answer_join(id, joined);
    }
}
