//! People: who asks, decides and holds access.

pub mod api;
pub mod ops;
pub mod profile;
pub mod store;

use serde::Serialize;
use serde_json::Value;

use crate::base::id::PersonId;
use crate::base::problem::FieldError;
use crate::base::time::Timestamp;

/// A person.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The id.
    pub id: PersonId,
    /// How they are called.
    pub display_name: String,
    /// Where mail reaches them; unique.
    pub email: String,
    /// Who they report to.
    pub manager_id: Option<PersonId>,
    /// False for leavers.
    pub active: bool,
    /// Profile attributes, an object.
    #[schema(value_type = Object)]
    pub attributes: Value,
    /// The id that their source knows them by.
    pub external_id: Option<String>,
    /// Since when Tenure knows them.
    pub created_at: Timestamp,
}

/// A person in few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonRef {
    /// The id.
    pub id: PersonId,
    /// How they are called.
    pub display_name: String,
}

impl Person {
    /// The person in few words.
    pub fn to_ref(&self) -> PersonRef {
        PersonRef { id: self.id.clone(), display_name: self.display_name.clone() }
    }
}

/// A person who is not stored yet.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// How they are called.
    pub display_name: String,
    /// Where mail reaches them.
    pub email: String,
    /// Who they report to.
    pub manager_id: Option<PersonId>,
    /// Profile attributes, an object.
    pub attributes: Value,
}

impl NewPerson {
    /// The faults of the fields.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &str| {
            faults.push(FieldError { field: field.to_owned(), message: message.to_owned() });
        };
        let name = self.display_name.trim();
        if name.is_empty() || name.chars().count() > 200 {
            fault("displayName", "expected 1 to 200 characters");
        }
        if !is_email(&self.email) {
            fault("email", "expected an address such as ada@example.org");
        }
        if !self.attributes.is_object() {
            fault("attributes", "expected an object");
        }
        faults
    }
}

/// Whether the text has the shape of an address: one `@`, a dot-free-or-dotted domain, no blanks.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    !local.is_empty()
        && !domain.is_empty()
        && text.len() <= 254
        && !local.contains('@')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_at_and_no_blanks() {
        assert!(is_email("ada@example.org"));
        for bad in ["", "ada", "@example.org", "ada@", "a b@c.d", "a@@b.c", "a@b.c\nX: y", "<a@b.c>"] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }
}
