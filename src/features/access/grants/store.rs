//! SQL of grants.

use super::{Grant, GrantRow, GrantState, Wanted};
use crate::base::id::{AssignmentId, EntitlementId, GrantId, JobId, PersonId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::entitlements::RenderedCalls;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "id, assignment_id, person_id, entitlement_id, state, wanted, generation, calls, account,
                       last_error, confirmed_at";

fn grant_row(r: &Row<'_>) -> Result<GrantRow, Problem> {
    Ok(GrantRow {
        id: r.get("id")?,
        assignment_id: r.get("assignment_id")?,
        person_id: r.get("person_id")?,
        entitlement_id: r.get("entitlement_id")?,
        state: GrantState::stored(&r.get::<String>("state")?)?,
        wanted: Wanted::stored(&r.get::<String>("wanted")?)?,
        generation: r.get("generation")?,
        calls: r.get::<Option<Json<RenderedCalls>>>("calls")?.map(|j| j.0),
        account: r.get("account")?,
        last_error: r.get("last_error")?,
        confirmed_at: r.get("confirmed_at")?,
    })
}

/// The grants of an assignment, as they are shown.
pub fn list_grants(tx: &Tx<'_>, assignment: &AssignmentId) -> Result<Vec<Grant>, Problem> {
    tx.query(
        "SELECT g.id, g.entitlement_id, e.name AS entitlement_name, c.name AS connector_name, g.state,
                g.last_error, g.confirmed_at
         FROM access_grant g
         JOIN entitlement e ON e.id = g.entitlement_id
         JOIN connector c ON c.id = e.connector_id
         WHERE g.assignment_id = ?1 ORDER BY g.entitlement_id",
        params![assignment],
        |r| {
            Ok(Grant {
                id: r.get("id")?,
                entitlement_id: r.get("entitlement_id")?,
                entitlement_name: r.get("entitlement_name")?,
                connector_name: r.get("connector_name")?,
                state: GrantState::stored(&r.get::<String>("state")?)?,
                last_error: r.get("last_error")?,
                confirmed_at: r.get("confirmed_at")?,
            })
        },
    )
}

/// The grants of an assignment, with what the calls need.
pub fn list_rows(tx: &Tx<'_>, assignment: &AssignmentId) -> Result<Vec<GrantRow>, Problem> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM access_grant WHERE assignment_id = ?1 ORDER BY entitlement_id"),
        params![assignment],
        grant_row,
    )
}

/// The grant with this id; missing is a problem.
pub fn get_row(tx: &Tx<'_>, id: &GrantId) -> Result<GrantRow, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM access_grant WHERE id = ?1"), params![id], grant_row)?
        .ok_or_else(|| Problem::missing("grant", id))
}

/// Grants that are not where they should be and whose assignment has begun, after `after` by id.
pub fn list_open(tx: &Tx<'_>, after: Option<&str>, limit: u32) -> Result<Vec<GrantRow>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM access_grant
             WHERE state IN ('pending', 'failed', 'deprovisioning') AND id > ?1
               AND NOT EXISTS (SELECT 1 FROM assignment a
                               WHERE a.id = access_grant.assignment_id AND a.state = 'scheduled')
             ORDER BY id LIMIT ?2"
        ),
        params![after.unwrap_or(""), limit],
        grant_row,
    )
}

/// Whether another assignment that has begun, or is due to, and has not ended needs the same for the
/// same person, or the same account. One that starts at the instant another ends leaves no gap.
pub fn has_other_need(tx: &Tx<'_>, grant: &GrantRow) -> Result<bool, Problem> {
    // Two questions, so that each has its index.
    tx.scalar(
        "SELECT EXISTS (
             SELECT 1 FROM access_grant g JOIN assignment a ON a.id = g.assignment_id
             WHERE g.person_id = ?1 AND g.entitlement_id = ?2 AND g.id <> ?3 AND g.wanted = 'present'
               AND (a.state IN ('provisioning', 'active', 'partially_provisioned')
                    OR (a.state = 'scheduled' AND a.starts_at <= ?4)))
          OR (coalesce(?5, '') <> '' AND EXISTS (
             SELECT 1 FROM access_grant g JOIN assignment a ON a.id = g.assignment_id
             WHERE g.entitlement_id = ?2 AND g.account = ?5 AND g.id <> ?3 AND g.wanted = 'present'
               AND (a.state IN ('provisioning', 'active', 'partially_provisioned')
                    OR (a.state = 'scheduled' AND a.starts_at <= ?4))))",
        params![grant.person_id, grant.entitlement_id, grant.id, tx.now(), grant.account],
    )
}

/// A grant of the same entitlement for the same person.
#[derive(Debug)]
pub struct Beside {
    /// The calls as rendered; absent as long as nothing went out.
    pub calls: Option<RenderedCalls>,
    /// Until when its assignment lasts.
    pub until: Option<Timestamp>,
}

/// The others of the same entitlement for the same person whose assignments have begun and not ended.
pub fn list_beside(tx: &Tx<'_>, grant: &GrantRow) -> Result<Vec<Beside>, Problem> {
    tx.query(
        "SELECT g.calls, a.expires_at FROM access_grant g JOIN assignment a ON a.id = g.assignment_id
         WHERE g.person_id = ?1 AND g.entitlement_id = ?2 AND g.id <> ?3 AND g.wanted = 'present'
           AND a.state IN ('provisioning', 'active', 'partially_provisioned')",
        params![grant.person_id, grant.entitlement_id, grant.id],
        |r| {
            let calls = r.get::<Option<Json<RenderedCalls>>>("calls")?.map(|j| j.0);
            Ok(Beside { calls, until: r.get("expires_at")? })
        },
    )
}

/// Grants of an entitlement for which calls went out and nobody asked yet what their account is called.
pub fn list_unnamed(tx: &Tx<'_>, entitlement: &EntitlementId, limit: u32) -> Result<Vec<GrantRow>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM access_grant
             WHERE entitlement_id = ?1 AND account IS NULL AND calls IS NOT NULL LIMIT ?2"
        ),
        params![entitlement, limit],
        grant_row,
    )
}

/// Stores what the account of a grant is called.
pub fn set_account(tx: &Tx<'_>, id: &GrantId, account: &str) -> Result<(), Problem> {
    tx.execute("UPDATE access_grant SET account = ?2 WHERE id = ?1", params![id, account])?;
    Ok(())
}

/// The grants behind an account.
pub fn list_by_account(tx: &Tx<'_>, entitlement: &EntitlementId, account: &str) -> Result<Vec<GrantRow>, Problem> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM access_grant WHERE entitlement_id = ?1 AND account = ?2 ORDER BY id"),
        params![entitlement, account],
        grant_row,
    )
}

/// The job that last claimed the removal of an account.
pub fn find_account_flight(tx: &Tx<'_>, entitlement: &EntitlementId, account: &str) -> Result<Option<JobId>, Problem> {
    tx.query_opt(
        "SELECT job_id FROM account_flight WHERE entitlement_id = ?1 AND account = ?2",
        params![entitlement, account],
        |r| r.get("job_id"),
    )
}

/// Lets `job` remove an account.
pub fn claim_account_flight(tx: &Tx<'_>, entitlement: &EntitlementId, account: &str, job: &JobId) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO account_flight (entitlement_id, account, job_id) VALUES (?1, ?2, ?3)
         ON CONFLICT (entitlement_id, account) DO UPDATE SET job_id = excluded.job_id",
        params![entitlement, account, job],
    )?;
    Ok(())
}

/// Gives the calls of `grant` to those that need the same and have none yet.
pub fn inherit_calls(tx: &Tx<'_>, grant: &GrantRow) -> Result<(), Problem> {
    tx.execute(
        "UPDATE access_grant SET calls = ?4, account = ?6, changed_at = ?5
         WHERE person_id = ?1 AND entitlement_id = ?2 AND id <> ?3 AND wanted = 'present' AND calls IS NULL
           AND assignment_id IN (SELECT a.id FROM assignment a
                                 WHERE a.state IN ('provisioning', 'active', 'partially_provisioned')
                                    OR (a.state = 'scheduled' AND a.starts_at <= ?5))",
        params![grant.person_id, grant.entitlement_id, grant.id, grant.calls.as_ref().map(Json), tx.now(), grant.account],
    )?;
    Ok(())
}

/// Stores a new grant.
pub fn insert_grant(tx: &Tx<'_>, g: &GrantRow) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO access_grant (id, assignment_id, person_id, entitlement_id, state, wanted, generation, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            g.id,
            g.assignment_id,
            g.person_id,
            g.entitlement_id,
            g.state.as_str(),
            g.wanted.as_str(),
            g.generation,
            tx.now()
        ],
    )?;
    Ok(())
}

/// Stores what may change of a grant.
pub fn update_grant(tx: &Tx<'_>, g: &GrantRow) -> Result<(), Problem> {
    tx.execute(
        "UPDATE access_grant SET state = ?2, wanted = ?3, generation = ?4, calls = ?5, last_error = ?6,
                                 confirmed_at = ?7, account = ?8, changed_at = ?9
         WHERE id = ?1",
        params![
            g.id,
            g.state.as_str(),
            g.wanted.as_str(),
            g.generation,
            g.calls.as_ref().map(Json),
            g.last_error,
            g.confirmed_at,
            g.account,
            tx.now()
        ],
    )?;
    Ok(())
}

/// The job that last claimed the calls for an entitlement of a person.
pub fn find_flight(tx: &Tx<'_>, person: &PersonId, entitlement: &EntitlementId) -> Result<Option<JobId>, Problem> {
    tx.query_opt(
        "SELECT job_id FROM grant_flight WHERE person_id = ?1 AND entitlement_id = ?2",
        params![person, entitlement],
        |r| r.get("job_id"),
    )
}

/// Lets `job` have the calls for an entitlement of a person.
pub fn claim_flight(tx: &Tx<'_>, person: &PersonId, entitlement: &EntitlementId, job: &JobId) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO grant_flight (person_id, entitlement_id, job_id) VALUES (?1, ?2, ?3)
         ON CONFLICT (person_id, entitlement_id) DO UPDATE SET job_id = excluded.job_id",
        params![person, entitlement, job],
    )?;
    Ok(())
}
