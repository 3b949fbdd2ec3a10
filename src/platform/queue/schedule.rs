//! The scheduler: one job per slot of a registered handler's schedule.
//!
//! # Invariants
//! - A slot makes one job: its key is `name@20310301T120000Z`, and the slot that comes next is stored
//!   in the same transaction.
//! - Slots that passed while the process was down fire once, the latest only, marked late.
//! - A schedule that is new, or whose expression changed, starts with its next slot.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ledger;
use super::port::{Condition, Trouble};
use super::registry::Registry;
use super::runner::PAUSE;
use crate::base::clock::SharedClock;
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Row, Store, Tx};

/// A slot that fires this long after its instant is late.
const LATE_AFTER: Duration = Duration::from_secs(60);
/// The longest sleep; a wall clock that was set is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// A handler's schedule.
#[derive(Debug, Clone)]
struct Planned {
    name: &'static str,
    schedule: Schedule,
}

/// Makes the jobs of schedules.
pub(super) struct Scheduler {
    store: Store,
    clock: SharedClock,
    planned: Arc<Vec<Planned>>,
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
        Self { store, clock, planned: Arc::new(planned), stopping, trouble: Trouble::default() }
    }

    /// Works until told to stop.
    pub(super) async fn run(&self) {
        while !self.stopping.is_cancelled() {
            let now = self.clock.now();
            let wake_at = match self.tick().await {
                Ok(next) => {
                    self.trouble.clear();
                    let latest = now.plus(LONGEST_SLEEP);
                    next.map_or(latest, |n| n.min(latest))
                }
                Err(problem) => {
                    tracing::warn!(?problem, "the scheduler could not look at its slots; trying again");
                    self.trouble.note(now, format!("Schedules are not looked at: {problem}"));
                    now.plus(PAUSE)
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.clock.sleep_until(wake_at) => {}
            }
        }
    }

    /// Makes the jobs of slots that are due; answers when the next slot is.
    pub(super) async fn tick(&self) -> Result<Option<Timestamp>, Problem> {
        if self.planned.is_empty() {
            return Ok(None);
        }
        let planned = Arc::clone(&self.planned);
        let next = self.store.read(move |tx| Ok((next_slot(tx, &planned)?, tx.now()))).await?;
        if let (Some(at), now) = next
            && at > now
        {
            return Ok(Some(at));
        }
        let planned = Arc::clone(&self.planned);
        self.store
            .write_in_background(move |tx| {
                for plan in planned.iter() {
                    fire(tx, plan)?;
                }
                next_slot(tx, &planned)
            })
            .await
    }

    /// Removes what is stored about schedules that this version does not have.
    pub(super) async fn forget_unknown(&self) -> Result<(), Problem> {
        let planned = Arc::clone(&self.planned);
        self.store
            .write_in_background(move |tx| {
                let names: Vec<String> =
                    tx.query("SELECT name FROM job_schedule", params![], |r| r.get("name"))?;
                for name in names.iter().filter(|n| planned.iter().all(|p| p.name != n.as_str())) {
                    tx.execute("DELETE FROM job_schedule WHERE name = ?1", params![name])?;
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

/// When the scheduler has to look next; now, when a schedule is not stored as planned.
fn next_slot(tx: &Tx<'_>, planned: &[Planned]) -> Result<Option<Timestamp>, Problem> {
    let mut next: Option<Timestamp> = None;
    for plan in planned {
        let at = match find(tx, plan.name)? {
            Some(row) if row.is_of(plan) => row.next_slot_at,
            _ => Some(tx.now()),
        };
        next = [next, at].into_iter().flatten().min();
    }
    Ok(next)
}

fn fire(tx: &Tx<'_>, plan: &Planned) -> Result<(), Problem> {
    let now = tx.now();
    let row = find(tx, plan.name)?;
    let Some(due) = row.filter(|r| r.is_of(plan)) else {
        tx.execute(
            "INSERT INTO job_schedule (name, cron, timezone, next_slot_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET cron = ?2, timezone = ?3, next_slot_at = ?4",
            params![plan.name, plan.schedule.text(), ZONE, plan.schedule.next_after(now)],
        )?;
        return Ok(());
    };
    let Some(first) = due.next_slot_at.filter(|at| *at <= now) else { return Ok(()) };
    let slot = latest_slot(&plan.schedule, first, now);
    let late = slot > first || now.since(slot) > LATE_AFTER;
    let id = ledger::enqueue_slot(tx, plan.name, slot, late)?;
    tx.execute(
        "UPDATE job_schedule SET next_slot_at = ?2, last_slot_at = ?3, last_job_id = ?4,
                                 last_state = 'waiting'
         WHERE name = ?1",
        params![plan.name, plan.schedule.next_after(now), slot, id],
    )?;
    Ok(())
}

/// The last slot at or before `now`, known to be `first` or later; looks in growing windows, so that
/// a year of missed quarter hours is not counted through.
fn latest_slot(schedule: &Schedule, first: Timestamp, now: Timestamp) -> Timestamp {
    let all = now.since(first) + Duration::from_millis(1);
    let mut window = Duration::from_secs(3600);
    while window < all {
        if let Some(slot) = schedule.last_at_or_before(now, window) {
            return slot;
        }
        window *= 24;
    }
    schedule.last_at_or_before(now, all).unwrap_or(first)
}

/// Schedules of handlers are in UTC.
const ZONE: &str = "UTC";

/// A schedule as it stands, for the list of system schedules.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRow {
    /// The job's name.
    pub name: String,
    /// Its cron expression.
    pub cron: String,
    /// The zone it is evaluated in.
    pub timezone: String,
    /// The next slot.
    pub next_slot_at: Option<Timestamp>,
    /// The slot that fired last.
    pub last_slot_at: Option<Timestamp>,
    /// How that slot's job stands, in BullMQ's word.
    pub last_state: Option<String>,
}

impl ScheduleRow {
    fn is_of(&self, plan: &Planned) -> bool {
        self.cron == plan.schedule.text()
    }

    fn from_row(row: &Row<'_>) -> Result<Self, Problem> {
        Ok(Self {
            name: row.get("name")?,
            cron: row.get("cron")?,
            timezone: row.get("timezone")?,
            next_slot_at: row.get("next_slot_at")?,
            last_slot_at: row.get("last_slot_at")?,
            last_state: row.get("last_state")?,
        })
    }
}

const COLUMNS: &str = "name, cron, timezone, next_slot_at, last_slot_at, last_state";

fn find(tx: &Tx<'_>, name: &str) -> Result<Option<ScheduleRow>, Problem> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM job_schedule WHERE name = ?1"),
        params![name],
        ScheduleRow::from_row,
    )
}

/// Every system schedule, by name.
pub fn list_schedules(tx: &Tx<'_>) -> Result<Vec<ScheduleRow>, Problem> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM job_schedule ORDER BY name"),
        params![],
        ScheduleRow::from_row,
    )
}
