//! The Kafka load: a matrix of record sizes and batch sizes, produced and fetched back, every answer checked and every
//! record counted.
//!
//! The load generator shares the machine with the broker, so it does no work per record: a request is encoded once
//! and sent again and again, and a fetched batch is only looked at where its header lies.

mod batch;
mod connection;
mod consume;
mod fill;
mod options;
mod plan;
mod produce;
mod tally;
mod topic;

use std::time::Duration;

use anyhow::{Context, Result};

use self::consume::Consumers;
pub(crate) use self::fill::fill;
pub use self::options::Options;
use self::options::{Durability, Mode};
use self::plan::{Work, plan};
use self::produce::Producers;
use self::tally::Tally;
use self::topic::Peer;
use crate::disk::Disk;
use crate::histogram::Histogram;
use crate::report::{Cost, DiskRatio, Latency, Report, Row, Volume};
use crate::run::Run;
use crate::spawned::{Folder, Spawned};
use crate::usage::{Meter, Source, Spent, settle};

/// How long the disk alone is measured before a row of producers, and again after it.
const DISK_DURATION: Duration = Duration::from_secs(1);
/// Measures everything the options ask for and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    crate::run::block_on(options.client_threads, measure(options))
}

async fn measure(options: &Options) -> Result<()> {
    if let Some(address) = options.target.target {
        let source = options.target.source();
        let folder = options
            .target
            .data
            .as_deref()
            .map(Folder::create)
            .transpose()?;
        let disk = folder.as_ref().map(|folder| Disk::prepare(folder.path()));
        return rows(
            options,
            Peer::meet(address).await?,
            source,
            disk.transpose()?,
        )
        .await;
    }
    let broker = Spawned::start(Folder::create(&options.target.folder())?, &[])?;
    let outcome = measure_spawned(options, &broker).await;
    outcome.map_err(|error| broker.explain(&error))?;
    broker.stop()
}

async fn measure_spawned(options: &Options, broker: &Spawned) -> Result<()> {
    let disk = Disk::prepare(broker.folder())?;
    let peer = Peer::meet(broker.address("kafka")?).await?;
    rows(options, peer, Source::Process(broker.pid()), Some(disk)).await
}

async fn rows(options: &Options, peer: Peer, source: Source, disk: Option<Disk>) -> Result<()> {
    let mut bench = Bench {
        options,
        peer,
        source,
        disk,
        report: Report::start(options.output)?,
    };
    for (index, work) in plan(options).iter().enumerate() {
        let topic = format!("bench-{}-{index}", std::process::id());
        bench.work(&topic, work).await?;
    }
    Ok(bench.report.finish()?)
}

/// Everything that lasts for all rows.
struct Bench<'a> {
    options: &'a Options,
    peer: Peer,
    source: Source,
    disk: Option<Disk>,
    report: Report<Row>,
}

impl Bench<'_> {
    async fn work(&mut self, topic: &str, work: &Work) -> Result<()> {
        let partitions = self.options.shape.partitions;
        self.peer
            .create_topic(topic, partitions, self.options.durability)
            .await?;
        let ends = self.produce(topic, work).await?;
        if work.mode != Mode::Produce {
            self.consume(topic, work, &ends).await?;
        }
        self.peer.delete_topic(topic).await
    }

    /// Answers with the records in each partition.
    async fn produce(&mut self, topic: &str, work: &Work) -> Result<Vec<u64>> {
        settle(self.source).await?;
        let disk = self.disk.as_ref().filter(|_| work.mode != Mode::Consume);
        let measure_disk = || disk.map(|d| d.measure(DISK_DURATION)).transpose();
        let speed_before = measure_disk()?;
        let producers = Producers::open(&self.peer, topic, work, self.options).await?;
        let mut ends = vec![0; self.options.shape.partitions.into()];
        for (partition, records) in producers.records() {
            ends[usize::from(partition)] += records;
        }
        let meter = Meter::start(self.source)?;
        let run = Run::start(self.options.seconds, self.options.records);
        let tallies = producers.run(&run, self.options.acks).await?;
        for (partition, records) in tallies.iter().flat_map(Tally::records) {
            ends[usize::from(partition)] += records;
        }
        if work.mode != Mode::Consume {
            let mut row = self.row(work, &tallies, meter).await?;
            let speeds = speed_before.zip(measure_disk()?);
            row.disk = speeds.map(|(before, after)| DiskRatio::new(&row.volume, before, after));
            self.report.add(row)?;
        }
        Ok(ends)
    }

    async fn consume(&mut self, topic: &str, work: &Work, ends: &[u64]) -> Result<()> {
        let consumers = Consumers::open(&self.peer, topic, work.connections, ends).await?;
        let connections = consumers.count();
        let meter = Meter::start(self.source)?;
        let run = Run::start(self.options.seconds, self.options.records);
        let tallies = consumers.run(&run).await?;
        let mut row = self.row(work, &tallies, meter).await?;
        row.mode = "consume";
        row.connections = connections;
        row.in_flight = 1;
        self.report.add(row)?;
        Ok(())
    }

    async fn row(&self, work: &Work, tallies: &[Tally], meter: Meter) -> Result<Row> {
        let mut latency = Histogram::default();
        for tally in tallies {
            latency.merge(&tally.latency);
        }
        let records = tallies
            .iter()
            .flat_map(Tally::records)
            .map(|(_, n)| n)
            .sum();
        let end = tallies.iter().map(|tally| tally.end).max();
        let end = end.context("no connection did anything")?;
        let volume = Volume::new(records, work.record_bytes, end);
        settle(self.source).await?;
        let (broker, client) = meter.stop()?;
        let cost = |spent: Spent| Cost::new(spent, &volume);
        Ok(Row {
            mode: "produce",
            record_bytes: work.record_bytes,
            batch_records: work.batch_records,
            connections: work.connections,
            in_flight: work.in_flight,
            partitions: self.options.shape.partitions,
            acks: self.options.acks.number(),
            durability: self.options.durability.map_or("default", Durability::word),
            volume,
            latency_ms: Latency::of(&latency),
            broker: broker.map(cost),
            client: cost(client),
            disk: None,
        })
    }
}
