//! Logs: lines on stderr for the machine's own tools, and records for the system log.
//!
//! # Invariants
//! - Logging never blocks a request: when the system log falls behind, records are dropped and counted.
//! - The filter can be changed while Tenure runs.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, reload};

/// Records that may wait to be stored.
const WAITING: usize = 4096;
/// The longest text of one field.
const MAX_TEXT: usize = 4_000;

/// One record for the system log.
#[derive(Debug, Clone)]
pub struct Record {
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: &'static str,
    /// The module.
    pub target: String,
    /// The sentence.
    pub message: String,
    /// The rest, an object.
    pub fields: Value,
    /// The request it belongs to.
    pub request_id: Option<String>,
}

/// The log of this process.
#[derive(Clone)]
pub struct Telemetry {
    set_filter: Arc<dyn Fn(Targets) -> bool + Send + Sync>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Starts logging; the receiver is read by the system log. A second call in a process changes
    /// nothing that is printed and gives a receiver that stays empty.
    pub fn start(filter: &str) -> (Self, mpsc::Receiver<Record>) {
        let (send, receive) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let targets = parse_filter(filter).unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
        let (filter, handle) = reload::Layer::new(targets);
        let lines = if std::io::stderr().is_terminal() {
            fmt::layer().with_writer(std::io::stderr).boxed()
        } else {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed()
        };
        let store = StoreLayer { send, dropped: Arc::clone(&dropped) };
        // The test harness may have a subscriber already.
        let _ = tracing_subscriber::registry().with(filter).with(lines).with(store).try_init();
        let set_filter = Arc::new(move |targets| handle.reload(targets).is_ok());
        (Self { set_filter, dropped }, receive)
    }

    /// Puts another filter into force.
    pub fn set_filter(&self, filter: &str) -> Result<(), String> {
        let targets = parse_filter(filter)?;
        if (self.set_filter)(targets) { Ok(()) } else { Err("the log is gone".to_owned()) }
    }

    /// Records that were not stored because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Reads a filter such as `info,tenure=debug`.
pub fn parse_filter(text: &str) -> Result<Targets, String> {
    text.parse::<Targets>().map_err(|e| format!("expected a filter such as info or info,tenure=debug ({e})"))
}

struct StoreLayer {
    send: mpsc::Sender<Record>,
    dropped: Arc<AtomicU64>,
}

/// The request id of a span, kept for the events inside it.
struct RequestOf(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for StoreLayer {
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::span::Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(Value::String(request))) = (cx.span(id), fields.map.remove("request_id")) {
            span.extensions_mut().insert(RequestOf(request));
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let request_id = cx.event_scope(event).and_then(|scope| {
            scope.from_root().find_map(|span| span.extensions().get::<RequestOf>().map(|r| r.0.clone()))
        });
        let record = Record {
            level: event.metadata().level().as_str(),
            target: event.metadata().target().to_owned(),
            message: fields.message,
            fields: Value::Object(fields.map),
            request_id,
        };
        if self.send.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    map: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.map.insert(field.name().to_owned(), value);
    }

    fn text(&mut self, field: &Field, mut text: String) {
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            text.truncate(end);
        }
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::String(text));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
