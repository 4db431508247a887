//! The spike: a queue with a steady pace, measured alone and then while another queue of the same broker is sent more
//! than it may hold.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::load::Load;
use super::message::Template;
use super::plan::Work;
use super::publisher::{self, Pace, Publisher, Refusals};
use super::row::{Conditions, Row, STEADY, STEADY_FLOODED};
use super::site::{Peer, Site};
use super::tally::Tally;
use super::{Bench, consuming, measured};
use crate::run::Run;
use crate::usage::{Meter, settle};

/// Messages per second of the steady queue: enough for a p99, too few to be a load.
const STEADY_PER_SECOND: u32 = 1000;
/// The flood is under way before the other queue is measured beside it.
const FLOOD_AHEAD: Duration = Duration::from_millis(200);

impl Bench {
    /// Both rows.
    pub(super) async fn spike(
        &mut self,
        peer: &Peer,
        site: &mut Site,
        work: &Work,
        round: u16,
    ) -> Result<()> {
        let conditions = |case| Conditions {
            case,
            round,
            work: *work,
        };
        let alone = self.steady(peer, site, conditions(STEADY), None).await?;
        self.report.add(alone)?;
        let flooded = format!("{}-flooded", site.queues[0]);
        let limited = peer.arguments().limited(self.flood_limit);
        let mut other = Site::make(peer, "", 0).await?;
        other.add(flooded.clone(), &limited).await?;
        let beside = conditions(STEADY_FLOODED);
        let outcome = self.steady(peer, site, beside, Some(&flooded)).await;
        other.remove().await?;
        self.report.add(outcome?)?;
        Ok(())
    }

    /// The row of the steady queue.
    async fn steady(
        &mut self,
        peer: &Peer,
        site: &Site,
        conditions: Conditions,
        flooded: Option<&str>,
    ) -> Result<Row> {
        let work = conditions.work;
        let steady = publisher::Manner {
            pace: Pace::PerSecond(STEADY_PER_SECOND),
            refusals: Refusals::Fail,
            messages_max: u64::MAX,
        };
        let load = Load::default().publish(peer, site, &work, steady).await?;
        let load = load.consume(peer, site, consuming(&work, true)).await?;
        settle(peer.source).await?;
        let meter = Meter::start(peer.source)?;
        let seconds = self.seconds;
        let flood = flooded.map(|queue| {
            let (peer, queue) = (peer.clone(), queue.to_owned());
            // In a thread of its own, so that it delays the broker and not our own clock.
            spawn_blocking(move || flood(&peer, &queue, &work, seconds))
        });
        if flood.is_some() {
            sleep(FLOOD_AHEAD).await;
        }
        let (publishers, consumers) = load.run(&Run::start(seconds, None)).await?;
        let flood = match flood {
            Some(flood) => Some(flood.await??),
            None => None,
        };
        settle(peer.source).await?;
        let tally = publishers.iter().chain(&consumers);
        let tally = tally.fold(Tally::default(), Tally::merge);
        measured(peer, conditions, (&tally, flood.as_ref()), meter)
    }
}

/// Publishes to a queue that is soon full, for a little longer than a row.
fn flood(peer: &Peer, queue: &str, work: &Work, seconds: f64) -> Result<Tally> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let manner = publisher::Manner {
            pace: Pace::Window(work.window.into()),
            refusals: Refusals::Count,
            messages_max: u64::MAX,
        };
        let template = Template::new("", queue, work.body_bytes)?;
        let publisher = Publisher::start(peer.link().await?, template, manner).await?;
        let run = Run::start(seconds + FLOOD_AHEAD.as_secs_f64(), None);
        let mut task = JoinSet::new();
        let clock = Arc::clone(&run);
        task.spawn(async move { publisher.run(&clock).await });
        let tallies = run.gather(task).await?;
        Ok(tallies.iter().fold(Tally::default(), Tally::merge))
    })
}
