//! SQL of reconciliations and their plans.

use super::plan::Scope;
use super::{Kind, Pass, Plan, PlanStatus, Reconciliation, Status};
use crate::base::id::{EntitlementId, JobId, PlanId, ReconciliationId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::entitlements::Policy;
use crate::params;
use crate::platform::store::{Row, Tx};

fn reconciliation(r: &Row<'_>) -> Result<Reconciliation, Problem> {
    Ok(Reconciliation {
        id: r.get("id")?,
        kind: Kind::stored(&r.get::<String>("kind")?)?,
        requested_by: r.get("requested_by")?,
        status: Status::stored(&r.get::<String>("status")?)?,
        started_at: r.get("started_at")?,
        ended_at: r.get("ended_at")?,
    })
}

fn plan(r: &Row<'_>) -> Result<Plan, Problem> {
    Ok(Plan {
        no: r.get("no")?,
        id: r.get("id")?,
        reconciliation_id: r.get("reconciliation_id")?,
        entitlement_id: r.get("entitlement_id")?,
        connector_id: r.get("connector_id")?,
        policy: Policy::stored(&r.get::<String>("policy")?)?,
        terms: r.get("terms")?,
        dry_run: r.get("dry_run")?,
        status: PlanStatus::stored(&r.get::<String>("status")?)?,
        job_id: r.get("job_id")?,
        pass: Pass::stored(&r.get::<String>("pass")?)?,
        cursor: r.get("cursor")?,
        pages: r.get("pages")?,
        seen: r.get("seen")?,
        found: r.get("found")?,
        expected: r.get("expected")?,
        nameless: r.get("nameless")?,
        removals: r.get("removals")?,
        why: r.get("why")?,
        detail: r.get("detail")?,
        started_at: r.get("started_at")?,
        compared_at: r.get("compared_at")?,
        let_go_at: r.get("let_go_at")?,
        ended_at: r.get("ended_at")?,
        decided_by: r.get("decided_by")?,
        decided_at: r.get("decided_at")?,
        decision_reason: r.get("decision_reason")?,
    })
}

/// Stores a new reconciliation.
pub fn insert_reconciliation(tx: &Tx<'_>, r: &Reconciliation) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO reconciliation (id, kind, requested_by, status, started_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![r.id, r.kind.as_str(), r.requested_by, r.status.as_str(), r.started_at],
    )
    .map(drop)
}

/// Stores where a reconciliation stands.
pub fn set_status(tx: &Tx<'_>, id: &ReconciliationId, status: Status, ended_at: Option<Timestamp>) -> Result<(), Problem> {
    tx.execute(
        "UPDATE reconciliation SET status = ?2, ended_at = ?3 WHERE id = ?1",
        params![id, status.as_str(), ended_at],
    )
    .map(drop)
}

/// The reconciliation with this id; missing is a problem.
pub fn get_reconciliation(tx: &Tx<'_>, id: &ReconciliationId) -> Result<Reconciliation, Problem> {
    tx.query_opt("SELECT * FROM reconciliation WHERE id = ?1", params![id], reconciliation)?
        .ok_or_else(|| Problem::missing("reconciliation", id))
}

/// Reconciliations, newest first, older than the one with the id `before`.
pub fn list_reconciliations(
    tx: &Tx<'_>,
    status: Option<Status>,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Reconciliation>, Problem> {
    tx.query(
        "SELECT * FROM reconciliation WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR status = ?2)
         ORDER BY id DESC LIMIT ?3",
        params![before, status.map(Status::as_str), limit],
        reconciliation,
    )
}

/// Stores a new plan; its number is given by the store.
pub fn insert_plan(tx: &Tx<'_>, p: &Plan) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO reconciliation_plan (id, reconciliation_id, entitlement_id, connector_id, policy, terms,
                                          dry_run, status, job_id, started_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            p.id,
            p.reconciliation_id,
            p.entitlement_id,
            p.connector_id,
            p.policy.as_str(),
            p.terms,
            p.dry_run,
            p.status.as_str(),
            p.job_id,
            p.started_at
        ],
    )
    .map(drop)
}

/// Stores what may change of a plan.
pub fn update_plan(tx: &Tx<'_>, p: &Plan) -> Result<(), Problem> {
    tx.execute(
        "UPDATE reconciliation_plan
         SET status = ?2, job_id = ?3, pass = ?4, cursor = ?5, pages = ?6, seen = ?7, found = ?8, expected = ?9,
             nameless = ?10, removals = ?11, why = ?12, detail = ?13, started_at = ?14, compared_at = ?15,
             let_go_at = ?16, ended_at = ?17, decided_by = ?18, decided_at = ?19, decision_reason = ?20
         WHERE no = ?1",
        params![
            p.no,
            p.status.as_str(),
            p.job_id,
            p.pass.as_str(),
            p.cursor,
            p.pages,
            p.seen,
            p.found,
            p.expected,
            p.nameless,
            p.removals,
            p.why,
            p.detail,
            p.started_at,
            p.compared_at,
            p.let_go_at,
            p.ended_at,
            p.decided_by,
            p.decided_at,
            p.decision_reason
        ],
    )
    .map(drop)
}

/// The plan with this id; missing is a problem.
pub fn get_plan(tx: &Tx<'_>, id: &PlanId) -> Result<Plan, Problem> {
    tx.query_opt("SELECT * FROM reconciliation_plan WHERE id = ?1", params![id], plan)?
        .ok_or_else(|| Problem::missing("plan", id))
}

/// The plan with this number; missing is a problem.
pub fn get_plan_no(tx: &Tx<'_>, no: i64) -> Result<Plan, Problem> {
    tx.query_opt("SELECT * FROM reconciliation_plan WHERE no = ?1", params![no], plan)?
        .ok_or_else(|| Problem::missing("plan", no))
}

/// The plans of a reconciliation.
pub fn list_plans(tx: &Tx<'_>, id: &ReconciliationId) -> Result<Vec<Plan>, Problem> {
    tx.query("SELECT * FROM reconciliation_plan WHERE reconciliation_id = ?1 ORDER BY no", params![id], plan)
}

/// The plan that a job is at for an entitlement.
pub fn find_open_plan(tx: &Tx<'_>, entitlement: &EntitlementId) -> Result<Option<Plan>, Problem> {
    tx.query_opt(
        "SELECT * FROM reconciliation_plan
         WHERE entitlement_id = ?1 AND status IN ('listing', 'comparing', 'applying')",
        params![entitlement],
        plan,
    )
}

/// Plans of an entitlement that are held and older than `no`.
pub fn list_held_before(tx: &Tx<'_>, entitlement: &EntitlementId, no: i64) -> Result<Vec<Plan>, Problem> {
    tx.query(
        "SELECT * FROM reconciliation_plan WHERE entitlement_id = ?1 AND no < ?2 AND status = 'held'",
        params![entitlement, no],
        plan,
    )
}

/// The removals of a plan beside those of its entitlement, of its connector and of all.
pub fn scopes(tx: &Tx<'_>, p: &Plan, planned: u64, since: Timestamp) -> Result<[Scope; 3], Problem> {
    let removed = tx.query(
        "SELECT entitlement_id = ?1 AS own, connector_id = ?2 AS here, removals FROM reconciliation_plan
         WHERE let_go_at > ?3 AND removals > 0 AND no <> ?4",
        params![p.entitlement_id, p.connector_id, since, p.no],
        |r| Ok((r.get::<bool>("own")?, r.get::<bool>("here")?, r.get::<u64>("removals")?)),
    )?;
    let there = tx.query(
        "SELECT e.id = ?1 AS own, p.connector_id = ?2 AS here, p.found
         FROM entitlement e
         JOIN reconciliation_plan p ON p.no = (SELECT max(q.no) FROM reconciliation_plan q
                                               WHERE q.entitlement_id = e.id AND q.compared_at IS NOT NULL)",
        params![p.entitlement_id, p.connector_id],
        |r| Ok((r.get::<bool>("own")?, r.get::<bool>("here")?, r.get::<u64>("found")?)),
    )?;
    let scope = |within: fn(&(bool, bool, u64)) -> bool| Scope {
        planned,
        removed: removed.iter().filter(|r| within(r)).map(|r| r.2).sum(),
        there: there.iter().filter(|r| within(r)).map(|r| r.2).sum(),
    };
    Ok([scope(|r| r.0), scope(|r| r.1), scope(|_| true)])
}

/// The job that is at a plan from now on.
pub fn set_job(tx: &Tx<'_>, id: &PlanId, job: &JobId) -> Result<(), Problem> {
    tx.execute("UPDATE reconciliation_plan SET job_id = ?2 WHERE id = ?1", params![id, job]).map(drop)
}

/// Where a plan's comparison goes on.
pub fn set_cursor(tx: &Tx<'_>, no: i64, pass: Pass, cursor: Option<&str>, expected: u64) -> Result<(), Problem> {
    tx.execute(
        "UPDATE reconciliation_plan SET pass = ?2, cursor = ?3, expected = expected + ?4 WHERE no = ?1",
        params![no, pass.as_str(), cursor, expected],
    )
    .map(drop)
}

/// What is wrong with the newest plan of each entitlement: how many failed, how many are held.
pub fn count_troubled(tx: &Tx<'_>) -> Result<(u64, u64), Problem> {
    let found = tx.query_opt(
        "SELECT coalesce(sum(p.status = 'failed'), 0) AS failed, coalesce(sum(p.status = 'held'), 0) AS held
         FROM entitlement e
         JOIN reconciliation_plan p ON p.no = (SELECT max(q.no) FROM reconciliation_plan q
                                               WHERE q.entitlement_id = e.id AND q.dry_run = 0)",
        params![],
        |r| Ok((r.get("failed")?, r.get("held")?)),
    )?;
    Ok(found.unwrap_or_default())
}
