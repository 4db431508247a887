//! `/metrics`: other crates hand over plain numbers, this file gives them the exposition's form.
//!
//! A [`Source`] is asked on every scrape and writes what it knows into [`Samples`]; nothing is cached, and no
//! other crate needs to know the metrics library. Names carry their unit; counters get their `_total` here.

use std::fmt;
use std::pin::Pin;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use crate::process;
use crate::samples::{Samples, Source};

/// What was built, shown as labels of `forebay_build_info`.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The release.
    pub version: &'static str,
    /// The commit it was built from.
    pub commit: &'static str,
    /// The profile it runs under.
    pub profile: &'static str,
}

/// Finds out, before a scrape, what sources cannot find out while they are asked.
pub type Prepare = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// All sources of one process.
pub struct Metrics {
    registry: Registry,
    prepare: Option<Prepare>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The process's own metrics and those of `sources`.
    pub fn new(build: BuildInfo, sources: Vec<Source>) -> Self {
        let mut registry = Registry::default();
        let info = move |samples: &mut Samples<'_>| {
            let labels = [
                ("version", build.version),
                ("commit", build.commit),
                ("profile", build.profile),
            ];
            let help = "Version, commit and profile that are running";
            samples.gauges("forebay_build_info", help, [(labels, 1_u64)]);
        };
        for source in [Box::new(info) as Source, Box::new(process::sample)]
            .into_iter()
            .chain(sources)
        {
            registry.register_collector(Box::new(SourceCollector(source)));
        }
        Self {
            registry,
            prepare: None,
        }
    }

    /// Has `prepare` called before each scrape.
    #[must_use]
    pub fn prepared_by(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// One scrape, as OpenMetrics has it.
    pub async fn scrape(&self) -> Result<String, fmt::Error> {
        if let Some(prepare) = &self.prepare {
            prepare().await;
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

struct SourceCollector(Source);

impl fmt::Debug for SourceCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceCollector")
    }
}

impl Collector for SourceCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut samples = Samples::new(encoder);
        (self.0)(&mut samples);
        samples.outcome()
    }
}
