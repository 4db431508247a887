//! Producers: each connection sends the same frames over and over, with a new correlation id, and keeps a fixed number
//! of them in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{ApiKey, ProduceRequest, ProduceResponse, Records};
use tokio::task::JoinSet;

use super::batch;
use super::connection::{self, Connection, Expected};
use super::options::{Acks, Options};
use super::plan::{Work, share};
use super::tally::Tally;
use super::topic::{Peer, check};
use crate::run::Run;
use crate::stopwatch::unix_ms;

/// Where the correlation id lies in a frame: behind length, API key and version.
const ID_AT: std::ops::Range<usize> = 8..12;
/// How long the broker itself may wait for its disk.
const TIMEOUT_MS: i32 = 30_000;

/// Producers that are connected, and whose partitions have had their first record.
#[derive(Debug)]
pub(super) struct Producers(Vec<Producer>);

#[derive(Debug)]
struct Producer {
    connection: Connection,
    /// One per partition, used in turn.
    templates: Vec<Template>,
    turn: usize,
    /// Asks for an answer whatever the others ask for.
    barrier: Template,
    version: i16,
    batch_records: usize,
    in_flight: usize,
    tally: Tally,
}

/// A whole produce request.
#[derive(Debug)]
struct Template {
    partition: u16,
    frame: BytesMut,
}

impl Producers {
    /// Connects and sends one request on each connection, so that the first measured one finds everything open.
    pub(super) async fn open(
        peer: &Peer,
        topic: &str,
        work: &Work,
        options: &Options,
    ) -> Result<Self> {
        let batch = batch::build(work.record_bytes, work.batch_records, unix_ms());
        let mut opened = Vec::new();
        for index in 0..work.connections {
            let template = |partition: &u16, acks| {
                Template::new(topic, *partition, (acks, peer.versions.produce), &batch)
            };
            let partitions = share(index, work.connections, options.shape.partitions);
            let templates = partitions.iter().map(|p| template(p, options.acks));
            let mut producer = Producer {
                connection: Connection::open(peer.address).await?,
                templates: templates.collect::<Result<_>>()?,
                turn: 0,
                barrier: template(&partitions[0], Acks::All)?,
                version: peer.versions.produce,
                batch_records: work.batch_records,
                in_flight: work.in_flight,
                tally: Tally::default(),
            };
            producer.await_barrier().await?;
            opened.push(producer);
        }
        Ok(Self(opened))
    }

    /// Records that have been produced already, per partition.
    pub(super) fn records(&self) -> Vec<(u16, u64)> {
        let tallies = self.0.iter().map(|producer| &producer.tally);
        tallies.flat_map(Tally::records).collect()
    }

    /// Produces until the row is over.
    pub(super) async fn run(self, run: &Arc<Run>, acks: Acks) -> Result<Vec<Tally>> {
        let mut tasks = JoinSet::new();
        for mut producer in self.0 {
            producer.tally = Tally::default();
            let run = Arc::clone(run);
            tasks.spawn(async move {
                match acks {
                    Acks::All | Acks::One => producer.run(&run).await?,
                    Acks::None => producer.run_unanswered(&run).await?,
                }
                producer.tally.end = run.elapsed();
                Ok(producer.tally)
            });
        }
        run.gather(tasks).await
    }
}

impl Producer {
    async fn run(&mut self, run: &Run) -> Result<()> {
        let mut sent: VecDeque<(Expected, Duration)> = VecDeque::new();
        loop {
            while sent.len() < self.in_flight && run.may_send(self.batch_records) {
                let at = run.elapsed();
                sent.push_back((self.put_next().await?, at));
            }
            self.connection.flush().await?;
            if sent.is_empty() {
                return Ok(());
            }
            // Whatever came in the same read is dealt with together, and what it lets us send leaves together.
            let mut received = Some(self.connection.receive().await?);
            while let Some(frame) = received {
                let due = sent.pop_front();
                let (expected, at) = due.context("an answer came that was not asked for")?;
                Self::answered(expected, &frame)?;
                let latency = run.elapsed().saturating_sub(at);
                self.tally.latency.record(latency);
                run.answered();
                received = self.connection.received()?;
            }
        }
    }

    /// Without answers only the connection itself pushes back; the last request asks whether all have arrived.
    async fn run_unanswered(&mut self, run: &Run) -> Result<()> {
        while run.may_send(self.batch_records) {
            self.put_next().await?;
            self.connection.flush().await?;
            run.answered();
        }
        self.await_barrier().await
    }

    async fn put_next(&mut self) -> Result<Expected> {
        let id = self.connection.next_id();
        let turn = self.turn;
        self.turn = (turn + 1) % self.templates.len();
        let template = &mut self.templates[turn];
        put(&mut self.connection, template, id).await?;
        self.tally.sent(template.partition, self.batch_records);
        Ok(expected(self.version, id))
    }

    async fn await_barrier(&mut self) -> Result<()> {
        let id = self.connection.next_id();
        put(&mut self.connection, &mut self.barrier, id).await?;
        self.connection.flush().await?;
        let frame = self.connection.receive().await?;
        self.tally.sent(self.barrier.partition, self.batch_records);
        Self::answered(expected(self.version, id), &frame)
    }

    fn answered(expected: Expected, frame: &Bytes) -> Result<()> {
        let response: ProduceResponse<'_> = expected.decode(frame)?;
        let mut partitions = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let only = partitions.next().filter(|_| partitions.next().is_none());
        ensure!(
            only.is_some(),
            "a produce answer is not about one partition"
        );
        only.map_or(Ok(()), |p| {
            check("produce", p.error_code, p.error_message.as_deref())
        })
    }
}

async fn put(connection: &mut Connection, template: &mut Template, id: i32) -> Result<()> {
    template.frame[ID_AT].copy_from_slice(&id.to_be_bytes());
    connection.put(&template.frame).await
}

fn expected(version: i16, id: i32) -> Expected {
    Expected {
        key: ApiKey::Produce,
        version,
        id,
    }
}

impl Template {
    fn new(
        topic: &str,
        partition: u16,
        (acks, version): (Acks, i16),
        batch: &Bytes,
    ) -> Result<Self> {
        let data = PartitionProduceData {
            index: partition.into(),
            records: Records::One(batch.clone()),
        };
        let topic = TopicProduceData {
            name: topic.into(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: acks.number(),
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
        };
        let frame = connection::encode(&request, version, 0)?;
        Ok(Self {
            partition,
            frame: BytesMut::from(frame),
        })
    }
}

#[cfg(test)]
mod tests {
    use kafka::wire::{Message, Reader, frame};

    use super::*;

    #[test]
    fn a_new_id_changes_nothing_else() {
        let batch = batch::build(100, 3, 0);
        let mut template = Template::new("orders", 5, (Acks::All, 12), &batch).unwrap();
        template.frame[ID_AT].copy_from_slice(&77_i32.to_be_bytes());
        let whole = template.frame.freeze();
        let length = u32::from_be_bytes(*whole.first_chunk().unwrap());
        assert_eq!(length as usize, whole.len() - 4);
        let body = whole.slice(4..);
        let mut reader = Reader::new(&body);
        let header = frame::decode_request_header(&mut reader).unwrap();
        assert_eq!(header.correlation_id, 77);
        let request = ProduceRequest::decode(&mut reader, 12).unwrap();
        assert_eq!(request.acks, -1);
        assert_eq!(request.topic_data[0].name, "orders");
        let data = &request.topic_data[0].partition_data[0];
        assert_eq!((data.index, &data.records), (5, &Records::One(batch)));
    }
}
