//! Listings: what a connected system says is there, staged page by page, and compared with the grants.
//!
//! # Invariants
//! - A page is staged with the cursor behind it; an entry that comes twice is one account.
//! - What is staged says something about what is not in it only once the system said that it was all.
//! - The comparison reads on its own; of what is as it should be, nothing is written.

pub mod ops;
pub mod store;

use serde_json::Value;

use super::plan::Facts;
use crate::features::access::entitlements::Entitlement;
use crate::base::id::GrantId;

/// The longest name of an account that is taken.
pub const MAX_KEY: usize = 1024;
/// What is kept of an account that nobody stands behind, in bytes.
const MAX_ATTRIBUTES: usize = 16 * 1024;

/// An account as it was compared.
#[derive(Debug, Clone)]
pub struct Compared {
    /// What the connected system calls it.
    pub account: String,
    /// What is known of it.
    pub facts: Facts,
    /// What the connected system says about it, when no grant stood behind it.
    pub attributes: Option<Value>,
    /// Of the grants that a difference would be about, the last.
    pub grant: Option<GrantId>,
}

/// The addresses of mail among what a connected system says about an account.
pub fn emails_of(attributes: &Value) -> Vec<String> {
    const NAMES: [&str; 5] = ["mail", "email", "emails", "userPrincipalName", "emailAddress"];
    let mut found = Vec::new();
    for name in NAMES {
        gather(&attributes[name], &mut found);
    }
    found.retain(|text| crate::features::identity::people::is_email(text));
    found
}

fn gather(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.to_lowercase()),
        Value::Array(all) => all.iter().for_each(|one| gather(one, found)),
        Value::Object(fields) => gather(fields.get("value").unwrap_or(&Value::Null), found),
        _ => {}
    }
}

/// A key that is made of one attribute of people, with what stands around it:
/// `uid={{ person.attributes.uid }},ou=people`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyForm {
    before: String,
    /// The attribute.
    pub attribute: String,
    after: String,
}

impl KeyForm {
    /// The form of a key, if it is one of these. A key that is taken from the call that gives is made of
    /// what that call is made of.
    pub fn of(entitlement: &Entitlement) -> Option<Self> {
        let key = entitlement.list.as_ref()?.key.trim();
        let template = match key.strip_prefix("{{ provision.params.").and_then(|rest| rest.strip_suffix(" }}")) {
            Some(param) => entitlement.provision.params.get(param)?.as_str()?,
            None => key,
        };
        Self::parse(template)
    }

    fn parse(template: &str) -> Option<Self> {
        let (before, rest) = template.split_once("{{")?;
        let (inner, after) = rest.split_once("}}")?;
        let name = inner.trim().strip_prefix("person.attributes.")?;
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let lone = !after.contains("{{") && !template.contains("{%") && !template.contains("{#");
        (plain && lone).then(|| Self { before: before.to_owned(), attribute: name.to_owned(), after: after.to_owned() })
    }

    /// The attribute's value in an account's name.
    pub fn value_in<'a>(&self, account: &'a str, ignore_case: bool) -> Option<&'a str> {
        let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
        account.strip_prefix(&fold(&self.before))?.strip_suffix(&fold(&self.after)).filter(|v| !v.is_empty())
    }
}

/// What is kept of what a system says about an account.
fn kept(attributes: &Value) -> Value {
    if attributes.to_string().len() > MAX_ATTRIBUTES { Value::Object(serde_json::Map::new()) } else { attributes.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_found_in_the_forms_that_systems_have() {
        for (attributes, expected) in [
            (json!({ "mail": "Ada@Example.org" }), vec!["ada@example.org"]),
            (json!({ "mail": ["a@b.org", "c@d.org"] }), vec!["a@b.org", "c@d.org"]),
            (json!({ "emails": [{ "value": "a@b.org", "primary": true }] }), vec!["a@b.org"]),
            (json!({ "userPrincipalName": "a@b.org", "mail": "no address" }), vec!["a@b.org"]),
            (json!({ "mail": 7, "cn": "a@b.org" }), vec![]),
            (json!(null), vec![]),
        ] {
            assert_eq!(emails_of(&attributes), expected, "{attributes}");
        }
    }

    #[test]
    fn a_key_that_is_made_of_one_attribute_gives_it_back() {
        let form = KeyForm::parse("uid={{ person.attributes.uid }},ou=People").unwrap();
        assert_eq!(form.value_in("uid=ada,ou=People", false), Some("ada"));
        assert_eq!(form.value_in("uid=ada,ou=people", true), Some("ada"));
        assert_eq!(form.value_in("uid=ada,ou=people", false), None);
        assert_eq!(form.value_in("uid=,ou=People", false), None);
        assert_eq!(KeyForm::parse("{{ person.attributes.uid }}").unwrap().value_in("ada", false), Some("ada"));
        for other in ["{{ person.email }}", "{{ person.attributes.a.b }}", "{{ person.attributes.a }}{{ person.email }}", "ada"] {
            assert_eq!(KeyForm::parse(other), None, "{other}");
        }
    }
}
