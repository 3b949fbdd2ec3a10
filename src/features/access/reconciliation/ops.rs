//! Use cases of reconciliations: starting one, settling what a comparison came to, deciding what is held.

use std::time::Duration;

use serde_json::{Value, json};

use super::items::{self, store::counts};
use super::plan::{self, Compared, Threshold};
use super::{Kind, Pass, Plan, PlanStatus, Reconciliation, Status, store};
use crate::base::access::{Principal, SystemRole};
use crate::base::id::{EntitlementId, PlanId, ReconciliationId};
use crate::base::problem::{FieldError, Problem};
use crate::features::access::entitlements::store::{find_entitlement, get_entitlement, list_listable};
use crate::features::access::names;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::store::people_with_role;
use crate::features::notifications::{self, Message};
use crate::features::settings::{self, MAX_REMOVAL_PERCENT, MAX_REMOVALS};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// What belongs together when removals are counted.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest reason that is stored.
const REASON_CHARS: usize = 1000;

/// Begins a reconciliation of these entitlements, or of all that can be listed. Nothing when there is none to
/// begin with: each of them has a plan that a job is at.
///
/// # Errors
/// What is asked for by name must be there, say how it is listed, and have no job at it.
pub fn start(
    tx: &Tx<'_>,
    by: &Principal,
    kind: Kind,
    wanted: Option<&[EntitlementId]>,
) -> Result<Option<Reconciliation>, Problem> {
    let ids = match wanted {
        Some(ids) => named(tx, ids)?,
        None => list_listable(tx)?,
    };
    let mut free = Vec::with_capacity(ids.len());
    for id in ids {
        match store::find_open_plan(tx, &id)? {
            None => free.push(id),
            Some(plan) if items::ops::is_over(tx, &plan.job_id)? => {
                fail(tx, by, plan, "interrupted", "The job ended before it was through.")?;
                free.push(id);
            }
            Some(_) if wanted.is_some() => {
                let name = get_entitlement(tx, &id)?.name;
                return Err(Problem::Conflict(format!("The entitlement {name} is being reconciled already; wait for its end.")));
            }
            Some(_) => {}
        }
    }
    if free.is_empty() {
        return Ok(None);
    }
    let reconciliation = Reconciliation {
        id: tx.new_id(),
        kind,
        requested_by: by.actor().1,
        status: Status::Running,
        started_at: tx.now(),
        ended_at: None,
    };
    store::insert_reconciliation(tx, &reconciliation)?;
    for id in &free {
        add_plan(tx, &reconciliation, id)?;
    }
    let new = json!({ "kind": kind, "entitlements": free });
    record(tx, by, "reconciliation.started", &reconciliation.id, None, new)?;
    Ok(Some(reconciliation))
}

fn named(tx: &Tx<'_>, ids: &[EntitlementId]) -> Result<Vec<EntitlementId>, Problem> {
    let mut faults = Vec::new();
    let ids: std::collections::BTreeSet<_> = ids.iter().cloned().collect();
    if ids.is_empty() {
        return Err(Problem::field("entitlementIds", "expected at least one, or nothing for all"));
    }
    for id in &ids {
        let message = match find_entitlement(tx, id)? {
            None => format!("there is no entitlement {id}"),
            Some(e) if e.list.is_none() => {
                format!("the entitlement {} does not say how its accounts are listed; set its list first", e.name)
            }
            Some(_) => continue,
        };
        faults.push(FieldError { field: "entitlementIds".to_owned(), message });
    }
    Problem::from_fields(faults)?;
    Ok(ids.into_iter().collect())
}

fn add_plan(tx: &Tx<'_>, reconciliation: &Reconciliation, id: &EntitlementId) -> Result<(), Problem> {
    let entitlement = get_entitlement(tx, id)?;
    let plan_id: PlanId = tx.new_id();
    let plan = Plan {
        no: 0,
        terms: entitlement.terms(),
        reconciliation_id: reconciliation.id.clone(),
        entitlement_id: entitlement.id,
        connector_id: entitlement.connector_id,
        policy: entitlement.reconcile.policy,
        dry_run: reconciliation.kind == Kind::DryRun,
        status: PlanStatus::Listing,
        job_id: enqueue(tx, JobDraft::now(names::RECONCILE_ENTITLEMENT, json!({ "planId": plan_id })))?,
        id: plan_id,
        pass: Pass::Found,
        cursor: None,
        pages: 0,
        seen: 0,
        found: 0,
        expected: 0,
        nameless: 0,
        removals: 0,
        why: None,
        detail: None,
        started_at: tx.now(),
        compared_at: None,
        let_go_at: None,
        ended_at: None,
        decided_by: None,
        decided_at: None,
        decision_reason: None,
    };
    store::insert_plan(tx, &plan)
}

/// The threshold in force.
pub fn threshold(tx: &Tx<'_>) -> Result<Threshold, Problem> {
    Ok(Threshold {
        percent: settings::ops::built_in_number(tx, MAX_REMOVAL_PERCENT)?.value,
        removals: settings::ops::built_in_number(tx, MAX_REMOVALS)?.value,
    })
}

/// The comparison is through: the plan is let go, held, or over.
pub fn conclude(tx: &Tx<'_>, by: &Principal, no: i64) -> Result<(), Problem> {
    let mut plan = store::get_plan_no(tx, no)?;
    if plan.status != PlanStatus::Comparing {
        return Ok(());
    }
    items::store::keep_other_spellings(tx, no)?;
    items::store::keep_while_others_are_missing(tx, no)?;
    plan.compared_at = Some(tx.now());
    plan.cursor = None;
    // Stored before the scopes are counted: what this listing found belongs to them.
    store::update_plan(tx, &plan)?;
    let removals = items::store::count_planned_removals(tx, no)?;
    let scopes = store::scopes(tx, &plan, removals, tx.now().minus(DAY))?;
    let names = ["of this entitlement", "in this connected system", "in all connected systems"];
    let scopes = [(names[0], scopes[0]), (names[1], scopes[1]), (names[2], scopes[2])];
    let compared = Compared {
        planned: counts(tx, no)?.planned,
        found: plan.found,
        // Those whose account cannot be told are expected as well.
        expected: plan.expected + plan.nameless,
        dry_run: plan.dry_run,
        over: plan::over_threshold(threshold(tx)?, scopes),
    };
    let (status, why) = plan::after_comparison(&compared);
    plan.status = status;
    (plan.why, plan.detail) = why.map(|(why, detail)| (why.to_owned(), detail)).unzip();
    match status {
        PlanStatus::Applying => let_go(tx, &mut plan)?,
        PlanStatus::Held => tell_held(tx, &plan)?,
        _ => plan.ended_at = Some(tx.now()),
    }
    store::update_plan(tx, &plan)?;
    note(tx, by, "reconciliation.compared", &plan, None)?;
    if !plan.dry_run {
        for mut older in store::list_held_before(tx, &plan.entitlement_id, plan.no)? {
            older.status = PlanStatus::Superseded;
            older.ended_at = Some(tx.now());
            store::update_plan(tx, &older)?;
            note(tx, by, "reconciliation.superseded", &older, None)?;
            settle(tx, by, &older.reconciliation_id)?;
        }
    }
    settle(tx, by, &plan.reconciliation_id)
}

/// From here on what the plan removes counts among what was removed.
fn let_go(tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Problem> {
    plan.removals = items::store::count_planned_removals(tx, plan.no)?;
    plan.let_go_at = Some(tx.now());
    Ok(())
}

fn tell_held(tx: &Tx<'_>, plan: &Plan) -> Result<(), Problem> {
    let entitlement = get_entitlement(tx, &plan.entitlement_id)?;
    let message = Message {
        subject: format!("A reconciliation is held: {}", entitlement.name),
        body: format!(
            "{} Look at what it found and approve or reject it; until then nothing of it is carried out.",
            plan.detail.as_deref().unwrap_or_default()
        ),
        link: Some(format!("/reconciliation?id={}&plan={}", plan.reconciliation_id, plan.id)),
        kind: "reconciliation",
    };
    notifications::ops::notify(tx, &people_with_role(tx, SystemRole::Admin)?, message)
}

/// Ends a plan that could not be listed whole: nothing of it is carried out.
pub fn fail(tx: &Tx<'_>, by: &Principal, mut plan: Plan, why: &str, detail: &str) -> Result<(), Problem> {
    if !plan.status.is_open() {
        return Ok(());
    }
    plan.status = PlanStatus::Failed;
    plan.why = Some(why.to_owned());
    plan.detail = Some(detail.chars().take(REASON_CHARS).collect());
    plan.ended_at = Some(tx.now());
    store::update_plan(tx, &plan)?;
    note(tx, by, "reconciliation.failed", &plan, plan.detail.clone())?;
    settle(tx, by, &plan.reconciliation_id)
}

/// Ends a plan all of whose items came to rest. False when one of them did not yet.
pub fn finish(tx: &Tx<'_>, by: &Principal, no: i64) -> Result<bool, Problem> {
    let mut plan = store::get_plan_no(tx, no)?;
    if plan.status != PlanStatus::Applying {
        return Ok(true);
    }
    let counts = counts(tx, no)?;
    if counts.applying + counts.planned > 0 {
        return Ok(false);
    }
    plan.ended_at = Some(tx.now());
    if counts.failed > 0 {
        plan.status = PlanStatus::Failed;
        plan.why = Some("items".to_owned());
        plan.detail = Some(format!("{} of its items failed; each says why.", counts.failed));
    } else {
        plan.status = PlanStatus::Completed;
    }
    store::update_plan(tx, &plan)?;
    note(tx, by, "reconciliation.applied", &plan, None)?;
    settle(tx, by, &plan.reconciliation_id)?;
    Ok(true)
}

/// Decides about a plan that is held: lets it go, or ends it.
pub fn decide(
    tx: &Tx<'_>,
    by: &Principal,
    (reconciliation, id): (&ReconciliationId, &PlanId),
    approve: bool,
    reason: &str,
) -> Result<(), Problem> {
    let mut plan = plan_of(tx, reconciliation, id)?;
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS {
        return Err(Problem::field("reason", format!("expected 1 to {REASON_CHARS} characters")));
    }
    if plan.status != PlanStatus::Held {
        return Err(Problem::Conflict(format!("The plan is {} and not held; nothing is left to decide.", plan.status.as_str())));
    }
    if approve && store::find_open_plan(tx, &plan.entitlement_id)?.is_some() {
        return Err(Problem::Conflict(
            "The entitlement is being reconciled again right now; its new plan takes the place of this one.".to_owned(),
        ));
    }
    if approve && get_entitlement(tx, &plan.entitlement_id)?.terms() != plan.terms {
        return Err(Problem::Conflict(
            "The entitlement is listed or reconciled otherwise since this plan was made. Reconcile it again and look at that plan."
                .to_owned(),
        ));
    }
    plan.decided_by = Some(by.actor().1);
    plan.decided_at = Some(tx.now());
    plan.decision_reason = Some(reason.to_owned());
    let action = if approve {
        plan.status = PlanStatus::Applying;
        let_go(tx, &mut plan)?;
        plan.job_id = enqueue(tx, JobDraft::now(names::RECONCILE_ENTITLEMENT, json!({ "planId": plan.id })))?;
        "reconciliation.approved"
    } else {
        plan.status = PlanStatus::Rejected;
        plan.ended_at = Some(tx.now());
        "reconciliation.rejected"
    };
    store::update_plan(tx, &plan)?;
    note(tx, by, action, &plan, Some(reason.to_owned()))?;
    settle(tx, by, &plan.reconciliation_id)
}

/// How long access may take to be taken away before somebody should look.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is wrong in connected systems, in a sentence; nothing when all is well.
pub fn trouble(tx: &Tx<'_>) -> Result<Option<String>, Problem> {
    let still = items::store::count_still_present(tx, tx.now().minus(PATIENCE))?;
    let (failed, held) = store::count_troubled(tx)?;
    let parts = [
        (still, "access that ended and is still present"),
        (failed, "entitlements that could not be reconciled"),
        (held, "reconciliations that wait for a decision"),
    ];
    let told: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{what}: {n}")).collect();
    Ok((!told.is_empty()).then(|| told.join("; ")))
}

/// A plan as a part of the reconciliation that it is asked for with.
pub fn plan_of(tx: &Tx<'_>, reconciliation: &ReconciliationId, id: &PlanId) -> Result<Plan, Problem> {
    let plan = store::get_plan(tx, id)?;
    if plan.reconciliation_id != *reconciliation {
        return Err(Problem::missing("plan", id));
    }
    Ok(plan)
}

/// Brings a reconciliation's status in line with its plans.
fn settle(tx: &Tx<'_>, by: &Principal, id: &ReconciliationId) -> Result<(), Problem> {
    let reconciliation = store::get_reconciliation(tx, id)?;
    let plans = store::list_plans(tx, id)?;
    let statuses: Vec<_> = plans.iter().map(|p| p.status).collect();
    let status = plan::overall(&statuses);
    if status == reconciliation.status {
        return Ok(());
    }
    let ended_at = (status != Status::Running).then(|| tx.now());
    store::set_status(tx, id, status, ended_at)?;
    let action = if status == Status::Running { "reconciliation.resumed" } else { "reconciliation.ended" };
    record(tx, by, action, id, None, json!({ "status": status, "plans": statuses }))
}

fn note(tx: &Tx<'_>, by: &Principal, action: &'static str, plan: &Plan, reason: Option<String>) -> Result<(), Problem> {
    let new = json!({
        "planId": plan.id, "entitlementId": plan.entitlement_id, "policy": plan.policy, "status": plan.status,
        "why": plan.why, "found": plan.found, "expected": plan.expected, "items": counts(tx, plan.no)?,
    });
    record(tx, by, action, &plan.reconciliation_id, reason, new)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    id: &ReconciliationId,
    reason: Option<String>,
    new: Value,
) -> Result<(), Problem> {
    let entry =
        Entry { action, entity: "reconciliation", entity_id: id.to_string(), reason, prev: None, new: Some(new) };
    audit::append(tx, by, entry)
}
