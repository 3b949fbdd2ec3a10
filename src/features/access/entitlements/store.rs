//! SQL of entitlements.

use super::{Call, Entitlement, EntitlementStatus, ListCall, Policy, Reconcile};
use crate::base::id::{ConnectorId, EntitlementId};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const SELECT: &str = "SELECT e.id, e.name, e.connector_id, c.name AS connector_name, e.provision, e.deprovision,
                             e.check_call, e.list_call, e.policy, e.remove_call, e.status
                      FROM entitlement e JOIN connector c ON c.id = e.connector_id";

fn entitlement(r: &Row<'_>) -> Result<Entitlement, Problem> {
    Ok(Entitlement {
        id: r.get("id")?,
        name: r.get("name")?,
        connector_id: r.get("connector_id")?,
        connector_name: r.get("connector_name")?,
        provision: r.get::<Json<Call>>("provision")?.0,
        deprovision: r.get::<Json<Call>>("deprovision")?.0,
        check: r.get::<Option<Json<Call>>>("check_call")?.map(|j| j.0),
        list: r.get::<Option<Json<ListCall>>>("list_call")?.map(|j| j.0),
        reconcile: Reconcile {
            policy: Policy::stored(&r.get::<String>("policy")?)?,
            remove: r.get::<Option<Json<Call>>>("remove_call")?.map(|j| j.0),
        },
        status: EntitlementStatus::stored(&r.get::<String>("status")?)?,
    })
}

/// The entitlement with this id.
pub fn find_entitlement(tx: &Tx<'_>, id: &EntitlementId) -> Result<Option<Entitlement>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE e.id = ?1"), params![id], entitlement)
}

/// The entitlement with this id; missing is a problem.
pub fn get_entitlement(tx: &Tx<'_>, id: &EntitlementId) -> Result<Entitlement, Problem> {
    find_entitlement(tx, id)?.ok_or_else(|| Problem::missing("entitlement", id))
}

/// What a list of entitlements is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A part of the name.
    pub q: Option<String>,
    /// Whether they are given.
    pub status: Option<EntitlementStatus>,
    /// Where they are given.
    pub connector: Option<ConnectorId>,
}

/// Entitlements after `after` by id.
pub fn list_entitlements(
    tx: &Tx<'_>,
    filter: &Filter,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Entitlement>, Problem> {
    tx.query(
        &format!(
            "{SELECT}
             WHERE e.id > ?1 AND (?3 IS NULL OR instr(lower(e.name), lower(?3)) > 0) AND (?4 IS NULL OR e.status = ?4)
               AND (?5 IS NULL OR e.connector_id = ?5)
             ORDER BY e.id LIMIT ?2"
        ),
        params![after.unwrap_or(""), limit, filter.q, filter.status.map(EntitlementStatus::as_str), filter.connector],
        entitlement,
    )
}

/// Stores a new entitlement.
pub fn insert_entitlement(tx: &Tx<'_>, e: &Entitlement) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO entitlement (id, name, connector_id, provision, deprovision, check_call, status, created_at,
                                  list_call, policy, remove_call)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            e.id,
            e.name,
            e.connector_id,
            Json(&e.provision),
            Json(&e.deprovision),
            e.check.as_ref().map(Json),
            e.status.as_str(),
            tx.now(),
            e.list.as_ref().map(Json),
            e.reconcile.policy.as_str(),
            e.reconcile.remove.as_ref().map(Json)
        ],
    )?;
    Ok(())
}

/// Stores what may change of an entitlement.
pub fn update_entitlement(tx: &Tx<'_>, e: &Entitlement) -> Result<(), Problem> {
    tx.execute(
        "UPDATE entitlement SET name = ?2, connector_id = ?3, provision = ?4, deprovision = ?5, check_call = ?6,
                                status = ?7, list_call = ?8, policy = ?9, remove_call = ?10
         WHERE id = ?1",
        params![
            e.id,
            e.name,
            e.connector_id,
            Json(&e.provision),
            Json(&e.deprovision),
            e.check.as_ref().map(Json),
            e.status.as_str(),
            e.list.as_ref().map(Json),
            e.reconcile.policy.as_str(),
            e.reconcile.remove.as_ref().map(Json)
        ],
    )?;
    Ok(())
}

/// Entitlements that say how their accounts are listed, and that are given or still held.
pub fn list_listable(tx: &Tx<'_>) -> Result<Vec<EntitlementId>, Problem> {
    tx.query(
        "SELECT id FROM entitlement e
         WHERE list_call IS NOT NULL
           AND (status = 'active' OR EXISTS (SELECT 1 FROM access_grant g WHERE g.entitlement_id = e.id
                                                                           AND g.state <> 'deprovisioned'))
         ORDER BY id",
        params![],
        |r| r.get("id"),
    )
}

/// Says of every grant of an entitlement what its account is called, or that it is to be asked.
pub(super) fn set_accounts(tx: &Tx<'_>, id: &EntitlementId, account: Option<&str>) -> Result<(), Problem> {
    tx.execute("UPDATE access_grant SET account = ?2 WHERE entitlement_id = ?1", params![id, account])?;
    Ok(())
}

/// How many grants of it are there, or may be.
pub fn count_held(tx: &Tx<'_>, id: &EntitlementId) -> Result<u32, Problem> {
    tx.scalar(
        "SELECT count(*) FROM access_grant WHERE entitlement_id = ?1 AND state <> 'deprovisioned'",
        params![id],
    )
}
