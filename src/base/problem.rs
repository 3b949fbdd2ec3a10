//! What can go wrong, in words for the person who can mend it.
//!
//! `Display` is safe to show anyone. The cause of an internal problem is for the log alone and is
//! written there once, at the edge that answers.

use std::fmt;

use serde::Serialize;

/// One fault of one input field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Path of the field, such as `steps[2].config.role`.
    pub field: String,
    /// What was got and what was expected.
    pub message: String,
}

/// Every way an operation can fail.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    /// 400: the request could not be read at all.
    #[error("{0}")]
    Malformed(String),
    /// 401: nobody is signed in.
    #[error("{0}")]
    Unauthenticated(String),
    /// 403: somebody is signed in, and may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// 404: there is no such thing, or the caller may not know of it.
    #[error("There is no {what} {id} that you can see.")]
    Missing {
        /// The kind of thing, in the reader's words.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// 409: the present state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// 413: more bytes than are taken.
    #[error("{0}")]
    TooLarge(String),
    /// 415: a media type that is not taken here.
    #[error("{0}")]
    UnsupportedMedia(String),
    /// 422: well-formed, refused by a rule; each field that is at fault is named.
    #[error("{detail}")]
    Invalid {
        /// The whole in one sentence.
        detail: String,
        /// The faults, field by field.
        errors: Vec<FieldError>,
    },
    /// 429: too many requests.
    #[error("{detail}")]
    TooMany {
        /// Which limit was met.
        detail: String,
        /// Seconds after which another try makes sense.
        retry_after: u32,
    },
    /// 503: a dependency or the pool is out; the same request may succeed later.
    #[error("{detail}")]
    Unavailable {
        /// What is out.
        detail: String,
        /// Seconds after which another try makes sense.
        retry_after: u32,
    },
    /// 500: a defect of ours. The text says nothing about the cause.
    #[error("Something went wrong in Tenure. Give the request id to your administrator.")]
    Internal(Cause),
}

/// The hidden cause of an internal problem; shown by `Debug` in logs only.
#[derive(Clone)]
pub struct Cause(pub String);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Problem {
    /// A defect of ours with its cause.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::Internal(Cause(cause.to_string()))
    }

    /// One field at fault.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        let field = field.into();
        Self::Invalid {
            detail: format!("{field}: {message}"),
            errors: vec![FieldError { field, message }],
        }
    }

    /// A rule that refuses, with no single field to blame.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::Invalid { detail: detail.into(), errors: Vec::new() }
    }

    /// No such thing.
    pub fn missing(what: &'static str, id: impl fmt::Display) -> Self {
        Self::Missing { what, id: id.to_string() }
    }

    /// A dependency is out for now.
    pub fn unavailable(detail: impl Into<String>, retry_after: u32) -> Self {
        Self::Unavailable { detail: detail.into(), retry_after }
    }

    /// Turns collected field errors into a result.
    pub fn from_fields(errors: Vec<FieldError>) -> Result<(), Self> {
        match errors.as_slice() {
            [] => Ok(()),
            [one] => Err(Self::field(one.field.clone(), one.message.clone())),
            many => Err(Self::Invalid { detail: format!("{} fields are at fault.", many.len()), errors }),
        }
    }

    /// The HTTP status that stands for this kind of problem.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Unauthenticated(_) => 401,
            Self::Forbidden(_) => 403,
            Self::Missing { .. } => 404,
            Self::Conflict(_) => 409,
            Self::TooLarge(_) => 413,
            Self::UnsupportedMedia(_) => 415,
            Self::Invalid { .. } => 422,
            Self::TooMany { .. } => 429,
            Self::Unavailable { .. } => 503,
            Self::Internal(_) => 500,
        }
    }
}
