//! Connectors over HTTP. Secrets go in and never out.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::guard::BreakerView;
use super::{
    CallAnswer, CallFailure, CommandSpec, Connector, ConnectorChange, Connectors, Kind, ListPage, ListRequest,
    NewConnector, Policy, drivers, ops, store,
};
use crate::base::access::{Principal, may};
use crate::base::id::ConnectorId;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct ConnectorsApi {
    /// The business database.
    pub store: Store,
    /// The service that calls.
    pub connectors: Connectors,
}

/// The routes of connectors.
pub fn routes(state: ConnectorsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_connectors, create_connector))
        .routes(routes!(get_connector, change_connector))
        .routes(routes!(test_connector))
        .routes(routes!(execute_command))
        .routes(routes!(list_page))
        .with_state(state)
}

/// A connected system.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConnectorView {
    /// The id.
    id: ConnectorId,
    /// The name, unique.
    name: String,
    /// What kind of system it is.
    kind: Kind,
    /// Its settings.
    #[schema(value_type = Object)]
    config: Value,
    /// How its calls are repeated and limited.
    policy: Policy,
    /// Whether its commands are only pretended: then nothing that it gives counts as given.
    mock: bool,
    /// Whether calls go out, or nobody calls for a while because they failed.
    breaker: BreakerView,
    /// The names of the secrets that are set.
    secrets_set: Vec<String>,
    /// The commands it understands.
    commands: &'static [CommandSpec],
    /// When it was created.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl ConnectorView {
    fn of(api: &ConnectorsApi, c: Connector) -> Self {
        Self {
            breaker: api.connectors.breaker(&c.id),
            id: c.id,
            name: c.name,
            kind: c.kind,
            config: c.config,
            policy: c.policy,
            mock: c.mock,
            secrets_set: c.secrets_set,
            commands: drivers::commands(c.kind),
            created_at: c.created_at,
            updated_at: c.updated_at,
        }
    }
}

/// A system to connect.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewConnectorBody {
    /// The name, unique.
    name: String,
    /// What kind of system it is.
    kind: Kind,
    /// Its settings.
    #[schema(value_type = Object)]
    #[serde(default = "empty")]
    config: Value,
    /// How its calls are repeated and limited; what is absent is as usual.
    #[serde(default)]
    policy: Policy,
    /// Whether its commands are only pretended; refused in production.
    #[serde(default)]
    mock: bool,
    /// Its secrets by name; they are never shown again.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
}

fn empty() -> Value {
    json!({})
}

/// Any subset of a connector.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConnectorChangeBody {
    /// A new name.
    name: Option<String>,
    /// New settings, whole.
    #[schema(value_type = Option<Object>)]
    config: Option<Value>,
    /// Another policy, whole; what is absent is as usual.
    policy: Option<Policy>,
    /// Whether its commands are only pretended; refused in production.
    mock: Option<bool>,
    /// Secrets to set; null removes one.
    #[serde(default)]
    secrets: BTreeMap<String, Option<String>>,
}

/// A command to run.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommandBody {
    /// The command's name.
    command: String,
    /// Its parameters, as they are: templates are not filled here.
    #[schema(value_type = Object)]
    #[serde(default = "empty")]
    params: Value,
}

/// Which page of which list.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListBody {
    /// The name of a command that lists.
    command: String,
    /// Its parameters.
    #[schema(value_type = Object)]
    #[serde(default = "empty")]
    params: Value,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// A page of what is there, or why there is none.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ListResult {
    /// Whether it is a page.
    ok: bool,
    /// The page.
    page: Option<ListPage>,
    /// Why there is none: a system that has nothing gives an empty page.
    error: Option<CallError>,
}

/// How a call went. A system that says no is an answer too, so the status of the reply is 200.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CallResult {
    /// Whether it did what it was asked.
    ok: bool,
    /// What it answered.
    #[schema(value_type = Option<Object>)]
    output: Option<Value>,
    /// Why not.
    error: Option<CallError>,
}

/// Why a call did not do what it was asked.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CallError {
    /// For people.
    message: String,
    /// For programs.
    code: String,
}

impl From<Result<CallAnswer, CallFailure>> for CallResult {
    fn from(result: Result<CallAnswer, CallFailure>) -> Self {
        match result {
            Ok(answer) => Self { ok: true, output: Some(answer.output), error: None },
            Err(e) => Self { ok: false, output: None, error: Some(CallError { message: e.message, code: e.code }) },
        }
    }
}

/// Connectors by name.
#[utoipa::path(get, path = "/api/connectors", tag = "connectors", params(PageRequest),
    responses((status = 200, body = Page<ConnectorView>)))]
async fn list_connectors(
    _: Allowed<may::ConnectorRead>,
    State(api): State<ConnectorsApi>,
    Params(page): Params<PageRequest>,
) -> Result<Json<Page<ConnectorView>>, Failure> {
    let found = api.store.read(move |tx| store::list_connectors(tx, &page)).await?;
    Ok(Json(found.map(|c| ConnectorView::of(&api, c))))
}

/// Connects a system.
#[utoipa::path(post, path = "/api/connectors", tag = "connectors", request_body = NewConnectorBody,
    responses((status = 201, body = ConnectorView), (status = 409), (status = 422)))]
async fn create_connector(
    caller: Allowed<may::ConnectorWrite>,
    State(api): State<ConnectorsApi>,
    Body(body): Body<NewConnectorBody>,
) -> Result<(StatusCode, Json<ConnectorView>), Failure> {
    let new = NewConnector {
        name: body.name,
        kind: body.kind,
        config: body.config,
        policy: body.policy,
        mock: body.mock,
        secrets: body.secrets,
    };
    api.connectors.check_allowed(new.kind, &new.config, new.mock)?;
    let secrets = api.connectors.secrets().clone();
    let created =
        api.store.write(move |tx| ops::create_connector(tx, &caller.principal, new.clone(), &secrets)).await?;
    Ok((StatusCode::CREATED, Json(ConnectorView::of(&api, created))))
}

/// One connector.
#[utoipa::path(get, path = "/api/connectors/{id}", tag = "connectors", params(("id" = ConnectorId, Path,)),
    responses((status = 200, body = ConnectorView), (status = 404)))]
async fn get_connector(
    _: Allowed<may::ConnectorRead>,
    State(api): State<ConnectorsApi>,
    IdPath(id): IdPath<ConnectorId>,
) -> Result<Json<ConnectorView>, Failure> {
    Ok(Json(ConnectorView::of(&api, exists(&api, &id).await?)))
}

/// Changes a connector. Pointing it elsewhere needs its secrets again.
#[utoipa::path(patch, path = "/api/connectors/{id}", tag = "connectors", params(("id" = ConnectorId, Path,)),
    request_body = ConnectorChangeBody,
    responses((status = 200, body = ConnectorView), (status = 404), (status = 409), (status = 422)))]
async fn change_connector(
    caller: Allowed<may::ConnectorWrite>,
    State(api): State<ConnectorsApi>,
    IdPath(id): IdPath<ConnectorId>,
    Body(body): Body<ConnectorChangeBody>,
) -> Result<Json<ConnectorView>, Failure> {
    let before = exists(&api, &id).await?;
    // What stays as it is may be allowed no more, and its secrets can be taken out all the same.
    api.connectors.check_allowed(before.kind, body.config.as_ref().unwrap_or(&Value::Null), body.mock.unwrap_or(false))?;
    let change =
        ConnectorChange { name: body.name, config: body.config, policy: body.policy, mock: body.mock, secrets: body.secrets };
    let secrets = api.connectors.secrets().clone();
    let changed =
        api.store.write(move |tx| ops::update_connector(tx, &caller.principal, &id, change.clone(), &secrets));
    Ok(Json(ConnectorView::of(&api, changed.await?)))
}

/// Whether the connected system is there and lets Tenure in.
#[utoipa::path(post, path = "/api/connectors/{id}/test", tag = "connectors", params(("id" = ConnectorId, Path,)),
    responses((status = 200, body = CallResult), (status = 404)))]
async fn test_connector(
    _: Allowed<may::ConnectorWrite>,
    State(api): State<ConnectorsApi>,
    IdPath(id): IdPath<ConnectorId>,
) -> Result<Json<CallResult>, Failure> {
    exists(&api, &id).await?;
    Ok(Json(api.connectors.test(&id).await.into()))
}

/// Runs a command by hand. It is audited before it goes out, and its outcome after.
#[utoipa::path(post, path = "/api/connectors/{id}/execute", tag = "connectors", params(("id" = ConnectorId, Path,)),
    request_body = CommandBody, responses((status = 200, body = CallResult), (status = 404), (status = 422)))]
async fn execute_command(
    caller: Allowed<may::ConnectorWrite>,
    State(api): State<ConnectorsApi>,
    IdPath(id): IdPath<ConnectorId>,
    Body(body): Body<CommandBody>,
) -> Result<Json<CallResult>, Failure> {
    let kind = exists(&api, &id).await?.kind;
    if drivers::commands(kind).iter().all(|c| c.name != body.command || c.lists) {
        let known: Vec<_> = drivers::commands(kind).iter().filter(|c| !c.lists).map(|c| c.name).collect();
        return Err(Problem::field("command", format!("expected one of {}", known.join(", "))).into());
    }
    record(&api, &caller.principal, &id, &body, "requested").await?;
    // A call by hand is an intent of its own: the request's id is its key.
    let key = caller.principal.request_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let result = api.connectors.call(&id, &body.command, &body.params, &key).await;
    let outcome = result.as_ref().err().map_or("done", |e| e.code.as_str()).to_owned();
    record(&api, &caller.principal, &id, &body, &outcome).await?;
    Ok(Json(result.into()))
}

/// A page of what is there, asked for by hand. Who has access where is personal, so it is audited.
#[utoipa::path(post, path = "/api/connectors/{id}/list", tag = "connectors", params(("id" = ConnectorId, Path,)),
    request_body = ListBody, responses((status = 200, body = ListResult), (status = 404), (status = 422)))]
async fn list_page(
    caller: Allowed<may::ConnectorWrite>,
    State(api): State<ConnectorsApi>,
    IdPath(id): IdPath<ConnectorId>,
    Body(body): Body<ListBody>,
) -> Result<Json<ListResult>, Failure> {
    let kind = exists(&api, &id).await?.kind;
    let known: Vec<_> = drivers::commands(kind).iter().filter(|c| c.lists).map(|c| c.name).collect();
    if !known.contains(&body.command.as_str()) {
        return Err(Problem::field("command", format!("expected one of {}", known.join(", "))).into());
    }
    let limit = body.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(Problem::field("limit", format!("got {limit}; expected 1 to 200")).into());
    }
    let request = ListRequest { command: body.command.clone(), params: body.params.clone(), cursor: body.cursor, limit };
    let answer = api.connectors.list(&id, &request).await;
    let outcome = answer.as_ref().err().map_or("done", |e| e.code.as_str()).to_owned();
    let call = CommandBody { command: body.command, params: body.params };
    record(&api, &caller.principal, &id, &call, &outcome).await?;
    Ok(Json(match answer {
        Ok(page) => ListResult { ok: true, page: Some(page), error: None },
        Err(e) => ListResult { ok: false, page: None, error: Some(CallError { message: e.message, code: e.code }) },
    }))
}

async fn exists(api: &ConnectorsApi, id: &ConnectorId) -> Result<Connector, Problem> {
    let id = id.clone();
    api.store.read(move |tx| store::get_connector(tx, &id)).await
}

async fn record(
    api: &ConnectorsApi,
    by: &Principal,
    id: &ConnectorId,
    body: &CommandBody,
    outcome: &str,
) -> Result<(), Problem> {
    let (by, id, outcome) = (by.clone(), id.clone(), outcome.to_owned());
    let (command, params) = (body.command.clone(), body.params.clone());
    api.store.write(move |tx| ops::record_call(tx, &by, &id, &command, &params, &outcome)).await
}
