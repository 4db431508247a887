//! The numbers of one scrape: sources write them, the exposition's form is given to them here.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Writes the numbers of one crate, whenever they are asked for.
pub type Source = Box<dyn Fn(&mut Samples<'_>) + Send + Sync>;

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

/// Where a [`Source`] writes. Each metric's name must be written by one source only, once per scrape.
#[derive(Debug)]
pub struct Samples<'a> {
    encoder: DescriptorEncoder<'a>,
    /// The first failure; kept here so that sources need not deal with it.
    outcome: fmt::Result,
}

impl<'a> Samples<'a> {
    pub(crate) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self {
            encoder,
            outcome: Ok(()),
        }
    }

    /// Whether everything was written.
    pub(crate) fn outcome(self) -> fmt::Result {
        self.outcome
    }

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
