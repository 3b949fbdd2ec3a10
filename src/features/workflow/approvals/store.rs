//! SQL of approvals.

use super::{Approval, ApprovalState, Bar, Note, NoteKind, Rung, RungKind, Seat, Vote};
use crate::base::id::{ApprovalId, JobId, PersonId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::history::{Decision, Way};
use crate::params;
use crate::platform::store::{Json, Row, ToValue, Tx, Value};

const COLUMNS: &str = "id, run_id, visit, step_name, config, state, subject_id, requested_by, role_id, stage, \
stage_opened_at, created_at, due_at, decided_at, decided_by, by_escalation, exception, reason";

fn approval(r: &Row<'_>) -> Result<Approval, Problem> {
    let state: String = r.get("state")?;
    Ok(Approval {
        id: r.get("id")?,
        run_id: r.get("run_id")?,
        visit: r.get("visit")?,
        step_name: r.get("step_name")?,
        config: r.get::<Json<_>>("config")?.0,
        state: ApprovalState::parse(&state).ok_or_else(|| Problem::internal(format!("approval state {state}")))?,
        subject_id: r.get("subject_id")?,
        requested_by: r.get("requested_by")?,
        role_id: r.get("role_id")?,
        stage: r.get("stage")?,
        stage_opened_at: r.get("stage_opened_at")?,
        created_at: r.get("created_at")?,
        due_at: r.get("due_at")?,
        decided_at: r.get("decided_at")?,
        decided_by: r.get("decided_by")?,
        by_escalation: r.get("by_escalation")?,
        exception: r.get("exception")?,
        reason: r.get("reason")?,
        seats: Vec::new(),
        votes: Vec::new(),
        barred: Vec::new(),
    })
}

fn seat(r: &Row<'_>) -> Result<Seat, Problem> {
    Ok(Seat {
        stage: r.get("stage")?,
        person: r.get("person_id")?,
        own: r.get("own")?,
        on_behalf_of: r.get::<Json<_>>("on_behalf_of")?.0,
        hops: r.get("hops")?,
        left_at: r.get("left_at")?,
    })
}

fn vote(r: &Row<'_>) -> Result<Vote, Problem> {
    Ok(Vote {
        stage: r.get("stage")?,
        person: r.get("person_id")?,
        approves: r.get("approves")?,
        reason: r.get("reason")?,
        at: r.get("at")?,
    })
}

fn with_people(tx: &Tx<'_>, mut approval: Approval) -> Result<Approval, Problem> {
    approval.seats = tx.query(
        "SELECT stage, person_id, own, on_behalf_of, hops, left_at FROM approval_approver
         WHERE approval_id = ?1 ORDER BY stage, person_id",
        params![approval.id],
        seat,
    )?;
    approval.votes = tx.query(
        "SELECT stage, person_id, approves, reason, at FROM approval_vote WHERE approval_id = ?1
         ORDER BY at, stage, person_id",
        params![approval.id],
        vote,
    )?;
    if approval.state == ApprovalState::Pending {
        approval.barred = list_barred(tx, &approval.run_id)?;
    }
    Ok(approval)
}

/// Who must not decide in a run beside whoever asked and whom it is about, by what the run and those that it
/// is part of know.
pub fn list_barred(tx: &Tx<'_>, run: &RunId) -> Result<Vec<(PersonId, Bar)>, Problem> {
    let found: Vec<(PersonId, String)> = tx.query(
        "WITH RECURSIVE above (id) AS (
           SELECT ?1 UNION SELECT r.parent_run_id FROM run r JOIN above a ON r.id = a.id WHERE r.parent_run_id IS NOT NULL
         )
         SELECT p.person_id AS person_id, p.how AS how FROM above a CROSS JOIN run_party p ON p.run_id = a.id
         UNION
         SELECT r.subject_id, 'around' FROM above a CROSS JOIN run r ON r.id = a.id
         WHERE r.id <> ?1 AND r.subject_id IS NOT NULL",
        params![run],
        |r| Ok((r.get("person_id")?, r.get("how")?)),
    )?;
    Ok(found.into_iter().filter_map(|(person, how)| Some((person, Bar::parse(&how)?))).collect())
}

/// The approval with this id; missing is a problem.
pub fn get_approval(tx: &Tx<'_>, id: &ApprovalId) -> Result<Approval, Problem> {
    let found = tx.query_opt(&format!("SELECT {COLUMNS} FROM approval WHERE id = ?1"), params![id], approval)?;
    with_people(tx, found.ok_or_else(|| Problem::missing("approval", id))?)
}

/// What a list of approvals is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// `Some(true)` only pending ones, `Some(false)` only those that are over.
    pub pending: Option<bool>,
    /// Only those that wait for this person, or in which they had a seat when they are over.
    pub approver: Option<PersonId>,
    /// Only those this person asked for, is the subject of, or is assigned to.
    pub visible_to: Option<PersonId>,
}

/// Approvals before `before` by id, newest first.
pub fn list_approvals(
    tx: &Tx<'_>,
    filter: &ApprovalFilter,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Approval>, Problem> {
    let mut sql = format!("SELECT {COLUMNS} FROM approval WHERE 1");
    let mut values: Vec<Value> = Vec::new();
    match filter.pending {
        Some(true) => sql.push_str(" AND state = 'pending'"),
        Some(false) => sql.push_str(" AND state <> 'pending'"),
        None => {}
    }
    if let Some(id) = before {
        values.push(id.to_value());
        sql.push_str(&format!(" AND id < ?{}", values.len()));
    }
    let assigned = "EXISTS (SELECT 1 FROM approval_approver p WHERE p.approval_id = approval.id AND p.person_id =";
    if let Some(person) = &filter.approver {
        values.push(person.to_value());
        let n = values.len();
        sql.push_str(&format!(
            " AND {assigned} ?{n} AND (approval.state <> 'pending' OR (p.stage = approval.stage AND p.left_at IS NULL
              AND NOT EXISTS (SELECT 1 FROM approval_vote v WHERE v.approval_id = approval.id AND v.person_id = ?{n}))))"
        ));
    }
    if let Some(person) = &filter.visible_to {
        values.push(person.to_value());
        let n = values.len();
        sql.push_str(&format!(" AND (requested_by = ?{n} OR subject_id = ?{n} OR {assigned} ?{n}))"));
    }
    sql.push_str(&format!(" ORDER BY id DESC LIMIT {limit}"));
    let found = tx.query(&sql, &values, approval)?;
    found.into_iter().map(|a| with_people(tx, a)).collect()
}

fn decision(r: &Row<'_>) -> Result<Decision, Problem> {
    let way: String = r.get("way")?;
    Ok(Decision {
        person: r.get("person_id")?,
        way: match way.as_str() {
            "approval" => Way::Approval,
            "escalation" => Way::Escalation,
            _ => Way::PassedOver,
        },
        at: r.get("at")?,
        reason: r.get("reason")?,
        step: r.get("step")?,
        on_behalf_of: r.get::<Option<Json<_>>>("on_behalf_of")?.map_or_else(Vec::new, |j| j.0),
        asked_by: r.get("asked_by")?,
    })
}

/// What was decided in favour of a run up to `until`, in order: in the run, in those that it is part of, and in
/// those inside it.
pub fn list_decisions(tx: &Tx<'_>, run: &RunId, until: Timestamp) -> Result<Vec<Decision>, Problem> {
    tx.query(
        "WITH RECURSIVE above (id) AS (
           SELECT ?1 UNION SELECT r.parent_run_id FROM run r JOIN above a ON r.id = a.id WHERE r.parent_run_id IS NOT NULL
         ), below (id) AS (
           SELECT ?1 UNION SELECT r.id FROM below b CROSS JOIN run r ON r.parent_run_id = b.id
         ), family (id) AS (SELECT id FROM above UNION SELECT id FROM below)
         SELECT v.person_id AS person_id, 'approval' AS way, v.at AS at, v.reason AS reason, a.step_name AS step,
                s.on_behalf_of AS on_behalf_of, NULL AS asked_by
         FROM family f CROSS JOIN approval a ON a.run_id = f.id
         JOIN approval_vote v ON v.approval_id = a.id AND v.approves = 1
         LEFT JOIN approval_approver s ON s.approval_id = v.approval_id AND s.stage = v.stage AND s.person_id = v.person_id
         WHERE a.state = 'approved' AND a.decided_at <= ?2
         UNION ALL
         SELECT NULL, 'escalation', a.decided_at, CASE WHEN a.by_escalation THEN a.reason END, a.step_name, NULL, NULL
         FROM family f CROSS JOIN approval a ON a.run_id = f.id
         WHERE a.state = 'approved' AND a.exception = 1 AND a.decided_at <= ?2
         UNION ALL
         SELECT coalesce(e.data ->> '$.exception.decidedBy', e.data ->> '$.exception.requestedBy'), 'passed_over', e.at,
                e.data ->> '$.reason', coalesce(s.name, e.step_id, ''), NULL,
                CASE WHEN e.data ->> '$.exception.decidedBy' IS NOT NULL THEN e.data ->> '$.exception.requestedBy' END
         FROM family f CROSS JOIN run_event e INDEXED BY run_event_skipped ON e.run_id = f.id
         LEFT JOIN run_step s ON s.run_id = e.run_id AND s.visit = e.data ->> '$.visit'
         WHERE e.kind = 'run.step_skipped' AND e.at <= ?2 AND e.data ->> '$.exception' IS NOT NULL
         ORDER BY 3, 1",
        params![run, until],
        decision,
    )
}

/// The approvals of a run that are not decided.
pub fn list_open(tx: &Tx<'_>, run: &RunId) -> Result<Vec<Approval>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM approval WHERE run_id = ?1 AND state = 'pending' ORDER BY visit");
    let found = tx.query(&sql, params![run], approval)?;
    found.into_iter().map(|a| with_people(tx, a)).collect()
}

/// Stores a new approval with its seats.
pub fn insert_approval(tx: &Tx<'_>, a: &Approval) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO approval (id, run_id, visit, step_name, config, state, subject_id, requested_by, role_id, stage,
                               stage_opened_at, created_at, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            a.id, a.run_id, a.visit, a.step_name, Json(&a.config), a.state.as_str(), a.subject_id, a.requested_by,
            a.role_id, a.stage, a.stage_opened_at, a.created_at, a.due_at
        ],
    )?;
    a.seats.iter().try_for_each(|seat| put_seat(tx, &a.id, seat))
}

/// Stores that a stage is open.
pub fn set_stage(tx: &Tx<'_>, id: &ApprovalId, stage: u32) -> Result<(), Problem> {
    tx.execute(
        "UPDATE approval SET stage = ?2, stage_opened_at = ?3 WHERE id = ?1",
        params![id, stage, tx.now()],
    )?;
    Ok(())
}

/// Stores a seat; one that was left is taken again.
pub fn put_seat(tx: &Tx<'_>, id: &ApprovalId, s: &Seat) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO approval_approver (approval_id, stage, person_id, own, on_behalf_of, hops)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET own = excluded.own, on_behalf_of = excluded.on_behalf_of, hops = excluded.hops,
                                   left_at = NULL",
        params![id, s.stage, s.person, s.own, Json(&s.on_behalf_of), s.hops],
    )?;
    Ok(())
}

/// Stores that somebody does not decide any more.
pub fn leave_seat(tx: &Tx<'_>, id: &ApprovalId, stage: u32, person: &PersonId) -> Result<(), Problem> {
    tx.execute(
        "UPDATE approval_approver SET left_at = ?4 WHERE approval_id = ?1 AND stage = ?2 AND person_id = ?3",
        params![id, stage, person, tx.now()],
    )?;
    Ok(())
}

/// Stores a vote; false when the person has voted.
pub fn insert_vote(tx: &Tx<'_>, id: &ApprovalId, v: &Vote) -> Result<bool, Problem> {
    let changed = tx.execute(
        "INSERT OR IGNORE INTO approval_vote (approval_id, person_id, stage, approves, reason, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, v.person, v.stage, v.approves, v.reason, v.at],
    )?;
    Ok(changed == 1)
}

/// How an approval ended.
#[derive(Debug, Clone)]
pub struct Ending<'a> {
    /// How it stands from now on.
    pub state: ApprovalState,
    /// Who decided.
    pub by: Option<&'a PersonId>,
    /// Whether the escalation did.
    pub by_escalation: bool,
    /// Why.
    pub reason: Option<&'a str>,
}

/// Stores how an approval ended; false when it had ended before.
pub fn end(tx: &Tx<'_>, id: &ApprovalId, e: &Ending<'_>) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE approval SET state = ?2, decided_at = ?3, decided_by = ?4, reason = ?5, by_escalation = ?6
         WHERE id = ?1 AND state = 'pending'",
        params![id, e.state.as_str(), tx.now(), e.by.map(TypedId::as_str), e.reason, e.by_escalation],
    )?;
    Ok(changed == 1)
}

/// Stores that an approval, or a stage of it, was approved without anybody having approved.
pub fn mark_exception(tx: &Tx<'_>, id: &ApprovalId) -> Result<(), Problem> {
    tx.execute("UPDATE approval SET exception = 1 WHERE id = ?1", params![id])?;
    Ok(())
}

/// Closes one that nobody needs to decide any more.
pub fn cancel(tx: &Tx<'_>, id: &ApprovalId) -> Result<(), Problem> {
    tx.execute("UPDATE approval SET state = 'cancelled' WHERE id = ?1 AND state = 'pending'", params![id])?;
    Ok(())
}

/// Questions and answers, in order.
pub fn list_notes(tx: &Tx<'_>, id: &ApprovalId) -> Result<Vec<Note>, Problem> {
    tx.query(
        "SELECT seq, kind, person_id, text, at FROM approval_note WHERE approval_id = ?1 ORDER BY seq",
        params![id],
        |r| {
            let kind: String = r.get("kind")?;
            Ok(Note {
                seq: r.get("seq")?,
                kind: NoteKind::parse(&kind).ok_or_else(|| Problem::internal(format!("a note of kind {kind}")))?,
                person: r.get("person_id")?,
                text: r.get("text")?,
                at: r.get("at")?,
            })
        },
    )
}

/// Stores a question or an answer behind those that are there.
pub fn insert_note(
    tx: &Tx<'_>,
    id: &ApprovalId,
    kind: NoteKind,
    by: &PersonId,
    text: &str,
) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO approval_note (approval_id, seq, kind, person_id, text, at)
         SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5 FROM approval_note WHERE approval_id = ?1",
        params![id, kind.as_str(), by, text, tx.now()],
    )?;
    Ok(())
}

/// The rungs of an approval, in order.
pub fn list_rungs(tx: &Tx<'_>, id: &ApprovalId) -> Result<Vec<Rung>, Problem> {
    tx.query(
        "SELECT level, stage, kind, due_at, job_id, over_at IS NOT NULL AS over FROM approval_rung
         WHERE approval_id = ?1 ORDER BY level",
        params![id],
        |r| {
            let kind: String = r.get("kind")?;
            Ok(Rung {
                level: r.get("level")?,
                stage: r.get("stage")?,
                kind: RungKind::parse(&kind).ok_or_else(|| Problem::internal(format!("a rung of kind {kind}")))?,
                due_at: r.get("due_at")?,
                job: r.get("job_id")?,
                over: r.get("over")?,
            })
        },
    )
}

/// Stores a rung with the job that waits for it.
pub fn insert_rung(
    tx: &Tx<'_>,
    id: &ApprovalId,
    level: u32,
    stage: u32,
    what: (RungKind, Timestamp),
    job: &JobId,
) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO approval_rung (approval_id, level, stage, kind, due_at, job_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, level, stage, what.0.as_str(), what.1, job],
    )?;
    Ok(())
}

/// Stores that a rung is over.
pub fn end_rung(tx: &Tx<'_>, id: &ApprovalId, level: u32) -> Result<(), Problem> {
    tx.execute(
        "UPDATE approval_rung SET over_at = ?3 WHERE approval_id = ?1 AND level = ?2 AND over_at IS NULL",
        params![id, level, tx.now()],
    )?;
    Ok(())
}
