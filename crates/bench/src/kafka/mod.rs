//! The Kafka load: a matrix of record sizes and batch sizes, produced and fetched back, every answer checked and every
//! record counted.
//!
//! The load generator shares the machine with the broker, so it does no work per record: a request is encoded once
//! and sent again and again, and a fetched batch is only looked at where its header lies.

mod batch;
mod connection;
mod consume;
mod options;
mod plan;
mod produce;
mod run;
mod topic;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use self::consume::Consumers;
pub use self::options::Options;
use self::options::{Durability, Mode};
use self::plan::{Work, plan};
use self::produce::Producers;
use self::run::Run;
use self::topic::Peer;
use crate::disk::Disk;
use crate::histogram::Histogram;
use crate::report::{Cost, DiskRatio, Latency, Report, Row, Volume};
use crate::spawned::{Folder, Spawned};
use crate::usage::{self, Source, Usage};

/// How long the disk alone is measured before a row of producers, and again after it.
const DISK_DURATION: Duration = Duration::from_secs(1);
/// A broker that used less than a tenth of a core for this long has nothing left to do.
const QUIET: Duration = Duration::from_millis(300);
/// So often it is looked at, at most.
const QUIET_LOOKS_MAX: u32 = 33;

/// What one connection did.
#[derive(Debug, Default)]
struct Tally {
    records: BTreeMap<u16, u64>,
    latency: Histogram,
    /// When its last answer came.
    end: Duration,
}

impl Tally {
    fn sent(&mut self, partition: u16, records: usize) {
        self.read(partition, records as u64);
    }

    fn read(&mut self, partition: u16, records: u64) {
        *self.records.entry(partition).or_default() += records;
    }

    fn records(&self) -> impl Iterator<Item = (u16, u64)> {
        self.records
            .iter()
            .map(|(partition, count)| (*partition, *count))
    }
}

/// Measures everything the options ask for and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut runtime = match options.client_threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime
        .worker_threads(options.client_threads)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Whatever ends us, a broker of our own must end, too: it does when the measurement is dropped.
        tokio::select! {
            outcome = measure(options) => outcome,
            pressed = tokio::signal::ctrl_c() => { pressed?; bail!("interrupted") }
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

async fn measure(options: &Options) -> Result<()> {
    let parent = options
        .target
        .data
        .clone()
        .unwrap_or_else(|| PathBuf::from("."));
    if let Some(address) = options.target.bootstrap {
        let source = options.target.http.map_or(Source::Unknown, Source::Metrics);
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
    let broker = Spawned::start(Folder::create(&parent)?)?;
    let outcome = measure_spawned(options, &broker).await;
    outcome.map_err(|error| broker.explain(&error))?;
    broker.stop()
}

async fn measure_spawned(options: &Options, broker: &Spawned) -> Result<()> {
    let disk = Disk::prepare(broker.folder())?;
    let peer = Peer::meet(broker.kafka()).await?;
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
    report: Report,
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
        self.settle().await?;
        let disk = self.disk.as_ref().filter(|_| work.mode != Mode::Consume);
        let measure_disk = || disk.map(|d| d.measure(DISK_DURATION)).transpose();
        let speed_before = measure_disk()?;
        let producers = Producers::open(&self.peer, topic, work, self.options).await?;
        let mut ends = vec![0; self.options.shape.partitions.into()];
        for (partition, records) in producers.records() {
            ends[usize::from(partition)] += records;
        }
        let meter = Meter::start(self.source)?;
        let run = Run::start(self.options);
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
        let run = Run::start(self.options);
        let tallies = consumers.run(&run).await?;
        let mut row = self.row(work, &tallies, meter).await?;
        row.mode = "consume";
        row.connections = connections;
        row.in_flight = 1;
        self.report.add(row)?;
        Ok(())
    }

    /// Waits until the broker has done what it put off, so that every row pays for its own work and for no other.
    async fn settle(&self) -> Result<()> {
        let mut before = self.source.read()?;
        for _ in 0..QUIET_LOOKS_MAX {
            tokio::time::sleep(QUIET).await;
            let after = self.source.read()?;
            let spent = before
                .zip(after)
                .map(|(b, a)| a.cpu_seconds - b.cpu_seconds);
            if spent.is_none_or(|spent| spent < QUIET.as_secs_f64() / 10.0) {
                return Ok(());
            }
            before = after;
        }
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
        self.settle().await?;
        let (broker, client) = meter.stop(&volume)?;
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
            broker,
            client,
            disk: None,
        })
    }
}

/// CPU time of both sides at the start of a row.
struct Meter {
    source: Source,
    broker: Option<Usage>,
    client: Usage,
}

impl Meter {
    fn start(source: Source) -> Result<Self> {
        Ok(Self {
            source,
            broker: source.read()?,
            client: usage::own()?,
        })
    }

    fn stop(self, volume: &Volume) -> Result<(Option<Cost>, Cost)> {
        let cost = |before: Usage, after: Usage| {
            let spent = after.cpu_seconds - before.cpu_seconds;
            Cost::new(spent, after.resident_bytes, volume)
        };
        let client = cost(self.client, usage::own()?);
        let after = self.source.read()?;
        let broker = self.broker.zip(after);
        Ok((broker.map(|(before, after)| cost(before, after)), client))
    }
}
