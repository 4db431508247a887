//! What connections did, added up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;

/// What one connection did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) records: BTreeMap<u16, u64>,
    pub(super) latency: Histogram,
    /// When its last answer came.
    pub(super) end: Duration,
}

impl Tally {
    pub(super) fn sent(&mut self, partition: u16, records: usize) {
        self.read(partition, records as u64);
    }

    pub(super) fn read(&mut self, partition: u16, records: u64) {
        *self.records.entry(partition).or_default() += records;
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (u16, u64)> {
        self.records
            .iter()
            .map(|(partition, count)| (*partition, *count))
    }
}
