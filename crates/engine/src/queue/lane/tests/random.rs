//! Random histories against the model: every outcome, every count, after every step.
//!
//! `FOREBAY_MODEL_STEPS` sets how many steps are taken in all; a failure names the seed of its history.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::model::{Is, Model};
use super::stage::{Message, Stage};
use crate::queue::lane::LaneEvent;
use crate::queue::{DeadLetterPolicy, Ordering, QueueSettings, Settle};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const STEPS_OF_ONE: u64 = 400;

struct World {
    stage: Stage,
    model: Model,
    rng: TestRng,
    /// Receipts somebody may still use.
    receipts: Vec<(u64, u64)>,
    levels: u8,
    backwards: bool,
    /// What was done, for whoever has to find out why.
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
        let settings = QueueSettings {
            ordering,
            priorities: levels,
            dead_letter: Some(DeadLetterPolicy {
                queue: "dead".into(),
                attempts_max,
            }),
            ..QueueSettings::default()
        };
        Self {
            stage: Stage::new(settings),
            model: Model::new(ordering, attempts_max),
            receipts: Vec::new(),
            levels: u8::try_from(levels).unwrap(),
            backwards: below(&mut rng, 2) == 0,
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
        let dice = self.below(100);
        self.history
            .push(format!("step {dice} at {}", self.stage.now));
        match dice {
            0..=24 => self.send(),
            25..=49 => self.receive(),
            50..=69 => self.settle(),
            70..=73 => self.undo(),
            74..=75 => self.leave(),
            76 => self.drop_before(),
            77 if !self.ordered() && self.levels == 0 => self.replay(),
            78..=80 => {
                self.stage.take_snapshot();
                self.model.snapshot();
            }
            81..=85 => self.restart(),
            _ => self.pass(),
        }
        let counts = self.stage.lane.counts();
        assert_eq!(
            (counts.ready, counts.lent, counts.waiting),
            self.model.counts()
        );
        let end = self.stage.lane.end();
        assert_eq!(self.stage.lane.oldest(), self.model.oldest().unwrap_or(end));
    }

    fn send(&mut self) {
        let mut messages = Vec::new();
        for _ in 0..=self.below(6) {
            let keyed = self.ordered() && self.below(8) > 0;
            let key = KEYS[usize::try_from(self.below(KEYS.len() as u64)).unwrap()];
            let delay = if self.below(8) == 0 {
                1 + self.below(5000)
            } else {
                0
            };
            let level = if self.levels > 0 { self.below(4) } else { 0 };
            messages.push(Message {
                key: keyed.then_some(key),
                delay,
                dedup: None,
                priority: u8::try_from(level).unwrap(),
            });
        }
        let base = self.stage.send(&messages);
        for (offset, message) in (base..).zip(&messages) {
            let due = if message.delay > 0 {
                self.stage.now + message.delay
            } else {
                0
            };
            self.model.send(offset, message.key, message.priority, due);
        }
        self.model.tick(self.stage.now);
    }

    fn receive(&mut self) {
        let max = usize::try_from(1 + self.below(10)).unwrap();
        let lease = [0, 500, 3000][usize::try_from(self.below(3)).unwrap()];
        let now = self.stage.now;
        self.model.tick(now);
        let (expected, dies) = self.model.pick(max);
        let (taken, loan, dying) = self.stage.receive_as(max, lease, None);
        assert_eq!((&taken, &dying), (&expected, &dies));
        if !taken.is_empty() {
            self.model.lend(&taken, now, now + lease);
            self.model.tick(now);
        }
        for offset in &dying {
            self.model.find(*offset).is = Is::Dying;
        }
        self.history.push(format!(
            "lent {taken:?} as {loan} for {lease}, dying {dying:?}"
        ));
        self.receipts.extend(taken.iter().map(|o| (*o, loan)));
        // They leave at once, or stay.
        if !dying.is_empty() {
            if self.below(2) == 0 {
                self.left(&dying);
            } else {
                self.stage.lane.take_back(&dying);
                for offset in &dying {
                    self.model.find(*offset).is = Is::Ready;
                }
                // It would be lent once more whatever the limit, which the model does not know: it leaves instead.
                self.stage.lane.set_aside(&dying);
                self.left(&dying);
            }
        }
    }

    fn left(&mut self, offsets: &[u64]) {
        let event = LaneEvent::Left {
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
            0..=5 => Settle::Ack,
            6 => Settle::Extend(13 * 3_600_000),
            7 => Settle::Extend(1 + self.below(4000)),
            8 => Settle::Release(Some(0)),
            _ => Settle::Release(Some(1 + self.below(4000))),
        };
        self.model.tick(self.stage.now);
        self.history.push(format!("{what:?} of {receipt:?}"));
        let expected = self.model.settle(receipt, what, self.stage.now);
        assert_eq!(self.stage.settle(receipt, what), expected, "{what:?}");
    }

    fn undo(&mut self) {
        let Some((offset, loan)) = self.pick_receipt() else {
            return;
        };
        self.model.undo((offset, loan));
        if let Some(event) = self.stage.lane.undo_event(offset, loan) {
            self.stage.apply(&event, None);
        }
    }

    /// Messages that are ready leave for another queue.
    fn leave(&mut self) {
        let max = usize::try_from(1 + self.below(4)).unwrap();
        let upto = self.stage.lane.end() - self.below(4).min(self.stage.lane.end());
        let picked = self.stage.lane.pick_leaving(max, upto);
        self.stage.lane.set_aside_picked(&picked);
        let offsets: Vec<u64> = picked.iter().map(|(o, _)| *o).collect();
        assert_eq!(offsets, self.model.pick_leaving(max, upto));
        for offset in &offsets {
            assert_eq!(self.model.find(*offset).is, Is::Ready);
        }
        self.left(&offsets);
    }

    fn drop_before(&mut self) {
        let end = self.stage.lane.end();
        let before = self.below(end + 1);
        let event = if self.below(2) == 0 {
            LaneEvent::Trimmed { before }
        } else {
            LaneEvent::Purged { before }
        };
        self.stage.apply(&event, None);
        self.model.drop_before(before);
    }

    fn replay(&mut self) {
        let end = self.stage.lane.end();
        let from = end - self.below(end.min(20) + 1);
        let event = self.stage.lane.replay_event(from);
        self.stage.apply(&event, None);
        self.model.replay(from);
    }

    fn restart(&mut self) {
        self.stage.restart();
        self.model.restart(self.stage.now);
    }

    fn pass(&mut self) {
        if self.backwards && self.below(10) == 0 {
            self.stage.now -= self.below(1500);
        } else {
            let by = self.below(1500);
            self.stage.pass(by);
        }
        self.stage.lane.tick(self.stage.now);
        self.model.tick(self.stage.now);
    }
}

#[test]
fn random_histories_end_as_in_the_model() {
    let steps = std::env::var("FOREBAY_MODEL_STEPS")
        .ok()
        .and_then(|steps| steps.parse().ok())
        .unwrap_or(200_000_u64);
    for seed in 0..steps.div_ceil(STEPS_OF_ONE) {
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
    }
}
