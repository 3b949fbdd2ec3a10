//! The ledger: one row per job in the business database.
//!
//! # Invariants
//! - `held → handed → done | failed`; back to `held` by a snooze or by hand only.
//! - Whoever changes a row on behalf of an attempt names that attempt's fence; an older one changes
//!   nothing.

use std::time::Duration;

use serde_json::Value as JsonValue;

use super::{JobDraft, attempts, retry};
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Tx};

/// Finished jobs that are kept, the newest.
pub const KEEP_DONE: u32 = 1000;
/// Failed jobs that are kept, the newest.
pub const KEEP_FAILED: u32 = 5000;
/// The longest time a job is put off.
const LONGEST_SNOOZE: Duration = Duration::from_secs(24 * 3600);
/// The longest reason that is stored.
const REASON_CHARS: usize = 2000;

/// Puts a job into the ledger, in the caller's transaction; after the COMMIT it is handed over.
///
/// When the draft's key belongs to a job that is open or done, no job is made and that one's id is
/// the answer. A failed job gives its key away.
pub fn enqueue(tx: &Tx<'_>, draft: JobDraft) -> Result<JobId, Problem> {
    insert(tx, &draft, None, false)
}

/// Takes a job back that nobody has started. False when it is past that, or gone.
pub fn cancel(tx: &Tx<'_>, id: &JobId) -> Result<bool, Problem> {
    let n = tx.execute("DELETE FROM job WHERE id = ?1 AND state = 'held' AND active = 0", params![id])?;
    Ok(n == 1)
}

/// Whether a job whose key begins with `prefix` and a hyphen may run now, or runs. At a start, what runs was cut:
/// if the cut is excused or attempts are left, it is on its way; if it was the last attempt, it is not ([`recover`]).
pub fn is_on_its_way(tx: &Tx<'_>, prefix: &str) -> Result<bool, Problem> {
    // The range of keys from "prefix-" to before "prefix.", by the index of keys.
    let found = tx.query_opt(
        "SELECT 1 FROM job
         WHERE key >= ?1 || '-' AND key < ?1 || '.' AND state IN ('held', 'handed') AND (run_at <= ?2 OR active = 1)
           AND (state = 'held' OR attempts_made + active < ?3
                OR (cuts < ?4 AND (SELECT count(*) FROM job WHERE state = 'handed' AND active = 1) > 1))
         LIMIT 1",
        params![prefix, tx.now(), retry::MAX_ATTEMPTS, retry::CUTS_IN_COMPANY],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Whether a job whose key begins with `prefix` and a hyphen waits for this very instant.
pub fn is_due_at(tx: &Tx<'_>, prefix: &str, at: Timestamp) -> Result<bool, Problem> {
    let found = tx.query_opt(
        "SELECT 1 FROM job WHERE key >= ?1 || '-' AND key < ?1 || '.' AND state IN ('held', 'handed')
                             AND run_at = ?2 AND active = 0 AND attempts_made = 0 LIMIT 1",
        params![prefix, at],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Puts a job of a schedule into the ledger, of a slot or asked for by hand; `late` is told of it.
pub(super) fn enqueue_scheduled(
    tx: &Tx<'_>,
    draft: &JobDraft,
    schedule: &str,
    late: bool,
) -> Result<JobId, Problem> {
    insert(tx, draft, Some(schedule), late)
}

/// `role-expiry-check@20310301T120000Z`: no `:`, which BullMQ refuses in a job id.
pub(super) fn slot_key(name: &str, slot: Timestamp) -> String {
    format!("{name}@{}", slot.to_jiff().strftime("%Y%m%dT%H%M%SZ"))
}

fn insert(
    tx: &Tx<'_>,
    draft: &JobDraft,
    schedule: Option<&str>,
    late: bool,
) -> Result<JobId, Problem> {
    if let Some(key) = &draft.key {
        tx.execute("UPDATE job SET key = NULL WHERE key = ?1 AND state = 'failed'", params![key])?;
        let there = tx.query_opt("SELECT id FROM job WHERE key = ?1", params![key], |r| r.get("id"))?;
        if let Some(id) = there {
            return Ok(id);
        }
    }
    let id: JobId = tx.new_id();
    tx.execute(
        "INSERT INTO job (id, name, payload, key, state, run_at, schedule, late, created_at)
         VALUES (?1, ?2, ?3, ?4, 'held', ?5, ?6, ?7, ?8)",
        params![
            id,
            draft.name,
            Json(&draft.payload),
            draft.key,
            draft.run_at.unwrap_or(tx.now()),
            schedule,
            late,
            tx.now()
        ],
    )?;
    wake(tx);
    Ok(id)
}

/// An attempt's right to change its job.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// Which attempt, counted from 1.
    pub attempt: u32,
    /// The number that later changes must name.
    pub(super) fence: i64,
}

/// A job at the start of an attempt.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) claim: Claim,
    pub(super) name: String,
    pub(super) payload: JsonValue,
}

/// What becomes of a job that a queue gave out.
#[derive(Debug)]
pub(super) enum Start {
    /// An attempt has begun.
    Begun(Started),
    /// Its instant has not come.
    NotBefore(Timestamp),
    /// It may run, and no other meanwhile.
    Alone,
    /// It is not there to be run any more.
    Gone,
}

/// Starts an attempt, if there is to be one; `alone` says that nothing else runs meanwhile.
pub(super) fn start(tx: &Tx<'_>, id: &JobId, alone: bool) -> Result<Start, Problem> {
    let max_cuts = if alone { u32::MAX } else { retry::CUTS_IN_COMPANY };
    let started = tx.query_opt(
        "UPDATE job SET active = 1, fence = fence + 1, processed_on = ?2
         WHERE id = ?1 AND state = 'handed' AND active = 0 AND run_at <= ?2 AND cuts < ?3
         RETURNING name, payload, attempts_made, fence",
        params![id, tx.now(), max_cuts],
        |r| {
            let made: u32 = r.get("attempts_made")?;
            Ok(Started {
                claim: Claim { id: id.clone(), attempt: made + 1, fence: r.get("fence")? },
                name: r.get("name")?,
                payload: r.get::<Json<JsonValue>>("payload")?.0,
            })
        },
    )?;
    if let Some(started) = started {
        return Ok(Start::Begun(started));
    }
    let sql = "SELECT run_at FROM job WHERE id = ?1 AND state = 'handed' AND active = 0";
    let run_at: Option<Timestamp> = tx.query_opt(sql, params![id], |r| r.get("run_at"))?;
    Ok(match run_at {
        None => Start::Gone,
        Some(at) if at > tx.now() => Start::NotBefore(at),
        Some(_) => Start::Alone,
    })
}

/// Marks the job done for this attempt; an error when the job is not this attempt's any more.
pub(super) fn mark_done(tx: &Tx<'_>, claim: &Claim) -> Result<(), Problem> {
    let schedule: Option<Option<String>> = tx.query_opt(
        "UPDATE job SET state = 'done', active = 0, attempts_made = ?3, finished_on = ?4,
                        failed_reason = NULL
         WHERE id = ?1 AND fence = ?2 AND state = 'handed' AND active = 1 RETURNING schedule",
        params![claim.id, claim.fence, claim.attempt, tx.now()],
        |r| r.get("schedule"),
    )?;
    let Some(schedule) = schedule else { return Err(lost(claim)) };
    note_schedule(tx, &claim.id, schedule.is_some(), "completed")
}

/// An error unless the job is still this attempt's.
pub(super) fn check_claim(tx: &Tx<'_>, claim: &Claim) -> Result<(), Problem> {
    tx.query_opt(
        "SELECT 1 FROM job WHERE id = ?1 AND fence = ?2 AND state = 'handed' AND active = 1",
        params![claim.id, claim.fence],
        |_| Ok(()),
    )?
    .ok_or_else(|| lost(claim))
}

fn lost(claim: &Claim) -> Problem {
    Problem::Conflict(format!(
        "Attempt {} of the job {} no longer holds it; its result is discarded.",
        claim.attempt, claim.id
    ))
}

/// Back to `held` until `until`. Stays `active` until the queue has let go of it ([`release`]).
pub(super) fn snooze(tx: &Tx<'_>, claim: &Claim, until: Timestamp) -> Result<(), Problem> {
    let n = tx.execute(
        "UPDATE job SET state = 'held', run_at = ?3
         WHERE id = ?1 AND fence = ?2 AND state = 'handed' AND active = 1",
        params![claim.id, claim.fence, until.min(tx.now().plus(LONGEST_SNOOZE))],
    )?;
    if n == 0 { Err(lost(claim)) } else { Ok(()) }
}

/// The attempt lets go of the job without having counted.
pub(super) fn release(tx: &Tx<'_>, claim: &Claim) -> Result<(), Problem> {
    tx.execute(
        "UPDATE job SET active = 0 WHERE id = ?1 AND fence = ?2 AND active = 1",
        params![claim.id, claim.fence],
    )?;
    wake(tx);
    Ok(())
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The next attempt, not before this instant.
    Again(Timestamp),
    /// It was the last attempt.
    Failed,
    /// The job was not this attempt's any more.
    Lost,
}

/// Counts a failed attempt and says what follows.
pub(super) fn mark_attempt_failed(
    tx: &Tx<'_>,
    claim: &Claim,
    reason: &str,
) -> Result<AfterFailure, Problem> {
    let reason: String = reason.chars().take(REASON_CHARS).collect();
    match retry::delay_after(claim.attempt) {
        Some(delay) => {
            let at = tx.now().plus(delay);
            let n = tx.execute(
                "UPDATE job SET active = 0, attempts_made = ?3, failed_reason = ?4, run_at = ?5
                 WHERE id = ?1 AND fence = ?2 AND state = 'handed' AND active = 1",
                params![claim.id, claim.fence, claim.attempt, reason, at],
            )?;
            if n == 0 {
                return Ok(AfterFailure::Lost);
            }
            attempts::record(tx, claim, &reason)?;
            Ok(AfterFailure::Again(at))
        }
        None => {
            let ended: Option<Option<String>> = tx.query_opt(
                "UPDATE job SET state = 'failed', active = 0, attempts_made = ?3,
                                failed_reason = ?4, finished_on = ?5
                 WHERE id = ?1 AND fence = ?2 AND state = 'handed' AND active = 1 RETURNING schedule",
                params![claim.id, claim.fence, claim.attempt, reason, tx.now()],
                |r| r.get("schedule"),
            )?;
            let Some(schedule) = ended else { return Ok(AfterFailure::Lost) };
            attempts::record(tx, claim, &reason)?;
            note_schedule(tx, &claim.id, schedule.is_some(), "failed")?;
            Ok(AfterFailure::Failed)
        }
    }
}

fn note_schedule(tx: &Tx<'_>, id: &JobId, scheduled: bool, state: &str) -> Result<(), Problem> {
    if scheduled {
        tx.execute("UPDATE job_schedule SET last_state = ?2 WHERE last_job_id = ?1", params![id, state])?;
    }
    Ok(())
}

/// How many jobs of the former process were found in the middle of an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// They run again at once.
    pub again: usize,
    /// It was their last attempt.
    pub failed: usize,
}

/// Takes back every job whose attempt ended with the process that ran it.
///
/// The attempt counts when the job ran alone. When others ran, too, nobody knows which of them ended
/// the process, so that the first [`retry::CUTS_IN_COMPANY`] of a job do not count; from then on it runs
/// alone ([`Start::Alone`]), and each counts. So one that ends the process fails in the end, and one that
/// was only there does not.
///
/// To be called before any attempt starts.
pub(super) fn recover(tx: &Tx<'_>) -> Result<Recovered, Problem> {
    const REASON: &str = "The process ended while this attempt ran.";
    const EXCUSED: &str =
        "The process ended while this attempt ran. Other jobs ran as well, so that the attempt does not count.";
    // A snooze that was cut short between its two steps: the instant is already there.
    tx.execute("UPDATE job SET active = 0 WHERE state = 'held' AND active = 1", params![])?;
    let cut: u32 = tx.scalar("SELECT count(*) FROM job WHERE state = 'handed' AND active = 1", params![])?;
    let mut recovered = Recovered::default();
    if cut > 1 {
        attempts::record_cut_short(tx, EXCUSED, retry::CUTS_IN_COMPANY)?;
        recovered.again += tx.execute(
            "UPDATE job SET active = 0, cuts = cuts + 1, failed_reason = ?1, run_at = ?2
             WHERE state = 'handed' AND active = 1 AND cuts < ?3",
            params![EXCUSED, tx.now(), retry::CUTS_IN_COMPANY],
        )?;
    }
    attempts::record_cut_short(tx, REASON, u32::MAX)?;
    let ended: Vec<(JobId, Option<String>)> = tx.query(
        "UPDATE job SET state = 'failed', active = 0, attempts_made = attempts_made + 1,
                        failed_reason = ?1, finished_on = ?2
         WHERE state = 'handed' AND active = 1 AND attempts_made + 1 >= ?3 RETURNING id, schedule",
        params![REASON, tx.now(), retry::MAX_ATTEMPTS],
        |r| Ok((r.get("id")?, r.get("schedule")?)),
    )?;
    for (id, schedule) in &ended {
        note_schedule(tx, id, schedule.is_some(), "failed")?;
    }
    recovered.failed = ended.len();
    recovered.again += tx.execute(
        "UPDATE job SET active = 0, attempts_made = attempts_made + 1, failed_reason = ?1, run_at = ?2
         WHERE state = 'handed' AND active = 1",
        params![REASON, tx.now()],
    )?;
    Ok(recovered)
}

/// A job on its way to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The job.
    pub id: JobId,
    /// Not before this instant.
    pub run_at: Timestamp,
    /// Whether it waits for other systems.
    pub calls_out: bool,
    /// Which handler runs it.
    pub name: String,
    /// What the handler is given, as JSON.
    pub payload: String,
    /// When the job was made.
    pub created_at: Timestamp,
    /// Attempts that ended.
    pub attempts_made: u32,
    /// The fence of the last attempt.
    pub fence: i64,
    /// The id under which the queue knows it, when somebody else put it there.
    pub foreign_id: Option<String>,
}

const TICKET: &str = "id, run_at, name, payload, created_at, attempts_made, fence, queue_ref";

/// Marks up to `limit` due jobs as handed over and answers them, the earliest first.
pub(super) fn hand_over_due(
    tx: &Tx<'_>,
    limit: u32,
    calls_out: impl Fn(&str) -> bool,
) -> Result<Vec<Ticket>, Problem> {
    let mut tickets = tx.query(
        &format!(
            "UPDATE job SET state = 'handed' WHERE id IN (
                 SELECT id FROM job WHERE state = 'held' AND active = 0 AND run_at <= ?1
                 ORDER BY run_at, id LIMIT ?2)
             RETURNING {TICKET}"
        ),
        params![tx.now(), limit],
        |r| ticket(r, &calls_out),
    )?;
    tickets.sort_by(|a, b| (a.run_at, &a.id).cmp(&(b.run_at, &b.id)));
    Ok(tickets)
}

/// Marks one held job as handed over, due or not.
pub(super) fn hand_over_one(tx: &Tx<'_>, id: &JobId) -> Result<(), Problem> {
    tx.execute("UPDATE job SET state = 'handed' WHERE id = ?1 AND state = 'held'", params![id])?;
    Ok(())
}

/// Wakes the relay after the COMMIT.
pub(super) fn wake(tx: &Tx<'_>) {
    tx.ring_after_commit();
}

/// Jobs that the queue should have, after `after`, by id; attempts that run are left out.
pub(super) fn list_handed(
    tx: &Tx<'_>,
    after: &str,
    limit: u32,
    calls_out: impl Fn(&str) -> bool,
) -> Result<Vec<Ticket>, Problem> {
    tx.query(
        &format!(
            "SELECT {TICKET} FROM job
             WHERE state = 'handed' AND active = 0 AND id > ?1 ORDER BY id LIMIT ?2"
        ),
        params![after, limit],
        |r| ticket(r, &calls_out),
    )
}

fn ticket(
    row: &crate::platform::store::Row<'_>,
    calls_out: &impl Fn(&str) -> bool,
) -> Result<Ticket, Problem> {
    let name: String = row.get("name")?;
    let foreign: Option<String> = row.get("queue_ref")?;
    Ok(Ticket {
        id: row.get("id")?,
        run_at: row.get("run_at")?,
        calls_out: calls_out(&name),
        name,
        payload: row.get("payload")?,
        created_at: row.get("created_at")?,
        attempts_made: row.get("attempts_made")?,
        fence: row.get("fence")?,
        foreign_id: foreign.and_then(|f| Some(f.rsplit_once('@')?.0.to_owned())),
    })
}

/// Whether the ledger still wants a job run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Yes.
    Yes,
    /// It has ended; somebody may have asked the queue for another attempt.
    Ended,
    /// It is not there, or held until later.
    No,
}

/// Which of these jobs the ledger still wants run.
pub(super) fn wanted(tx: &Tx<'_>, ids: &[JobId]) -> Result<Vec<Wanted>, Problem> {
    ids.iter()
        .map(|id| {
            let state: Option<String> =
                tx.query_opt("SELECT state FROM job WHERE id = ?1", params![id], |r| r.get("state"))?;
            Ok(match state.as_deref() {
                Some("handed") => Wanted::Yes,
                Some("done" | "failed") => Wanted::Ended,
                _ => Wanted::No,
            })
        })
        .collect()
}

/// These jobs are known to the queue by their own ids from now on.
pub(super) fn forget_foreign_ids(tx: &Tx<'_>, ids: &[JobId]) -> Result<(), Problem> {
    for id in ids {
        tx.execute("UPDATE job SET queue_ref = NULL WHERE id = ?1", params![id])?;
    }
    Ok(())
}

/// When the next held job is due.
pub(super) fn next_due(tx: &Tx<'_>) -> Result<Option<Timestamp>, Problem> {
    tx.scalar("SELECT min(run_at) FROM job WHERE state = 'held' AND active = 0", params![])
}

/// Removes the oldest finished jobs beyond what is kept; answers how many.
pub(super) fn trim(tx: &Tx<'_>) -> Result<usize, Problem> {
    let mut removed = 0;
    for (state, keep) in [("done", KEEP_DONE), ("failed", KEEP_FAILED)] {
        removed += tx.execute(
            "DELETE FROM job WHERE id IN (
                 SELECT id FROM job WHERE state = ?1 AND state IN ('done', 'failed')
                 ORDER BY finished_on DESC, id DESC LIMIT 2000 OFFSET ?2)",
            params![state, keep],
        )?;
    }
    tx.execute(
        "DELETE FROM job_bulk WHERE finished_at IS NOT NULL AND id NOT IN (SELECT id FROM job)",
        params![],
    )?;
    Ok(removed)
}

/// The 26 characters of an id after its prefix, as a ULID is written.
pub(super) fn ulid_of(id: &JobId) -> String {
    id.as_str().trim_start_matches("job_").to_ascii_uppercase()
}

/// The job whose id is this ULID.
pub(super) fn id_of_ulid(ulid: &str) -> JobId {
    JobId::from_stored(format!("job_{}", ulid.to_ascii_lowercase()))
}
