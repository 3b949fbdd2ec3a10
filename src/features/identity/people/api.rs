//! People over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::{self, PersonChange};
use super::{NewPerson, Person, PersonRef, store};
use crate::base::access::{Permission, may};
use crate::base::id::PersonId;
use crate::base::page::{Page, PageRequest};
use crate::features::identity::groups;
use crate::platform::http::{Allowed, Body, Caller, Failure, IdPath, Params, Routes, nullable};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct PeopleApi {
    /// The business database.
    pub store: Store,
}

/// The routes of people.
pub fn routes(state: PeopleApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_people, create_person))
        .routes(routes!(get_person, change_person))
        .routes(routes!(get_relations))
        .with_state(state.clone())
        .merge(super::profile::api::routes(state))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListParams {
    /// Part of a name or an address.
    q: Option<String>,
    /// `false` only leavers, `true` only people who are there.
    active: Option<bool>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// People, oldest first.
#[utoipa::path(get, path = "/api/people", tag = "people", params(ListParams),
    responses((status = 200, body = Page<Person>)))]
async fn list_people(
    _: Allowed<may::PersonRead>,
    State(api): State<PeopleApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Person>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let rows = api
        .store
        .read(move |tx| store::list_people(tx, params.q.as_deref(), params.active, params.cursor.as_deref(), limit + 1))
        .await?;
    Ok(Json(Page::cut(rows, limit, |p| p.id.to_string())))
}

/// A person to be added.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PersonBody {
    /// How they are called.
    display_name: String,
    /// Where mail reaches them.
    email: String,
    /// Who they report to.
    #[serde(default)]
    manager_id: Option<PersonId>,
    /// Profile attributes.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    attributes: Option<Value>,
}

/// Adds a person.
#[utoipa::path(post, path = "/api/people", tag = "people", request_body = PersonBody,
    responses((status = 201, body = Person), (status = 409), (status = 422)))]
async fn create_person(
    caller: Allowed<may::PersonWrite>,
    State(api): State<PeopleApi>,
    Body(body): Body<PersonBody>,
) -> Result<(StatusCode, Json<Person>), Failure> {
    let person = api
        .store
        .write(move |tx| {
            let body = body.clone();
            let new = NewPerson {
                display_name: body.display_name,
                email: body.email,
                manager_id: body.manager_id,
                attributes: body.attributes.unwrap_or_else(|| json!({})),
            };
            ops::create_person(tx, &caller.principal, new)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(person)))
}

/// One person.
#[utoipa::path(get, path = "/api/people/{id}", tag = "people", params(("id" = PersonId, Path)),
    responses((status = 200, body = Person), (status = 404)))]
async fn get_person(
    caller: Caller,
    State(api): State<PeopleApi>,
    IdPath(id): IdPath<PersonId>,
) -> Result<Json<Person>, Failure> {
    if !caller.principal.is_person(&id) {
        caller.principal.require(Permission::PersonRead)?;
    }
    Ok(Json(api.store.read(move |tx| store::get_person(tx, &id)).await?))
}

/// Who stands around a person.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Relations {
    /// Whom they report to.
    manager: Option<PersonRef>,
    /// Whom those report to, the nearest first.
    above: Vec<PersonRef>,
    /// Active people who report to them, at most 200.
    reports: Vec<PersonRef>,
    /// Groups that they are in.
    groups: Vec<groups::Group>,
}

/// Manager, reports and groups of a person.
#[utoipa::path(get, path = "/api/people/{id}/relations", tag = "people", params(("id" = PersonId, Path)),
    responses((status = 200, body = Relations), (status = 404)))]
async fn get_relations(
    caller: Caller,
    State(api): State<PeopleApi>,
    IdPath(id): IdPath<PersonId>,
) -> Result<Json<Relations>, Failure> {
    if !caller.principal.is_person(&id) {
        caller.principal.require(Permission::PersonRead)?;
    }
    let relations = api.store.read(move |tx| {
        store::get_person(tx, &id)?;
        let mut above = store::line_above(tx, &id)?;
        above.retain(|p| p.id != id);
        let manager = (!above.is_empty()).then(|| above.remove(0));
        Ok(Relations { manager, above, reports: store::reports(tx, &id, 200)?, groups: groups::store::groups_of(tx, &id)? })
    });
    Ok(Json(relations.await?))
}

/// What changes of a person; absent fields stay.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct PersonChangeBody {
    /// New name.
    display_name: Option<String>,
    /// New address.
    email: Option<String>,
    /// New manager; null for none.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<PersonId>)]
    manager_id: Option<Option<PersonId>>,
    /// New attributes, all of them.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Value>,
}

/// Changes a person.
#[utoipa::path(patch, path = "/api/people/{id}", tag = "people", params(("id" = PersonId, Path)),
    request_body = PersonChangeBody, responses((status = 200, body = Person), (status = 404), (status = 409), (status = 422)))]
async fn change_person(
    caller: Allowed<may::PersonWrite>,
    State(api): State<PeopleApi>,
    IdPath(id): IdPath<PersonId>,
    Body(body): Body<PersonChangeBody>,
) -> Result<Json<Person>, Failure> {
    let person = api
        .store
        .write(move |tx| {
            let body = body.clone();
            let change = PersonChange {
                display_name: body.display_name,
                email: body.email,
                manager_id: body.manager_id,
                attributes: body.attributes,
                active: None,
            };
            ops::change_person(tx, &caller.principal, &id, change)
        })
        .await?;
    Ok(Json(person))
}
