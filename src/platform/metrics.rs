//! Metrics: what happened since the start, and the text in which Prometheus reads it.
//!
//! # Invariants
//! - A label has few values: names that stand in the source, never what somebody sent or is.
//!
//! # Not here
//! Figures of how things stand; whoever knows them hands them over as [`Figure`]s when they are asked for.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::base::problem::Problem;

/// What [`Metrics::text`] is, for HTTP.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper bounds of the durations of requests, in seconds.
const REQUEST_SECONDS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of the durations of attempts of jobs, in seconds.
const ATTEMPT_SECONDS: [f64; 9] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];
/// Upper bounds of the time that callers wait for the database, in seconds.
const WAIT_SECONDS: [f64; 8] = [0.000_5, 0.002, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0];

type Labels<const N: usize> = [(&'static str, String); N];
type Durations<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[allow(clippy::disallowed_methods, reason = "durations are monotonic")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// How an attempt of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The job is done.
    Completed,
    /// It failed; whether another attempt follows is the ledger's.
    Failed,
    /// It put the job off without failing.
    PutOff,
    /// It was given back because the process ends.
    Released,
}

impl AttemptEnd {
    /// The value of the label.
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::PutOff => "put_off",
            Self::Released => "released",
        }
    }
}

/// What a process counts. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    requests: Durations<3>,
    attempts: Durations<2>,
    waits: Durations<1>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let requests: Durations<3> = Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS));
        let attempts: Durations<2> = Family::new_with_constructor(|| Histogram::new(ATTEMPT_SECONDS));
        let waits: Durations<1> = Family::new_with_constructor(|| Histogram::new(WAIT_SECONDS));
        let mut registry = Registry::default();
        registry.register(
            "tenure_http_request_duration_seconds",
            "Requests by method, route and class of status: from their head to the head of the answer",
            requests.clone(),
        );
        registry.register(
            "tenure_job_attempt_duration_seconds",
            "Attempts of jobs by the name of the job and how they ended",
            attempts.clone(),
        );
        registry.register(
            "tenure_db_wait_seconds",
            "How long callers waited for a reader or for the writer of tenure.db",
            waits.clone(),
        );
        Self { inner: Arc::new(Inner { registry, requests, attempts, waits }) }
    }
}

impl Metrics {
    /// A request was answered. `route` is the template that it matched, nothing when it matched none;
    /// `status` its code.
    pub fn request(&self, method: &str, route: Option<&str>, status: u16, seconds: f64) {
        // Anybody can make a method up.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method);
        let labels = [
            ("method", if known { method } else { "other" }.to_owned()),
            ("route", route.unwrap_or("other").to_owned()),
            ("status", format!("{}xx", status / 100)),
        ];
        self.inner.requests.get_or_create(&labels).observe(seconds);
    }

    /// An attempt of a job ended; `name` is the name of its handler.
    pub fn attempt(&self, name: &'static str, end: AttemptEnd, seconds: f64) {
        let labels = [("name", name.to_owned()), ("outcome", end.as_str().to_owned())];
        self.inner.attempts.get_or_create(&labels).observe(seconds);
    }

    /// A caller waited for the database, in vain or not; `door` is `read` or `write`.
    pub fn waited(&self, door: &'static str, seconds: f64) {
        self.inner.waits.get_or_create(&[("door", door.to_owned())]).observe(seconds);
    }

    /// Everything that was counted, and these figures, in the text format of Prometheus.
    pub fn text(&self, figures: Vec<Figure>) -> Result<String, Problem> {
        let mut asked = Registry::default();
        asked.register_collector(Box::new(Figures(figures)));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &asked).map_err(Problem::internal)?;
        prometheus_text::encode(&mut text, &self.inner.registry).map_err(Problem::internal)?;
        Ok(text)
    }
}

/// Whether a figure may go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// It goes up and down.
    Gauge,
    /// It only goes up; its name gets the ending `_total`.
    Counter,
}

/// Something that can be counted when it is asked for.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its name with its unit, such as `tenure_process_uptime_seconds`; a counter's without `_total`.
    pub name: &'static str,
    /// What it means, as a sentence.
    pub help: &'static str,
    /// Whether it may go down.
    pub kind: FigureKind,
    /// Its values, each under its labels.
    pub samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Figure {
    /// A gauge with one value.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: FigureKind::Gauge, samples: vec![(Vec::new(), value)] }
    }

    /// A counter with one value.
    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { kind: FigureKind::Counter, ..Self::gauge(name, help, value) }
    }

    /// A gauge with a value for each value of one label.
    pub fn by<L: Into<String>>(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> Self {
        let samples = values.into_iter().map(|(of, value)| (vec![(label, of.into())], value)).collect();
        Self { name, help, kind: FigureKind::Gauge, samples }
    }
}

#[derive(Debug)]
struct Figures(Vec<Figure>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for figure in &self.0 {
            let kind = match figure.kind {
                FigureKind::Gauge => MetricType::Gauge,
                FigureKind::Counter => MetricType::Counter,
            };
            let mut family = encoder.encode_descriptor(figure.name, figure.help, None, kind)?;
            for (labels, value) in &figure.samples {
                let one = family.encode_family(labels)?;
                match figure.kind {
                    FigureKind::Gauge => ConstGauge::new(*value).encode(one)?,
                    FigureKind::Counter => ConstCounter::new(*value).encode(one)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_and_what_is_asked_stand_in_one_text() {
        let metrics = Metrics::default();
        metrics.request("BREW", None, 418, 0.01);
        metrics.attempt("log-retention", AttemptEnd::PutOff, 2.0);
        let asked = vec![
            Figure::by("tenure_runs", "Runs by status.", "status", [("failed", 2.0)]),
            Figure::counter("tenure_audit_entries", "Entries of the audit log.", 7.0),
        ];
        let text = metrics.text(asked).unwrap();
        for line in [
            "# TYPE tenure_runs gauge",
            "tenure_runs{status=\"failed\"} 2.0",
            "# TYPE tenure_audit_entries_total counter",
            "tenure_audit_entries_total 7.0",
            "# TYPE tenure_http_request_duration_seconds histogram",
            "tenure_http_request_duration_seconds_count{method=\"other\",route=\"other\",status=\"4xx\"} 1",
            "tenure_job_attempt_duration_seconds_count{name=\"log-retention\",outcome=\"put_off\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
