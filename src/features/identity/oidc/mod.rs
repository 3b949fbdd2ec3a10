//! Sign-in with an OpenID provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636, S256).
//!
//! # Invariants
//! - An ID token counts when its signature, issuer, audience, authorised party, nonce and times are right: [`judge`].
//! - State, nonce and verifier belong to one browser and one attempt; an attempt is used once.
//! - Somebody is known by issuer and subject. An address makes nobody somebody else, unless the setting says so and
//!   the provider says that it verified the address.
//! - A system role that a mapping names follows the provider's groups; the others stay as they were given. The last
//!   administrator stays one.
//! - Whoever is refused is told nothing about the accounts that there are; the log says what to mend.

pub mod api;
pub mod flow;
pub mod jose;
pub mod ops;
pub mod provider;
pub mod store;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::access::SystemRole;
use crate::base::time::Timestamp;

/// How long somebody may take at the provider.
pub const ATTEMPT_LIFE: Duration = Duration::from_secs(10 * 60);
/// How far the provider's clock may be off.
const LEEWAY: Duration = Duration::from_secs(60);

/// Why nobody is signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The browser did not begin it, began it too long ago, or came back twice.
    #[error("{0}")]
    Again(String),
    /// The person, or the provider for them, said no.
    #[error("{0}")]
    Declined(String),
    /// The provider cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// What the provider says is not right; somebody has to mend it.
    #[error("{0}")]
    Provider(String),
    /// The provider knows them, Tenure does not let them in.
    #[error("{0}")]
    NotLetIn(String),
}

impl Refusal {
    /// What the sign-in page makes a sentence of.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Again(_) => "again",
            Self::Declined(_) => "declined",
            Self::Unavailable(_) => "unavailable",
            Self::Provider(_) => "provider",
            Self::NotLetIn(_) => "refused",
        }
    }
}

/// What an ID token is measured by.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The issuer, to the letter.
    pub issuer: &'a str,
    /// Who the token is for.
    pub client_id: &'a str,
    /// What was sent along.
    pub nonce: &'a str,
    /// The present instant.
    pub now: Timestamp,
}

/// Says what is wrong with the claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7).
pub fn judge(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let issuer = text("iss").unwrap_or_default();
    if issuer != expected.issuer {
        return Err(format!("the token is issued by \"{issuer}\"; expected \"{}\", see OIDC_ISSUER", expected.issuer));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audience.contains(&expected.client_id) {
        return Err(format!("the token is for {audience:?}; expected \"{}\", see OIDC_CLIENT_ID", expected.client_id));
    }
    match text("azp") {
        Some(party) if party != expected.client_id => {
            return Err(format!("the token was issued to \"{party}\" (azp); expected \"{}\"", expected.client_id));
        }
        None if audience.len() > 1 => return Err("the token is for many and does not say for whom it was issued (azp)".to_owned()),
        _ => {}
    }
    let at = |name: &str| claims.get(name).and_then(Value::as_f64).filter(|s| s.abs() < 1e12).map(|s| Timestamp::from_millis((s * 1000.0) as i64));
    let expires = at("exp").ok_or("the token does not say when it ends (exp)")?;
    if expected.now >= expires.plus(LEEWAY) {
        return Err(format!("the token ended at {expires}; it is {} here, compare the clocks", expected.now));
    }
    let issued = at("iat").ok_or("the token does not say when it was issued (iat)")?;
    if issued > expected.now.plus(LEEWAY) || at("nbf").is_some_and(|from| from > expected.now.plus(LEEWAY)) {
        return Err(format!("the token is of {issued}; it is {} here, compare the clocks", expected.now));
    }
    if text("nonce") != Some(expected.nonce) {
        return Err("the token has another nonce than the one that was sent along".to_owned());
    }
    match text("sub") {
        Some(subject) if !subject.is_empty() && subject.len() <= 255 => Ok(()),
        _ => Err("the token does not say who it is about (sub)".to_owned()),
    }
}

/// Who came back, as the provider tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Who says so.
    pub issuer: String,
    /// Their name that never changes.
    pub subject: String,
    /// Their address.
    pub email: Option<String>,
    /// Whether the provider verified the address; `None` when it does not say.
    pub email_verified: Option<bool>,
    /// How they are called.
    pub name: Option<String>,
    /// Their groups there.
    pub groups: Vec<String>,
}

impl Arrived {
    /// Reads claims that were judged.
    pub fn of(claims: &Map<String, Value>, groups_claim: &str) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
        let groups = match claims.get(groups_claim) {
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        };
        Self {
            issuer: text("iss").unwrap_or_default(),
            subject: claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned(),
            email: text("email"),
            // Some providers write it as text.
            email_verified: claims.get("email_verified").and_then(|v| v.as_bool().or_else(|| v.as_str().map(|t| t == "true"))),
            name: text("name").or_else(|| text("preferred_username")),
            groups,
        }
    }
}

/// A group of the provider and the system role that its members have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleOfGroup {
    /// The group as the provider names it; `*` is everybody who signs in with the provider.
    pub group: String,
    /// What its members may do.
    pub role: SystemRole,
}

/// The system roles of somebody with these groups: what the mapping names follows it, the rest stays.
pub fn mapped(mapping: &[RoleOfGroup], groups: &[String], before: &[SystemRole]) -> Vec<SystemRole> {
    let named: BTreeSet<SystemRole> = mapping.iter().map(|m| m.role).collect();
    let given = mapping.iter().filter(|m| m.group == "*" || groups.contains(&m.group)).map(|m| m.role);
    let all: BTreeSet<SystemRole> = before.iter().copied().filter(|role| !named.contains(role)).chain(given).collect();
    all.into_iter().collect()
}

/// The path of the UI to go on to; another site is never one.
pub fn safe_return(wanted: Option<&str>) -> String {
    let fits = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.len() <= 2000
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
            && !path.starts_with("/api/")
    };
    wanted.filter(fits).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), String> {
        let mut claims = json!({ "iss": "https://id.example.org", "aud": "tenure", "sub": "7", "nonce": "n", "iat": 1000, "exp": 1600 });
        let claims = claims.as_object_mut().expect("an object");
        change(claims);
        let now = Timestamp::from_millis(1_100_000);
        judge(claims, &Expected { issuer: "https://id.example.org", client_id: "tenure", nonce: "n", now })
    }

    #[test]
    fn a_token_counts_only_when_each_claim_is_right() {
        assert_eq!(judged(|_| {}), Ok(()));
        let right = [("aud", json!(["tenure"])), ("aud", json!("tenure")), ("azp", json!("tenure")), ("exp", json!(1040.5))];
        for (name, value) in right {
            assert_eq!(judged(|c| drop(c.insert(name.to_owned(), value.clone()))), Ok(()), "{name} {value}");
        }
        let wrong = [
            ("iss", json!("https://id.example.org/"), "OIDC_ISSUER"),
            ("iss", json!(null), "OIDC_ISSUER"),
            ("aud", json!("other"), "OIDC_CLIENT_ID"),
            ("aud", json!([]), "OIDC_CLIENT_ID"),
            ("aud", json!(["tenure", "other"]), "azp"),
            ("azp", json!("other"), "azp"),
            ("exp", json!(1040), "ended"),
            ("exp", json!("2000"), "exp"),
            ("exp", json!(1e300), "exp"),
            ("iat", json!(1161), "compare the clocks"),
            ("iat", json!(null), "iat"),
            ("nbf", json!(1161), "compare the clocks"),
            ("nonce", json!("other"), "nonce"),
            ("nonce", json!(null), "nonce"),
            ("sub", json!(""), "sub"),
            ("sub", json!(7), "sub"),
        ];
        for (name, value, word) in wrong {
            let fault = judged(|c| drop(c.insert(name.to_owned(), value.clone()))).expect_err(name);
            assert!(fault.contains(word), "{name} {value}: {fault}");
        }
    }

    #[test]
    fn roles_that_a_mapping_names_follow_the_groups_and_others_stay() {
        use SystemRole::{Admin, Approver, Auditor, Requestor};
        let mapping = [("*", Requestor), ("deciders", Approver), ("root", Admin)]
            .map(|(group, role)| RoleOfGroup { group: group.to_owned(), role });
        let groups = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(mapped(&mapping, &[], &[]), [Requestor]);
        assert_eq!(mapped(&mapping, &groups(&["deciders", "x"]), &[Admin, Auditor]), mapped(&[], &[], &sorted(&[Approver, Requestor, Auditor])));
        assert_eq!(mapped(&[], &groups(&["root"]), &[Auditor]), [Auditor]);
    }

    fn sorted(roles: &[SystemRole]) -> Vec<SystemRole> {
        let mut roles = roles.to_vec();
        roles.sort();
        roles
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(safe_return(Some("/runs?status=waiting")), "/runs?status=waiting");
        for bad in ["", "//evil.example", "https://evil.example", "/\\evil.example", "runs", "/a b", "/a\r\nX: y", "/api/auth/logout"] {
            assert_eq!(safe_return(Some(bad)), "/", "{bad}");
        }
    }
}
