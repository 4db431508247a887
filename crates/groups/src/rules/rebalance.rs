//! From one generation to the next: collecting joins, then naming generation, protocol, leader.

use super::Turn;
use crate::error::Error;
use crate::event::GroupEvent;
use crate::live::JoinTimer;
use crate::reply::{Reply, State};

impl Turn<'_> {
    /// After any change of membership.
    pub(super) fn rebalance_or_complete(&mut self) {
        match self.live.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(),
            State::PreparingRebalance => self.complete_if_expected(),
            State::Dead => {}
        }
    }

    /// Begins to collect joins. Members learn of it by their next heartbeat.
    pub(crate) fn prepare_rebalance(&mut self) {
        if self.live.state == State::CompletingRebalance {
            self.send_away_waiting_syncs();
        }
        self.live.pending_sync.clear();
        self.live.sync_deadline = None;
        let initial = self.live.state == State::Empty;
        self.live.state = State::PreparingRebalance;
        if initial {
            let delay_ms = self.settings.initial_rebalance_delay_ms;
            self.live.join_timer = Some(JoinTimer::Initial {
                at: self.now.saturating_add(delay_ms),
                delay_ms,
                remaining_ms: self.live.rebalance_timeout_ms().saturating_sub(delay_ms),
                joined_meanwhile: false,
            });
        } else if self.live.all_joined() {
            self.complete_join();
        } else {
            self.wait_for_joins();
        }
    }

    fn wait_for_joins(&mut self) {
        let at = self.now.saturating_add(self.live.rebalance_timeout_ms());
        self.live.join_timer = Some(JoinTimer::Rebalance { at });
    }

    /// Members that wait for an assignment of the abandoned generation have to join again.
    fn send_away_waiting_syncs(&mut self) {
        let mut tickets = Vec::new();
        for member in self.live.members.values_mut() {
            member.record.assignment.clear();
            if let Some(parked) = member.sync.take() {
                tickets.extend(parked.0);
                member.renew_session(self.now);
            }
        }
        for ticket in tickets {
            self.reply(ticket, Reply::Sync(Err(Error::RebalanceInProgress)));
        }
    }

    /// An initial rebalance takes its time even when everyone so far has joined: others are
    /// likely to be starting too.
    pub(super) fn complete_if_expected(&mut self) {
        let initial = matches!(self.live.join_timer, Some(JoinTimer::Initial { .. }));
        if !initial {
            self.complete_if_all_joined();
        }
    }

    pub(super) fn complete_if_all_joined(&mut self) {
        if self.live.state == State::PreparingRebalance && self.live.all_joined() {
            self.complete_join();
        }
    }

    pub(super) fn join_timer_fired(&mut self) {
        match self.live.join_timer {
            Some(JoinTimer::Initial {
                delay_ms,
                remaining_ms,
                joined_meanwhile,
                ..
            }) if joined_meanwhile && remaining_ms > 0 => {
                let next_ms = self.settings.initial_rebalance_delay_ms.min(remaining_ms);
                self.live.join_timer = Some(JoinTimer::Initial {
                    at: self.now.saturating_add(next_ms),
                    delay_ms: next_ms,
                    remaining_ms: remaining_ms.saturating_sub(delay_ms),
                    joined_meanwhile: false,
                });
            }
            Some(_) => self.complete_join(),
            None => {}
        }
    }

    /// Ends the collecting. Dynamic members that did not come are out; static ones stay, their
    /// session alone decides about them.
    fn complete_join(&mut self) {
        self.live.join_timer = None;
        let members = self.live.members.values();
        let absent: Vec<String> = members
            .filter(|member| member.join.is_none() && member.record.instance_id.is_none())
            .map(|member| member.record.id.clone())
            .collect();
        for id in absent {
            self.remove_member(&id, Error::UnknownMember);
        }
        if self.live.members.is_empty() {
            self.become_empty();
        } else if self.elect_leader() {
            self.begin_generation();
        } else {
            // Only static members, and none has come: nobody could assign. Wait on.
            self.wait_for_joins();
        }
    }

    /// The leader must be someone who waits for the answer.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &String| self.live.members.get(id).is_some_and(|m| m.join.is_some());
        if self.live.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.live.members.keys().find(|id| joined(id)).cloned();
        if next.is_some() {
            self.live.leader = next;
            return true;
        }
        false
    }

    fn become_empty(&mut self) {
        let generation = self.durable.generation_last().saturating_add(1);
        self.live.state = State::Empty;
        self.live.generation = generation;
        self.live.protocol_name = None;
        self.live.leader = None;
        self.live.read_topics(self.settings);
        let protocol_type = self.live.protocol_type.clone();
        self.record(GroupEvent::Emptied {
            generation,
            protocol_type,
            at: self.now,
        });
    }

    fn begin_generation(&mut self) {
        let generation = self.durable.generation_last().saturating_add(1);
        self.record(GroupEvent::GenerationReserved { generation });
        self.live.state = State::CompletingRebalance;
        self.live.generation = generation;
        self.live.protocol_name = self.live.elect_protocol();
        self.live.read_topics(self.settings);
        self.live.sync_deadline = Some(self.now.saturating_add(self.live.rebalance_timeout_ms()));
        let ids: Vec<String> = self.live.members.keys().cloned().collect();
        for id in &ids {
            let joined = self.joined(id);
            self.answer_join(id, joined);
            if let Some(member) = self.live.members.get_mut(id) {
                member.is_new = false;
                member.renew_session(self.now);
            }
        }
        self.live.pending_sync = ids.into_iter().collect();
    }
}
