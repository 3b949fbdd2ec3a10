//! What writes into the audit log: the tables of all features, and where the document of the API shows them.

use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem};

use crate::features::audit::Writes;
use crate::features::{
    access, audit, backup, checkpoints, clock, connectors, evidence, identity, imports, jobs, lifecycle, notifications,
    schedules, scim, settings, syslog, timekeeping, workflow,
};

/// The field of an operation that names the actions of its entries.
const FIELD: &str = "x-audit-actions";

/// Every operation, every job and what else writes, each with its actions; one that stands in two tables writes both.
pub fn writes() -> impl Iterator<Item = &'static Writes> {
    let tables = [
        audit::WRITES, timekeeping::WRITES, settings::WRITES, syslog::WRITES, identity::writes::WRITES,
        notifications::WRITES, checkpoints::WRITES, jobs::WRITES, connectors::WRITES, access::writes::WRITES,
        workflow::writes::WRITES, schedules::WRITES, clock::WRITES, lifecycle::WRITES, scim::WRITES, imports::WRITES,
        evidence::WRITES, backup::WRITES,
    ];
    tables.into_iter().flatten()
}

/// Names in the document what each operation writes into the log.
pub(super) fn describe(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in unsafe_operations(item) {
            let by = format!("{method} {path}");
            let mut actions: Vec<_> = writes().filter(|row| row.by == by).flat_map(Writes::all).collect();
            actions.sort_unstable();
            actions.dedup();
            let field = ExtensionsBuilder::new().add(FIELD, actions).build();
            operation.extensions.get_or_insert_default().merge(field);
        }
    }
}

fn unsafe_operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("POST", &mut item.post), ("PUT", &mut item.put), ("PATCH", &mut item.patch), ("DELETE", &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
