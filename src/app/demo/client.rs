//! A client of Tenure's own public API, so that the demo uses what everybody uses.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::base::problem::Problem;

/// Somebody signed in.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
    /// The person's id.
    pub person: String,
}

impl Client {
    /// Signs in with a local account.
    pub async fn sign_in(http: &reqwest::Client, base: &str, email: &str, password: &str) -> Result<Self, Problem> {
        let answer = http
            .post(format!("{base}/api/auth/login"))
            .timeout(Duration::from_secs(20))
            .json(&json!({ "email": email, "password": password }))
            .send()
            .await
            .map_err(|e| unreachable(&e))?;
        let cookie = answer
            .headers()
            .get_all("set-cookie")
            .iter()
            .filter_map(|v| v.to_str().ok()?.split(';').next())
            .find(|c| c.contains("tenure_sid="))
            .map(str::to_owned);
        let me = body_of("POST", "/api/auth/login", answer).await?;
        Ok(Self {
            http: http.clone(),
            base: base.to_owned(),
            cookie: cookie.ok_or_else(|| Problem::internal("sign-in set no cookie"))?,
            csrf: text(&me, "/csrfToken")?,
            person: text(&me, "/person/id")?,
        })
    }

    /// GET, answered by JSON.
    pub async fn get(&self, path: &str) -> Result<Value, Problem> {
        self.send(Method::GET, path, None).await
    }

    /// POST with a JSON body, answered by JSON.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Problem> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// PUT with a JSON body, answered by JSON.
    pub async fn put(&self, path: &str, body: Value) -> Result<Value, Problem> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// PATCH with a JSON body, answered by JSON.
    pub async fn patch(&self, path: &str, body: Value) -> Result<Value, Problem> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// All items of the first page of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Problem> {
        let page = self.get(path).await?;
        page.get("items")
            .and_then(Value::as_array)
            .cloned()
            .ok_or_else(|| Problem::internal(format!("GET {path} answered no list")))
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Problem> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .timeout(Duration::from_secs(20))
            .header("cookie", &self.cookie)
            .header("x-csrf-token", &self.csrf);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|e| unreachable(&e))?;
        body_of(method.as_str(), path, answer).await
    }
}

/// A text in an answer, by JSON pointer.
pub fn text(value: &Value, pointer: &str) -> Result<String, Problem> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Problem::internal(format!("no text at {pointer} in {value}")))
}

async fn body_of(method: &str, path: &str, answer: reqwest::Response) -> Result<Value, Problem> {
    let status = answer.status();
    let bytes = answer.bytes().await.map_err(|e| unreachable(&e))?;
    if !status.is_success() {
        let text = String::from_utf8_lossy(&bytes);
        return Err(Problem::refused(format!("{method} {path} answered {status}: {text}")));
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|e| Problem::internal(format!("{method} {path}: {e}")))
}

fn unreachable(error: &reqwest::Error) -> Problem {
    Problem::unavailable(format!("Tenure did not answer: {error}"), 1)
}
