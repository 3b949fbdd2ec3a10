//! The promises of the queue, on real stores: by the manual clock inline, by wall time on `queue.db`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as JsonValue, json};
use tokio::sync::Semaphore;

use super::schedule::list_schedules;
use super::views::{self, JobState};
use super::*;
use crate::base::clock::{Clock, SharedClock};
use crate::base::id::JobId;
use crate::params;
use crate::platform::clock::{ManualClock, SeededIds, SystemClock, SystemIds};
use crate::platform::faults::{Fault, Faults};
use crate::platform::store::{MigrationSet, Options, Store, Tx};

mod cuts;
mod embedded;
mod losses;
mod rules;
mod rows;
mod server;

const PROBE: &str = "probe";

#[derive(Clone)]
enum Act {
    Succeed,
    FailFirst(u32),
    Panic,
    SnoozeOnce(Duration),
    /// Waits for a permit that the test gives.
    Wait(Arc<Semaphore>),
    /// Never ends by itself.
    Hang,
}

struct Probe {
    name: &'static str,
    cron: Option<&'static str>,
    calls_out: bool,
    act: Act,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    attempts: Mutex<Vec<(u32, Timestamp)>>,
    running: AtomicU32,
    most: AtomicU32,
}

impl Seen {
    fn attempts(&self) -> Vec<(u32, Timestamp)> {
        self.attempts.lock().unwrap().clone()
    }
}

impl Probe {
    fn new(act: Act) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (Self { name: PROBE, cron: None, calls_out: false, act, seen: Arc::clone(&seen) }, seen)
    }
}

impl JobHandler for Probe {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schedule(&self) -> Option<Schedule> {
        self.cron.map(|c| Schedule::utc(c).unwrap())
    }

    fn calls_out(&self) -> bool {
        self.calls_out
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: JsonValue) -> JobFuture<'a> {
        Box::pin(async move {
            let now = cx.store().clock().now();
            let before = self.seen.attempts.lock().unwrap().len();
            self.seen.attempts.lock().unwrap().push((cx.attempt(), now));
            let running = self.seen.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.seen.most.fetch_max(running, Ordering::SeqCst);
            let result = match &self.act {
                Act::Succeed => Ok(()),
                Act::FailFirst(n) if cx.attempt() <= *n => Err(Problem::refused("the probe says no")),
                Act::FailFirst(_) => Ok(()),
                Act::Panic => panic!("the probe panics"),
                Act::SnoozeOnce(by) if before == 0 => cx.snooze(now.plus(*by)).await,
                Act::SnoozeOnce(_) => Ok(()),
                Act::Wait(gate) => {
                    gate.acquire().await.unwrap().forget();
                    Ok(())
                }
                Act::Hang => std::future::pending().await,
            };
            self.seen.running.fetch_sub(1, Ordering::SeqCst);
            result
        })
    }
}

fn registry(probe: Probe) -> Registry {
    Registry::new([Arc::new(probe) as Arc<dyn JobHandler>])
}

fn start_of_2031() -> Timestamp {
    "2031-03-01T11:30:00Z".parse().unwrap()
}

fn open(dir: &tempfile::TempDir, file: &str, set: &MigrationSet, clock: SharedClock) -> Store {
    let ids: crate::base::id::SharedIds =
        if file == "queue.db" { Arc::new(SystemIds) } else { Arc::new(SeededIds::new(1)) };
    Store::open(&Options::small(dir.path().join(file)), set, clock, ids, None).unwrap()
}

struct Bench {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(start_of_2031()));
        let store = open(&dir, "tenure.db", &MigrationSet::tenure(), clock.clone());
        Self { _dir: dir, clock, store }
    }

    async fn enqueue(&self, draft: JobDraft) -> JobId {
        self.store.write(move |tx| enqueue(tx, draft.clone())).await.unwrap()
    }

    async fn job(&self, id: &JobId) -> views::JobView {
        let id = id.clone();
        self.store.read(move |tx| views::get_job(tx, &id)).await.unwrap()
    }
}

/// Starts an attempt, as a worker does.
fn begin(tx: &Tx<'_>, id: &JobId) -> Result<ledger::Started, Problem> {
    match ledger::start(tx, id, false)? {
        ledger::Start::Begun(started) => Ok(started),
        other => Err(Problem::internal(format!("{other:?}"))),
    }
}

fn probe_job() -> JobDraft {
    JobDraft::now(PROBE, json!({}))
}
