//! An idempotent producer with five requests in flight, which sends what was not acknowledged again, with the
//! same sequence numbers, to whichever broker comes next.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use clients::kafka::{Client, answer, request};
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{
    ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use storage::Batch;
use storage::batch::BatchBuilder;

use super::Book;
use super::ledger::{Print, Sent};
use crate::random::RandomSource;

const IN_FLIGHT: usize = 5;
const VERSION: i16 = 9;
/// Any moment in the recent past: the broker is not asked to judge it.
const TIMESTAMP: i64 = 1_700_000_000_000;

/// What a producer sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// One record per request.
    Single,
    /// Batches of 64 KiB for several partitions at once.
    Bulk,
}

struct InFlight {
    frame: Bytes,
    correlation: i32,
    /// Partition and first sequence number of each batch.
    parts: Vec<(usize, i32)>,
}

pub(crate) struct Producer {
    style: Style,
    random: RandomSource,
    id: Option<(i64, i16)>,
    /// The partitions it writes to, and the next sequence number in each.
    targets: Vec<(usize, i32)>,
    in_flight: VecDeque<InFlight>,
    correlation: i32,
}

impl Producer {
    pub(crate) fn new(
        style: Style,
        random: RandomSource,
        targets: impl Iterator<Item = usize>,
    ) -> Self {
        Self {
            style,
            random,
            id: None,
            targets: targets.map(|slot| (slot, 0)).collect(),
            in_flight: VecDeque::new(),
            correlation: 0,
        }
    }

    /// Sends again what waits, then new requests if `fresh`, until the connection breaks.
    pub(crate) async fn run(&mut self, at: SocketAddr, book: &Book, fresh: bool) -> io::Result<()> {
        let mut client = Client::connect(at).await?;
        let id = self.identity(&mut client).await?;
        for waiting in &self.in_flight {
            client.send(&waiting.frame).await?;
        }
        loop {
            while fresh && self.in_flight.len() < IN_FLIGHT {
                let made = self.make(id, book);
                let frame = made.frame.clone();
                // Noted before it is sent: it may arrive although the connection breaks.
                self.in_flight.push_back(made);
                client.send(&frame).await?;
            }
            let Some(oldest) = self.in_flight.front() else {
                return Ok(());
            };
            let body = client
                .receive(ApiKey::Produce, VERSION, oldest.correlation)
                .await?;
            if !self.acknowledged(id.0, &body, book) {
                return Ok(());
            }
            self.pause().await;
        }
    }

    async fn identity(&mut self, client: &mut Client) -> io::Result<(i64, i16)> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let asked = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let body = client.call(2, &asked).await?;
        let got: InitProducerIdResponse = answer(&body, 2);
        assert_eq!(got.error_code, 0, "no producer id");
        let id = (got.producer_id, got.producer_epoch);
        self.id = Some(id);
        Ok(id)
    }

    /// Bulk producers rest now and then: the rounds test crashes, not throughput.
    async fn pause(&mut self) {
        if matches!(self.style, Style::Bulk) {
            let millis = self.random.pick(0..20);
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    fn make(&mut self, id: (i64, i16), book: &Book) -> InFlight {
        let most = match self.style {
            Style::Single => 1,
            Style::Bulk => self.targets.len().min(3),
        };
        let count = 1 + self.random.index(most);
        let first = self.random.index(self.targets.len());
        let mut parts = Vec::with_capacity(count);
        let mut topics: Vec<TopicProduceData<'_>> = Vec::with_capacity(count);
        let mut ledger = book.lock();
        for step in 0..count {
            let place = (first + step) % self.targets.len();
            let (slot, sequence) = self.targets[place];
            let batch = batch(self.style, &mut self.random, id, sequence);
            let records = batch.header.record_count;
            self.targets[place].1 += records;
            let partition = &mut ledger.partitions[slot];
            partition.sent.entry(id.0).or_default().push(Sent {
                first: sequence,
                count: records,
                print: Print::of(&batch),
                acked: None,
            });
            parts.push((slot, sequence));
            topics.push(TopicProduceData {
                name: Cow::Owned(partition.topic.clone()),
                partition_data: vec![PartitionProduceData {
                    index: partition.index,
                    records: batch.to_bytes().into(),
                }],
                ..TopicProduceData::default()
            });
        }
        drop(ledger);
        self.correlation += 1;
        let message = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: topics,
            ..ProduceRequest::default()
        };
        InFlight {
            frame: request(VERSION, self.correlation, &message),
            correlation: self.correlation,
            parts,
        }
    }

    /// Takes the oldest request off the list. Whether the broker took all of it.
    fn acknowledged(&mut self, id: i64, body: &Bytes, book: &Book) -> bool {
        let oldest = self.in_flight.pop_front().expect("an answer to something");
        let response: ProduceResponse<'_> = answer(body, VERSION);
        let answers = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let mut ledger = book.lock();
        let mut all = true;
        for ((slot, first), answer) in oldest.parts.iter().zip(answers) {
            if answer.error_code != 0 {
                all = false;
                ledger.wrong(format!(
                    "producer {id}: batch {first} of partition {slot} refused with {}: {:?}",
                    answer.error_code, answer.error_message
                ));
                continue;
            }
            let offset = u64::try_from(answer.base_offset).unwrap();
            ledger.acknowledge(*slot, id, *first, offset);
        }
        ledger.acked_requests += 1;
        all
    }
}

fn batch(style: Style, random: &mut RandomSource, (id, epoch): (i64, i16), sequence: i32) -> Batch {
    let (records, bytes) = match style {
        Style::Single => (1, random.pick(10..1500)),
        Style::Bulk => (random.pick(60..68), 1000),
    };
    let mut builder = BatchBuilder::new(TIMESTAMP).producer(id, epoch, sequence);
    let mut value = vec![0; usize::try_from(bytes).unwrap()];
    for record in 0..records {
        for chunk in value.chunks_mut(8) {
            let bytes = random.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        builder.push(
            TIMESTAMP + record.cast_signed(),
            Some(b"key"),
            Some(&value),
            &[],
        );
    }
    builder.build()
}
