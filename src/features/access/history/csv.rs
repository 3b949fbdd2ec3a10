//! Access as a table for auditors: comma-separated values (RFC 4180) that a spreadsheet opens as text.
//!
//! # Invariants
//! - No cell is taken for a formula, whatever people are called and whatever reasons they give.

use super::{Approver, AssignmentRecord};
use crate::base::time::Timestamp;
use crate::features::identity::people::Person;

/// The names of the columns.
const COLUMNS: [&str; 18] = [
    "as_of", "assignment_id", "person_id", "person", "email", "role_id", "role", "state", "starts_at", "expires_at",
    "ended_at", "reason", "end_reason", "granted_at", "granted_by", "approved_by", "documents", "entitlements",
];

/// What stands between several things in one cell.
const BETWEEN: &str = "; ";

/// How the file begins: the mark by which spreadsheets know UTF-8, and the names of the columns.
pub fn head() -> String {
    format!("\u{feff}{}", line(COLUMNS.map(str::to_owned)))
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

fn line<const N: usize>(cells: [String; N]) -> String {
    let mut line = cells.map(|text| cell(&text)).join(",");
    line.push_str("\r\n");
    line
}

/// A cell as text. A spreadsheet takes what begins with one of these signs for a formula, also behind blanks: an
/// apostrophe before it makes it text.
fn cell(text: &str) -> String {
    let risky = text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
        || text.starts_with(['\t', '\r', '\n']);
    let text = if risky { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', ';', '"', '\r', '\n', '\t']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, expected) in [
            ("Ada", "Ada"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("  =HYPERLINK(\"x\")", "\"'  =HYPERLINK(\"\"x\"\")\""),
            ("+41 44", "'+41 44"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"'\t=1\""),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("a, \"b\"\nc", "\"a, \"\"b\"\"\nc\""),
            ("2031-03-01T12:00:00.000Z", "2031-03-01T12:00:00.000Z"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_head_names_each_column_once() {
        let head = head();
        let names: std::collections::BTreeSet<&str> = head.trim_start_matches('\u{feff}').trim_end().split(',').collect();
        assert_eq!(names.len(), COLUMNS.len());
        assert!(head.starts_with('\u{feff}') && head.ends_with("\r\n"));
    }
}
