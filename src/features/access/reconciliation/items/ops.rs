//! Carrying items out, and following them until the connected system confirmed them.

use serde_json::{Value, json};

use super::store;
use crate::base::access::Principal;
use crate::base::id::{ConnectorId, DifferenceId, JobId};
use crate::base::problem::Problem;
use crate::features::access::entitlements::{Call, ops::render_removal, store::get_entitlement};
use crate::features::access::grants::{self, Wanted, store::get_row, store::list_by_account};
use crate::features::access::names;
use crate::features::access::reconciliation::listing::store::{count_nameless, holds};
use crate::features::access::reconciliation::{Action, Item, ItemState, Plan, PlanStatus, plan, store as plans};
use crate::features::audit::{self, Entry};
use crate::platform::queue::views::{JobState, get_job};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// The longest reason that is stored.
const REASON_CHARS: usize = 1000;

/// Sets a page of planned items in motion; true when more may be left.
pub fn apply_page(tx: &Tx<'_>, by: &Principal, plan_no: i64, limit: u32) -> Result<bool, Problem> {
    let plan = plans::get_plan_no(tx, plan_no)?;
    if plan.status != PlanStatus::Applying {
        return Ok(false);
    }
    let page = store::list_in_state(tx, plan_no, ItemState::Planned, 0, limit)?;
    for mut item in page.iter().cloned() {
        let applied = tx.savepoint(|tx| apply(tx, by, &plan, &mut item))?;
        match applied {
            Ok(()) => {}
            Err(internal @ Problem::Internal(_)) => return Err(internal),
            Err(problem) => {
                item.state = ItemState::Failed;
                item.error = Some(short(&problem.to_string()));
            }
        }
        store::update_item(tx, &item)?;
    }
    Ok(page.len() == limit as usize)
}

fn apply(tx: &Tx<'_>, by: &Principal, plan: &Plan, item: &mut Item) -> Result<(), Problem> {
    let begun = match (item.action, item.grant_id.clone(), item.generation) {
        (Action::Add, Some(grant), Some(generation)) => {
            let begun = grants::ops::give_again(tx, by, &grant, generation)?;
            // Whoever else holds the account needs it as well: should this one end first, it is still given.
            for other in list_by_account(tx, &plan.entitlement_id, &item.account)? {
                if begun && other.id != grant && other.wanted == Wanted::Present {
                    grants::ops::give_again(tx, by, &other.id, other.generation)?;
                }
            }
            begun
        }
        (Action::Remove, Some(grant), Some(generation)) => {
            let behind = list_by_account(tx, &plan.entitlement_id, &item.account)?;
            let needed = behind.iter().any(|g| g.wanted == Wanted::Present);
            !needed && grants::ops::take_again(tx, by, &grant, generation)?
        }
        (Action::Remove, None, _) => {
            let key = format!("{}-{}", names::REMOVE_ACCOUNT, item.id);
            let draft = JobDraft::now(names::REMOVE_ACCOUNT, json!({ "itemId": item.id })).with_key(key);
            item.job_id = Some(enqueue(tx, draft)?);
            true
        }
        (action, _, _) => return Err(Problem::internal(format!("an item to {} has no grant", action.as_str()))),
    };
    if begun {
        item.state = ItemState::Applying;
        item.generation = item.generation.map(|g| g + 1);
    } else {
        item.state = ItemState::Skipped;
        item.error = Some("Its access changed after it was compared; the next reconciliation looks again.".to_owned());
    }
    Ok(())
}

/// Looks how a page of items that were set in motion stand; the last of the page, if there may be more.
pub fn follow_page(tx: &Tx<'_>, plan_no: i64, after: i64, limit: u32) -> Result<Option<i64>, Problem> {
    let page = store::list_in_state(tx, plan_no, ItemState::Applying, after, limit)?;
    for mut item in page.iter().cloned() {
        let (state, error) = match (&item.grant_id, &item.job_id) {
            (Some(grant), _) => {
                let grant = get_row(tx, grant)?;
                (plan::item_after(item.action, grant.wanted, grant.state), grant.last_error)
            }
            (None, Some(job)) if is_over(tx, job)? => {
                (ItemState::Failed, Some("The job that should remove it ended without an answer.".to_owned()))
            }
            _ => (ItemState::Applying, None),
        };
        if state != item.state {
            item.state = state;
            item.error = error.filter(|_| state == ItemState::Failed);
            store::update_item(tx, &item)?;
        }
    }
    Ok(if page.len() < limit as usize { None } else { page.last().map(|i| i.no) })
}

/// Whether nothing comes of a job any more.
pub fn is_over(tx: &Tx<'_>, job: &JobId) -> Result<bool, Problem> {
    match get_job(tx, job) {
        Ok(view) => Ok(matches!(view.state, JobState::Completed | JobState::Failed)),
        Err(Problem::Missing { .. }) => Ok(true),
        Err(other) => Err(other),
    }
}

/// What a job finds that is to remove an account.
#[derive(Debug)]
pub enum Removal {
    /// Nothing is left to do.
    Over,
    /// It cannot be done.
    Cannot(Problem),
    /// Make this call.
    Go {
        /// Where.
        connector: ConnectorId,
        /// Which.
        call: Call,
        /// The same for each try.
        key: String,
    },
}

/// Claims the removal of an account that no grant stands behind, and says how it is made.
pub fn begin_removal(tx: &Tx<'_>, id: &DifferenceId, job: &JobId) -> Result<Removal, Problem> {
    let mut item = store::get_item(tx, id)?;
    if item.state != ItemState::Applying {
        return Ok(Removal::Over);
    }
    let plan = plans::get_plan_no(tx, item.plan_no)?;
    let entitlement = get_entitlement(tx, &plan.entitlement_id)?;
    if entitlement.terms() != plan.terms {
        item.state = ItemState::Skipped;
        item.error = Some("The entitlement is listed or reconciled otherwise by now; the next reconciliation looks again.".to_owned());
        store::update_item(tx, &item)?;
        return Ok(Removal::Over);
    }
    let held = item.person_id.as_ref().map_or(Ok(false), |person| holds(tx, person, &plan.entitlement_id))?;
    // Somebody's grant may have lost the name of its account since the comparison.
    let held = held || count_nameless(tx, &plan.entitlement_id)? > 0;
    if held || !grants::ops::claim_account(tx, &plan.entitlement_id, &item.account, job)? {
        item.state = ItemState::Skipped;
        item.error = Some("Somebody holds it by now, or may hold it.".to_owned());
        store::update_item(tx, &item)?;
        return Ok(Removal::Over);
    }
    let attributes = item.attributes.clone().unwrap_or(Value::Null);
    Ok(match render_removal(&entitlement, &item.account, &attributes) {
        Ok(Some(call)) => Removal::Go { connector: plan.connector_id, call, key: format!("{}-remove", item.id) },
        Ok(None) => Removal::Cannot(Problem::refused("The entitlement does not say any more how an account is removed.")),
        Err(why) => Removal::Cannot(why),
    })
}

/// Records how the removal of an account ended: done, or why not.
pub fn end_removal(tx: &Tx<'_>, by: &Principal, id: &DifferenceId, failed: Option<&str>) -> Result<(), Problem> {
    let mut item = store::get_item(tx, id)?;
    if item.state != ItemState::Applying {
        return Ok(());
    }
    item.state = if failed.is_some() { ItemState::Failed } else { ItemState::Done };
    item.error = failed.map(short);
    store::update_item(tx, &item)?;
    let plan = plans::get_plan_no(tx, item.plan_no)?;
    let entry = Entry {
        action: if failed.is_some() { "account.removal_failed" } else { "account.removed" },
        entity: "entitlement",
        entity_id: plan.entitlement_id.to_string(),
        reason: failed.map(short),
        prev: Some(json!({ "account": item.account, "attributes": item.attributes })),
        new: Some(json!({ "planId": plan.id, "itemId": item.id })),
    };
    audit::append(tx, by, entry)
}

fn short(text: &str) -> String {
    text.chars().take(REASON_CHARS).collect()
}
