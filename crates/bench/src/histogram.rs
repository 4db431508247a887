//! Log-linear histogram: each power of two is divided into 64 equal buckets, so that a percentile is at most 1.6 %
//! above the truth, at any magnitude and in constant memory.

use std::time::Duration;

/// log2 of the buckets per power of two.
const FINE_BITS: u32 = 6;
const FINE: usize = 1 << FINE_BITS;
/// Every value of 64 bits has a bucket.
const BUCKETS: usize = FINE * (64 - FINE_BITS as usize + 1);

/// Counts of durations, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Adds what `other` counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The longest one, exactly.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The duration that `per_mille` of all did not exceed, rounded up to the end of its bucket.
    pub(crate) fn percentile(&self, per_mille: u64) -> Duration {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(last_of(index).min(self.max));
            }
        }
        self.max()
    }
}

fn bucket(value: u64) -> usize {
    let magnitude = (u64::BITS - value.leading_zeros()).saturating_sub(FINE_BITS + 1);
    // Below 2^58 after the shift leaves FINE_BITS + 1 bits, the upper one set unless the magnitude is 0.
    let fine = usize::try_from(value >> magnitude).unwrap_or(usize::MAX);
    magnitude as usize * FINE + fine
}

/// Greatest value in a bucket: the inverse of [`bucket`].
fn last_of(index: usize) -> u64 {
    let magnitude = (index / FINE).saturating_sub(1);
    let fine = (index - magnitude * FINE) as u128;
    u64::try_from(((fine + 1) << magnitude) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.record(Duration::from_nanos(value));
        }
        histogram
    }

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(last_of(BUCKETS - 1), u64::MAX);
        for index in 0..BUCKETS - 1 {
            let last = last_of(index);
            assert_eq!(bucket(last), index, "{last}");
            assert_eq!(bucket(last + 1), index + 1, "{last}");
        }
    }

    #[test]
    fn percentiles_of_a_uniform_load() {
        let histogram = filled((1..=100_000).map(|micros| micros * 1000));
        for (per_mille, exact) in [(500, 50_000_000_u128), (990, 99_000_000), (999, 99_900_000)] {
            let found = histogram.percentile(per_mille).as_nanos();
            let error = exact / 64;
            assert!(
                (exact..=exact + error).contains(&found),
                "{per_mille}: {found}"
            );
        }
        assert_eq!(histogram.percentile(1000), Duration::from_millis(100));
        assert_eq!(histogram.max(), Duration::from_millis(100));
    }

    #[test]
    fn one_slow_answer_shows_where_it_should() {
        let histogram = filled((0..999).map(|_| 1000).chain([5_000_000]));
        assert!(histogram.percentile(990) < Duration::from_nanos(1024));
        assert!(histogram.percentile(999) < Duration::from_nanos(1024));
        assert_eq!(histogram.percentile(1000), Duration::from_millis(5));
    }

    #[test]
    fn merging_is_counting_together() {
        let mut left = filled(0..500);
        left.merge(&filled(500..1000));
        let both = filled(0..1000);
        assert_eq!(left.percentile(500), both.percentile(500));
        assert_eq!(left.max(), both.max());
    }

    #[test]
    fn nothing_counted_is_zero() {
        let empty = Histogram::default();
        assert!(empty.is_empty());
        assert_eq!(empty.percentile(999), Duration::ZERO);
    }
}
