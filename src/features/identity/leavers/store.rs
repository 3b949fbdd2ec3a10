//! SQL of people who leave.

use serde_json::Value as JsonValue;

use super::{Leave, LeaveState};
use crate::base::id::{LeaveId, PersonId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const SELECT: &str = "SELECT l.*, p.display_name AS person_name, d.display_name AS decider_name FROM person_leave l
                      JOIN person p ON p.id = l.person_id LEFT JOIN person d ON d.id = l.decided_by";

fn leave(r: &Row<'_>) -> Result<Leave, Problem> {
    let state: String = r.get("state")?;
    let decider: Option<PersonId> = r.get("decided_by")?;
    let decider_name: Option<String> = r.get("decider_name")?;
    Ok(Leave {
        id: r.get("id")?,
        person: PersonRef { id: r.get("person_id")?, display_name: r.get("person_name")? },
        source: r.get("source")?,
        source_name: r.get("source_name")?,
        reason: r.get("reason")?,
        state: LeaveState::parse(&state).ok_or_else(|| Problem::internal(format!("leave state {state}")))?,
        held_because: r.get("held_because")?,
        run_id: r.get("run_id")?,
        created_at: r.get("created_at")?,
        began_at: r.get("began_at")?,
        done_at: r.get("done_at")?,
        decided_by: decider.zip(decider_name).map(|(id, display_name)| PersonRef { id, display_name }),
        decided_at: r.get("decided_at")?,
        decision_reason: r.get("decision_reason")?,
        result: r.get::<Json<JsonValue>>("result")?.0,
    })
}

/// The leave with this id; missing is a problem.
pub fn get_leave(tx: &Tx<'_>, id: &LeaveId) -> Result<Leave, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE l.id = ?1"), params![id], leave)?.ok_or_else(|| Problem::missing("leaver", id))
}

/// The held leave of somebody.
pub fn find_held(tx: &Tx<'_>, person: &PersonId) -> Result<Option<Leave>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE l.person_id = ?1 AND l.state = 'held'"), params![person], leave)
}

/// Leaves, newest first, older than `before`.
pub fn list_leaves(
    tx: &Tx<'_>,
    state: Option<LeaveState>,
    person: Option<&PersonId>,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Leave>, Problem> {
    tx.query(
        &format!(
            "{SELECT} WHERE (?1 IS NULL OR l.state = ?1) AND (?2 IS NULL OR l.person_id = ?2)
               AND (?3 IS NULL OR l.id < ?3) ORDER BY l.id DESC LIMIT ?4"
        ),
        params![state.map(LeaveState::as_str), person.cloned(), before, limit],
        leave,
    )
}

/// How many people left by this source since `since`.
pub fn count_by_source(tx: &Tx<'_>, source: &str, since: Timestamp) -> Result<u32, Problem> {
    tx.scalar("SELECT count(*) FROM person_leave WHERE source = ?1 AND began_at > ?2", params![source, since])
}

/// How many people of this source wait for an administrator.
pub fn count_held(tx: &Tx<'_>, source: &str) -> Result<u32, Problem> {
    tx.scalar("SELECT count(*) FROM person_leave WHERE state = 'held' AND source = ?1", params![source])
}

/// Stores a new leave.
pub fn insert_leave(tx: &Tx<'_>, l: &Leave) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO person_leave (id, person_id, source, source_name, reason, state, held_because, run_id, created_at,
                                   began_at, result)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            l.id, l.person.id, l.source, l.source_name, l.reason, l.state.as_str(), l.held_because, l.run_id,
            l.created_at, l.began_at, Json(&l.result)
        ],
    )?;
    Ok(())
}

/// Stores what was decided about a held leave; false when it is not held any more.
pub fn decide(
    tx: &Tx<'_>,
    id: &LeaveId,
    state: LeaveState,
    by: Option<&PersonId>,
    reason: Option<&str>,
) -> Result<bool, Problem> {
    let began = (state == LeaveState::Open).then(|| tx.now());
    let changed = tx.execute(
        "UPDATE person_leave SET state = ?2, decided_by = ?3, decided_at = ?4, decision_reason = ?5, began_at = ?6
         WHERE id = ?1 AND state = 'held'",
        params![id, state.as_str(), by.cloned(), tx.now(), reason, began],
    )?;
    Ok(changed == 1)
}

/// Stores how far it is.
pub fn update_result(tx: &Tx<'_>, id: &LeaveId, result: &JsonValue, done: bool) -> Result<(), Problem> {
    tx.execute(
        "UPDATE person_leave SET result = ?2, state = CASE WHEN ?3 THEN 'done' ELSE state END,
                                 done_at = CASE WHEN ?3 THEN ?4 ELSE done_at END WHERE id = ?1",
        params![id, Json(result), done, tx.now()],
    )?;
    Ok(())
}

/// The names of the groups that somebody is in.
pub fn list_groups(tx: &Tx<'_>, person: &PersonId) -> Result<Vec<String>, Problem> {
    tx.query(
        "SELECT g.name FROM group_member m JOIN person_group g ON g.id = m.group_id WHERE m.person_id = ?1 ORDER BY g.name",
        params![person],
        |r| r.get("name"),
    )
}

/// Stores whether somebody is active.
pub fn set_active(tx: &Tx<'_>, person: &PersonId, active: bool) -> Result<(), Problem> {
    tx.execute("UPDATE person SET active = ?2, updated_at = ?3 WHERE id = ?1", params![person, active, tx.now()])?;
    Ok(())
}
