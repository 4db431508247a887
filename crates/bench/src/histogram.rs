//! How long things took: counts of durations, of which percentiles are asked.

use std::time::Duration;

use hdrhistogram::Histogram as Counts;

/// A percentile is less than 1 % above the truth, at any magnitude and in constant memory.
const SIGNIFICANT_DIGITS: u8 = 2;
/// What takes longer than an hour is counted as an hour; the longest one is known exactly all the same.
const NANOS_MAX: u64 = 3_600_000_000_000;

/// Counts of durations, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Counts<u64>,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = Counts::new_with_bounds(1, NANOS_MAX, SIGNIFICANT_DIGITS);
        Self {
            counts: counts.expect("the bounds are sound"),
            max: Duration::ZERO,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts.saturating_record(nanos);
        self.max = self.max.max(duration);
    }

    /// Adds what `other` counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        let added = self.counts.add(&other.counts);
        added.expect("all have the same bounds");
        self.max = self.max.max(other.max);
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The longest one, exactly.
    pub(crate) fn max(&self) -> Duration {
        self.max
    }

    /// The duration that `per_mille` of all did not exceed, rounded up to the end of its bucket.
    pub(crate) fn percentile(&self, per_mille: u64) -> Duration {
        let nanos = self.counts.value_at_quantile(per_mille as f64 / 1000.0);
        Duration::from_nanos(nanos).min(self.max)
    }
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
