//! One binary for everything that needs the whole product.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may")]

mod approvals;
mod backup;
mod blobs;
mod cli;
mod config;
mod connectors;
mod connectors_ldap;
mod crash;
mod demo;
mod doctor;
mod events;
mod jobs;
mod notifications;
mod people_work;
mod permissions;
mod pool;
mod queue_conformance;
mod queue_interop;
mod queue_redis;
mod runbook;
mod run_repair;
mod schedules;
mod schema;
mod serve;
mod side_doors;
mod soak;
mod support;
mod tidy;
mod workflows;
mod workflows_cli;
mod workflows_fuzz;
mod workflows_golden;
