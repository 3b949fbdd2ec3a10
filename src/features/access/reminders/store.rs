//! SQL of reminders.

use super::{Due, Ending};
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Row, Tx};

/// How far the reminders of a kind of ends are set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The days, as text.
    pub days: String,
    /// The last end that is set; nothing once all are.
    pub cursor: Option<(Timestamp, String)>,
}

const ASSIGNMENTS: &str = "SELECT e.id, e.person_id, p.display_name, p.active, e.person_id AS told, r.name AS what,
                                  e.starts_at, e.expires_at, e.remind_at
                           FROM assignment e JOIN person p ON p.id = e.person_id JOIN role r ON r.id = e.role_id
                           WHERE e.state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned')
                             AND e.expires_at IS NOT NULL";
// A manager who left is told nothing; then it is the person after all, whose mail may still be read.
const DOCUMENTS: &str = "SELECT e.id, e.person_id, p.display_name, p.active,
                                CASE WHEN EXISTS (SELECT 1 FROM account c WHERE c.person_id = p.id AND c.active = 1)
                                     THEN p.id ELSE coalesce(m.id, p.id) END AS told,
                                e.type AS what, e.valid_from AS starts_at, e.expires_at, e.remind_at
                         FROM document e JOIN person p ON p.id = e.person_id
                         LEFT JOIN person m ON m.id = p.manager_id AND m.active = 1
                         WHERE e.state IN ('submitted', 'approved')";

fn select(of: Ending) -> &'static str {
    match of {
        Ending::Assignment => ASSIGNMENTS,
        Ending::Document => DOCUMENTS,
    }
}

fn due(r: &Row<'_>) -> Result<Due, Problem> {
    Ok(Due {
        id: r.get("id")?,
        person: PersonRef { id: r.get("person_id")?, display_name: r.get("display_name")? },
        active: r.get("active")?,
        told: r.get("told")?,
        what: r.get("what")?,
        starts_at: r.get("starts_at")?,
        ends_at: r.get("expires_at")?,
        remind_at: r.get("remind_at")?,
    })
}

/// How far the reminders are set.
pub fn get_setting(tx: &Tx<'_>, of: Ending) -> Result<Setting, Problem> {
    let found = tx.query_opt(
        "SELECT days, cursor_at, cursor_id FROM expiry_reminder WHERE kind = ?1",
        params![of.as_str()],
        |r| {
            let at: Option<Timestamp> = r.get("cursor_at")?;
            let id: Option<String> = r.get("cursor_id")?;
            Ok(Setting { days: r.get("days")?, cursor: at.zip(id) })
        },
    )?;
    found.ok_or_else(|| Problem::internal(format!("expiry_reminder has no row {}", of.as_str())))
}

/// Stores how far the reminders are set.
pub fn update_setting(tx: &Tx<'_>, of: Ending, setting: &Setting) -> Result<(), Problem> {
    let (at, id) = setting.cursor.clone().unzip();
    tx.execute(
        "UPDATE expiry_reminder SET days = ?2, cursor_at = ?3, cursor_id = ?4 WHERE kind = ?1",
        params![of.as_str(), setting.days, at, id],
    )?;
    Ok(())
}

/// What is to end and is still there, after `after` in order of the ends.
pub fn list_ends(tx: &Tx<'_>, of: Ending, after: &(Timestamp, String), limit: u32) -> Result<Vec<Due>, Problem> {
    tx.query(
        &format!("{} AND (e.expires_at, e.id) > (?1, ?2) ORDER BY e.expires_at, e.id LIMIT ?3", select(of)),
        params![after.0, after.1, limit],
        due,
    )
}

/// What has a reminder that is due and is still there, the earliest first.
pub fn list_due(tx: &Tx<'_>, of: Ending, limit: u32) -> Result<Vec<Due>, Problem> {
    tx.query(&due_sql(of), params![tx.now(), limit], due)
}

pub(super) fn due_sql(of: Ending) -> String {
    format!("{} AND e.remind_at IS NOT NULL AND e.remind_at <= ?1 ORDER BY e.remind_at, e.id LIMIT ?2", select(of))
}

/// What of this person has a reminder that is due. The `+` keeps to the person's index: very many may be due.
pub fn list_due_of(tx: &Tx<'_>, of: Ending, person: &PersonId) -> Result<Vec<Due>, Problem> {
    tx.query(
        &format!("{} AND e.person_id = ?1 AND +e.remind_at <= ?2 ORDER BY e.expires_at, e.id", select(of)),
        params![person, tx.now()],
        due,
    )
}

/// Those whom this person manages, active or not.
pub fn list_managed(tx: &Tx<'_>, manager: &PersonId) -> Result<Vec<PersonId>, Problem> {
    tx.query("SELECT id FROM person WHERE manager_id = ?1 ORDER BY id", params![manager], |r| r.get("id"))
}

/// Stores when the next reminder of an end is due.
pub fn update_reminder(tx: &Tx<'_>, of: Ending, id: &str, at: Option<Timestamp>) -> Result<(), Problem> {
    let sql = match of {
        Ending::Assignment => "UPDATE assignment SET remind_at = ?2 WHERE id = ?1",
        Ending::Document => "UPDATE document SET remind_at = ?2 WHERE id = ?1",
    };
    tx.execute(sql, params![id, at])?;
    Ok(())
}
