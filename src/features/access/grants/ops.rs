//! Use cases around grants: what is wanted, beginning a call, recording its outcome.

use std::time::Duration;

use serde_json::{Value, json};

use super::ends::{Later, first_calls, later_calls};
use super::{GrantRow, GrantState, Wanted, Work, store};
use crate::base::access::Principal;
use crate::base::id::{AssignmentId, EntitlementId, GrantId, JobId, PersonId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::ops::settle;
use crate::features::access::assignments::store::get_assignment;
use crate::features::access::entitlements::{self, RenderedCalls, store::get_entitlement};
use crate::features::access::names;
use crate::features::access::roles::store::get_role;
use crate::features::audit::{self, Entry};
use crate::features::identity::people::store::get_person;
use crate::platform::queue::views::{JobState, get_job};
use crate::platform::queue::{JobDraft, enqueue, names as jobs};
use crate::platform::store::Tx;

/// How long a job stands back while another one calls out for the same entitlement and person.
const STAND_BACK: Duration = Duration::from_secs(2);
/// The longest reason that is stored.
const REASON_CHARS: usize = 1000;

/// Makes a grant that is to be given once its assignment begins.
pub fn create_grant(
    tx: &Tx<'_>,
    assignment: &AssignmentId,
    person: &PersonId,
    entitlement: &EntitlementId,
) -> Result<(), Problem> {
    let grant = GrantRow {
        id: tx.new_id(),
        assignment_id: assignment.clone(),
        person_id: person.clone(),
        entitlement_id: entitlement.clone(),
        state: GrantState::Pending,
        wanted: Wanted::Present,
        generation: 1,
        calls: None,
        account: None,
        last_error: None,
        confirmed_at: None,
    };
    store::insert_grant(tx, &grant)
}

/// Queues the calls that give every entitlement of an assignment.
pub fn provision_all(tx: &Tx<'_>, assignment: &AssignmentId) -> Result<(), Problem> {
    for grant in store::list_rows(tx, assignment)? {
        queue_call(tx, &grant)?;
    }
    Ok(())
}

/// Wants every entitlement of an ending assignment gone, but for those that another one needs.
pub fn withdraw_all(tx: &Tx<'_>, by: &Principal, assignment: &AssignmentId) -> Result<(), Problem> {
    for mut grant in store::list_rows(tx, assignment)? {
        grant.wanted = Wanted::Absent;
        grant.generation += 1;
        grant.last_error = None;
        if grant.calls.is_none() {
            // Calls are stored before the first one goes out: without them nothing was ever given.
            leave(tx, by, grant, "never provisioned")?;
        } else if store::has_other_need(tx, &grant)? {
            hand_over(tx, by, grant)?;
        } else {
            let before = state_of(&grant);
            grant.state = GrantState::Deprovisioning;
            store::update_grant(tx, &grant)?;
            record(tx, by, "grant.deprovisioning", &grant, None, before)?;
            queue_call(tx, &grant)?;
        }
    }
    Ok(())
}

/// Queues again the calls of a page of grants that are not where they should be; the last of the
/// page, if there may be more.
pub fn try_again(tx: &Tx<'_>, after: Option<&GrantId>, limit: u32) -> Result<Option<GrantId>, Problem> {
    let mut page = store::list_open(tx, after.map(crate::base::id::TypedId::as_str), limit)?;
    for grant in &page {
        queue_call(tx, grant)?;
    }
    Ok(if page.len() < limit as usize { None } else { page.pop().map(|g| g.id) })
}

/// What a job finds when it wants to call out for a grant.
#[derive(Debug)]
pub enum Begin {
    /// Nothing is left to do.
    Done,
    /// Another job calls out for the same entitlement and person; try again at this instant.
    Busy(Timestamp),
    /// The call cannot be made.
    Cannot {
        /// For which generation.
        generation: u32,
        /// Why.
        why: Problem,
    },
    /// Make this call.
    Go(Box<Work>),
}

/// Claims the calls for a grant and says which to make. Nothing has gone out before this commits.
pub fn begin(tx: &Tx<'_>, by: &Principal, job: &JobId, id: &GrantId, wanted: Wanted) -> Result<Begin, Problem> {
    let mut grant = store::get_row(tx, id)?;
    if !grant.needs(wanted) {
        return Ok(Begin::Done);
    }
    if let Some(holder) = store::find_flight(tx, &grant.person_id, &grant.entitlement_id)?
        && holder != *job
        && is_running(tx, &holder)?
    {
        return Ok(Begin::Busy(tx.now().plus(STAND_BACK)));
    }
    if wanted == Wanted::Absent && store::has_other_need(tx, &grant)? {
        let assignment = grant.assignment_id.clone();
        hand_over(tx, by, grant)?;
        settle(tx, by, &assignment)?;
        return Ok(Begin::Done);
    }
    let generation = grant.generation;
    let calls = match (wanted, grant.calls.clone()) {
        (Wanted::Absent, Some(calls)) => calls,
        (Wanted::Absent, None) => return Err(Problem::internal(format!("grant {id} is to be taken away but was never given"))),
        (Wanted::Present, Some(calls)) => match later_calls(tx, &grant, None)? {
            Later::Calls(calls) => *calls,
            Later::Nothing | Later::Unclear => calls,
        },
        (Wanted::Present, None) => match first_calls(tx, &grant) {
            Ok(calls) => calls,
            Err(why @ Problem::Invalid { .. }) => return Ok(Begin::Cannot { generation, why }),
            Err(other) => return Err(other),
        },
    };
    if grant.calls.is_none() {
        grant.account = account_in(tx, &grant.entitlement_id, &calls)?;
    }
    if wanted == Wanted::Present && is_account_busy(tx, &grant, job)? {
        return Ok(Begin::Busy(tx.now().plus(STAND_BACK)));
    }
    grant.calls = Some(calls.clone());
    store::update_grant(tx, &grant)?;
    store::claim_flight(tx, &grant.person_id, &grant.entitlement_id, job)?;
    Ok(Begin::Go(Box::new(Work { grant: grant.id, generation, wanted, calls })))
}

/// Records that the connected system confirmed what was wanted. An older generation changes nothing.
pub fn confirm(tx: &Tx<'_>, by: &Principal, work: &Work) -> Result<(), Problem> {
    let mut grant = store::get_row(tx, &work.grant)?;
    if grant.generation != work.generation || !grant.needs(work.wanted) {
        return Ok(());
    }
    let before = state_of(&grant);
    let action = match work.wanted {
        Wanted::Present => {
            grant.state = GrantState::Provisioned;
            "grant.provisioned"
        }
        Wanted::Absent => {
            grant.state = GrantState::Deprovisioned;
            "grant.deprovisioned"
        }
    };
    grant.last_error = None;
    grant.confirmed_at = Some(tx.now());
    if let Some(calls) = &mut grant.calls {
        calls.gives_again = false;
    }
    store::update_grant(tx, &grant)?;
    record(tx, by, action, &grant, None, before)?;
    settle(tx, by, &grant.assignment_id)
}

/// How a try went wrong.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Why, for people.
    pub why: String,
    /// Whether this was the last attempt of the job.
    pub last: bool,
    /// Whether the call said yes and the check said no: then the next try is a new intention, whose
    /// key a system that remembers keys has not seen.
    pub contradicted: bool,
}

/// Records a failed try. An older generation changes nothing.
pub fn note_failure(
    tx: &Tx<'_>,
    by: &Principal,
    (id, generation, wanted): (&GrantId, u32, Wanted),
    failed: &Failed,
) -> Result<(), Problem> {
    let mut grant = store::get_row(tx, id)?;
    if grant.generation != generation || !grant.needs(wanted) {
        return Ok(());
    }
    let before = state_of(&grant);
    grant.last_error = Some(failed.why.chars().take(REASON_CHARS).collect());
    if failed.contradicted {
        grant.generation += 1;
    }
    if failed.last {
        grant.state = GrantState::Failed;
    }
    store::update_grant(tx, &grant)?;
    if !failed.last {
        return Ok(());
    }
    record(tx, by, "grant.failed", &grant, grant.last_error.clone(), before)?;
    settle(tx, by, &grant.assignment_id)
}

/// Ends a grant whose entitlement another assignment needs. That one inherits the calls: were it to end
/// before its own first call, what stands in the connected system would otherwise stay for ever.
fn hand_over(tx: &Tx<'_>, by: &Principal, grant: GrantRow) -> Result<(), Problem> {
    store::inherit_calls(tx, &grant)?;
    leave(tx, by, grant, "another assignment needs it")
}

/// Ends a grant without a call.
fn leave(tx: &Tx<'_>, by: &Principal, mut grant: GrantRow, why: &str) -> Result<(), Problem> {
    let before = state_of(&grant);
    grant.state = GrantState::Deprovisioned;
    store::update_grant(tx, &grant)?;
    record(tx, by, "grant.deprovisioned", &grant, Some(why.to_owned()), before)
}

/// What the account of these calls is called in the list of its entitlement, as it is compared.
fn account_in(tx: &Tx<'_>, entitlement: &EntitlementId, calls: &RenderedCalls) -> Result<Option<String>, Problem> {
    let list = get_entitlement(tx, entitlement)?.list;
    Ok(list.zip(calls.list_key.as_deref()).map(|(list, key)| list.comparable(key)))
}

/// Whether a job removes the account of a grant right now.
fn is_account_busy(tx: &Tx<'_>, grant: &GrantRow, job: &JobId) -> Result<bool, Problem> {
    let Some(account) = grant.account.as_deref().filter(|a| !a.is_empty()) else { return Ok(false) };
    match store::find_account_flight(tx, &grant.entitlement_id, account)? {
        Some(holder) if holder != *job => is_running(tx, &holder),
        _ => Ok(false),
    }
}

/// Claims the removal of an account that no grant stands behind, or says that one does by now.
pub fn claim_account(tx: &Tx<'_>, entitlement: &EntitlementId, account: &str, job: &JobId) -> Result<bool, Problem> {
    let needed = store::list_by_account(tx, entitlement, account)?;
    if needed.iter().any(|g| g.state != GrantState::Deprovisioned) {
        return Ok(false);
    }
    store::claim_account_flight(tx, entitlement, account, job)?;
    Ok(true)
}

/// What the account of a grant will be called once its calls are rendered.
pub fn account_of(tx: &Tx<'_>, grant: &GrantRow) -> Result<Option<String>, Problem> {
    account_in(tx, &grant.entitlement_id, &first_calls(tx, grant)?)
}

/// Asks a page of grants what their account is called; false when there are no more.
///
/// The key comes from the call that was made. Where its template takes it from the person instead, they are
/// asked as they are now, and believed only if the same call would still be made for them: somebody whose
/// name changed since was given the access under the old one. What cannot be told is stored as empty, and
/// then nothing that is unknown is removed.
pub fn name_accounts(tx: &Tx<'_>, entitlement: &EntitlementId, limit: u32) -> Result<bool, Problem> {
    let entitlement = get_entitlement(tx, entitlement)?;
    let Some(list) = &entitlement.list else { return Ok(false) };
    let page = store::list_unnamed(tx, &entitlement.id, limit)?;
    for grant in &page {
        let made = json!(grant.calls.as_ref().map(|c| &c.provision));
        let carried = grant.calls.as_ref().and_then(|calls| calls.carried);
        let until = match carried {
            Some(carried) => carried.until,
            None => get_assignment(tx, &grant.assignment_id)?.expires_at,
        };
        let mut context = context_of(tx, grant, until)?;
        let now = entitlements::ops::render(&entitlement, &context);
        context["provision"] = made.clone();
        let key = entitlements::ops::render_key(&entitlement.name, list, &context).ok();
        let by_call = entitlements::ops::render_key(&entitlement.name, list, &json!({ "provision": made })).ok();
        let certain = key == by_call || now.is_ok_and(|calls| json!(calls.provision) == made);
        let account = key.filter(|_| certain).map(|key| list.comparable(&key));
        store::set_account(tx, &grant.id, &account.unwrap_or_default())?;
    }
    Ok(page.len() == limit as usize)
}

/// Why a later end cannot be told.
const END_NOT_TOLD: &str = "The connected system was told an earlier end, and the details of the person changed since, \
so that the later one cannot be put into the command that was run. Tell it there by hand.";

/// Tells connected systems the later end of an assignment that lasted until `before`, where they were told an end.
pub fn tell_later_end(tx: &Tx<'_>, by: &Principal, assignment: &AssignmentId, before: Timestamp) -> Result<(), Problem> {
    for mut grant in store::list_rows(tx, assignment)?.into_iter().filter(|g| g.wanted == Wanted::Present) {
        match later_calls(tx, &grant, Some(before))? {
            Later::Nothing => {}
            Later::Calls(calls) => {
                grant.calls = Some(*calls);
                intend_again(tx, by, grant, GrantState::Pending, "grant.lasts_longer", "it was given with an earlier end")?;
            }
            Later::Unclear => {
                let state = state_of(&grant);
                grant.last_error = Some(END_NOT_TOLD.to_owned());
                store::update_grant(tx, &grant)?;
                record(tx, by, "grant.end_not_told", &grant, grant.last_error.clone(), state)?;
            }
        }
    }
    Ok(())
}

/// Gives again what the connected system lost. False when the grant is not as it was by now.
pub fn give_again(tx: &Tx<'_>, by: &Principal, id: &GrantId, generation: u32) -> Result<bool, Problem> {
    let grant = store::get_row(tx, id)?;
    let as_it_was = grant.generation == generation
        && (grant.state, grant.wanted) == (GrantState::Provisioned, Wanted::Present)
        && get_assignment(tx, &grant.assignment_id)?.state.is_live();
    if !as_it_was {
        return Ok(false);
    }
    intend_again(tx, by, grant, GrantState::Pending, "grant.missing", "the connected system does not have it any more")?;
    Ok(true)
}

/// Takes away again what is there although it was confirmed gone. False when somebody needs it by now.
pub fn take_again(tx: &Tx<'_>, by: &Principal, id: &GrantId, generation: u32) -> Result<bool, Problem> {
    let grant = store::get_row(tx, id)?;
    let as_it_was = grant.generation == generation
        && (grant.state, grant.wanted) == (GrantState::Deprovisioned, Wanted::Absent)
        && grant.calls.is_some();
    if !as_it_was || store::has_other_need(tx, &grant)? {
        return Ok(false);
    }
    intend_again(tx, by, grant, GrantState::Deprovisioning, "grant.still_there", "the connected system still has it")?;
    Ok(true)
}

/// A new intention for a grant that was settled.
fn intend_again(
    tx: &Tx<'_>,
    by: &Principal,
    mut grant: GrantRow,
    state: GrantState,
    action: &'static str,
    why: &str,
) -> Result<(), Problem> {
    let before = state_of(&grant);
    grant.state = state;
    grant.generation += 1;
    grant.last_error = None;
    store::update_grant(tx, &grant)?;
    record(tx, by, action, &grant, Some(why.to_owned()), before)?;
    queue_call(tx, &grant)
}

fn is_running(tx: &Tx<'_>, job: &JobId) -> Result<bool, Problem> {
    match get_job(tx, job) {
        Ok(view) => Ok(view.state == JobState::Active),
        Err(Problem::Missing { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

fn queue_call(tx: &Tx<'_>, grant: &GrantRow) -> Result<(), Problem> {
    let name = match grant.wanted {
        Wanted::Present => jobs::PROVISION_GRANT,
        Wanted::Absent => names::DEPROVISION_GRANT,
    };
    let key = format!("{name}-{}-{}", grant.id, grant.generation);
    enqueue(tx, JobDraft::now(name, json!({ "grantId": grant.id })).with_key(key))?;
    Ok(())
}

/// What the templates of an entitlement are filled from, for access that lasts until then.
pub(super) fn context_of(tx: &Tx<'_>, grant: &GrantRow, until: Option<Timestamp>) -> Result<Value, Problem> {
    let entitlement = get_entitlement(tx, &grant.entitlement_id)?;
    let assignment = get_assignment(tx, &grant.assignment_id)?;
    let person = get_person(tx, &grant.person_id)?;
    let role = get_role(tx, &assignment.role.id)?;
    Ok(json!({
        "person": person,
        "role": { "id": role.id, "name": role.name, "description": role.description },
        "assignment": {
            "id": assignment.id, "reason": assignment.reason, "runId": assignment.run_id,
            "startsAt": assignment.starts_at, "expiresAt": until,
        },
        "entitlement": { "id": entitlement.id, "name": entitlement.name },
        "grant": { "id": grant.id },
    }))
}

fn state_of(g: &GrantRow) -> Value {
    json!({
        "assignmentId": g.assignment_id, "personId": g.person_id, "entitlementId": g.entitlement_id, "state": g.state,
        "wanted": g.wanted, "generation": g.generation, "lastError": g.last_error, "confirmedAt": g.confirmed_at,
    })
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    g: &GrantRow,
    reason: Option<String>,
    before: Value,
) -> Result<(), Problem> {
    let entry = Entry {
        action,
        entity: "grant",
        entity_id: g.id.to_string(),
        reason,
        prev: Some(before),
        new: Some(state_of(g)),
    };
    audit::append(tx, by, entry)
}
