//! What processes cost: CPU time and memory, from `/proc` for processes on this machine, from `/metrics` for a
//! broker that runs elsewhere.

mod meter;
mod metrics;
mod process;
mod reading;

pub(crate) use meter::{Meter, Spent, settle};
pub(crate) use reading::Usage;

use std::net::SocketAddr;

use anyhow::Result;
use rustix::process::Pid;

/// Where to read a broker's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A process on this machine.
    Process(Pid),
    /// Its HTTP listener.
    Metrics(SocketAddr),
    /// It does not tell.
    Unknown,
}

impl Source {
    /// That process, if it is known.
    pub(crate) fn of_process(pid: Option<Pid>) -> Self {
        pid.map_or(Self::Unknown, Self::Process)
    }

    /// The numbers now, if the broker tells them at all.
    pub(crate) fn read(self) -> Result<Option<Usage>> {
        match self {
            Self::Process(pid) => process::read(&pid.as_raw_nonzero().to_string()).map(Some),
            Self::Metrics(address) => metrics::read(address).map(Some),
            Self::Unknown => Ok(None),
        }
    }
}

/// Our own numbers.
pub(crate) fn own() -> Result<Usage> {
    process::read("self")
}
