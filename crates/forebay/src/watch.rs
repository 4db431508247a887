//! Looks after the owners and the data folder once a second: `/livez` and `/readyz` learn who has stalled and what is
//! gone. The log learns when the memory for the state of queues or of consumer groups is nearly full.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use console::Health;
use engine::Clock;
use storage::Supervisor;
use storage::supervisor::Stalled;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Machine;
use crate::lock::Place;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// What `/readyz` calls a data folder that is gone.
const FOLDER: &str = "data folder";

/// Percent of the memory for state of one kind from which the log says that it is nearly full, and below which that it is
/// no longer.
const NEARLY_FULL: u64 = 95;
const ROOMY: u64 = 85;

/// A look at the data folder: what is missing.
type Look = JoinHandle<Option<String>>;

/// What is looked at.
pub(crate) struct Watch {
    pub(crate) supervisor: Supervisor,
    pub(crate) engine: engine::Broker,
    pub(crate) health: Arc<Health>,
    pub(crate) place: Place,
}

impl Watch {
    /// Looks once a second; never ends.
    pub(crate) async fn run(self) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Vec::new();
        let mut looking = None;
        let mut states = [
            State::new("queues", "memory.queue_state_bytes"),
            State::new("consumer groups", "memory.group_state_bytes"),
        ];
        loop {
            ticks.tick().await;
            self.look_at_folder(&mut looking).await;
            self.engine.ping();
            let stalled = self
                .supervisor
                .stalled(Duration::from_millis(Machine.now_ms()));
            self.tell_stalled(&stalled, &mut before);
            let taken = [
                self.engine.queue_state_bytes(),
                self.engine.group_state_bytes(),
            ];
            for (state, taken) in states.iter_mut().zip(taken) {
                state.tell(taken);
            }
        }
    }

    /// Tells what was found, and looks again. A disk that does not answer holds up one look and nothing else.
    async fn look_at_folder(&self, looking: &mut Option<Look>) {
        match looking.take() {
            Some(look) if !look.is_finished() => {
                *looking = Some(look);
                return;
            }
            Some(look) => {
                if let Ok(missing) = look.await {
                    self.tell_missing(missing);
                }
            }
            None => {}
        }
        let place = self.place.clone();
        *looking = Some(spawn_blocking(move || place.missing()));
    }

    fn tell_missing(&self, missing: Option<String>) {
        let was_there = self.health.clear_reason(FOLDER);
        match missing {
            Some(what) => {
                if was_there.as_deref() != Some(&what) {
                    tracing::error!(
                        reason = %what,
                        "the data folder is not where it was: what is acknowledged now is lost with the next stop"
                    );
                }
                self.health.add_reason(FOLDER, what);
            }
            None if was_there.is_some() => {
                tracing::info!("the data folder is where it was again");
            }
            None => {}
        }
    }

    fn tell_stalled(&self, stalled: &[Stalled], before: &mut Vec<String>) {
        let names: Vec<String> = stalled.iter().map(|one| one.owner.clone()).collect();
        for one in stalled.iter().filter(|one| !before.contains(&one.owner)) {
            tracing::error!(owner = %one.owner, "an owner does not answer");
        }
        for name in before.iter().filter(|name| !names.contains(name)) {
            tracing::info!(owner = %name, "an owner answers again");
        }
        *before = names;
        let reasons: Vec<String> = stalled.iter().map(describe).collect();
        if reasons.is_empty() {
            self.health.clear_reason("stalled");
        } else {
            self.health.add_reason("stalled", reasons.join(", "));
        }
        let beyond_help = stalled.iter().any(|one| one.is_beyond_help);
        self.health.set_stalled(beyond_help);
    }
}

/// The memory for state of one kind, as the log knows it.
struct State {
    of: &'static str,
    setting: &'static str,
    is_full: bool,
}

impl State {
    fn new(of: &'static str, setting: &'static str) -> Self {
        Self {
            of,
            setting,
            is_full: false,
        }
    }

    /// Says when it becomes nearly full, and when there is room again; returns which.
    fn tell(&mut self, (bytes, limit_bytes): (u64, u64)) -> Option<bool> {
        let percent = if self.is_full { ROOMY } else { NEARLY_FULL };
        let is_full = u128::from(bytes) * 100 >= u128::from(limit_bytes) * u128::from(percent);
        if is_full == self.is_full {
            return None;
        }
        self.is_full = is_full;
        let (of, setting) = (self.of, self.setting);
        if is_full {
            tracing::warn!(
                of,
                bytes,
                limit_bytes,
                setting,
                "memory for state is nearly full: what adds to it is refused"
            );
        } else {
            tracing::info!(of, bytes, limit_bytes, "memory for state has room again");
        }
        Some(is_full)
    }
}

fn describe(stalled: &Stalled) -> String {
    let seconds = stalled.lasting.as_secs();
    format!("{} has not answered for {seconds} s", stalled.owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_full_memory_is_told_once_and_so_is_room() {
        let mut state = State::new("queues", "memory.queue_state_bytes");
        for (bytes, told) in [
            (94, None),
            (95, Some(true)),
            (100, None),
            (85, None),
            (84, Some(false)),
            (94, None),
            (u64::MAX, Some(true)),
        ] {
            assert_eq!(state.tell((bytes, 100)), told, "{bytes}");
        }
    }
}
