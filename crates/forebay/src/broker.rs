//! Everything between the listeners and the disk, as one thing that is started and closed.
//!
//! The data directory is locked by the caller. Storage and engine are built in [`start_broker`] and owned by
//! [`Broker`]; frontends get what they need from it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use console::{Health, Prepare, Probe, Source};
use engine::group::GroupSettings;
use security::{AllowAll, Principal};
use storage::Catalog as _;
use storage::Supervisor;
use storage::disk::Disk;
use storage::local::{LocalStore, Options, OsDisk, RecoveryReport, Stopwatch};

use crate::clock::{Machine, stopwatch};
use crate::credentials::Known;
use crate::lock::{Place, STORE};
use crate::logging;
use crate::memory::Memory;
use crate::numbers;
use crate::settings::{
    ByteSize, EndpointStrategy, Profile, Setting as _, Settings, Signatures, Vhosts,
};
use crate::watch::Watch;

/// The running broker.
pub(crate) struct Broker {
    supervisor: Supervisor,
    store: LocalStore,
    engine: engine::Broker,
    kafka: Arc<kafka::Context>,
    amqp: Arc<amqp::Context>,
    sqs: Arc<sqs::Context>,
    groups: numbers::SeenGroups,
    budget: net::Budget,
}

/// Opens the storage, recovers, and starts the engine over it.
pub(crate) async fn start_broker(
    settings: &Settings,
    known: Known,
    supervisor: &Supervisor,
) -> anyhow::Result<Broker> {
    // A folder of its own: beside it there will be other things that must survive, such as keys.
    let folder = settings.data.dir.join(STORE);
    let memory = Memory::of(settings)?;
    #[cfg(feature = "failpoints")]
    crate::failpoints::set_folder(&settings.data.dir);
    let is_new = is_new(&folder);
    let disk = open_disk(&folder)?;
    let options = Options {
        supervisor: supervisor.clone(),
        ..storage_options(settings, memory)
    };
    // Recovery reads and maps files: not on a thread that serves connections.
    let opened = tokio::task::spawn_blocking(move || LocalStore::open(disk, options)).await?;
    let store = opened.context("cannot open the data directory")?;
    log_recovery(store.recovery(), is_new);
    if store.is_full() && store.list("").await?.is_empty() {
        return Err(not_recovered(engine::Error::DiskFull, settings));
    }
    let parts = engine_parts(&store, supervisor);
    let started = engine::Broker::start(parts, engine_settings(settings, memory)).await;
    let engine = started.map_err(|error| not_recovered(error, settings))?;
    create_vhosts(&engine, &settings.amqp.vhosts).await?;
    let kafka = Arc::new(kafka::Context::new(
        engine.clone(),
        kafka_settings(settings),
    ));
    let full = store.clone();
    let amqp = Arc::new(amqp::Context::new(
        engine.clone(),
        amqp_settings(settings, known.logins),
        Box::new(move || full.is_full()),
    ));
    let sqs = Arc::new(sqs::Context::new(
        engine.clone(),
        sqs_settings(settings, known.keys),
    ));
    Ok(Broker {
        supervisor: supervisor.clone(),
        store,
        engine,
        kafka,
        amqp,
        sqs,
        groups: numbers::SeenGroups::default(),
        budget: net::Budget::new(bytes(memory.connections)),
    })
}

/// Why the engine could not start; on a full disk, with what an operator can do.
fn not_recovered(error: engine::Error, settings: &Settings) -> anyhow::Error {
    let is_full = matches!(error, engine::Error::DiskFull);
    let error = anyhow::Error::new(error);
    if !is_full {
        return error.context("cannot recover the broker's state");
    }
    let dir = &settings.data.dir;
    let shown = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    let free = rustix::fs::statvfs(dir).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let free = free.map_or_else(
        |_| "too little is".to_owned(),
        |bytes| format!("{} MiB are", bytes >> 20),
    );
    error.context(format!(
        "cannot start in {}: {free} free on its disk, and storage.min_free_bytes is {}",
        shown.display(),
        settings.storage.min_free_bytes.show()
    ))
}

fn engine_parts(store: &LocalStore, supervisor: &Supervisor) -> engine::Parts {
    let parts = engine::Parts {
        log: Arc::new(store.clone()),
        catalog: Arc::new(store.clone()),
        clock: Arc::new(Machine),
        random: Arc::new(Machine),
        authorizer: Arc::new(AllowAll),
        supervisor: supervisor.clone(),
    };
    #[cfg(feature = "failpoints")]
    let parts = crate::failpoints::wrap_engine(parts);
    parts
}

/// Creates the vhosts the settings name.
async fn create_vhosts(engine: &engine::Broker, vhosts: &Vhosts) -> anyhow::Result<()> {
    for name in &vhosts.0 {
        let made = engine
            .on_behalf_of(&Principal::anonymous())
            .create_vhost(name)
            .await;
        let made = made.with_context(|| format!("cannot create the vhost '{name}'"))?;
        if made {
            tracing::info!(vhost = %name, "vhost created");
        }
    }
    Ok(())
}

fn bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Whether nothing has been kept in a folder yet.
fn is_new(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut files| files.next().is_none())
}

fn log_recovery(report: &RecoveryReport, is_new: bool) {
    let took_ms = report.took.as_millis();
    if is_new {
        tracing::info!(took_ms, "storage created");
        return;
    }
    tracing::info!(
        clean_shutdown = report.clean,
        replayed_bytes = report.bytes,
        replayed_groups = report.groups,
        cut_groups = report.cut_groups,
        orphan_segments = report.orphans,
        streams = report.streams,
        took_ms,
        "storage recovered"
    );
}

fn open_disk(folder: &Path) -> anyhow::Result<Arc<dyn Disk>> {
    let disk = OsDisk::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    #[cfg(feature = "failpoints")]
    let disk = crate::failpoints::wrap(disk)?;
    Ok(disk)
}

fn storage_options(settings: &Settings, memory: Memory) -> Options {
    let storage = &settings.storage;
    Options {
        journal_file_bytes: storage.journal_file_bytes.0,
        unflushed_bytes: memory.unflushed,
        tail_bytes: memory.tail,
        flush_interval: storage.flush_interval.0,
        min_free_bytes: storage.min_free_bytes.0,
        stopwatch: Some(journal_stopwatch()),
        ..Options::default()
    }
}

fn journal_stopwatch() -> Stopwatch {
    let watch = stopwatch();
    #[cfg(feature = "failpoints")]
    let watch = crate::failpoints::wrap_stopwatch(watch);
    watch
}

fn engine_settings(settings: &Settings, memory: Memory) -> engine::Settings {
    let kafka = &settings.kafka;
    let defaults = engine::Settings::default();
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    engine::Settings {
        default_partitions: kafka.default_partitions.0,
        replication_max: u16::try_from(kafka.reported_replication_factor_max.0).unwrap_or(1),
        topic_defaults: BTreeMap::from([(
            "max.message.bytes".to_owned(),
            kafka.max_message_bytes.0.to_string(),
        )]),
        group: GroupSettings {
            initial_rebalance_delay_ms: millis(initial_rebalance_delay(settings)),
            session_timeout_min_ms: u32::try_from(millis(kafka.group_min_session_timeout.0))
                .unwrap_or(u32::MAX),
            offsets_retention_ms: millis(kafka.offsets_retention.0),
            subscription: kafka::subscription,
            ..GroupSettings::default()
        },
        kept_defaults: kafka::topic_defaults,
        cluster_id: kafka.cluster_id.as_ref().map(|id| id.0.clone()),
        attach_topics: settings.queues.attach_topics,
        internal_exchanges: vec![amqp::TRACE_EXCHANGE.to_owned()],
        publish_bytes_max: defaults.publish_bytes_max.min(bytes(memory.connections)),
        queue_state_bytes_max: memory.queue_state,
        group_state_bytes_max: memory.group_state,
        read_ahead_bytes: bytes(memory.cache),
        ..defaults
    }
}

/// A newcomer who tries it out does not wait; where many members start together, one assignment is better than ten.
fn initial_rebalance_delay(settings: &Settings) -> Duration {
    match (
        settings.kafka.group_initial_rebalance_delay,
        settings.profile,
    ) {
        (Some(delay), _) => delay.0,
        (None, Profile::Dev) => Duration::ZERO,
        (None, Profile::Production) => Duration::from_secs(3),
    }
}

/// Where connections from the host of a container come from; none outside of containers.
fn host_gateways() -> Vec<IpAddr> {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    if !marks.iter().any(|mark| Path::new(mark).exists()) {
        return Vec::new();
    }
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    default_gateways(&routes)
}

/// The gateways of the default routes in the kernel's table.
fn default_gateways(routes: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let address = u32::from_str_radix(gateway, 16).ok()?;
        let is_default = destination == "00000000" && address != 0;
        is_default.then(|| IpAddr::from(address.to_le_bytes()))
    };
    routes.lines().skip(1).filter_map(gateway).collect()
}

/// The data folder as its tools see it, with its disk's space.
fn log_dir(dir: &Path) -> kafka::LogDir {
    let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let shown = path.display().to_string();
    let bytes =
        |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX);
    let space = move || match rustix::fs::statvfs(&path) {
        Ok(stat) => (
            bytes(stat.f_blocks, stat.f_frsize),
            bytes(stat.f_bavail, stat.f_frsize),
        ),
        Err(_) => (-1, -1),
    };
    kafka::LogDir::new(shown, Arc::new(space))
}

fn kafka_settings(settings: &Settings) -> kafka::Settings {
    let kafka = &settings.kafka;
    let default = kafka::Settings::default();
    kafka::Settings {
        advertised: kafka
            .advertised_address
            .as_ref()
            .map(|at| (at.host.clone(), at.port)),
        node_id: i32::try_from(kafka.node_id.0).unwrap_or(1),
        fetch_sessions_max: kafka.fetch_sessions_max.0 as usize,
        log_dir: log_dir(&settings.data.dir),
        host_gateways: host_gateways(),
        auto_create_topics: kafka.auto_create_topics,
        request_bytes_max: usize::try_from(kafka.max_request_bytes.0).unwrap_or(usize::MAX),
        loggers: logging::levels().map_or(default.loggers, |levels| levels),
        idle: default.idle,
    }
}

fn amqp_settings(settings: &Settings, logins: Option<Vec<amqp::Login>>) -> amqp::Settings {
    let amqp = &settings.amqp;
    let logins = logins.map_or(amqp::Logins::Open, amqp::Logins::Known);
    amqp::Settings {
        frame_max: u32::try_from(amqp.frame_max.0).unwrap_or(u32::MAX),
        channel_max: u16::try_from(amqp.channel_max.0).unwrap_or(u16::MAX),
        heartbeat: u16::try_from(amqp.heartbeat.0.as_secs()).unwrap_or(u16::MAX),
        message_bytes_max: usize::try_from(amqp.message_bytes_max.0).unwrap_or(usize::MAX),
        logins,
    }
}

fn sqs_settings(settings: &Settings, credentials: Vec<sqs::Credential>) -> sqs::Settings {
    let sqs = &settings.sqs;
    sqs::Settings {
        account: sqs.account.0.clone(),
        region: sqs.region.0.clone(),
        public_url: sqs.public_url.as_ref().map(|url| url.0.clone()),
        url_style: match sqs.endpoint_strategy {
            EndpointStrategy::Off => sqs::UrlStyle::Host,
            EndpointStrategy::Standard => sqs::UrlStyle::Standard,
            EndpointStrategy::Domain => sqs::UrlStyle::Domain,
            EndpointStrategy::Path => sqs::UrlStyle::Path,
            EndpointStrategy::Dynamic => sqs::UrlStyle::Dynamic,
        },
        signatures: match sqs.signatures {
            Signatures::Off => sqs::Signatures::Off,
            Signatures::Verify => sqs::Signatures::Verify,
        },
        credentials,
        recreate_delay: sqs.recreate_delay,
        purge_delay: sqs.purge_delay,
        request_bytes_max: usize::try_from(sqs.max_request_bytes.0).unwrap_or(usize::MAX),
    }
}

impl Broker {
    /// What SQS requests are served with.
    pub(crate) fn sqs(&self) -> Arc<sqs::Context> {
        Arc::clone(&self.sqs)
    }

    /// What AMQP connections are served with.
    pub(crate) fn amqp(&self) -> Arc<amqp::Context> {
        Arc::clone(&self.amqp)
    }

    /// What Kafka connections are served with.
    pub(crate) fn kafka(&self) -> Arc<kafka::Context> {
        Arc::clone(&self.kafka)
    }

    /// Says why publishes are refused for want of disk space, while they are.
    pub(crate) fn low_disk(&self, min_free_bytes: ByteSize) -> Probe {
        let store = self.store.clone();
        Box::new(move || {
            if !store.is_full() {
                return None;
            }
            let needed = store.free_bytes_min();
            let why = if min_free_bytes.0 == 0 {
                "the disk is full".to_owned()
            } else if needed > min_free_bytes.0 {
                let needed = needed.div_ceil(1 << 20);
                format!("less than the {needed} MiB are free that the next flush takes")
            } else {
                let limit = min_free_bytes.show();
                format!("less than {limit} are free (storage.min_free_bytes)")
            };
            Some(format!("{why}: publishes are refused"))
        })
    }

    /// The engine's door, for the JSON API.
    pub(crate) fn engine(&self) -> engine::Broker {
        self.engine.clone()
    }

    /// Its numbers, for `/metrics`.
    pub(crate) fn sources(&self) -> Vec<Source> {
        vec![
            numbers::log(),
            numbers::storage(self.store.clone()),
            numbers::engine(self.engine.clone()),
            numbers::groups(Arc::clone(&self.groups)),
            numbers::kafka(Arc::clone(self.kafka.metrics())),
            numbers::amqp(Arc::clone(self.amqp.metrics())),
            numbers::sqs(Arc::clone(self.sqs.metrics())),
            numbers::memory(self.budget.clone()),
        ]
    }

    /// What connections may hold.
    pub(crate) fn budget(&self) -> &net::Budget {
        &self.budget
    }

    /// What its numbers need before they are read.
    pub(crate) fn prepare(&self) -> Prepare {
        numbers::prepare(self.engine.clone(), Arc::clone(&self.groups))
    }

    /// Ends long polls early: the listeners are about to await their connections.
    pub(crate) fn drain(&self) {
        self.engine.drain();
    }

    /// What looks after it; to be run for as long as it serves.
    pub(crate) fn watch(&self, health: &Arc<Health>, place: Place) -> Watch {
        Watch {
            supervisor: self.supervisor.clone(),
            engine: self.engine.clone(),
            health: Arc::clone(health),
            place,
        }
    }

    /// Makes everything durable and stops; called when no client is connected any more.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        // Without it there is no clean end: the next start recovers from the journal.
        self.engine
            .stop()
            .await
            .context("the engine did not stop in good order")?;
        let store = self.store;
        tokio::task::spawn_blocking(move || store.close())
            .await?
            .context("cannot close the storage")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read_from_the_routing_table() {
        let routes = "Iface\tDestination\tGateway\tFlags\n\
                      eth0\t00000000\t010011AC\t0003\n\
                      eth0\t000011AC\t00000000\t0001\n\
                      eth1\t00000000\tnothing\t0003\n";
        assert_eq!(default_gateways(routes), [IpAddr::from([172, 17, 0, 1])]);
        assert!(default_gateways("").is_empty());
    }
}
