//! A queue the slow way: a list of messages, searched from the front for everything.

use std::collections::BTreeMap;

use crate::settings::{Backoff, Limits, Ordering};
use crate::settlement::{Settled, Settlement};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    Ready,
    Leased,
    Waiting,
    Delayed,
    Removing,
    Gone,
}

#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what may be so of a message, one by one"
)]
pub(super) struct Known {
    pub(super) offset: u64,
    pub(super) key: Option<&'static str>,
    pub(super) level: u8,
    pub(super) is: Is,
    pub(super) due: u64,
    pub(super) lease: u64,
    pub(super) leased: u32,
    pub(super) dedup: Option<(Option<&'static str>, u64)>,
    failed: u32,
    /// The last lease was neither settled nor given back.
    open: bool,
    /// When it was sent.
    sent: u64,
    at: u64,
    /// When it was first leased.
    first: u64,
    /// When it expires, if it has a time of its own.
    pub(super) expires: Option<u64>,
    bytes: u64,
    /// Where it stands among those that are ready: at a message's offset, as this one of those put behind it.
    pub(super) place: (u64, u64),
    /// It goes behind the others when its wait is over.
    behind: bool,
    /// Nothing is known of it but its record: no event, no snapshot.
    plain: bool,
    /// What a restart would make of it.
    durable: Is,
    /// In flight without a deadline: what the log knows instead.
    logged: Option<Box<Self>>,
    /// A restart forgets whose it is: it was one of many in a replay while it was in flight.
    loses_key: bool,
}

impl Known {
    /// The log knows what became of it; whose it is only as far as it did before.
    fn log(&mut self) {
        if let Some(logged) = self.logged.take() {
            self.loses_key |= logged.key != self.key;
        }
    }
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) all: Vec<Known>,
    ordering: Ordering,
    attempts_max: u32,
    pub(super) backoff: Option<Backoff>,
    pub(super) delivery_limit: Option<u32>,
    leases: u64,
    /// How many messages were put behind others.
    turns: u64,
    /// The last lease the log knows of.
    leases_logged: u64,
    /// When, as which lease, and which messages.
    attempts: BTreeMap<&'static str, (u64, u64, Vec<u64>)>,
}

impl Model {
    pub(super) fn new(ordering: Ordering, attempts_max: u32) -> Self {
        Self {
            all: Vec::new(),
            ordering,
            attempts_max,
            backoff: None,
            delivery_limit: None,
            leases: 0,
            turns: 0,
            leases_logged: 0,
            attempts: BTreeMap::new(),
        }
    }

    pub(super) fn send(
        &mut self,
        offset: u64,
        (key, level): (Option<&'static str>, u8),
        dedup: Option<(Option<&'static str>, u64)>,
        (sent, due): (u64, u64),
    ) {
        let is = if due > 0 { Is::Delayed } else { Is::Ready };
        self.all.push(Known {
            offset,
            key,
            level,
            is,
            due,
            lease: 0,
            leased: 0,
            dedup,
            failed: 0,
            open: false,
            sent,
            at: 0,
            first: 0,
            expires: None,
            bytes: 1,
            place: (offset, 0),
            behind: false,
            plain: true,
            durable: is,
            logged: None,
            loses_key: false,
        });
    }

    pub(super) fn tick(&mut self, now: u64) {
        let timed = |k: &&mut Known| matches!(k.is, Is::Leased | Is::Waiting | Is::Delayed);
        let last = self.all.len() as u64;
        let over = self.all.iter_mut().filter(timed);
        let mut over: Vec<&mut Known> = over.filter(|k| k.due <= now).collect();
        over.sort_by_key(|known| (known.due, known.offset));
        for known in over {
            known.place = (known.offset, 0);
            if known.is == Is::Leased || (known.is == Is::Waiting && known.behind) {
                self.turns += 1;
                known.place = (last - 1, self.turns);
            }
            known.is = Is::Ready;
        }
    }

    /// A snapshot keeps what time has done so far.
    pub(super) fn snapshot(&mut self) {
        self.leases_logged = self.leases;
        for known in &mut self.all {
            (known.plain, known.loses_key) = (false, false);
            if known.is == Is::Ready {
                known.durable = Is::Ready;
            }
            let leased_untimed = known.is == Is::Leased && known.logged.is_some();
            known.logged = leased_untimed.then(|| Box::new(Self::as_ready(known)));
        }
    }

    fn as_ready(known: &Known) -> Known {
        Known {
            is: Is::Ready,
            durable: Is::Ready,
            due: 0,
            leased: known.leased - 1,
            place: (known.offset, 0),
            lease: if known.leased == 1 { 0 } else { known.lease },
            logged: None,
            ..known.clone()
        }
    }

    /// In order, the queue's delay holds for everything that waits for its first time.
    pub(super) fn restart(&mut self, now: u64, delay_ms: u64) {
        let in_order = self.ordering == Ordering::Key;
        self.leases = self.leases_logged;
        for known in &mut self.all {
            if let Some(logged) = known.logged.take() {
                *known = *logged;
            }
            if std::mem::take(&mut known.loses_key) {
                known.key = None;
            }
            let unseen = known.plain && known.durable != Is::Gone;
            if in_order && unseen {
                known.durable = if delay_ms > 0 { Is::Delayed } else { Is::Ready };
            }
            known.is = known.durable;
            if in_order && known.is == Is::Delayed {
                known.due = known.sent + delay_ms;
            }
        }
        self.tick(now);
    }

    pub(super) fn redelay(&mut self, delay_ms: u64) {
        for known in self.all.iter_mut().filter(|k| k.is == Is::Delayed) {
            known.due = known.sent + delay_ms;
        }
    }

    /// The newest message of this id that was sent within the window; how long ago plays no part without a window.
    pub(super) fn duplicate(
        &self,
        id: (Option<&'static str>, u64),
        now: u64,
        window: Option<u64>,
    ) -> Option<u64> {
        let young = |k: &&Known| window.is_none_or(|ms| now.saturating_sub(k.sent) < ms);
        let mut of_id = self.all.iter().rev().filter(|k| k.dedup == Some(id));
        of_id.find(young).map(|k| k.offset)
    }

    /// What an attempt got that can be repeated.
    pub(super) fn repeat(&self, name: &str, now: u64) -> Option<Vec<u64>> {
        let (at, lease, offsets) = self.attempts.get(name)?;
        let still = |offset: &u64| {
            let known = self.all.iter().find(|k| k.offset == *offset);
            known.is_some_and(|k| k.is == Is::Leased && k.lease == *lease)
        };
        let valid = now.saturating_sub(*at) < 300_000 && offsets.iter().all(still);
        valid.then(|| offsets.clone())
    }

    pub(super) fn attempted(&mut self, name: &'static str, now: u64, offsets: &[u64]) {
        let attempt = (now, self.leases, offsets.to_vec());
        self.attempts.insert(name, attempt);
    }

    /// Messages that can be leased, of any tenant.
    pub(super) fn available(&self) -> Vec<&Known> {
        let mut all = self.candidates();
        all.retain(|k| k.leased < self.attempts_max);
        all
    }

    /// Whether a tenant has much of what is in flight, at one priority.
    pub(super) fn has_much(&self, key: Option<&str>, level: u8) -> bool {
        let leased = self.all.iter().filter(|k| k.is == Is::Leased);
        let own = leased.clone().filter(|k| k.key == key && k.level == level);
        let own = own.count();
        key.is_some() && own >= 30 && own * 10 > leased.count()
    }

    /// In the order in which they are leased.
    fn candidates(&self) -> Vec<&Known> {
        let mut all: Vec<&Known> = self.all.iter().filter(|k| k.is == Is::Ready).collect();
        all.sort_by_key(|known| (u8::MAX - known.level, known.place));
        all
    }

    /// In order, the messages of a key are delivered by their offsets, and the key stands where the first of them
    /// stands.
    fn heads(&self) -> Vec<&Known> {
        let mut all = self.candidates();
        if self.ordering == Ordering::Key {
            let first = |known: &&Known| {
                let before = |k: &&Known| k.key == known.key && k.offset < known.offset;
                known.key.is_none() || !all.iter().any(before)
            };
            let heads: Vec<&Known> = all.iter().copied().filter(|k| first(k)).collect();
            all = heads;
        }
        all
    }

    /// Whether a message before it of the same key is leased, waits or is about to leave.
    fn blocked(&self, known: &Known) -> bool {
        let holds = |k: &Known| matches!(k.is, Is::Leased | Is::Waiting | Is::Removing);
        self.ordering == Ordering::Key
            && known.key.is_some()
            && self
                .all
                .iter()
                .any(|k| k.key == known.key && k.offset < known.offset && holds(k))
    }

    /// What is leased, and what is found to have been leased too often.
    pub(super) fn pick(&self, max: usize) -> (Vec<u64>, Vec<u64>) {
        let (mut taken, mut removing) = (Vec::new(), Vec::new());
        if self.ordering == Ordering::None {
            for known in self.candidates() {
                if taken.len() == max {
                    break;
                }
                if known.leased >= self.attempts_max {
                    removing.push(known.offset);
                } else {
                    taken.push(known.offset);
                }
            }
            return (taken, removing);
        }
        let mut done: Vec<Option<&str>> = Vec::new();
        for head in self.heads() {
            if done.contains(&head.key) || self.blocked(head) {
                continue;
            }
            done.push(head.key);
            let mut of_key = self.candidates();
            of_key.retain(|k| k.key == head.key && !self.blocked(k));
            if head.key.is_some() {
                of_key.sort_by_key(|known| known.offset);
            }
            for known in of_key {
                if taken.len() == max {
                    return (taken, removing);
                }
                if known.leased >= self.attempts_max {
                    removing.push(known.offset);
                    break;
                }
                taken.push(known.offset);
            }
        }
        (taken, removing)
    }

    /// What leaves: greatest priority and oldest first, nothing out of turn.
    pub(super) fn pick_removing(&self, max: usize, upto: u64) -> Vec<u64> {
        let mut left = self.candidates();
        left.retain(|k| k.offset < upto && !self.blocked(k));
        let is_key = |k: &Known| self.ordering == Ordering::Key && k.key.is_some();
        let mut removing = Vec::new();
        while removing.len() < max {
            // Whose turn it is: a key where its first message stands.
            let comes_first = |k: &&Known| {
                let before = |o: &&Known| o.key == k.key && o.offset < k.offset;
                !is_key(k) || !left.iter().any(before)
            };
            let Some(next) = left.iter().copied().find(comes_first) else {
                break;
            };
            removing.push(next.offset);
            left.retain(|k| k.offset != next.offset);
        }
        removing
    }

    pub(super) fn acquire(&mut self, offsets: &[u64], now: u64, until: u64) {
        self.leases += 1;
        self.leases_logged = self.leases;
        let lease = self.leases;
        for offset in offsets {
            let known = self.find(*offset);
            known.is = Is::Leased;
            known.durable = Is::Leased;
            known.log();
            (known.lease, known.at, known.due) = (lease, now, until);
            known.leased += 1;
            if known.leased == 1 {
                known.first = now;
            }
            known.failed += u32::from(known.open);
            (known.open, known.plain) = (true, false);
        }
    }

    /// Leases without a deadline: not for the log.
    pub(super) fn lease_untimed(&mut self, offsets: &[u64], now: u64) {
        self.leases += 1;
        let lease = self.leases;
        for offset in offsets {
            let known = self.find(*offset);
            let before = known.clone();
            known.logged.get_or_insert_with(|| Box::new(before));
            known.is = Is::Leased;
            (known.lease, known.at, known.due) = (lease, now, u64::MAX);
            known.leased += 1;
            known.failed += u32::from(known.open);
            known.open = false;
            if known.leased == 1 {
                known.first = now;
            }
        }
    }

    /// What becomes of a message leased so; returns whether it was.
    pub(super) fn outcome(
        &mut self,
        (offset, lease): (u64, u64),
        what: &Settlement,
        now: u64,
    ) -> bool {
        let backoff = self.backoff;
        let known = self.find(offset);
        if known.is != Is::Leased || known.lease != lease || known.logged.is_none() {
            return false;
        }
        let charged = matches!(what, Settlement::Release { class: Some(_), .. });
        let total = known.failed + u32::from(charged);
        let gone = matches!(what, Settlement::Ack | Settlement::Reject(_));
        if gone {
            known.logged = None;
            (known.is, known.durable) = (Is::Gone, Is::Gone);
            return true;
        }
        known.place = (offset, 0);
        if *what == Settlement::Undo {
            known.is = Is::Ready;
            known.due = 0;
            known.leased -= 1;
            if known.leased == 0 {
                (known.lease, known.failed) = (0, 0);
            }
            // The log still knows nothing of it.
            return true;
        }
        let grown = |b: Backoff| (b.base_ms << known.failed.min(30)).min(b.max_ms);
        let hot = if known.leased >= 10
            && now.saturating_sub(known.first) < u64::from(known.leased) * 100
        {
            (100 << (known.leased / 10 - 1)).min(10_000)
        } else {
            0
        };
        let delay = backoff.map_or(0, grown).max(hot);
        known.failed = total;
        known.log();
        (known.plain, known.behind) = (false, false);
        // After a restart no lease is known, but that there was one.
        known.lease = u64::MAX;
        let is = if delay == 0 { Is::Ready } else { Is::Waiting };
        (known.is, known.durable) = (is, is);
        known.due = if delay == 0 { 0 } else { now + delay };
        true
    }

    pub(super) fn find(&mut self, offset: u64) -> &mut Known {
        self.all.iter_mut().find(|k| k.offset == offset).unwrap()
    }

    pub(super) fn settle(
        &mut self,
        (offset, lease): (u64, u64),
        what: &Settlement,
        now: u64,
    ) -> Settled {
        let (ordering, backoff) = (self.ordering, self.backoff);
        let (last, turn) = (self.all.len() as u64 - 1, self.turns + 1);
        let Some(known) = self.all.iter_mut().find(|k| k.offset == offset) else {
            return Settled::Gone;
        };
        if known.is == Is::Gone || known.lease == 0 {
            return Settled::Gone;
        }
        if known.lease != lease {
            return Settled::Stale;
        }
        let leased = known.is == Is::Leased;
        match what {
            Settlement::Ack => {
                if leased || ordering == Ordering::None {
                    (known.is, known.durable) = (Is::Gone, Is::Gone);
                }
                if leased {
                    Settled::Done
                } else {
                    Settled::Expired
                }
            }
            _ if !leased => Settled::Expired,
            Settlement::Extend(ms) if now + ms > known.at + 12 * 3_600_000 => Settled::TooLong,
            Settlement::Extend(ms) => {
                known.due = now + ms;
                Settled::Done
            }
            Settlement::Reject(_) | Settlement::Undo => unreachable!("not drawn here"),
            Settlement::Release { delay, class } => {
                let delay = delay.unwrap_or_else(|| {
                    let grown = |b: Backoff| (b.base_ms << known.failed.min(30)).min(b.max_ms);
                    backoff.map_or(0, grown)
                });
                let is = if delay == 0 { Is::Ready } else { Is::Waiting };
                (known.is, known.durable) = (is, is);
                known.due = now + delay;
                if class.is_none() {
                    // Unharmed: at its old place, on no lease any more.
                    (known.open, known.behind) = (false, false);
                    (known.place, known.lease) = ((offset, 0), u64::MAX);
                    return Settled::Done;
                }
                known.failed += 1;
                (known.open, known.behind) = (false, true);
                if delay == 0 {
                    known.place = (last, turn);
                    self.turns = turn;
                }
                Settled::Done
            }
        }
    }

    pub(super) fn undo(&mut self, (offset, lease): (u64, u64)) {
        let known = self.find(offset);
        if known.is == Is::Leased && known.lease == lease {
            (known.is, known.durable) = (Is::Ready, Is::Ready);
            known.place = (offset, 0);
            known.leased -= 1;
            known.open = false;
            if known.leased == 0 {
                (known.lease, known.failed) = (0, 0);
            }
        }
    }

    /// Gone, whatever happens.
    pub(super) fn leave(&mut self, offset: u64) {
        let known = self.find(offset);
        known.logged = None;
        (known.is, known.durable) = (Is::Gone, Is::Gone);
    }

    pub(super) fn drop_before(&mut self, before: u64, purge: bool) {
        if purge {
            for known in self.all.iter_mut().filter(|k| k.offset < before) {
                known.dedup = None;
            }
        }
        for known in self.all.iter_mut().filter(|k| k.offset < before) {
            known.logged = None;
            (known.is, known.durable) = (Is::Gone, Is::Gone);
        }
    }

    /// What came back and has failed more often than it may is gone, whichever consumer failed it.
    pub(super) fn spend(&mut self) -> Vec<u64> {
        let Some(limit) = self.delivery_limit else {
            return Vec::new();
        };
        let is_spent = |k: &&Known| {
            let is_back = matches!(k.is, Is::Ready | Is::Waiting);
            is_back && k.failed + u32::from(k.open) > limit
        };
        let spent = self.all.iter().filter(is_spent).map(|k| k.offset);
        let spent: Vec<u64> = spent.collect();
        for offset in &spent {
            self.leave(*offset);
        }
        spent
    }

    /// What has grown too old, and what is too many of what is left then, are gone.
    pub(super) fn enforce(&mut self, limits: &Limits, now: u64) -> (Vec<u64>, Vec<u64>) {
        let is_over = |k: &&Known| {
            let age = limits.message_ttl_ms.map(|age| k.sent + age);
            let expires = age.into_iter().chain(k.expires).min();
            k.is == Is::Ready && expires.is_some_and(|expires| expires <= now)
        };
        let old: Vec<u64> = self.all.iter().filter(is_over).map(|k| k.offset).collect();
        for offset in &old {
            self.leave(*offset);
        }
        let mut ready: Vec<&Known> = self.all.iter().filter(|k| k.is == Is::Ready).collect();
        ready.sort_by_key(|k| (k.level, k.offset));
        // Those in flight do not count, of their bytes neither.
        let held = self
            .all
            .iter()
            .filter(|k| !matches!(k.is, Is::Gone | Is::Leased));
        let held: u64 = held.map(|k| k.bytes).sum();
        let over = |have: u64, most: Option<u64>| most.map_or(0, |most| have.saturating_sub(most));
        let count = over(ready.len() as u64, limits.messages_max);
        let bytes = over(held, limits.bytes_max);
        let (mut many, mut freed) = (Vec::new(), 0);
        for known in ready {
            if many.len() as u64 >= count && freed >= bytes {
                break;
            }
            many.push(known.offset);
            freed += known.bytes;
        }
        for offset in &many {
            self.leave(*offset);
        }
        (old, many)
    }

    /// Everything that is ready or waits goes.
    pub(super) fn clear(&mut self) {
        let goes = |k: &&mut Known| matches!(k.is, Is::Ready | Is::Waiting | Is::Delayed);
        for known in self.all.iter_mut().filter(goes) {
            known.logged = None;
            (known.is, known.durable) = (Is::Gone, Is::Gone);
        }
    }

    pub(super) fn replay(&mut self, from: u64) {
        for known in self.all.iter_mut().filter(|k| k.offset >= from) {
            // What is in flight and was untouched before is one of many when it comes back in a restart.
            if let Some(logged) = known.logged.as_mut().filter(|_| known.is == Is::Leased)
                && (logged.lease, logged.durable) == (0, Is::Ready)
            {
                logged.key = None;
                logged.plain = false;
            }
            if known.is == Is::Gone {
                // Of what was gone nobody knows how long it was to live, and how large it is.
                (known.expires, known.bytes) = (None, 0);
            }
            if matches!(known.is, Is::Gone | Is::Ready) {
                known.logged = None;
                (known.is, known.durable) = (Is::Ready, Is::Ready);
                (known.lease, known.leased) = (0, 0);
                (known.failed, known.open, known.plain) = (0, false, false);
                known.place = (known.offset, 0);
                // It is one of many from now on.
                known.key = None;
            }
        }
    }

    /// Ready, leased, waiting.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let count = |of: &[Is]| self.all.iter().filter(|k| of.contains(&k.is)).count() as u64;
        (
            count(&[Is::Ready, Is::Removing]),
            count(&[Is::Leased]),
            count(&[Is::Waiting, Is::Delayed]),
        )
    }

    /// Everything that is not gone.
    pub(super) fn held(&self) -> Vec<u64> {
        let live = self.all.iter().filter(|k| k.is != Is::Gone);
        live.map(|k| k.offset).collect()
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        let live = self.all.iter().filter(|k| k.is != Is::Gone);
        live.map(|k| k.offset).min()
    }
}
