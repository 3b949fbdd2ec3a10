//! Problems on the wire: RFC 9457.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::base::problem::{FieldError, Problem};

/// A problem on its way out of a handler.
#[derive(Debug)]
pub struct Failure(pub Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// The body of `application/problem+json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// A name for the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// Quote it to your administrator.
    pub request_id: Option<String>,
    /// Faults, field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// Marks an answer whose body still lacks the request id; the outermost layer fills it in.
#[derive(Debug, Clone)]
pub(super) struct Unsent(pub Problem);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Unsent(self.0));
        response
    }
}

/// The whole answer for a problem.
pub(super) fn problem_response(problem: &Problem, request_id: &str) -> Response {
    problem_response_as(problem.status(), problem, request_id)
}

/// The whole answer for a problem, with a status that no kind of problem stands for, such as 405.
pub(super) fn problem_response_as(status: u16, problem: &Problem, request_id: &str) -> Response {
    let (errors, retry) = match problem {
        Problem::Invalid { errors, .. } => (errors.clone(), None),
        Problem::TooMany { retry_after, .. } | Problem::Unavailable { retry_after, .. } => {
            (Vec::new(), Some(*retry_after))
        }
        _ => (Vec::new(), None),
    };
    let title = title(status);
    let body = ProblemBody {
        kind: format!("urn:tenure:problem:{}", title.to_lowercase().replace(' ', "-")),
        title,
        status,
        detail: problem.to_string(),
        request_id: Some(request_id.to_owned()),
        errors,
    };
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = (code, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = retry {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Malformed request",
        401 => "Not signed in",
        403 => "Not allowed",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Request timeout",
        409 => "Conflict",
        413 => "Too large",
        415 => "Unsupported media type",
        422 => "Refused",
        429 => "Too many requests",
        431 => "Headers too large",
        503 => "Unavailable",
        _ => "Internal error",
    }
}
