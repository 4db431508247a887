//! What requests are served with, and what it is made from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::Broker;
use net::{HttpLimits, LogLimit};
use security::Principal;

use crate::arn::{self, UrlStyle};
use crate::metrics::Metrics;
use crate::sigv4;

/// Whether requests have to be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signatures {
    /// Signatures are not looked at.
    #[default]
    Off,
    /// Every request has to be signed with a known key.
    Verify,
}

/// A key that requests can be signed with.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Public part.
    pub access_key: String,
    /// Secret part.
    pub secret_key: String,
    /// Who signs with it.
    pub principal: Principal,
}

/// Plain data with units and limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The home account, twelve digits: whose queues other protocols know by their plain names, and who requests come
    /// from that do not say it.
    pub account: String,
    /// The home region, likewise.
    pub region: String,
    /// What addresses of queues begin with; absent: the host the client asked.
    pub public_url: Option<String>,
    /// How addresses of queues say their region.
    pub url_style: UrlStyle,
    /// Whether requests have to be signed.
    pub signatures: Signatures,
    /// Keys that are known.
    pub credentials: Vec<Credential>,
    /// Refuse to make a queue within a minute after one of that name was deleted, as the service does.
    pub recreate_delay: bool,
    /// Refuse a second purge within a minute, as the service does.
    pub purge_delay: bool,
    /// Largest request, bytes.
    pub request_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            public_url: None,
            url_style: UrlStyle::Host,
            signatures: Signatures::Off,
            credentials: Vec::new(),
            recreate_delay: false,
            purge_delay: false,
            request_bytes_max: 16 << 20,
        }
    }
}

/// What requests are served with.
#[derive(Debug)]
pub struct Context {
    pub(crate) broker: Broker,
    pub(crate) settings: Settings,
    pub(crate) home: Arc<arn::Home>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) verifier: sigv4::Verifier,
    /// Of lines about signatures that were refused.
    pub(crate) refused_signatures: LogLimit,
    pub(crate) deleted: Recent,
    pub(crate) purged: Recent,
}

impl Context {
    /// Serves `broker`.
    pub fn new(broker: Broker, settings: Settings) -> Self {
        let home = arn::Namespace {
            account: settings.account.clone(),
            region: settings.region.clone(),
        };
        Self {
            broker,
            settings,
            home: Arc::new(arn::Home(home)),
            metrics: Arc::default(),
            verifier: sigv4::Verifier::default(),
            refused_signatures: LogLimit::default(),
            deleted: Recent::default(),
            purged: Recent::default(),
        }
    }

    /// What was asked so far.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// HTTP limits that let every legal request through.
    pub fn limits(&self) -> HttpLimits {
        HttpLimits {
            body_bytes_max: self.settings.request_bytes_max,
            ..HttpLimits::default()
        }
    }
}

/// What happened to queues in the last minute, by name.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<BTreeMap<String, u64>>);

/// How long a queue cannot be made again, or purged again, ms.
const RECENT_MS: u64 = 60_000;
/// Names remembered; beyond that the oldest restriction is dropped, which is harmless.
const RECENT_MAX: usize = 10_000;

impl Recent {
    pub(crate) fn note(&self, name: &str, now: u64) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.retain(|_, at| now.saturating_sub(*at) < RECENT_MS);
        }
        if recent.len() < RECENT_MAX {
            recent.insert(name.to_owned(), now);
        }
    }

    pub(crate) fn has(&self, name: &str, now: u64) -> bool {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.get(name);
        at.is_some_and(|at| now.saturating_sub(*at) < RECENT_MS)
    }
}
