//! The binary: reads settings, builds components, starts, stops.

mod boot;
mod broker;
mod cli;
mod clock;
#[cfg(test)]
mod commit;
mod crash;
mod credentials;
mod descriptors;
#[cfg(feature = "failpoints")]
mod failpoints;
mod listeners;
mod lock;
mod logging;
mod memory;
mod numbers;
mod settings;
mod signals;
mod watch;

use std::process::ExitCode;

/// Messages are small objects that one thread makes and another frees; see decision 0017.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
