//! SQL of business roles.

use super::{Role, RoleStatus};
use crate::base::id::{EntitlementId, RoleId};
use crate::base::problem::Problem;
use crate::features::access::entitlements::{EntitlementRef, EntitlementStatus};
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "id, name, description, owner_id, status, default_duration_days, required_document_types";

fn role(r: &Row<'_>) -> Result<Role, Problem> {
    Ok(Role {
        id: r.get("id")?,
        name: r.get("name")?,
        description: r.get("description")?,
        owner_id: r.get("owner_id")?,
        status: RoleStatus::stored(&r.get::<String>("status")?)?,
        default_duration_days: r.get("default_duration_days")?,
        required_document_types: r.get::<Json<Vec<String>>>("required_document_types")?.0,
        entitlements: Vec::new(),
    })
}

/// The role with this id.
pub fn find_role(tx: &Tx<'_>, id: &RoleId) -> Result<Option<Role>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM role WHERE id = ?1"), params![id], role)?
        .map(|r| with_entitlements(tx, r))
        .transpose()
}

/// The role with this id; missing is a problem.
pub fn get_role(tx: &Tx<'_>, id: &RoleId) -> Result<Role, Problem> {
    find_role(tx, id)?.ok_or_else(|| Problem::missing("role", id))
}

/// The role with this name.
pub fn find_by_name(tx: &Tx<'_>, name: &str) -> Result<Option<Role>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM role WHERE name = ?1"), params![name], role)?
        .map(|r| with_entitlements(tx, r))
        .transpose()
}

/// What a list of roles is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A part of the name.
    pub q: Option<String>,
    /// Whether they are granted.
    pub status: Option<RoleStatus>,
    /// What they give.
    pub entitlement: Option<EntitlementId>,
}

/// Roles after `after` by id.
pub fn list_roles(tx: &Tx<'_>, filter: &Filter, after: Option<&str>, limit: u32) -> Result<Vec<Role>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM role
             WHERE id > ?1 AND (?3 IS NULL OR instr(lower(name), lower(?3)) > 0) AND (?4 IS NULL OR status = ?4)
               AND (?5 IS NULL OR EXISTS (SELECT 1 FROM role_entitlement re
                                          WHERE re.role_id = role.id AND re.entitlement_id = ?5))
             ORDER BY id LIMIT ?2"
        ),
        params![after.unwrap_or(""), limit, filter.q, filter.status.map(RoleStatus::as_str), filter.entitlement],
        role,
    )?
    .into_iter()
    .map(|r| with_entitlements(tx, r))
    .collect()
}

fn with_entitlements(tx: &Tx<'_>, mut role: Role) -> Result<Role, Problem> {
    role.entitlements = tx.query(
        "SELECT e.id, e.name, c.name AS connector_name, e.status
         FROM role_entitlement re
         JOIN entitlement e ON e.id = re.entitlement_id
         JOIN connector c ON c.id = e.connector_id
         WHERE re.role_id = ?1 ORDER BY e.id",
        params![role.id],
        |r| {
            Ok(EntitlementRef {
                id: r.get("id")?,
                name: r.get("name")?,
                connector_name: r.get("connector_name")?,
                status: EntitlementStatus::stored(&r.get::<String>("status")?)?,
            })
        },
    )?;
    Ok(role)
}

/// Stores a new role with what it gives.
pub fn insert_role(tx: &Tx<'_>, role: &Role) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO role (id, name, description, owner_id, status, default_duration_days,
                           required_document_types, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            role.id,
            role.name,
            role.description,
            role.owner_id,
            role.status.as_str(),
            role.default_duration_days,
            Json(&role.required_document_types),
            tx.now()
        ],
    )?;
    for entitlement in &role.entitlements {
        insert_role_entitlement(tx, &role.id, &entitlement.id)?;
    }
    Ok(())
}

/// Stores what may change of a role, with what it gives from now on.
pub fn update_role(tx: &Tx<'_>, role: &Role) -> Result<(), Problem> {
    tx.execute(
        "UPDATE role SET name = ?2, description = ?3, owner_id = ?4, status = ?5, default_duration_days = ?6,
                         required_document_types = ?7
         WHERE id = ?1",
        params![
            role.id,
            role.name,
            role.description,
            role.owner_id,
            role.status.as_str(),
            role.default_duration_days,
            Json(&role.required_document_types)
        ],
    )?;
    tx.execute("DELETE FROM role_entitlement WHERE role_id = ?1", params![role.id])?;
    for entitlement in &role.entitlements {
        insert_role_entitlement(tx, &role.id, &entitlement.id)?;
    }
    Ok(())
}

fn insert_role_entitlement(tx: &Tx<'_>, role: &RoleId, entitlement: &EntitlementId) -> Result<(), Problem> {
    tx.execute("INSERT INTO role_entitlement (role_id, entitlement_id) VALUES (?1, ?2)", params![role, entitlement])?;
    Ok(())
}
