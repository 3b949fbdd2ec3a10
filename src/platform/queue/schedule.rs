//! The scheduler: one job per slot of a schedule, Tenure's own or one that people made.
//!
//! # Invariants
//! - A slot makes one job: its key is `name@20310301T120000Z`, and that it fired and the slot that comes
//!   next are stored in the same transaction.
//! - Slots that passed while nobody looked fire once, the latest only, marked late; a schedule that skips
//!   missed runs fires none of them.
//! - A clock that goes back fires no slot again. One that went forward by mistake and back does not
//!   silence a schedule: slots that did not fire themselves come in their turn.
//! - While the schedules of people rest, none of them fires; afterwards the slots that passed are missed ones.
//! - A schedule that is new, or whose expression changed, or that was paused, goes on with its next slot.
//!
//! # Not here
//! Which instants an expression names, and what happens where clocks change, is [`crate::base::cron`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value as JsonValue;
use tokio_util::sync::CancellationToken;

use super::port::{Condition, Trouble};
use super::registry::Registry;
use super::runner::PAUSE;
use super::{JobDraft, ledger};
use crate::base::clock::SharedClock;
use crate::base::cron::{Schedule, zone_named};
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Row, Store, Tx};

/// A slot that fires this long after its instant is late.
const LATE_AFTER: Duration = Duration::from_secs(60);
/// Slots are whole minutes, and so is the longest sleep: a schedule that was made meanwhile, and a wall
/// clock that was set, are noticed by then.
const MINUTE: Duration = Duration::from_secs(60);
/// Slots that fire in one transaction.
const BATCH: u32 = 200;

/// A handler's schedule.
#[derive(Debug, Clone)]
struct Planned {
    name: &'static str,
    schedule: Schedule,
}

/// Makes the jobs of schedules.
pub(super) struct Scheduler {
    store: Store,
    registry: Registry,
    clock: SharedClock,
    planned: Arc<Vec<Planned>>,
    /// The latest instant at which slots were looked at; none before the first look.
    seen: Mutex<Option<Timestamp>>,
    stopping: CancellationToken,
    trouble: Trouble,
}

impl Scheduler {
    pub(super) fn new(
        store: Store,
        registry: &Registry,
        clock: SharedClock,
        stopping: CancellationToken,
    ) -> Self {
        let planned = registry
            .iter()
            .filter_map(|h| Some(Planned { name: h.name(), schedule: h.schedule()? }))
            .collect();
        Self {
            store,
            registry: registry.clone(),
            clock,
            planned: Arc::new(planned),
            seen: Mutex::default(),
            stopping,
            trouble: Trouble::default(),
        }
    }

    /// Works until told to stop.
    pub(super) async fn run(&self) {
        while !self.stopping.is_cancelled() {
            let now = self.clock.now();
            let wake_at = match self.tick().await {
                Ok(next) => {
                    self.trouble.clear();
                    let minute = next_minute(now);
                    next.map_or(minute, |n| n.min(minute))
                }
                Err(problem) => {
                    tracing::warn!(?problem, "the scheduler could not look at its slots; trying again");
                    self.trouble.note(now, format!("Schedules are not looked at: {problem}"));
                    now.plus(PAUSE)
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                // The time limit runs by itself: a wall clock that was put back must not prolong the sleep.
                _ = tokio::time::timeout(MINUTE, self.clock.sleep_until(wake_at)) => {}
            }
        }
    }

    /// Makes the jobs of slots that are due; answers when the next slot is.
    pub(super) async fn tick(&self) -> Result<Option<Timestamp>, Problem> {
        loop {
            let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let registry = self.registry.clone();
            let (next, now) = self.store.read(move |tx| Ok((next_slot(tx, registry.is_resting(tx)?)?, tx.now()))).await?;
            // At first, and after the clock went back, what is stored may not be what comes next.
            let look = seen.is_none_or(|s| now < s);
            if !look && next.is_none_or(|at| at > now) {
                self.note_seen(now);
                return Ok(next);
            }
            let (planned, registry) = (Arc::clone(&self.planned), self.registry.clone());
            let (next, now) = self
                .store
                .write_in_background(move |tx| {
                    if look {
                        for plan in planned.iter() {
                            adopt(tx, plan)?;
                        }
                        mend_next(tx)?;
                    }
                    let resting = registry.is_resting(tx)?;
                    for due in list_due(tx, resting)? {
                        fire(tx, &registry, &due)?;
                    }
                    Ok((next_slot(tx, resting)?, tx.now()))
                })
                .await?;
            self.note_seen(now);
            if next.is_none_or(|at| at > now) {
                return Ok(next);
            }
        }
    }

    fn note_seen(&self, now: Timestamp) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Removes what is stored about schedules that this version does not have.
    pub(super) async fn forget_unknown(&self) -> Result<(), Problem> {
        let planned = Arc::clone(&self.planned);
        self.store
            .write_in_background(move |tx| {
                for row in list_schedules(tx)? {
                    if planned.iter().all(|p| p.name != row.name) {
                        remove(tx, &row.name)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Whether schedules are looked at.
    pub(super) fn condition(&self) -> Condition {
        self.trouble.condition(self.clock.now())
    }
}

fn next_minute(now: Timestamp) -> Timestamp {
    Timestamp::from_millis((now.as_millis().div_euclid(60_000) + 1) * 60_000)
}

/// When the scheduler has to look next; for the system's own only while those of people rest.
fn next_slot(tx: &Tx<'_>, resting: bool) -> Result<Option<Timestamp>, Problem> {
    tx.scalar(
        "SELECT min(next_slot_at) FROM job_schedule WHERE next_slot_at IS NOT NULL AND (?1 = 0 OR kind = 'system')",
        params![resting],
    )
}

fn list_due(tx: &Tx<'_>, resting: bool) -> Result<Vec<ScheduleRow>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM job_schedule WHERE next_slot_at <= ?1 AND (?2 = 0 OR kind = 'system')
             ORDER BY next_slot_at, name LIMIT {BATCH}"
        ),
        params![tx.now(), resting],
        ScheduleRow::from_row,
    )
}

/// Stores a handler's schedule unless it is there as planned.
fn adopt(tx: &Tx<'_>, plan: &Planned) -> Result<(), Problem> {
    put(
        tx,
        &SchedulePlan {
            name: plan.name,
            kind: ScheduleKind::System,
            job: plan.name,
            payload: &JsonValue::Object(serde_json::Map::new()),
            schedule: &plan.schedule,
            missed: MissedRuns::Once,
            paused: false,
        },
    )
}

/// Brings the next slots in line with the clock as it is now; slots that are due stay so.
fn mend_next(tx: &Tx<'_>) -> Result<(), Problem> {
    let rows = tx.query(
        &format!("SELECT {COLUMNS} FROM job_schedule WHERE next_slot_at > ?1"),
        params![tx.now()],
        ScheduleRow::from_row,
    )?;
    for row in rows {
        let next = readable(&row).map_or(Ok(None), |s| next_unfired(tx, &row.name, &s))?;
        if next != row.next_slot_at {
            tracing::warn!(schedule = row.name, stored = ?row.next_slot_at, ?next, "the clock or its zone changed; the next slot is another");
            set_next(tx, &row.name, next)?;
        }
    }
    Ok(())
}

/// The schedule of a row; none, with a line in the log, when this version cannot read it.
fn readable(row: &ScheduleRow) -> Option<Schedule> {
    let read = zone_named(&row.timezone)
        .map_err(|e| e.to_string())
        .and_then(|zone| Schedule::in_zone(&row.cron, zone).map_err(|e| e.to_string()));
    read.map_err(|fault| {
        tracing::error!(schedule = row.name, fault, "a schedule cannot be read and does not fire; save it anew");
    })
    .ok()
}

fn set_next(tx: &Tx<'_>, name: &str, next: Option<Timestamp>) -> Result<(), Problem> {
    tx.execute("UPDATE job_schedule SET next_slot_at = ?2 WHERE name = ?1", params![name, next])?;
    Ok(())
}

/// Makes the job of a schedule that is due.
fn fire(tx: &Tx<'_>, registry: &Registry, due: &ScheduleRow) -> Result<(), Problem> {
    let now = tx.now();
    let (Some(schedule), Some(first)) = (readable(due), due.next_slot_at) else {
        return set_next(tx, &due.name, None);
    };
    let Some(handler) = registry.find(&due.job) else {
        tracing::error!(schedule = due.name, job = due.job, "a schedule's job has no handler in this version; it does not fire");
        return set_next(tx, &due.name, None);
    };
    let Some(slot) = latest_unfired(tx, &due.name, &schedule, first)? else {
        return set_next(tx, &due.name, next_unfired(tx, &due.name, &schedule)?);
    };
    let late_by = now.since(slot);
    let late = slot > first || late_by > LATE_AFTER;
    mark_fired(tx, &due.name, &schedule, slot)?;
    let next = next_unfired(tx, &due.name, &schedule)?;
    let late_ms = late.then(|| i64::try_from(late_by.as_millis()).unwrap_or(i64::MAX));
    if due.missed == MissedRuns::Skip && late_by > LATE_AFTER {
        tx.execute(
            "UPDATE job_schedule SET next_slot_at = ?2, last_slot_at = ?3, late_ms = ?4,
                                     last_job_id = NULL, last_state = 'skipped'
             WHERE name = ?1",
            params![due.name, next, slot, late_ms],
        )?;
        return Ok(());
    }
    let draft = JobDraft::at(handler.name(), due.payload.clone(), slot)
        .with_key(ledger::slot_key(&due.name, slot));
    let id = ledger::enqueue_scheduled(tx, &draft, &due.name, late)?;
    tx.execute(
        "UPDATE job_schedule SET next_slot_at = ?2, last_slot_at = ?3, late_ms = ?4, last_run_at = ?5,
                                 last_job_id = ?6, last_state = 'waiting'
         WHERE name = ?1",
        params![due.name, next, slot, late_ms, now, id],
    )?;
    Ok(())
}

/// Slots that fired one after the other.
#[derive(Debug, Clone, Copy)]
struct Fired {
    from: Timestamp,
    to: Timestamp,
}

/// The run of fired slots that begins at or before `slot`, the latest.
fn fired_before(tx: &Tx<'_>, name: &str, slot: Timestamp) -> Result<Option<Fired>, Problem> {
    tx.query_opt(
        "SELECT from_slot, to_slot FROM job_schedule_fired WHERE name = ?1 AND from_slot <= ?2
         ORDER BY from_slot DESC LIMIT 1",
        params![name, slot],
        |r| Ok(Fired { from: r.get("from_slot")?, to: r.get("to_slot")? }),
    )
}

/// The first slot after now that has not fired.
fn next_unfired(tx: &Tx<'_>, name: &str, schedule: &Schedule) -> Result<Option<Timestamp>, Problem> {
    let mut next = schedule.next_after(tx.now());
    while let Some(slot) = next {
        match fired_before(tx, name, slot)? {
            Some(fired) if slot <= fired.to => next = schedule.next_after(fired.to),
            _ => break,
        }
    }
    Ok(next)
}

/// The last slot up to now, `first` or later, that has not fired.
fn latest_unfired(
    tx: &Tx<'_>,
    name: &str,
    schedule: &Schedule,
    first: Timestamp,
) -> Result<Option<Timestamp>, Problem> {
    let mut latest = schedule.last_at_or_before(tx.now());
    while let Some(slot) = latest.filter(|slot| *slot >= first) {
        match fired_before(tx, name, slot)? {
            Some(fired) if slot <= fired.to => {
                latest = schedule.last_at_or_before(fired.from.minus(Duration::from_millis(1)));
            }
            _ => return Ok(Some(slot)),
        }
    }
    Ok(None)
}

/// Remembers that a slot fired: as the next one of a run of slots, or as the first of a new run.
fn mark_fired(tx: &Tx<'_>, name: &str, schedule: &Schedule, slot: Timestamp) -> Result<(), Problem> {
    let before = fired_before(tx, name, slot)?;
    match before.filter(|run| schedule.next_after(run.to) == Some(slot)) {
        Some(run) => tx.execute(
            "UPDATE job_schedule_fired SET to_slot = ?3 WHERE name = ?1 AND from_slot = ?2",
            params![name, run.from, slot],
        )?,
        None => tx.execute(
            "INSERT INTO job_schedule_fired (name, from_slot, to_slot) VALUES (?1, ?2, ?2)",
            params![name, slot],
        )?,
    };
    Ok(())
}

/// Whose schedule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Tenure's own.
    System,
    /// Starts a workflow; made by people.
    Workflow,
}

impl ScheduleKind {
    /// The name in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Workflow => "workflow",
        }
    }
}

/// What becomes of slots that passed while nobody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissedRuns {
    /// The latest fires, late.
    Once,
    /// None fires.
    Skip,
}

impl MissedRuns {
    /// The name in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Skip => "skip",
        }
    }
}

/// A schedule to be stored.
#[derive(Debug)]
pub struct SchedulePlan<'a> {
    /// Unique among all schedules.
    pub name: &'a str,
    /// Whose it is.
    pub kind: ScheduleKind,
    /// The handler of its jobs.
    pub job: &'a str,
    /// What they are given.
    pub payload: &'a JsonValue,
    /// When.
    pub schedule: &'a Schedule,
    /// What becomes of missed slots.
    pub missed: MissedRuns,
    /// Whether it rests.
    pub paused: bool,
}

/// Stores a schedule. One that is new or whose slots changed goes on with its next slot from now.
pub fn put(tx: &Tx<'_>, plan: &SchedulePlan<'_>) -> Result<(), Problem> {
    let (cron, zone) = (plan.schedule.text(), plan.schedule.zone_name());
    let there = find_schedule(tx, plan.name)?;
    let same = there.as_ref().is_some_and(|row| row.cron == cron && row.timezone == zone);
    tx.execute(
        "INSERT INTO job_schedule (name, kind, job, payload, cron, timezone, missed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (name) DO UPDATE SET kind = ?2, job = ?3, payload = ?4, cron = ?5, timezone = ?6, missed = ?7",
        params![
            plan.name, plan.kind.as_str(), plan.job, Json(plan.payload), cron, zone, plan.missed.as_str()
        ],
    )?;
    if !same {
        // What fired by another expression says nothing about the slots of this one.
        tx.execute("DELETE FROM job_schedule_fired WHERE name = ?1", params![plan.name])?;
    }
    if !same || there.is_some_and(|row| row.paused != plan.paused) {
        set_paused(tx, plan.name, plan.paused)?;
    }
    Ok(())
}

/// Makes a schedule rest, or go on with its next slot from now.
pub fn set_paused(tx: &Tx<'_>, name: &str, paused: bool) -> Result<(), Problem> {
    let row = get_schedule(tx, name)?;
    let next = match readable(&row).filter(|_| !paused) {
        Some(schedule) => next_unfired(tx, name, &schedule)?,
        None => None,
    };
    tx.execute(
        "UPDATE job_schedule SET paused = ?2, next_slot_at = ?3 WHERE name = ?1",
        params![name, paused, next],
    )?;
    Ok(())
}

/// Removes a schedule; jobs that it made stay.
pub fn remove(tx: &Tx<'_>, name: &str) -> Result<(), Problem> {
    tx.execute("DELETE FROM job_schedule WHERE name = ?1", params![name])?;
    Ok(())
}

/// Makes a job of a schedule now, beside its slots.
pub fn run_now(tx: &Tx<'_>, registry: &Registry, name: &str) -> Result<JobId, Problem> {
    let row = get_schedule(tx, name)?;
    let Some(handler) = registry.find(&row.job) else {
        return Err(Problem::Conflict(format!("This version of Tenure has no handler for jobs named `{}`.", row.job)));
    };
    let id = ledger::enqueue_scheduled(tx, &JobDraft::now(handler.name(), row.payload), name, false)?;
    tx.execute(
        "UPDATE job_schedule SET last_run_at = ?2, last_job_id = ?3, last_state = 'waiting', late_ms = NULL
         WHERE name = ?1",
        params![name, tx.now(), id],
    )?;
    Ok(id)
}

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRow {
    /// The job's name, or the id of a schedule that people made.
    pub name: String,
    /// Whose it is.
    pub kind: ScheduleKind,
    /// Its cron expression.
    pub cron: String,
    /// The zone it is evaluated in.
    pub timezone: String,
    /// What becomes of missed slots.
    pub missed: MissedRuns,
    /// Whether it rests.
    pub paused: bool,
    /// The next slot.
    pub next_slot_at: Option<Timestamp>,
    /// The slot that fired, or was skipped, last.
    pub last_slot_at: Option<Timestamp>,
    /// How long after its slot the last job was made, when that was late.
    pub late_by: Option<Duration>,
    /// When the last job was made, by a slot or by hand.
    pub last_run_at: Option<Timestamp>,
    /// The last job.
    pub last_job_id: Option<JobId>,
    /// How that job stands, in BullMQ's word; `skipped` when a missed slot made none.
    pub last_state: Option<String>,
    job: String,
    payload: JsonValue,
}

impl ScheduleRow {
    fn from_row(row: &Row<'_>) -> Result<Self, Problem> {
        let name: String = row.get("name")?;
        let late_ms: Option<i64> = row.get("late_ms")?;
        Ok(Self {
            kind: match row.get::<String>("kind")?.as_str() {
                "workflow" => ScheduleKind::Workflow,
                _ => ScheduleKind::System,
            },
            cron: row.get("cron")?,
            timezone: row.get("timezone")?,
            missed: if row.get::<String>("missed")? == "skip" { MissedRuns::Skip } else { MissedRuns::Once },
            paused: row.get("paused")?,
            next_slot_at: row.get("next_slot_at")?,
            last_slot_at: row.get("last_slot_at")?,
            late_by: late_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            last_run_at: row.get("last_run_at")?,
            last_job_id: row.get("last_job_id")?,
            last_state: row.get("last_state")?,
            job: row.get::<Option<String>>("job")?.unwrap_or_else(|| name.clone()),
            payload: row.get::<Json<JsonValue>>("payload")?.0,
            name,
        })
    }
}

const COLUMNS: &str = "name, kind, cron, timezone, missed, paused, next_slot_at, last_slot_at, late_ms, last_run_at,
    last_job_id, last_state, job, payload";

/// The schedule of this name.
pub fn find_schedule(tx: &Tx<'_>, name: &str) -> Result<Option<ScheduleRow>, Problem> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM job_schedule WHERE name = ?1"),
        params![name],
        ScheduleRow::from_row,
    )
}

/// The schedule of this name; missing is a problem.
pub fn get_schedule(tx: &Tx<'_>, name: &str) -> Result<ScheduleRow, Problem> {
    find_schedule(tx, name)?.ok_or_else(|| Problem::missing("schedule", name))
}

/// Every system schedule, by name.
pub fn list_schedules(tx: &Tx<'_>) -> Result<Vec<ScheduleRow>, Problem> {
    page_schedules(tx, Some(ScheduleKind::System), "", u32::MAX)
}

/// Up to `limit` schedules of a kind, or of all, with names after `after`.
pub fn page_schedules(
    tx: &Tx<'_>,
    kind: Option<ScheduleKind>,
    after: &str,
    limit: u32,
) -> Result<Vec<ScheduleRow>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM job_schedule WHERE name > ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY name LIMIT ?3"
        ),
        params![after, kind.map(ScheduleKind::as_str), limit],
        ScheduleRow::from_row,
    )
}

#[cfg(test)]
mod tests;
