//! The frontend's numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::ApiKey;

/// The specification's name of an API.
pub fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|_| key.to_string(), |key| key.name().to_owned())
}

/// Highest API key counted on its own.
const KEYS: usize = 100;

/// Counters since the start of the process.
#[derive(Debug)]
pub struct Metrics {
    requests: [AtomicU64; KEYS],
    /// Frames that could not be read; each ends its connection.
    pub malformed: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            malformed: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    pub(crate) fn request(&self, key: i16) {
        if let Some(counter) = usize::try_from(key)
            .ok()
            .and_then(|key| self.requests.get(key))
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// API keys that were asked for, and how often.
    pub fn requests(&self) -> impl Iterator<Item = (i16, u64)> {
        let counted = self
            .requests
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed));
        (0i16..).zip(counted).filter(|(_, count)| *count > 0)
    }
}
