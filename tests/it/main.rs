//! One binary for everything that needs the whole product.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may")]

mod cli;
mod config;
mod connectors;
mod connectors_ldap;
mod crash;
mod demo;
mod notifications;
mod permissions;
mod pool;
mod runbook;
mod schedules;
mod schema;
mod serve;
mod support;
mod tidy;
