//! The rules: who gets what, and what may be done with it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};

use super::line::{Line, LineId};
use super::place::Place;
use super::{ATTEMPT_MS, Entry, IdHash, Lane, LaneEvent, Loan, State, after};
use crate::queue::{After, Growth, Held, Ordering, QueueSettings, Settle, Settled};

/// Longest time a message can be on loan altogether, ms.
const LOAN_MS_MAX: u64 = 12 * 3_600_000;
/// A tenant with more messages on loan than this may be noisy.
const NOISY_LENT: u32 = 30;

/// What a receiver wants of a lane.
#[derive(Debug, Clone)]
pub(crate) struct Receiving<'a> {
    /// How long, ms.
    pub(crate) lease_ms: u64,
    /// Name of the attempt.
    pub(crate) attempt: Option<&'a str>,
}

/// What a receiver gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Picked {
    /// Messages to lend, with their lines.
    pub(crate) lend: Vec<(u64, LineId)>,
    /// Messages that would be lent once too often.
    pub(crate) dying: Vec<u64>,
}

impl Lane {
    /// Picks what leaves next for another queue: of what is before `upto`, greatest priority and oldest first. What a
    /// tenant takes of the receivers' time does not count.
    pub(crate) fn pick_leaving(&self, max: usize, upto: u64) -> Vec<(u64, LineId)> {
        let mut picked = Vec::new();
        let lines = self.lines.listed();
        let lines = lines.map(|(head, id)| (head, id, self.lines.get(id)));
        merge(lines, upto, |offset, line| {
            picked.push((offset, line));
            picked.len() < max
        });
        picked
    }

    /// Picks what is lent next, and what came upon the way that must not be lent any more.
    pub(crate) fn pick(&self, max: usize, settings: &QueueSettings, now: u64) -> Picked {
        let mut picked = Picked::default();
        let attempts_max = settings
            .dead_letter
            .as_ref()
            .map_or(u32::MAX, |policy| policy.attempts_max);
        let dying = |offset: &u64| {
            let entry = self.entries.get(offset);
            entry.is_some_and(|entry| entry.lent >= attempts_max && !entry.stay)
        };
        if settings.ordering == Ordering::Key {
            // Filling from one key before the next.
            for (_, line) in self.lines.listed() {
                let lendable = self.lines.get(line).lendable(u64::MAX);
                let lendable = lendable.map(|(_, offset)| offset);
                let (lend, dies) = until_dying(lendable.take(max - picked.lend.len()), dying);
                picked
                    .lend
                    .extend(lend.into_iter().map(|offset| (offset, line)));
                // What is behind it has to wait until it has left.
                picked.dying.extend(dies);
                if picked.lend.len() == max {
                    break;
                }
            }
            return picked;
        }
        for noisy in [false, true] {
            merge(self.fair_lines(noisy, now), u64::MAX, |offset, line| {
                if dying(&offset) {
                    picked.dying.push(offset);
                } else {
                    picked.lend.push((offset, line));
                }
                picked.lend.len() < max
            });
            if picked.lend.len() == max {
                break;
            }
        }
        picked
    }

    /// Lines to pick from, greatest priority first and then by their places: those of tenants that take more than their share, or
    /// the others.
    fn fair_lines(&self, noisy: bool, now: u64) -> impl Iterator<Item = (Place, LineId, &Line)> {
        let only_one = self.lines.listed_len() == 1;
        self.lines
            .listed()
            .map(|(head, id)| (head, id, self.lines.get(id)))
            .filter(move |(_, _, line)| (!only_one && self.is_noisy(line, now)) == noisy)
    }

    /// Whether a tenant has more than a tenth of what is on loan, and not just a few, or took more than a tenth of
    /// the receivers' time of late. At most ten tenants of each kind can be.
    fn is_noisy(&self, line: &Line, now: u64) -> bool {
        if line.key().is_none() {
            return false;
        }
        let touched = line.touched();
        let much_lent = touched.lent >= NOISY_LENT && u64::from(touched.lent) * 10 > self.lent;
        let busy = self.busy.at(now);
        much_lent || (busy > 1.0 && touched.busy.at(now) * 10.0 > busy)
    }

    /// The event that lends what was picked.
    pub(crate) fn lend_event(&self, picked: &Picked, spec: &Receiving<'_>, now: u64) -> LaneEvent {
        LaneEvent::Lent {
            loan: self.loans + 1,
            at: now,
            until: after(now, spec.lease_ms),
            attempt: spec.attempt.map(str::to_owned),
            offsets: picked.lend.iter().map(|(offset, _)| *offset).collect(),
        }
    }

    /// The same loans once more, for an attempt that is repeated; `None` when it is unknown, or over.
    pub(crate) fn repeat(&self, attempt: &str, now: u64) -> Option<Vec<u64>> {
        let known = self.attempts.get(attempt)?;
        let still = |offset: &u64| {
            let entry = self.entries.get(offset);
            entry.is_some_and(|e| e.loan == known.loan && e.state == State::Lent)
        };
        let valid = now.saturating_sub(known.at) < ATTEMPT_MS && known.offsets.iter().all(still);
        valid.then(|| known.offsets.clone())
    }

    /// What a receiver is told about a message on loan.
    pub(crate) fn loan(&self, offset: u64) -> Option<Loan> {
        let entry = self.entries.get(&offset)?;
        Some(Loan {
            offset,
            number: entry.loan,
            lent: entry.lent,
            failed: entry.failed,
            again: entry.lent > 1 || offset < self.doubtful,
            first_ms: entry.first_ms,
            last_ms: entry.at_ms,
            came: self.came(offset),
        })
    }

    /// Messages from `from` on that are not done, in order, at most `max`; what was never lent counts as lent never.
    pub(crate) fn held_from(&self, from: u64, max: usize) -> Vec<Loan> {
        let touched = self.entries.range(from..).map(|(offset, _)| *offset);
        let mut lowest: BTreeSet<u64> = touched.take(max).collect();
        for (_, line) in self.lines.iter() {
            let again = line.again().skip_while(|offset| *offset < from);
            keep_lowest(&mut lowest, max, again);
            let runs = line.untouched().runs();
            let runs = runs.filter(|(start, len)| start + len > from);
            let untouched = runs.flat_map(|(start, len)| start.max(from)..start + len);
            keep_lowest(&mut lowest, max, untouched);
        }
        let never = |offset| Loan {
            offset,
            came: self.came(offset),
            ..Loan::default()
        };
        let loan = |offset| self.loan(offset).unwrap_or_else(|| never(offset));
        lowest.into_iter().map(loan).collect()
    }

    /// What each of these messages is doing; they are held here, in rising order.
    pub(crate) fn doing(&self, held: &[Loan]) -> Vec<Held> {
        let last = held.last().map_or(0, |loan| loan.offset);
        let lines = self.lines.iter().map(|(_, line)| line);
        let blocked: HashSet<u64> = lines.flat_map(|line| line.blocked(last)).collect();
        let doing = |loan: &Loan| match self.entries.get(&loan.offset).map(|entry| entry.state) {
            Some(State::Lent | State::Dying) => Held::InFlight,
            Some(State::Waiting) => Held::Waiting,
            Some(State::Delayed) => Held::Delayed,
            _ if blocked.contains(&loan.offset) => Held::Behind,
            None | Some(State::Ready) => Held::Ready,
        };
        held.iter().map(doing).collect()
    }

    /// Decides about a settlement. `chance` is between 0 and 1.
    pub(crate) fn settle(
        &self,
        (offset, loan): (u64, u64),
        settle: Settle,
        settings: &QueueSettings,
        (now, chance): (u64, f64),
    ) -> (Settled, Option<LaneEvent>) {
        let Some(entry) = self.entries.get(&offset) else {
            return (Settled::Gone, None);
        };
        if entry.loan != loan {
            return (Settled::Stale, None);
        }
        let lent = entry.state == State::Lent;
        match settle {
            Settle::Ack => {
                let acked = LaneEvent::Acked {
                    offsets: vec![offset],
                };
                match settings.ordering {
                    _ if lent => (Settled::Done, Some(acked)),
                    Ordering::None => (Settled::Expired, Some(acked)),
                    Ordering::Key => (Settled::Expired, None),
                }
            }
            _ if !lent => (Settled::Expired, None),
            Settle::Extend(ms)
                if now.saturating_add(ms) > entry.at_ms.saturating_add(LOAN_MS_MAX) =>
            {
                (Settled::TooLong, None)
            }
            Settle::Extend(ms) => {
                let until = after(now, ms);
                (Settled::Done, Some(LaneEvent::Extended { offset, until }))
            }
            Settle::Release(delay) => {
                let delay =
                    delay.unwrap_or_else(|| wait(entry.failed, Again::Failed, settings, chance));
                let due = if delay == 0 { 0 } else { after(now, delay) };
                let before = self.end;
                let released = LaneEvent::Released {
                    offset,
                    due,
                    before,
                };
                (Settled::Done, Some(released))
            }
        }
    }

    /// The event that takes a loan back which reached nobody; `None` when it has ended already.
    pub(crate) fn undo_event(&self, offset: u64, loan: u64) -> Option<LaneEvent> {
        let entry = self.entries.get(&offset)?;
        let offsets = vec![offset];
        (entry.loan == loan && entry.state == State::Lent)
            .then_some(LaneEvent::Undone { loan, offsets })
    }

    /// The event that makes everything from `from` on ready again that is not lent and does not wait.
    pub(crate) fn replay_event(&self, from: u64) -> LaneEvent {
        // What comes later was never touched.
        let from = from.min(self.end);
        let entries = self.entries.range(from..);
        let kept = entries.filter(|(_, entry)| entry.state != State::Ready);
        LaneEvent::Replayed {
            from,
            upto: self.end,
            kept: kept.map(|(offset, _)| *offset).collect(),
        }
    }

    /// Counts how long a message was held that is settled now.
    pub(crate) fn settled(&mut self, offset: u64, now: u64) {
        let lent = self.entries.get(&offset).filter(|e| e.state == State::Lent);
        if let Some(entry) = lent.cloned() {
            self.count_busy(&entry, now);
        }
    }

    /// The message that was sent with this id within the window, if there is one.
    pub(crate) fn duplicate(&self, id: IdHash, window_ms: u64, now: u64) -> Option<u64> {
        self.dedup.as_ref()?.find(id, window_ms, now)
    }

    /// Deduplication ids remembered.
    pub(crate) fn dedup_ids(&self) -> usize {
        self.dedup.as_ref().map_or(0, |dedup| dedup.len())
    }

    /// Sets messages aside that are about to leave. Nothing in the log: after a restart they are found again.
    pub(crate) fn set_aside(&mut self, offsets: &[u64]) {
        let picked: Vec<_> = offsets
            .iter()
            .filter_map(|offset| Some((*offset, self.entries.get(offset)?.line)))
            .collect();
        self.set_aside_picked(&picked);
    }

    /// The same for messages just picked, which may never have been lent.
    pub(crate) fn set_aside_picked(&mut self, picked: &[(u64, LineId)]) {
        for (offset, line) in picked {
            let entry = self.take_entry(*offset);
            let mut entry = entry.unwrap_or_else(|| Entry::new(*line));
            self.lines.hold(*line, *offset);
            entry.state = State::Dying;
            self.dying += 1;
            self.entries.insert(*offset, entry);
        }
    }

    /// Messages that were set aside could not leave: they are ready again.
    pub(crate) fn take_back(&mut self, offsets: &[u64]) {
        for offset in offsets
            .iter()
            .filter(|o| self.is_dying(**o))
            .copied()
            .collect::<Vec<_>>()
        {
            let Some(mut entry) = self.take_entry(offset) else {
                continue;
            };
            (entry.state, entry.stay) = (State::Ready, true);
            self.put_back(entry.line, offset, None);
            self.entries.insert(offset, entry);
        }
    }

    /// Whether a message is still set aside.
    pub(crate) fn is_dying(&self, offset: u64) -> bool {
        let entry = self.entries.get(&offset);
        entry.is_some_and(|entry| entry.state == State::Dying)
    }
}

/// The messages before the first one that must not be lent any more, and that one.
fn until_dying(
    lendable: impl Iterator<Item = u64>,
    dying: impl Fn(&u64) -> bool,
) -> (Vec<u64>, Option<u64>) {
    let mut lend = Vec::new();
    for offset in lendable {
        if dying(&offset) {
            return (lend, Some(offset));
        }
        lend.push(offset);
    }
    (lend, None)
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

/// Why a message is to be lent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It has failed once more.
    Failed,
    /// It was given back unharmed.
    Returned,
}

/// How long a message waits that is to be lent again and had failed `failed` times before.
pub(super) fn wait(failed: u32, why: Again, settings: &QueueSettings, chance: f64) -> u64 {
    let Some(backoff) = settings.backoff else {
        return 0;
    };
    let counts = match backoff.after {
        After::All => true,
        After::Failed => why == Again::Failed,
        After::Returned => why == Again::Returned,
    };
    if !counts {
        return 0;
    }
    let factor = match backoff.growth {
        Growth::Exponential => 1 << failed.min(62),
        Growth::Linear => u64::from(failed) + 1,
    };
    let wait = backoff.base_ms.saturating_mul(factor).min(backoff.max_ms);
    if backoff.jitter {
        // Sizes stay far below 2^53, and the product is no greater than the wait.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "see above"
        )]
        return (wait as f64 * chance.clamp(0.0, 1.0)) as u64;
    }
    wait
}

/// Hands over the messages before `upto` of several lines, greatest priority first and then by their places, until told
/// to stop. The lines come in the order of what is next in each, and are only looked into when it is their turn.
fn merge<'l>(
    lines: impl Iterator<Item = (Place, LineId, &'l Line)>,
    upto: u64,
    mut take: impl FnMut(u64, LineId) -> bool,
) {
    let mut lines = lines.peekable();
    let mut rests = Vec::new();
    let mut heads = BinaryHeap::new();
    loop {
        let first = heads
            .peek()
            .map(|Reverse((rank, place, _, _))| (*rank, *place));
        let is_next = |(head, _, line): &(Place, LineId, &Line)| {
            first.is_none_or(|first| (u8::MAX - line.level, *head) < first)
        };
        if let Some((_, id, line)) = lines.next_if(is_next) {
            let mut rest = line.lendable(upto);
            let rank = u8::MAX - line.level;
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
