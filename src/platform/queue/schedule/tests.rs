//! Slots on a real store, by a clock that is set forward and back.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::platform::clock::{ManualClock, SeededIds};
use crate::platform::queue::{InlineQueue, JobCx, JobFuture, JobHandler};
use crate::platform::store::{MigrationSet, Options};

const HOURLY: &str = "hourly";
const MADE: &str = "sch_made";

/// Does nothing, every hour or when people want it.
struct Quiet(&'static str, Option<&'static str>);

impl JobHandler for Quiet {
    fn name(&self) -> &'static str {
        self.0
    }

    fn schedule(&self) -> Option<Schedule> {
        self.1.map(|cron| Schedule::utc(cron).unwrap())
    }

    fn run<'a>(&'a self, _: &'a JobCx, _: JsonValue) -> JobFuture<'a> {
        Box::pin(async { Ok(()) })
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    queue: InlineQueue,
}

fn registry() -> Registry {
    Registry::new([
        Arc::new(Quiet(HOURLY, Some("0 * * * *"))) as Arc<dyn JobHandler>,
        Arc::new(Quiet("on-demand", None)),
    ])
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at("2031-03-01T11:30:00Z".parse().unwrap()));
        let store = Store::open(
            &Options::small(dir.path().join("tenure.db")),
            &MigrationSet::tenure(),
            clock.clone(),
            Arc::new(SeededIds::new(1)),
            None,
        )
        .unwrap();
        let queue = InlineQueue::start(store.clone(), registry()).await.unwrap();
        Self { _dir: dir, clock, store, queue }
    }

    /// Sets the clock, whether forward or back, and lets the scheduler look.
    async fn at(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
        self.queue.run_due().await.unwrap();
    }

    /// The process ends and another one begins.
    async fn restart(&mut self) {
        self.queue = InlineQueue::start(self.store.clone(), registry()).await.unwrap();
    }

    /// Slots of which there is a job, in the order of the jobs, with `!` when late.
    async fn fired(&self, name: &'static str) -> Vec<String> {
        self.store
            .read(move |tx| {
                tx.query("SELECT key, late FROM job WHERE schedule = ?1 AND key IS NOT NULL ORDER BY rowid", params![name], |r| {
                    let (key, late): (String, bool) = (r.get("key")?, r.get("late")?);
                    let slot = key.split_once('@').unwrap().1.trim_end_matches("00Z").to_owned();
                    Ok(format!("{slot}{}", if late { "!" } else { "" }))
                })
            })
            .await
            .unwrap()
    }

    async fn row(&self, name: &'static str) -> ScheduleRow {
        self.store.read(move |tx| get_schedule(tx, name)).await.unwrap()
    }

    async fn put(&self, cron: &'static str, zone: &'static str, missed: MissedRuns, paused: bool) {
        self.store
            .write(move |tx| {
                let schedule = Schedule::in_zone(cron, zone_named(zone).unwrap()).unwrap();
                put(
                    tx,
                    &SchedulePlan {
                        name: MADE,
                        kind: ScheduleKind::Workflow,
                        job: "on-demand",
                        payload: &json!({ "scheduleId": MADE }),
                        schedule: &schedule,
                        missed,
                        paused,
                    },
                )
            })
            .await
            .unwrap();
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

#[tokio::test]
async fn a_late_slot_says_which_and_by_how_long() {
    let mut b = Bench::new().await;
    b.at("2031-03-01T12:00:59Z").await;
    let row = b.row(HOURLY).await;
    assert_eq!((row.last_slot_at, row.late_by), (instant("2031-03-01T12:00:00Z"), None));
    assert_eq!(row.last_run_at, instant("2031-03-01T12:00:59Z"));
    b.clock.set("2031-03-01T15:20:00Z".parse().unwrap());
    b.restart().await;
    b.queue.run_due().await.unwrap();
    let row = b.row(HOURLY).await;
    assert_eq!((row.last_slot_at, row.late_by), (instant("2031-03-01T15:00:00Z"), Some(Duration::from_secs(1200))));
    assert_eq!(row.last_state.as_deref(), Some("completed"));
    assert_eq!(b.fired(HOURLY).await, ["20310301T1200", "20310301T1500!"]);
    let payload: String =
        b.store.read(|tx| tx.scalar("SELECT payload FROM job WHERE late = 1", params![])).await.unwrap();
    assert_eq!(payload, "{}", "the job is given what it is always given");
    b.at("2031-03-01T16:00:00Z").await;
    assert_eq!(b.row(HOURLY).await.late_by, None, "the next slot is on time again");
}

/// Hours that come again after the clock was put back have had their turn.
#[tokio::test]
async fn a_clock_that_goes_back_fires_no_slot_again() {
    let mut b = Bench::new().await;
    for time in ["2031-03-01T12:00:00Z", "2031-03-01T13:00:00Z", "2031-03-01T11:10:00Z"] {
        b.at(time).await;
    }
    assert_eq!(b.row(HOURLY).await.next_slot_at, instant("2031-03-01T14:00:00Z"));
    b.restart().await;
    for time in ["2031-03-01T12:00:00Z", "2031-03-01T13:30:00Z", "2031-03-01T14:00:00Z", "2031-03-01T13:59:00Z", "2031-03-01T14:00:30Z"] {
        b.at(time).await;
    }
    assert_eq!(b.fired(HOURLY).await, ["20310301T1200", "20310301T1300", "20310301T1400"]);
}

/// Ten years ahead by mistake and back: the hours go on as if nothing had been, and the one slot that
/// fired in the far future is not fired again when it comes.
#[tokio::test]
async fn a_clock_that_went_ahead_by_mistake_silences_nothing() {
    for restarts in [false, true] {
        let mut b = Bench::new().await;
        b.at("2031-03-01T12:00:00Z").await;
        b.at("2041-03-01T12:10:00Z").await;
        assert_eq!(b.row(HOURLY).await.next_slot_at, instant("2041-03-01T13:00:00Z"));
        b.clock.set("2031-03-01T12:05:00Z".parse().unwrap());
        if restarts {
            b.restart().await;
        }
        b.at("2031-03-01T12:05:00Z").await;
        assert_eq!(b.row(HOURLY).await.next_slot_at, instant("2031-03-01T13:00:00Z"));
        for time in ["2031-03-01T13:00:00Z", "2031-03-01T14:00:00Z", "2041-03-01T11:10:00Z", "2041-03-01T12:30:00Z", "2041-03-01T13:00:00Z"] {
            b.at(time).await;
        }
        let expected =
            ["20310301T1200", "20410301T1200!", "20310301T1300", "20310301T1400", "20410301T1100!", "20410301T1300"];
        assert_eq!(b.fired(HOURLY).await, expected);
    }
}

#[tokio::test]
async fn missed_slots_are_skipped_when_that_is_wanted() {
    let mut b = Bench::new().await;
    b.put("0 * * * *", "UTC", MissedRuns::Skip, false).await;
    b.at("2031-03-01T12:00:00Z").await;
    b.at("2031-03-01T15:20:00Z").await;
    let row = b.row(MADE).await;
    assert_eq!((row.last_state.as_deref(), row.late_by), (Some("skipped"), Some(Duration::from_secs(1200))));
    assert_eq!(row.next_slot_at, instant("2031-03-01T16:00:00Z"));
    b.restart().await;
    b.at("2031-03-01T17:00:30Z").await;
    assert_eq!(b.fired(MADE).await, ["20310301T1200", "20310301T1700!"], "17:00 is on time, though 16:00 was missed");
}

#[tokio::test]
async fn a_schedule_that_changes_or_rested_goes_on_with_its_next_slot() {
    let b = Bench::new().await;
    b.put("0 * * * *", "UTC", MissedRuns::Once, true).await;
    b.at("2031-03-01T12:00:00Z").await;
    assert_eq!(b.row(MADE).await.next_slot_at, None);
    b.at("2031-03-01T12:40:00Z").await;
    b.store.write(|tx| set_paused(tx, MADE, false)).await.unwrap();
    assert_eq!(b.row(MADE).await.next_slot_at, instant("2031-03-01T13:00:00Z"));
    b.put("30 * * * *", "Asia/Kolkata", MissedRuns::Once, false).await;
    b.at("2031-03-01T13:00:00Z").await;
    b.put("30 * * * *", "Asia/Kolkata", MissedRuns::Skip, false).await;
    assert_eq!(b.row(MADE).await.next_slot_at, instant("2031-03-01T14:00:00Z"), "what stays the same keeps its slot");
    assert_eq!(b.fired(MADE).await, ["20310301T1300"]);
    b.store.write(|tx| remove(tx, MADE)).await.unwrap();
    b.at("2031-03-01T14:00:00Z").await;
    assert_eq!(b.fired(MADE).await, ["20310301T1300"]);
    assert_eq!(b.fired(HOURLY).await.len(), 3);
}

/// A job by hand is shown as the last one, and takes no slot away.
#[tokio::test]
async fn a_run_by_hand_is_beside_the_slots() {
    let b = Bench::new().await;
    let registry = registry();
    let id = b.store.write(move |tx| run_now(tx, &registry, HOURLY)).await.unwrap();
    b.queue.run_due().await.unwrap();
    let row = b.row(HOURLY).await;
    assert_eq!((row.last_job_id, row.last_state.as_deref()), (Some(id), Some("completed")));
    assert_eq!(row.last_run_at, instant("2031-03-01T11:30:00Z"));
    b.at("2031-03-01T12:00:00Z").await;
    assert_eq!(b.fired(HOURLY).await, ["20310301T1200"]);
}

/// A row that cannot be read holds up no other.
#[tokio::test]
async fn a_schedule_that_cannot_be_read_stands_still_alone() {
    let b = Bench::new().await;
    b.put("0 * * * *", "UTC", MissedRuns::Once, false).await;
    b.store
        .write(|tx| tx.execute("UPDATE job_schedule SET timezone = 'Europe/Gone' WHERE name = ?1", params![MADE]))
        .await
        .unwrap();
    b.at("2031-03-01T12:00:00Z").await;
    assert_eq!(b.row(MADE).await.next_slot_at, None);
    assert_eq!((b.fired(MADE).await.len(), b.fired(HOURLY).await.len()), (0, 1));
}
