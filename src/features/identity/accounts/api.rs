//! Accounts over HTTP, for administrators and for the command line.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::{self, NewToken, TOKEN_PREFIX};
use super::{Account, password, store};
use crate::base::access::{SystemRole, may};
use crate::base::id::{AccountId, PersonId, TokenId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::{self, NewPerson};
use crate::features::identity::policy;
use crate::features::identity::sessions::ops::{Identity, new_secret};
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct AccountsApi {
    /// Stores, ids, passwords.
    pub identity: Identity,
}

/// The routes of accounts.
pub fn routes(state: AccountsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_accounts, create_account))
        .routes(routes!(disable_account))
        .routes(routes!(enable_account))
        .routes(routes!(reset_password))
        .routes(routes!(create_token))
        .with_state(state)
}

/// How a person signs in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccountInfo {
    /// The id.
    id: AccountId,
    /// Whose it is.
    person_id: PersonId,
    /// The address that is typed at sign-in.
    email: String,
    /// False once it was disabled.
    active: bool,
    /// System roles.
    roles: Vec<SystemRole>,
    /// Whether a code is asked for after the password.
    second_factor: bool,
    /// The password that was made, once, in the answer that makes the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl From<Account> for AccountInfo {
    fn from(a: Account) -> Self {
        Self { id: a.id, person_id: a.person_id, email: a.email, active: a.active, roles: a.roles, second_factor: a.second_factor, password: None }
    }
}

/// Which accounts.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// Only the one with this address.
    email: Option<String>,
    /// Only the one of this person.
    person_id: Option<PersonId>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Accounts, by address.
#[utoipa::path(get, path = "/api/accounts", tag = "accounts", params(ListParams),
    responses((status = 200, body = Page<AccountInfo>)))]
async fn list_accounts(
    _: Allowed<may::AccountRead>,
    State(api): State<AccountsApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<AccountInfo>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let rows = api
        .identity
        .store
        .read(move |tx| match (&params.email, &params.person_id) {
            (Some(email), _) => Ok(store::find_by_email(tx, email)?.into_iter().collect()),
            (None, Some(person)) => Ok(store::find_by_person(tx, person)?.into_iter().collect()),
            (None, None) => store::list_accounts(tx, params.cursor.as_deref(), limit + 1),
        })
        .await?;
    Ok(Json(Page::cut(rows, limit, |a: &Account| a.email.clone()).map(AccountInfo::from)))
}

/// A person with an account.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AccountBody {
    /// Address to sign in with.
    email: String,
    /// How they are called.
    display_name: String,
    /// At least 12 characters; one is made when absent.
    #[serde(default)]
    password: Option<String>,
    /// System roles.
    #[serde(default)]
    roles: Vec<SystemRole>,
}

/// Adds a person with an account.
#[utoipa::path(post, path = "/api/accounts", tag = "accounts", request_body = AccountBody,
    responses((status = 201, body = AccountInfo), (status = 409), (status = 422)))]
async fn create_account(
    caller: Allowed<may::AccountWrite>,
    State(api): State<AccountsApi>,
    Body(body): Body<AccountBody>,
) -> Result<(StatusCode, Json<AccountInfo>), Failure> {
    let made = body.password.is_none().then(|| format!("{:024x}", api.identity.ids.next_random() >> 32));
    let password = body.password.clone().or_else(|| made.clone()).unwrap_or_default();
    let hash = hashed(&api, password, &body.email).await?;
    let by = caller.principal;
    let account = api
        .identity
        .store
        .write(move |tx| {
            let new = NewPerson {
                display_name: body.display_name.clone(),
                email: body.email.clone(),
                manager_id: None,
                attributes: json!({}),
            };
            let person = people::ops::create_person(tx, &by, new)?;
            let id = ops::create_account(tx, &by, &person.id, &body.email, Some(hash.clone()), &body.roles)?;
            store::get_account(tx, &id)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(AccountInfo { password: made, ..account.into() })))
}

/// Switches an account off; its sessions and tokens end at once.
#[utoipa::path(post, path = "/api/accounts/{id}/disable", tag = "accounts", params(("id" = AccountId, Path)),
    responses((status = 204), (status = 404), (status = 409)))]
async fn disable_account(
    caller: Allowed<may::AccountWrite>,
    State(api): State<AccountsApi>,
    IdPath(id): IdPath<AccountId>,
) -> Result<StatusCode, Failure> {
    let by = caller.principal;
    let done = move |tx: &crate::platform::store::Tx<'_>| {
        ops::disable_account(tx, &by, &store::get_account(tx, &id)?.email)
    };
    api.identity.store.write(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an account may do from now on.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct EnableBody {
    /// System roles; those it had before do not come back by themselves.
    #[serde(default)]
    roles: Vec<SystemRole>,
}

/// Switches an account on again, with these roles; its tokens stay revoked.
#[utoipa::path(post, path = "/api/accounts/{id}/enable", tag = "accounts", params(("id" = AccountId, Path)),
    request_body = EnableBody, responses((status = 200, body = AccountInfo), (status = 404), (status = 409)))]
async fn enable_account(
    caller: Allowed<may::AccountWrite>,
    State(api): State<AccountsApi>,
    IdPath(id): IdPath<AccountId>,
    Body(body): Body<EnableBody>,
) -> Result<Json<AccountInfo>, Failure> {
    let by = caller.principal;
    let account = api.identity.store.write(move |tx| ops::enable_account(tx, &by, &id, &body.roles)).await?;
    Ok(Json(account.into()))
}

/// Another password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    /// At least 12 characters.
    password: String,
}

/// Gives an account another password; its sessions end at once.
#[utoipa::path(post, path = "/api/accounts/{id}/reset-password", tag = "accounts",
    params(("id" = AccountId, Path)), request_body = PasswordBody,
    responses((status = 204), (status = 404), (status = 422)))]
async fn reset_password(
    caller: Allowed<may::AccountWrite>,
    State(api): State<AccountsApi>,
    IdPath(id): IdPath<AccountId>,
    Body(body): Body<PasswordBody>,
) -> Result<StatusCode, Failure> {
    let wanted = id.clone();
    let email = api.identity.store.read(move |tx| Ok(store::get_account(tx, &wanted)?.email)).await?;
    let hash = hashed(&api, body.password, &email).await?;
    let by = caller.principal;
    api.identity.store.write(move |tx| ops::reset_password(tx, &by, &email, &hash)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn hashed(api: &AccountsApi, password: String, email: &str) -> Result<String, Problem> {
    let least = api.identity.store.read(policy::ops::password_length).await?.value;
    Problem::from_fields(password::faults("password", &password, email, least))?;
    api.identity.passwords.hash(password).await
}

/// A token that is wanted for somebody.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForeignTokenBody {
    /// What it is for.
    name: String,
    /// A subset of permissions; absent for all of the owner's.
    #[serde(default)]
    scope: Option<Vec<String>>,
    /// When it ends; 90 days from now when absent, at most 366.
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

/// A token that was made for somebody.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForeignToken {
    /// The id.
    id: TokenId,
    /// The secret, once.
    token: String,
    /// When it ends.
    expires_at: Timestamp,
}

/// Makes a token for an account; such a token never decides approvals.
#[utoipa::path(post, path = "/api/accounts/{id}/tokens", tag = "accounts",
    params(("id" = AccountId, Path)), request_body = ForeignTokenBody,
    responses((status = 201, body = ForeignToken), (status = 404), (status = 422)))]
async fn create_token(
    caller: Allowed<may::AccountWrite>,
    State(api): State<AccountsApi>,
    IdPath(id): IdPath<AccountId>,
    Body(body): Body<ForeignTokenBody>,
) -> Result<(StatusCode, Json<ForeignToken>), Failure> {
    let secret = format!("{TOKEN_PREFIX}{}", new_secret(api.identity.ids.as_ref()));
    let shown = secret.clone();
    let by = caller.principal;
    let token = api
        .identity
        .store
        .write(move |tx| {
            let account = store::get_account(tx, &id)?;
            let body = body.clone();
            let new = NewToken { name: body.name, scope: body.scope, expires_at: body.expires_at };
            ops::create_token(tx, &by, &account, new, &secret)
        })
        .await?;
    let made = ForeignToken { id: token.id, token: shown, expires_at: token.expires_at };
    Ok((StatusCode::CREATED, Json(made)))
}
