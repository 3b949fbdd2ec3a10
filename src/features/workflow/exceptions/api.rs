//! Exceptions over HTTP, and the side doors that belong to no other feature.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::{self, Done, Outcome};
use super::store::{self, ExceptionFilter};
use super::{Act, Exception, ExceptionState, Kind};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{AssignmentId, DocumentId, ExceptionId, PersonId, RoleId, RunId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::{self, Assignment};
use crate::features::access::history;
use crate::features::identity::people::{self, PersonRef};
use crate::features::workflow::WorkflowApi;
use crate::platform::http::{Allowed, Body, Caller, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of exceptions.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_exceptions, ask_for_one))
        .routes(routes!(get_exception))
        .routes(routes!(decide))
        .routes(routes!(grant_role))
        .routes(routes!(extend_assignment))
        .with_state(state)
}

/// What a side door answers: what was done, or whom it waits for.
#[derive(Debug)]
pub enum Answer<T> {
    /// It was done.
    Done(StatusCode, T),
    /// A second person has to agree first.
    Asked(Box<ExceptionView>),
}

impl<T> Answer<T> {
    /// The answer for an outcome; `view` shows what was done.
    pub fn of(
        tx: &Tx<'_>,
        by: &Principal,
        outcome: Outcome,
        view: impl FnOnce(&Tx<'_>, Done) -> Result<T, Problem>,
    ) -> Result<Self, Problem> {
        Ok(match outcome {
            Outcome::Done(done) => Self::Done(StatusCode::OK, view(tx, done)?),
            Outcome::Asked(exception) => Self::Asked(Box::new(ExceptionView::of(tx, by, *exception)?)),
        })
    }

    /// The same, with another status for what was done.
    pub fn as_status(self, status: StatusCode) -> Self {
        match self {
            Self::Done(_, view) => Self::Done(status, view),
            asked => asked,
        }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Done(status, view) => (status, Json(view)).into_response(),
            Self::Asked(view) => (StatusCode::ACCEPTED, Json(*view)).into_response(),
        }
    }
}

/// Something that nobody does alone, and that somebody asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionView {
    /// The id.
    id: ExceptionId,
    /// What kind of thing.
    kind: Kind,
    /// In words: what is done when somebody agrees.
    title: String,
    /// Why.
    reason: String,
    /// How it stands.
    state: ExceptionState,
    /// The run it is done in.
    run_id: Option<RunId>,
    /// The step that is passed over.
    step_id: Option<String>,
    /// The thing it is done to, where that is no run.
    target_id: Option<String>,
    /// What it changes.
    changes: Vec<ChangeView>,
    /// When a document ends the access before the end that is asked for.
    document_ends_at: Option<Timestamp>,
    /// Who asked.
    requested_by: Option<PersonRef>,
    /// Whom it is about.
    subject: Option<PersonRef>,
    /// Who may agree.
    deciders: Vec<PersonRef>,
    /// When it was asked for.
    created_at: Timestamp,
    /// Until when somebody may agree.
    expires_at: Timestamp,
    /// Who decided.
    decided_by: Option<PersonRef>,
    /// When.
    decided_at: Option<Timestamp>,
    /// Why.
    decision_reason: Option<String>,
    /// Whether the caller may decide.
    can_decide: bool,
    /// Why the caller may not.
    why_not: Option<&'static str>,
}

/// One thing that changes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ChangeView {
    /// What.
    name: String,
    /// Before.
    before: Value,
    /// After.
    after: Value,
}

impl ExceptionView {
    /// The exception with what names it.
    pub fn of(tx: &Tx<'_>, by: &Principal, e: Exception) -> Result<Self, Problem> {
        let refs = |id: &Option<PersonId>| -> Result<Option<PersonRef>, Problem> {
            id.as_ref().map_or(Ok(None), |id| people::store::person_ref(tx, id))
        };
        let mut deciders = Vec::new();
        if e.state == ExceptionState::Pending {
            for id in ops::deciders(tx, &e)? {
                deciders.extend(people::store::person_ref(tx, &id)?);
            }
        }
        let document_ends_at = match &e.act {
            Act::ExtendAssignment { assignment_id, expires_at, .. } if e.state == ExceptionState::Pending => {
                history::ops::document_end_before(tx, assignment_id, Some(*expires_at))?
            }
            _ => None,
        };
        let why_not = e.why_not(by, tx.now());
        Ok(Self {
            kind: e.act.kind(),
            title: ops::title(tx, &e.act)?,
            run_id: e.act.run_id().cloned(),
            step_id: match &e.act {
                Act::SkipStep { step, .. } => Some(step.clone()),
                _ => None,
            },
            target_id: if e.act.run_id().is_some() { None } else { Some(e.act.target()) },
            changes: changes(&e.act),
            document_ends_at,
            requested_by: refs(&Some(e.requested_by.clone()))?,
            subject: refs(&e.subject_id)?,
            decided_by: refs(&e.decided_by)?,
            deciders,
            can_decide: why_not.is_none(),
            why_not,
            id: e.id,
            reason: e.reason,
            state: e.state,
            created_at: e.created_at,
            expires_at: e.expires_at,
            decided_at: e.decided_at,
            decision_reason: e.decision_reason,
        })
    }
}

fn changes(act: &Act) -> Vec<ChangeView> {
    let change = |name: &str, before: Value, after: Value| ChangeView { name: name.to_owned(), before, after };
    match act {
        Act::SkipStep { step, outcome, .. } => vec![change(step, Value::Null, Value::String(outcome.clone()))],
        Act::ChangeVariables { values, before, .. } => values
            .iter()
            .map(|(name, after)| change(name, before.get(name).cloned().unwrap_or(Value::Null), after.clone()))
            .collect(),
        Act::GrantRole { starts_at, expires_at, .. } => vec![
            change("startsAt", Value::Null, serde_json::json!(starts_at)),
            change("expiresAt", Value::Null, serde_json::json!(expires_at)),
        ],
        Act::ExtendAssignment { expires_at, before, .. } => {
            vec![change("expiresAt", serde_json::json!(before), serde_json::json!(expires_at))]
        }
        Act::AdoptAccount { expires_at, .. } | Act::AdoptAccounts { expires_at, .. } => {
            vec![change("expiresAt", Value::Null, serde_json::json!(expires_at))]
        }
        Act::PublishWorkflow { .. } => vec![change("status", "draft".into(), "active".into())],
        Act::RotateKeys => vec![change("secrets", "under the key before".into(), "under the present key".into())],
        Act::EraseStates { entries, .. } if entries.is_empty() => Vec::new(),
        Act::EraseStates { entries, .. } => vec![change("entries", entries.to_string().into(), Value::Null)],
        Act::FourEyesOff => vec![change("fourEyes", true.into(), false.into())],
    }
}

/// What the caller may see beyond what concerns them: everything, or what they could do themselves.
fn visible_to(by: &Principal) -> Result<Option<(PersonId, Vec<Kind>)>, Problem> {
    if by.can(Permission::AuditRead) {
        return Ok(None);
    }
    let person = by.person.clone();
    person.map(|p| Some((p, ops::kinds_of(by)))).ok_or_else(|| Problem::Forbidden("Only people have exceptions of their own.".to_owned()))
}

fn is_visible(by: &Principal, e: &Exception) -> bool {
    by.can(Permission::AuditRead)
        || by.can(e.act.kind().permission())
        || by.person.as_ref().is_some_and(|p| e.is_party(p))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// `pending`, `approved`, `rejected` or `expired`.
    state: Option<ExceptionState>,
    /// Of which run.
    run_id: Option<RunId>,
    /// Only those that the caller may decide now.
    mine: Option<bool>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Exceptions, newest first: those that concern the caller, and those that they could agree to.
#[utoipa::path(get, path = "/api/exceptions", tag = "exceptions", params(ListParams),
    responses((status = 200, body = Page<ExceptionView>)))]
async fn list_exceptions(
    caller: Caller,
    State(api): State<WorkflowApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<ExceptionView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let by = caller.principal;
    let mut filter = ExceptionFilter {
        state: params.state,
        run_id: params.run_id,
        visible_to: visible_to(&by)?,
        decidable_by: None,
    };
    if params.mine.unwrap_or(false) {
        let Some(person) = by.person.clone().filter(|_| by.may_decide) else {
            return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
        };
        filter.state = Some(ExceptionState::Pending);
        filter.decidable_by = Some((person, ops::kinds_of(&by)));
    }
    let page = api
        .store
        .read(move |tx| {
            let rows = store::list_exceptions(tx, &filter, params.cursor.as_deref(), limit + 1)?;
            let page = Page::cut(rows, limit, |e| e.id.to_string());
            let next_cursor = page.next_cursor;
            let items = page.items.into_iter().map(|e| ExceptionView::of(tx, &by, e)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(page))
}

/// One exception.
#[utoipa::path(get, path = "/api/exceptions/{id}", tag = "exceptions", params(("id" = ExceptionId, Path)),
    responses((status = 200, body = ExceptionView), (status = 404)))]
async fn get_exception(
    caller: Caller,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ExceptionId>,
) -> Result<Json<ExceptionView>, Failure> {
    let found = api
        .store
        .read(move |tx| {
            let exception = store::get_exception(tx, &id)?;
            if !is_visible(&caller.principal, &exception) {
                return Err(Problem::missing("exception", &id));
            }
            ExceptionView::of(tx, &caller.principal, exception)
        })
        .await?;
    Ok(Json(found))
}

/// A decision about an exception.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AgreementBody {
    /// `approve` or `reject`.
    decision: Agreement,
    /// Why.
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Agreement {
    /// Agree, and have it done.
    Approve,
    /// Refuse.
    Reject,
}

/// Who may change what holds for everybody.
type MayChange = ((may::SettingsWrite, may::ConnectorRotate), (may::WorkflowWrite, may::AuditErase));

/// Agrees to what somebody else asked for, which does it, or refuses it.
#[utoipa::path(post, path = "/api/exceptions/{id}/decide", tag = "exceptions", params(("id" = ExceptionId, Path)),
    request_body = AgreementBody,
    responses((status = 200, body = ExceptionView), (status = 403), (status = 409), (status = 422)))]
async fn decide(
    caller: Allowed<(MayChange, (may::AssignmentWrite, may::RunManage))>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ExceptionId>,
    Body(body): Body<AgreementBody>,
) -> Result<Json<ExceptionView>, Failure> {
    let by = caller.principal;
    let decided = api.store.write(move |tx| {
        if !is_visible(&by, &store::get_exception(tx, &id)?) {
            return Err(Problem::missing("exception", &id));
        }
        let exception = ops::decide(tx, &by, &id, body.decision == Agreement::Approve, &body.reason)?;
        ExceptionView::of(tx, &by, exception)
    });
    Ok(Json(decided.await?))
}

/// Something that is asked for here and nowhere else.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AskBody {
    /// `four_eyes_off`.
    kind: Asked,
    /// Why.
    reason: String,
}

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Asked {
    /// The rule of the second person is switched off.
    FourEyesOff,
}

/// Asks for the rule of the second person to be switched off.
#[utoipa::path(post, path = "/api/exceptions", tag = "exceptions", request_body = AskBody,
    responses((status = 202, body = ExceptionView), (status = 403), (status = 409), (status = 422)))]
async fn ask_for_one(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<WorkflowApi>,
    Body(body): Body<AskBody>,
) -> Result<Answer<ExceptionView>, Failure> {
    let by = caller.principal;
    let policy = api.four_eyes.clone();
    let answer = api.store.write(move |tx| {
        let Asked::FourEyesOff = body.kind;
        if !ops::is_on(tx, &policy)? {
            return Err(Problem::Conflict("The rule of the second person is off already.".to_owned()));
        }
        let outcome = ops::through(tx, &by, &policy, Act::FourEyesOff, &body.reason)?;
        // With the rule on, this always asks.
        Answer::of(tx, &by, outcome, |_, _| Err(Problem::internal("the rule was switched off by one person")))
    });
    Ok(answer.await?)
}

/// A role for a person.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GrantBody {
    /// Who gets it.
    person_id: PersonId,
    /// Which one.
    role_id: RoleId,
    /// From when; at once when absent.
    #[serde(default)]
    starts_at: Option<Timestamp>,
    /// Until when; as long as the role says when absent.
    #[serde(default)]
    expires_at: Option<Timestamp>,
    /// The documents it rests on; the person's live ones of the types that the role needs besides.
    #[serde(default)]
    document_ids: Vec<DocumentId>,
    /// Why.
    reason: String,
}

/// Grants a role outside a run. With the rule of the second person on, it is asked for.
#[utoipa::path(post, path = "/api/assignments", tag = "access", request_body = GrantBody,
    responses((status = 201, body = Assignment), (status = 202, body = ExceptionView), (status = 403), (status = 404), (status = 409),
              (status = 422)))]
async fn grant_role(
    caller: Allowed<may::AssignmentWrite>,
    State(api): State<WorkflowApi>,
    Body(body): Body<GrantBody>,
) -> Result<Answer<Assignment>, Failure> {
    let by = caller.principal;
    let policy = api.four_eyes.clone();
    let answer = api.store.write(move |tx| {
        let GrantBody { person_id, role_id, starts_at, expires_at, document_ids, reason } = body.clone();
        let act = Act::GrantRole { person_id, role_id, starts_at, expires_at, document_ids };
        let outcome = ops::through(tx, &by, &policy, act, &reason)?;
        Answer::of(tx, &by, outcome, assignment).map(|a| a.as_status(StatusCode::CREATED))
    });
    Ok(answer.await?)
}

/// The assignment that was made or changed.
pub(super) fn assignment(tx: &Tx<'_>, done: Done) -> Result<Assignment, Problem> {
    match done {
        Done::Assignment(id) => assignments::store::get_assignment(tx, &id),
        other => Err(Problem::internal(format!("expected an assignment, got {other:?}"))),
    }
}

/// A later end.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExtendBody {
    /// Until when; after the present end.
    expires_at: Timestamp,
    /// Why.
    reason: String,
}

/// An assignment that lasts longer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExtendedView {
    /// The assignment with its new end.
    #[serde(flatten)]
    assignment: Assignment,
    /// When a document that it rests on ends it all the same, if that is before the new end.
    document_ends_at: Option<Timestamp>,
}

/// Lets an assignment last longer. With the rule of the second person on, it is asked for.
#[utoipa::path(post, path = "/api/assignments/{id}/extend", tag = "access", params(("id" = AssignmentId, Path)),
    request_body = ExtendBody,
    responses((status = 200, body = ExtendedView), (status = 202, body = ExceptionView), (status = 403), (status = 404),
              (status = 409), (status = 422)))]
async fn extend_assignment(
    caller: Allowed<may::AssignmentWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<AssignmentId>,
    Body(body): Body<ExtendBody>,
) -> Result<Answer<ExtendedView>, Failure> {
    let by = caller.principal;
    let policy = api.four_eyes.clone();
    let answer = api.store.write(move |tx| {
        let outcome = ops::extend_assignment(tx, &by, &policy, &id, body.expires_at, &body.reason)?;
        Answer::of(tx, &by, outcome, |tx, done| {
            let assignment = assignment(tx, done)?;
            let document_ends_at = history::ops::document_end_before(tx, &id, assignment.expires_at)?;
            Ok(ExtendedView { assignment, document_ends_at })
        })
    });
    Ok(answer.await?)
}
