//! Groups of people: who decides, does tasks or is told together.
//!
//! # Invariants
//! - Workflows name groups. One that is renamed while a workflow uses it answers to its former name, too;
//!   no other group gets that name meanwhile.
//! - A group that a workflow uses is not deleted.
//!
//! # Not here
//! Which workflows use a group: `app` plugs that in ([`Uses`]), for they stand above identity. Groups in
//! connected systems (the access feature).

pub mod api;
pub mod ops;
pub mod store;

use std::sync::Arc;

use serde::Serialize;

use super::people::PersonRef;
use crate::base::id::GroupId;
use crate::base::problem::{FieldError, Problem};
use crate::base::time::Timestamp;
use crate::platform::store::Tx;

/// Which workflows use a name of a group, in words.
#[derive(Clone)]
pub struct Uses(pub Arc<UsesOf>);

/// The function behind [`Uses`].
pub type UsesOf = dyn Fn(&Tx<'_>, &str) -> Result<Vec<String>, Problem> + Send + Sync;

impl std::fmt::Debug for Uses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Uses")
    }
}

impl Uses {
    /// Nothing uses any group: where there are no workflows.
    pub fn none() -> Self {
        Self(Arc::new(|_, _| Ok(Vec::new())))
    }

    pub(super) fn of(&self, tx: &Tx<'_>, name: &str) -> Result<Vec<String>, Problem> {
        (self.0)(tx, name)
    }
}

/// A group.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The id.
    pub id: GroupId,
    /// How it is called; unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who answers for it.
    pub owner: Option<PersonRef>,
    /// How many people are in it, active or not.
    pub members: u32,
    /// The id that its source knows it by.
    pub external_id: Option<String>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
}

/// A member of a group.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The person.
    pub id: crate::base::id::PersonId,
    /// How they are called.
    pub display_name: String,
    /// Their address.
    pub email: String,
    /// False for leavers.
    pub active: bool,
}

/// What is wrong with the name and the description of a group.
pub fn faults(name: &str, description: &str) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let length = name.trim().chars().count();
    if length == 0 || length > 200 || name.chars().any(char::is_control) {
        faults.push(FieldError { field: "name".to_owned(), message: "expected 1 to 200 characters".to_owned() });
    }
    if description.chars().count() > 2000 {
        faults.push(FieldError { field: "description".to_owned(), message: "expected at most 2000 characters".to_owned() });
    }
    faults
}
