//! The rules: who gets what, and what may be done with it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};

use crate::dedup::IdHash;
use crate::entry::{Entry, State};
use crate::event::QueueEvent;
use crate::held::Held;
use crate::lease::Lease;
use crate::message_group::{MessageGroup, MessageGroupId};
use crate::moment::after;
use crate::place::Place;
use crate::queue_partition::{ATTEMPT_MS, QueuePartition};
use crate::settings::{Ordering, QueueSettings};

/// A tenant with more messages in flight than this may be noisy.
const NOISY_LEASES: u32 = 30;

/// What a receiver wants of a queue partition.
#[derive(Debug, Clone)]
pub struct Receiving<'a> {
    /// How long, ms.
    pub lease_ms: u64,
    /// Name of the attempt.
    pub attempt: Option<&'a str>,
}

/// What a receiver gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// Messages to lease, with their groups.
    pub leases: Vec<(u64, MessageGroupId)>,
    /// Messages that would be leased once too often.
    pub removing: Vec<u64>,
}

impl QueuePartition {
    /// Picks what leaves next for another queue: of what is before `upto`, greatest priority and oldest first. What a
    /// tenant takes of the receivers' time does not count.
    pub fn pick_removing(&self, max: usize, upto: u64) -> Vec<(u64, MessageGroupId)> {
        let mut picked = Vec::new();
        let groups = self.groups.listed();
        let groups = groups.map(|(head, id)| (head, id, self.groups.get(id)));
        merge(groups, upto, |offset, group| {
            picked.push((offset, group));
            picked.len() < max
        });
        picked
    }

    /// Picks what is leased next, and what came upon the way that must not be leased any more.
    pub fn pick(&self, max: usize, settings: &QueueSettings, now: u64) -> Picked {
        let mut picked = Picked::default();
        let attempts_max = settings
            .dead_letter
            .as_ref()
            .map_or(u32::MAX, |policy| policy.attempts_max);
        let removing = |offset: &u64| {
            let entry = self.entries.get(offset);
            entry.is_some_and(|entry| entry.leased >= attempts_max && !entry.stay)
        };
        if settings.ordering == Ordering::Key {
            // Filling from one key before the next.
            for (_, group) in self.groups.listed() {
                let available = self.groups.get(group).available(u64::MAX);
                let available = available.map(|(_, offset)| offset);
                let (leases, spent) =
                    until_removing(available.take(max - picked.leases.len()), removing);
                picked
                    .leases
                    .extend(leases.into_iter().map(|offset| (offset, group)));
                // What is behind it has to wait until it has left.
                picked.removing.extend(spent);
                if picked.leases.len() == max {
                    break;
                }
            }
            return picked;
        }
        for noisy in [false, true] {
            merge(self.fair_groups(noisy, now), u64::MAX, |offset, group| {
                if removing(&offset) {
                    picked.removing.push(offset);
                } else {
                    picked.leases.push((offset, group));
                }
                picked.leases.len() < max
            });
            if picked.leases.len() == max {
                break;
            }
        }
        picked
    }

    /// Groups to pick from, greatest priority first and then by their places: those of tenants that take more than
    /// their share, or the others.
    fn fair_groups(
        &self,
        noisy: bool,
        now: u64,
    ) -> impl Iterator<Item = (Place, MessageGroupId, &MessageGroup)> {
        let only_one = self.groups.listed_len() == 1;
        self.groups
            .listed()
            .map(|(head, id)| (head, id, self.groups.get(id)))
            .filter(move |(_, _, group)| (!only_one && self.is_noisy(group, now)) == noisy)
    }

    /// Whether a tenant has more than a tenth of what is in flight, and not just a few, or took more than a tenth of
    /// the receivers' time of late. At most ten tenants of each kind can be.
    fn is_noisy(&self, group: &MessageGroup, now: u64) -> bool {
        if group.key().is_none() {
            return false;
        }
        let touched = group.touched();
        let has_many_leases =
            touched.leased >= NOISY_LEASES && u64::from(touched.leased) * 10 > self.leased;
        let busy = self.busy.at(now);
        has_many_leases || (busy > 1.0 && touched.busy.at(now) * 10.0 > busy)
    }

    /// The event that leases what was picked.
    pub fn lease_event(&self, picked: &Picked, spec: &Receiving<'_>, now: u64) -> QueueEvent {
        QueueEvent::Leased {
            lease: self.leases + 1,
            at: now,
            until: after(now, spec.lease_ms),
            attempt: spec.attempt.map(str::to_owned),
            offsets: picked.leases.iter().map(|(offset, _)| *offset).collect(),
        }
    }

    /// The same leases once more, for an attempt that is repeated; `None` when it is unknown, or over.
    pub fn repeat(&self, attempt: &str, now: u64) -> Option<Vec<u64>> {
        let known = self.attempts.get(attempt)?;
        let still = |offset: &u64| {
            let entry = self.entries.get(offset);
            entry.is_some_and(|e| e.lease == known.lease && e.state == State::Leased)
        };
        let valid = now.saturating_sub(known.at) < ATTEMPT_MS && known.offsets.iter().all(still);
        valid.then(|| known.offsets.clone())
    }

    /// What a receiver gets about a message in flight.
    pub fn lease(&self, offset: u64) -> Option<Lease> {
        let entry = self.entries.get(&offset)?;
        Some(Lease {
            offset,
            number: entry.lease,
            leased: entry.leased,
            failed: entry.failed,
            redelivered: entry.leased > 1 || offset < self.redelivery_floor,
            first_ms: entry.first_ms,
            last_ms: entry.at_ms,
            arrived: self.arrived(offset),
        })
    }

    /// Messages from `from` on that are not done, in order, at most `max`; what was never leased counts as leased
    /// never.
    pub fn held_from(&self, from: u64, max: usize) -> Vec<Lease> {
        let touched = self.entries.range(from..).map(|(offset, _)| *offset);
        let mut lowest: BTreeSet<u64> = touched.take(max).collect();
        for (_, group) in self.groups.iter() {
            let returned = group.returned().skip_while(|offset| *offset < from);
            keep_lowest(&mut lowest, max, returned);
            let runs = group.untouched().runs();
            let runs = runs.filter(|(start, len)| start + len > from);
            let untouched = runs.flat_map(|(start, len)| start.max(from)..start + len);
            keep_lowest(&mut lowest, max, untouched);
        }
        let never = |offset| Lease {
            offset,
            arrived: self.arrived(offset),
            ..Lease::default()
        };
        let lease = |offset| self.lease(offset).unwrap_or_else(|| never(offset));
        lowest.into_iter().map(lease).collect()
    }

    /// What each of these messages is doing; they are held here, in rising order.
    pub fn doing(&self, held: &[Lease]) -> Vec<Held> {
        let last = held.last().map_or(0, |lease| lease.offset);
        let groups = self.groups.iter().map(|(_, group)| group);
        let blocked: HashSet<u64> = groups.flat_map(|group| group.blocked(last)).collect();
        let doing = |lease: &Lease| match self.entries.get(&lease.offset).map(|entry| entry.state) {
            Some(State::Leased | State::Removing) => Held::InFlight,
            Some(State::Waiting) => Held::Waiting,
            Some(State::Delayed) => Held::Delayed,
            _ if blocked.contains(&lease.offset) => Held::Behind,
            None | Some(State::Ready) => Held::Ready,
        };
        held.iter().map(doing).collect()
    }

    /// The event that makes everything from `from` on ready again that is not leased and does not wait.
    pub fn replay_event(&self, from: u64) -> QueueEvent {
        // What comes later was never touched.
        let from = from.min(self.end);
        let entries = self.entries.range(from..);
        let kept = entries.filter(|(_, entry)| entry.state != State::Ready);
        QueueEvent::Replayed {
            from,
            upto: self.end,
            kept: kept.map(|(offset, _)| *offset).collect(),
        }
    }

    /// Counts how long a message was held that is settled now.
    pub fn settled(&mut self, offset: u64, now: u64) {
        let leased = self
            .entries
            .get(&offset)
            .filter(|e| e.state == State::Leased);
        if let Some(entry) = leased.cloned() {
            self.count_busy(&entry, now);
        }
    }

    /// The message that was sent with this id within the window, if there is one.
    pub fn duplicate(&self, id: IdHash, window_ms: u64, now: u64) -> Option<u64> {
        self.dedup.as_ref()?.find(id, window_ms, now)
    }

    /// Deduplication ids remembered.
    pub fn dedup_ids(&self) -> usize {
        self.dedup.as_ref().map_or(0, |dedup| dedup.len())
    }

    /// Reserves messages that are about to be removed. Nothing in the log: after a restart they are found again.
    pub fn reserve_for_removal(&mut self, offsets: &[u64]) {
        let picked: Vec<_> = offsets
            .iter()
            .filter_map(|offset| Some((*offset, self.entries.get(offset)?.group)))
            .collect();
        self.reserve_picked(&picked);
    }

    /// The same for messages just picked, which may never have been leased.
    pub fn reserve_picked(&mut self, picked: &[(u64, MessageGroupId)]) {
        for (offset, group) in picked {
            let entry = self.take_entry(*offset);
            let mut entry = entry.unwrap_or_else(|| Entry::new(*group));
            self.groups.hold(*group, *offset);
            entry.state = State::Removing;
            self.removing += 1;
            self.entries.insert(*offset, entry);
        }
    }

    /// Messages that were reserved could not be removed: they are ready again.
    pub fn unreserve(&mut self, offsets: &[u64]) {
        for offset in offsets
            .iter()
            .filter(|o| self.is_removing(**o))
            .copied()
            .collect::<Vec<_>>()
        {
            let Some(mut entry) = self.take_entry(offset) else {
                continue;
            };
            (entry.state, entry.stay) = (State::Ready, true);
            self.put_back(entry.group, offset, None);
            self.entries.insert(offset, entry);
        }
    }

    /// Whether a message is still reserved for removal.
    pub fn is_removing(&self, offset: u64) -> bool {
        let entry = self.entries.get(&offset);
        entry.is_some_and(|entry| entry.state == State::Removing)
    }
}

/// The messages before the first one that must not be leased any more, and that one.
fn until_removing(
    available: impl Iterator<Item = u64>,
    removing: impl Fn(&u64) -> bool,
) -> (Vec<u64>, Option<u64>) {
    let mut leases = Vec::new();
    for offset in available {
        if removing(&offset) {
            return (leases, Some(offset));
        }
        leases.push(offset);
    }
    (leases, None)
}

/// Adds rising offsets to the `max` lowest, as long as they are among them.
fn keep_lowest(lowest: &mut BTreeSet<u64>, max: usize, rising: impl Iterator<Item = u64>) {
    for offset in rising {
        lowest.insert(offset);
        if lowest.len() > max && lowest.pop_last() == Some(offset) {
            return;
        }
    }
}

/// Hands over the messages before `upto` of several groups, greatest priority first and then by their places, until it
/// is stopped. The groups come in the order of what is next in each, and are only looked into when it is their turn.
fn merge<'l>(
    groups: impl Iterator<Item = (Place, MessageGroupId, &'l MessageGroup)>,
    upto: u64,
    mut take: impl FnMut(u64, MessageGroupId) -> bool,
) {
    let mut groups = groups.peekable();
    let mut rests = Vec::new();
    let mut heads = BinaryHeap::new();
    loop {
        let first = heads
            .peek()
            .map(|Reverse((rank, place, _, _))| (*rank, *place));
        let is_next = |(head, _, group): &(Place, MessageGroupId, &MessageGroup)| {
            first.is_none_or(|first| (u8::MAX - group.level, *head) < first)
        };
        if let Some((_, id, group)) = groups.next_if(is_next) {
            let mut rest = group.available(upto);
            let rank = u8::MAX - group.level;
            let next = rest.next();
            heads.extend(next.map(|(place, offset)| Reverse((rank, place, offset, rests.len()))));
            rests.push((id, rest));
            continue;
        }
        let Some(Reverse((rank, _, offset, i))) = heads.pop() else {
            return;
        };
        let (id, rest) = &mut rests[i];
        if !take(offset, *id) {
            return;
        }
        let next = rest.next();
        heads.extend(next.map(|(place, offset)| Reverse((rank, place, offset, i))));
    }
}
