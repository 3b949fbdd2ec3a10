//! Telemetry: what Tenure says about itself, to stderr and into a bounded queue for the system log.
//!
//! # Invariants
//! - Saying something never waits: when the queue is full the record is counted, not kept.
//! - A field whose name speaks of a secret is written as `[redacted]`.
//! - One event is one line: control characters are escaped, so that nobody can forge an entry.
//!
//! # Not here
//! Where records are kept; the syslog feature takes them from the receiver.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::base::clock::Clock as _;
use crate::base::time::Timestamp;
use crate::platform::clock::SystemClock;

/// Records that wait for the system log; more are dropped and counted.
const QUEUE: usize = 8_192;
/// The longest text of a message or a field, in bytes.
const MAX_TEXT: usize = 8_192;
/// Field names that hold one of these words are not written.
const SECRET_WORDS: [&str; 7] =
    ["password", "secret", "token", "authorization", "cookie", "passphrase", "private_key"];

/// How a line on stderr looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// For a person at a terminal.
    Human,
    /// One JSON object per line, for collectors.
    Json,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// The module that said it.
    pub target: String,
    /// What was said.
    pub message: String,
    /// Details, with those of the enclosing spans.
    pub fields: Map<String, Value>,
    /// The request it was said for.
    pub request_id: Option<String>,
}

/// The handle with which the filter is changed while Tenure runs. Clones share it.
#[derive(Clone)]
pub struct Telemetry {
    filter: reload::Handle<Targets, Registry>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

/// Reads a filter such as `info,tenure=debug`.
pub fn parse_filter(text: &str) -> Result<Targets, String> {
    crate::config::operation::parse_filter(text)
}

/// A subscriber that writes its lines to `out`; [`Telemetry::start`] makes one the process's.
fn subscriber(
    targets: Targets,
    format: Format,
    out: impl Fn(&str) + Send + Sync + 'static,
) -> (impl Subscriber + Send + Sync + 'static, Telemetry, mpsc::Receiver<Record>) {
    let (targets, handle) = reload::Layer::new(targets);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let recorder = Recorder { format, out: Box::new(out), sender, dropped: Arc::clone(&dropped) };
    // Our own spans always count: they hold the request id, which an error at level `error` needs too.
    let spans = filter_fn(|m: &Metadata<'_>| m.is_span() && m.target().starts_with("tenure"));
    let layer = recorder.with_filter(targets.or(spans));
    (tracing_subscriber::registry().with(layer), Telemetry { filter: handle, dropped }, receiver)
}

impl Telemetry {
    /// Starts logging, for a person when stderr is a terminal and as JSON otherwise; the receiver is
    /// read by the system log. A second call in a process changes nothing that is printed and gives a
    /// receiver that stays empty.
    pub fn start(filter: &str) -> (Self, mpsc::Receiver<Record>) {
        let targets = parse_filter(filter).unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
        let format = if std::io::stderr().is_terminal() { Format::Human } else { Format::Json };
        let (subscriber, telemetry, records) = subscriber(targets, format, to_stderr);
        // The test harness may have a subscriber already.
        let _ = subscriber.try_init();
        (telemetry, records)
    }

    /// Puts another filter into force.
    pub fn set_filter(&self, filter: &str) -> Result<(), String> {
        self.filter.reload(parse_filter(filter)?).map_err(|e| e.to_string())
    }

    /// Records that the system log missed because it could not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn to_stderr(line: &str) {
    use std::io::Write as _;
    // When stderr is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

struct Recorder {
    format: Format,
    out: Box<dyn Fn(&str) + Send + Sync>,
    sender: mpsc::Sender<Record>,
    dropped: Arc<AtomicU64>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut seen = Fields::default();
        attributes.record(&mut seen);
        if let Some(span) = cx.span(id) {
            span.extensions_mut().insert(seen);
        }
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, cx: Context<'_, S>) {
        if let Some(span) = cx.span(id)
            && let Some(seen) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(seen);
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut all = Map::new();
        for span in cx.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(seen) = span.extensions().get::<Fields>() {
                all.extend(seen.0.clone());
            }
        }
        let mut seen = Fields::default();
        event.record(&mut seen);
        all.extend(seen.0);
        let record = record_of(event.metadata(), all);
        // The machine's time, as collectors expect it; the system log takes its store's.
        let at = SystemClock.now();
        (self.out)(&match self.format {
            Format::Human => human(at, &record),
            Format::Json => machine(at, &record),
        });
        if self.sender.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn record_of(metadata: &Metadata<'_>, mut fields: Map<String, Value>) -> Record {
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
        None => None,
    };
    let message = text(fields.remove("message")).unwrap_or_default();
    let request_id = text(fields.remove("request_id"));
    // Events of libraries that use the `log` crate say their target in a field.
    let target = text(fields.remove("log.target")).unwrap_or_else(|| metadata.target().to_owned());
    fields.retain(|name, _| !name.starts_with("log."));
    Record { level: level_name(metadata), target, message, fields, request_id }
}
fn level_name(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// The fields of a span or an event as JSON.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn keep(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let lower = name.to_ascii_lowercase();
        let secret = SECRET_WORDS.iter().any(|word| lower.contains(word));
        let value = if secret { Value::from("[redacted]") } else { value };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, cut(value.to_owned()).into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.keep(field, cut(format!("{value:?}")).into());
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn human(at: Timestamp, record: &Record) -> String {
    let mut line = format!("{at} {:>5} {}: ", record.level.to_uppercase(), record.target);
    push_escaped(&mut line, &record.message);
    for (name, value) in &record.fields {
        let _ = write!(line, " {name}=");
        match value {
            Value::String(text) if is_plain(text) => line.push_str(text),
            other => push_escaped(&mut line, &other.to_string()),
        }
    }
    if let Some(id) = &record.request_id {
        line.push_str(" request_id=");
        push_escaped(&mut line, id);
    }
    line
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=')
}

fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

fn machine(at: Timestamp, record: &Record) -> String {
    json!({
        "at": at, "level": record.level, "target": record.target, "message": record.message,
        "fields": record.fields, "requestId": record.request_id,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn said(filter: &str, format: Format, say: impl FnOnce(&Telemetry)) -> (Vec<String>, Vec<Record>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&lines);
        let out = move |line: &str| to.lock().expect("not poisoned").push(line.to_owned());
        let targets = parse_filter(filter).expect("a filter");
        let (subscriber, telemetry, mut receiver) = subscriber(targets, format, out);
        tracing::subscriber::with_default(subscriber, || say(&telemetry));
        let mut records = Vec::new();
        while let Ok(record) = receiver.try_recv() {
            records.push(record);
        }
        let lines = lines.lock().expect("not poisoned").clone();
        (lines, records)
    }

    #[test]
    fn a_record_carries_the_request_id_of_its_span_even_when_only_errors_are_kept() {
        let (_, records) = said("error", Format::Human, |_| {
            let _in = tracing::info_span!("request", request_id = "req_1", path = "/x").entered();
            tracing::info!("not kept");
            tracing::error!(cause = "why", "failed");
        });
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].request_id.as_deref(), Some("req_1"));
        assert_eq!(records[0].message, "failed");
        assert_eq!(records[0].fields["cause"], "why");
        assert_eq!(records[0].fields["path"], "/x");
    }

    #[test]
    fn secrets_are_not_written_and_lines_cannot_be_forged() {
        let (lines, records) = said("info", Format::Human, |_| {
            tracing::info!(setup_token = "abc", name = "a\nERROR b", "two\nlines");
        });
        assert_eq!(records[0].fields["setup_token"], "[redacted]");
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].ends_with(r#": two\nlines name="a\nERROR b" setup_token=[redacted]"#),
            "{}",
            lines[0]
        );
        let (lines, _) = said("info", Format::Json, |_| tracing::info!(n = 3, "two\nlines"));
        let line: Value = serde_json::from_str(&lines[0]).expect("JSON");
        assert_eq!(line["fields"]["n"], 3);
        assert_eq!(line["message"], "two\nlines");
    }

    #[test]
    fn the_filter_changes_while_tenure_runs() {
        let (_, records) = said("info", Format::Human, |telemetry| {
            tracing::debug!("before");
            telemetry.set_filter("debug").expect("a filter");
            tracing::debug!("after");
            assert!(telemetry.set_filter("tenure=loud").is_err());
        });
        assert_eq!(records.iter().map(|r| r.message.as_str()).collect::<Vec<_>>(), ["after"]);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (_, records) = said("info", Format::Human, |telemetry| {
            for _ in 0..QUEUE + 5 {
                tracing::info!("chatter");
            }
            assert_eq!(telemetry.dropped(), 5);
        });
        assert_eq!(records.len(), QUEUE);
    }
}
