//! SQL of items.

use serde::Serialize;
use serde_json::Value;

use super::NewItem;
use crate::base::id::{AssignmentId, DifferenceId, EntitlementId, GrantId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::reconciliation::{Action, Counts, Item, ItemState, Reason};
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

fn item(r: &Row<'_>) -> Result<Item, Problem> {
    Ok(Item {
        no: r.get("no")?,
        id: r.get("id")?,
        plan_no: r.get("plan_no")?,
        account: r.get("account")?,
        action: Action::stored(&r.get::<String>("action")?)?,
        reason: Reason::stored(&r.get::<String>("reason")?)?,
        state: ItemState::stored(&r.get::<String>("state")?)?,
        grant_id: r.get("grant_id")?,
        generation: r.get("generation")?,
        person_id: r.get("person_id")?,
        attributes: r.get::<Option<Json<Value>>>("attributes")?.map(|j| j.0),
        error: r.get("error")?,
        job_id: r.get("job_id")?,
        assignment_id: r.get("assignment_id")?,
        changed_at: r.get("changed_at")?,
    })
}

/// Stores a new item, unless its account has one in the plan.
pub fn insert_item(tx: &Tx<'_>, plan_no: i64, new: &NewItem) -> Result<(), Problem> {
    tx.execute(
        "INSERT OR IGNORE INTO reconciliation_item (id, plan_no, account, action, reason, state, grant_id, generation,
                                                    person_id, attributes, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            tx.new_id::<DifferenceId>(),
            plan_no,
            new.account,
            new.action.as_str(),
            new.reason.as_str(),
            new.state.as_str(),
            new.grant,
            new.generation,
            new.person,
            new.attributes.as_ref().map(Json),
            tx.now()
        ],
    )
    .map(drop)
}

/// Stores what may change of an item.
pub fn update_item(tx: &Tx<'_>, i: &Item) -> Result<(), Problem> {
    tx.execute(
        "UPDATE reconciliation_item SET state = ?2, generation = ?3, person_id = ?4, error = ?5, job_id = ?6,
                                        assignment_id = ?7, changed_at = ?8
         WHERE no = ?1",
        params![i.no, i.state.as_str(), i.generation, i.person_id, i.error, i.job_id, i.assignment_id, tx.now()],
    )
    .map(drop)
}

/// The item with this id; missing is a problem.
pub fn get_item(tx: &Tx<'_>, id: &DifferenceId) -> Result<Item, Problem> {
    tx.query_opt("SELECT * FROM reconciliation_item WHERE id = ?1", params![id], item)?
        .ok_or_else(|| Problem::missing("item", id))
}

/// Items of a plan in one state, after `after` by number.
pub fn list_in_state(tx: &Tx<'_>, plan_no: i64, state: ItemState, after: i64, limit: u32) -> Result<Vec<Item>, Problem> {
    tx.query(
        "SELECT * FROM reconciliation_item WHERE plan_no = ?1 AND state = ?2 AND no > ?3 ORDER BY no LIMIT ?4",
        params![plan_no, state.as_str(), after, limit],
        item,
    )
}

/// Which items to list.
#[derive(Debug, Clone, Default)]
pub struct ItemFilter {
    /// Only what asks for this.
    pub action: Option<Action>,
    /// Only for this reason.
    pub reason: Option<Reason>,
    /// Only in this state.
    pub state: Option<ItemState>,
    /// Only accounts whose name contains this.
    pub q: Option<String>,
    /// Only those whose person is known, or is not.
    pub matched: Option<bool>,
}

/// An item with the name of whose it seems to be.
pub type Named = (Item, Option<PersonRef>);

/// Items of a plan, after `after` by number.
pub fn list_items(tx: &Tx<'_>, plan_no: i64, filter: &ItemFilter, after: i64, limit: u32) -> Result<Vec<Named>, Problem> {
    tx.query(
        "SELECT i.*, p.display_name FROM reconciliation_item i LEFT JOIN person p ON p.id = i.person_id
         WHERE i.plan_no = ?1 AND i.no > ?2 AND (?3 IS NULL OR i.action = ?3) AND (?4 IS NULL OR i.reason = ?4)
           AND (?5 IS NULL OR i.state = ?5) AND (?6 IS NULL OR instr(lower(i.account), lower(?6)) > 0)
           AND (?7 IS NULL OR (i.person_id IS NOT NULL) = ?7)
         ORDER BY i.no LIMIT ?8",
        params![
            plan_no,
            after,
            filter.action.map(Action::as_str),
            filter.reason.map(Reason::as_str),
            filter.state.map(ItemState::as_str),
            filter.q,
            filter.matched,
            limit
        ],
        |r| {
            let found = item(r)?;
            let name: Option<String> = r.get("display_name")?;
            let person = found.person_id.clone().zip(name).map(|(id, display_name)| PersonRef { id, display_name });
            Ok((found, person))
        },
    )
}

/// How many items of a plan there are, by kind and state.
pub fn counts(tx: &Tx<'_>, plan_no: i64) -> Result<Counts, Problem> {
    let mut counts = Counts::default();
    tx.query(
        "SELECT action, state, count(*) AS n FROM reconciliation_item WHERE plan_no = ?1 GROUP BY action, state",
        params![plan_no],
        |r| {
            let (action, state) = (Action::stored(&r.get::<String>("action")?)?, ItemState::stored(&r.get::<String>("state")?)?);
            counts.count(action, state, r.get("n")?);
            Ok(())
        },
    )?;
    Ok(counts)
}

/// How many removals of a plan wait for it.
pub fn count_planned_removals(tx: &Tx<'_>, plan_no: i64) -> Result<u64, Problem> {
    tx.scalar(
        "SELECT count(*) FROM reconciliation_item WHERE plan_no = ?1 AND state = 'planned' AND action = 'remove'",
        params![plan_no],
    )
}

/// How many accounts of a plan can be adopted all at once: their person is known and nothing happened to them.
pub fn count_adoptable(tx: &Tx<'_>, plan_no: i64) -> Result<u64, Problem> {
    tx.scalar(
        "SELECT count(*) FROM reconciliation_item
         WHERE plan_no = ?1 AND state = 'reported' AND action = 'adopt' AND person_id IS NOT NULL",
        params![plan_no],
    )
}

/// Those accounts, after `after` by number.
pub fn list_adoptable(tx: &Tx<'_>, plan_no: i64, after: i64, limit: u32) -> Result<Vec<Item>, Problem> {
    tx.query(
        "SELECT * FROM reconciliation_item
         WHERE plan_no = ?1 AND state = 'reported' AND action = 'adopt' AND person_id IS NOT NULL AND no > ?2
         ORDER BY no LIMIT ?3",
        params![plan_no, after, limit],
        item,
    )
}

/// Lets no account be removed behind which a grant stands in another spelling: what is missing under one
/// name and unknown under another is one account.
pub fn keep_other_spellings(tx: &Tx<'_>, plan_no: i64) -> Result<(), Problem> {
    tx.execute(
        "UPDATE reconciliation_item SET action = 'ignore', reason = 'other_spelling', state = 'reported'
         WHERE plan_no = ?1 AND action IN ('remove', 'adopt') AND grant_id IS NULL
           AND lower(replace(account, ' ', '')) IN
               (SELECT lower(replace(account, ' ', '')) FROM reconciliation_item WHERE plan_no = ?1 AND reason = 'missing')",
        params![plan_no],
    )
    .map(drop)
}

/// Lets no account that nobody is known to stand behind be removed while one that should be there is not: a
/// connected system that renames an account shows it as one that is missing and one that is unknown.
pub fn keep_while_others_are_missing(tx: &Tx<'_>, plan_no: i64) -> Result<(), Problem> {
    tx.execute(
        "UPDATE reconciliation_item SET action = 'adopt', reason = 'others_missing', state = 'reported'
         WHERE plan_no = ?1 AND action = 'remove' AND grant_id IS NULL
           AND EXISTS (SELECT 1 FROM reconciliation_item WHERE plan_no = ?1 AND reason IN ('missing', 'changed'))",
        params![plan_no],
    )
    .map(drop)
}

/// Forgets what older plans of an entitlement only told; true when more is left.
pub fn forget_told(tx: &Tx<'_>, entitlement: &EntitlementId, kept_plans: u32, limit: u32) -> Result<bool, Problem> {
    let gone = tx.execute(
        "DELETE FROM reconciliation_item WHERE no IN (
             SELECT i.no FROM reconciliation_item i
             WHERE i.state = 'reported' AND i.plan_no IN (
                 SELECT p.no FROM reconciliation_plan p WHERE p.entitlement_id = ?1 ORDER BY p.no DESC LIMIT -1 OFFSET ?2)
             LIMIT ?3)",
        params![entitlement, kept_plans, limit],
    )?;
    Ok(gone == limit as usize)
}

/// Access that ended and that the connected system has not let go of, or has again.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StillPresent {
    /// The grant.
    pub grant_id: GrantId,
    /// Of which assignment.
    pub assignment_id: AssignmentId,
    /// Who had it.
    pub person: PersonRef,
    /// What they had.
    pub entitlement_id: EntitlementId,
    /// How that is called.
    pub entitlement_name: String,
    /// How the connected system is called.
    pub connector_name: String,
    /// What the connected system calls it.
    pub account: Option<String>,
    /// Since when it should be gone.
    pub since: Timestamp,
    /// Why it could not be taken away.
    pub last_error: Option<String>,
}

/// Where access is still present: on its way out, or found by the newest reconciliation of its entitlement.
const STILL_PRESENT: &str = "
    SELECT g.id FROM access_grant g
    WHERE g.state IN ('pending', 'failed', 'deprovisioning') AND g.wanted = 'absent' AND g.changed_at <= ?1
    UNION
    SELECT i.grant_id FROM reconciliation_item i
    JOIN access_grant g ON g.id = i.grant_id
    WHERE i.state IN ('reported', 'planned') AND i.reason = 'still_there' AND g.state = 'deprovisioned'
      AND i.plan_no IN (SELECT max(q.no) FROM reconciliation_plan q
                        WHERE q.compared_at IS NOT NULL GROUP BY q.entitlement_id)";

/// Access that ended before `until` and is still present, after `after` by the grant's id.
pub fn list_still_present(tx: &Tx<'_>, until: Timestamp, after: &str, limit: u32) -> Result<Vec<StillPresent>, Problem> {
    tx.query(
        &format!(
            "SELECT g.id, g.assignment_id, g.person_id, p.display_name, g.entitlement_id, e.name AS entitlement_name,
                    c.name AS connector_name, g.account, g.last_error,
                    coalesce(a.ended_at, min(coalesce(a.expires_at, g.changed_at), g.changed_at)) AS since
             FROM access_grant g
             JOIN assignment a ON a.id = g.assignment_id
             JOIN person p ON p.id = g.person_id
             JOIN entitlement e ON e.id = g.entitlement_id
             JOIN connector c ON c.id = e.connector_id
             WHERE g.id IN ({STILL_PRESENT}) AND g.id > ?2
             ORDER BY g.id LIMIT ?3"
        ),
        params![until, after, limit],
        |r| {
            Ok(StillPresent {
                grant_id: r.get("id")?,
                assignment_id: r.get("assignment_id")?,
                person: PersonRef { id: r.get("person_id")?, display_name: r.get("display_name")? },
                entitlement_id: r.get("entitlement_id")?,
                entitlement_name: r.get("entitlement_name")?,
                connector_name: r.get("connector_name")?,
                account: r.get::<Option<String>>("account")?.filter(|a| !a.is_empty()),
                since: r.get("since")?,
                last_error: r.get("last_error")?,
            })
        },
    )
}

/// How much access ended before `until` and is still present, counted to 1,000.
pub fn count_still_present(tx: &Tx<'_>, until: Timestamp) -> Result<u64, Problem> {
    tx.scalar(&format!("SELECT count(*) FROM (SELECT * FROM ({STILL_PRESENT}) LIMIT 1000)"), params![until])
}
