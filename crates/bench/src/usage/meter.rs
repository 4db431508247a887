//! What one row cost: the CPU time of both sides between two readings, and how to tell that a broker is done.

use std::time::Duration;

use anyhow::Result;

use super::{Source, Usage, own};

/// A broker that used less than a tenth of a core for this long has nothing left to do.
const QUIET: Duration = Duration::from_millis(300);
/// So often it is looked at, at most.
const QUIET_LOOKS_MAX: u32 = 33;

/// Readings at the start of a row.
#[derive(Debug)]
pub(crate) struct Meter {
    source: Source,
    broker: Option<Usage>,
    client: Usage,
}

/// What a process spent since then, and its memory now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spent {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
}

impl Meter {
    /// Reads for the first time.
    pub(crate) fn start(source: Source) -> Result<Self> {
        Ok(Self {
            source,
            broker: source.read()?,
            client: own()?,
        })
    }

    /// What the broker spent, if it tells, and what we did.
    pub(crate) fn stop(self) -> Result<(Option<Spent>, Spent)> {
        let client = spent(self.client, own()?);
        let broker = self.broker.zip(self.source.read()?);
        Ok((broker.map(|(before, after)| spent(before, after)), client))
    }
}

fn spent(before: Usage, after: Usage) -> Spent {
    Spent {
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        resident_bytes: after.resident_bytes,
    }
}

/// Waits until the broker has done what it put off, so that every row pays for its own work and for no other. One that
/// does not tell cannot be waited for.
pub(crate) async fn settle(source: Source) -> Result<()> {
    let mut before = source.read()?;
    for _ in 0..QUIET_LOOKS_MAX {
        let Some(earlier) = before else {
            return Ok(());
        };
        tokio::time::sleep(QUIET).await;
        before = source.read()?;
        let spent = before.map(|now| now.cpu_seconds - earlier.cpu_seconds);
        if spent.is_none_or(|spent| spent < QUIET.as_secs_f64() / 10.0) {
            return Ok(());
        }
    }
    Ok(())
}
