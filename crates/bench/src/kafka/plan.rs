//! Which measurements to make: the matrix of the options, and by default two rows in the shape of a journal.

use super::batch;
use super::options::{BatchSize, Mode, Options};

const RECORD_BYTES: [usize; 3] = [100, 1024, 10_240];
/// One record per request; a common batch; the most that brokers accept without being told to.
const BATCHES: [BatchSize; 3] = [
    BatchSize::Records(1),
    BatchSize::Bytes(64 << 10),
    BatchSize::Bytes(1 << 20),
];
const CONNECTIONS: usize = 4;
/// What Kafka's own producer has in flight.
const IN_FLIGHT: usize = 5;
/// Many clients that each wait for their one small write: what group commit is for.
const JOURNAL_CONNECTIONS: [usize; 2] = [64, 256];

/// One measurement of producers, of consumers, or of both on the same records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) record_bytes: usize,
    pub(super) batch_records: usize,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) mode: Mode,
}

/// The measurements, in order.
pub(super) fn plan(options: &Options) -> Vec<Work> {
    let shape = &options.shape;
    let or = |given: &[usize], default: &[usize]| match given {
        [] => default.to_vec(),
        given => given.to_vec(),
    };
    let batches = match &shape.batch_records[..] {
        [] => BATCHES.to_vec(),
        given => given.to_vec(),
    };
    let mut work = Vec::new();
    for record_bytes in or(&shape.record_bytes, &RECORD_BYTES) {
        work.extend(batches.iter().map(|size| Work {
            record_bytes,
            batch_records: batch::count(*size, record_bytes),
            connections: shape.connections.unwrap_or(CONNECTIONS),
            in_flight: shape.in_flight.unwrap_or(IN_FLIGHT),
            mode: shape.mode,
        }));
    }
    if is_default(options) {
        work.extend(JOURNAL_CONNECTIONS.map(|connections| Work {
            record_bytes: 1024,
            batch_records: 1,
            connections,
            in_flight: 1,
            mode: Mode::Produce,
        }));
    }
    work
}

/// Whether nothing was said about the shape of the load.
fn is_default(options: &Options) -> bool {
    let shape = &options.shape;
    shape.record_bytes.is_empty()
        && shape.batch_records.is_empty()
        && shape.connections.is_none()
        && shape.in_flight.is_none()
        && shape.mode != Mode::Consume
}

/// The partitions that connection `index` of `connections` works on: all of them are covered, and no connection is
/// idle.
pub(super) fn share(index: usize, connections: usize, partitions: u16) -> Vec<u16> {
    if connections >= usize::from(partitions) {
        let one = index % usize::from(partitions);
        return (0..partitions).filter(|p| usize::from(*p) == one).collect();
    }
    let mine = |p: &u16| usize::from(*p) % connections == index;
    (0..partitions).filter(mine).collect()
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::parse;
    use super::*;

    #[test]
    fn the_default_is_the_matrix_and_the_journal() {
        let work = plan(&parse("").unwrap());
        assert_eq!(work.len(), 3 * 3 + 2);
        let journal: Vec<_> = work[9..].iter().map(|work| work.connections).collect();
        assert_eq!(journal, [64, 256]);
    }

    #[test]
    fn what_is_asked_for_is_all_there_is() {
        let work = plan(
            &parse("--record-bytes 1024 --batch-records 1 --connections 2 --mode produce").unwrap(),
        );
        let expected = Work {
            record_bytes: 1024,
            batch_records: 1,
            connections: 2,
            in_flight: IN_FLIGHT,
            mode: Mode::Produce,
        };
        assert_eq!(work, [expected]);
    }

    #[test]
    fn partitions_are_shared_out() {
        for (connections, partitions) in [(1, 8), (3, 8), (8, 8), (64, 8), (5, 1)] {
            let shares: Vec<_> = (0..connections)
                .map(|i| share(i, connections, partitions))
                .collect();
            assert!(shares.iter().all(|share| !share.is_empty()));
            let mut covered: Vec<_> = shares.into_iter().flatten().collect();
            covered.sort_unstable();
            covered.dedup();
            assert_eq!(covered.len(), usize::from(partitions));
        }
    }
}
