//! A small deterministic generator, so that a failing message can be made again from its seed.

use bytes::Bytes;
use uuid::Uuid;

use crate::wire::{Records, SHARED_BYTES_MIN};

/// Most elements of a generated array; enough to notice a length that is not one.
const ARRAY_LENGTH_MAX: u64 = 3;

pub(crate) struct RandomSource(u64);

impl RandomSource {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// Small numbers and extremes, because those are where encodings differ.
    pub(crate) fn i64(&mut self) -> i64 {
        match self.below(4) {
            0 => self.below(3).cast_signed().saturating_sub(1),
            1 => i64::MIN,
            2 => i64::MAX,
            _ => self.next().cast_signed(),
        }
    }

    pub(crate) fn i8(&mut self) -> i8 {
        self.i64().to_le_bytes()[0].cast_signed()
    }

    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_le_bytes([self.i8().cast_unsigned(), self.i8().cast_unsigned()])
    }

    pub(crate) fn i32(&mut self) -> i32 {
        match self.below(3) {
            0 => i32::from(self.i8()),
            1 => i32::MIN,
            _ => i32::from(self.i16()).wrapping_mul(65_537),
        }
    }

    pub(crate) fn f64(&mut self) -> f64 {
        f64::from(self.i32()) / 4.0
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }

    /// Mostly short; sometimes long enough that its length takes two bytes.
    pub(crate) fn string(&mut self) -> String {
        let length = if self.below(8) == 0 {
            200
        } else {
            self.below(8)
        };
        (0..length)
            .map(|_| ['a', 'Z', '0', '.', '-', 'é', '字', '🦀'])
            .filter_map(|letters| letters.get(usize::try_from(self.below(8)).ok()?).copied())
            .collect()
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        self.string().into_bytes()
    }

    /// Null, tiny, or beyond the size from which they are shared.
    pub(crate) fn records(&mut self) -> Records {
        let fill = self.i8().cast_unsigned();
        let part = Bytes::from(vec![fill; SHARED_BYTES_MIN]);
        match self.below(4) {
            0 => Records::Null,
            1 => Records::One(Bytes::from(self.bytes())),
            2 => Records::One(part),
            _ => Records::Many(vec![part.clone(), Bytes::from(self.bytes()), part]),
        }
    }

    pub(crate) fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(3) > 0).then(|| some(self))
    }

    pub(crate) fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.below(ARRAY_LENGTH_MAX.saturating_add(1));
        (0..length).map(|_| element(self)).collect()
    }
}
