//! Staging pages, and turning what is staged into the items of a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::store::{self, Range};
use super::{Compared, KeyForm, MAX_KEY, emails_of, kept};
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::features::access::entitlements::{Entitlement, ListCall};
use crate::features::access::grants::store::get_row;
use crate::features::access::reconciliation::items::NewItem;
use crate::features::access::reconciliation::plan::{self, Stranger, Verdict};
use crate::features::access::reconciliation::store as plans;
use crate::features::access::reconciliation::{Action, Pass, Plan, PlanStatus, Reason};
use crate::features::connectors::{CallFailure, Found, ListPage};
use crate::platform::store::Tx;

/// Accounts that are compared at once.
pub const CHUNK: u32 = 10_000;

/// What makes a page useless, whatever connector it comes from.
pub fn check_page(page: &ListPage, cursor: Option<&str>) -> Result<(), CallFailure> {
    if page.items.iter().any(|found| found.key.is_empty() || found.key.len() > MAX_KEY) {
        return Err(CallFailure::bad_answer(format!("an account has no key, or one of more than {MAX_KEY} bytes")));
    }
    match (&page.next, page.complete) {
        (Some(_), true) => Err(CallFailure::bad_answer("it is not clear whether the list goes on")),
        (None, false) => Err(CallFailure::incomplete("it ends and the system does not say that this was all")),
        (Some(next), false) if Some(next.as_str()) == cursor => Err(CallFailure::incomplete("it leads back to the same page")),
        _ => Ok(()),
    }
}

/// The plan as the listing begins: from here on, what changes of a grant is newer than the list.
pub fn begin(tx: &Tx<'_>, no: i64) -> Result<Plan, Problem> {
    let mut plan = plans::get_plan_no(tx, no)?;
    if plan.status == PlanStatus::Listing && plan.pages == 0 {
        plan.started_at = tx.now();
        plan.cursor = None;
        plan.seen = 0;
        plans::update_plan(tx, &plan)?;
    }
    Ok(plan)
}

/// Forgets what came, so that the list is asked for from its beginning.
pub fn start_over(tx: &Tx<'_>, no: i64) -> Result<(), Problem> {
    let mut plan = plans::get_plan_no(tx, no)?;
    if plan.status == PlanStatus::Listing {
        (plan.pages, plan.seen, plan.cursor) = (0, 0, None);
        plans::update_plan(tx, &plan)?;
    }
    Ok(())
}

/// Stages a part of a page.
pub fn stage(tx: &Tx<'_>, plan: &Plan, list: &ListCall, part: &[Found]) -> Result<(), Problem> {
    for found in part {
        let account = list.comparable(&found.key);
        store::stage(tx, plan.no, &plan.entitlement_id, &account, &kept(&found.attributes))?;
    }
    Ok(())
}

/// Turns the page: what was asked for with `cursor` is staged, with its last part. Answers the plan after it.
pub fn turn(
    tx: &Tx<'_>,
    (no, list): (i64, &ListCall),
    cursor: Option<&str>,
    last: &[Found],
    entries: u64,
    next: Option<&str>,
) -> Result<Plan, Problem> {
    let mut plan = plans::get_plan_no(tx, no)?;
    if plan.status != PlanStatus::Listing || plan.cursor.as_deref() != cursor {
        return Err(Problem::Conflict("Another job is at this plan.".to_owned()));
    }
    stage(tx, &plan, list, last)?;
    plan.pages += 1;
    plan.seen += entries;
    plan.cursor = next.map(str::to_owned);
    if next.is_none() {
        plan.status = PlanStatus::Comparing;
        plan.pass = Pass::Found;
        plan.found = store::count_found(tx, no)?;
        plan.nameless = store::count_nameless(tx, &plan.entitlement_id)?;
    }
    plans::update_plan(tx, &plan)?;
    Ok(plan)
}

/// A part of the comparison.
#[derive(Debug)]
pub struct Part {
    /// The differences in it.
    pub items: Vec<NewItem>,
    /// Accounts in it that are to be there.
    pub expected: u64,
    /// Where the next part begins; nothing when this pass is through.
    pub bound: Option<String>,
}

/// Compares the next accounts of a plan. Only reads.
pub fn compare(tx: &Tx<'_>, plan: &Plan, entitlement: &Entitlement, limit: u32) -> Result<Part, Problem> {
    let after = plan.cursor.as_deref().unwrap_or("");
    let of = (plan.no, &plan.entitlement_id);
    let mut expected = 0;
    let mut differing = |c: Compared| {
        expected += u64::from(c.facts.live + c.facts.wanting > 0);
        let verdict = plan::judge(&c.facts);
        (verdict != Verdict::Fine).then_some((c, verdict))
    };
    let (bound, differing) = match plan.pass {
        Pass::Found => {
            let bound = store::find_bound(tx, plan.no, after, limit)?;
            let range = Range { after, upto: bound.as_deref() };
            (bound.clone(), store::compare_found(tx, of, &range, plan.started_at, &mut differing)?)
        }
        Pass::Grants => {
            let bound = store::find_grant_bound(tx, &plan.entitlement_id, after, limit)?;
            let range = Range { after, upto: bound.as_deref() };
            (bound.clone(), store::compare_grants(tx, of, &range, plan.started_at, &mut differing)?)
        }
    };
    let mut items = Vec::with_capacity(differing.len());
    let mut strangers = Vec::new();
    for (compared, verdict) in differing {
        match verdict {
            Verdict::Fine => {}
            Verdict::Unknown => strangers.push(compared),
            Verdict::Differs(action, reason) => items.push(known(tx, plan, compared, action, reason)?),
        }
    }
    items.extend(unknown(tx, plan, entitlement, strangers)?);
    Ok(Part { items, expected, bound })
}

/// The item of an account that a grant stands behind.
fn known(tx: &Tx<'_>, plan: &Plan, c: Compared, action: Action, reason: Reason) -> Result<NewItem, Problem> {
    let grant = c.grant.map(|id| get_row(tx, &id)).transpose()?;
    Ok(NewItem {
        state: plan::first_state(plan.policy, action, reason),
        account: c.account,
        action,
        reason,
        generation: grant.as_ref().map(|g| g.generation),
        person: grant.as_ref().map(|g| g.person_id.clone()),
        grant: grant.map(|g| g.id),
        attributes: None,
    })
}

/// The items of accounts that no grant ever stood behind.
fn unknown(tx: &Tx<'_>, plan: &Plan, entitlement: &Entitlement, all: Vec<Compared>) -> Result<Vec<NewItem>, Problem> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let mut people = match_people(tx, plan, entitlement, &all)?;
    let mut items = Vec::with_capacity(all.len());
    for compared in all {
        let person = people.remove(&compared.account);
        let holds = |person: &PersonId| store::holds(tx, person, &plan.entitlement_id);
        let (action, reason) = plan::judge_unknown(&Stranger {
            policy: plan.policy,
            removable: entitlement.reconcile.remove.is_some(),
            all_named: plan.nameless == 0,
            holds_otherwise: person.as_ref().map_or(Ok(false), holds)?,
        });
        items.push(NewItem {
            state: plan::first_state(plan.policy, action, reason),
            account: compared.account,
            action,
            reason,
            grant: None,
            generation: None,
            person,
            attributes: compared.attributes,
        });
    }
    Ok(items)
}

/// Whose the accounts seem to be: by what ties them to a person, then by the attribute that their key is
/// made of, then by an address. Where two people fit equally well, nobody does.
fn match_people(
    tx: &Tx<'_>,
    plan: &Plan,
    entitlement: &Entitlement,
    all: &[Compared],
) -> Result<BTreeMap<String, PersonId>, Problem> {
    let accounts: Vec<&str> = all.iter().map(|c| c.account.as_str()).collect();
    let linked = store::match_by_link(tx, &plan.connector_id, &accounts)?;
    let mut by_attribute = Vec::new();
    if let Some(form) = KeyForm::of(entitlement) {
        let ignore_case = entitlement.list.as_ref().is_some_and(|l| l.ignore_case);
        let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for account in &accounts {
            if let Some(value) = form.value_in(account, ignore_case) {
                named.entry(value).or_default().push(account);
            }
        }
        let values: Vec<&str> = named.keys().copied().collect();
        for (value, person) in store::match_by_attribute(tx, &form.attribute, ignore_case, &values)? {
            for account in named.get(value.as_str()).into_iter().flatten() {
                by_attribute.push(((*account).to_owned(), person.clone()));
            }
        }
    }
    let mut addressed: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for compared in all {
        for email in compared.attributes.as_ref().map(emails_of).unwrap_or_default() {
            addressed.entry(email).or_default().push(&compared.account);
        }
    }
    let emails: Vec<String> = addressed.keys().cloned().collect();
    let mut by_email = Vec::new();
    for (email, person) in store::match_by_email(tx, &emails)? {
        for account in addressed.get(&email).into_iter().flatten() {
            by_email.push(((*account).to_owned(), person.clone()));
        }
    }
    let mut found = unambiguous(by_email);
    found.extend(unambiguous(by_attribute));
    found.extend(unambiguous(linked));
    Ok(found)
}

fn unambiguous(pairs: Vec<(String, PersonId)>) -> BTreeMap<String, PersonId> {
    let mut found: BTreeMap<String, BTreeSet<PersonId>> = BTreeMap::new();
    for (account, person) in pairs {
        found.entry(account).or_default().insert(person);
    }
    let alone = found.into_iter().filter(|(_, people)| people.len() == 1);
    alone.filter_map(|(account, people)| Some((account, people.into_iter().next()?))).collect()
}
