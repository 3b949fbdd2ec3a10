//! What handlers take out of a request, with faults that name the field.

use std::marker::PhantomData;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, FromRequestParts, Path, RawQuery, Request};
use axum::http::Extensions;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::reply::Failure;
use crate::base::access::{Permit, Principal};
use crate::base::id::TypedId;
use crate::base::problem::{FieldError, Problem};
use crate::base::strict::Strict;

/// The deepest nesting of arrays and objects that is read.
const MAX_DEPTH: usize = 64;

/// Somebody who is signed in; 401 when nobody is. For what every account may do; where a permission is
/// needed, [`Allowed`] stands in its place.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The principal, with the request's id.
    pub principal: Principal,
}

/// Somebody who is signed in and may do `P`; 401 when nobody is, 403 without the permission.
///
/// It stands first in a handler, so that whoever may not is told so before anything else of the
/// request is read: [`Body`], [`Params`] and [`IdPath`] refuse to work in a route without a guard.
#[derive(Debug)]
pub struct Allowed<P> {
    /// The principal, with the request's id.
    pub principal: Principal,
    permit: PhantomData<fn() -> P>,
}

/// Anybody, signed in or not: the guard of sign-in and first start.
#[derive(Debug, Clone, Copy)]
pub struct Anybody;

/// Set by a guard that let the request pass.
#[derive(Debug, Clone, Copy)]
struct Guarded;

fn signed_in(parts: &mut Parts) -> Result<Principal, Failure> {
    parts.extensions.get::<Principal>().cloned().ok_or_else(|| {
        Failure(Problem::Unauthenticated("Sign in, or send a valid bearer token.".to_owned()))
    })
}

/// A route that looks into a request before its guard is a defect that must not go unnoticed.
pub(super) fn check_guarded(extensions: &Extensions) -> Result<(), Failure> {
    match extensions.get::<Guarded>() {
        Some(Guarded) => Ok(()),
        None => Err(Failure(Problem::internal(
            "a handler reads the request before its guard; put Allowed, Caller or Anybody first",
        ))),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let principal = signed_in(parts)?;
        parts.extensions.insert(Guarded);
        Ok(Self { principal })
    }
}

impl<P: Permit, S: Send + Sync> FromRequestParts<S> for Allowed<P> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let principal = signed_in(parts)?;
        principal.permit::<P>()?;
        parts.extensions.insert(Guarded);
        Ok(Self { principal, permit: PhantomData })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Anybody {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.insert(Guarded);
        Ok(Self)
    }
}

/// A JSON body.
#[derive(Debug, Clone)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        check_guarded(request.extensions())?;
        let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let essence = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if essence != "application/json" && !essence.ends_with("+json") {
            return Err(Failure(Problem::UnsupportedMedia(format!(
                "got content type \"{kind}\"; expected application/json"
            ))));
        }
        let bytes = bytes::Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = axum::response::IntoResponse::into_response(rejection).status();
            Failure(if status == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
                Problem::TooLarge("The body is larger than this route takes.".to_owned())
            } else {
                Problem::Malformed("The body could not be read.".to_owned())
            })
        })?;
        parse_json(&bytes).map(Body).map_err(Failure)
    }
}

/// A JSON body that may be left out; then it is what `T` is by default.
#[derive(Debug, Clone)]
pub struct MaybeBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        check_guarded(request.extensions())?;
        let nothing = !request.headers().contains_key(CONTENT_TYPE) && request.body().is_end_stream();
        if nothing {
            return Ok(Self(T::default()));
        }
        Body::from_request(request, state).await.map(|Body(body)| Self(body))
    }
}

/// Reads JSON; a fault in the text is 400, a fault in a field 422 with the field's path.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    check_depth(bytes)?;
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|e| Problem::Malformed(format!("The body is not JSON: {e}.")))?;
    serde_path_to_error::deserialize(Strict(value)).map_err(|e| {
        let path = e.path().to_string();
        let field = if path == "." { "body".to_owned() } else { path };
        let message = e.inner().to_string();
        Problem::Invalid { detail: format!("{field}: {message}"), errors: vec![FieldError { field, message }] }
    })
}

/// For a field that may be left out or be null, where the two mean different things: left out is
/// `None` (with `#[serde(default)]`), null is `Some(None)`.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

/// Refuses what is nested so deeply that reading it would cost more than it can be worth.
fn check_depth(bytes: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for &b in bytes {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Problem::Malformed(format!("The JSON is nested deeper than {MAX_DEPTH} levels.")));
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The query string.
#[derive(Debug, Clone)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        check_guarded(&parts.extensions)?;
        let RawQuery(query) = RawQuery::from_request_parts(parts, state)
            .await
            .map_err(|_| Failure(Problem::Malformed("The query could not be read.".to_owned())))?;
        let pairs = form_urlencoded::parse(query.as_deref().unwrap_or("").as_bytes());
        let fields = serde_html_form_pairs(pairs);
        fields.map(Params).map_err(Failure)
    }
}

/// Reads the pairs of a query into `T`; the fault names the parameter.
fn serde_html_form_pairs<T: DeserializeOwned>(pairs: form_urlencoded::Parse<'_>) -> Result<T, Problem> {
    let deserializer = serde_html_form::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|e| {
        let path = e.path().to_string();
        let field = if path == "." { "query".to_owned() } else { path };
        let message = e.inner().to_string();
        Problem::Invalid { detail: format!("{field}: {message}"), errors: vec![FieldError { field, message }] }
    })
}

/// One typed id in the path; anything else is a thing that does not exist.
#[derive(Debug, Clone)]
pub struct IdPath<I>(pub I);

impl<I: TypedId, S: Send + Sync> FromRequestParts<S> for IdPath<I> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        check_guarded(&parts.extensions)?;
        let missing = |text: &str| Failure(Problem::missing("object", text));
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|_| missing("at this path"))?;
        crate::base::id::check(I::PREFIX, &text).map_err(|_| missing(&text))?;
        Ok(Self(I::from_stored(text)))
    }
}

/// Two ids of a path, such as `/api/reconciliations/{id}/plans/{planId}`; text that is no such id is 404.
#[derive(Debug, Clone)]
pub struct IdsPath<I, J>(pub I, pub J);

impl<I: TypedId, J: TypedId, S: Send + Sync> FromRequestParts<S> for IdsPath<I, J> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        check_guarded(&parts.extensions)?;
        let missing = |text: &str| Failure(Problem::missing("object", text));
        let Path((outer, inner)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|_| missing("at this path"))?;
        crate::base::id::check(I::PREFIX, &outer).map_err(|_| missing(&outer))?;
        crate::base::id::check(J::PREFIX, &inner).map_err(|_| missing(&inner))?;
        Ok(Self(I::from_stored(outer), J::from_stored(inner)))
    }
}

/// Any one text in the path, for things that have names.
#[derive(Debug, Clone)]
pub struct NamePath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        check_guarded(&parts.extensions)?;
        let found = Path::<String>::from_request_parts(parts, state).await;
        found.map(|Path(text)| Self(text)).map_err(|_| Failure(Problem::missing("object", "at this path")))
    }
}
