//! SCIM 2.0 (RFC 7643, 7644): users, groups and their members at a service provider.
//!
//! # Invariants
//! - A user is found by `userName`, a group by `displayName`; more than one of a name is a failure, because
//!   nobody could tell which one is meant.
//! - A change looks first and then acts: what is there already, or gone already, is success.
//! - What is found has the name that was asked for: a service that passes over filters gives somebody else.
//! - A list counts what came against `totalResults`, which does not change while it is read.

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use ::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::super::{
    CallAnswer, CallFailure, CallFuture, CommandSpec, Driver, Found, ListFuture, ListPage, ListRequest, ParamSpec, Target,
    text_param,
};
use super::http::{failed, from_outbound, join};
use super::{check_timeout, command, fault, listing, param, read_config};
use crate::base::problem::FieldError;
use crate::platform::outbound::{Answer, Origin, Outbound, Request};

const USER: ParamSpec = param("userName", "string", true, "the userName of the user");
const GROUP: ParamSpec = param("group", "string", true, "the displayName of the group");
const ATTRIBUTES: ParamSpec = param("attributes", "object", false, "attributes of the user by their SCIM names");
const SOME_ATTRIBUTES: ParamSpec = param("attributes", "object", true, "attributes of the user by their SCIM names");
const KEY: ParamSpec = param("keyAttribute", "string", false, "what is the key of a user: userName, or id; userName when absent");

/// What a SCIM service understands.
pub const COMMANDS: &[CommandSpec] = &[
    command("create_user", true, "Creates a user, or sets the attributes of the one there is and makes it active.", &[USER, ATTRIBUTES]),
    command("replace_user", true, "Replaces all attributes of a user.", &[USER, SOME_ATTRIBUTES]),
    command("patch_user", true, "Sets attributes of a user and leaves the others.", &[USER, SOME_ATTRIBUTES]),
    command("activate_user", true, "Makes a user active.", &[USER]),
    command("deactivate_user", true, "Makes a user inactive; one that is gone is inactive.", &[USER]),
    command("delete_user", true, "Deletes a user.", &[USER]),
    command("has_user", false, "Whether there is such a user.", &[USER]),
    command("is_active", false, "Whether there is such a user and it is active.", &[USER]),
    command("create_group", true, "Creates a group.", &[GROUP]),
    command("delete_group", true, "Deletes a group.", &[GROUP]),
    command("has_group", false, "Whether there is such a group.", &[GROUP]),
    command("add_member", true, "Puts a user into a group.", &[USER, GROUP]),
    command("remove_member", true, "Takes a user out of a group.", &[USER, GROUP]),
    command("has_member", false, "Whether a user is in a group.", &[USER, GROUP]),
    listing("list_users", "The users, page by page.", &[
        param("filter", "string", false, "a SCIM filter, such as active eq true"),
        KEY,
    ]),
    listing("list_members", "The users in a group; not groups in groups.", &[GROUP, KEY]),
];

/// The secrets of a SCIM connector, by its `auth`: bearer, basic.
pub const SECRETS: &[&str] = &["token", "password"];

const MEDIA_TYPE: &str = "application/scim+json";
const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The most members that one list has.
const MOST: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auth {
    None,
    #[default]
    Bearer,
    Basic,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    /// Where `/Users` and `/Groups` are.
    base_url: Url,
    #[serde(default)]
    auth: Auth,
    /// With `auth: basic`.
    user_name: Option<String>,
    timeout_seconds: Option<u64>,
}

pub(super) fn destination(config: &Value) -> Option<String> {
    Origin::of(&read_config::<Config>(config).ok()?.base_url).map(|o| o.to_string())
}

pub(super) fn check_config(config: &Value) -> Vec<FieldError> {
    let config: Config = match read_config(config) {
        Ok(config) => config,
        Err(fault) => return vec![fault],
    };
    let (mut faults, url) = (Vec::new(), &config.base_url);
    if !matches!(url.scheme(), "http" | "https") || Origin::of(url).is_none() {
        faults.push(fault("baseUrl", "expected an absolute URL with http or https, such as https://idp.example/scim/v2"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        faults.push(fault("baseUrl", "expected no user, password, query or fragment; credentials are secrets"));
    }
    if config.auth == Auth::Basic && config.user_name.as_deref().is_none_or(|n| n.is_empty() || n.contains(':')) {
        faults.push(fault("userName", "expected a name without a colon"));
    }
    faults.extend(check_timeout(config.timeout_seconds));
    faults
}

/// Drives SCIM services.
pub(in super::super) struct ScimDriver {
    outbound: Outbound,
}

impl ScimDriver {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    fn open<'a>(&'a self, target: &'a Target) -> Result<Session<'a>, CallFailure> {
        let config: Config = read_config(&target.config).map_err(|e| CallFailure::lasting("bad_config", e.message))?;
        let listed = Origin::of(&config.base_url).into_iter().collect();
        Ok(Session { outbound: &self.outbound, target, config, listed })
    }

    async fn run(&self, target: &Target, command: &str, params: &Value) -> Result<CallAnswer, CallFailure> {
        let output = self.open(target)?.run(command, params).await?;
        Ok(CallAnswer { output })
    }

    async fn page(&self, target: &Target, request: &ListRequest) -> Result<ListPage, CallFailure> {
        let session = self.open(target)?;
        let key = match request.params.get("keyAttribute").and_then(Value::as_str) {
            None | Some("userName") => "userName",
            Some("id") => "id",
            Some(_) => return Err(CallFailure::param("keyAttribute", "expected userName or id")),
        };
        match request.command.as_str() {
            "list_members" => session.members(text_param(&request.params, "group")?, key).await.map(ListPage::last),
            _ => session.users(request, key).await,
        }
    }
}

impl Driver for ScimDriver {
    fn test<'a>(&'a self, target: &'a Target) -> CallFuture<'a> {
        Box::pin(async move {
            let found = self.open(target)?.search("Users", None, 1, 1).await?;
            Ok(CallAnswer { output: json!({ "ok": true, "users": found.total }) })
        })
    }

    fn execute<'a>(&'a self, target: &'a Target, command: &'a str, params: &'a Value, _key: &'a str) -> CallFuture<'a> {
        Box::pin(self.run(target, command, params))
    }

    fn list<'a>(&'a self, target: &'a Target, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(self.page(target, request))
    }
}

/// One page of an answer to a search.
struct Page {
    total: u64,
    resources: Vec<Value>,
}

impl Page {
    /// Where one of those before went away, one that follows moved up to where nobody looks any more.
    fn same_total(&self, before: Option<u64>) -> Result<(), CallFailure> {
        match before {
            Some(before) if before != self.total => {
                Err(CallFailure::incomplete(format!("there were {before} and then {} while it was read", self.total)))
            }
            _ => Ok(()),
        }
    }
}

/// Where a page begins and how many there were in all, as they stand in a cursor.
fn place(cursor: &str) -> Option<(u64, Option<u64>)> {
    let (start, total) = cursor.split_once('/')?;
    Some((start.parse().ok().filter(|n| *n > 0)?, Some(total.parse().ok()?)))
}

struct Session<'a> {
    outbound: &'a Outbound,
    target: &'a Target,
    config: Config,
    listed: Vec<Origin>,
}

impl Session<'_> {
    async fn run(&self, command: &str, params: &Value) -> Result<Value, CallFailure> {
        let group = || text_param(params, "group");
        let user = || text_param(params, "userName");
        Ok(match command {
            "create_user" => self.create_user(user()?, params).await?,
            "replace_user" => {
                let id = self.need("Users", "userName", user()?).await?;
                let mut body = attributes(params)?;
                body.insert("id".to_owned(), id.clone().into());
                self.change(Method::PUT, &format!("Users/{id}"), Some(user_body(user()?, body))).await?;
                changed(true)
            }
            "patch_user" => {
                let id = self.need("Users", "userName", user()?).await?;
                self.set(&id, &attributes(params)?).await?;
                changed(true)
            }
            "activate_user" => self.set_active(user()?, true).await?,
            "deactivate_user" => self.set_active(user()?, false).await?,
            "delete_user" => self.delete("Users", "userName", user()?).await?,
            "has_user" => present(self.find("Users", "userName", user()?).await?.is_some()),
            "is_active" => match self.find("Users", "userName", user()?).await? {
                Some(found) => present(is_active(&found)?),
                None => present(false),
            },
            "create_group" => {
                if self.find("Groups", "displayName", group()?).await?.is_some() {
                    return Ok(changed(false));
                }
                let body = json!({ "schemas": [GROUP_SCHEMA], "displayName": group()? });
                self.change(Method::POST, "Groups", Some(body)).await?;
                changed(true)
            }
            "delete_group" => self.delete("Groups", "displayName", group()?).await?,
            "has_group" => present(self.find("Groups", "displayName", group()?).await?.is_some()),
            "add_member" => self.set_member(user()?, group()?, true).await?,
            "remove_member" => self.set_member(user()?, group()?, false).await?,
            "has_member" => present(self.membership(user()?, group()?).await?.is_some_and(|m| m.is_member)),
            other => return Err(CallFailure::lasting("unknown_command", format!("no command \"{other}\""))),
        })
    }

    async fn create_user(&self, name: &str, params: &Value) -> Result<Value, CallFailure> {
        let mut attributes = attributes(params)?;
        let Some(user) = self.find("Users", "userName", name).await? else {
            attributes.entry("active").or_insert(true.into());
            let made = self.change(Method::POST, "Users", Some(user_body(name, attributes))).await?;
            return Ok(json!({ "changed": true, "id": made.get("id") }));
        };
        let id = id_of(&user)?;
        attributes.entry("active").or_insert(true.into());
        let differs = attributes.iter().any(|(name, value)| user.get(name) != Some(value));
        if differs {
            self.set(&id, &attributes).await?;
        }
        Ok(json!({ "changed": differs, "id": id }))
    }

    async fn set(&self, id: &str, attributes: &Map<String, Value>) -> Result<(), CallFailure> {
        let operations: Vec<Value> =
            attributes.iter().map(|(path, value)| json!({ "op": "replace", "path": path, "value": value })).collect();
        self.patch(&format!("Users/{id}"), operations).await
    }

    async fn set_active(&self, name: &str, active: bool) -> Result<Value, CallFailure> {
        let Some(user) = self.find("Users", "userName", name).await? else {
            return if active { Err(missing("Users", name)) } else { Ok(changed(false)) };
        };
        if is_active(&user)? == active {
            return Ok(changed(false));
        }
        self.set(&id_of(&user)?, &Map::from_iter([("active".to_owned(), active.into())])).await?;
        Ok(changed(true))
    }

    async fn delete(&self, place: &str, attribute: &str, name: &str) -> Result<Value, CallFailure> {
        let Some(found) = self.find(place, attribute, name).await? else { return Ok(changed(false)) };
        match self.change(Method::DELETE, &format!("{place}/{}", id_of(&found)?), None).await {
            Ok(_) => Ok(changed(true)),
            // Somebody else deleted it in between.
            Err(failure) if failure.code == "http_404" => Ok(changed(false)),
            Err(failure) => Err(failure),
        }
    }

    async fn set_member(&self, name: &str, group: &str, wanted: bool) -> Result<Value, CallFailure> {
        let Some(found) = self.membership(name, group).await? else {
            return if wanted {
                self.need("Groups", "displayName", group).await?;
                Err(missing("Users", name))
            } else {
                Ok(changed(false))
            };
        };
        if found.is_member == wanted {
            return Ok(changed(false));
        }
        let user = &found.user;
        let operation = if wanted {
            json!({ "op": "add", "path": "members", "value": [{ "value": user }] })
        } else {
            json!({ "op": "remove", "path": format!("members[value eq {}]", quoted(user)) })
        };
        self.patch(&format!("Groups/{}", found.group), vec![operation]).await?;
        Ok(changed(true))
    }

    /// Nothing when there is no such user or no such group.
    async fn membership(&self, name: &str, group: &str) -> Result<Option<Membership>, CallFailure> {
        let Some(found) = self.find("Groups", "displayName", group).await? else { return Ok(None) };
        let Some(user) = self.find("Users", "userName", name).await? else { return Ok(None) };
        let (group, user) = (id_of(&found)?, id_of(&user)?);
        let is_member = self.member_ids(&group).await?.contains(&user);
        Ok(Some(Membership { group, user, is_member }))
    }

    /// The group is read by its id: a search need not give members.
    async fn member_ids(&self, group: &str) -> Result<Vec<String>, CallFailure> {
        let group = self.change(Method::GET, &format!("Groups/{group}"), None).await?;
        let members = match group.get("members") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(members) => members.as_array().ok_or_else(|| CallFailure::bad_answer("members is no list"))?,
        };
        let users = members.iter().filter(|m| m.get("type").and_then(Value::as_str).is_none_or(|t| t != "Group"));
        let ids = users.map(|m| m.get("value").and_then(Value::as_str).map(str::to_owned)).collect::<Option<_>>();
        ids.ok_or_else(|| CallFailure::bad_answer("a member has no value"))
    }

    async fn members(&self, group: &str, key: &str) -> Result<Vec<Found>, CallFailure> {
        let group = self.need("Groups", "displayName", group).await?;
        let ids = self.member_ids(&group).await?;
        if ids.len() > MOST {
            return Err(CallFailure::lasting("too_many", format!("the group has more than {MOST} members")));
        }
        if key == "id" {
            return Ok(ids.into_iter().map(|id| Found { key: id, attributes: json!({}) }).collect());
        }
        let mut names = BTreeMap::new();
        let (mut start, mut before) = (1, None);
        while !ids.is_empty() {
            let page = self.search("Users", None, start, 200).await?;
            if page.total > MOST as u64 {
                let message = format!("the service has more than {MOST} users to look for names in; use keyAttribute id");
                return Err(CallFailure::lasting("too_many", message));
            }
            page.same_total(before.replace(page.total))?;
            for user in &page.resources {
                names.insert(id_of(user)?, found(user, key)?);
            }
            let seen = start - 1 + page.resources.len() as u64;
            if seen >= page.total {
                break;
            }
            not_empty(&page, seen)?;
            start = seen + 1;
        }
        let known = |id: &String| {
            names.get(id).cloned().ok_or_else(|| CallFailure::incomplete(format!("the member {id} is no user that is listed")))
        };
        ids.iter().map(known).collect()
    }

    async fn users(&self, request: &ListRequest, key: &str) -> Result<ListPage, CallFailure> {
        let filter = request.params.get("filter").filter(|f| !f.is_null());
        let filter = filter.map(|_| text_param(&request.params, "filter")).transpose()?;
        let (start, before) = match &request.cursor {
            None => (1, None),
            Some(text) => place(text).ok_or_else(|| CallFailure::param("cursor", "expected what the page before gave"))?,
        };
        let page = self.search("Users", filter, start, request.limit).await?;
        page.same_total(before)?;
        let items: Vec<Found> = page.resources.iter().map(|user| found(user, key)).collect::<Result<_, _>>()?;
        let seen = start - 1 + items.len() as u64;
        match seen.cmp(&page.total) {
            std::cmp::Ordering::Equal => Ok(ListPage::last(items)),
            std::cmp::Ordering::Greater => Err(CallFailure::incomplete("more came than there are")),
            std::cmp::Ordering::Less => {
                not_empty(&page, seen)?;
                Ok(ListPage::more(items, format!("{}/{}", seen + 1, page.total)))
            }
        }
    }

    async fn need(&self, place: &str, attribute: &str, name: &str) -> Result<String, CallFailure> {
        match self.find(place, attribute, name).await? {
            Some(found) => id_of(&found),
            None => Err(missing(place, name)),
        }
    }

    async fn find(&self, place: &str, attribute: &str, name: &str) -> Result<Option<Value>, CallFailure> {
        let filter = format!("{attribute} eq {}", quoted(name));
        let page = self.search(place, Some(&filter), 1, 2).await?;
        match (page.total, page.resources.len()) {
            (0, 0) => Ok(None),
            (1, 1) => Ok(Some(called(page.resources, attribute, name)?)),
            (total, came) if total <= 1 => Err(CallFailure::incomplete(format!("{came} of {total} came"))),
            (total, _) => Err(CallFailure::lasting("ambiguous", format!("there are {total} {place} with the {attribute} \"{name}\""))),
        }
    }

    async fn search(&self, place: &str, filter: Option<&str>, start: u64, count: u32) -> Result<Page, CallFailure> {
        let mut url = join(&self.config.base_url, place)?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(filter) = filter {
                query.append_pair("filter", filter);
            }
            query.append_pair("startIndex", &start.to_string()).append_pair("count", &count.to_string());
        }
        let answer = self.send(Method::GET, url, None).await?;
        let body = body_of(&answer)?;
        let total = body.get("totalResults").and_then(Value::as_u64);
        let total = total.ok_or_else(|| CallFailure::bad_answer("it has no totalResults"))?;
        let resources = match body.get("Resources") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(_) => return Err(CallFailure::bad_answer("Resources is no list")),
        };
        Ok(Page { total, resources })
    }

    async fn patch(&self, path: &str, operations: Vec<Value>) -> Result<(), CallFailure> {
        let body = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
        self.change(Method::PATCH, path, Some(body)).await.map(drop)
    }

    async fn change(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, CallFailure> {
        let answer = self.send(method, join(&self.config.base_url, path)?, body).await?;
        if answer.body.is_empty() { Ok(Value::Null) } else { body_of(&answer) }
    }

    async fn send(&self, method: Method, url: Url, body: Option<Value>) -> Result<Answer, CallFailure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
        let credentials = match self.config.auth {
            Auth::None => None,
            Auth::Bearer => Some(format!("Bearer {}", self.target.secret("token")?)),
            Auth::Basic => {
                let user = self.config.user_name.as_deref().unwrap_or_default();
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{}", self.target.secret("password")?))))
            }
        };
        if let Some(text) = credentials {
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| CallFailure::lasting("bad_config", "the secret has characters that no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        }
        let request = Request {
            method,
            url,
            headers,
            body: body.map(|b| b.to_string().into()),
            time_limit: Some(Duration::from_secs(self.config.timeout_seconds.unwrap_or(10))),
            answer_limit: Some(self.target.policy.max_answer_bytes),
        };
        let answer = self.outbound.send(&self.listed, request).await.map_err(from_outbound)?;
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(failed(&answer, self.target)) }
    }
}

/// Whether a user is in a group, with the ids of both.
struct Membership {
    group: String,
    user: String,
    is_member: bool,
}

fn body_of(answer: &Answer) -> Result<Value, CallFailure> {
    serde_json::from_slice(&answer.body).map_err(|_| CallFailure::bad_answer("it is no JSON"))
}

/// A text as a filter has it: a JSON string.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// An id is a part of an address, so nothing that could lead elsewhere is taken for one.
fn id_of(resource: &Value) -> Result<String, CallFailure> {
    let id = resource.get("id").and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= 200);
    let id = id.ok_or_else(|| CallFailure::bad_answer("a resource has no id"))?;
    if id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~@+:".contains(&b)) && !id.starts_with('.') {
        Ok(id.to_owned())
    } else {
        Err(CallFailure::bad_answer("the id of a resource cannot stand in an address"))
    }
}

fn found(user: &Value, key: &str) -> Result<Found, CallFailure> {
    let text = user.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    let text = text.ok_or_else(|| CallFailure::bad_answer(format!("a user has no {key}")))?;
    let attributes = json!({ "id": user.get("id"), "userName": user.get("userName"), "active": user.get("active") });
    Ok(Found { key: text.to_owned(), attributes })
}

/// A page without anything although there is more would be asked for again for ever.
fn not_empty(page: &Page, seen: u64) -> Result<(), CallFailure> {
    if page.resources.is_empty() {
        return Err(CallFailure::incomplete(format!("{seen} of {} came", page.total)));
    }
    Ok(())
}

/// RFC 7643 leaves out what is the default; what is neither true nor false tells nothing.
fn is_active(user: &Value) -> Result<bool, CallFailure> {
    match user.get("active") {
        None | Some(Value::Null) => Ok(true),
        Some(Value::Bool(active)) => Ok(*active),
        Some(_) => Err(CallFailure::bad_answer("active is neither true nor false")),
    }
}

/// The one that came, if it has the name that was asked for; capitals make no difference (RFC 7643).
fn called(resources: Vec<Value>, attribute: &str, name: &str) -> Result<Value, CallFailure> {
    let same = |found: &Value| {
        found.get(attribute).and_then(Value::as_str).is_some_and(|got| got.to_lowercase() == name.to_lowercase())
    };
    resources.into_iter().find(same).ok_or_else(|| {
        CallFailure::bad_answer(format!("the {attribute} \"{name}\" was asked for and another came; the service passes over filters"))
    })
}

fn attributes(params: &Value) -> Result<Map<String, Value>, CallFailure> {
    match params.get("attributes") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(fields)) if !fields.contains_key("userName") && !fields.contains_key("id") => Ok(fields.clone()),
        Some(_) => Err(CallFailure::param("attributes", "expected an object without userName and id")),
    }
}

fn user_body(name: &str, mut attributes: Map<String, Value>) -> Value {
    attributes.entry("schemas").or_insert_with(|| json!([USER_SCHEMA]));
    attributes.insert("userName".to_owned(), name.into());
    attributes.into()
}

fn missing(place: &str, name: &str) -> CallFailure {
    let (code, what) = if place == "Users" { ("no_account", "user") } else { ("no_group", "group") };
    CallFailure::lasting(code, format!("there is no {what} \"{name}\""))
}

fn changed(changed: bool) -> Value {
    json!({ "changed": changed })
}

fn present(present: bool) -> Value {
    json!({ "present": present })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_leads_elsewhere_is_none() {
        assert_eq!(id_of(&json!({ "id": "2819c223-7f76" })).unwrap(), "2819c223-7f76");
        for id in [json!("../Groups"), json!(".."), json!("a/b"), json!("a?b"), json!("a%2fb"), json!(""), json!(7), Value::Null] {
            assert!(id_of(&json!({ "id": id })).is_err(), "{id}");
        }
    }

    #[test]
    fn a_name_stays_a_name_in_a_filter() {
        assert_eq!(quoted("ada"), r#""ada""#);
        assert_eq!(quoted(r#"x" or userName pr or userName eq ""#), r#""x\" or userName pr or userName eq \"""#);
    }

    #[test]
    fn a_config_with_faults_names_each() {
        let fields = |config: Value| check_config(&config).into_iter().map(|f| f.field).collect::<Vec<_>>();
        assert!(fields(json!({ "baseUrl": "https://a.example/scim/v2" })).is_empty());
        assert_eq!(
            fields(json!({ "baseUrl": "ftp://u@a.example", "auth": "basic", "timeoutSeconds": 0 })),
            ["config.baseUrl", "config.baseUrl", "config.userName", "config.timeoutSeconds"]
        );
    }
}
