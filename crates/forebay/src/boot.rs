//! The boot sequence, read from top to bottom: lock, storage and engine, listeners, ready, wait, drain.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use console::{BuildInfo, Health, Metrics, Overview, State};
use engine::Clock as _;
use net::{Capacity, Connections, serve_http};
use storage::Supervisor;

use crate::broker::{Broker, start_broker};
use crate::clock::Machine;
use crate::crash;
use crate::credentials::Known;
use crate::descriptors;
use crate::listeners::{All, Listeners, connection_source};
use crate::lock::{DataLock, Place};
use crate::logging;
use crate::settings::{Profile, Setting as _, Settings};
use crate::signals::Signals;

/// Client connections may finish what they are doing for this long …
const PROTOCOL_DRAIN: Duration = Duration::from_secs(15);
/// … then probes and scrapes, which stay answered while clients drain …
const CONSOLE_DRAIN: Duration = Duration::from_secs(3);
/// … and the engine has this long to close: together below the 30 s an operator was promised.
const BROKER_CLOSE: Duration = Duration::from_secs(8);
/// Owners that end because another one has end after it, within this time.
const CAUSE_WITHIN: Duration = Duration::from_millis(100);
/// Probes, scrapers and people; far fewer than clients.
const CONSOLE_CONNECTIONS: usize = 1024;

/// Runs the broker until it has to stop. `file` is the one its settings were read from.
pub(crate) fn serve(settings: &Settings, file: Option<&Path>) -> anyhow::Result<()> {
    log_start(settings, file);
    // Before anything is created.
    let known = Known::read(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(run(settings, known));
    // A blocking task that hangs on a dead disk must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// What is started, in one line.
fn log_start(settings: &Settings, file: Option<&Path>) {
    let dir = &settings.data.dir;
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    let [kafka, amqp, sqs, http] = settings.listen_keys().map(|(_, listen)| listen.show());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("FOREBAY_COMMIT"),
        profile = settings.profile.word(),
        data_dir = %dir.display(),
        settings_file = file.map_or_else(|| "none".to_owned(), |file| file.display().to_string()),
        kafka,
        amqp,
        sqs,
        http,
        "forebay is starting"
    );
    if settings.profile == Profile::Dev {
        let (open, local) = settings.listeners_without_login();
        if !open.is_empty() {
            tracing::warn!(
                listeners = open.join(" "),
                "dev profile: everyone who reaches these listeners may do everything"
            );
        }
        if !local.is_empty() {
            tracing::warn!(
                listeners = local.join(" "),
                "dev profile: these listeners have no authentication, only this machine reaches them"
            );
        }
        tracing::warn!("dev profile: no listener has TLS");
    }
}

async fn run(settings: &Settings, known: Known) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let lock = DataLock::take(&settings.data.dir)?;
    let supervisor = Supervisor::new();
    let outcome = tokio::select! {
        biased;
        failure = failed(&supervisor) => Err(failure),
        outcome = serve_until_told((settings, known), &supervisor, &mut signals) => outcome,
    };
    // An owner that ended is why whatever else went wrong did, but for a start on a full disk: owners end because of it.
    let is_own_reason = matches!(&outcome, Err(error) if is_disk_full(error));
    if outcome.is_err() && !is_own_reason && supervisor.failure().is_some() {
        die(&settings.data.dir, &supervisor);
    }
    outcome?;
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

fn is_disk_full(error: &anyhow::Error) -> bool {
    let known = error.downcast_ref::<engine::Error>();
    matches!(known, Some(engine::Error::DiskFull))
}

/// Starts everything, serves until a signal comes, drains.
async fn serve_until_told(
    (settings, known): (&Settings, Known),
    supervisor: &Supervisor,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let broker = start_broker(settings, known, supervisor).await?;
    let low_disk = broker.low_disk(settings.storage.min_free_bytes);
    let health = Arc::new(Health::new().with_probe("low disk", low_disk));
    let all = All {
        total: Capacity::new(descriptors::connections_max()),
        connections: Connections::new(Box::new(|| Machine.wall_ms())),
    };
    let (protocols, console) = match open_listeners(settings, &broker, &health, &all).await {
        Ok(opened) => opened,
        Err(error) => {
            // No client was served: the next start finds everything closed in order.
            close(broker).await?;
            return Err(error);
        }
    };

    announce(&[&protocols, &console]);
    health.set_ready();
    say("forebay ready");

    let watch = broker.watch(&health, Place::of(&settings.data.dir)).run();
    let signal = tokio::select! {
        signal = signals.next() => signal,
        never = watch => match never {},
    };
    tracing::info!(signal = signal.name, "stopping: draining connections");
    health.set_draining();
    tokio::select! {
        closed = drain(protocols, console, broker) => closed,
        signal = signals.next() => {
            tracing::warn!(signal = signal.name, "second signal: exiting at once");
            std::process::exit(128 + signal.number)
        }
    }
}

/// Resolves when an owner has ended, a moment later: the cause has then been logged.
async fn failed(supervisor: &Supervisor) -> anyhow::Error {
    let mut failures = supervisor.failures();
    if failures
        .wait_for(|failures| !failures.is_empty())
        .await
        .is_err()
    {
        return std::future::pending().await;
    }
    tokio::time::sleep(CAUSE_WITHIN).await;
    match supervisor.failure() {
        Some(failure) => anyhow::anyhow!("{failure}"),
        None => anyhow::anyhow!("an owner stopped"),
    }
}

/// Ends the process at once, with the reason on stderr and in a file. Nothing is drained or closed: what waits for an
/// owner that has ended would wait for ever, and nothing may be acknowledged any more.
fn die(data: &Path, supervisor: &Supervisor) -> ! {
    let failures = supervisor.failures().borrow().clone();
    let mut reasons: Vec<String> = failures.iter().map(ToString::to_string).collect();
    if let Some(first) = supervisor.failure().map(|failure| failure.to_string()) {
        reasons.retain(|reason| *reason != first);
        reasons.insert(0, first);
    }
    let file = crash::leave_file(data, &reasons);
    for reason in &reasons {
        logging::fatal(reason);
    }
    if let Some(file) = file {
        logging::fatal(&format!("details are in {}", file.display()));
    }
    std::process::exit(1)
}

/// Opens the listeners of the protocols, and that of HTTP.
async fn open_listeners(
    settings: &Settings,
    broker: &Broker,
    health: &Arc<Health>,
    all: &All,
) -> anyhow::Result<(Listeners, Listeners)> {
    let protocols = open_protocols(settings, broker, all).await?;
    let console = open_console(settings, broker, health, (&protocols, all)).await?;
    Ok((protocols, console))
}

/// Opens one listener per protocol that this build speaks.
async fn open_protocols(
    settings: &Settings,
    broker: &Broker,
    all: &All,
) -> anyhow::Result<Listeners> {
    let mut protocols = Listeners::new(all, broker.budget(), PROTOCOL_DRAIN);
    let context = broker.kafka();
    let serve = move |listener: net::Listener, drain: net::Drain| {
        let (context, each) = (Arc::clone(&context), drain.clone());
        listener.serve(drain, move |connection| {
            kafka::serve(connection, Arc::clone(&context), each.clone())
        })
    };
    let most = settings.kafka.max_connections.0 as usize;
    protocols
        .open("kafka", &settings.listeners.kafka, most, serve)
        .await?;
    open_amqp(settings, broker, &mut protocols).await?;
    let sqs = broker.sqs();
    let serve = |listener: net::Listener, drain| {
        let limits = sqs.limits();
        serve_http(listener, sqs::router(Arc::clone(&sqs)), limits, drain)
    };
    let most = settings.sqs.max_connections.0 as usize;
    protocols
        .open("sqs", &settings.listeners.sqs, most, serve)
        .await?;
    Ok(protocols)
}

async fn open_amqp(
    settings: &Settings,
    broker: &Broker,
    protocols: &mut Listeners,
) -> anyhow::Result<()> {
    let context = broker.amqp();
    let serve = move |listener: net::Listener, drain: net::Drain| {
        let (context, each) = (Arc::clone(&context), drain.clone());
        listener.serve(drain, move |connection| {
            amqp::serve(connection, Arc::clone(&context), each.clone())
        })
    };
    let most = settings.amqp.max_connections.0 as usize;
    protocols
        .open("amqp", &settings.listeners.amqp, most, serve)
        .await
}

/// Opens the HTTP listener. It comes last, because it shows the numbers of all the others.
async fn open_console(
    settings: &Settings,
    broker: &Broker,
    health: &Arc<Health>,
    (protocols, all): (&Listeners, &All),
) -> anyhow::Result<Listeners> {
    let mut console = Listeners::new(all, broker.budget(), CONSOLE_DRAIN);
    let serve = |listener: net::Listener, drain| {
        let mut observers = protocols.observers();
        observers.push((listener.name(), listener.observer()));
        let mut sources = broker.sources();
        sources.push(connection_source(observers));
        let build = BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("FOREBAY_COMMIT"),
            profile: settings.profile.word(),
        };
        let metrics = Arc::new(Metrics::new(build, sources).prepared_by(broker.prepare()));
        let mut addresses = protocols.addresses().to_vec();
        addresses.push((listener.name(), listener.address()));
        let router = console::router(State {
            health: Arc::clone(health),
            metrics,
            overview: Arc::new(Overview { build, addresses }),
        });
        let router = router.merge(console::api(&broker.engine(), all.connections.clone()));
        serve_http(listener, router, console::limits(), drain)
    };
    console
        .open("http", &settings.listeners.http, CONSOLE_CONNECTIONS, serve)
        .await?;
    Ok(console)
}

fn announce(groups: &[&Listeners]) {
    for (name, address) in groups.iter().flat_map(|listeners| listeners.addresses()) {
        say(&format!("{name} listening on {address}"));
    }
}

/// Protocols first, so that probes can watch; the engine last, when nothing needs it any more.
async fn drain(protocols: Listeners, console: Listeners, broker: Broker) -> anyhow::Result<()> {
    broker.drain();
    protocols.close().await;
    console.close().await;
    close(broker).await
}

async fn close(broker: Broker) -> anyhow::Result<()> {
    tokio::time::timeout(BROKER_CLOSE, broker.close())
        .await
        .context("the engine did not close in time")?
}

/// One line on stdout, which supervisors and tests read. A closed stdout is no reason not to serve.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
