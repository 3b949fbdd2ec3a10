//! Use cases of adopting: one account, or all of a plan whose person is known.

use serde_json::json;

use super::{Adoption, store};
use crate::base::access::{ExceptionMark, Principal};
use crate::base::id::{AdoptionId, AssignmentId, DifferenceId, PersonId, PlanId, RoleId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments;
use crate::features::access::assignments::ops::NewAssignment;
use crate::features::access::entitlements::{EntitlementStatus, store::get_entitlement};
use crate::features::access::grants::{self, store::list_rows};
use crate::features::access::names;
use crate::features::access::reconciliation::items::store as items;
use crate::features::access::reconciliation::listing::store::holds;
use crate::features::access::reconciliation::{Action, Item, ItemState, Plan, PlanStatus, store as plans};
use crate::features::access::roles::{Role, store::get_role};
use crate::features::audit::{self, Entry};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// The longest reason that is stored.
const REASON_CHARS: usize = 1000;

/// What accounts become.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The role whose assignment they become; it gives the entitlement of the plan.
    pub role: RoleId,
    /// Until when.
    pub expires_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Makes an assignment of one account.
pub fn adopt_one(
    tx: &Tx<'_>,
    by: &Principal,
    id: &DifferenceId,
    person: &PersonId,
    terms: &Terms,
) -> Result<AssignmentId, Problem> {
    let item = items::get_item(tx, id)?;
    let plan = plans::get_plan_no(tx, item.plan_no)?;
    check_role(tx, &plan, &terms.role)?;
    adopt(tx, by, &plan, item, person, terms)
}

/// The role must give what was found, or the account would stay nobody's.
fn check_role(tx: &Tx<'_>, plan: &Plan, role: &RoleId) -> Result<Role, Problem> {
    let role = get_role(tx, role)?;
    let gives = role.entitlements.iter().any(|e| e.id == plan.entitlement_id && e.status == EntitlementStatus::Active);
    if !gives {
        let name = get_entitlement(tx, &plan.entitlement_id)?.name;
        return Err(Problem::field("roleId", format!("the role {} does not give {name}; expected one that does", role.name)));
    }
    Ok(role)
}

fn adopt(
    tx: &Tx<'_>,
    by: &Principal,
    plan: &Plan,
    mut item: Item,
    person: &PersonId,
    terms: &Terms,
) -> Result<AssignmentId, Problem> {
    let waits = item.state == ItemState::Reported || (item.state == ItemState::Planned && plan.status == PlanStatus::Held);
    let unknown = item.grant_id.is_none() && matches!(item.action, Action::Adopt | Action::Remove);
    if !waits || !unknown {
        return Err(Problem::Conflict(format!(
            "The account {} cannot be adopted: it is to be {} and is {}.",
            item.account,
            item.action.as_str(),
            item.state.as_str()
        )));
    }
    if holds(tx, person, &plan.entitlement_id)? {
        return Err(Problem::Conflict("The person holds this entitlement already, under another account.".to_owned()));
    }
    let new = NewAssignment {
        person: person.clone(),
        role: terms.role.clone(),
        reason: terms.reason.clone(),
        run: None,
        starts_at: tx.now(),
        expires_at: Some(terms.expires_at),
        documents: Vec::new(),
    };
    let assignment = assignments::ops::grant(tx, by, new)?;
    let given = list_rows(tx, &assignment)?.into_iter().find(|g| g.entitlement_id == plan.entitlement_id);
    let account = given.map_or(Ok(None), |g| grants::ops::account_of(tx, &g))?;
    if account.as_deref() != Some(item.account.as_str()) {
        return Err(Problem::Conflict(format!(
            "For this person the account would be called {}, and {} was found. Correct the person's attributes or the \
             key of the entitlement's list first.",
            account.as_deref().unwrap_or("something unknown"),
            item.account
        )));
    }
    item.state = ItemState::Done;
    item.person_id = Some(person.clone());
    item.assignment_id = Some(assignment.clone());
    item.error = None;
    items::update_item(tx, &item)?;
    let entry = Entry {
        action: "account.adopted",
        entity: "assignment",
        entity_id: assignment.to_string(),
        reason: Some(terms.reason.clone()),
        prev: Some(json!({ "account": item.account, "attributes": item.attributes })),
        new: Some(json!({ "planId": plan.id, "itemId": item.id, "personId": person, "expiresAt": terms.expires_at })),
    };
    audit::append(tx, by, entry)?;
    Ok(assignment)
}

/// How many accounts of a plan can be adopted at once.
pub fn count(tx: &Tx<'_>, plan: &PlanId) -> Result<u64, Problem> {
    items::count_adoptable(tx, plans::get_plan(tx, plan)?.no)
}

/// Begins to make assignments of all accounts of a plan whose person is known. A conflict when there are not
/// as many as were seen.
pub fn begin(tx: &Tx<'_>, by: &Principal, plan: &PlanId, terms: &Terms, expected: u64) -> Result<Adoption, Problem> {
    let plan = plans::get_plan(tx, plan)?;
    check_role(tx, &plan, &terms.role)?;
    if terms.expires_at <= tx.now() {
        return Err(Problem::field("expiresAt", "expected an instant after now"));
    }
    let total = items::count_adoptable(tx, plan.no)?;
    if total != expected || total == 0 {
        return Err(Problem::Conflict(format!(
            "{total} accounts of this plan can be adopted now; expected {expected}. Look at the list again and repeat."
        )));
    }
    let adoption = Adoption {
        id: tx.new_id(),
        plan_no: plan.no,
        role_id: terms.role.clone(),
        reason: terms.reason.clone(),
        expires_at: terms.expires_at,
        requested_by: by.actor().1,
        mark: by.exception.clone(),
        total,
        cursor: 0,
        adopted: 0,
        skipped: 0,
        created_at: tx.now(),
        ended_at: None,
    };
    store::insert_adoption(tx, &adoption)?;
    enqueue(tx, JobDraft::now(names::ADOPT_ACCOUNTS, json!({ "adoptionId": adoption.id })))?;
    let entry = Entry {
        action: "reconciliation.adopting",
        entity: "reconciliation",
        entity_id: plan.reconciliation_id.to_string(),
        reason: Some(terms.reason.clone()),
        prev: None,
        new: Some(json!({
            "planId": plan.id, "adoptionId": adoption.id, "roleId": terms.role, "expiresAt": terms.expires_at,
            "accounts": total,
        })),
    };
    audit::append(tx, by, entry)?;
    Ok(adoption)
}

/// Adopts the next page of accounts; true when more are left.
pub fn adopt_page(tx: &Tx<'_>, id: &AdoptionId, limit: u32) -> Result<bool, Problem> {
    let mut adoption = store::get_adoption(tx, id)?;
    if adoption.ended_at.is_some() {
        return Ok(false);
    }
    let by = Principal { exception: adoption.mark.clone(), ..Principal::system(names::ADOPT_ACCOUNTS) };
    let plan = plans::get_plan_no(tx, adoption.plan_no)?;
    let terms =
        Terms { role: adoption.role_id.clone(), expires_at: adoption.expires_at, reason: adoption.reason.clone() };
    let page = items::list_adoptable(tx, plan.no, adoption.cursor, limit)?;
    for item in page.iter().cloned() {
        adoption.cursor = item.no;
        let why_not = match &item.person_id {
            None => Some("Nobody knows whose it is.".to_owned()),
            Some(person) if stands_behind(&adoption, person) => {
                Some("Whoever asks for an adoption, or agrees to it, adopts nothing for themselves.".to_owned())
            }
            Some(person) => match tx.savepoint(|tx| adopt(tx, &by, &plan, item.clone(), person, &terms))? {
                Ok(_) => None,
                Err(internal @ Problem::Internal(_)) => return Err(internal),
                Err(problem) => Some(problem.to_string()),
            },
        };
        match why_not {
            None => adoption.adopted += 1,
            Some(why) => {
                adoption.skipped += 1;
                let error = Some(why.chars().take(REASON_CHARS).collect());
                items::update_item(tx, &Item { error, ..item })?;
            }
        }
    }
    let more = page.len() == limit as usize;
    if !more {
        adoption.ended_at = Some(tx.now());
    }
    store::update_adoption(tx, &adoption)?;
    Ok(more)
}

fn stands_behind(adoption: &Adoption, person: &PersonId) -> bool {
    let people = |mark: &ExceptionMark| [mark.requested_by.clone(), mark.decided_by.clone()];
    let marked = adoption.mark.as_ref().map(people).into_iter().flatten().flatten();
    marked.into_iter().any(|p| p == *person) || adoption.requested_by == person.to_string()
}
