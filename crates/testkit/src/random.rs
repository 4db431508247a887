//! Chance that repeats itself.

use std::sync::atomic::{AtomicU64, Ordering};

use engine::RandomSource;
use uuid::Uuid;

/// Identities from a seed: the same ones in every run, never the same twice.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    thrown: AtomicU64,
}

impl SeededRandom {
    /// A source that repeats itself for the same seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            thrown: AtomicU64::new(0),
        }
    }
}

impl RandomSource for SeededRandom {
    fn fresh_id(&self) -> Uuid {
        let count = self.thrown.fetch_add(1, Ordering::Relaxed);
        // The count alone keeps identities apart; the mixing makes them look like real ones.
        let high = mix(self.seed ^ count.rotate_left(32));
        Uuid::from_u64_pair(high, mix(count.wrapping_add(1)))
    }
}

/// Spreads every bit over all others, and is reversible (splitmix64).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
