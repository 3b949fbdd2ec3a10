//! What becomes of the decisions that somebody owes who leaves.

use serde_json::json;

use super::rules::{MAX_HOPS, Need, Tally, Verdict, verdict};
use super::stages::{self, seat_state};
use super::{Approval, ApprovalState, Seat, resolve, store, turns};
use crate::base::access::Principal;
use crate::base::id::{ApprovalId, PersonId};
use crate::base::problem::Problem;
use crate::features::workflow::Handed;
use crate::features::workflow::runs::store as run_store;
use crate::platform::store::Tx;

/// Takes somebody who leaves out of an approval: the others of the stage decide, or their manager does, or
/// the rest of those whom the definition names. When nobody can, the seat stays where it is and an
/// administrator has to reassign it.
pub fn hand_over(
    tx: &Tx<'_>,
    by: &Principal,
    id: &ApprovalId,
    leaver: &PersonId,
    manager: Option<&PersonId>,
) -> Result<Handed, Problem> {
    let approval = store::get_approval(tx, id)?;
    let sits = approval.state == ApprovalState::Pending && approval.open_seats().any(|s| s.person == *leaver);
    if !sits {
        return Ok(Handed::NotTheirs);
    }
    let Some(come) = successors(tx, &approval, leaver, manager)? else {
        let run = run_store::get_run(tx, &approval.run_id)?;
        let name = resolve::name(tx, leaver)?;
        let why = format!("{name} left and nobody else can decide; reassign it.");
        stages::tell_administrators(tx, &run, &approval.config.title, &why)?;
        return Ok(Handed::ToNobody);
    };
    let name = resolve::name(tx, leaver)?;
    turns::replace(tx, &approval, std::slice::from_ref(leaver), &come, &format!("{name} left"))?;
    let text = if come.is_empty() {
        format!("{name} left; the others decide")
    } else {
        format!("{name} left; now {} decides", resolve::names(tx, come.iter().map(|s| &s.person))?)
    };
    let data = json!({ "from": [leaver], "to": come.iter().map(seat_state).collect::<Vec<_>>() });
    stages::note(tx, &approval, "approval.reassigned", &text, data.clone())?;
    stages::record(tx, by, &approval, "approval.reassigned", Some("the approver left"), (None, data))?;
    Ok(if come.is_empty() { Handed::ToOthers } else { Handed::ToSuccessor })
}

/// Who takes the seat: nobody when the others are enough; `None` when nobody can.
fn successors(
    tx: &Tx<'_>,
    approval: &Approval,
    leaver: &PersonId,
    manager: Option<&PersonId>,
) -> Result<Option<Vec<Seat>>, Problem> {
    let enough = |more: usize| {
        let Tally { approvals, rejections, open } = approval.tally();
        let open = open.saturating_sub(1).saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        open > 0 && verdict(approval.need_of(approval.stage), Tally { approvals, rejections, open }) == Verdict::Open
    };
    // Where all have to approve, fewer would be less than was asked for: somebody takes the seat if they can.
    let all = approval.need_of(approval.stage) == Need::All;
    if !all && enough(0) {
        return Ok(Some(Vec::new()));
    }
    let run = run_store::get_run(tx, &approval.run_id)?;
    let mut barred = resolve::barred(&run, Some(approval));
    // Who has a seat does not get a second one, and who passed it on does not get it back.
    barred.extend(approval.seats.iter().filter(|s| s.stage == approval.stage).map(|s| s.person.clone()));
    barred.insert(leaver.clone());
    let mut named: Vec<PersonId> = manager.cloned().into_iter().collect();
    if let Ok(all) = resolve::named(tx, &run, approval.visit, approval.approvers_of(approval.stage)) {
        named.extend(all);
    }
    for person in named {
        if resolve::holder(tx, &person, MAX_HOPS, &barred)?.is_none() {
            continue;
        }
        let seats = resolve::seats(tx, approval.stage, &[person].into(), &barred)?;
        if !seats.is_empty() && enough(seats.len()) {
            return Ok(Some(seats));
        }
    }
    Ok(enough(0).then(Vec::new))
}
