//! Admin > Sign-in over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{CREATE_PEOPLE, MATCH_BY_MAIL, PASSWORD_LENGTH, ProviderInfo, ops};
use crate::base::access::may;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::oidc::RoleOfGroup;
use crate::features::identity::second_factor::{self, REQUIRED, Required};
use crate::features::settings::api::NumberInForce;
use crate::features::settings::{self, Effective, Source};
use crate::platform::http::{Allowed, Body, Failure, Routes, nullable};
use crate::platform::store::{Store, Tx};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct PolicyApi {
    /// The business database.
    pub store: Store,
    /// The provider that the environment names, if it does.
    pub provider: Option<ProviderInfo>,
}

/// The routes of how people sign in.
pub fn routes(state: PolicyApi) -> Routes {
    OpenApiRouter::new().routes(routes!(get_sign_in, put_sign_in)).with_state(state)
}

/// A value in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct InForce<T> {
    /// The value.
    value: T,
    /// Where it comes from.
    source: Source,
    /// Who saved it.
    changed_by: Option<WhoSaved>,
    /// When it was saved.
    changed_at: Option<Timestamp>,
}

/// Who saved a value.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct WhoSaved {
    /// The actor's id.
    id: String,
    /// The person's name; of an actor who is no person, the id.
    display_name: String,
}

impl<T> From<Effective<T>> for InForce<T> {
    fn from(e: Effective<T>) -> Self {
        Self {
            value: e.value,
            source: e.source,
            changed_by: e.changed_by.map(|by| WhoSaved { id: by.id, display_name: by.name }),
            changed_at: e.changed_at,
        }
    }
}

/// Admin > Sign-in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignInSettings {
    /// The provider, when the environment names one.
    provider: Option<ProviderInfo>,
    /// Whether somebody the provider sends is let in who was never here.
    create_people: InForce<bool>,
    /// Whether somebody the provider sends is who has the same verified address here.
    match_by_mail: InForce<bool>,
    /// In which claim the provider tells groups.
    groups_claim: InForce<String>,
    /// Which groups of the provider have which system role.
    role_mapping: InForce<Vec<RoleOfGroup>>,
    /// Who signs in with a password and has to have a second factor.
    second_factor: InForce<Required>,
    /// The fewest characters of a new password.
    password_min_length: NumberInForce,
}

/// Any subset; null goes back to the default.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignInChange {
    /// Whether somebody the provider sends is let in who was never here.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<bool>)]
    create_people: Option<Option<bool>>,
    /// Whether somebody the provider sends is who has the same verified address here.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<bool>)]
    match_by_mail: Option<Option<bool>>,
    /// In which claim the provider tells groups.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    groups_claim: Option<Option<String>>,
    /// Which groups of the provider have which system role; at most 200.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<RoleOfGroup>>)]
    role_mapping: Option<Option<Vec<RoleOfGroup>>>,
    /// Who signs in with a password and has to have a second factor.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Required>)]
    second_factor: Option<Option<Required>>,
    /// 12 to 64; passwords that are there already stay.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    password_min_length: Option<Option<u32>>,
}

/// How people sign in.
#[utoipa::path(get, path = "/api/settings/sign-in", tag = "settings", responses((status = 200, body = SignInSettings)))]
async fn get_sign_in(_: Allowed<may::SettingsRead>, State(api): State<PolicyApi>) -> Result<Json<SignInSettings>, Failure> {
    let provider = api.provider;
    Ok(Json(api.store.read(move |tx| in_force(tx, provider.clone())).await?))
}

/// Changes any part of how people sign in.
#[utoipa::path(put, path = "/api/settings/sign-in", tag = "settings", request_body = SignInChange,
    responses((status = 200, body = SignInSettings), (status = 422)))]
async fn put_sign_in(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<PolicyApi>,
    Body(change): Body<SignInChange>,
) -> Result<Json<SignInSettings>, Failure> {
    let (by, provider) = (caller.principal, api.provider);
    let answer = api.store.write(move |tx| {
        for (name, value) in [(CREATE_PEOPLE.1, change.create_people), (MATCH_BY_MAIL.1, change.match_by_mail)] {
            if let Some(value) = value {
                ops::set_flag(tx, &by, name, value)?;
            }
        }
        if let Some(value) = &change.groups_claim {
            ops::set_groups_claim(tx, &by, value.as_deref())?;
        }
        if let Some(value) = &change.role_mapping {
            ops::set_role_mapping(tx, &by, value.as_deref())?;
        }
        if let Some(value) = change.second_factor {
            settings::ops::set(tx, &by, REQUIRED.1, value.map(Required::as_str))?;
        }
        if let Some(value) = change.password_min_length {
            settings::ops::set_number(tx, &by, PASSWORD_LENGTH.setting, value)?;
        }
        in_force(tx, provider.clone())
    });
    Ok(Json(answer.await?))
}

fn in_force(tx: &Tx<'_>, provider: Option<ProviderInfo>) -> Result<SignInSettings, Problem> {
    Ok(SignInSettings {
        provider,
        create_people: ops::create_people(tx)?.into(),
        match_by_mail: ops::match_by_mail(tx)?.into(),
        groups_claim: ops::groups_claim(tx)?.into(),
        role_mapping: ops::role_mapping(tx)?.into(),
        second_factor: second_factor::ops::required(tx)?.into(),
        password_min_length: NumberInForce::of(ops::password_length(tx)?, PASSWORD_LENGTH.setting),
    })
}
