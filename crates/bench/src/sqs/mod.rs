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
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use self::client::{Client, Key};
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
/// Connections that fill a queue of a broker that has no faster way in.
const FILLERS: u16 = 16;
/// Messages in each of their requests.
const FILL_BATCH: usize = 10;
/// How long they may take.
const FILL_SECONDS_MAX: f64 = 3600.0;
/// What a message takes beyond its body, generously.
const OVERHEAD_BYTES: u64 = 128;

/// Measures everything the options ask for and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    run::block_on(options.client_threads.into(), measure(options))
}

async fn measure(options: &Options) -> Result<()> {
    let mut report = Report::start(options.output)?;
    if let Some(address) = options.target.target {
        let login = options.login.clone();
        let key = login.map(|(access, secret)| Key { access, secret });
        for signatures in &options.signatures {
            let mut bench = Bench {
                options,
                sqs: address,
                kafka: None,
                source: options.target.source(),
                key: (*signatures == Signatures::Verify).then(|| key.clone().unwrap_or_default()),
                report: &mut report,
            };
            bench.queues().await?;
        }
        return Ok(report.finish()?);
    }
    let parent = options.target.folder();
    check_space(options, &parent)?;
    for signatures in &options.signatures {
        let folder = Folder::create(&parent)?;
        let key = (*signatures == Signatures::Verify).then(Key::default);
        let file = credentials(folder.path(), &key.clone().unwrap_or_default())?;
        let mut settings = Vec::new();
        if key.is_some() {
            settings.push(("sqs.signatures", "verify"));
            settings.push(("sqs.credentials_file", &*file));
        }
        let broker = Spawned::start(folder, &settings)?;
        let mut bench = Bench {
            options,
            sqs: broker.address("sqs")?,
            kafka: Some(broker.address("kafka")?),
            source: Source::Process(broker.pid()),
            key,
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
fn credentials(folder: &Path, key: &Key) -> Result<String> {
    let (access_key, secret_key) = (&key.access, &key.secret);
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
    sqs: SocketAddr,
    /// The fast way into a queue, where there is one.
    kafka: Option<SocketAddr>,
    source: Source,
    key: Option<Key>,
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
        let name = format!("bench-{}-depth-{depth}", std::process::id());
        let target = Arc::new(self.make_queue(kind, &name).await?);
        match self.kafka {
            Some(kafka) => kafka::fill(kafka, &name, target.text.as_bytes(), depth).await?,
            None => self.fill(&target, depth).await?,
        }
        for action in ACTIONS {
            let conditions = Conditions {
                action,
                kind,
                signed: self.key.is_some(),
                depth,
            };
            self.row(&target, conditions).await?;
        }
        let mut client = Client::open(self.sqs, self.key.as_ref()).await?;
        let body = format!(r#"{{"QueueUrl":"{}"}}"#, target.url);
        client.call("DeleteQueue", &body).await?;
        Ok(())
    }

    /// The way in that every broker has.
    async fn fill(&self, target: &Arc<Target>, depth: u64) -> Result<()> {
        if depth == 0 {
            return Ok(());
        }
        let clients = self.clients(self.options.connections.min(FILLERS)).await?;
        let run = Run::start(FILL_SECONDS_MAX, Some(depth.div_ceil(FILL_BATCH as u64)));
        load::run(clients, target, Action::Send { count: FILL_BATCH }, &run).await?;
        Ok(())
    }

    async fn clients(&self, count: u16) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(Client::open(self.sqs, self.key.as_ref()).await?);
        }
        Ok(clients)
    }

    async fn make_queue(&self, kind: Kind, name: &str) -> Result<Target> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Made {
            queue_url: String,
        }
        let (suffix, attributes) = match kind {
            Kind::Standard => ("", ""),
            Kind::Fifo => (".fifo", r#","Attributes":{"FifoQueue":"true"}"#),
        };
        let body = format!(r#"{{"QueueName":"{name}{suffix}"{attributes}}}"#);
        let mut client = Client::open(self.sqs, self.key.as_ref()).await?;
        let made: Made = serde_json::from_slice(&client.call("CreateQueue", &body).await?)?;
        let letters = ('a'..='z').chain('A'..='Z').chain('0'..='9');
        Ok(Target {
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
        let source = self.source;
        let clients = self.clients(self.options.connections).await?;
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
