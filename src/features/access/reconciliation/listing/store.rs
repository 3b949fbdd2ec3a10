//! SQL of listings: staging, and the two passes of the comparison.

use serde_json::Value;

use super::Compared;
use crate::base::id::{ConnectorId, EntitlementId, GrantId, PersonId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::reconciliation::plan::Facts;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

/// Stages one account. What is said about it is kept when no grant stands behind it.
pub(super) fn stage(
    tx: &Tx<'_>,
    plan_no: i64,
    entitlement: &EntitlementId,
    account: &str,
    attributes: &Value,
) -> Result<(), Problem> {
    let known: bool = tx.scalar(
        "SELECT EXISTS (SELECT 1 FROM access_grant WHERE entitlement_id = ?1 AND account = ?2)",
        params![entitlement, account],
    )?;
    tx.execute(
        "INSERT OR IGNORE INTO reconciliation_found (plan_no, account, attributes) VALUES (?1, ?2, ?3)",
        params![plan_no, account, if known { None } else { Some(Json(attributes)) }],
    )
    .map(drop)
}

/// How many accounts are staged.
pub fn count_found(tx: &Tx<'_>, plan_no: i64) -> Result<u64, Problem> {
    tx.scalar("SELECT count(*) FROM reconciliation_found WHERE plan_no = ?1", params![plan_no])
}

/// Forgets a page of what is staged; false when nothing is left.
pub fn clear_found(tx: &Tx<'_>, plan_no: i64, limit: u32) -> Result<bool, Problem> {
    let gone = tx.execute(
        "DELETE FROM reconciliation_found WHERE plan_no = ?1 AND account IN
             (SELECT account FROM reconciliation_found WHERE plan_no = ?1 LIMIT ?2)",
        params![plan_no, limit],
    )?;
    Ok(gone == limit as usize)
}

/// Grants that are wanted, for which calls went out, and whose account cannot be told.
pub fn count_nameless(tx: &Tx<'_>, entitlement: &EntitlementId) -> Result<u64, Problem> {
    tx.scalar(
        // Two questions, so that each has the index.
        "SELECT (SELECT count(*) FROM access_grant
                 WHERE entitlement_id = ?1 AND account = '' AND calls IS NOT NULL AND wanted = 'present')
              + (SELECT count(*) FROM access_grant
                 WHERE entitlement_id = ?1 AND account IS NULL AND calls IS NOT NULL AND wanted = 'present')",
        params![entitlement],
    )
}

/// What the grants behind an account amount to. One that is wanted and was never called for is none yet.
const FACTS: &str = "
    coalesce(sum(g.state = 'provisioned' AND g.wanted = 'present'), 0) AS live,
    coalesce(sum(g.state <> 'provisioned' AND g.wanted = 'present'), 0) AS wanting,
    coalesce(sum(g.state <> 'deprovisioned' AND g.wanted = 'absent'), 0) AS leaving,
    coalesce(sum(g.state = 'deprovisioned' AND g.wanted = 'absent' AND g.calls IS NOT NULL), 0) AS ended,
    coalesce(max(g.changed_at), -1) AS changed_at,
    max(CASE WHEN g.state = 'provisioned' AND g.wanted = 'present' THEN g.id END) AS live_id,
    max(CASE WHEN g.state = 'deprovisioned' AND g.wanted = 'absent' AND g.calls IS NOT NULL THEN g.id END) AS ended_id";

/// The account after which the one comes that is `limit` places behind `after`; nothing at the end.
pub fn find_bound(tx: &Tx<'_>, plan_no: i64, after: &str, limit: u32) -> Result<Option<String>, Problem> {
    tx.query_opt(
        "SELECT account FROM reconciliation_found WHERE plan_no = ?1 AND account > ?2 ORDER BY account LIMIT 1 OFFSET ?3",
        params![plan_no, after, limit - 1],
        |r| r.get("account"),
    )
}

/// The same for grants.
pub fn find_grant_bound(tx: &Tx<'_>, entitlement: &EntitlementId, after: &str, limit: u32) -> Result<Option<String>, Problem> {
    tx.query_opt(
        "SELECT account FROM access_grant WHERE entitlement_id = ?1 AND account > ?2 ORDER BY account LIMIT 1 OFFSET ?3",
        params![entitlement, after, limit - 1],
        |r| r.get("account"),
    )
}

/// The range of accounts that is compared at once: after the first, up to the second, which is the end of
/// everything when absent.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    /// After this one.
    pub after: &'a str,
    /// Up to this one.
    pub upto: Option<&'a str>,
}

/// Accounts that were found, with the grants behind them; `keep` is asked what of them is worth keeping.
pub fn compare_found<T>(
    tx: &Tx<'_>,
    (plan_no, entitlement): (i64, &EntitlementId),
    range: &Range<'_>,
    since: Timestamp,
    mut keep: impl FnMut(Compared) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let mut kept = Vec::new();
    tx.query(
        &format!(
            "SELECT f.account, f.attributes, {FACTS}
             FROM reconciliation_found f
             LEFT JOIN access_grant g ON g.entitlement_id = ?2 AND g.account = f.account
             WHERE f.plan_no = ?1 AND f.account > ?3 AND (?4 IS NULL OR f.account <= ?4)
             GROUP BY f.account ORDER BY f.account"
        ),
        params![plan_no, entitlement, range.after, range.upto],
        |r| {
            kept.extend(keep(compared(r, true, since)?));
            Ok(())
        },
    )?;
    Ok(kept)
}

/// Accounts that grants stand behind and that were not found.
pub fn compare_grants<T>(
    tx: &Tx<'_>,
    (plan_no, entitlement): (i64, &EntitlementId),
    range: &Range<'_>,
    since: Timestamp,
    mut keep: impl FnMut(Compared) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let mut kept = Vec::new();
    tx.query(
        &format!(
            "SELECT g.account, NULL AS attributes, {FACTS}
             FROM access_grant g
             WHERE g.entitlement_id = ?2 AND g.account > ?3 AND (?4 IS NULL OR g.account <= ?4)
               AND NOT EXISTS (SELECT 1 FROM reconciliation_found f WHERE f.plan_no = ?1 AND f.account = g.account)
             GROUP BY g.account ORDER BY g.account"
        ),
        params![plan_no, entitlement, range.after, range.upto],
        |r| {
            kept.extend(keep(compared(r, false, since)?));
            Ok(())
        },
    )?;
    Ok(kept)
}

fn compared(r: &Row<'_>, found: bool, since: Timestamp) -> Result<Compared, Problem> {
    let facts = Facts {
        found,
        live: r.get("live")?,
        wanting: r.get("wanting")?,
        leaving: r.get("leaving")?,
        ended: r.get("ended")?,
        changed: r.get::<i64>("changed_at")? >= since.as_millis(),
    };
    let grant: Option<GrantId> = match r.get("live_id")? {
        Some(live) => Some(live),
        None => r.get("ended_id")?,
    };
    Ok(Compared {
        account: r.get("account")?,
        facts,
        attributes: r.get::<Option<Json<Value>>>("attributes")?.map(|j| j.0),
        grant,
    })
}

/// The people to whom a connected system's accounts are tied: account, person.
pub fn match_by_link(tx: &Tx<'_>, connector: &ConnectorId, accounts: &[&str]) -> Result<Vec<(String, PersonId)>, Problem> {
    tx.query(
        "SELECT l.external_id AS account, l.person_id FROM json_each(?2) k
         CROSS JOIN identity_link l ON l.connector_id = ?1 AND l.external_id = k.value",
        params![connector, Json(accounts)],
        |r| Ok((r.get("account")?, r.get("person_id")?)),
    )
}

/// The people who have one of these addresses: address in lower case, person.
pub fn match_by_email(tx: &Tx<'_>, emails: &[String]) -> Result<Vec<(String, PersonId)>, Problem> {
    tx.query(
        "SELECT lower(p.email) AS email, p.id FROM json_each(?1) k CROSS JOIN person p ON p.email = k.value",
        params![Json(emails)],
        |r| Ok((r.get("email")?, r.get("id")?)),
    )
}

/// The people one of whose attributes has one of these values: value, person.
pub fn match_by_attribute(
    tx: &Tx<'_>,
    name: &str,
    ignore_case: bool,
    accounts: &[&str],
) -> Result<Vec<(String, PersonId)>, Problem> {
    tx.query(
        "SELECT v.value, v.id FROM
             (SELECT p.id, CASE ?3 WHEN 1 THEN lower(p.attributes ->> ?1) ELSE CAST(p.attributes ->> ?1 AS TEXT) END AS value
              FROM person p) v
         WHERE v.value IN (SELECT value FROM json_each(?2))",
        params![format!("$.{name}"), Json(accounts), ignore_case],
        |r| Ok((r.get("value")?, r.get("id")?)),
    )
}

/// Whether a person has an entitlement, or is about to, whatever its account is called.
pub fn holds(tx: &Tx<'_>, person: &PersonId, entitlement: &EntitlementId) -> Result<bool, Problem> {
    tx.scalar(
        "SELECT EXISTS (
             SELECT 1 FROM access_grant g JOIN assignment a ON a.id = g.assignment_id
             WHERE g.person_id = ?1 AND g.entitlement_id = ?2 AND g.wanted = 'present'
               AND a.state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned'))",
        params![person, entitlement],
    )
}
