//! What every request passes on its way in and out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::limits::{Limits, is_sign_in};
use super::reply::{Failure, Unsent, problem_response, problem_response_as};
use super::listener::Unread;
use super::local::LocalPeer;
use super::upload::is_upload;
use super::{COOKIE, SECURE_COOKIE, body, headers};
use crate::base::access::{Authenticate, Credentials, Principal};
use crate::base::clock::SharedClock;
use crate::base::id::{RequestId, SharedIds, TypedId};
use crate::base::problem::Problem;
use crate::platform::metrics::{Metrics, Stopwatch};

/// The largest body unless a route says otherwise, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// How long a client may take to send a body.
pub const BODY_TIME: Duration = Duration::from_secs(30);
/// How much longer a client may take to send a file.
const UPLOAD_FACTOR: u32 = 20;
/// The largest sum of header names and values, in bytes.
const MAX_HEADERS: usize = 16 * 1024;

/// What the outer layers need.
#[derive(Clone)]
pub struct Frame {
    /// Turns credentials into a principal.
    pub authenticate: Arc<dyn Authenticate>,
    /// For request ids.
    pub clock: SharedClock,
    /// For request ids.
    pub ids: SharedIds,
    /// Whether the public address is HTTPS.
    pub secure: bool,
    /// Origins that browsers may call from; `PUBLIC_URL` is one of them.
    pub origins: Arc<[String]>,
    /// Whether `X-Forwarded-For` is believed.
    pub trust_proxy: bool,
    /// How many requests are taken from whom.
    pub limits: Arc<Limits>,
    /// How long a request's body may take; [`BODY_TIME`] but in tests.
    pub body_time: Duration,
    /// Cancelled when the process is to end: from then on a body that pauses is not waited for.
    pub stopping: CancellationToken,
    /// Where requests are counted.
    pub metrics: Metrics,
}

/// Wraps the routes in everything that every request passes.
pub fn wrap(routes: Router, frame: Frame) -> Router {
    routes
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(frame.clone(), authenticate))
        .layer(from_fn_with_state(frame.clone(), outermost))
        .layer(from_fn_with_state(frame, counted))
}

/// Counts a request by the template that it matched, whatever it is answered.
async fn counted(State(frame): State<Frame>, request: Request, next: Next) -> Response {
    let (began, method) = (Stopwatch::start(), request.method().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map(MatchedPath::as_str);
    frame.metrics.request(method.as_str(), route, response.status().as_u16(), began.seconds());
    response
}

async fn outermost(State(frame): State<Frame>, mut request: Request, next: Next) -> Response {
    let id = RequestId::generate(frame.clock.now(), frame.ids.as_ref());
    let api = request.uri().path().starts_with("/api/") || request.uri().path() == "/metrics";
    let (method, version) = (request.method().clone(), request.version());
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(id.clone());
    let shown = shown(&path);
    let span = tracing::info_span!("request", request_id = %id, %method, path = shown);
    let too_large = header_bytes(request.headers()) > MAX_HEADERS;
    let waits = request.headers().contains_key(header::EXPECT);
    let unread = request.extensions().get::<Unread>().cloned();
    let (request, rest) = {
        let (parts, whole) = request.into_parts();
        let factor = if is_upload(&method, &path) { UPLOAD_FACTOR } else { 1 };
        let (timed, rest) = body::timed(whole, frame.body_time * factor, frame.stopping.clone());
        (Request::from_parts(parts, timed), rest)
    };
    let mut response = if too_large {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()
    } else {
        let answer = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
        answer.instrument(span.clone()).await.unwrap_or_else(|_| {
            Failure(Problem::internal("a handler panicked")).into_response()
        })
    };
    let late = rest.is_late();
    if late {
        response = StatusCode::REQUEST_TIMEOUT.into_response();
    }
    let whole = rest.drain(waits).await;
    let _in = span.enter();
    if let Some(Unsent(problem)) = response.extensions_mut().remove::<Unsent>() {
        log(&problem);
        let cookies = response.headers().get_all(header::SET_COOKIE).iter().cloned().collect::<Vec<_>>();
        response = problem_response(&problem, id.as_str());
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    } else if (api || late) && needs_body(&response) {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = bare_status(response.status(), &method, shown, id.as_str());
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    if !whole && version <= Version::HTTP_11 {
        if let Some(unread) = unread {
            unread.mark();
        }
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers::add(response.headers_mut(), api, frame.secure);
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}

/// Statuses that the framework answers without a problem body.
fn needs_body(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    (response.status().is_client_error() || response.status().is_server_error())
        && !kind.contains("json")
}

/// A path as logs and errors may have it: a one-time link is a secret.
fn shown(path: &str) -> &str {
    ["/api/links/", "/i/"].into_iter().find_map(|p| path.starts_with(p).then(|| &path[..p.len()])).unwrap_or(path)
}

fn bare_status(status: StatusCode, method: &Method, path: &str, id: &str) -> Response {
    let problem = match status.as_u16() {
        404 => Problem::missing("address", path),
        408 => Problem::Malformed("The body did not come in time. Send the request again, whole.".to_owned()),
        413 => Problem::TooLarge("The body is larger than this route takes.".to_owned()),
        415 => Problem::UnsupportedMedia("This route does not take that content type.".to_owned()),
        500.. => Problem::internal(format!("{method} {path} answered {status}")),
        405 => Problem::Malformed(format!("{method} is not a method of {path}.")),
        431 => Problem::Malformed("The headers are larger than 16 KiB.".to_owned()),
        _ => Problem::Malformed("The request could not be read.".to_owned()),
    };
    log(&problem);
    problem_response_as(status.as_u16(), &problem, id)
}

fn log(problem: &Problem) {
    match problem {
        Problem::Internal(cause) => tracing::error!(cause = ?cause, "request failed"),
        Problem::Unavailable { detail, .. } => tracing::warn!(detail, "request could not be served"),
        _ => {}
    }
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

async fn authenticate(State(frame): State<Frame>, mut request: Request, next: Next) -> Response {
    let address = address(&frame, &request);
    let path = request.uri().path();
    if !(path.starts_with("/api/") || path == "/metrics") || path.starts_with("/api/health") {
        // SCIM knows its callers by tokens of its own, and counts them by their address until it does.
        request.extensions_mut().insert(PeerAddress(address));
        return next.run(request).await;
    }
    if let Some(LocalPeer(uid)) = request.extensions().get().copied() {
        let mut principal = Principal::cli(uid);
        principal.request_id = request.extensions().get::<RequestId>().cloned();
        request.extensions_mut().insert(principal);
        request.extensions_mut().insert(PeerAddress(None));
        return next.run(request).await;
    }
    let mut credentials = credentials(&request, address, frame.secure);
    let signs = path.starts_with("/api/hooks/");
    if is_sign_in(path) || path.starts_with("/api/links/") || signs {
        // Whoever signs in anew, follows a link or signs a hook needs nothing of the session before.
        credentials.session = None;
    }
    let with_session = credentials.session.is_some() && credentials.bearer.is_none();
    if credentials.unsafe_method && with_session && !from_our_origin(&frame, &request) {
        return Failure(Problem::Forbidden("This request comes from another site.".to_owned())).into_response();
    }
    let found = match frame.authenticate.authenticate(&credentials).await {
        Ok(found) => found,
        Err(problem) => return Failure(problem).into_response(),
    };
    let account = found.as_ref().and_then(|p| p.account.as_ref()).map(ToString::to_string);
    if let Err(problem) = frame.limits.check(path, account.as_deref(), address) {
        return Failure(problem).into_response();
    }
    if let Some(mut principal) = found {
        principal.request_id = request.extensions().get::<RequestId>().cloned();
        principal.address = address.map(|a| a.to_string());
        request.extensions_mut().insert(principal);
    }
    request.extensions_mut().insert(PeerAddress(address));
    next.run(request).await
}

/// The address a request came from, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub Option<IpAddr>);

fn address(frame: &Frame, request: &Request) -> Option<IpAddr> {
    if frame.trust_proxy {
        // The last entry is the one our own proxy added; the ones before it are claims.
        let forwarded = request.headers().get("x-forwarded-for").and_then(|v| v.to_str().ok());
        let last = forwarded.and_then(|v| v.rsplit(',').next()).and_then(|a| a.trim().parse().ok());
        if last.is_some() {
            return last;
        }
    }
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip())
}

fn credentials(request: &Request, address: Option<IpAddr>, secure: bool) -> Credentials {
    let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let bearer = text("authorization").and_then(|v| {
        let (scheme, token) = v.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    Credentials {
        session: session_cookie(request.headers(), secure),
        bearer,
        csrf: text("x-csrf-token"),
        unsafe_method: !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS),
        address: address.map(|a| a.to_string()),
        about_sign_in: request.uri().path().starts_with("/api/auth/"),
    }
}

/// The value of the session cookie. Over HTTPS only the name with the `__Host-` prefix counts: the
/// other one could have been set by a neighbouring host.
pub fn session_cookie(headers: &HeaderMap, secure: bool) -> Option<String> {
    cookie(headers, if secure { SECURE_COOKIE } else { COOKIE })
}

/// The value of the cookie with this name.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).find_map(|line| {
        line.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    })
}

/// A browser says where a request comes from; other clients say nothing, and have no cookie to abuse.
fn from_our_origin(frame: &Frame, request: &Request) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    if let Some(origin) = text("origin") {
        // HTTP/2 says the host in the address instead of a header.
        let host = text("host").or_else(|| request.uri().authority().map(|a| a.as_str())).unwrap_or("");
        let same = origin.split_once("://").is_some_and(|(_, rest)| rest == host);
        return same || frame.origins.iter().any(|o| o == origin);
    }
    !matches!(text("sec-fetch-site"), Some("cross-site" | "same-site"))
}
