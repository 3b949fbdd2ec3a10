//! Reading and saving how people sign in.

use super::{CREATE_PEOPLE, GROUPS_CLAIM, MATCH_BY_MAIL, PASSWORD_LENGTH, ROLE_MAPPING, SignInPolicy, mapping_fault};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::features::identity::oidc::RoleOfGroup;
use crate::features::settings::{self, Effective, Source, Started};
use crate::platform::store::Tx;

/// Whether people who were never here are let in.
pub fn create_people(tx: &Tx<'_>) -> Result<Effective<bool>, Problem> {
    settings::ops::flag(tx, CREATE_PEOPLE.1, &Started { value: true, source: Source::Default })
}

/// Whether an address that the provider verified makes somebody who they are here.
pub fn match_by_mail(tx: &Tx<'_>) -> Result<Effective<bool>, Problem> {
    settings::ops::flag(tx, MATCH_BY_MAIL.1, &Started { value: false, source: Source::Default })
}

/// The claim that has the groups.
pub fn groups_claim(tx: &Tx<'_>) -> Result<Effective<String>, Problem> {
    settings::ops::text(tx, GROUPS_CLAIM.1, &Started { value: "groups".to_owned(), source: Source::Default })
}

/// The fewest characters of a new password.
pub fn password_length(tx: &Tx<'_>) -> Result<Effective<u32>, Problem> {
    settings::ops::built_in_number(tx, PASSWORD_LENGTH)
}

/// Which groups have which system role; none until somebody saves a mapping.
pub fn role_mapping(tx: &Tx<'_>) -> Result<Effective<Vec<RoleOfGroup>>, Problem> {
    let none = Started { value: "[]".to_owned(), source: Source::Default };
    let Effective { value, source, changed_by, changed_at } = settings::ops::text(tx, ROLE_MAPPING.1, &none)?;
    Ok(Effective { value: serde_json::from_str(&value).map_err(Problem::internal)?, source, changed_by, changed_at })
}

/// What holds for somebody whom the provider sends.
pub fn policy(tx: &Tx<'_>) -> Result<SignInPolicy, Problem> {
    Ok(SignInPolicy {
        create_people: create_people(tx)?.value,
        match_by_mail: match_by_mail(tx)?.value,
        groups_claim: groups_claim(tx)?.value,
        role_mapping: role_mapping(tx)?.value,
    })
}

/// Saves a switch, or with `None` goes back to the default.
pub fn set_flag(tx: &Tx<'_>, by: &Principal, name: &'static str, value: Option<bool>) -> Result<(), Problem> {
    settings::ops::set(tx, by, name, value.map(|v| v.to_string()).as_deref())
}

/// Saves the claim that has the groups.
pub fn set_groups_claim(tx: &Tx<'_>, by: &Principal, value: Option<&str>) -> Result<(), Problem> {
    if value.is_some_and(|name| name.is_empty() || name.len() > 200 || name.chars().any(|c| c.is_whitespace() || c.is_control())) {
        return Err(Problem::field(GROUPS_CLAIM.0, "expected the name of a claim, such as groups, without blanks"));
    }
    settings::ops::set(tx, by, GROUPS_CLAIM.1, value)
}

/// Saves which groups have which system role.
pub fn set_role_mapping(tx: &Tx<'_>, by: &Principal, value: Option<&[RoleOfGroup]>) -> Result<(), Problem> {
    if let Some(fault) = value.and_then(mapping_fault) {
        return Err(Problem::field(ROLE_MAPPING.0, fault));
    }
    let text = value.map(serde_json::to_string).transpose().map_err(Problem::internal)?;
    settings::ops::set(tx, by, ROLE_MAPPING.1, text.as_deref())
}
