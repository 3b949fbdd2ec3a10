//! How people sign in: what administrators decide about it.
//!
//! # Not here
//! Doing it: passwords and second factors are `accounts` and `sessions`, the provider is `oidc`.

pub mod api;
pub mod ops;

use serde::Serialize;

use crate::features::identity::accounts::password::MIN_CHARS;
use crate::features::identity::oidc::RoleOfGroup;
use crate::features::settings::{BuiltIn, NumberSetting};

/// Whether somebody the provider sends is let in who was never here.
pub const CREATE_PEOPLE: (&str, &str) = ("createPeople", "sign_in.oidc_create_people");
/// Whether somebody the provider sends is who has the same address here.
pub const MATCH_BY_MAIL: (&str, &str) = ("matchByMail", "sign_in.oidc_match_by_mail");
/// In which claim the provider tells groups.
pub const GROUPS_CLAIM: (&str, &str) = ("groupsClaim", "sign_in.oidc_groups_claim");
/// Which groups have which system role.
pub const ROLE_MAPPING: (&str, &str) = ("roleMapping", "sign_in.oidc_role_mapping");
/// The fewest characters of a new password.
pub const PASSWORD_LENGTH: BuiltIn = BuiltIn {
    setting: NumberSetting { field: "passwordMinLength", name: "sign_in.password_min_length", min: MIN_CHARS, max: 64 },
    default: MIN_CHARS,
};
/// The most rows of a mapping.
pub const MOST_MAPPED: usize = 200;

/// What holds for somebody whom the provider sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInPolicy {
    /// [`CREATE_PEOPLE`].
    pub create_people: bool,
    /// [`MATCH_BY_MAIL`].
    pub match_by_mail: bool,
    /// [`GROUPS_CLAIM`].
    pub groups_claim: String,
    /// [`ROLE_MAPPING`].
    pub role_mapping: Vec<RoleOfGroup>,
}

/// The provider that the environment names.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInfo {
    /// What the sign-in page calls it.
    pub name: String,
    /// `OIDC_ISSUER`.
    pub issuer: String,
    /// What the provider has to know as redirect URI.
    pub redirect_uri: String,
    /// What the provider has to know as address after a sign-out.
    pub after_sign_out: String,
}

/// What is wrong with a mapping, in words.
pub fn mapping_fault(mapping: &[RoleOfGroup]) -> Option<String> {
    if mapping.len() > MOST_MAPPED {
        return Some(format!("got {} rows; expected at most {MOST_MAPPED}", mapping.len()));
    }
    let bad = mapping.iter().find(|m| m.group.trim() != m.group || m.group.is_empty() || m.group.chars().count() > 200);
    if let Some(row) = bad {
        return Some(format!("got the group \"{}\"; expected 1 to 200 characters without blanks around them", row.group));
    }
    let twice = mapping.iter().enumerate().find(|(at, row)| mapping[..*at].contains(row));
    twice.map(|(_, row)| format!("the group \"{}\" has the role {} twice", row.group, row.role.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::SystemRole;

    #[test]
    fn a_mapping_names_each_pair_once() {
        let row = |group: &str, role| RoleOfGroup { group: group.to_owned(), role };
        let fine = [row("a", SystemRole::Admin), row("a", SystemRole::Auditor), row("*", SystemRole::Requestor)];
        assert_eq!(mapping_fault(&fine), None);
        for (bad, word) in [
            (vec![row("", SystemRole::Admin)], "got the group \"\""),
            (vec![row(" a", SystemRole::Admin)], "got the group \" a\""),
            (vec![row("a", SystemRole::Admin), row("a", SystemRole::Admin)], "the group \"a\" has the role admin twice"),
            ((0..201).map(|n| row(&n.to_string(), SystemRole::Admin)).collect(), "got 201 rows"),
        ] {
            assert!(mapping_fault(&bad).is_some_and(|f| f.starts_with(word)), "{word}");
        }
    }
}
