//! What a broker takes: idle, for connections that do nothing, for queues that are empty, and with a backlog.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::load::Load;
use super::names::Names;
use super::options::{BODY_BYTES, Kind, Options};
use super::plan::{NO_END_SECONDS, Work};
use super::publisher::{self, Pace, Refusals};
use super::site::{Peer, Site};
use crate::report::{Report, Tabular, grouped};
use crate::run::Run;
use crate::stopwatch::Stopwatch;
use crate::usage::settle;

/// Connections, each with one channel, and queues.
const CONNECTIONS: u64 = 1000;
const QUEUES: u16 = 1000;
/// What a broker frees, it frees by then.
const CALM: Duration = Duration::from_millis(1500);

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MemoryRow {
    pub(super) broker: String,
    pub(super) what: &'static str,
    /// How many were made.
    pub(super) count: u64,
    /// How long that took.
    pub(super) seconds: f64,
    /// Memory in RAM; absent where the broker does not tell.
    pub(super) resident_mib: Option<f64>,
    /// What it grew by, for each.
    pub(super) kib_each: Option<f64>,
}

impl Tabular for MemoryRow {
    const HEAD: &'static str = "broker                   what                            count   made in s |  RSS MiB   KiB each";
    const LEGEND: &'static str =
        "RSS: resident memory 1.5 s after the last request. KiB each: what it grew by.";

    fn line(&self) -> String {
        let number = |figure: Option<f64>, width: usize| match figure {
            Some(figure) => format!("{figure:width$.2}"),
            None => format!("{:>width$}", "-"),
        };
        format!(
            "{:24} {:24} {:>12} {:11.2} | {} {}",
            self.broker,
            self.what,
            grouped(self.count as f64),
            self.seconds,
            number(self.resident_mib, 8),
            number(self.kib_each, 10)
        )
    }
}

/// Measures all brokers, one after the other.
pub(super) async fn measure(options: &Options, peers: &[Peer]) -> Result<()> {
    let mut memory = Memory {
        report: Report::start(options.output)?,
        names: Names::default(),
        sizes: Sizes {
            connections: CONNECTIONS,
            queues: QUEUES,
            backlog: options.memory_backlog,
        },
        calm: CALM,
    };
    for peer in peers {
        memory.peer(peer).await?;
    }
    Ok(memory.report.finish()?)
}

struct Memory {
    report: Report<MemoryRow>,
    names: Names,
    sizes: Sizes,
    calm: Duration,
}

/// How many of each.
struct Sizes {
    connections: u64,
    queues: u16,
    backlog: u64,
}

impl Memory {
    async fn peer(&mut self, peer: &Peer) -> Result<()> {
        self.row(peer, ("idle", 0), Stopwatch::start(), None)
            .await?;
        let before = self.resident(peer).await?;
        let clock = Stopwatch::start();
        let mut links = Vec::new();
        for _ in 0..self.sizes.connections {
            links.push(peer.link().await?);
        }
        let what = ("idle connection", self.sizes.connections);
        self.row(peer, what, clock, before).await?;
        for link in links {
            link.close().await?;
        }
        let before = self.resident(peer).await?;
        let clock = Stopwatch::start();
        let site = Site::make(peer, &self.names.next(), self.sizes.queues).await?;
        let what = ("empty queue", self.sizes.queues.into());
        let measured = self.row(peer, what, clock, before).await;
        site.remove().await?;
        measured?;
        let site = Site::make(peer, &self.names.next(), 1).await?;
        let measured = self.backlog(peer, &site).await;
        site.remove().await?;
        measured?;
        self.row(peer, ("backlog deleted", 0), Stopwatch::start(), None)
            .await
    }

    async fn backlog(&mut self, peer: &Peer, site: &Site) -> Result<()> {
        let work = Work {
            kind: Kind::Backlog,
            queues: 1,
            body_bytes: BODY_BYTES,
            window: 1000,
            prefetch: 1,
            ack_every: 1,
        };
        let manner = publisher::Manner {
            pace: Pace::Window(work.window.into()),
            refusals: Refusals::Fail,
            messages_max: self.sizes.backlog,
        };
        let before = self.resident(peer).await?;
        let clock = Stopwatch::start();
        let load = Load::default().publish(peer, site, &work, manner).await?;
        load.run(&Run::start(NO_END_SECONDS, None)).await?;
        let what = ("message of 1 KiB waiting", self.sizes.backlog);
        self.row(peer, what, clock, before).await
    }

    async fn row(
        &mut self,
        peer: &Peer,
        (what, count): (&'static str, u64),
        clock: Stopwatch,
        before: Option<u64>,
    ) -> Result<()> {
        let seconds = clock.elapsed().as_secs_f64();
        let after = self.resident(peer).await?;
        let kib = |bytes: f64| bytes / 1024.0;
        let each = |(before, after): (u64, u64)| kib(after as f64 - before as f64) / count as f64;
        let row = MemoryRow {
            broker: peer.name.clone(),
            what,
            count,
            seconds,
            resident_mib: after.map(|bytes| kib(bytes as f64) / 1024.0),
            kib_each: before.zip(after).map(each),
        };
        Ok(self.report.add(row)?)
    }

    /// A broker's memory once it has calmed down.
    async fn resident(&self, peer: &Peer) -> Result<Option<u64>> {
        tokio::time::sleep(self.calm).await;
        settle(peer.source).await?;
        Ok(peer.source.read()?.map(|usage| usage.resident_bytes))
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::Pid;

    use super::super::fake::{self, Flaw};
    use super::super::options::tests::parse;
    use super::*;
    use crate::report::Output;
    use crate::usage::Source;

    #[tokio::test]
    async fn everything_is_made_measured_and_deleted() {
        let login = parse("").unwrap().brokers.login;
        let address = fake::start(Flaw::None).await;
        // Some process that has little to do.
        let source = Source::Process(Pid::INIT);
        let peer = Peer::meet(address, &login, source, None).await.unwrap();
        let mut memory = Memory {
            report: Report::start(Output::Json).unwrap(),
            names: Names::default(),
            sizes: Sizes {
                connections: 3,
                queues: 2,
                backlog: 5000,
            },
            calm: Duration::ZERO,
        };
        memory.peer(&peer).await.unwrap();
        let rows = memory.report.rows();
        let counts: Vec<_> = rows.iter().map(|row| row.count).collect();
        assert_eq!(counts, [0, 3, 2, 5000, 0]);
        let each: Vec<_> = rows.iter().map(|row| row.kib_each.is_some()).collect();
        assert_eq!(each, [false, true, true, true, false]);
    }

    #[test]
    fn columns_stand_below_their_head() {
        let row = MemoryRow {
            broker: "Forebay 0.0.0".to_owned(),
            what: "message of 1 KiB waiting",
            count: 1_000_000,
            seconds: 12.5,
            resident_mib: Some(100.0),
            kib_each: None,
        };
        let bar = |text: &str| text.chars().position(|c| c == '|');
        let line = row.line();
        assert_eq!(bar(MemoryRow::HEAD), bar(&line));
        assert_eq!(MemoryRow::HEAD.chars().count(), line.chars().count());
    }
}
