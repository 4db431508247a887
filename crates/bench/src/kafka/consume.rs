//! Consumers: each connection reads its partitions from the first record to the last produced one, over and over, and
//! counts by batch headers. A gap, a repetition or a record too many is an error.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kafka::wire::fetch::{FetchPartition, FetchTopic, PartitionData};
use kafka::wire::{FetchRequest, FetchResponse};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::plan::share;
use super::tally::Tally;
use super::topic::{Peer, check};
use crate::run::Run;

const PARTITION_BYTES_MAX: i32 = 1 << 20;
const ANSWER_BYTES_MAX: i32 = 50 << 20;
const WAIT_MAX_MS: i32 = 500;
const HEADER_BYTES: usize = 61;
/// Bytes in front of what a batch's length field counts.
const LENGTH_FROM: usize = 12;

/// Consumers that are connected.
#[derive(Debug)]
pub(super) struct Consumers(Vec<Consumer>);

#[derive(Debug)]
struct Consumer {
    connection: Connection,
    topic: String,
    version: i16,
    positions: Vec<Position>,
    tally: Tally,
}

/// Where a consumer stands in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    partition: u16,
    next: u64,
    /// How many records the partition must hold.
    end: u64,
}

impl Consumers {
    /// Connects; `ends` are the records in each partition. More connections than partitions would have nothing to do.
    pub(super) async fn open(
        peer: &Peer,
        topic: &str,
        connections: usize,
        ends: &[u64],
    ) -> Result<Self> {
        let partitions = u16::try_from(ends.len())?;
        let connections = connections.min(ends.len());
        let mut opened = Vec::new();
        for index in 0..connections {
            let positions = share(index, connections, partitions).into_iter();
            let position = |partition| Position {
                partition,
                next: 0,
                end: ends[usize::from(partition)],
            };
            opened.push(Consumer {
                connection: Connection::open(peer.address).await?,
                topic: topic.to_owned(),
                version: peer.versions.fetch,
                positions: positions.map(position).collect(),
                tally: Tally::default(),
            });
        }
        Ok(Self(opened))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Reads everything at least once, and until the row is over.
    pub(super) async fn run(self, run: &Arc<Run>) -> Result<Vec<Tally>> {
        let mut tasks = JoinSet::new();
        for mut consumer in self.0 {
            let run = Arc::clone(run);
            tasks.spawn(async move {
                consumer.pass(&run, |_| true).await?;
                while run.may_repeat() {
                    consumer.positions.iter_mut().for_each(|p| p.next = 0);
                    consumer.pass(&run, Run::may_repeat).await?;
                }
                consumer.tally.end = run.elapsed();
                Ok(consumer.tally)
            });
        }
        run.gather(tasks).await
    }
}

impl Consumer {
    /// Reads from the first record to the last, while `may_go_on`.
    async fn pass(&mut self, run: &Run, may_go_on: fn(&Run) -> bool) -> Result<()> {
        while may_go_on(run) {
            let unfinished = self.positions.iter().filter(|p| p.next < p.end);
            let partitions: Vec<_> = unfinished.map(wanted).collect();
            if partitions.is_empty() {
                return Ok(());
            }
            self.fetch(partitions, run).await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, partitions: Vec<FetchPartition>, run: &Run) -> Result<()> {
        let asked = partitions.len();
        let topic = FetchTopic {
            topic: self.topic.as_str().into(),
            partitions,
            ..FetchTopic::default()
        };
        let request = FetchRequest {
            max_wait_ms: WAIT_MAX_MS,
            min_bytes: 1,
            max_bytes: ANSWER_BYTES_MAX,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let at = run.elapsed();
        let answer = self.connection.call(&request, self.version).await?;
        let response: FetchResponse<'_> = answer.decode()?;
        self.tally.latency.record(run.elapsed().saturating_sub(at));
        check("fetch", response.error_code, None)?;
        let found: Vec<&PartitionData> = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions)
            .collect();
        ensure!(found.len() <= asked, "a fetch answers what was not asked");
        for data in found {
            let mine = |p: &&mut Position| i32::from(p.partition) == data.partition_index;
            let position = self.positions.iter_mut().find(mine);
            let position = position.context("a fetch answers about another partition")?;
            let before = position.next;
            position.advance(data)?;
            if position.next > before {
                run.answered();
                self.tally.read(position.partition, position.next - before);
            }
        }
        Ok(())
    }
}

fn wanted(position: &Position) -> FetchPartition {
    FetchPartition {
        partition: position.partition.into(),
        fetch_offset: position.next.cast_signed(),
        partition_max_bytes: PARTITION_BYTES_MAX,
        ..FetchPartition::default()
    }
}

impl Position {
    /// Moves behind the batches of an answer.
    fn advance(&mut self, data: &PartitionData) -> Result<()> {
        let partition = self.partition;
        check("fetch", data.error_code, None)?;
        ensure!(
            data.high_watermark.cast_unsigned() == self.end,
            "partition {partition} holds {} records where {} were produced",
            data.high_watermark,
            self.end
        );
        for part in data.records.parts() {
            self.advance_over(part)
                .with_context(|| format!("partition {partition}"))?;
        }
        Ok(())
    }

    /// Batches lie back to back; the last one may be cut, then it comes again.
    fn advance_over(&mut self, mut batches: &[u8]) -> Result<()> {
        while let Some(header) = batches.first_chunk::<HEADER_BYTES>() {
            let length = u32::from_be_bytes(field(header, 8)) as usize;
            let Some(rest) = batches.get(LENGTH_FROM + length..) else {
                break;
            };
            let base = u64::from_be_bytes(field(header, 0));
            let last_delta = u32::from_be_bytes(field(header, 23));
            let count = u32::from_be_bytes(field(header, 57));
            ensure!(
                base == self.next,
                "a batch starts at offset {base} where {} was due",
                self.next
            );
            ensure!(
                u64::from(count) == u64::from(last_delta) + 1,
                "a batch of {count} records ends at offset delta {last_delta}"
            );
            self.next += u64::from(count);
            batches = rest;
        }
        ensure!(
            self.next <= self.end,
            "{} records came where {} were produced",
            self.next,
            self.end
        );
        Ok(())
    }
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| header[at + i])
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::super::batch;
    use super::*;

    fn stored(base: u64, count: usize) -> Bytes {
        let mut bytes = BytesMut::from(batch::build(10, count, 0));
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes.freeze()
    }

    fn position() -> Position {
        Position {
            partition: 3,
            next: 0,
            end: 5,
        }
    }

    #[test]
    fn batches_are_counted_by_their_headers() {
        let mut position = position();
        let batches = [stored(0, 2), stored(2, 3)].concat();
        position.advance_over(&batches).unwrap();
        assert_eq!(position.next, 5);
    }

    #[test]
    fn a_cut_batch_is_not_counted() {
        let mut position = position();
        let batches = [stored(0, 2), stored(2, 3)].concat();
        position
            .advance_over(&batches[..batches.len() - 1])
            .unwrap();
        assert_eq!(position.next, 2);
    }

    #[test]
    fn a_gap_a_repetition_and_a_surplus_are_errors() {
        for (batches, error) in [
            (
                vec![stored(1, 1)],
                "a batch starts at offset 1 where 0 was due",
            ),
            (
                vec![stored(0, 2), stored(1, 1)],
                "a batch starts at offset 1 where 2 was due",
            ),
            (vec![stored(0, 6)], "6 records came where 5 were produced"),
        ] {
            let found = position().advance_over(&batches.concat()).unwrap_err();
            assert_eq!(found.to_string(), error);
        }
    }

    #[test]
    fn a_partition_that_lost_records_is_an_error() {
        let data = PartitionData {
            high_watermark: 4,
            ..PartitionData::default()
        };
        let error = position().advance(&data).unwrap_err();
        assert_eq!(
            error.to_string(),
            "partition 3 holds 4 records where 5 were produced"
        );
    }
}
