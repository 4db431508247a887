//! The SQS load: messages sent, received and deleted over HTTP, alone and in batches of ten, in queues of several
//! depths, with and without signatures.
//!
//! A queue is filled through the Kafka listener, because a queue and the topic of its name are one thing, and large
//! batches are the fastest way in.

mod client;
mod http;
mod load;
mod options;
mod row;
mod sigv4;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use self::client::Client;
use self::load::{Action, Tally, Target};
pub use self::options::Options;
use self::options::{Kind, Signatures};
use self::row::{Conditions, Cost, Row};
use crate::histogram::Histogram;
use crate::kafka;
use crate::report::{Latency, Report};
use crate::run::{self, Run};
use crate::spawned::{Folder, Spawned};
use crate::usage::{Meter, Source, settle};

/// What is measured on every queue, in this order: receivers find what senders left, whatever the depth.
const ACTIONS: [Action; 4] = [
    Action::Send { count: 1 },
    Action::Receive { max: 1 },
    Action::Send { count: 10 },
    Action::Receive { max: 10 },
];
/// What the broker needs besides the messages: its journal, and what the rows themselves send.
const SPARE_BYTES: u64 = 4 << 30;
/// What a message takes beyond its body, generously.
const OVERHEAD_BYTES: u64 = 128;

/// Measures everything the options ask for and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    run::block_on(options.client_threads.into(), measure(options))
}

async fn measure(options: &Options) -> Result<()> {
    let parent = options.data.clone().unwrap_or_else(|| PathBuf::from("."));
    check_space(options, &parent)?;
    let mut report = Report::start(options.output)?;
    for signatures in &options.signatures {
        let folder = Folder::create(&parent)?;
        let signed = *signatures == Signatures::Verify;
        let file = credentials(folder.path())?;
        let mut settings = Vec::new();
        if signed {
            settings.push(("sqs.signatures", "verify"));
            settings.push(("sqs.credentials_file", &*file));
        }
        let broker = Spawned::start(folder, &settings)?;
        let mut bench = Bench {
            options,
            broker: &broker,
            signed,
            report: &mut report,
        };
        let outcome = bench.queues().await;
        outcome.map_err(|error| broker.explain(&error))?;
        broker.stop()?;
    }
    Ok(report.finish()?)
}

/// Refuses to fill the disk up. One broker's data are deleted before the next one starts.
fn check_space(options: &Options, parent: &Path) -> Result<()> {
    let depths = options.queues.iter().map(|kind| options.depths_of(*kind));
    let messages: u64 = depths.flatten().sum();
    let needed = messages * (u64::from(options.body_bytes) + OVERHEAD_BYTES) + SPARE_BYTES;
    let disk = rustix::fs::statvfs(parent);
    let disk = disk.with_context(|| format!("cannot look at {}", parent.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    let mib = |bytes: u64| bytes >> 20;
    ensure!(
        free >= needed,
        "{} has {} MiB free, and {messages} messages need {} MiB; choose another folder (--data) or less depth",
        parent.display(),
        mib(free),
        mib(needed)
    );
    Ok(())
}

/// Writes the file of keys that the broker reads; answers where.
fn credentials(folder: &Path) -> Result<String> {
    let (access_key, secret_key) = client::KEY;
    let path = folder.join("credentials");
    let text = format!(
        "[bench]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
    );
    fs::write(&path, text)?;
    // The broker may be started from elsewhere.
    let path = fs::canonicalize(path)?;
    let path = path.into_os_string().into_string();
    path.ok().context("the folder's name is not valid UTF-8")
}

/// Everything that lasts for one broker.
struct Bench<'a> {
    options: &'a Options,
    broker: &'a Spawned,
    signed: bool,
    report: &'a mut Report<Row>,
}

impl Bench<'_> {
    async fn queues(&mut self) -> Result<()> {
        for kind in &self.options.queues {
            for depth in self.options.depths_of(*kind) {
                self.queue(*kind, depth).await?;
            }
        }
        Ok(())
    }

    async fn queue(&mut self, kind: Kind, depth: u64) -> Result<()> {
        let name = format!("depth-{depth}");
        let target = Arc::new(self.make_queue(kind, &name).await?);
        let kafka = self.broker.address("kafka")?;
        let text = target.text.as_bytes();
        kafka::fill(kafka, &name, text, depth).await?;
        for action in ACTIONS {
            let conditions = Conditions {
                action,
                kind,
                signed: self.signed,
                depth,
            };
            self.row(&target, conditions).await?;
        }
        Ok(())
    }

    async fn make_queue(&self, kind: Kind, name: &str) -> Result<Target> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Made {
            queue_url: String,
        }
        let address = self.broker.address("sqs")?;
        let (suffix, attributes) = match kind {
            Kind::Standard => ("", ""),
            Kind::Fifo => (".fifo", r#","Attributes":{"FifoQueue":"true"}"#),
        };
        let body = format!(r#"{{"QueueName":"{name}{suffix}"{attributes}}}"#);
        let mut client = Client::open(address, self.signed).await?;
        let made: Made = serde_json::from_slice(&client.call("CreateQueue", &body).await?)?;
        let letters = ('a'..='z').chain('A'..='Z').chain('0'..='9');
        Ok(Target {
            address,
            signed: self.signed,
            url: made.queue_url,
            text: letters
                .cycle()
                .take(self.options.body_bytes as usize)
                .collect(),
            groups: (kind == Kind::Fifo).then_some(self.options.groups.into()),
            next: AtomicU64::new(0),
        })
    }

    async fn row(&mut self, target: &Arc<Target>, conditions: Conditions) -> Result<()> {
        let source = Source::Process(self.broker.pid());
        let mut clients = Vec::new();
        for _ in 0..self.options.connections {
            clients.push(Client::open(target.address, target.signed).await?);
        }
        settle(source).await?;
        let meter = Meter::start(source)?;
        let run = Run::start(self.options.seconds, None);
        let tallies = load::run(clients, target, conditions.action, &run).await?;
        settle(source).await?;
        let row = self.measured(&tallies, conditions, meter)?;
        Ok(self.report.add(row)?)
    }

    fn measured(&self, tallies: &[Tally], conditions: Conditions, meter: Meter) -> Result<Row> {
        let mut latency = Histogram::default();
        for tally in tallies {
            latency.merge(&tally.latency);
        }
        let requests = tallies.iter().map(|tally| tally.requests).sum();
        let messages = tallies.iter().map(|tally| tally.messages).sum();
        ensure!(messages > 0, "no message came");
        let end = tallies.iter().map(|tally| tally.end).max();
        let seconds = end.unwrap_or_default().as_secs_f64();
        let (broker, client) = meter.stop()?;
        let cost = |spent| Cost::new(spent, requests, messages);
        Ok(Row {
            action: conditions.action.word(),
            queue: conditions.kind.word(),
            signed: conditions.signed,
            depth: conditions.depth,
            connections: self.options.connections,
            body_bytes: self.options.body_bytes,
            requests,
            messages,
            seconds,
            requests_per_second: requests as f64 / seconds,
            messages_per_second: messages as f64 / seconds,
            latency_ms: Latency::of(&latency),
            broker: broker.map(cost),
            client: cost(client),
        })
    }
}
