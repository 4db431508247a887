//! SIGTERM and SIGINT: the first one asks, the second one insists. SIGHUP asks when it comes because the terminal closed.

use std::io::{IsTerminal, stderr, stdin, stdout};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop us.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    terminals: Terminals,
    /// One came that stops us.
    is_asked: bool,
}

impl Signals {
    /// From here on the signals no longer kill the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            terminals: Terminals::now(),
            is_asked: false,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Caught {
        loop {
            let (name, kind) = tokio::select! {
                _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate()),
                _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
                _ = self.hangup.recv() => ("SIGHUP", SignalKind::hangup()),
            };
            if kind == SignalKind::hangup() && !self.is_terminal_closed() {
                tracing::info!(
                    signal = name,
                    "signal ignored: settings, credentials and certificates are not read again while forebay runs, \
                     restart it for that"
                );
                continue;
            }
            self.is_asked = true;
            return Caught {
                name,
                number: kind.as_raw_value(),
            };
        }
    }

    /// Whether a SIGHUP comes because there is no terminal any more. The system and the shell may both send one: it asks,
    /// it never insists.
    fn is_terminal_closed(&self) -> bool {
        !self.is_asked && self.terminals.is_one_closed(Terminals::now())
    }
}

/// Which of stdin, stdout and stderr are terminals. One that was closed is none any more.
#[derive(Debug, Clone, Copy)]
struct Terminals([bool; 3]);

impl Terminals {
    fn now() -> Self {
        Self([
            stdin().is_terminal(),
            stdout().is_terminal(),
            stderr().is_terminal(),
        ])
    }

    fn is_one_closed(self, now: Self) -> bool {
        let mut both = self.0.into_iter().zip(now.0);
        both.any(|(before, now)| before && !now)
    }
}

/// A signal that came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caught {
    pub(crate) name: &'static str,
    pub(crate) number: i32,
}

#[cfg(test)]
mod tests {
    use super::Terminals;

    #[test]
    fn a_terminal_that_closed_is_told_from_none() {
        let terminal = Terminals([true; 3]);
        let service = Terminals([false; 3]);
        let logged = Terminals([true, false, false]);
        assert!(terminal.is_one_closed(service));
        assert!(logged.is_one_closed(service));
        for same in [terminal, service, logged] {
            assert!(!same.is_one_closed(same));
        }
    }
}
