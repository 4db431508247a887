//! Looks after the owners once a second: `/livez` and `/readyz` learn who has stalled.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use console::Health;
use engine::Clock;
use storage::Supervisor;
use storage::supervisor::Stalled;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Machine;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// What is looked at.
pub(crate) struct Watch {
    pub(crate) supervisor: Supervisor,
    pub(crate) engine: engine::Broker,
    pub(crate) health: Arc<Health>,
}

impl Watch {
    /// Looks once a second; never ends.
    pub(crate) async fn run(self) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Vec::new();
        loop {
            ticks.tick().await;
            self.engine.ping();
            let stalled = self
                .supervisor
                .stalled(Duration::from_millis(Machine.now_ms()));
            self.tell_stalled(&stalled, &mut before);
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

fn describe(stalled: &Stalled) -> String {
    let seconds = stalled.lasting.as_secs();
    format!("{} has not answered for {seconds} s", stalled.owner)
}
