//! Becoming a member, and joining again.

use super::Turn;
use crate::command::{Join, Ticket};
use crate::cost;
use crate::error::Error;
use crate::live::{JoinTimer, Member, Parked, protocol_bytes};
use crate::reply::{JoinRefused, Joined, JoinedMember, Reply, State};

/// Assignment protocols of one member at most: each takes more memory than its bytes.
const PROTOCOLS_MAX: usize = 256;

impl Turn<'_> {
    pub(crate) fn join(&mut self, join: Join, ticket: Ticket) {
        if let Err(refused) = self.try_join(join, ticket) {
            self.reply(ticket, Reply::Join(Err(refused)));
        }
    }

    pub(super) fn refuse_join(&mut self, ticket: Ticket, error: Error, member_id: String) {
        self.reply(ticket, Reply::Join(Err(JoinRefused { error, member_id })));
    }

    /// On `Ok` the ticket was answered or is parked.
    fn try_join(&mut self, join: Join, ticket: Ticket) -> Result<(), JoinRefused> {
        let refused = |error| JoinRefused {
            error,
            member_id: join.member_id.clone(),
        };
        self.check_join(&join).map_err(refused)?;
        if !self.has_room_for(&join.member_id) {
            self.remove_member(&join.member_id, Error::GroupFull);
            return Err(JoinRefused {
                error: Error::GroupFull,
                member_id: String::new(),
            });
        }
        if !self.shares_protocol_with(&join) {
            return Err(refused(Error::InconsistentProtocol));
        }
        if join.member_id.is_empty() {
            return self.join_new(join, ticket);
        }
        if self.live.pending.contains_key(&join.member_id) {
            if join.instance_id.is_some() {
                // Ids are handed out in advance to dynamic members only.
                return Err(refused(Error::UnknownMember));
            }
            let id = join.member_id.clone();
            self.check_member_fits(&id, &join, 0).map_err(refused)?;
            self.add_member(id, join, ticket);
            return Ok(());
        }
        self.check_identity(&join.member_id, join.instance_id.as_deref())
            .map_err(refused)?;
        self.check_protocols_fit(&join).map_err(refused)?;
        self.join_again(join, ticket);
        Ok(())
    }

    fn check_join(&self, join: &Join) -> Result<(), Error> {
        let range = self.settings.session_timeout_min_ms..=self.settings.session_timeout_max_ms;
        if !range.contains(&join.session_timeout_ms) {
            return Err(Error::InvalidSessionTimeout);
        }
        let names = [&join.client_id, &join.client_host, &join.protocol_type];
        let names: usize = names
            .into_iter()
            .chain(&join.instance_id)
            .map(String::len)
            .sum();
        let protocols = protocol_bytes(&join.protocols);
        if names + protocols > self.settings.member_bytes_max
            || join.protocols.len() > PROTOCOLS_MAX
        {
            return Err(Error::TooLarge);
        }
        let others = self
            .live
            .members
            .iter()
            .filter(|(id, _)| **id != join.member_id);
        let others: usize = others.map(|(_, member)| member.bytes()).sum();
        if others + protocols > self.settings.membership_bytes_max {
            return Err(Error::GroupFull);
        }
        if !self.durable.exists() && !join.member_id.is_empty() {
            return Err(Error::UnknownMember);
        }
        Ok(())
    }

    /// While a generation is being collected, places go to those who have joined it, so a group
    /// that is too large (after the limit was lowered) shrinks to the first to come back.
    fn has_room_for(&self, member_id: &str) -> bool {
        let members_max = self.settings.members_max;
        let known = self.live.members.get(member_id);
        match self.live.state {
            State::Dead | State::Empty => true,
            State::PreparingRebalance => {
                known.is_some_and(|member| member.join.is_some())
                    || self.live.joined_count() < members_max
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || self.live.members.len() < members_max
            }
        }
    }

    fn shares_protocol_with(&self, join: &Join) -> bool {
        if matches!(self.live.state, State::Dead | State::Empty) {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.live.protocol_type.as_deref() == Some(&join.protocol_type)
            && join
                .protocols
                .iter()
                .any(|(name, _)| self.live.all_support(name))
    }

    /// Refuses a member there is no memory for; one that takes another's place needs what it takes more.
    fn check_member_fits(&self, id: &str, join: &Join, replaced: u64) -> Result<(), Error> {
        let others = self.live.cost.members.saturating_sub(replaced);
        let first = if self.live.members.is_empty() {
            cost::of_first_member(id, join)
        } else {
            0
        };
        self.check_members_fit(others.saturating_add(cost::of_join(id, join)), first)
    }

    /// Refuses what a known member brings along now, where it is more than before and there is no memory for it.
    fn check_protocols_fit(&self, join: &Join) -> Result<(), Error> {
        let before = self.live.members.get(&join.member_id);
        let before = before.map_or(0, |member| cost::of_protocols(&member.record.protocols));
        let others = self.live.cost.members.saturating_sub(before);
        self.check_members_fit(
            others.saturating_add(cost::of_protocols(&join.protocols)),
            0,
        )
    }

    fn join_new(&mut self, join: Join, ticket: Ticket) -> Result<(), JoinRefused> {
        let id = join.new_id();
        if self.live.members.contains_key(&id) || self.live.pending.contains_key(&id) {
            // Not fresh. The client tries again, and its caller draws again.
            return Err(JoinRefused {
                error: Error::UnknownMember,
                member_id: String::new(),
            });
        }
        let refused = |error| JoinRefused {
            error,
            member_id: String::new(),
        };
        let instance = join.instance_id.as_ref();
        if let Some(old_id) = instance.and_then(|instance| self.live.instances.get(instance)) {
            let old_id = old_id.clone();
            let old = self.live.members.get(&old_id);
            // The newcomer steps into its assignment too.
            let stays = |old: &Member| old.record.assignment.len() as u64;
            let replaced = old.map_or(0, |old| cost::of_member(&old.record) - stays(old));
            self.check_member_fits(&id, &join, replaced)
                .map_err(refused)?;
            self.replace_static(&old_id, &id, join, ticket);
        } else if join.require_known_member && instance.is_none() {
            return Err(self.hand_out(id, join.session_timeout_ms));
        } else {
            self.check_member_fits(&id, &join, 0).map_err(refused)?;
            self.add_member(id, join, ticket);
        }
        Ok(())
    }

    /// The first of two steps: a client that never receives its id leaves no member behind.
    fn hand_out(&mut self, id: String, session_timeout_ms: u32) -> JoinRefused {
        if self.live.pending.len() >= self.settings.members_max {
            return JoinRefused {
                error: Error::GroupFull,
                member_id: String::new(),
            };
        }
        let bytes = cost::of_handed_out(&id, self.live.pending.is_empty());
        if bytes > self.room {
            return JoinRefused {
                error: Error::StateFull,
                member_id: String::new(),
            };
        }
        self.come_to_be();
        let until = self.now.saturating_add(session_timeout_ms.max(1).into());
        self.live.pending.insert(id.clone(), until);
        JoinRefused {
            error: Error::MemberIdRequired,
            member_id: id,
        }
    }

    fn add_member(&mut self, id: String, join: Join, ticket: Ticket) {
        self.come_to_be();
        if let Some(JoinTimer::Initial {
            joined_meanwhile, ..
        }) = &mut self.live.join_timer
        {
            *joined_meanwhile = true;
        }
        if self.live.members.is_empty() {
            self.live.protocol_type = Some(join.protocol_type.clone());
        }
        if self.live.leader.is_none() {
            self.live.leader = Some(id.clone());
        }
        self.live.pending.remove(&id);
        let mut member = Member::new(id, join);
        member.is_new = true;
        member.join = Some(Parked(Some(ticket)));
        let patience_ms = self.settings.new_member_join_timeout_ms.max(1);
        member.session_deadline = Some(self.now.saturating_add(patience_ms));
        self.live.insert(member);
        self.rebalance_or_complete();
    }

    /// A known member joins. Outside a rebalance, only a change, or the leader (who knows of
    /// changes we cannot see, such as new partitions), starts one.
    fn join_again(&mut self, join: Join, ticket: Ticket) {
        let id = join.member_id.clone();
        let Some(member) = self.live.members.get(&id) else {
            return;
        };
        let unchanged = member.record.protocols == join.protocols;
        let starts_rebalance = match self.live.state {
            State::CompletingRebalance => !unchanged,
            State::Stable => !unchanged || self.live.is_leader(&id),
            State::Dead | State::Empty | State::PreparingRebalance => true,
        };
        if starts_rebalance {
            self.park_join(&id, join, ticket);
            self.rebalance_or_complete();
            return;
        }
        // Its first answer may have been lost on the way: give it again.
        let joined = self.joined(&id);
        self.reply(ticket, Reply::Join(Ok(joined)));
    }

    /// Takes over what the member says about itself and makes it wait.
    fn park_join(&mut self, id: &str, join: Join, ticket: Ticket) {
        let Some(member) = self.live.members.get_mut(id) else {
            return;
        };
        member.record.protocols = join.protocols;
        member.record.session_timeout_ms = join.session_timeout_ms;
        member.record.rebalance_timeout_ms = join.rebalance_timeout_ms;
        let earlier = member.join.replace(Parked(Some(ticket)));
        if let Some(earlier) = earlier.and_then(|parked| parked.0) {
            // The client asked again without waiting; only its last request will be served.
            self.refuse_join(earlier, Error::RebalanceInProgress, id.to_owned());
        }
    }

    pub(super) fn answer_join(&mut self, member_id: &str, joined: Joined) {
        let Some(member) = self.live.members.get_mut(member_id) else {
            return;
        };
        if let Some(ticket) = member.join.take().and_then(|parked| parked.0) {
            self.reply(ticket, Reply::Join(Ok(joined)));
        }
    }

    /// All members as the leader sees them.
    pub(super) fn everyone(&self) -> Vec<JoinedMember> {
        let protocol = self.live.protocol_name.as_deref();
        let members = self.live.members.values().map(|member| JoinedMember {
            member_id: member.record.id.clone(),
            instance_id: member.record.instance_id.clone(),
            metadata: member.record.metadata(protocol),
        });
        members.collect()
    }
}
