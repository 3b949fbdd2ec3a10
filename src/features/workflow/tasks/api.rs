//! Tasks and consents over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, TaskFilter};
use super::{Act, Counts, Task, TaskKind, TaskState, Which, ops};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{CommentId, PersonId, RunId, TaskId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::{self, PersonRef};
use crate::features::workflow::runs::forms::FormView;
use crate::features::workflow::{WorkflowApi, definitions, runs};
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of tasks.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_tasks))
        .routes(routes!(count_tasks))
        .routes(routes!(get_task))
        .routes(routes!(claim))
        .routes(routes!(release))
        .routes(routes!(assign))
        .routes(routes!(hold))
        .routes(routes!(resume))
        .routes(routes!(complete))
        .routes(routes!(answer))
        .routes(routes!(comment))
        .with_state(state)
}

/// Comments that are shown with a task.
const COMMENTS: u32 = 200;

/// A task or a consent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// The id.
    id: TaskId,
    /// What is owed.
    kind: TaskKind,
    /// The run that waits for it.
    run_id: RunId,
    /// Whether the run only pretends, so that nothing is given by it.
    mock: bool,
    /// The workflow's name.
    workflow_name: String,
    /// The step's name.
    step_name: String,
    /// What is to be done.
    title: String,
    /// How; of a consent, the text.
    description: String,
    /// What is filled in.
    form: FormView,
    /// How it stands.
    state: TaskState,
    /// Whom the run is about.
    subject: Option<PersonRef>,
    /// Who started the run.
    requested_by: Option<PersonRef>,
    /// Who may do it.
    candidates: Vec<PersonRef>,
    /// Who has it.
    assignee: Option<PersonRef>,
    /// What whoever has it waits for.
    hold_reason: Option<String>,
    /// Since when it is owed.
    created_at: Timestamp,
    /// When it is overdue.
    due_at: Option<Timestamp>,
    /// `completed`, `agreed` or `declined`, once it is done.
    outcome: Option<String>,
    /// What was filled in.
    #[schema(value_type = Option<Object>)]
    values: Option<Map<String, Value>>,
    /// What was said with the answer.
    reason: Option<String>,
    /// When it was done.
    done_at: Option<Timestamp>,
    /// Who did it.
    done_by: Option<PersonRef>,
    /// What the caller may do with it now.
    actions: Vec<Act>,
    /// What people wrote, oldest first; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<Vec<CommentView>>,
}

/// Something somebody wrote.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CommentView {
    /// The id.
    id: CommentId,
    /// Who.
    person: Option<PersonRef>,
    /// When.
    at: Timestamp,
    /// What.
    text: String,
}

fn refs(tx: &Tx<'_>, id: Option<&PersonId>) -> Result<Option<PersonRef>, Problem> {
    id.map_or(Ok(None), |id| people::store::person_ref(tx, id))
}

fn in_list(tx: &Tx<'_>, by: &Principal, t: Task) -> Result<TaskView, Problem> {
    let run = runs::store::get_run(tx, &t.run_id)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let actions = Act::ALL.into_iter().filter(|act| t.why_not(by, *act).is_none()).collect();
    let mut candidates = Vec::with_capacity(t.candidates.len());
    for id in &t.candidates {
        candidates.extend(people::store::person_ref(tx, id)?);
    }
    Ok(TaskView {
        workflow_name: workflow.definition.name.clone(),
        subject: refs(tx, t.subject_id.as_ref())?,
        requested_by: refs(tx, t.requested_by.as_ref())?,
        assignee: refs(tx, t.assignee_id.as_ref())?,
        done_by: refs(tx, t.done_by.as_ref())?,
        candidates,
        actions,
        form: FormView::of(t.form),
        id: t.id,
        kind: t.kind,
        run_id: t.run_id,
        mock: run.mock,
        step_name: t.step_name,
        title: t.title,
        description: t.description,
        state: t.state,
        hold_reason: t.hold_reason,
        created_at: t.created_at,
        due_at: t.due_at,
        outcome: t.outcome,
        values: t.given,
        reason: t.reason,
        done_at: t.done_at,
        comments: None,
    })
}

fn view(tx: &Tx<'_>, by: &Principal, task: Task) -> Result<TaskView, Problem> {
    let mut comments = Vec::new();
    for c in store::list_comments(tx, &task.id, COMMENTS)? {
        comments.push(CommentView { person: refs(tx, Some(&c.person))?, id: c.id, at: c.at, text: c.text });
    }
    Ok(TaskView { comments: Some(comments), ..in_list(tx, by, task)? })
}

/// What one needs to see tasks at all.
type SeesTasks = (may::TaskRead, may::TaskWork);

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListParams {
    /// `open` (which are owed), `done` (which are over) or `all`; open when absent.
    state: Option<String>,
    /// Only those of them that are `free`, `taken`, `held` or `overdue`.
    #[param(inline)]
    which: Option<Which>,
    /// Only those that the caller has or may take.
    mine: Option<bool>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What the caller may see, or what is theirs to do.
fn filter_for(by: &Principal, mine: bool) -> Result<TaskFilter, Problem> {
    let person = || by.person.clone().ok_or_else(|| Problem::Forbidden("Only people have tasks.".to_owned()));
    Ok(TaskFilter {
        mine: if mine { Some(person()?) } else { None },
        visible_to: if by.can(Permission::TaskRead) { None } else { Some(person()?) },
        ..TaskFilter::default()
    })
}

/// Tasks and consents, newest first.
#[utoipa::path(get, path = "/api/tasks", tag = "people's work", params(ListParams),
    responses((status = 200, body = Page<TaskView>)))]
async fn list_tasks(
    caller: Allowed<SeesTasks>,
    State(api): State<WorkflowApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<TaskView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let over = match params.state.as_deref() {
        None | Some("open") => Some(false),
        Some("done") => Some(true),
        Some("all") => None,
        Some(_) => return Err(Problem::field("state", "expected open, done or all").into()),
    };
    let by = caller.principal;
    let filter = TaskFilter { over, which: params.which, ..filter_for(&by, params.mine.unwrap_or(false))? };
    let page = api
        .store
        .read(move |tx| {
            let rows = store::list_tasks(tx, &filter, params.cursor.as_deref(), limit + 1)?;
            let page = Page::cut(rows, limit, |t| t.id.to_string());
            let next_cursor = page.next_cursor;
            let items = page.items.into_iter().map(|t| in_list(tx, &by, t)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(page))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct CountParams {
    /// Only those that the caller has or may take.
    mine: Option<bool>,
}

/// How many tasks and consents are owed, in all and by how they stand.
#[utoipa::path(get, path = "/api/tasks/counts", tag = "people's work", params(CountParams),
    responses((status = 200, body = Counts)))]
async fn count_tasks(
    caller: Allowed<SeesTasks>,
    State(api): State<WorkflowApi>,
    Params(params): Params<CountParams>,
) -> Result<Json<Counts>, Failure> {
    let filter = filter_for(&caller.principal, params.mine.unwrap_or(false))?;
    Ok(Json(api.store.read(move |tx| store::count_tasks(tx, &filter)).await?))
}

/// One task or consent.
#[utoipa::path(get, path = "/api/tasks/{id}", tag = "people's work", params(("id" = TaskId, Path)),
    responses((status = 200, body = TaskView), (status = 404)))]
async fn get_task(
    caller: Allowed<SeesTasks>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
) -> Result<Json<TaskView>, Failure> {
    let by = caller.principal;
    let found = api.store.read(move |tx| {
        let task = store::get_task(tx, &id)?;
        if task.is_visible_to(&by) { view(tx, &by, task) } else { Err(Problem::missing("task", &id)) }
    });
    Ok(Json(found.await?))
}

/// Does something with a task and shows it as it is then.
async fn act(
    api: WorkflowApi,
    by: Principal,
    work: impl Fn(&Tx<'_>, &Principal) -> Result<Task, Problem> + Send + 'static,
) -> Result<Json<TaskView>, Failure> {
    Ok(Json(api.store.write(move |tx| work(tx, &by).and_then(|task| view(tx, &by, task))).await?))
}

/// Takes a task that nobody has.
#[utoipa::path(post, path = "/api/tasks/{id}/claim", tag = "people's work", params(("id" = TaskId, Path)),
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 409)))]
async fn claim(
    caller: Allowed<may::TaskWork>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::claim(tx, by, &id)).await
}

/// Gives a task back, so that others can take it.
#[utoipa::path(post, path = "/api/tasks/{id}/release", tag = "people's work", params(("id" = TaskId, Path)),
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 409)))]
async fn release(
    caller: Allowed<may::TaskWork>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::release(tx, by, &id)).await
}

/// To whom a task goes.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssignBody {
    /// Who does it from now on.
    person_id: PersonId,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Gives a task to somebody; for administrators and resource managers.
#[utoipa::path(post, path = "/api/tasks/{id}/assign", tag = "people's work", params(("id" = TaskId, Path)),
    request_body = AssignBody,
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 409), (status = 422)))]
async fn assign(
    caller: Allowed<may::TaskAssign>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
    Body(body): Body<AssignBody>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::assign(tx, by, &id, &body.person_id, body.reason.as_deref())).await
}

/// What a task waits for.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    /// What it waits for.
    reason: String,
}

/// Says that a task waits for something.
#[utoipa::path(post, path = "/api/tasks/{id}/hold", tag = "people's work", params(("id" = TaskId, Path)),
    request_body = HoldBody,
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 409), (status = 422)))]
async fn hold(
    caller: Allowed<may::TaskWork>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
    Body(body): Body<HoldBody>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::hold(tx, by, &id, &body.reason)).await
}

/// Goes on with a task that was on hold.
#[utoipa::path(post, path = "/api/tasks/{id}/resume", tag = "people's work", params(("id" = TaskId, Path)),
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 409)))]
async fn resume(
    caller: Allowed<may::TaskWork>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::resume(tx, by, &id)).await
}

/// What was filled in.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct CompleteBody {
    /// A value for each field of the form.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
}

/// Finishes a task that the caller has; the run goes on.
#[utoipa::path(post, path = "/api/tasks/{id}/complete", tag = "people's work", params(("id" = TaskId, Path)),
    request_body = CompleteBody,
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 409), (status = 422)))]
async fn complete(
    caller: Allowed<may::TaskWork>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
    Body(body): Body<CompleteBody>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::complete(tx, by, &id, body.values.clone())).await
}

/// An answer to a consent.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TaskAnswerBody)]
struct AnswerBody {
    /// True to agree, false to decline.
    agree: bool,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Agrees to the text of a consent, or declines; the run goes on.
#[utoipa::path(post, path = "/api/tasks/{id}/answer", tag = "people's work", params(("id" = TaskId, Path)),
    request_body = AnswerBody,
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 409), (status = 422)))]
async fn answer(
    caller: Allowed<may::TaskWork>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
    Body(body): Body<AnswerBody>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::answer(tx, by, &id, body.agree, body.reason.as_deref())).await
}

/// A comment.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CommentBody {
    /// What is said.
    text: String,
}

/// Writes about a task; everybody who takes part sees it.
#[utoipa::path(post, path = "/api/tasks/{id}/comment", tag = "people's work", params(("id" = TaskId, Path)),
    request_body = CommentBody,
    responses((status = 200, body = TaskView), (status = 403), (status = 404), (status = 422)))]
async fn comment(
    caller: Allowed<may::TaskWork>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<TaskId>,
    Body(body): Body<CommentBody>,
) -> Result<Json<TaskView>, Failure> {
    act(api, caller.principal, move |tx, by| ops::comment(tx, by, &id, &body.text)).await
}
