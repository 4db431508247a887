//! Liveness and readiness: set by the binary, read by probes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Says why clients should not come, while there is a reason.
pub type Probe = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Health of the process. Starts alive and not ready.
#[derive(Default)]
pub struct Health {
    /// Conditions that are looked at with every request.
    probes: Vec<(&'static str, Probe)>,
    ready: AtomicBool,
    draining: AtomicBool,
    failed: AtomicBool,
    stalled: AtomicBool,
    /// Conditions that make us unready for a while, by name; bounded because names are ours.
    reasons: Mutex<BTreeMap<&'static str, String>>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("reasons", &self.reasons())
            .finish_non_exhaustive()
    }
}

impl Health {
    /// Alive, still starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Unready because of `name` while `probe` gives a reason.
    #[must_use]
    pub fn with_probe(mut self, name: &'static str, probe: Probe) -> Self {
        self.probes.push((name, probe));
        self
    }

    /// Start-up is over: recovered and listening.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Stopping: clients should go elsewhere. There is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Something broke that only a restart repairs: `/livez` fails from now on.
    pub fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether something hangs so that only a restart helps, as far as is known now.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Unready because of `name` (a disk alarm, say) until [`Health::clear_reason`].
    pub fn add_reason(&self, name: &'static str, explanation: String) {
        self.lock().insert(name, explanation);
    }

    /// The condition `name` is over; its explanation, if there was one.
    pub fn clear_reason(&self, name: &'static str) -> Option<String> {
        self.lock().remove(name)
    }

    /// False once only a restart helps.
    pub fn is_alive(&self) -> bool {
        !self.has_failed() && !self.stalled.load(Ordering::Acquire)
    }

    /// True when nothing stands in the way of clients.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Everything that stands in the way of clients; empty means ready.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.ready.load(Ordering::Acquire) {
            reasons.push("starting".to_owned());
        }
        if self.draining.load(Ordering::Acquire) {
            reasons.push("draining".to_owned());
        }
        if self.has_failed() {
            reasons.push("failed".to_owned());
        }
        let probed = self.probes.iter();
        reasons.extend(probed.filter_map(|(name, probe)| Some(format!("{name}: {}", probe()?))));
        let lasting = self.lock();
        reasons.extend(
            lasting
                .iter()
                .map(|(name, explanation)| format!("{name}: {explanation}")),
        );
        reasons
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        // A map insert or remove leaves nothing half done, so a poisoned lock is as good as a sound one.
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
