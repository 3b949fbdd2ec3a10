//! The schema of profile attributes over HTTP.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ProfileSchema, ops};
use crate::base::access::may;
use crate::features::identity::people::api::PeopleApi;
use crate::platform::http::{Allowed, Body, Failure, Routes};

/// The routes of the schema.
pub fn routes(state: PeopleApi) -> Routes {
    OpenApiRouter::new().routes(routes!(get_schema, put_schema)).with_state(state)
}

/// Which attributes people have. Without a saved schema every attribute is taken.
#[utoipa::path(get, path = "/api/settings/profile", tag = "settings", responses((status = 200, body = ProfileSchema)))]
async fn get_schema(
    _: Allowed<may::PersonRead>,
    State(api): State<PeopleApi>,
) -> Result<Json<ProfileSchema>, Failure> {
    Ok(Json(api.store.read(ops::schema).await?))
}

/// Says which attributes people have.
#[utoipa::path(put, path = "/api/settings/profile", tag = "settings", request_body = ProfileSchema,
    responses((status = 200, body = ProfileSchema), (status = 422)))]
async fn put_schema(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<PeopleApi>,
    Body(schema): Body<ProfileSchema>,
) -> Result<Json<ProfileSchema>, Failure> {
    Ok(Json(api.store.write(move |tx| ops::set_schema(tx, &caller.principal, &schema)).await?))
}
