//! A queue the slow way: a list of messages, searched from the front for everything.

use crate::queue::{Ordering, Settle, Settled};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    Ready,
    Lent,
    Waiting,
    Delayed,
    Dying,
    Gone,
}

#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) offset: u64,
    pub(super) key: Option<&'static str>,
    pub(super) level: u8,
    pub(super) is: Is,
    pub(super) due: u64,
    pub(super) loan: u64,
    pub(super) lent: u32,
    at: u64,
    /// What a restart would make of it.
    durable: Is,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) all: Vec<Known>,
    ordering: Ordering,
    attempts_max: u32,
    loans: u64,
}

impl Model {
    pub(super) fn new(ordering: Ordering, attempts_max: u32) -> Self {
        Self {
            all: Vec::new(),
            ordering,
            attempts_max,
            loans: 0,
        }
    }

    pub(super) fn send(&mut self, offset: u64, key: Option<&'static str>, level: u8, due: u64) {
        let is = if due > 0 { Is::Delayed } else { Is::Ready };
        self.all.push(Known {
            offset,
            key,
            level,
            is,
            due,
            loan: 0,
            lent: 0,
            at: 0,
            durable: is,
        });
    }

    pub(super) fn tick(&mut self, now: u64) {
        for known in &mut self.all {
            let timed = matches!(known.is, Is::Lent | Is::Waiting | Is::Delayed);
            if timed && known.due <= now {
                known.is = Is::Ready;
            }
        }
    }

    /// A snapshot keeps what time has done so far.
    pub(super) fn snapshot(&mut self) {
        for known in self.all.iter_mut().filter(|k| k.is == Is::Ready) {
            known.durable = Is::Ready;
        }
    }

    pub(super) fn restart(&mut self, now: u64) {
        for known in &mut self.all {
            known.is = known.durable;
        }
        self.tick(now);
    }

    /// In the order in which they are lent.
    fn candidates(&self) -> Vec<&Known> {
        let mut all: Vec<&Known> = self.all.iter().filter(|k| k.is == Is::Ready).collect();
        all.sort_by_key(|known| (u8::MAX - known.level, known.offset));
        all
    }

    /// Whether a message before it of the same key is lent, waits or is about to leave.
    fn blocked(&self, known: &Known) -> bool {
        let holds = |k: &Known| matches!(k.is, Is::Lent | Is::Waiting | Is::Dying);
        self.ordering == Ordering::Key
            && known.key.is_some()
            && self
                .all
                .iter()
                .any(|k| k.key == known.key && k.offset < known.offset && holds(k))
    }

    /// What is lent, and what is found to have been lent too often.
    pub(super) fn pick(&self, max: usize) -> (Vec<u64>, Vec<u64>) {
        let (mut taken, mut dying) = (Vec::new(), Vec::new());
        if self.ordering == Ordering::None {
            for known in self.candidates() {
                if taken.len() == max {
                    break;
                }
                if known.lent >= self.attempts_max {
                    dying.push(known.offset);
                } else {
                    taken.push(known.offset);
                }
            }
            return (taken, dying);
        }
        let mut done: Vec<Option<&str>> = Vec::new();
        for head in self.candidates() {
            if done.contains(&head.key) || self.blocked(head) {
                continue;
            }
            done.push(head.key);
            let of_key = self.candidates().into_iter().filter(|k| k.key == head.key);
            for known in of_key.filter(|k| !self.blocked(k)) {
                if taken.len() == max {
                    return (taken, dying);
                }
                if known.lent >= self.attempts_max {
                    dying.push(known.offset);
                    break;
                }
                taken.push(known.offset);
            }
        }
        (taken, dying)
    }

    /// What leaves: greatest priority and oldest first, nothing out of turn.
    pub(super) fn pick_leaving(&self, max: usize, upto: u64) -> Vec<u64> {
        let ready = self.candidates().into_iter();
        let free = ready.filter(|k| k.offset < upto && !self.blocked(k));
        free.map(|k| k.offset).take(max).collect()
    }

    pub(super) fn lend(&mut self, offsets: &[u64], now: u64, until: u64) {
        self.loans += 1;
        let loan = self.loans;
        for offset in offsets {
            let known = self.find(*offset);
            known.is = Is::Lent;
            known.durable = Is::Lent;
            (known.loan, known.at, known.due) = (loan, now, until);
            known.lent += 1;
        }
    }

    pub(super) fn find(&mut self, offset: u64) -> &mut Known {
        self.all.iter_mut().find(|k| k.offset == offset).unwrap()
    }

    pub(super) fn settle(&mut self, (offset, loan): (u64, u64), what: Settle, now: u64) -> Settled {
        let ordering = self.ordering;
        let Some(known) = self.all.iter_mut().find(|k| k.offset == offset) else {
            return Settled::Gone;
        };
        if known.is == Is::Gone || known.loan == 0 {
            return Settled::Gone;
        }
        if known.loan != loan {
            return Settled::Stale;
        }
        let lent = known.is == Is::Lent;
        match what {
            Settle::Ack => {
                if lent || ordering == Ordering::None {
                    (known.is, known.durable) = (Is::Gone, Is::Gone);
                }
                if lent {
                    Settled::Done
                } else {
                    Settled::Expired
                }
            }
            _ if !lent => Settled::Expired,
            Settle::Extend(ms) if now + ms > known.at + 12 * 3_600_000 => Settled::TooLong,
            Settle::Extend(ms) => {
                known.due = now + ms;
                Settled::Done
            }
            Settle::Release(delay) => {
                let delay = delay.unwrap_or(0);
                let is = if delay == 0 { Is::Ready } else { Is::Waiting };
                (known.is, known.durable) = (is, is);
                known.due = now + delay;
                Settled::Done
            }
        }
    }

    pub(super) fn undo(&mut self, (offset, loan): (u64, u64)) {
        let known = self.find(offset);
        if known.is == Is::Lent && known.loan == loan {
            (known.is, known.durable) = (Is::Ready, Is::Ready);
            known.lent -= 1;
            if known.lent == 0 {
                known.loan = 0;
            }
        }
    }

    /// Gone, whatever happens.
    pub(super) fn leave(&mut self, offset: u64) {
        let known = self.find(offset);
        (known.is, known.durable) = (Is::Gone, Is::Gone);
    }

    pub(super) fn drop_before(&mut self, before: u64) {
        for known in self.all.iter_mut().filter(|k| k.offset < before) {
            (known.is, known.durable) = (Is::Gone, Is::Gone);
        }
    }

    pub(super) fn replay(&mut self, from: u64) {
        for known in self.all.iter_mut().filter(|k| k.offset >= from) {
            if matches!(known.is, Is::Gone | Is::Ready) {
                (known.is, known.durable) = (Is::Ready, Is::Ready);
                (known.loan, known.lent) = (0, 0);
            }
        }
    }

    /// Ready, lent, waiting.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let count = |of: &[Is]| self.all.iter().filter(|k| of.contains(&k.is)).count() as u64;
        (
            count(&[Is::Ready, Is::Dying]),
            count(&[Is::Lent]),
            count(&[Is::Waiting, Is::Delayed]),
        )
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        let live = self.all.iter().filter(|k| k.is != Is::Gone);
        live.map(|k| k.offset).min()
    }
}
