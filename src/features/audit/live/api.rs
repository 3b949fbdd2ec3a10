//! The stream of hints over HTTP (server-sent events,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Head, Hint, PAGE, hints};
use crate::base::access::Permission;
use crate::base::clock::SharedClock;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::store;
use crate::platform::http::{Caller, Failure, Routes};
use crate::platform::store::Store;

/// Changes that come close together are told together.
const GATHER: Duration = Duration::from_millis(250);
/// A stream ends after this time and is asked for anew, so that who was signed out hears nothing more.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// What the route needs.
#[derive(Debug, Clone)]
pub struct EventsApi {
    /// The business database.
    pub store: Store,
    /// How far the log goes.
    pub head: Head,
    /// Ends the streams when the process goes down.
    pub stopping: CancellationToken,
}

/// The route of the stream.
pub fn routes(state: EventsApi) -> Routes {
    OpenApiRouter::new().routes(routes!(stream_events)).with_state(state)
}

/// What changed, as it happens: events `hint` with `{topic, ids, seq}`. After a pause, `Last-Event-ID`
/// brings what was missed, or a hint `resync` when that is too much.
#[utoipa::path(get, path = "/api/events", tag = "events",
    responses((status = 200, body = Hint, content_type = "text/event-stream"), (status = 401)))]
async fn stream_events(
    caller: Caller,
    State(api): State<EventsApi>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let known = headers.get("last-event-id").and_then(|v| v.to_str().ok()).map(str::parse::<u64>);
    let last = match known {
        Some(Ok(seq)) => seq,
        Some(Err(_)) => return Err(Problem::Malformed("Last-Event-ID: expected a number from this stream.".to_owned()).into()),
        None => api.store.read(newest).await?,
    };
    let clock = api.store.clock().clone();
    let listener = Listener {
        news: api.head.listen(),
        until: clock.now().plus(LONGEST),
        with_ids: caller.principal.can(Permission::AuditRead),
        pending: VecDeque::new(),
        first: true,
        store: api.store,
        stopping: api.stopping,
        clock,
        last,
    };
    let events = futures::stream::unfold(listener, |mut listener| async move {
        let hint = listener.next().await?;
        Some((hint, listener))
    });
    let events = events.map(|hint| {
        let event = Event::default().id(hint.seq.to_string()).event("hint");
        Ok(event.json_data(&hint).unwrap_or_default())
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn newest(tx: &crate::platform::store::Tx<'_>) -> Result<u64, Problem> {
    Ok(store::head(tx)?.map_or(0, |(seq, _)| seq))
}

/// One browser that listens.
struct Listener {
    store: Store,
    news: watch::Receiver<u64>,
    stopping: CancellationToken,
    clock: SharedClock,
    until: Timestamp,
    with_ids: bool,
    last: u64,
    pending: VecDeque<Hint>,
    /// What was missed is looked for before the first wait.
    first: bool,
}

impl Listener {
    /// The next hint; `None` when the stream ends.
    async fn next(&mut self) -> Option<Hint> {
        loop {
            if let Some(hint) = self.pending.pop_front() {
                self.last = self.last.max(hint.seq);
                return Some(hint);
            }
            if !std::mem::take(&mut self.first) {
                self.wait().await?;
            }
            // A read that fails now is made up for by the next change, or by the next stream.
            if let Err(problem) = self.look().await {
                tracing::debug!(?problem, "the log could not be looked at for listeners");
            }
        }
    }

    async fn wait(&mut self) -> Option<()> {
        let changed = tokio::select! {
            () = self.stopping.cancelled() => false,
            () = self.clock.sleep_until(self.until) => false,
            changed = self.news.changed() => changed.is_ok(),
        };
        if !changed {
            return None;
        }
        tokio::select! {
            () = self.stopping.cancelled() => None,
            () = self.clock.sleep_until(self.clock.now().plus(GATHER)) => Some(()),
        }
    }

    async fn look(&mut self) -> Result<(), Problem> {
        self.news.mark_unchanged();
        let last = self.last;
        let (rows, newest) =
            self.store.read(move |tx| Ok((store::list_from(tx, last, PAGE + 1)?, newest(tx)?))).await?;
        if rows.len() > PAGE as usize || last > newest {
            self.last = newest;
            self.pending.push_back(Hint::resync(newest));
        } else {
            self.pending.extend(hints(&rows, self.with_ids));
        }
        Ok(())
    }
}
