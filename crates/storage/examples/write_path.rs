//! Measures the write path on a real directory: `write_path DIRECTORY [SECONDS [LOAD]]`, where LOAD is a number from 0
//! and selects a single one.
//!
//! Closed loop: every writer hands over one batch, waits until it is durable, and starts again. Beside it runs a
//! baseline on the same directory: one thread that overwrites a zero-filled file in order, one block and one
//! `fdatasync` at a time, which is what the disk can do at that block size without any group commit.

use std::error::Error;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use storage::batch::BatchBuilder;
use storage::local::{LocalStore, Options, OsDisk};
use storage::{Append, Batch, Durability, Log, StreamId, Trim};
use tokio::task::JoinSet;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes the baseline fills ahead and goes round in.
const BASELINE_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Journal bytes after which all its files have their final size.
const WARM_UP_BYTES: u64 = 1536 * 1024 * 1024;

#[derive(Clone, Copy)]
struct Load {
    bytes: usize,
    writers: usize,
    streams: usize,
}

const LOADS: [Load; 7] = [
    load(1024, 64, 1),
    load(1024, 64, 1_000),
    load(1024, 256, 1_000),
    load(64 * 1024, 8, 1),
    load(64 * 1024, 8, 1_000),
    load(1024 * 1024, 1, 1),
    load(1024 * 1024, 1, 1_000),
];

const fn load(bytes: usize, writers: usize, streams: usize) -> Load {
    Load {
        bytes,
        writers,
        streams,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement measures real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// Processor time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

struct Figures {
    acks: u64,
    bytes: u64,
    seconds: f64,
    cpu: f64,
    latencies: Vec<u32>,
}

impl Figures {
    fn print(mut self, name: &str) {
        self.latencies.sort_unstable();
        let at = |percent: usize| {
            let index = self.latencies.len().saturating_sub(1) * percent / 100;
            f64::from(self.latencies.get(index).copied().unwrap_or(0)) / 1e3
        };
        let gigabytes = self.bytes as f64 / 1e9;
        #[expect(clippy::print_stdout, reason = "the figures are the output")]
        {
            println!(
                "| {name} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
                self.bytes as f64 / 1e6 / self.seconds,
                self.acks as f64 / self.seconds,
                at(50),
                at(99),
                self.cpu / gigabytes,
            );
        }
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("usage: write_path DIRECTORY [SECONDS]")?;
    let seconds = arguments.next().map_or(Ok(3), |s| s.parse())?;
    let time = Duration::from_secs(seconds);
    let chosen: Option<usize> = arguments.next().map(|s| s.parse()).transpose()?;
    let (first, count) = chosen.map_or((0, LOADS.len()), |first| (first, 1));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    #[expect(clippy::print_stdout, reason = "the figures are the output")]
    {
        println!("| load | MB/s | acks/s | p50 ms | p99 ms | CPU s/GB |");
        println!("|---|---|---|---|---|---|");
    }
    let folder = Path::new(&folder);
    let disk = OsDisk::open(folder.join("store"))?;
    let store = LocalStore::open(Arc::new(disk), Options::default())?;
    // Journal files grow and are recycled first, as in a broker that has been running for a while.
    runtime.block_on(warm_up(&store))?;
    for load in LOADS.into_iter().skip(first).take(count) {
        let kib = load.bytes / 1024;
        baseline(folder, load.bytes, time)?.print(&format!("baseline, {kib} KiB"));
        let (writers, streams) = (load.writers, load.streams);
        let name = format!("{kib} KiB, {writers} writers, {streams} streams");
        runtime.block_on(measure(&store, load, time))?.print(&name);
    }
    store.close()?;
    drop(store);
    std::fs::remove_dir_all(folder.join("store"))?;
    Ok(())
}

async fn warm_up(store: &LocalStore) -> Outcome<()> {
    let load = load(1024 * 1024, 8, 8);
    while store.stats().journal_written_bytes < WARM_UP_BYTES {
        write(store, load, Duration::from_millis(200)).await?;
    }
    let again = store.clone();
    tokio::task::spawn_blocking(move || again.flush()).await??;
    Ok(())
}

fn baseline(folder: &Path, bytes: usize, time: Duration) -> Outcome<Figures> {
    let path = folder.join("baseline");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let block = vec![7; bytes];
    for at in (0..BASELINE_FILE_BYTES).step_by(1 << 20) {
        file.write_all_at(&vec![0; 1 << 20], at)?;
    }
    file.sync_all()?;
    let (cpu, start) = (cpu_seconds(), now());
    let mut latencies = Vec::new();
    let mut at = 0;
    while start.elapsed() < time {
        let before = now();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        latencies.push(u32::try_from(before.elapsed().as_micros())?);
        at = (at + bytes.max(4096) as u64) % BASELINE_FILE_BYTES;
    }
    let figures = Figures {
        acks: latencies.len() as u64,
        bytes: (latencies.len() * bytes) as u64,
        seconds: start.elapsed().as_secs_f64(),
        cpu: cpu_seconds() - cpu,
        latencies,
    };
    std::fs::remove_file(path)?;
    Ok(figures)
}

fn template(bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&vec![7; bytes]), &[]);
    builder.build()
}

async fn measure(store: &LocalStore, load: Load, time: Duration) -> Outcome<Figures> {
    let cpu = cpu_seconds();
    let start = now();
    let latencies = write(store, load, time).await?;
    Ok(Figures {
        acks: latencies.len() as u64,
        bytes: (latencies.len() * load.bytes) as u64,
        seconds: start.elapsed().as_secs_f64(),
        cpu: cpu_seconds() - cpu,
        latencies,
    })
}

/// Lets every writer of the load write for a while, to streams of their own which are removed afterwards. Returns
/// the latencies in microseconds.
async fn write(store: &LocalStore, load: Load, time: Duration) -> Outcome<Vec<u32>> {
    let mut writers = JoinSet::new();
    let start = now();
    // Offsets of the streams; a stream shared by several writers is counted under its lock.
    let ends: Arc<Vec<std::sync::Mutex<u64>>> =
        Arc::new((0..load.streams).map(|_| 0.into()).collect());
    for writer in 0..load.writers {
        let store = store.clone();
        let ends = Arc::clone(&ends);
        writers.spawn(async move {
            let batch = template(load.bytes);
            let mut progress = store.progress();
            let mut latencies = Vec::new();
            let mut number = writer;
            while start.elapsed() < time {
                number = (number + load.writers) % load.streams;
                let stream = StreamId {
                    owner: Uuid::from_u128(number as u128),
                    part: 0,
                };
                let before = now();
                let lsn = {
                    let mut end = ends[number].lock().map_err(|_| "a writer panicked")?;
                    let batch = batch.clone().placed(*end, 0, None);
                    *end += 1;
                    store.append(vec![Append { stream, batch }], Durability::Sync)?
                };
                progress.wait_for(|at| at.durable >= lsn).await?;
                latencies.push(u32::try_from(before.elapsed().as_micros())?);
            }
            Outcome::Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = writers.join_next().await {
        all.extend(done??);
    }
    for number in 0..load.streams {
        let owner = Uuid::from_u128(number as u128);
        // Streams no writer came to do not exist.
        let _ = store.trim(StreamId { owner, part: 0 }, Trim::All);
    }
    Ok(all)
}
