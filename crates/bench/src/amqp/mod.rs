//! The AMQP load: persistent messages to durable queues, confirmed and acknowledged, published and consumed alone and
//! at once, on one broker or on two in turn.
//!
//! The load generator shares the machine with the broker, so a message costs it little: a publish is encoded once and
//! stamped anew, an acknowledgement is 21 bytes with a number in it, and the clock is read once per read or write. It
//! checks every byte and every message's place in the order, so a broker that loses, repeats, or changes a message
//! fails the measurement.

mod consumer;
mod control;
#[cfg(test)]
mod fake;
mod link;
mod load;
mod memory;
mod message;
mod names;
mod options;
mod plan;
mod publisher;
mod row;
mod site;
mod spike;
mod summary;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod unconfirmed;

use anyhow::{Result, ensure};

use self::load::Load;
use self::names::Names;
use self::options::Kind;
pub use self::options::Options;
use self::plan::{NO_END_SECONDS, Work, plan};
use self::publisher::{Pace, Refusals};
use self::row::{BOTH, CONSUME, Conditions, FAN_OUT, Flood, ONE_IN_FLIGHT, PUBLISH, Row};
use self::site::{Peer, Site};
use self::tally::Tally;
use crate::report::{Cost, Latency, Report, Volume};
use crate::run::{self, Run};
use crate::spawned::{Folder, Spawned};
use crate::usage::{Meter, Source, settle};

/// No backlog takes more of the disk than this.
const BACKLOG_BYTES_MAX: u64 = 1 << 30;
/// How long a broker is warmed up.
const WARM_UP_SECONDS: f64 = 0.5;

/// Measures everything the options ask for and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    run::block_on(options.client_threads.into(), measure(options))
}

async fn measure(options: &Options) -> Result<()> {
    if let Some(address) = options.brokers.first.target {
        let source = options.brokers.first.source();
        let login = &options.brokers.login;
        let target = Peer::meet(address, login, source, None).await?;
        return measure_peers(options, target).await;
    }
    let parent = options.brokers.first.folder();
    let broker = Spawned::start(Folder::create(&parent)?, &[])?;
    let outcome = measure_spawned(options, &broker).await;
    outcome.map_err(|error| broker.explain(&error))?;
    broker.stop()
}

async fn measure_spawned(options: &Options, broker: &Spawned) -> Result<()> {
    let source = Source::Process(broker.pid());
    let login = &options.brokers.login;
    let target = Peer::meet(broker.address("amqp")?, login, source, None).await?;
    measure_peers(options, target).await
}

async fn measure_peers(options: &Options, target: Peer) -> Result<()> {
    let brokers = &options.brokers;
    let mut peers = vec![target];
    if let Some(address) = brokers.compare {
        let source = Source::of_process(brokers.compare_pid);
        let queue_type = brokers.compare_queue_type.as_deref();
        peers.push(Peer::meet(address, &brokers.login, source, queue_type).await?);
    }
    if options.memory {
        return memory::measure(options, &peers).await;
    }
    let mut bench = Bench {
        seconds: plan::seconds(options),
        flood_limit: options.shape.flood_limit,
        report: Report::start(options.output)?,
        names: Names::default(),
    };
    bench.rounds(options, &peers).await?;
    Ok(bench.report.finish()?)
}

/// Everything that lasts for all rows.
struct Bench {
    seconds: f64,
    flood_limit: u32,
    report: Report<Row>,
    names: Names,
}

impl Bench {
    /// The brokers take turns at every load, and each round another one begins.
    async fn rounds(&mut self, options: &Options, peers: &[Peer]) -> Result<()> {
        let loads = plan(options);
        for peer in peers {
            self.warm_up(peer, &loads).await?;
        }
        for round in 1..=options.rounds {
            for work in &loads {
                let mut turn: Vec<&Peer> = peers.iter().collect();
                if round.is_multiple_of(2) {
                    turn.reverse();
                }
                for peer in turn {
                    self.load(peer, round, work).await?;
                }
            }
        }
        Ok(())
    }

    /// The first messages of a process are slower than all others.
    async fn warm_up(&mut self, peer: &Peer, loads: &[Work]) -> Result<()> {
        let Some(work) = loads.first() else {
            return Ok(());
        };
        let site = Site::make(peer, &self.names.next(), 1).await?;
        let outcome = async {
            let load = Load::default()
                .publish(peer, &site, work, publishing(work))
                .await?;
            let load = load.consume(peer, &site, consuming(work, true)).await?;
            let seconds = WARM_UP_SECONDS.min(self.seconds);
            load.run(&Run::start(seconds, None)).await
        };
        let outcome = outcome.await;
        site.remove().await?;
        outcome.map(drop)
    }

    async fn load(&mut self, peer: &Peer, round: u16, work: &Work) -> Result<()> {
        let name = self.names.next();
        let mut site = Site::make(peer, &name, work.queues).await?;
        let conditions = |case| Conditions {
            case,
            round,
            work: *work,
        };
        let outcome = match work.kind {
            Kind::Backlog => self.backlog(peer, &site, work, round).await,
            Kind::Both => self.both(peer, &site, conditions(BOTH)).await,
            Kind::OneInFlight => self.both(peer, &site, conditions(ONE_IN_FLIGHT)).await,
            Kind::FanOut => {
                site.join(name).await?;
                self.both(peer, &site, conditions(FAN_OUT)).await
            }
            Kind::Spike => self.spike(peer, &mut site, work, round).await,
        };
        // Also after a failure: what we made on a foreign broker must not stay there.
        let removed = site.remove().await;
        outcome.and(removed)
    }

    async fn backlog(&mut self, peer: &Peer, site: &Site, work: &Work, round: u16) -> Result<()> {
        let conditions = |case| Conditions {
            case,
            round,
            work: *work,
        };
        let publish = Load::default()
            .publish(peer, site, work, publishing(work))
            .await?;
        let published = self.row(peer, publish, conditions(PUBLISH)).await?;
        let consume = Load::default().consume(peer, site, consuming(work, false));
        let consume = consume.await?.of_backlog(published);
        self.row(peer, consume, conditions(CONSUME)).await?;
        Ok(())
    }

    async fn both(&mut self, peer: &Peer, site: &Site, conditions: Conditions) -> Result<()> {
        let work = &conditions.work;
        let load = Load::default().publish(peer, site, work, publishing(work));
        let load = load.await?.consume(peer, site, consuming(work, true));
        self.row(peer, load.await?, conditions).await.map(drop)
    }

    /// Runs a load and reports it; answers with what each publisher published.
    async fn row(&mut self, peer: &Peer, load: Load, conditions: Conditions) -> Result<Vec<u64>> {
        let seconds = match conditions.case {
            CONSUME => NO_END_SECONDS,
            _ => self.seconds,
        };
        settle(peer.source).await?;
        let meter = Meter::start(peer.source)?;
        let (publishers, consumers) = load.run(&Run::start(seconds, None)).await?;
        settle(peer.source).await?;
        let published = publishers.iter().map(|tally| tally.published).collect();
        let tally = publishers.iter().chain(&consumers);
        let tally = tally.fold(Tally::default(), Tally::merge);
        self.report
            .add(measured(peer, conditions, (&tally, None), meter)?)?;
        Ok(published)
    }
}

/// The row of what was done, and was done to another queue meanwhile. The cost is that of both, per message of both.
fn measured(
    peer: &Peer,
    conditions: Conditions,
    (tally, flood): (&Tally, Option<&Tally>),
    meter: Meter,
) -> Result<Row> {
    let messages = match tally.received {
        0 => tally.published - tally.refused,
        received => received,
    };
    ensure!(messages > 0, "no message came");
    let work = conditions.work;
    let volume = Volume::new(messages, work.body_bytes, tally.end);
    let flooded = flood.map_or(0, |flood| flood.published);
    let all = Volume::new(messages + flooded, work.body_bytes, tally.end);
    let (broker, client) = meter.stop()?;
    Ok(Row {
        broker: peer.name.clone(),
        round: conditions.round,
        case: conditions.case,
        queues: work.queues,
        body_bytes: work.body_bytes,
        window: work.window,
        prefetch: work.prefetch,
        ack_every: work.ack_every,
        published: tally.published,
        volume,
        confirm_ms: Latency::of(&tally.confirm),
        end_to_end_ms: Latency::of(&tally.end_to_end),
        broker_cost: broker.map(|spent| Cost::new(spent, &all)),
        client: Cost::new(client, &all),
        flood: flood.map(|flood| Flood {
            accepted: flood.published - flood.refused,
            refused: flood.refused,
        }),
    })
}

/// Publishers of a load, as fast as the broker confirms.
fn publishing(work: &Work) -> publisher::Manner {
    let bytes = work.body_bytes as u64 * u64::from(work.queues);
    let messages_max = match work.kind {
        Kind::Backlog => BACKLOG_BYTES_MAX / bytes,
        _ => u64::MAX,
    };
    publisher::Manner {
        pace: Pace::Window(work.window.into()),
        refusals: Refusals::Fail,
        messages_max,
    }
}

/// Consumers of a load.
fn consuming(work: &Work, timed: bool) -> consumer::Manner {
    consumer::Manner {
        prefetch: work.prefetch,
        ack_every: work.ack_every.min(work.prefetch),
        body_bytes: work.body_bytes,
        timed,
    }
}
