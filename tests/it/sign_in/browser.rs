//! A browser as far as a sign-in needs one: cookies by host and redirects, one step at a time.

use std::collections::BTreeMap;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use url::Url;

/// Somebody's browser.
pub struct Browser {
    http: Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub fn new() -> Self {
        tenure::app::install_crypto();
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { http, cookies: BTreeMap::new() }
    }

    fn origin(url: &Url) -> String {
        url.origin().ascii_serialization()
    }

    async fn send(&mut self, request: reqwest::RequestBuilder, url: &Url) -> Response {
        let kept = self.cookies.entry(Self::origin(url)).or_default();
        let line = kept.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ");
        let answer = request.header("cookie", line).send().await.expect("an answer");
        for set in answer.headers().get_all("set-cookie") {
            let set = set.to_str().expect("text");
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            // A cookie that is over goes.
            if value.is_empty() || set.contains("Max-Age=0") {
                kept.remove(name);
            } else {
                kept.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// One request, no redirect.
    pub async fn get(&mut self, url: &Url) -> Response {
        let request = self.http.get(url.clone());
        self.send(request, url).await
    }

    /// A form that is sent.
    pub async fn post_form(&mut self, url: &Url, form: &[(&str, &str)]) -> Response {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(body);
        self.send(request, url).await
    }

    /// Follows redirects until one leads to an address that `fits`, which is not asked, or to a page.
    pub async fn until(&mut self, from: Url, fits: impl Fn(&Url) -> bool) -> Url {
        let mut url = from;
        for _ in 0..12 {
            if fits(&url) {
                return url;
            }
            let answer = self.get(&url).await;
            let Some(next) = place(&url, &answer) else {
                panic!("{url} answers {} and no redirect", answer.status());
            };
            url = next;
        }
        panic!("a redirect without an end at {url}");
    }

    /// Who is signed in at Tenure; the status when nobody is.
    pub async fn me(&mut self, base: &str) -> Result<Value, u16> {
        let url: Url = format!("{base}/api/auth/me").parse().expect("a URL");
        let answer = self.get(&url).await;
        let status = answer.status().as_u16();
        if status == 200 { Ok(answer.json().await.expect("JSON")) } else { Err(status) }
    }

    /// A request to Tenure as whoever is signed in.
    pub async fn call(&mut self, method: &str, base: &str, path: &str, body: Value) -> (u16, Value) {
        let csrf = self.me(base).await.expect("signed in")["csrfToken"].as_str().expect("a token").to_owned();
        let url: Url = format!("{base}{path}").parse().expect("a URL");
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, url.clone()).header("x-csrf-token", csrf).header("origin", base);
        if body != Value::Null {
            request = request.json(&body);
        }
        let answer = self.send(request, &url).await;
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Signs in with a password.
    pub async fn sign_in(&mut self, base: &str, email: &str, password: &str) -> u16 {
        self.post_json(base, "/api/auth/login", json!({ "email": email, "password": password })).await
    }

    /// A request of somebody who is not signed in; the status.
    pub async fn post_json(&mut self, base: &str, path: &str, body: Value) -> u16 {
        let url: Url = format!("{base}{path}").parse().expect("a URL");
        let request = self.http.post(url.clone()).json(&body);
        self.send(request, &url).await.status().as_u16()
    }
}

/// Where an answer sends to.
pub fn place(from: &Url, answer: &Response) -> Option<Url> {
    let location = answer.headers().get("location")?.to_str().ok()?;
    answer.status().is_redirection().then(|| from.join(location).expect("a place"))
}
