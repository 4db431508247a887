//! What all connections share, and what it is made from.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::Broker;
use net::LogLimit;

use crate::fetch_sessions::FetchSessions;
use crate::frames::FrameLimits;
use crate::host::{LogDir, Loggers, NoLoggers};
use crate::metrics::Metrics;

/// Plain data with units and limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host and port that clients connect to; the address they reached us at when absent.
    pub advertised: Option<(String, u16)>,
    /// Whether asking for a topic that does not exist may make it.
    pub auto_create_topics: bool,
    /// Largest request, bytes.
    pub request_bytes_max: usize,
    /// How long a connection may be silent.
    pub idle: Duration,
    /// The number clients know this broker by.
    pub node_id: i32,
    /// Fetch sessions that are remembered; 0: none.
    pub fetch_sessions_max: usize,
    /// Where the records lie.
    pub log_dir: LogDir,
    /// The loggers of the process.
    pub loggers: Arc<dyn Loggers>,
    /// Addresses of gateways that clients on the host of a container come by.
    pub host_gateways: Vec<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            advertised: None,
            auto_create_topics: true,
            request_bytes_max: 100 << 20,
            idle: Duration::from_mins(10),
            node_id: 1,
            fetch_sessions_max: 1000,
            log_dir: LogDir::default(),
            loggers: Arc::new(NoLoggers),
            host_gateways: Vec::new(),
        }
    }
}

/// What all connections share.
pub struct Context {
    pub(crate) broker: Broker,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) limits: FrameLimits,
    pub(crate) malformed: LogLimit,
}

impl Context {
    /// Ready to serve connections to `broker`.
    pub fn new(broker: Broker, settings: Settings) -> Self {
        let limits = FrameLimits {
            frame_bytes_max: settings.request_bytes_max,
            idle: settings.idle,
        };
        let fetch_sessions = FetchSessions::new(settings.fetch_sessions_max);
        Self {
            broker,
            settings,
            metrics: Arc::default(),
            fetch_sessions,
            limits,
            malformed: LogLimit::default(),
        }
    }

    /// The number clients know this broker by.
    pub(crate) fn node_id(&self) -> i32 {
        self.settings.node_id
    }

    /// The frontend's numbers.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}
