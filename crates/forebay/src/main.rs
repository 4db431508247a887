//! The binary: reads settings, builds components, starts, stops.

mod boot;
mod broker;
mod cli;
mod clock;
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

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr closed there is nobody left to tell; the exit code still does.
            let _ = writeln!(std::io::stderr(), "forebay: {error:#}");
            ExitCode::FAILURE
        }
    }
}
