//! Any HTTP API: one command, `request`, with the base URL and the credentials of the connector.
//!
//! # Invariants
//! - A request stays below the base URL: a path cannot change host, climb above it or carry a query.
//! - Credentials are set last and cannot be replaced by a parameter.
//! - A request is sent once here, with the `Idempotency-Key` that every repetition of it has.

use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::super::{
    CallAnswer, CallFailure, CallFuture, CommandSpec, Driver, ListFuture, ListRequest, PlainCall, Target, text_param,
};
use super::http_list::LIST;
use super::{check_timeout, fault, param, plain, read_config};
use crate::base::problem::FieldError;
use crate::platform::outbound::{Answer, Origin, Outbound, OutboundError, Request};

/// What an HTTP API understands.
pub const COMMANDS: &[CommandSpec] = &[REQUEST, LIST];

const REQUEST: CommandSpec = CommandSpec {
    name: "request",
    description: "Sends one HTTP request below the base URL.",
    changes: true,
    lists: false,
    params: &[
        param("method", "string", true, "GET, HEAD, POST, PUT, PATCH or DELETE"),
        param("path", "string", true, "a path below the base URL"),
        param("query", "object", false, "the query's names and values"),
        param("body", "any", false, "the body; sent as JSON"),
        param("headers", "object", false, "more headers"),
        param("expectStatus", "array", false, "the statuses that mean success; any 2xx when absent"),
        param("presentStatus", "array", false, "the statuses that mean it is there: the answer then has `present`"),
        param("absentStatus", "array", false, "the statuses that mean it is not there"),
    ],
};

/// The secrets of an HTTP connector, by its `auth`: bearer, basic, header.
pub const SECRETS: &[&str] = &["token", "password", "header"];

/// Whether the connection, Tenure or a connector sets this header, so that nobody else may.
pub fn is_reserved(header: &str) -> bool {
    RESERVED.contains(&header.to_ascii_lowercase().as_str())
}

/// Headers that the connection or the connector sets.
const RESERVED: [&str; 8] = [
    "host", "authorization", "proxy-authorization", "content-length", "transfer-encoding", "connection", "upgrade",
    "idempotency-key",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auth {
    #[default]
    None,
    Bearer,
    Basic,
    Header,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Config {
    pub(super) base_url: Url,
    #[serde(default)]
    auth: Auth,
    /// With `auth: basic`.
    user_name: Option<String>,
    /// With `auth: header`.
    header_name: Option<String>,
    /// What `test` gets; the base URL when absent.
    test_path: Option<String>,
    timeout_seconds: Option<u64>,
}

impl Config {
    fn origin(&self) -> Option<Origin> {
        Origin::of(&self.base_url)
    }

    pub(super) fn time_limit(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.unwrap_or(10))
    }
}

pub(super) fn destination(config: &Value) -> Option<String> {
    read_config::<Config>(config).ok()?.origin().map(|o| o.to_string())
}

/// The base URL of a connector with these settings, and how long its calls may take.
pub(super) fn base_of(config: &Value) -> Option<(Url, Duration)> {
    let config: Config = read_config(config).ok()?;
    Some((config.base_url.clone(), config.time_limit()))
}

pub(super) fn check_config(config: &Value) -> Vec<FieldError> {
    let config: Config = match read_config(config) {
        Ok(config) => config,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    let url = &config.base_url;
    if !matches!(url.scheme(), "http" | "https") || config.origin().is_none() {
        faults.push(fault("baseUrl", "expected an absolute URL with http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        faults.push(fault("baseUrl", "expected no user, password, query or fragment; credentials are secrets"));
    }
    if config.auth == Auth::Basic && config.user_name.as_deref().is_none_or(|n| n.is_empty() || n.contains(':')) {
        faults.push(fault("userName", "expected a name without a colon"));
    }
    if config.auth == Auth::Header {
        match config.header_name.as_deref().map(|n| (n, n.parse::<HeaderName>())) {
            Some((name, Ok(_))) if !is_reserved(name) => {}
            _ => faults.push(fault("headerName", "expected the name of a header, such as X-Api-Key")),
        }
    }
    if let Some(path) = &config.test_path
        && let Err(failure) = join(url, path)
    {
        faults.push(fault("testPath", failure.message));
    }
    faults.extend(check_timeout(config.timeout_seconds));
    faults
}

/// Drives HTTP APIs.
pub(in super::super) struct HttpDriver {
    outbound: Outbound,
}

impl HttpDriver {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    async fn request(&self, target: &Target, params: &Value, key: &str) -> Result<CallAnswer, CallFailure> {
        let config = config_of(target)?;
        let method = method(params)?;
        let mut url = join(&config.base_url, text_param(params, "path")?)?;
        add_query(&mut url, params)?;
        let mut headers = more_headers(params)?;
        let body = body(params, &mut headers)?;
        if !key.is_empty() {
            headers.insert("idempotency-key", value_of("key", key, false)?);
        }
        add_credentials(&config, target, &mut headers)?;
        let expected = Expected::from(params)?;
        let request = Request {
            method,
            url,
            headers,
            body,
            time_limit: Some(config.time_limit()),
            answer_limit: Some(target.policy.max_answer_bytes),
        };
        let answer = self.send(&config, request).await?;
        expected.judge(&answer, target)
    }

    /// A call that a workflow makes without naming a connector: to a system that is connected all the same,
    /// and without its credentials; `most` is how many bytes it may answer.
    pub(super) async fn call_plain(
        &self,
        to: &plain::Destination,
        call: &PlainCall,
        key: &str,
        most: usize,
    ) -> Result<CallAnswer, CallFailure> {
        let method = method(&json!({ "method": call.method }))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            let field = format!("headers.{name}");
            if is_reserved(name) {
                return Err(CallFailure::param(&field, "is set by Tenure"));
            }
            let name = HeaderName::try_from(name.as_str()).map_err(|_| CallFailure::param(&field, "is no header name"))?;
            headers.insert(name, value_of(&field, value, false)?);
        }
        if !key.is_empty() {
            headers.insert("idempotency-key", value_of("key", key, false)?);
        }
        let body = call.body.as_ref().map(|body| {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            Bytes::from(body.to_string())
        });
        let request =
            Request { method, url: to.url.clone(), headers, body, time_limit: Some(to.limit), answer_limit: Some(most) };
        let answer = self.outbound.send(std::slice::from_ref(&to.origin), request).await.map_err(from_outbound)?;
        if !(200..300).contains(&answer.status) {
            return Err(failed_answer(&answer, |_| true));
        }
        Ok(CallAnswer { output: json!({ "status": answer.status, "body": body_of(&answer) }) })
    }

    async fn test(&self, target: &Target) -> Result<CallAnswer, CallFailure> {
        let config = config_of(target)?;
        let url = match &config.test_path {
            Some(path) => join(&config.base_url, path)?,
            None => config.base_url.clone(),
        };
        let mut headers = HeaderMap::new();
        add_credentials(&config, target, &mut headers)?;
        let request =
            Request { headers, time_limit: Some(config.time_limit()), ..Request::get(url) };
        let answer = self.send(&config, request).await?;
        // Without a path of its own the base URL may well be a 404 of a healthy system.
        let good = if config.test_path.is_some() { answer.status < 300 } else { answer.status < 500 };
        if !good || matches!(answer.status, 401 | 403) {
            return Err(failed(&answer, target));
        }
        Ok(CallAnswer { output: json!({ "ok": true, "status": answer.status }) })
    }

    pub(super) async fn send(&self, config: &Config, request: Request) -> Result<Answer, CallFailure> {
        let listed: Vec<Origin> = config.origin().into_iter().collect();
        self.outbound.send(&listed, request).await.map_err(from_outbound)
    }
}

impl Driver for HttpDriver {
    fn test<'a>(&'a self, target: &'a Target) -> CallFuture<'a> {
        Box::pin(self.test(target))
    }

    fn execute<'a>(&'a self, target: &'a Target, _command: &'a str, params: &'a Value, key: &'a str) -> CallFuture<'a> {
        Box::pin(self.request(target, params, key))
    }

    fn list<'a>(&'a self, target: &'a Target, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(self.page(target, request))
    }
}

pub(super) fn from_outbound(error: OutboundError) -> CallFailure {
    CallFailure { code: error.code().to_owned(), retryable: error.is_passing(), message: error.to_string() }
}

pub(super) fn config_of(target: &Target) -> Result<Config, CallFailure> {
    read_config(&target.config).map_err(|e| CallFailure::lasting("bad_config", e.message))
}

fn method(params: &Value) -> Result<Method, CallFailure> {
    let text = text_param(params, "method")?.to_ascii_uppercase();
    match text.as_str() {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" => {
            text.parse().map_err(|_| CallFailure::param("method", "is no method"))
        }
        _ => Err(CallFailure::param("method", "expected GET, HEAD, POST, PUT, PATCH or DELETE")),
    }
}

/// The URL of `path` below `base`.
pub(super) fn join(base: &Url, path: &str) -> Result<Url, CallFailure> {
    let bad = |why: &str| Err(CallFailure::param("path", why));
    if path.contains(['?', '#', '\\']) || path.chars().any(char::is_control) {
        return bad("expected a path without ?, #, backslash and control characters; a query is a parameter of its own");
    }
    let climbs = |s: &str| matches!(s.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(climbs) {
        return bad("expected no . and .. segments");
    }
    let mut url = base.clone();
    let joined = format!("{}/{}", base.path().trim_end_matches('/'), path.trim_start_matches('/'));
    url.set_path(&joined);
    Ok(url)
}

pub(super) fn add_query(url: &mut Url, params: &Value) -> Result<(), CallFailure> {
    let Some(query) = object(params, "query")? else { return Ok(()) };
    let mut pairs = url.query_pairs_mut();
    for (name, value) in query {
        let values = match value {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for value in values {
            pairs.append_pair(name, &plain(value).ok_or_else(|| {
                CallFailure::param(&format!("query.{name}"), "expected a text, a number, true or false")
            })?);
        }
    }
    Ok(())
}

fn more_headers(params: &Value) -> Result<HeaderMap, CallFailure> {
    let mut headers = HeaderMap::new();
    for (name, value) in object(params, "headers")?.into_iter().flatten() {
        let field = format!("headers.{name}");
        if is_reserved(name) {
            return Err(CallFailure::param(&field, "is set by the connector"));
        }
        let parsed: HeaderName = name.parse().map_err(|_| CallFailure::param(&field, "is no header name"))?;
        let text = plain(value).ok_or_else(|| CallFailure::param(&field, "expected a text"))?;
        headers.insert(parsed, value_of(&field, &text, false)?);
    }
    Ok(headers)
}

fn body(params: &Value, headers: &mut HeaderMap) -> Result<Option<Bytes>, CallFailure> {
    let Some(body) = params.get("body").filter(|b| !b.is_null()) else { return Ok(None) };
    // A text with a content type of its own goes out as it is; everything else is JSON.
    if let (Value::String(text), true) = (body, headers.contains_key(CONTENT_TYPE)) {
        return Ok(Some(text.clone().into()));
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let bytes = serde_json::to_vec(body).map_err(|e| CallFailure::param("body", e))?;
    Ok(Some(bytes.into()))
}

pub(super) fn add_credentials(config: &Config, target: &Target, headers: &mut HeaderMap) -> Result<(), CallFailure> {
    match config.auth {
        Auth::None => {}
        Auth::Bearer => {
            let value = format!("Bearer {}", target.secret("token")?);
            headers.insert(AUTHORIZATION, value_of("token", &value, true)?);
        }
        Auth::Basic => {
            let user = config.user_name.as_deref().unwrap_or_default();
            let value = format!("Basic {}", STANDARD.encode(format!("{user}:{}", target.secret("password")?)));
            headers.insert(AUTHORIZATION, value_of("password", &value, true)?);
        }
        Auth::Header => {
            let name = config.header_name.as_deref().unwrap_or_default();
            let name: HeaderName =
                name.parse().map_err(|_| CallFailure::lasting("bad_config", "headerName is no header name"))?;
            headers.insert(name, value_of("header", target.secret("header")?, true)?);
        }
    }
    Ok(())
}

fn value_of(field: &str, text: &str, secret: bool) -> Result<HeaderValue, CallFailure> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| CallFailure::param(field, "has characters that no header can carry"))?;
    value.set_sensitive(secret);
    Ok(value)
}

fn object<'p>(params: &'p Value, name: &str) -> Result<Option<&'p Map<String, Value>>, CallFailure> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields)),
        Some(_) => Err(CallFailure::param(name, "expected an object")),
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// Which statuses mean what.
struct Expected {
    success: Option<Vec<u16>>,
    present: Option<Vec<u16>>,
    absent: Option<Vec<u16>>,
}

impl Expected {
    fn from(params: &Value) -> Result<Self, CallFailure> {
        Ok(Self {
            success: statuses(params, "expectStatus")?,
            present: statuses(params, "presentStatus")?,
            absent: statuses(params, "absentStatus")?,
        })
    }

    fn judge(&self, answer: &Answer, target: &Target) -> Result<CallAnswer, CallFailure> {
        let is = |list: &Option<Vec<u16>>| list.as_ref().map(|l| l.contains(&answer.status));
        let mut output = Map::new();
        output.insert("status".to_owned(), answer.status.into());
        output.insert("body".to_owned(), body_of(answer));
        if self.present.is_some() || self.absent.is_some() {
            let present = match (is(&self.present), is(&self.absent)) {
                (Some(true), _) => true,
                (_, Some(true)) => false,
                // One list alone decides, as long as the answer is a success.
                (None, Some(false)) if answer.status < 300 => true,
                (Some(false), None) if answer.status < 300 => false,
                _ => return Err(failed(answer, target)),
            };
            output.insert("present".to_owned(), present.into());
        } else if !is(&self.success).unwrap_or((200..300).contains(&answer.status)) {
            return Err(failed(answer, target));
        }
        Ok(CallAnswer { output: output.into() })
    }
}

fn statuses(params: &Value, name: &str) -> Result<Option<Vec<u16>>, CallFailure> {
    let list = match params.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let read = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| (100..600).contains(n));
    list.iter()
        .map(read)
        .collect::<Option<Vec<_>>>()
        .map(Some)
        .ok_or_else(|| CallFailure::param(name, "expected a list of statuses, each 100 to 599"))
}

/// JSON as a value, other text as a text, anything else as null.
fn body_of(answer: &Answer) -> Value {
    match std::str::from_utf8(&answer.body) {
        Ok("") | Err(_) => Value::Null,
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

/// A failure with what the system says, unless that echoes a secret.
pub(super) fn failed(answer: &Answer, target: &Target) -> CallFailure {
    failed_answer(answer, |text| target.secrets.values().all(|s| !text.contains(s.as_str())))
}

fn failed_answer(answer: &Answer, may_show: impl Fn(&str) -> bool) -> CallFailure {
    let status = answer.status;
    let said = body_of(answer);
    let said = ["detail", "message", "error_description", "error", "title"]
        .iter()
        .find_map(|name| said.get(name).and_then(Value::as_str))
        // All of it: a part of a secret may be left where a text is cut.
        .filter(|text| may_show(text))
        .map(|text| format!(": {}", text.chars().take(300).collect::<String>()))
        .unwrap_or_default();
    let retryable = matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504);
    CallFailure { message: format!("the system answered {status}{said}"), code: format!("http_{status}"), retryable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::connectors::Policy;

    #[test]
    fn a_path_stays_below_the_base_url() {
        let base: Url = "https://a.example/api/v1/".parse().expect("a URL");
        assert_eq!(join(&base, "/users/7").expect("joins").as_str(), "https://a.example/api/v1/users/7");
        assert_eq!(join(&base, "users/a%2Fb").expect("joins").as_str(), "https://a.example/api/v1/users/a%2Fb");
        assert_eq!(join(&base, "//evil.example/x").expect("joins").host_str(), Some("a.example"));
        for path in ["../admin", "users/%2e%2E/admin", "users?admin=1", "a\\b", "a#b", "x/./y", "a\nb"] {
            assert!(join(&base, path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_config_with_faults_names_each() {
        let config = json!({
            "baseUrl": "https://u:p@a.example/", "auth": "header", "headerName": "Authorization",
            "timeoutSeconds": 0, "testPath": "../x",
        });
        let faults: Vec<_> = check_config(&config).into_iter().map(|f| f.field).collect();
        assert_eq!(faults, ["config.baseUrl", "config.headerName", "config.testPath", "config.timeoutSeconds"]);
        assert!(check_config(&json!({ "baseUrl": "http://a.example", "auth": "basic", "userName": "t" })).is_empty());
        assert_eq!(check_config(&json!({ "baseUrl": "http://a", "pasword": "x" })).len(), 1);
    }

    #[test]
    fn a_failure_never_repeats_a_secret() {
        let answer = Answer { status: 401, headers: HeaderMap::new(), body: r#"{"error":"bad token s3cret!"}"#.into() };
        let secrets = [("token".to_owned(), "s3cret!".to_owned().into())].into();
        let id = "con_00000000000000000000000000".parse().expect("an id");
        let target =
            Target { id, name: String::new(), config: Value::Null, policy: Policy::default(), mock: false, secrets };
        let failure = failed(&answer, &target);
        assert_eq!(failure.message, "the system answered 401");
        assert!(!failure.retryable);
        // Nor the part of one that is left where a long text is cut.
        let long = json!({ "error": format!("{}s3cret!", "x".repeat(295)) }).to_string();
        let failure = failed(&Answer { status: 500, headers: HeaderMap::new(), body: long.into() }, &target);
        assert_eq!(failure.message, "the system answered 500");
    }
}
