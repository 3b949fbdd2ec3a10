//! Access as a table for auditors: comma-separated values (RFC 4180) that a spreadsheet opens as text.
//!
//! # Invariants
//! - No cell is taken for a formula, whatever people are called and whatever reasons they give.

use super::{Approver, AssignmentRecord};
use crate::base::csv::{self, BETWEEN, line};
use crate::base::time::Timestamp;
use crate::features::identity::people::Person;

/// The names of the columns.
const COLUMNS: [&str; 18] = [
    "as_of", "assignment_id", "person_id", "person", "email", "role_id", "role", "state", "starts_at", "expires_at",
    "ended_at", "reason", "end_reason", "granted_at", "granted_by", "approved_by", "documents", "entitlements",
];

/// How the file begins.
pub fn head() -> String {
    csv::head(COLUMNS)
}

/// The line of an assignment. Without `person` nobody could tell the address any more.
pub fn row(record: &AssignmentRecord, person: Option<&Person>) -> String {
    let a = &record.assignment;
    let shown = |instant: Option<Timestamp>| instant.map_or_else(String::new, |i| i.to_string());
    let documents = record.documents.iter().map(|d| format!("{} {} until {}", d.kind, d.state.as_str(), d.expires_at));
    let grants = a.grants.iter().map(|g| format!("{} ({}): {}", g.entitlement_name, g.connector_name, g.state.as_str()));
    line([
        record.as_of.to_string(),
        a.id.to_string(),
        a.person.id.to_string(),
        a.person.display_name.clone(),
        person.map_or_else(String::new, |p| p.email.clone()),
        a.role.id.to_string(),
        a.role.name.clone(),
        a.state.as_str().to_owned(),
        a.starts_at.to_string(),
        shown(a.expires_at),
        shown(a.ended_at),
        a.reason.clone(),
        a.end_reason.clone().unwrap_or_default(),
        shown(record.granted_at),
        record.granted_by.as_ref().map_or_else(String::new, |by| by.name.clone()),
        record.approved_by.iter().map(approver).collect::<Vec<_>>().join(BETWEEN),
        documents.collect::<Vec<_>>().join(BETWEEN),
        grants.collect::<Vec<_>>().join(BETWEEN),
    ])
}

fn approver(one: &Approver) -> String {
    let name = one.person.as_ref().map_or("nobody", |p| p.display_name.as_str());
    let names: Vec<&str> = one.on_behalf_of.iter().map(|p| p.display_name.as_str()).collect();
    let behalf = if names.is_empty() { String::new() } else { format!(" for {}", names.join(" and ")) };
    let asked = one.asked_by.as_ref().map_or_else(String::new, |p| format!(", asked by {}", p.display_name));
    format!("{name}{behalf} ({}, {}{asked})", one.way.as_str(), one.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_names_each_column_once() {
        let head = head();
        let names: std::collections::BTreeSet<&str> = head.trim_start_matches('\u{feff}').trim_end().split(',').collect();
        assert_eq!(names.len(), COLUMNS.len());
        assert!(head.starts_with('\u{feff}') && head.ends_with("\r\n"));
    }
}
