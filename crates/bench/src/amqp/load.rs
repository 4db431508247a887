//! Publishers and consumers of one row: connected before the clock starts, run together until everything that was
//! published has come.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::consumer::{self, Consumer};
use super::message::Template;
use super::plan::Work;
use super::publisher::{self, Publisher};
use super::site::{Peer, Site};
use super::tally::Tally;
use crate::run::Run;

/// Who takes part in a row.
#[derive(Debug, Default)]
pub(super) struct Load {
    publishers: Vec<Publisher>,
    consumers: Vec<Consumer>,
    /// How much each publisher published before, where none takes part.
    published: Vec<u64>,
}

impl Load {
    /// Adds a publisher per queue, or one for all of them.
    pub(super) async fn publish(
        mut self,
        peer: &Peer,
        site: &Site,
        work: &Work,
        manner: publisher::Manner,
    ) -> Result<Self> {
        let targets: Vec<(&str, &str)> = match &site.exchange {
            Some(exchange) => vec![(exchange, "")],
            None => site.queues.iter().map(|queue| ("", &**queue)).collect(),
        };
        for (exchange, key) in targets {
            let template = Template::new(exchange, key, work.body_bytes)?;
            let publisher = Publisher::start(peer.link().await?, template, manner).await?;
            self.publishers.push(publisher);
        }
        Ok(self)
    }

    /// Adds a consumer per queue.
    pub(super) async fn consume(
        mut self,
        peer: &Peer,
        site: &Site,
        manner: consumer::Manner,
    ) -> Result<Self> {
        for queue in &site.queues {
            let consumer = Consumer::start(peer.link().await?, queue, manner).await?;
            self.consumers.push(consumer);
        }
        Ok(self)
    }

    /// Says what is in the queues already, for consumers alone.
    pub(super) fn of_backlog(mut self, published: Vec<u64>) -> Self {
        self.published = published;
        self
    }

    /// Runs all of them; answers with what the publishers did, in order, and then the consumers.
    pub(super) async fn run(self, run: &Arc<Run>) -> Result<(Vec<Tally>, Vec<Tally>)> {
        let mut tasks = JoinSet::new();
        let mut totals: Vec<_> = self
            .published
            .iter()
            .map(|count| watch::channel(Some(*count)).1)
            .collect();
        for (index, publisher) in self.publishers.into_iter().enumerate() {
            let (tell, total) = watch::channel(None);
            totals.push(total);
            let run = Arc::clone(run);
            tasks.spawn(async move {
                let tally = publisher.run(&run).await?;
                tell.send_replace(Some(tally.published));
                Ok((true, index, tally))
            });
        }
        for (index, consumer) in self.consumers.into_iter().enumerate() {
            let total = totals[index % totals.len()].clone();
            let run = Arc::clone(run);
            tasks.spawn(async move { Ok((false, index, consumer.run(&run, total).await?)) });
        }
        let mut done = run.gather(tasks).await?;
        done.sort_by_key(|(_, index, _)| *index);
        let (publishers, consumers): (Vec<_>, Vec<_>) =
            done.into_iter().partition(|(publishes, ..)| *publishes);
        let tallies = |done: Vec<(bool, usize, Tally)>| done.into_iter().map(|(.., t)| t).collect();
        Ok((tallies(publishers), tallies(consumers)))
    }
}
