//! Lists of an HTTP API, page by page, by where its answers keep what.
//!
//! # Invariants
//! - A page that is not a 200 with JSON, has no items where they should be, or an item without its key, is a
//!   failure: what is left out of a list would look as if it were not there.
//! - Where the API says how many there are, as many are seen or the list fails.
//! - A link to the next page leads below the base URL or is not followed.

use ::http::header::{ACCEPT, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::super::{CallFailure, CommandSpec, Found, ListPage, ListRequest, ParamSpec, Target, text_param};
use super::http::{Config, HttpDriver, add_credentials, add_query, config_of, failed, join};
use super::param;
use crate::platform::outbound::{Origin, Request};

const PARAMS: &[ParamSpec] = &[
    param("path", "string", true, "a path below the base URL"),
    param("query", "object", false, "the query's names and values"),
    param("itemsPath", "string", false, "where the items are, as a JSON pointer; the whole answer when absent"),
    param("keyPath", "string", false, "where an item has its key, as a JSON pointer; /id when absent"),
    param("totalPath", "string", false, "where the answer says how many there are"),
    param("nextPath", "string", false, "where the answer has the next cursor, or the address of the next page"),
    param("cursorParam", "string", false, "the query's name for the cursor; without it nextPath has an address"),
    param("pageParam", "string", false, "the query's name for the number of the page"),
    param("firstPage", "number", false, "the number of the first page; 1 when absent"),
    param("limitParam", "string", false, "the query's name for how many are wanted at once"),
];

/// Lists things, page by page.
pub(super) const LIST: CommandSpec = CommandSpec {
    name: "list",
    description: "Lists things, page by page: by a cursor, a link or the number of the page.",
    changes: false,
    lists: true,
    params: PARAMS,
};

/// How an API pages.
enum Paging {
    /// Everything comes at once.
    Whole,
    /// The answer has what leads on: the value of a query parameter, or an address.
    Next { path: String, param: Option<String> },
    /// Pages have numbers; the one after the last is empty.
    Numbered { param: String, first: u64 },
}

struct Plan {
    items: String,
    key: String,
    total: Option<String>,
    limit: Option<String>,
    paging: Paging,
}

impl Plan {
    fn read(params: &Value) -> Result<Self, CallFailure> {
        let pointer = |name: &str| match params.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() || text.starts_with('/') => Ok(Some(text.clone())),
            Some(_) => Err(CallFailure::param(name, "expected a JSON pointer such as /items")),
        };
        let name = |name: &str| match params.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => text_param(params, name).map(|text| Some(text.to_owned())),
        };
        let first = match params.get("firstPage") {
            None | Some(Value::Null) => 1,
            Some(value) => value.as_u64().ok_or_else(|| CallFailure::param("firstPage", "expected 0 or more"))?,
        };
        let paging = match (pointer("nextPath")?, name("cursorParam")?, name("pageParam")?) {
            (None, None, None) => Paging::Whole,
            (Some(path), param, None) => Paging::Next { path, param },
            (None, None, Some(param)) => Paging::Numbered { param, first },
            _ => return Err(CallFailure::param("pageParam", "expected either nextPath, with cursorParam or not, or pageParam")),
        };
        Ok(Self {
            items: pointer("itemsPath")?.unwrap_or_default(),
            key: pointer("keyPath")?.unwrap_or_else(|| "/id".to_owned()),
            total: pointer("totalPath")?,
            limit: name("limitParam")?,
            paging,
        })
    }
}

/// Where a page begins, as it stands in a cursor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// How many were seen before it.
    seen: u64,
    /// How many the API said there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// The cursor or address of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// The number of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u64>,
}

impl Place {
    fn read(cursor: Option<&str>) -> Result<Self, CallFailure> {
        let Some(cursor) = cursor else { return Ok(Self::default()) };
        serde_json::from_str(cursor).map_err(|_| CallFailure::param("cursor", "expected what the page before gave"))
    }

    fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl HttpDriver {
    pub(super) async fn page(&self, target: &Target, request: &ListRequest) -> Result<ListPage, CallFailure> {
        let config = config_of(target)?;
        let (plan, place) = (Plan::read(&request.params)?, Place::read(request.cursor.as_deref())?);
        let url = address(&config, &plan, &place, request)?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        add_credentials(&config, target, &mut headers)?;
        let call = Request {
            headers,
            time_limit: Some(config.time_limit()),
            answer_limit: Some(target.policy.max_answer_bytes),
            ..Request::get(url)
        };
        let answer = self.send(&config, call).await?;
        if answer.status != 200 {
            return Err(failed(&answer, target));
        }
        let body: Value =
            serde_json::from_slice(&answer.body).map_err(|_| CallFailure::bad_answer("it is no JSON"))?;
        plan.judge(&config, &place, &body)
    }
}

fn address(config: &Config, plan: &Plan, place: &Place, request: &ListRequest) -> Result<Url, CallFailure> {
    if let (Paging::Next { param: None, .. }, Some(link)) = (&plan.paging, &place.at) {
        return below(config, link);
    }
    let mut url = join(&config.base_url, text_param(&request.params, "path")?)?;
    add_query(&mut url, &request.params)?;
    let mut more = Map::new();
    if let Some(limit) = &plan.limit {
        more.insert(limit.clone(), request.limit.into());
    }
    match (&plan.paging, &place.at) {
        (Paging::Next { param: Some(param), .. }, Some(cursor)) => {
            more.insert(param.clone(), cursor.clone().into());
        }
        (Paging::Numbered { param, first }, _) => {
            more.insert(param.clone(), place.page.unwrap_or(*first).into());
        }
        _ => {}
    }
    if !more.is_empty() {
        add_query(&mut url, &Value::Object(Map::from_iter([("query".to_owned(), more.into())])))?;
    }
    Ok(url)
}

/// The address of a next page, which leads nowhere else than the first one did.
fn below(config: &Config, link: &str) -> Result<Url, CallFailure> {
    let base = &config.base_url;
    let url = base.join(link).map_err(|_| CallFailure::bad_answer("the link to the next page is no address"))?;
    let folder = format!("{}/", base.path().trim_end_matches('/'));
    let inside = Origin::of(&url) == Origin::of(base)
        && (url.path().starts_with(&folder) || url.path() == base.path())
        && !url.path().to_ascii_lowercase().contains("%2e");
    let plain = url.username().is_empty() && url.password().is_none();
    if inside && plain { Ok(url) } else { Err(CallFailure::bad_answer("the link to the next page leaves the base URL")) }
}

impl Plan {
    /// What a page says.
    fn judge(&self, config: &Config, place: &Place, body: &Value) -> Result<ListPage, CallFailure> {
        let items = body.pointer(&self.items).and_then(Value::as_array).ok_or_else(|| {
            CallFailure::bad_answer(format!("there is no list at {:?}", self.items))
        })?;
        let found: Vec<Found> =
            items.iter().enumerate().map(|(at, item)| self.found(at, item)).collect::<Result<_, _>>()?;
        let seen = place.seen + found.len() as u64;
        let total = match &self.total {
            None => None,
            Some(path) => Some(body.pointer(path).and_then(Value::as_u64).ok_or_else(|| {
                CallFailure::bad_answer(format!("there is no number at {path:?}"))
            })?),
        };
        if let (Some(before), Some(now)) = (place.total, total)
            && before != now
        {
            // What moved up to a page that was read already is in none.
            return Err(CallFailure::incomplete(format!("there were {before} and then {now} while it was read")));
        }
        if let Some(next) = self.next(config, place, body, found.is_empty(), total == Some(seen))? {
            return Ok(ListPage::more(found, Place { seen, total, ..next }.write()));
        }
        match total {
            Some(total) if total != seen => Err(CallFailure::incomplete(format!("{seen} of {total} came"))),
            _ => Ok(ListPage::last(found)),
        }
    }

    fn found(&self, at: usize, item: &Value) -> Result<Found, CallFailure> {
        let key = match item.pointer(&self.key) {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(CallFailure::bad_answer(format!("item {at} has no key at {:?}", self.key))),
        };
        let attributes = if item.is_object() { item.clone() } else { Value::Object(Map::new()) };
        Ok(Found { key, attributes })
    }

    /// Where the next page is; nothing when this was the last.
    fn next(&self, config: &Config, place: &Place, body: &Value, empty: bool, all: bool) -> Result<Option<Place>, CallFailure> {
        match &self.paging {
            Paging::Whole => Ok(None),
            Paging::Numbered { .. } if empty || all => Ok(None),
            Paging::Numbered { first, .. } => {
                let page = place.page.unwrap_or(*first) + 1;
                Ok(Some(Place { page: Some(page), ..Place::default() }))
            }
            Paging::Next { path, param } => {
                let holder = path.rfind('/').map_or("", |at| &path[..at]);
                if !body.pointer(holder).is_some_and(Value::is_object) {
                    return Err(CallFailure::bad_answer(format!("there is nothing that could have {path:?}")));
                }
                let at = match body.pointer(path) {
                    None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
                    Some(Value::String(text)) if text.is_empty() => return Ok(None),
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Number(number)) if param.is_some() => number.to_string(),
                    Some(_) => return Err(CallFailure::bad_answer(format!("there is no cursor at {path:?}"))),
                };
                if param.is_none() {
                    below(config, &at)?;
                }
                Ok(Some(Place { at: Some(at), ..Place::default() }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Config {
        serde_json::from_value(json!({ "baseUrl": "https://a.example/api" })).expect("a config")
    }

    fn judge(params: Value, cursor: Option<&str>, body: Value) -> Result<ListPage, String> {
        let place = Place::read(cursor).expect("a place");
        Plan::read(&params).expect("a plan").judge(&config(), &place, &body).map_err(|f| f.code)
    }

    #[test]
    fn half_a_page_is_a_failure_and_never_a_short_list() {
        let by_total = json!({ "path": "u", "itemsPath": "/items", "totalPath": "/total" });
        assert_eq!(judge(by_total.clone(), None, json!({ "items": [{"id": "a"}], "total": 1 })).unwrap().items.len(), 1);
        assert!(judge(by_total.clone(), None, json!({ "items": [], "total": 0 })).unwrap().complete);
        assert_eq!(judge(by_total.clone(), None, json!({ "items": [{"id": "a"}], "total": 2 })), Err("incomplete".into()));
        for wrong in [
            json!({ "items": [{"id": "a"}] }), json!({ "items": {"id": "a"}, "total": 1 }), json!({ "total": 0 }), json!([]),
            json!({ "items": [{"id": ""}], "total": 1 }), json!({ "items": [{"name": "a"}], "total": 1 }),
            json!({ "items": ["a"], "total": 1 }), json!({ "items": [{"id": {}}], "total": 1 }), json!("x"), json!(null),
        ] {
            assert_eq!(judge(by_total.clone(), None, wrong.clone()), Err("bad_answer".into()), "{wrong}");
        }
    }

    #[test]
    fn each_way_of_paging_leads_on_and_ends() {
        let numbered = json!({ "path": "u", "pageParam": "page" });
        let first = judge(numbered.clone(), None, json!([{"id": 1}])).unwrap();
        let next = first.next.expect("more");
        assert_eq!(next, r#"{"seen":1,"page":2}"#);
        assert!(judge(numbered, Some(&next), json!([])).unwrap().complete);
        let counted = json!({ "path": "u", "itemsPath": "/i", "pageParam": "page", "totalPath": "/n" });
        assert_eq!(judge(counted, Some(&next), json!({ "i": [], "n": 2 })), Err("incomplete".into()));

        let counted = json!({ "path": "u", "itemsPath": "/i", "pageParam": "page", "totalPath": "/n" });
        let page = judge(counted.clone(), None, json!({ "i": [{"id": 1}], "n": 3 })).unwrap().next.expect("more");
        assert_eq!(page, r#"{"seen":1,"total":3,"page":2}"#);
        // One of the first page went, so that one of the second moved to where nobody looks any more.
        assert_eq!(judge(counted, Some(&page), json!({ "i": [{"id": 3}], "n": 2 })), Err("incomplete".into()));

        let cursor = json!({ "path": "u", "itemsPath": "/i", "nextPath": "/meta/next", "cursorParam": "c" });
        let page = judge(cursor.clone(), None, json!({ "i": [{"id": "a"}], "meta": { "next": 7 } })).unwrap();
        assert_eq!(page.next.as_deref(), Some(r#"{"seen":1,"at":"7"}"#));
        for end in [json!({}), json!({ "next": null }), json!({ "next": "" })] {
            assert!(judge(cursor.clone(), None, json!({ "i": [], "meta": end })).unwrap().complete);
        }
        for wrong in [json!({ "i": [] }), json!({ "i": [], "meta": { "next": {} } })] {
            assert_eq!(judge(cursor.clone(), None, wrong), Err("bad_answer".into()));
        }
    }

    #[test]
    fn a_link_to_the_next_page_stays_below_the_base_url() {
        for (link, good) in [
            ("https://a.example/api/users?p=2", true), ("/api/users?p=2", true), ("https://a.example/admin", false),
            ("https://b.example/api/users", false), ("http://a.example/api/users", false), ("//b.example/api/", false),
            ("https://u@a.example/api/users", false), ("/api/../admin", false), ("/api/%2e%2e/admin", false),
            ("/api-of-others", false),
        ] {
            let params = json!({ "path": "u", "itemsPath": "/i", "nextPath": "/next" });
            assert_eq!(judge(params, None, json!({ "i": [], "next": link })).is_ok(), good, "{link}");
        }
    }
}
