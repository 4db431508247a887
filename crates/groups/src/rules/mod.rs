//! All rules and refusals. A turn takes one command, or one moment, and yields events and
//! replies. It changes the running part freely, the durable part only by applying its own events.

mod deletion;
mod join;
mod offsets;
mod rebalance;
mod session;
mod static_member;
mod sync;
mod timers;

use super::command::{MemberRef, Ticket};
use super::cost;
use super::durable::Durable;
use super::error::Error;
use super::event::GroupEvent;
use super::live::{Live, Member};
use super::reply::{Joined, Outcome, Reply, State};
use super::settings::GroupSettings;

pub(super) use timers::next_deadline;

/// One step of a group.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) settings: &'a GroupSettings,
    pub(super) durable: &'a mut Durable,
    pub(super) live: &'a mut Live,
    pub(super) now: u64,
    /// Bytes the state may grow by.
    pub(super) room: u64,
    pub(super) outcome: Outcome,
}

impl Turn<'_> {
    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.outcome.replies.push((ticket, reply));
    }

    /// The only way to change the durable part.
    fn record(&mut self, event: GroupEvent) {
        self.durable.apply(&event);
        self.outcome.events.push(event);
        if !self.durable.exists() {
            *self.live = Live::default();
        } else if self.live.state == State::Dead {
            self.live.state = State::Empty;
            self.live.check_at = Some(self.now.saturating_add(self.check_interval_ms()));
        }
    }

    /// Never zero, or the check would be due again at once, for ever.
    fn check_interval_ms(&self) -> u64 {
        self.settings.offsets_check_interval_ms.max(1)
    }

    /// A group comes to be with the first member that may become part of it.
    fn come_to_be(&mut self) {
        if !self.durable.exists() {
            self.record(GroupEvent::Emptied {
                generation: 0,
                protocol_type: None,
                at: self.now,
            });
        }
    }

    /// Refuses when the state of members, with so many bytes for them as they would be, does not fit.
    fn check_members_fit(&self, members: u64, others: u64) -> Result<(), Error> {
        let formed = self.durable.membership_bytes();
        let total = |members| cost::of_members(members, formed);
        let (then, now) = (total(members), total(self.live.cost.members));
        if then.saturating_sub(now).saturating_add(others) > self.room {
            return Err(Error::StateFull);
        }
        Ok(())
    }

    /// Whether the group knows the member under this id, and this instance id.
    fn check_identity(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), Error> {
        if let Some(instance_id) = instance_id {
            let owner = self
                .live
                .instances
                .get(instance_id)
                .ok_or(Error::UnknownMember)?;
            if owner != member_id {
                return Err(Error::FencedInstance);
            }
        }
        if self.live.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(Error::UnknownMember)
        }
    }

    fn check_member(&self, member: &MemberRef) -> Result<(), Error> {
        self.check_identity(&member.member_id, member.instance_id.as_deref())?;
        if member.generation == self.live.generation {
            Ok(())
        } else {
            Err(Error::IllegalGeneration)
        }
    }

    fn renew_session(&mut self, member_id: &str) {
        if let Some(member) = self.live.members.get_mut(member_id) {
            member.renew_session(self.now);
        }
    }

    /// Takes a member out and answers whatever it still waits for.
    fn remove_member(&mut self, member_id: &str, error: Error) {
        if let Some(member) = self.live.remove(member_id) {
            self.answer_removed(member, error);
        }
    }

    fn answer_removed(&mut self, member: Member, error: Error) {
        if let Some(ticket) = member.join.and_then(|parked| parked.0) {
            // A fenced client gets the id it lost; one that is removed has none any more.
            let fenced = error == Error::FencedInstance;
            let member_id = if fenced {
                member.record.id
            } else {
                String::new()
            };
            self.refuse_join(ticket, error, member_id);
        }
        if let Some(ticket) = member.sync.and_then(|parked| parked.0) {
            self.reply(ticket, Reply::Sync(Err(error)));
        }
    }

    /// The answer to a member of the current generation.
    fn joined(&self, member_id: &str) -> Joined {
        Joined {
            member_id: member_id.to_owned(),
            generation: self.live.generation,
            protocol_type: self.live.protocol_type.clone(),
            protocol_name: self.live.protocol_name.clone(),
            leader: self.live.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if self.live.is_leader(member_id) {
                self.everyone()
            } else {
                Vec::new()
            },
        }
    }
}
