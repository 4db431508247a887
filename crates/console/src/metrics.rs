//! `/metrics`: other crates hand over plain numbers, this file gives them the exposition's form.
//!
//! A [`Source`] is asked on every scrape and writes what it knows into [`Samples`]; nothing is cached, and no
//! other crate needs to know the metrics library. Names carry their unit; counters get their `_total` here.

use std::fmt;
use std::pin::Pin;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::process;

/// Writes the numbers of one crate, whenever they are asked for.
pub type Source = Box<dyn Fn(&mut Samples<'_>) + Send + Sync>;

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

/// One number, shown exactly as it was given.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Of events, bytes, things.
    Count(u64),
    /// Of seconds, shares.
    Real(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

/// A histogram as plain numbers.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    /// Sum of all observations.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
    /// Upper bound of each bucket and the observations that fell into it alone, in rising order; the last
    /// bound is [`f64::INFINITY`].
    pub buckets: &'a [(f64, u64)],
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
        let mut samples = Samples {
            encoder,
            outcome: Ok(()),
        };
        (self.0)(&mut samples);
        samples.outcome
    }
}

/// Where a [`Source`] writes. Each metric's name must be written by one source only, once per scrape.
#[derive(Debug)]
pub struct Samples<'a> {
    encoder: DescriptorEncoder<'a>,
    /// The first failure; kept here so that sources need not deal with it.
    outcome: fmt::Result,
}

impl Samples<'_> {
    /// A number that only grows; shown as `name_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Into<Value>) {
        self.counters(name, help, [([], value)]);
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Into<Value>) {
        self.gauges(name, help, [([], value)]);
    }

    /// One counter per set of labels.
    pub fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], impl Into<Value>)>,
    ) {
        self.metric(name, help, MetricType::Counter, |metric| {
            series.into_iter().try_for_each(|(labels, value)| {
                labelled(metric, &labels, |one| match value.into() {
                    Value::Count(count) => one.encode_counter::<NoLabelSet, _, f64>(&count, None),
                    Value::Real(real) => one.encode_counter::<NoLabelSet, _, f64>(&real, None),
                })
            })
        });
    }

    /// One gauge per set of labels.
    pub fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], impl Into<Value>)>,
    ) {
        self.metric(name, help, MetricType::Gauge, |metric| {
            series.into_iter().try_for_each(|(labels, value)| {
                labelled(metric, &labels, |one| match value.into() {
                    Value::Count(count) => one.encode_gauge(&count),
                    Value::Real(real) => one.encode_gauge(&real),
                })
            })
        });
    }

    /// A distribution.
    pub fn histogram(&mut self, name: &str, help: &str, value: Histogram<'_>) {
        self.histograms(name, help, [([], value)]);
    }

    /// One distribution per set of labels.
    pub fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], Histogram<'l>)>,
    ) {
        self.metric(name, help, MetricType::Histogram, |metric| {
            series.into_iter().try_for_each(|(labels, value)| {
                labelled(metric, &labels, |one| {
                    one.encode_histogram::<NoLabelSet>(value.sum, value.count, value.buckets, None)
                })
            })
        });
    }

    fn metric(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) {
        if self.outcome.is_ok() {
            self.outcome = self
                .encoder
                .encode_descriptor(name, help, None, kind)
                .and_then(|mut metric| write(&mut metric));
        }
    }
}

/// Writes one series; without labels it is the plain name, not a name with empty braces.
fn labelled<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if N == 0 {
        write(metric)
    } else {
        write(&mut metric.encode_family(labels)?)
    }
}
