//! Groups over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::{self, GroupChange, NewGroup};
use super::{Group, Member, Uses, store};
use crate::base::access::may;
use crate::base::id::{GroupId, PersonId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes, nullable};
use crate::platform::store::Store;

/// Members that one request puts in or takes out at most.
const MAX_MEMBERS: usize = 200;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct GroupsApi {
    /// The business database.
    pub store: Store,
    /// Which workflows use a group.
    pub uses: Uses,
}

/// The routes of groups.
pub fn routes(state: GroupsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_groups, create_group))
        .routes(routes!(get_group, change_group, delete_group))
        .routes(routes!(list_members, change_members))
        .with_state(state)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListParams {
    /// Part of a name.
    q: Option<String>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Groups, by name.
#[utoipa::path(get, path = "/api/groups", tag = "people", params(ListParams),
    responses((status = 200, body = Page<Group>)))]
async fn list_groups(
    _: Allowed<may::PersonRead>,
    State(api): State<GroupsApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Group>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let rows = api
        .store
        .read(move |tx| store::list_groups(tx, params.q.as_deref(), params.cursor.as_deref(), limit + 1))
        .await?;
    Ok(Json(Page::cut(rows, limit, |g| g.name.clone())))
}

/// A group to be added.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupBody {
    /// How it is called; unique.
    name: String,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Who answers for it.
    #[serde(default)]
    owner_id: Option<PersonId>,
    /// Who is in it, at most 200; more are put in afterwards.
    #[serde(default)]
    member_ids: Vec<PersonId>,
}

/// Adds a group.
#[utoipa::path(post, path = "/api/groups", tag = "people", request_body = GroupBody,
    responses((status = 201, body = Group), (status = 409), (status = 422)))]
async fn create_group(
    caller: Allowed<may::PersonWrite>,
    State(api): State<GroupsApi>,
    Body(body): Body<GroupBody>,
) -> Result<(StatusCode, Json<Group>), Failure> {
    few("memberIds", body.member_ids.len())?;
    let uses = api.uses.clone();
    let group = api
        .store
        .write(move |tx| {
            let body = body.clone();
            let new = NewGroup {
                name: body.name,
                description: body.description,
                owner: body.owner_id,
                external_id: None,
                members: body.member_ids,
            };
            ops::create(tx, &caller.principal, &uses, new)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(group)))
}

/// A group with what depends on it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct GroupDetail {
    /// The group.
    #[serde(flatten)]
    group: Group,
    /// Workflows that use it; while there are any, it is not deleted.
    used_by: Vec<String>,
    /// Former names by which workflows still use it.
    former_names: Vec<String>,
}

/// One group.
#[utoipa::path(get, path = "/api/groups/{id}", tag = "people", params(("id" = GroupId, Path)),
    responses((status = 200, body = GroupDetail), (status = 404)))]
async fn get_group(
    _: Allowed<may::PersonRead>,
    State(api): State<GroupsApi>,
    IdPath(id): IdPath<GroupId>,
) -> Result<Json<GroupDetail>, Failure> {
    let uses = api.uses.clone();
    let detail = api.store.read(move |tx| {
        let group = store::get_group(tx, &id)?;
        let used_by = ops::used_by(tx, &uses, &group)?;
        Ok(GroupDetail { former_names: store::former_names(tx, &id)?, used_by, group })
    });
    Ok(Json(detail.await?))
}

/// What changes of a group; absent fields stay.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct GroupChangeBody {
    /// New name. Workflows that use the old one still find the group.
    name: Option<String>,
    /// New description.
    description: Option<String>,
    /// New owner; null for none.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<PersonId>)]
    owner_id: Option<Option<PersonId>>,
}

/// Changes a group.
#[utoipa::path(patch, path = "/api/groups/{id}", tag = "people", params(("id" = GroupId, Path)),
    request_body = GroupChangeBody, responses((status = 200, body = Group), (status = 404), (status = 409), (status = 422)))]
async fn change_group(
    caller: Allowed<may::PersonWrite>,
    State(api): State<GroupsApi>,
    IdPath(id): IdPath<GroupId>,
    Body(body): Body<GroupChangeBody>,
) -> Result<Json<Group>, Failure> {
    let uses = api.uses.clone();
    let group = api
        .store
        .write(move |tx| {
            let body = body.clone();
            let change =
                GroupChange { name: body.name, description: body.description, owner: body.owner_id, external_id: None };
            ops::change(tx, &caller.principal, &uses, &id, change)
        })
        .await?;
    Ok(Json(group))
}

/// Deletes a group that no workflow uses.
#[utoipa::path(delete, path = "/api/groups/{id}", tag = "people", params(("id" = GroupId, Path)),
    responses((status = 204), (status = 404), (status = 409)))]
async fn delete_group(
    caller: Allowed<may::PersonWrite>,
    State(api): State<GroupsApi>,
    IdPath(id): IdPath<GroupId>,
) -> Result<StatusCode, Failure> {
    let uses = api.uses.clone();
    api.store.write(move |tx| ops::delete(tx, &caller.principal, &uses, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The members of a group.
#[utoipa::path(get, path = "/api/groups/{id}/members", tag = "people", params(("id" = GroupId, Path), PageRequest),
    responses((status = 200, body = Page<Member>), (status = 404)))]
async fn list_members(
    _: Allowed<may::PersonRead>,
    State(api): State<GroupsApi>,
    IdPath(id): IdPath<GroupId>,
    Params(params): Params<PageRequest>,
) -> Result<Json<Page<Member>>, Failure> {
    let limit = params.limit()?;
    let rows = api.store.read(move |tx| {
        store::get_group(tx, &id)?;
        store::list_members(tx, &id, params.cursor.as_deref(), limit + 1)
    });
    Ok(Json(Page::cut(rows.await?, limit, |m| m.id.to_string())))
}

/// Who comes and who goes.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct MembersBody {
    /// Who is in it from now on.
    add: Vec<PersonId>,
    /// Who is not in it any more.
    remove: Vec<PersonId>,
}

/// How many came or went.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct MembersChanged {
    /// People who came or went.
    changed: u32,
}

/// Puts people into a group and takes others out, at most 200 at a time.
#[utoipa::path(post, path = "/api/groups/{id}/members", tag = "people", params(("id" = GroupId, Path)),
    request_body = MembersBody, responses((status = 200, body = MembersChanged), (status = 404), (status = 422)))]
async fn change_members(
    caller: Allowed<may::PersonWrite>,
    State(api): State<GroupsApi>,
    IdPath(id): IdPath<GroupId>,
    Body(body): Body<MembersBody>,
) -> Result<Json<MembersChanged>, Failure> {
    few("add", body.add.len() + body.remove.len())?;
    let changed =
        api.store.write(move |tx| ops::change_members(tx, &caller.principal, &id, &body.add, &body.remove)).await?;
    Ok(Json(MembersChanged { changed }))
}

fn few(field: &str, count: usize) -> Result<(), Problem> {
    if count > MAX_MEMBERS {
        return Err(Problem::field(field, format!("expected at most {MAX_MEMBERS} people at a time")));
    }
    Ok(())
}
