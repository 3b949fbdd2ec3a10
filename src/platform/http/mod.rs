//! HTTP: the listener, what every request passes, what handlers extract, how problems are answered.
//!
//! # Invariants
//! - Every answer carries a request id; every failure is `application/problem+json` (RFC 9457).
//! - A cause of an internal problem is logged once, here, and never sent.
//! - Who may not do a thing is told so before the request's body, query or ids are looked at.
//! - An unsafe request by cookie passes only with the CSRF token and from our own origin.
//!
//! # Not here
//! Routes; each feature has its own `api.rs`.

mod body;
pub mod extract;
pub mod headers;
pub mod limits;
pub mod listener;
pub mod local;
pub mod middleware;
pub mod reply;
pub mod tls;
pub mod ui;
pub mod upload;

pub use extract::{Allowed, Anybody, Body, Caller, IdPath, IdsPath, MaybeBody, NamePath, Params, nullable, parse_json};
pub use listener::Server;
pub use reply::Failure;
pub use upload::{Upload, as_attachment};

/// The routes of a feature, with their description for the OpenAPI document.
pub type Routes = utoipa_axum::router::OpenApiRouter;

/// The name of the session cookie over plain HTTP.
pub const COOKIE: &str = "tenure_sid";
/// The name of the session cookie over HTTPS; the prefix binds it to this host and to TLS.
pub const SECURE_COOKIE: &str = "__Host-tenure_sid";
