//! An approval as it is shown, with what one should know to decide.

use serde::Serialize;

use super::{Approval, ApprovalState, NoteKind, RungKind, ops, store};
use crate::base::access::Principal;
use crate::base::id::{ApprovalId, DocumentId, EntitlementId, PersonId, RoleId, RunId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::documents;
use crate::features::access::roles;
use crate::features::identity::people::{self, PersonRef};
use crate::features::settings::{self, ReasonPolicy};
use crate::features::workflow::definitions::{self, LastAction, Pattern, Rule};
use crate::features::workflow::runs;
use crate::platform::store::Tx;

/// An approval, with what one should know to decide.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// The id.
    id: ApprovalId,
    /// The run that waits for it.
    run_id: RunId,
    /// The workflow's name.
    workflow_name: String,
    /// The step's name.
    step_name: String,
    /// What is asked.
    title: String,
    /// What one should know.
    description: String,
    /// How it stands.
    state: ApprovalState,
    /// Whom it is about.
    subject: Option<PersonRef>,
    /// Who asked.
    requested_by: Option<PersonRef>,
    /// How it is decided.
    pattern: Pattern,
    /// The stage that is open, counted from 1; the last one that was when it is over.
    stage: u32,
    /// Its stages, in order.
    stages: Vec<StageView>,
    /// Who decides in the open stage.
    approvers: Vec<PersonRef>,
    /// For whom the caller decides.
    on_behalf_of: Vec<PersonRef>,
    /// What was decided so far, in order.
    votes: Vec<VoteView>,
    /// Questions and answers, in order.
    questions: Vec<NoteView>,
    /// What happens while nobody decides.
    escalation: Option<EscalationView>,
    /// The business role it is about.
    role: Option<RoleInApproval>,
    /// The subject's documents.
    documents: Vec<DocumentInApproval>,
    /// Since when it waits.
    created_at: Timestamp,
    /// When it is overdue.
    due_at: Option<Timestamp>,
    /// When it was decided.
    decided_at: Option<Timestamp>,
    /// Who decided; with several, who gave the last vote.
    decided_by: Option<PersonRef>,
    /// Whether the escalation decided, because nobody had.
    by_escalation: bool,
    /// Whether it was approved, in a stage at least, without anybody having approved.
    exception: bool,
    /// Whether the run only pretends, so that nothing is given by it.
    mock: bool,
    /// Why.
    reason: Option<String>,
    /// Whether the caller may decide, ask, and hand it over.
    can_decide: bool,
    /// Why the caller may not.
    why_not: Option<&'static str>,
    /// Whether the caller may answer questions.
    can_answer: bool,
    /// When a reason is needed.
    reason_required: ReasonRequired,
}

/// How a stage stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum StageState {
    /// It has not been opened.
    Coming,
    /// Its approvers decide.
    Open,
    /// It is passed.
    Passed,
    /// It is over without being passed.
    Ended,
}

/// A stage of an approval.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct StageView {
    /// Counted from 1.
    number: u32,
    /// How it is called.
    name: String,
    /// How it stands.
    state: StageState,
    /// How many have to approve; null when whoever decides first decides.
    rule: Option<Rule>,
    /// How many approvals that is; null before it is opened.
    needed: Option<u32>,
    /// How many approved.
    approved: u32,
    /// How many rejected.
    rejected: u32,
    /// Who decides or decided in it; nobody before it is opened.
    approvers: Vec<SeatView>,
}

/// Somebody who decides in a stage.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct SeatView {
    /// Who.
    person: Option<PersonRef>,
    /// For whom.
    on_behalf_of: Vec<PersonRef>,
    /// Whether they have voted.
    voted: bool,
    /// When they passed it on, or it was taken from them.
    left_at: Option<Timestamp>,
}

/// What an approver decided.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct VoteView {
    /// The stage, counted from 1.
    stage: u32,
    /// Who.
    person: Option<PersonRef>,
    /// For whom.
    on_behalf_of: Vec<PersonRef>,
    /// Yes or no.
    approves: bool,
    /// Why.
    reason: Option<String>,
    /// When.
    at: Timestamp,
}

/// A question or an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct NoteView {
    /// Its place, counted from 1.
    seq: u32,
    /// What it is.
    kind: NoteKind,
    /// Who wrote it.
    person: Option<PersonRef>,
    /// The text.
    text: String,
    /// When.
    at: Timestamp,
}

/// What happens while nobody decides in the open stage.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct EscalationView {
    /// When those who have not decided are reminded, without the reminders that have been.
    reminds_at: Vec<Timestamp>,
    /// When it goes to somebody else.
    reassigns_at: Option<Timestamp>,
    /// When it ends.
    ends_at: Option<Timestamp>,
    /// How it ends then.
    ends_with: Option<LastAction>,
}

/// What the role of an approval contains.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct RoleInApproval {
    /// The id.
    id: RoleId,
    /// How it is called.
    name: String,
    /// What it is for.
    description: String,
    /// For how many days it is granted.
    default_duration_days: Option<u32>,
    /// What it gives.
    entitlements: Vec<EntitlementInApproval>,
}

/// An entitlement in few words.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct EntitlementInApproval {
    /// The id.
    id: EntitlementId,
    /// How it is called.
    name: String,
    /// Where it is.
    connector_name: String,
}

/// A document in few words.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct DocumentInApproval {
    /// The id.
    id: DocumentId,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// How it stands.
    state: documents::DocumentState,
    /// From when it counts.
    valid_from: Timestamp,
    /// Until when it counts.
    expires_at: Timestamp,
}

/// When a reason is needed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ReasonRequired {
    /// To approve.
    approve: bool,
    /// To reject.
    reject: bool,
}

/// What the caller sees of an approval.
pub(super) fn view(tx: &Tx<'_>, by: &Principal, a: Approval) -> Result<ApprovalView, Problem> {
    let run = runs::store::get_run(tx, &a.run_id)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let pending = a.state == ApprovalState::Pending;
    let why_not = match a.why_not(by) {
        None => ops::why_alone(tx, &a)?,
        why => why,
    };
    let policy = settings::ops::reason_policy(tx)?.value;
    let now_deciding = a.seats.iter().filter(|s| s.stage == a.stage && s.left_at.is_none()).map(|s| &s.person);
    let own_seat = by.person.as_ref().and_then(|p| a.seat_of(p));
    Ok(ApprovalView {
        workflow_name: workflow.definition.name.clone(),
        subject: reference(tx, a.subject_id.as_ref())?,
        requested_by: reference(tx, a.requested_by.as_ref())?,
        decided_by: reference(tx, a.decided_by.as_ref())?,
        approvers: references(tx, now_deciding)?,
        on_behalf_of: references(tx, own_seat.map_or(&[][..], |s| &s.on_behalf_of))?,
        stages: stages(tx, &a)?,
        votes: votes(tx, &a)?,
        questions: notes(tx, &a)?,
        escalation: if pending { escalation(tx, &a)? } else { None },
        role: a.role_id.as_ref().map(|id| role(tx, id)).transpose()?,
        documents: documents_of(tx, a.subject_id.as_ref())?,
        can_decide: why_not.is_none(),
        can_answer: pending && by.person.as_ref().is_some_and(|p| a.is_party(p)),
        why_not,
        reason_required: ReasonRequired { approve: policy == ReasonPolicy::Both, reject: true },
        pattern: a.config.pattern,
        stage: a.stage,
        id: a.id,
        run_id: a.run_id,
        step_name: a.step_name,
        title: a.config.title,
        description: a.config.description,
        state: a.state,
        created_at: a.created_at,
        due_at: a.due_at,
        decided_at: a.decided_at,
        by_escalation: a.by_escalation,
        exception: a.exception,
        mock: run.mock,
        reason: a.reason,
    })
}

fn reference(tx: &Tx<'_>, id: Option<&PersonId>) -> Result<Option<PersonRef>, Problem> {
    id.map_or(Ok(None), |id| people::store::person_ref(tx, id))
}

fn references<'a>(tx: &Tx<'_>, ids: impl IntoIterator<Item = &'a PersonId>) -> Result<Vec<PersonRef>, Problem> {
    let found = ids.into_iter().map(|id| people::store::person_ref(tx, id)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn stages(tx: &Tx<'_>, a: &Approval) -> Result<Vec<StageView>, Problem> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut stages = Vec::new();
    for number in 1..=a.stages() {
        let seats = a.seats.iter().filter(|s| s.stage == number);
        let approvers = seats
            .clone()
            .map(|s| {
                Ok(SeatView {
                    person: reference(tx, Some(&s.person))?,
                    on_behalf_of: references(tx, &s.on_behalf_of)?,
                    voted: a.vote_of(&s.person).is_some_and(|v| v.stage == number),
                    left_at: s.left_at,
                })
            })
            .collect::<Result<Vec<_>, Problem>>()?;
        let state = match (number.cmp(&a.stage), a.state) {
            (std::cmp::Ordering::Greater, _) => StageState::Coming,
            (std::cmp::Ordering::Less, _) | (_, ApprovalState::Approved) => StageState::Passed,
            (_, ApprovalState::Pending) => StageState::Open,
            _ => StageState::Ended,
        };
        let of_stage =
            |approves| a.votes.iter().filter(move |v| v.stage == number && v.approves == approves).count();
        let able = count(seats.filter(|s| s.left_at.is_none()).count());
        stages.push(StageView {
            number,
            name: a.stage_name(number).to_owned(),
            rule: a.rule_of(number),
            needed: (number <= a.stage).then(|| a.need_of(number).count(able)),
            approved: count(of_stage(true)),
            rejected: count(of_stage(false)),
            approvers,
            state,
        });
    }
    Ok(stages)
}

fn votes(tx: &Tx<'_>, a: &Approval) -> Result<Vec<VoteView>, Problem> {
    let mut votes = Vec::with_capacity(a.votes.len());
    for v in &a.votes {
        let seat = a.seats.iter().find(|s| s.stage == v.stage && s.person == v.person);
        votes.push(VoteView {
            stage: v.stage,
            person: reference(tx, Some(&v.person))?,
            on_behalf_of: references(tx, seat.map_or(&[][..], |s| &s.on_behalf_of))?,
            approves: v.approves,
            reason: v.reason.clone(),
            at: v.at,
        });
    }
    Ok(votes)
}

fn notes(tx: &Tx<'_>, a: &Approval) -> Result<Vec<NoteView>, Problem> {
    let notes = store::list_notes(tx, &a.id)?.into_iter();
    notes
        .map(|n| {
            let person = reference(tx, Some(&n.person))?;
            Ok(NoteView { seq: n.seq, kind: n.kind, person, text: n.text, at: n.at })
        })
        .collect()
}

fn escalation(tx: &Tx<'_>, a: &Approval) -> Result<Option<EscalationView>, Problem> {
    let Some(config) = &a.config.escalation else { return Ok(None) };
    let coming = store::list_rungs(tx, &a.id)?.into_iter().filter(|r| !r.over);
    let mut view = EscalationView { reminds_at: Vec::new(), reassigns_at: None, ends_at: None, ends_with: None };
    for rung in coming {
        match rung.kind {
            RungKind::Remind => view.reminds_at.push(rung.due_at),
            RungKind::Reassign => view.reassigns_at = Some(rung.due_at),
            RungKind::Last => {
                view.ends_at = Some(rung.due_at);
                view.ends_with = config.last.map(|l| l.then);
            }
        }
    }
    Ok(Some(view))
}

fn role(tx: &Tx<'_>, id: &RoleId) -> Result<RoleInApproval, Problem> {
    let role = roles::store::get_role(tx, id)?;
    let entitlements = role.entitlements.into_iter().map(|e| EntitlementInApproval {
        id: e.id,
        name: e.name,
        connector_name: e.connector_name,
    });
    Ok(RoleInApproval {
        id: role.id,
        name: role.name,
        description: role.description,
        default_duration_days: role.default_duration_days,
        entitlements: entitlements.collect(),
    })
}

fn documents_of(tx: &Tx<'_>, person: Option<&PersonId>) -> Result<Vec<DocumentInApproval>, Problem> {
    let Some(person) = person else { return Ok(Vec::new()) };
    let filter = documents::store::DocumentFilter { person: Some(person.clone()), ..Default::default() };
    let found = documents::store::list_documents(tx, &filter, None, 50)?;
    Ok(found
        .into_iter()
        .map(|d| DocumentInApproval {
            id: d.id,
            kind: d.kind,
            state: d.state,
            valid_from: d.valid_from,
            expires_at: d.expires_at,
        })
        .collect())
}
