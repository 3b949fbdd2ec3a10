//! Lists of an LDAP directory: entries below a place, members of a group.
//!
//! # Invariants
//! - A list is read on one connection to its end, because a server keeps the place of a page only there; it
//!   comes as one page, whole or not at all.
//! - A server that stops at a limit of its own, or refers to another one for the rest, makes a failure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ldap3::controls::{Control, ControlType, PagedResults};
use ldap3::{LdapResult, ResultEntry, Scope, SearchEntry};
use serde_json::{Map, Value, json};

use super::super::{CallFailure, CommandSpec, Found, ListPage, ListRequest, ParamSpec, Target, text_param};
use super::listing;
use super::ldap::{GROUP_DN, LdapDriver, Session, limited, refused, settings};

const fn text(name: &'static str, required: bool, description: &'static str) -> ParamSpec {
    ParamSpec { name, kind: "string", required, description }
}

/// The entries below a place that a filter lets pass.
pub(super) const LIST_ENTRIES: CommandSpec = listing("list_entries", "The entries below a place.", &[
    text("baseDn", true, "the distinguished name of the place"),
    text("filter", false, "which ones, such as (objectClass=person); all when absent"),
    text("keyAttribute", false, "the attribute that is the key; the distinguished name when absent"),
    ParamSpec { name: "attributes", kind: "array", required: false, description: "the names of more attributes" },
]);

/// The members of a group.
pub(super) const LIST_MEMBERS: CommandSpec =
    listing("list_members", "The members of a group, each by its distinguished name.", &[GROUP_DN]);

/// The most entries or members that one list has.
const MOST: usize = 100_000;
const SIZE_LIMIT_EXCEEDED: u32 = 4;

impl LdapDriver {
    pub(super) async fn page(&self, target: &Target, request: &ListRequest) -> Result<ListPage, CallFailure> {
        if request.cursor.is_some() {
            return Err(CallFailure::param("cursor", "an LDAP list has one page only"));
        }
        let (config, origin) = settings(target)?;
        limited(config.time_limit(), &origin.clone(), async {
            let mut session = self.open(target, config, origin).await?;
            let found = session.list(request).await;
            session.close().await;
            found.map(ListPage::last)
        })
        .await
    }
}

impl Session {
    async fn list(&mut self, request: &ListRequest) -> Result<Vec<Found>, CallFailure> {
        if request.command == "list_members" {
            return self.members(text_param(&request.params, "groupDn")?).await;
        }
        let base = text_param(&request.params, "baseDn")?;
        let given = |name: &str| request.params.get(name).filter(|v| !v.is_null());
        let filter = given("filter").map_or(Ok("(objectClass=*)"), |_| text_param(&request.params, "filter"))?;
        let key = given("keyAttribute").map(|_| text_param(&request.params, "keyAttribute")).transpose()?;
        let mut wanted = attributes(given("attributes"))?;
        wanted.extend(key.map(str::to_owned));
        if wanted.is_empty() {
            // No attribute at all: the distinguished name comes anyway.
            wanted.push("1.1".to_owned());
        }
        let (mut all, mut cookie) = (Vec::new(), Vec::new());
        loop {
            let control = PagedResults { size: i32::try_from(request.limit.clamp(1, 1000)).unwrap_or(1000), cookie };
            let ldap = self.ldap.with_timeout(self.limit).with_controls(control);
            let found = ldap.search(base, Scope::Subtree, filter, wanted.clone()).await.map_err(|e| self.failure(&e))?;
            check(&found.1, "listing the entries")?;
            for entry in found.0 {
                all.push(entry_of(read(entry)?, key)?);
            }
            if all.len() > MOST {
                return Err(CallFailure::lasting("too_many", format!("there are more than {MOST} entries; narrow the filter")));
            }
            cookie = next_cookie(&found.1)?;
            if cookie.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Active Directory gives 1,500 members at once and says which: `member;range=0-1499`.
    async fn members(&mut self, group: &str) -> Result<Vec<Found>, CallFailure> {
        let attribute = self.config.member_attribute().to_owned();
        let (mut all, mut wanted) = (Vec::new(), attribute.clone());
        loop {
            let ldap = self.ldap.with_timeout(self.limit);
            let found = ldap.search(group, Scope::Base, "(objectClass=*)", vec![wanted]).await.map_err(|e| self.failure(&e))?;
            check(&found.1, "listing the members")?;
            let entry = found.0.into_iter().next().ok_or_else(|| CallFailure::bad_answer("the group cannot be read"))?;
            let (members, next) = members_of(read(entry)?, &attribute, all.len())?;
            all.extend(members.into_iter().map(|dn| Found { key: dn, attributes: json!({}) }));
            if all.len() > MOST {
                return Err(CallFailure::lasting("too_many", format!("the group has more than {MOST} members")));
            }
            match next {
                Some(next) => wanted = next,
                None => return Ok(all),
            }
        }
    }
}

fn attributes(given: Option<&Value>) -> Result<Vec<String>, CallFailure> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let names = given.as_array().and_then(|all| all.iter().map(|v| v.as_str().map(str::to_owned)).collect());
    names.ok_or_else(|| CallFailure::param("attributes", "expected a list of names"))
}

/// What only a part of came is none.
fn check(result: &LdapResult, doing: &str) -> Result<(), CallFailure> {
    match result.rc {
        0 if result.refs.is_empty() => Ok(()),
        0 => Err(CallFailure::incomplete("the directory refers to another server for a part of it; narrow baseDn")),
        SIZE_LIMIT_EXCEEDED => Err(CallFailure::incomplete("the directory stopped at its size limit")),
        code => Err(refused(doing, code)),
    }
}

/// The library panics on entries and controls that are malformed.
pub(super) fn read(entry: ResultEntry) -> Result<SearchEntry, CallFailure> {
    catch_unwind(AssertUnwindSafe(|| SearchEntry::construct(entry)))
        .map_err(|_| CallFailure::bad_answer("an entry is malformed"))
}

fn next_cookie(result: &LdapResult) -> Result<Vec<u8>, CallFailure> {
    let control = result.ctrls.iter().find(|Control(kind, _)| matches!(kind, Some(ControlType::PagedResults)));
    // A server that does not page gave everything at once.
    let Some(Control(_, raw)) = control else { return Ok(Vec::new()) };
    catch_unwind(AssertUnwindSafe(|| raw.parse::<PagedResults>().cookie))
        .map_err(|_| CallFailure::bad_answer("what it says about the next page is malformed"))
}

fn entry_of(entry: SearchEntry, key: Option<&str>) -> Result<Found, CallFailure> {
    let key = match key {
        None => entry.dn.clone(),
        Some(name) => {
            let values = entry.attrs.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice());
            match values {
                Some([one]) if !one.is_empty() => one.clone(),
                _ => return Err(CallFailure::bad_answer(format!("{} has not exactly one {name}", entry.dn))),
            }
        }
    };
    let mut attributes: Map<String, Value> = entry.attrs.into_iter().map(|(name, values)| (name, json!(values))).collect();
    attributes.insert("dn".to_owned(), entry.dn.into());
    Ok(Found { key, attributes: attributes.into() })
}

/// The members that came, and the attribute by which more come; `seen` came before.
fn members_of(entry: SearchEntry, attribute: &str, seen: usize) -> Result<(Vec<String>, Option<String>), CallFailure> {
    if !entry.bin_attrs.is_empty() {
        return Err(CallFailure::bad_answer("a member is no text"));
    }
    let mut plain = Vec::new();
    for (name, values) in entry.attrs {
        let lower = name.to_ascii_lowercase();
        let range = lower.strip_prefix(&format!("{};range=", attribute.to_ascii_lowercase()));
        if let Some((from, to)) = range.and_then(|r| r.split_once('-')) {
            let from: usize = from.parse().map_err(|_| CallFailure::bad_answer(format!("the range of {name}")))?;
            let next = seen + values.len();
            let whole = from == seen && (to == "*" || to.parse() == Ok(next.wrapping_sub(1)));
            if !whole || (to != "*" && values.is_empty()) {
                return Err(CallFailure::incomplete(format!("{} of {name} came", values.len())));
            }
            return Ok((values, (to != "*").then(|| format!("{attribute};range={next}-*"))));
        }
        if lower == attribute.to_ascii_lowercase() {
            plain = values;
        }
    }
    // An empty attribute beside a range is how Active Directory says that there is more than it shows.
    if seen > 0 { Err(CallFailure::incomplete("the next members did not come")) } else { Ok((plain, None)) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn entry(attributes: &[(&str, &[&str])]) -> SearchEntry {
        let attrs: HashMap<String, Vec<String>> = attributes
            .iter()
            .map(|(name, values)| ((*name).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
            .collect();
        SearchEntry { dn: "cn=g".to_owned(), attrs, bin_attrs: HashMap::new() }
    }

    #[test]
    fn members_that_come_in_ranges_are_read_to_the_end() {
        let some = |e, seen| members_of(e, "member", seen);
        assert_eq!(some(entry(&[("member", &["a", "b"])]), 0).unwrap(), (vec!["a".to_owned(), "b".to_owned()], None));
        assert_eq!(some(entry(&[]), 0).unwrap(), (vec![], None));
        let first = entry(&[("member", &[]), ("member;range=0-1", &["a", "b"])]);
        assert_eq!(some(first, 0).unwrap().1.as_deref(), Some("member;range=2-*"));
        assert_eq!(some(entry(&[("member;range=2-*", &["c"])]), 2).unwrap(), (vec!["c".to_owned()], None));
        for (half, seen) in [
            (entry(&[("member;range=0-2", &["a", "b"])]), 0), (entry(&[("member;range=1-*", &["b"])]), 0),
            (entry(&[("member", &["a"])]), 2), (entry(&[]), 2),
        ] {
            assert_eq!(some(half, seen).expect_err("half").code, "incomplete");
        }
    }

    #[test]
    fn an_entry_has_one_key_or_the_list_fails() {
        let found = entry_of(entry(&[("UID", &["ada"])]), Some("uid")).unwrap();
        assert_eq!((found.key.as_str(), &found.attributes["dn"]), ("ada", &json!("cn=g")));
        assert!(entry_of(entry(&[("uid", &["a", "b"])]), Some("uid")).is_err());
        assert!(entry_of(entry(&[]), Some("uid")).is_err());
    }
}
