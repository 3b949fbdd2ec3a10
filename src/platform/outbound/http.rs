//! HTTP through the door: one client per origin, whose resolver yields checked addresses only.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{HeaderMap, Method};
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;
use url::Url;

use super::{ANSWER_LIMIT, Loopback, Origin, OutboundError, Rules, io_text};

/// Clients that are kept for their open connections; past this number all are let go.
const KEPT_CLIENTS: usize = 64;

/// What is sent.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
    /// How long it may take; [`super::TIME_LIMIT`] when absent.
    pub time_limit: Option<Duration>,
    /// How many bytes the answer may have; [`super::ANSWER_LIMIT`] when absent.
    pub answer_limit: Option<usize>,
}

impl Request {
    /// A GET without headers.
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None, time_limit: None, answer_limit: None }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers, query and body may hold secrets.
        let place = format!("{}{}", self.url.host_str().unwrap_or_default(), self.url.path());
        f.debug_struct("Request").field("method", &self.method).field("place", &place).finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// One client per origin, and per whether that may be this machine.
#[derive(Default)]
pub(super) struct Clients {
    kept: Mutex<HashMap<(Origin, Loopback), reqwest::Client>>,
}

impl Clients {
    pub(super) fn of(
        &self,
        origin: &Origin,
        loopback: Loopback,
        rules: &Arc<Rules>,
        tls: &Arc<ClientConfig>,
    ) -> Result<reqwest::Client, OutboundError> {
        let key = (origin.clone(), loopback);
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = kept.get(&key) {
            return Ok(client.clone());
        }
        if kept.len() >= KEPT_CLIENTS {
            kept.clear();
        }
        let client = build(&key, rules, tls)?;
        kept.insert(key, client.clone());
        Ok(client)
    }
}

fn build(
    (origin, loopback): &(Origin, Loopback),
    rules: &Arc<Rules>,
    tls: &Arc<ClientConfig>,
) -> Result<reqwest::Client, OutboundError> {
    let mut tls = ClientConfig::clone(tls);
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Checked { rules: rules.clone(), origin: origin.clone(), loopback: *loopback }))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(4)
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .map_err(|e| OutboundError::Broken { host: origin.host.clone(), why: e.without_url().to_string() })
}

/// Resolves the one host that its client is for.
struct Checked {
    rules: Arc<Rules>,
    origin: Origin,
    loopback: Loopback,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, origin, loopback) = (self.rules.clone(), self.origin.clone(), self.loopback);
        Box::pin(async move {
            if !name.as_str().eq_ignore_ascii_case(&origin.host) {
                return Err(OutboundError::NotListed(name.as_str().to_owned()).into());
            }
            let addresses = rules.addresses(&origin, loopback).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

pub(super) async fn exchange(
    client: &reqwest::Client,
    origin: &Origin,
    request: Request,
) -> Result<Answer, OutboundError> {
    let limit = request.answer_limit.unwrap_or(ANSWER_LIMIT);
    let mut sending = client.request(request.method, request.url).headers(request.headers);
    if let Some(body) = request.body {
        sending = sending.body(body);
    }
    let mut response = sending.send().await.map_err(|e| explain(origin, &e))?;
    let too_large = || OutboundError::TooLarge { host: origin.host.clone(), limit };
    if response.content_length().is_some_and(|n| n > limit as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| explain(origin, &e))? {
        if body.len() + piece.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status: response.status().as_u16(),
        headers: std::mem::take(response.headers_mut()),
        body: body.into(),
    })
}

/// Finds the cause that tells most: a refusal of ours, then TLS, then the operating system's.
fn explain(origin: &Origin, error: &reqwest::Error) -> OutboundError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<OutboundError>() {
            return ours.clone();
        }
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return OutboundError::Tls { host: origin.host.clone(), why: tls.to_string() };
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            if let Some(tls) = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                return OutboundError::Tls { host: origin.host.clone(), why: tls.to_string() };
            }
            if error.is_connect() {
                return super::unreachable(origin, io);
            }
            return OutboundError::Broken { host: origin.host.clone(), why: io_text(io) };
        }
        cause = inner.source();
    }
    if error.is_connect() {
        return OutboundError::Unreachable(format!("{}:{} cannot be reached", origin.host, origin.port));
    }
    OutboundError::Broken { host: origin.host.clone(), why: "what came back is no HTTP answer".to_owned() }
}
