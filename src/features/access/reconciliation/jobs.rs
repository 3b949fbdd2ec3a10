//! The jobs of reconciliations: one makes the plans, one works at a plan, one removes an account.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::items::ops::{self as items, Removal};
use super::items::store as item_store;
use super::listing::ops::{self as listing, CHUNK};
use super::listing::store::clear_found;
use super::{Kind, Pass, Plan, PlanStatus, adoption, ops, plan, store};
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::{DifferenceId, PlanId};
use crate::base::problem::Problem;
use crate::features::access::entitlements::{Entitlement, ListCall, SharedCalls, store::get_entitlement};
use crate::features::access::{grants, names};
use crate::features::connectors::{CallFailure, ListPage, ListRequest};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names as jobs, retry};

/// Accounts that a page of a list is asked to have.
const PAGE: u32 = 1000;
/// Rows that one transaction writes.
const ROWS: usize = 1000;
/// Grants that one transaction asks what their account is called.
const NAMED: u32 = 200;
/// Items that one transaction sets in motion.
const ITEMS: u32 = 100;
/// Pages without an entry after which a list leads nowhere.
const EMPTY_PAGES: u32 = 100;
/// When the calls of a plan are looked after again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Plans of an entitlement whose reported items are kept.
const KEPT_PLANS: u32 = 30;

/// The handlers of this file.
pub fn handlers(calls: SharedCalls) -> Vec<Arc<dyn JobHandler>> {
    vec![
        Arc::new(EntitlementReconciliation),
        Arc::new(ReconcileEntitlement { calls: Arc::clone(&calls) }),
        Arc::new(RemoveAccount { calls }),
        Arc::new(adoption::jobs::AdoptAccounts),
    ]
}

/// `entitlement-reconciliation`: makes the plans of the night.
#[derive(Debug)]
pub struct EntitlementReconciliation;

impl JobHandler for EntitlementReconciliation {
    fn name(&self) -> &'static str {
        jobs::ENTITLEMENT_RECONCILIATION
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(Schedule::utc("0 2 * * *").expect("a constant that the tests read"))
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let by = Principal::system(jobs::ENTITLEMENT_RECONCILIATION);
            cx.complete(move |tx| ops::start(tx, &by, Kind::Scheduled, None).map(drop)).await
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlanPayload {
    plan_id: PlanId,
}

/// `reconcile-entitlement`: lists, compares and carries out one plan.
pub struct ReconcileEntitlement {
    calls: SharedCalls,
}

impl JobHandler for ReconcileEntitlement {
    fn name(&self) -> &'static str {
        names::RECONCILE_ENTITLEMENT
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let payload: PlanPayload = serde_json::from_value(payload).map_err(|e| {
                Problem::refused(format!("{}: payload {e}; expected {{\"planId\": \"rcp_…\"}}", self.name()))
            })?;
            self.work(cx, payload.plan_id).await
        })
    }
}

/// What a phase of a plan came to.
enum Step {
    /// The next phase.
    Next,
    /// The job comes back later.
    Later,
}

impl ReconcileEntitlement {
    async fn work(&self, cx: &JobCx, id: PlanId) -> Result<(), Problem> {
        loop {
            let wanted = id.clone();
            let (plan, entitlement) = cx
                .store()
                .read(move |tx| {
                    let plan = store::get_plan(tx, &wanted)?;
                    let entitlement = get_entitlement(tx, &plan.entitlement_id)?;
                    Ok((plan, entitlement))
                })
                .await?;
            let looking = matches!(plan.status, PlanStatus::Listing | PlanStatus::Comparing);
            if looking && plan.terms != entitlement.terms() {
                // What came so far was asked for otherwise.
                let by = Principal::system(names::RECONCILE_ENTITLEMENT);
                let detail = "The entitlement was changed while it was compared; the next reconciliation looks again.";
                cx.page(move |tx| ops::fail(tx, &by, store::get_plan_no(tx, plan.no)?, "changed", detail)).await?;
                continue;
            }
            let step = match plan.status {
                PlanStatus::Listing => self.list(cx, plan, &entitlement).await?,
                PlanStatus::Comparing => compare(cx, plan, entitlement).await?,
                PlanStatus::Applying => apply(cx, plan).await?,
                _ => return clean(cx, plan).await,
            };
            if let Step::Later = step {
                return Ok(());
            }
        }
    }

    async fn list(&self, cx: &JobCx, plan: Plan, entitlement: &Entitlement) -> Result<Step, Problem> {
        let Some(list) = entitlement.list.clone() else {
            let why = CallFailure::lasting("no_list", "The entitlement does not say any more how its accounts are listed.");
            return unlisted(cx, plan, why).await;
        };
        loop {
            let id = entitlement.id.clone();
            if !cx.page(move |tx| grants::ops::name_accounts(tx, &id, NAMED)).await? {
                break;
            }
            if cx.stopping() {
                return later(cx).await;
            }
        }
        let no = plan.no;
        while plan.pages == 0 && cx.page(move |tx| clear_found(tx, no, PAGE)).await? {}
        let mut plan = cx.page(move |tx| listing::begin(tx, no)).await?;
        let mut empty = 0;
        while plan.status == PlanStatus::Listing {
            if cx.stopping() {
                return later(cx).await;
            }
            let request = ListRequest {
                command: list.command.clone(),
                params: list.params.clone(),
                cursor: plan.cursor.clone(),
                limit: PAGE,
            };
            let page = self.calls.list(&plan.connector_id, &request).await;
            let page = page.and_then(|page| listing::check_page(&page, request.cursor.as_deref()).map(|()| page));
            let page = match page {
                Ok(page) => page,
                Err(failure) => return unlisted(cx, plan, failure).await,
            };
            empty = if page.items.is_empty() { empty + 1 } else { 0 };
            if empty > EMPTY_PAGES {
                return unlisted(cx, plan, CallFailure::incomplete("one empty page follows another")).await;
            }
            plan = stage(cx, plan, &list, page).await?;
        }
        Ok(Step::Next)
    }
}

/// Stages a page, in parts where it is large, and turns it with the last.
async fn stage(cx: &JobCx, plan: Plan, list: &ListCall, page: ListPage) -> Result<Plan, Problem> {
    let entries = page.items.len() as u64;
    let mut parts: Vec<_> = page.items.chunks(ROWS).map(<[_]>::to_vec).collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let (plan, list) = (plan.clone(), list.clone());
        cx.page(move |tx| listing::stage(tx, &plan, &list, &part)).await?;
    }
    let (list, next) = (list.clone(), page.next);
    cx.page(move |tx| {
        listing::turn(tx, (plan.no, &list), plan.cursor.as_deref(), &last, entries, next.as_deref())
    })
    .await
}

/// A page did not come. While attempts are left the job is tried again, first from the page that failed,
/// then from the beginning: a place in a list may be good for one connection only.
async fn unlisted(cx: &JobCx, plan: Plan, failure: CallFailure) -> Result<Step, Problem> {
    let no = plan.no;
    if failure.retryable && retry::delay_after(cx.attempt()).is_some() {
        if cx.attempt() > 1 {
            cx.page(move |tx| listing::start_over(tx, no)).await?;
        }
        return Err(failure.into());
    }
    let (why, detail) = (plan::why_unlisted(&failure), failure.message);
    let by = Principal::system(names::RECONCILE_ENTITLEMENT);
    cx.page(move |tx| ops::fail(tx, &by, store::get_plan_no(tx, no)?, why, &detail)).await?;
    Ok(Step::Next)
}

async fn later(cx: &JobCx) -> Result<Step, Problem> {
    cx.snooze(cx.store().clock().now()).await?;
    Ok(Step::Later)
}

async fn compare(cx: &JobCx, mut plan: Plan, entitlement: Entitlement) -> Result<Step, Problem> {
    let entitlement = Arc::new(entitlement);
    loop {
        if cx.stopping() {
            return later(cx).await;
        }
        let (looked_at, of) = (plan.clone(), Arc::clone(&entitlement));
        let part = cx.store().read(move |tx| listing::compare(tx, &looked_at, &of, CHUNK)).await?;
        let no = plan.no;
        for rows in part.items.chunks(ROWS) {
            let rows = rows.to_vec();
            cx.page(move |tx| rows.iter().try_for_each(|new| item_store::insert_item(tx, no, new))).await?;
        }
        let (pass, cursor) = match (part.bound, plan.pass) {
            (Some(bound), pass) => (pass, Some(bound)),
            (None, Pass::Found) => (Pass::Grants, None),
            (None, Pass::Grants) => {
                let by = Principal::system(names::RECONCILE_ENTITLEMENT);
                let expected = part.expected;
                cx.page(move |tx| {
                    store::set_cursor(tx, no, Pass::Grants, None, expected)?;
                    ops::conclude(tx, &by, no)
                })
                .await?;
                return Ok(Step::Next);
            }
        };
        (plan.pass, plan.cursor) = (pass, cursor.clone());
        let expected = part.expected;
        cx.page(move |tx| store::set_cursor(tx, no, pass, cursor.as_deref(), expected)).await?;
    }
}

async fn apply(cx: &JobCx, plan: Plan) -> Result<Step, Problem> {
    let no = plan.no;
    loop {
        let by = Principal::system(names::RECONCILE_ENTITLEMENT);
        if !cx.page(move |tx| items::apply_page(tx, &by, no, ITEMS)).await? {
            break;
        }
        if cx.stopping() {
            return later(cx).await;
        }
    }
    let mut after = Some(0);
    while let Some(last) = after {
        after = cx.page(move |tx| items::follow_page(tx, no, last, ITEMS)).await?;
    }
    let by = Principal::system(names::RECONCILE_ENTITLEMENT);
    if cx.page(move |tx| ops::finish(tx, &by, no)).await? {
        return Ok(Step::Next);
    }
    cx.snooze(cx.store().clock().now().plus(LOOK_AGAIN)).await?;
    Ok(Step::Later)
}

/// What was staged is not needed any more, nor what plans of long ago only told.
async fn clean(cx: &JobCx, plan: Plan) -> Result<(), Problem> {
    let no = plan.no;
    while cx.page(move |tx| clear_found(tx, no, PAGE)).await? {}
    let entitlement = plan.entitlement_id;
    loop {
        let of = entitlement.clone();
        if !cx.page(move |tx| item_store::forget_told(tx, &of, KEPT_PLANS, PAGE)).await? {
            return Ok(());
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemPayload {
    item_id: DifferenceId,
}

/// `remove-account`: removes an account that no assignment ever stood behind.
pub struct RemoveAccount {
    calls: SharedCalls,
}

impl JobHandler for RemoveAccount {
    fn name(&self) -> &'static str {
        names::REMOVE_ACCOUNT
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let ItemPayload { item_id } = serde_json::from_value(payload).map_err(|e| {
                Problem::refused(format!("{}: payload {e}; expected {{\"itemId\": \"rci_…\"}}", self.name()))
            })?;
            let by = Principal::system(names::REMOVE_ACCOUNT);
            let (id, job) = (item_id.clone(), cx.id().clone());
            let (problem, last) = match cx.page(move |tx| items::begin_removal(tx, &id, &job)).await? {
                Removal::Over => return Ok(()),
                Removal::Cannot(why) => (why, true),
                Removal::Go { connector, call, key } => match self.calls.call(&connector, &call, &key).await {
                    Ok(_) => return cx.complete(move |tx| items::end_removal(tx, &by, &item_id, None)).await,
                    Err(why) => (why, retry::delay_after(cx.attempt()).is_none()),
                },
            };
            if last {
                let text = problem.to_string();
                cx.page(move |tx| items::end_removal(tx, &by, &item_id, Some(&text))).await?;
            }
            Err(problem)
        })
    }
}
