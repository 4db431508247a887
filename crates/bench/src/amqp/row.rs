//! One measurement, and how it is printed.

use serde::Serialize;

use super::plan::Work;
use crate::report::{Cost, Latency, Volume};

/// One measurement. Its records are messages received, where anybody received, and else messages published.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Name and version, as it calls itself.
    pub(super) broker: String,
    pub(super) round: u16,
    pub(super) case: &'static str,
    pub(super) queues: u16,
    pub(super) body_bytes: usize,
    pub(super) window: u16,
    pub(super) prefetch: u16,
    pub(super) ack_every: u16,
    pub(super) published: u64,
    #[serde(flatten)]
    pub(super) volume: Volume,
    /// From sending a message to its confirm.
    pub(super) confirm_ms: Option<Latency>,
    /// From sending a message to having it.
    pub(super) end_to_end_ms: Option<Latency>,
    /// Absent where the broker does not tell.
    pub(super) broker_cost: Option<Cost>,
    pub(super) client: Cost,
    /// What went to another queue meanwhile; costs are per message of both.
    pub(super) flood: Option<Flood>,
}

/// What a queue at its limit was sent.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Flood {
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

/// Under which conditions a row was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) case: &'static str,
    pub(super) round: u16,
    pub(super) work: Work,
}

/// What a publisher or a consumer does alone, and both.
pub(super) const PUBLISH: &str = "publish";
pub(super) const CONSUME: &str = "consume";
pub(super) const BOTH: &str = "both";
pub(super) const FAN_OUT: &str = "fan-out";
pub(super) const ONE_IN_FLIGHT: &str = "one in flight";
/// The two rows of a spike.
pub(super) const STEADY: &str = "steady";
pub(super) const STEADY_FLOODED: &str = "steady, flood";

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::usage::Spent;

    /// A row of two seconds with one second of CPU time on each side.
    pub(crate) fn row(broker: &str, case: &'static str, messages: u64, p99: f64) -> Row {
        let volume = Volume::new(messages, 1024, Duration::from_secs(2));
        let spent = Spent {
            cpu_seconds: 1.0,
            resident_bytes: 50 << 20,
        };
        let latency = Latency {
            p50: 1.0,
            p99,
            p999: 9.0,
            max: 9.0,
        };
        Row {
            broker: broker.to_owned(),
            round: 1,
            case,
            queues: 4,
            body_bytes: 1024,
            window: 1000,
            prefetch: 1000,
            ack_every: 1,
            published: messages,
            volume,
            confirm_ms: Some(latency),
            end_to_end_ms: None,
            broker_cost: Some(Cost::new(spent, &volume)),
            client: Cost::new(spent, &volume),
            flood: None,
        }
    }
}
