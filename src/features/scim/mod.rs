//! SCIM 2.0 inbound (RFC 7643, RFC 7644): an identity provider keeps people and groups up to date.
//!
//! # Invariants
//! - A SCIM token reaches the routes of SCIM and nothing else; no other sign-in reaches them.
//! - What a source says of a person is kept as it was said, in the attributes that `/Schemas` names; what
//!   Tenure itself needs of it (name, address, manager, attributes, active) is the person's.
//! - `active: false` and DELETE are leaving, with its threshold: the source sees what it said, whether an
//!   administrator has yet to decide or not.
//! - Nothing that a source sends is answered with a 5xx.
//!
//! # Not here
//! What leaving means (`identity::leavers`, `lifecycle`).

pub mod api;
pub mod document;
pub mod filter;
pub mod groups;
pub mod lists;
pub mod patch;
pub mod path;
pub mod schema;
pub mod store;
pub mod tokens;
pub mod users;

use serde_json::{Value, json};

use crate::base::problem::Problem;
use crate::features::audit::{self, Writes};
use crate::features::identity::leavers;

/// What every SCIM token starts with, so that scanners find leaked ones.
pub const TOKEN_PREFIX: &str = "tns_";
/// The URN of errors.
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The kinds of faults that RFC 7644 has names for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScimType {
    /// A filter that cannot be read.
    InvalidFilter,
    /// More results than are given.
    TooMany,
    /// Another one has the value that must be unique.
    Uniqueness,
    /// An attribute that is not changed.
    Mutability,
    /// A body that has not the form that was expected.
    InvalidSyntax,
    /// A path that names no attribute.
    InvalidPath,
    /// A path that finds nothing.
    NoTarget,
    /// A value that is missing or not taken.
    InvalidValue,
}

impl ScimType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        if self == Self::Uniqueness { 409 } else { 400 }
    }
}

/// Something that SCIM answers with an error.
#[derive(Debug, Clone)]
pub enum Fault {
    /// What a source did wrong, with the name that SCIM has for it.
    Scim(ScimType, String),
    /// Anything else.
    Problem(Problem),
}

impl Fault {
    /// A fault with its name.
    pub fn new(kind: ScimType, detail: impl Into<String>) -> Self {
        Self::Scim(kind, detail.into())
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Scim(kind, _) => kind.status(),
            // SCIM has no 422: what is refused by a rule is an invalid value.
            Self::Problem(Problem::Invalid { .. }) => 400,
            Self::Problem(problem) => problem.status(),
        }
    }

    /// The body of the answer, as RFC 7644 section 3.12 has it.
    pub fn body(&self) -> Value {
        let mut body = json!({ "schemas": [ERROR], "status": self.status().to_string() });
        match self {
            Self::Scim(kind, detail) => {
                body["scimType"] = json!(kind.as_str());
                body["detail"] = json!(detail);
            }
            Self::Problem(problem) => {
                match problem {
                    Problem::Invalid { .. } => body["scimType"] = json!(ScimType::InvalidValue.as_str()),
                    Problem::Malformed(_) => body["scimType"] = json!(ScimType::InvalidSyntax.as_str()),
                    Problem::Conflict(_) => body["scimType"] = json!(ScimType::Uniqueness.as_str()),
                    _ => {}
                }
                let mut detail = problem.to_string();
                if let Problem::Invalid { errors, .. } = problem
                    && errors.len() > 1
                {
                    let all: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
                    detail = format!("{detail} {}", all.join("; "));
                }
                body["detail"] = json!(detail);
            }
        }
        body
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Fault> for Problem {
    /// A fault inside a transaction: it rolls back, and comes out again as the same fault by
    /// [`Fault::out_of`].
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Problem(problem) => problem,
            Fault::Scim(kind, detail) => Self::Invalid {
                detail,
                errors: vec![crate::base::problem::FieldError { field: MARK.to_owned(), message: kind.as_str().to_owned() }],
            },
        }
    }
}

/// The field that marks a fault on its way through a transaction.
const MARK: &str = "\u{0}scimType";

impl Fault {
    /// The fault behind a problem that came out of a transaction.
    pub fn out_of(problem: Problem) -> Self {
        const KINDS: [ScimType; 8] = [
            ScimType::InvalidFilter, ScimType::TooMany, ScimType::Uniqueness, ScimType::Mutability,
            ScimType::InvalidSyntax, ScimType::InvalidPath, ScimType::NoTarget, ScimType::InvalidValue,
        ];
        if let Problem::Invalid { detail, errors } = &problem
            && let Some(mark) = errors.first().filter(|e| e.field == MARK)
            && let Some(kind) = KINDS.into_iter().find(|k| k.as_str() == mark.message)
        {
            return Self::Scim(kind, detail.clone());
        }
        Self::Problem(problem)
    }
}

/// What is written as people and groups are kept up to date.
const KEEPS: &[&str] = &[
    "person.created", "person.changed", "group.created", "group.changed", "group.deleted", "group.member_added",
    "group.member_removed",
];

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/scim-tokens", &["scim_token.created"]),
    Writes::of("DELETE /api/scim-tokens/{id}", &["scim_token.revoked"]),
    Writes::with(
        audit::BY_SCIM,
        &["person.provisioned", "person.unprovisioned"],
        &[KEEPS, leavers::LEAVES, leavers::IS_TOLD],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_goes_through_a_transaction_and_stays_the_same() {
        let fault = Fault::new(ScimType::NoTarget, "nothing there");
        let body = Fault::out_of(Problem::from(fault)).body();
        assert_eq!((&body["scimType"], &body["status"], &body["detail"]), (&json!("noTarget"), &json!("400"), &json!("nothing there")));
        let body = Fault::out_of(Problem::field("email", "expected an address")).body();
        assert_eq!((&body["scimType"], &body["status"]), (&json!("invalidValue"), &json!("400")));
        let body = Fault::from(Problem::Conflict("taken".to_owned())).body();
        assert_eq!((&body["scimType"], &body["status"]), (&json!("uniqueness"), &json!("409")));
    }
}
