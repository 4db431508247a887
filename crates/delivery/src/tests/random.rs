//! Random histories against the model: every outcome, every count, after every step.
//!
//! In order or not, with priorities or tenants or neither, with backoff, delays and deduplication; the clock steps,
//! also backwards, and the queue partition is folded out of its logs again and again while the log forgets what is
//! done. What tenants get is checked for less than the model could say: nothing is lost or doubled, each tenant's
//! messages come in their order, and who has no tenant comes before tenants that have much.
//!
//! `FOREBAY_MODEL_STEPS` sets how many steps are taken in all; a failure names the seed of its history.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::model::{Is, Known, Model};
use super::stage::{Message, Stage, released};
use crate::dedup::hash;
use crate::event::QueueEvent;
use crate::settings::{
    After, Backoff, DeadLetterPolicy, DedupScope, Growth, Limits, Ordering, QueueSettings,
};
use crate::settlement::{Settled, Settlement};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const ATTEMPTS: [&str; 3] = ["try-1", "try-2", "try-3"];
const IDS: u64 = 12;
const WINDOW: u64 = 5000;
const STEPS_OF_ONE: u64 = 400;

/// What all histories came to.
#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    duplicates: u64,
    leased: u64,
    leased_untimed: u64,
    died: u64,
    repeats: u64,
    restarts: u64,
}

struct World {
    stage: Stage,
    model: Model,
    rng: TestRng,
    /// Receipts that may still be used.
    receipts: Vec<(u64, u64)>,
    /// Messages in flight without a deadline.
    all_unacked: Vec<(u64, u64)>,
    levels: u8,
    /// Keys are tenants: a queue without order.
    tenants: bool,
    backwards: bool,
    totals: Totals,
    /// What was done, to find out why.
    history: Vec<String>,
}

/// A number below `n`.
fn below(rng: &mut TestRng, n: u64) -> u64 {
    rng.next_u64() % n
}

impl World {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let ordering = [Ordering::None, Ordering::Key][usize::from(seed % 2 == 1)];
        let levels = if ordering == Ordering::None && below(&mut rng, 2) == 0 {
            4
        } else {
            0
        };
        let attempts_max = [2, 3, 1000][usize::try_from(below(&mut rng, 3)).unwrap()];
        let tenants = ordering == Ordering::None && below(&mut rng, 2) == 0;
        let backoff = (below(&mut rng, 3) == 0).then_some(Backoff {
            base_ms: 300,
            max_ms: 4000,
            jitter: seed.is_multiple_of(3),
            growth: Growth::default(),
            after: After::default(),
        });
        let backwards = below(&mut rng, 2) == 0;
        let scopes = [DedupScope::Queue, DedupScope::Key];
        let settings = QueueSettings {
            ordering,
            priorities: levels,
            dead_letter: Some(DeadLetterPolicy {
                queue: "dead".into(),
                attempts_max,
            }),
            backoff,
            delivery_limit: [None, Some(1), Some(4)][usize::try_from(below(&mut rng, 3)).unwrap()],
            limits: Self::limits(&mut rng, backwards),
            dedup_window_ms: WINDOW,
            dedup_scope: scopes[usize::from(below(&mut rng, 2) == 0)],
            ..QueueSettings::default()
        };
        let mut model = Model::new(ordering, attempts_max);
        model.backoff = backoff;
        model.delivery_limit = settings.delivery_limit;
        Self {
            stage: Stage::new(settings),
            model,
            receipts: Vec::new(),
            all_unacked: Vec::new(),
            levels: u8::try_from(levels).unwrap(),
            tenants,
            totals: Totals::default(),
            backwards,
            history: Vec::new(),
            rng,
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        below(&mut self.rng, n)
    }

    fn ordered(&self) -> bool {
        self.stage.settings.ordering == Ordering::Key
    }

    fn step(&mut self) {
        let random = self.below(100);
        self.history
            .push(format!("step {random} at {}", self.stage.now));
        match random {
            0..=24 => self.send(),
            25..=37 => self.receive(),
            38..=46 => self.lease_untimed(),
            47..=48 => self.clear(),
            49..=58 => self.settle(),
            59..=69 => self.outcome(),
            70..=73 => self.undo(),
            74..=75 => self.leave(),
            76 => self.drop_before(),
            77 if !self.ordered() && self.levels == 0 => self.replay(),
            78..=80 => {
                self.stage.take_snapshot();
                self.model.snapshot();
            }
            81..=85 => self.restart(),
            86 => self.stage.forget(),
            87 if self.ordered() => self.redelay(),
            88 if !self.backwards => {
                let (window, now) = (WINDOW, self.stage.now);
                self.stage.state.expire_dedup(window, now);
            }
            _ => self.pass(),
        }
        self.enforce();
        // Slow, and what it finds stays wrong.
        if random.is_multiple_of(8) {
            assert_eq!(self.stage.state.check(), Ok(()), "{:?}", self.history);
            let held = self.stage.state.held_from(0, usize::MAX);
            let held: Vec<u64> = held.iter().map(|lease| lease.offset).collect();
            assert_eq!(held, self.model.held());
        }
        let counts = self.stage.state.counts();
        assert_eq!(
            (
                counts.ready + counts.removing,
                counts.leased,
                counts.waiting
            ),
            self.model.counts()
        );
        let end = self.stage.state.end();
        assert_eq!(
            self.stage.state.oldest(),
            self.model.oldest().unwrap_or(end)
        );
    }

    fn send(&mut self) {
        let most = if self.tenants && self.below(4) == 0 {
            30
        } else {
            6
        };
        let mut messages: Vec<Message> = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..=self.below(most) {
            let message = self.message();
            let id = message.dedup.as_ref().map(|id| self.scoped(&message, id));
            if let Some(id) = id
                && (ids.contains(&Some(id)) || self.is_duplicate(&message, id))
            {
                self.totals.duplicates += 1;
                continue;
            }
            ids.push(id);
            messages.push(message);
        }
        if messages.is_empty() {
            return;
        }
        self.totals.sent += messages.len() as u64;
        let base = self.stage.send(&messages);
        let (now, in_order) = (self.stage.now, self.ordered());
        for ((offset, message), id) in (base..).zip(&messages).zip(ids) {
            let queue_delay = self.stage.settings.delay_ms;
            let delay = if in_order { queue_delay } else { message.delay };
            let due = if delay > 0 { now + delay } else { 0 };
            let group = (message.key, message.priority);
            self.model.send(offset, group, id, (now, due));
            self.model.find(offset).expires = message.ttl.map(|ttl| now + delay + ttl);
        }
        self.model.tick(now);
    }

    fn message(&mut self) -> Message {
        let keyed = (self.ordered() || self.tenants) && self.below(8) > 0;
        let key = KEYS[usize::try_from(self.below(KEYS.len() as u64)).unwrap()];
        let delayed = !self.ordered() && self.below(8) == 0;
        let delay = if delayed { 1 + self.below(5000) } else { 0 };
        let level = if self.levels > 0 { self.below(4) } else { 0 };
        let id = self.below(IDS);
        Message {
            key: keyed.then_some(key),
            delay,
            dedup: (self.below(3) == 0).then(|| id.to_string()),
            priority: u8::try_from(level).unwrap(),
            // A clock that goes back would make them ready again.
            ttl: (!self.backwards && self.below(6) == 0).then(|| self.below(4000)),
        }
    }

    /// Limits of some queues.
    fn limits(rng: &mut TestRng, backwards: bool) -> Limits {
        let most = 5 + below(rng, 40);
        let mut limits = Limits::default();
        match below(rng, 8) {
            0 => limits.messages_max = Some(most),
            1 => limits.bytes_max = Some(most),
            // So short that every moment is told apart.
            2 if !backwards => limits.message_ttl_ms = Some(250),
            _ => {}
        }
        limits
    }

    /// An id with what it is unique in.
    fn scoped(&self, message: &Message, id: &str) -> (Option<&'static str>, u64) {
        let per_key = self.stage.settings.dedup_scope == DedupScope::Key;
        let scope = message.key.filter(|_| per_key);
        (scope, id.parse().unwrap())
    }

    fn is_duplicate(&mut self, message: &Message, id: (Option<&'static str>, u64)) -> bool {
        let text = message.dedup.as_ref().unwrap();
        let hashed = hash(id.0.map(str::as_bytes), text.as_bytes());
        let now = self.stage.now;
        let found = self.stage.state.duplicate(hashed, WINDOW, now);
        let expected = self.model.duplicate(id, now, Some(WINDOW));
        if self.backwards {
            // A clock that went back makes ids look younger than they are.
            assert!(expected.is_none() || found.is_some(), "{expected:?}");
            let known = found.is_none() || self.model.duplicate(id, now, None).is_some();
            assert!(known, "{found:?} was never sent with {id:?}");
        } else {
            assert_eq!(found, expected, "{id:?}");
        }
        found.is_some()
    }

    fn receive(&mut self) {
        let max = usize::try_from(1 + self.below(10)).unwrap();
        let lease_choices = if self.tenants {
            [500, 3000, 60_000]
        } else {
            [0, 500, 3000]
        };
        let lease_ms = lease_choices[usize::try_from(self.below(3)).unwrap()];
        let now = self.stage.now;
        self.model.tick(now);
        let attempt = (self.ordered() && self.below(4) == 0)
            .then(|| ATTEMPTS[usize::try_from(self.below(3)).unwrap()]);
        if let Some(name) = attempt
            && self.repeat(name, lease_ms)
        {
            return;
        }
        let expected = self.model.pick(max);
        let before: Vec<Known> = if self.tenants {
            self.model.available().into_iter().cloned().collect()
        } else {
            Vec::new()
        };
        let (taken, lease, removing) = self.stage.receive_as(max, lease_ms, attempt);
        if self.tenants {
            self.check_tenants(max, &before, &taken);
        } else {
            assert_eq!((&taken, &removing), (&expected.0, &expected.1));
        }
        self.totals.leased += taken.len() as u64;
        if !taken.is_empty() {
            self.model.acquire(&taken, now, now + lease_ms);
            if let Some(name) = attempt {
                self.model.attempted(name, now, &taken);
            }
            self.model.tick(now);
        }
        for offset in &removing {
            assert_eq!(self.model.find(*offset).is, Is::Ready);
            self.model.find(*offset).is = Is::Removing;
        }
        self.history.push(format!(
            "leased {taken:?} as {lease} for {lease_ms}, removing {removing:?}"
        ));
        self.receipts.extend(taken.iter().map(|o| (*o, lease)));
        // They leave at once, or stay.
        if !removing.is_empty() {
            if self.below(2) == 0 {
                self.left(&removing);
            } else {
                self.stage.state.unreserve(&removing);
                for offset in &removing {
                    self.model.find(*offset).place = (*offset, 0);
                    self.model.find(*offset).is = Is::Ready;
                }
                // It would be leased once more whatever the limit, which the model does not know: it leaves instead.
                self.stage.state.reserve_for_removal(&removing);
                self.left(&removing);
            }
        }
    }

    /// Leases without a deadline.
    fn lease_untimed(&mut self) {
        let max = usize::try_from(1 + self.below(6)).unwrap();
        let now = self.stage.now;
        self.model.tick(now);
        let expected = self.model.pick(max);
        let before: Vec<Known> = self.model.available().into_iter().cloned().collect();
        let (taken, lease, removing) = self.stage.lease_untimed(max);
        if self.tenants {
            self.check_tenants(max, &before, &taken);
        } else {
            assert_eq!((&taken, &removing), (&expected.0, &expected.1));
        }
        self.totals.leased_untimed += taken.len() as u64;
        if !taken.is_empty() {
            self.model.lease_untimed(&taken, now);
        }
        let step = format!("leased {taken:?} as {lease}, removing {removing:?}");
        self.history.push(step);
        self.all_unacked.extend(taken.iter().map(|o| (*o, lease)));
        if !removing.is_empty() {
            for offset in &removing {
                self.model.find(*offset).is = Is::Removing;
            }
            self.left(&removing);
        }
    }

    /// What becomes of it.
    fn outcome(&mut self) {
        if self.all_unacked.is_empty() {
            return;
        }
        let i = usize::try_from(self.below(self.all_unacked.len() as u64)).unwrap();
        let unacked = self.all_unacked.swap_remove(i);
        let charged = self.below(2) == 0;
        let what = match self.below(10) {
            0..=3 => Settlement::Ack,
            4 => Settlement::REQUEUE,
            5..=6 => Settlement::FAIL,
            7 => Settlement::REJECT,
            8 => Settlement::lost(charged),
            _ => Settlement::Undo,
        };
        let now = self.stage.now;
        self.model.tick(now);
        self.history.push(format!("{what:?} of {unacked:?}"));
        let expected = self.model.outcome(unacked, &what, now);
        let settled = self.stage.settle(unacked, &what);
        assert_eq!(settled == Settled::Done, expected, "{settled:?}");
    }

    /// Removes what failed too often, what is too old, and what is too much.
    fn enforce(&mut self) {
        self.stage.state.tick(self.stage.now);
        self.model.tick(self.stage.now);
        let spent = self.model.spend();
        assert_eq!(self.stage.spend(), spent);
        let limits = self.stage.settings.limits.clone();
        let expected = self.model.enforce(&limits, self.stage.now);
        let died = self.stage.enforce();
        if !(died.0.is_empty() && died.1.is_empty()) {
            self.history.push(format!("died {died:?}"));
        }
        self.totals.died += (died.0.len() + died.1.len()) as u64;
        assert_eq!(died, expected);
    }

    /// Drops what is ready or waits.
    fn clear(&mut self) {
        if self.below(3) > 0 {
            return;
        }
        self.stage.state.tick(self.stage.now);
        self.model.tick(self.stage.now);
        let event = self.stage.state.clear_event();
        self.stage.apply(&event, None);
        self.model.clear();
    }

    /// What was leased is what could be, as much as could be, each tenant's in order, and the quiet before the greedy.
    fn check_tenants(&self, max: usize, before: &[Known], taken: &[u64]) {
        assert_eq!(taken.len(), before.len().min(max));
        let mut last = std::collections::BTreeMap::new();
        for offset in taken {
            let known = before.iter().find(|k| k.offset == *offset);
            let known = known.expect("only what is ready is leased");
            let group = (known.key, known.level);
            assert!(
                last.insert(group, known.place)
                    .is_none_or(|b| b < known.place),
                "out of order in {group:?}"
            );
        }
        for known in before {
            let group = (known.key, known.level);
            let passed = last
                .get(&group)
                .is_some_and(|last: &(u64, u64)| known.place < *last);
            assert!(!passed || taken.contains(&known.offset), "passed over");
        }
        let has_much =
            |k: &&Known| taken.contains(&k.offset) && self.model.has_much(k.key, k.level);
        if before.iter().any(|k| has_much(&k)) {
            let mut quiet = before.iter().filter(|k| k.key.is_none());
            assert!(
                quiet.all(|k| taken.contains(&k.offset)),
                "the greedy come first"
            );
        }
    }

    /// The same once more, if the attempt is known and nothing of it has ended.
    fn repeat(&mut self, name: &str, lease_ms: u64) -> bool {
        let now = self.stage.now;
        self.stage.state.tick(now);
        let again = self.stage.state.repeat(name, now);
        assert_eq!(again, self.model.repeat(name, now), "{name}");
        let Some(offsets) = again else { return false };
        self.totals.repeats += 1;
        let until = now + lease_ms;
        for offset in offsets {
            self.stage
                .apply(&QueueEvent::Extended { offset, until }, None);
            self.model.find(offset).due = until;
        }
        self.stage.state.tick(now);
        self.model.tick(now);
        true
    }

    fn left(&mut self, offsets: &[u64]) {
        let event = QueueEvent::Left {
            offsets: offsets.to_vec(),
            task: None,
        };
        self.stage.apply(&event, None);
        for offset in offsets {
            self.model.leave(*offset);
        }
    }

    fn pick_receipt(&mut self) -> Option<(u64, u64)> {
        if self.receipts.is_empty() {
            return None;
        }
        let i = usize::try_from(self.below(self.receipts.len() as u64)).unwrap();
        if self.below(4) == 0 {
            Some(self.receipts[i])
        } else {
            Some(self.receipts.swap_remove(i))
        }
    }

    fn settle(&mut self) {
        let Some(receipt) = self.pick_receipt() else {
            return;
        };
        let what = match self.below(10) {
            0..=5 => Settlement::Ack,
            6 => Settlement::Extend(13 * 3_600_000),
            7 => Settlement::Extend(1 + self.below(4000)),
            8 if self.below(2) == 0 => released(0),
            8 => Settlement::FAIL,
            _ if self.below(2) == 0 => Settlement::REQUEUE,
            _ => released(1 + self.below(4000)),
        };
        self.model.tick(self.stage.now);
        self.history.push(format!("{what:?} of {receipt:?}"));
        let expected = self.model.settle(receipt, &what, self.stage.now);
        assert_eq!(self.stage.settle(receipt, &what), expected, "{what:?}");
    }

    fn undo(&mut self) {
        let Some((offset, lease)) = self.pick_receipt() else {
            return;
        };
        self.model.undo((offset, lease));
        self.stage.settle((offset, lease), &Settlement::Undo);
    }

    /// Messages that are ready leave for another queue.
    fn leave(&mut self) {
        let max = usize::try_from(1 + self.below(4)).unwrap();
        let upto = self.stage.state.end() - self.below(4).min(self.stage.state.end());
        let picked = self.stage.state.pick_removing(max, upto);
        self.stage.state.reserve_picked(&picked);
        let offsets: Vec<u64> = picked.iter().map(|(o, _)| *o).collect();
        assert_eq!(offsets, self.model.pick_removing(max, upto));
        for offset in &offsets {
            assert_eq!(self.model.find(*offset).is, Is::Ready);
        }
        self.left(&offsets);
    }

    fn drop_before(&mut self) {
        let end = self.stage.state.end();
        let before = self.below(end + 1);
        let purge = self.below(2) == 0;
        let event = if purge {
            QueueEvent::Purged { before }
        } else {
            QueueEvent::Trimmed { before }
        };
        self.stage.apply(&event, None);
        self.model.drop_before(before, purge);
    }

    fn replay(&mut self) {
        let end = self.stage.state.end();
        // Sometimes from beyond the end; never what the log has forgotten.
        let from = (end + 3)
            .saturating_sub(self.below(25))
            .max(self.stage.start);
        let event = self.stage.state.replay_event(from);
        self.stage.apply(&event, None);
        self.model.replay(from);
    }

    fn restart(&mut self) {
        self.stage.restart();
        let delay_ms = self.stage.settings.delay_ms;
        self.model.restart(self.stage.now, delay_ms);
        // The consumers with leases without a deadline are gone.
        self.all_unacked.clear();
        self.totals.restarts += 1;
    }

    fn redelay(&mut self) {
        let delay_ms = [0, 0, 500, 2000][usize::try_from(self.below(4)).unwrap()];
        self.stage.settings.delay_ms = delay_ms;
        self.stage.state.redelay(delay_ms);
        self.model.redelay(delay_ms);
        self.stage.state.tick(self.stage.now);
        self.model.tick(self.stage.now);
    }

    fn pass(&mut self) {
        if self.backwards && self.below(10) == 0 {
            self.stage.now -= self.below(1500);
        } else {
            // Now and then so long that no attempt can be repeated.
            let by = if self.below(300) == 0 {
                300_000
            } else {
                self.below(1500)
            };
            self.stage.pass(by);
        }
        self.stage.state.tick(self.stage.now);
        self.model.tick(self.stage.now);
    }
}

#[test]
fn random_histories_end_as_in_the_model() {
    let steps = std::env::var("FOREBAY_MODEL_STEPS")
        .ok()
        .and_then(|steps| steps.parse().ok())
        .unwrap_or(200_000_u64);
    let mut all = Totals::default();
    let histories = steps.div_ceil(STEPS_OF_ONE);
    for seed in 0..histories {
        let mut world = World::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS_OF_ONE {
                world.step();
            }
        }));
        if let Err(panic) = outcome {
            let from = world.history.len().saturating_sub(40);
            panic!(
                "the history of seed {seed} went wrong: {:?}\n{}",
                panic.downcast_ref::<String>(),
                world.history[from..].join("\n")
            );
        }
        all.sent += world.totals.sent;
        all.duplicates += world.totals.duplicates;
        all.leased += world.totals.leased;
        all.leased_untimed += world.totals.leased_untimed;
        all.died += world.totals.died;
        all.repeats += world.totals.repeats;
        all.restarts += world.totals.restarts;
    }
    println!(
        "model test: {histories} histories of {STEPS_OF_ONE} steps as in the model: {} messages sent, {} duplicates found, {} leases, {} without a deadline, {} died, {} attempts repeated, {} restarts",
        all.sent,
        all.duplicates,
        all.leased,
        all.leased_untimed,
        all.died,
        all.repeats,
        all.restarts
    );
}
