//! The routes of SCIM below `/scim/v2`. They are described by `/Schemas`, not by the OpenAPI document: they
//! have their own tokens, their own errors and their own media type.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, RequestExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::Selection;
use super::lists::{self, Question};
use super::schema::{self, GROUPS, Resource, USERS};
use super::{Fault, ScimType, groups, tokens, users};
use crate::base::access::Principal;
use crate::base::id::RequestId;
use crate::base::problem::Problem;
use crate::features::identity::groups::Uses;
use crate::platform::http::extract::parse_json;
use crate::platform::http::limits::Limits;
use crate::platform::http::middleware::PeerAddress;
use crate::platform::store::Store;

/// The largest body: a group with very many members.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// What SCIM is sent as.
const MEDIA_TYPE: &str = "application/scim+json";

/// What the routes need.
#[derive(Debug, Clone)]
pub struct ScimApi {
    /// The business database.
    pub store: Store,
    /// The address of SCIM, without a slash at the end.
    pub base: Arc<str>,
    /// Which workflows use a group.
    pub uses: Uses,
    /// How many requests are taken from whom.
    pub limits: Arc<Limits>,
}

/// The routes of SCIM, to be put below `/scim/v2`.
pub fn router(state: ScimApi) -> Router {
    Router::new()
        .route("/ServiceProviderConfig", get(config))
        .route("/ResourceTypes", get(list_resource_types))
        .route("/ResourceTypes/{id}", get(get_resource_type))
        .route("/Schemas", get(list_schemas))
        .route("/Schemas/{id}", get(get_schema))
        .route("/Users", get(list_users).post(create_user))
        .route("/Users/.search", post(search_users))
        .route("/Users/{id}", get(get_user).put(replace_user).patch(change_user).delete(delete_user))
        .route("/Groups", get(list_groups).post(create_group))
        .route("/Groups/.search", post(search_groups))
        .route("/Groups/{id}", get(get_group).put(replace_group).patch(change_group).delete(delete_group))
        .route("/.search", post(search_everything))
        .route("/Bulk", post(not_there))
        .route("/Me", get(not_there))
        .fallback(no_such_place)
        .layer(from_fn_with_state(state.clone(), guard))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
}

/// An answer.
struct Answer(StatusCode, Value, Option<String>);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self(status, body, location) = self;
        let bytes = if status == StatusCode::NO_CONTENT { Vec::new() } else { serde_json::to_vec(&body).unwrap_or_default() };
        let mut response = (status, bytes).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(location) = location.and_then(|l| HeaderValue::from_str(&l).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match &self {
            Self::Problem(Problem::Internal(cause)) => tracing::error!(cause = ?cause, "a SCIM request failed"),
            Self::Problem(Problem::Unavailable { detail, .. }) => tracing::warn!(detail, "a SCIM request could not be served"),
            _ => {}
        }
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Answer(status, self.body(), None).into_response();
        if let Self::Problem(Problem::TooMany { retry_after, .. } | Problem::Unavailable { retry_after, .. }) = &self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"SCIM\""));
        }
        response
    }
}

/// Nobody passes without a SCIM token, and nobody too often.
async fn guard(State(api): State<ScimApi>, mut request: Request, next: Next) -> Response {
    let address = request.extensions().get::<PeerAddress>().and_then(|p| p.0);
    let secret = bearer(request.headers());
    let found = match &secret {
        Some(secret) => tokens::ops::authenticate(&api.store, secret).await,
        None => Ok(None),
    };
    let principal = match found {
        Ok(principal) => principal,
        Err(problem) => return Fault::out_of(problem).into_response(),
    };
    let token = principal.as_ref().map(|p| p.actor().1);
    if let Err(problem) = api.limits.check("/scim/v2", token.as_deref(), address) {
        return Fault::from(problem).into_response();
    }
    let Some(mut principal) = principal else {
        let why = "Send a SCIM token that an administrator made: Authorization: Bearer tns_….";
        return Fault::from(Problem::Unauthenticated(why.to_owned())).into_response();
    };
    principal.request_id = request.extensions().get::<RequestId>().cloned();
    principal.address = address.map(|a| a.to_string());
    request.extensions_mut().insert(principal);
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "405",
                           "detail": "This method is not one of this address." });
        response = Answer(StatusCode::METHOD_NOT_ALLOWED, body, None).into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

async fn no_such_place() -> Fault {
    Problem::missing("address", "at this path").into()
}

async fn not_there() -> Answer {
    let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "501",
                       "detail": "Tenure does not do this; see /ServiceProviderConfig." });
    Answer(StatusCode::NOT_IMPLEMENTED, body, None)
}

async fn config(State(api): State<ScimApi>) -> Answer {
    Answer(StatusCode::OK, schema::config(&api.base), None)
}

fn found(values: Vec<Value>, id: &str) -> Result<Answer, Fault> {
    let one = values.into_iter().find(|v| v["id"].as_str().is_some_and(|i| i.eq_ignore_ascii_case(id)));
    one.map(|v| Answer(StatusCode::OK, v, None)).ok_or_else(|| Problem::missing("resource", id).into())
}

async fn list_resource_types(State(api): State<ScimApi>) -> Answer {
    Answer(StatusCode::OK, lists::of_values(schema::resource_types(&api.base)).body(), None)
}

async fn get_resource_type(State(api): State<ScimApi>, Path(id): Path<String>) -> Result<Answer, Fault> {
    found(schema::resource_types(&api.base), &id)
}

async fn list_schemas(State(api): State<ScimApi>) -> Answer {
    Answer(StatusCode::OK, lists::of_values(schema::schemas(&api.base)).body(), None)
}

async fn get_schema(State(api): State<ScimApi>, Path(id): Path<String>) -> Result<Answer, Fault> {
    found(schema::schemas(&api.base), &id)
}

/// The query string.
fn question(request: &Request) -> Result<Question, Fault> {
    let mut question = Question::default();
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or("").as_bytes()) {
        let number = || {
            value.parse::<i64>().map_err(|_| Fault::new(ScimType::InvalidValue, format!("{name}: expected a whole number")))
        };
        match name.to_ascii_lowercase().as_str() {
            "filter" => question.filter = Some(value.into_owned()),
            "startindex" => question.start_index = Some(number()?),
            "count" => question.count = Some(number()?),
            "sortby" => question.sort_by = Some(value.into_owned()),
            "sortorder" => question.sort_order = Some(value.into_owned()),
            "attributes" => question.attributes = Some(value.into_owned()),
            "excludedattributes" => question.excluded_attributes = Some(value.into_owned()),
            _ => {}
        }
    }
    Ok(question)
}

fn selection(request: &Request, resource: &Resource) -> Result<Selection, Fault> {
    let asked = question(request)?;
    Selection::parse(resource, asked.attributes.as_deref(), asked.excluded_attributes.as_deref())
}

/// The JSON of a body.
async fn body(request: Request) -> Result<Value, Fault> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        let why = format!("got content type \"{kind}\"; expected {MEDIA_TYPE}");
        return Err(Problem::UnsupportedMedia(why).into());
    }
    let bytes = request.extract::<Bytes, _>().await.map_err(|rejection| {
        Fault::from(if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::TooLarge("The body is larger than SCIM takes here: 8 MiB.".to_owned())
        } else {
            Problem::Malformed("The body could not be read.".to_owned())
        })
    })?;
    Ok(parse_json(&bytes)?)
}

/// `attributes` of a search is a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SearchBody {
    attributes: Vec<String>,
    excluded_attributes: Vec<String>,
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    sort_by: Option<String>,
    sort_order: Option<String>,
}

async fn search(request: Request) -> Result<Question, Fault> {
    let body = body(request).await?;
    let asked: SearchBody =
        serde_json::from_value(body).map_err(|e| Fault::new(ScimType::InvalidSyntax, format!("The search: {e}.")))?;
    let joined = |names: Vec<String>| (!names.is_empty()).then(|| names.join(","));
    Ok(Question {
        filter: asked.filter,
        start_index: asked.start_index,
        count: asked.count,
        sort_by: asked.sort_by,
        sort_order: asked.sort_order,
        attributes: joined(asked.attributes),
        excluded_attributes: joined(asked.excluded_attributes),
    })
}

impl ScimApi {
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&crate::platform::store::Tx<'_>, &str) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let base = Arc::clone(&self.base);
        self.store.read(move |tx| Ok(read(tx, &base)?)).await.map_err(Fault::out_of)
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&crate::platform::store::Tx<'_>, &str) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let base = Arc::clone(&self.base);
        self.store.write(move |tx| Ok(write(tx, &base)?)).await.map_err(Fault::out_of)
    }
}

fn location(value: &Value) -> Option<String> {
    value["meta"]["location"].as_str().map(str::to_owned)
}

async fn list_users(State(api): State<ScimApi>, request: Request) -> Result<Answer, Fault> {
    let asked = question(&request)?;
    let found = api.read(move |tx, base| lists::users(tx, base, &asked)).await?;
    Ok(Answer(StatusCode::OK, found.body(), None))
}

async fn search_users(State(api): State<ScimApi>, request: Request) -> Result<Answer, Fault> {
    let asked = search(request).await?;
    let found = api.read(move |tx, base| lists::users(tx, base, &asked)).await?;
    Ok(Answer(StatusCode::OK, found.body(), None))
}

async fn get_user(State(api): State<ScimApi>, Path(id): Path<String>, request: Request) -> Result<Answer, Fault> {
    let wanted = selection(&request, &USERS)?;
    let user = api.read(move |tx, base| Ok(users::show(tx, &users::get(tx, &id)?, base, &wanted)?)).await?;
    Ok(Answer(StatusCode::OK, user, None))
}

async fn create_user(
    State(api): State<ScimApi>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Answer, Fault> {
    let wanted = selection(&request, &USERS)?;
    let given = body(request).await?;
    let (user, at) = api
        .write(move |tx, base| {
            let known = users::create(tx, &by, &given)?;
            let whole = Value::Object(users::render(tx, &known, base, true)?);
            Ok((users::show(tx, &known, base, &wanted)?, location(&whole)))
        })
        .await?;
    Ok(Answer(StatusCode::CREATED, user, at))
}

async fn replace_user(
    State(api): State<ScimApi>,
    Path(id): Path<String>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Answer, Fault> {
    let wanted = selection(&request, &USERS)?;
    let given = body(request).await?;
    let user = api.write(move |tx, base| Ok(users::show(tx, &users::replace(tx, &by, &id, &given)?, base, &wanted)?)).await?;
    Ok(Answer(StatusCode::OK, user, None))
}

async fn change_user(
    State(api): State<ScimApi>,
    Path(id): Path<String>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Answer, Fault> {
    let wanted = selection(&request, &USERS)?;
    let given = body(request).await?;
    let user = api.write(move |tx, base| Ok(users::show(tx, &users::change(tx, &by, &id, &given)?, base, &wanted)?)).await?;
    Ok(Answer(StatusCode::OK, user, None))
}

async fn delete_user(
    State(api): State<ScimApi>,
    Path(id): Path<String>,
    Extension(by): Extension<Principal>,
) -> Result<Answer, Fault> {
    api.write(move |tx, _| users::delete(tx, &by, &id)).await?;
    Ok(Answer(StatusCode::NO_CONTENT, Value::Null, None))
}

async fn list_groups(State(api): State<ScimApi>, request: Request) -> Result<Answer, Fault> {
    let asked = question(&request)?;
    let found = api.read(move |tx, base| lists::groups(tx, base, &asked)).await?;
    Ok(Answer(StatusCode::OK, found.body(), None))
}

async fn search_groups(State(api): State<ScimApi>, request: Request) -> Result<Answer, Fault> {
    let asked = search(request).await?;
    let found = api.read(move |tx, base| lists::groups(tx, base, &asked)).await?;
    Ok(Answer(StatusCode::OK, found.body(), None))
}

async fn search_everything(State(api): State<ScimApi>, request: Request) -> Result<Answer, Fault> {
    let asked = search(request).await?;
    let found = api.read(move |tx, base| lists::everything(tx, base, &asked)).await?;
    Ok(Answer(StatusCode::OK, found.body(), None))
}

async fn get_group(State(api): State<ScimApi>, Path(id): Path<String>, request: Request) -> Result<Answer, Fault> {
    let wanted = selection(&request, &GROUPS)?;
    let group = api.read(move |tx, base| Ok(groups::show(tx, &groups::get(tx, &id)?, base, &wanted)?)).await?;
    Ok(Answer(StatusCode::OK, group, None))
}

async fn create_group(
    State(api): State<ScimApi>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Answer, Fault> {
    let wanted = selection(&request, &GROUPS)?;
    let given = body(request).await?;
    let uses = api.uses.clone();
    let (group, at) = api
        .write(move |tx, base| {
            let group = groups::create(tx, &by, &uses, &given)?;
            let at = format!("{base}/Groups/{}", group.id);
            Ok((groups::show(tx, &group, base, &wanted)?, at))
        })
        .await?;
    Ok(Answer(StatusCode::CREATED, group, Some(at)))
}

async fn replace_group(
    State(api): State<ScimApi>,
    Path(id): Path<String>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Answer, Fault> {
    let wanted = selection(&request, &GROUPS)?;
    let given = body(request).await?;
    let uses = api.uses.clone();
    let group = api
        .write(move |tx, base| Ok(groups::show(tx, &groups::replace(tx, &by, &uses, &id, &given)?, base, &wanted)?))
        .await?;
    Ok(Answer(StatusCode::OK, group, None))
}

async fn change_group(
    State(api): State<ScimApi>,
    Path(id): Path<String>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Answer, Fault> {
    let wanted = selection(&request, &GROUPS)?;
    let given = body(request).await?;
    let uses = api.uses.clone();
    let group = api
        .write(move |tx, base| Ok(groups::show(tx, &groups::change(tx, &by, &uses, &id, &given)?, base, &wanted)?))
        .await?;
    Ok(Answer(StatusCode::OK, group, None))
}

async fn delete_group(
    State(api): State<ScimApi>,
    Path(id): Path<String>,
    Extension(by): Extension<Principal>,
) -> Result<Answer, Fault> {
    let uses = api.uses.clone();
    api.write(move |tx, _| groups::delete(tx, &by, &uses, &id)).await?;
    Ok(Answer(StatusCode::NO_CONTENT, Value::Null, None))
}
