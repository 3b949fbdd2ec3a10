//! The rows of a pack as files: JSON Lines for programs, and tables for people.

use serde_json::Value;

use crate::base::csv;
use crate::platform::pieces::Piece;

/// Where a file ends and the next begins, in bytes.
const PART: usize = 2 * 1024 * 1024;

/// Columns of the population.
pub const POPULATION: [&str; 17] = [
    "seq", "assignment_id", "person_id", "person", "role_id", "role", "state", "reason", "run_id", "granted_at",
    "granted_by", "starts_at", "expires_at", "ended_at", "end_reason", "documents", "erased",
];
/// Columns of decisions.
pub const DECISIONS: [&str; 14] = [
    "seq", "assignment_id", "approval_id", "run_id", "state", "at", "by_id", "by", "on_behalf_of", "votes",
    "by_escalation", "exception", "reason", "related",
];
/// Columns of exceptions.
pub const EXCEPTIONS: [&str; 10] =
    ["seq", "assignment_id", "person_id", "person", "role", "kind", "way", "what", "at", "detail"];

/// Lines on their way into files of a few megabytes.
#[derive(Debug)]
pub struct Table {
    stem: &'static str,
    ending: &'static str,
    head: String,
    waiting: String,
    number: u32,
    /// Lines so far.
    pub count: u64,
}

impl Table {
    /// JSON Lines.
    pub fn json(stem: &'static str) -> Self {
        Self { stem, ending: "jsonl", head: String::new(), waiting: String::new(), number: 0, count: 0 }
    }

    /// A table with these columns.
    pub fn csv<const N: usize>(stem: &'static str, columns: [&str; N]) -> Self {
        Self { ending: "csv", head: csv::head(columns), ..Self::json(stem) }
    }

    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        self.waiting.push_str(line);
        self.count += 1;
    }

    /// A full file, if there is one; at the end whatever is left, and of a table without lines one that says so.
    pub fn cut(&mut self, is_end: bool) -> Option<Piece> {
        let due = if is_end { self.number == 0 || !self.waiting.is_empty() } else { self.waiting.len() >= PART };
        due.then(|| {
            self.number += 1;
            let content = format!("{}{}", self.head, std::mem::take(&mut self.waiting));
            Piece::listed(format!("{}-{:04}.{}", self.stem, self.number, self.ending), content)
        })
    }
}

/// A cell of a value: text as it is, nothing for null, and whatever else as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn joined(list: &Value, one: impl Fn(&Value) -> String) -> String {
    list.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(csv::BETWEEN)
}

/// The line of an assignment for people.
pub fn population_line(row: &Value) -> String {
    csv::line([
        cell(&row["seq"]),
        cell(&row["assignmentId"]),
        cell(&row["personId"]),
        cell(&row["shown"]["person"]),
        cell(&row["roleId"]),
        cell(&row["roleName"]),
        cell(&row["state"]),
        cell(&row["reason"]),
        cell(&row["runId"]),
        cell(&row["grantedAt"]),
        cell(&row["grantedBy"]["id"]),
        cell(&row["startsAt"]),
        cell(&row["expiresAt"]),
        cell(&row["endedAt"]),
        cell(&row["endReason"]),
        joined(&row["documents"], cell),
        cell(&row["erased"]),
    ])
}

/// The line of a decision for people.
pub fn decision_line(row: &Value) -> String {
    let vote = |v: &Value| {
        let verb = if v["approves"] == true { "approves" } else { "rejects" };
        format!("{} {verb} at {}", cell(&v["person"]), cell(&v["at"]))
    };
    csv::line([
        cell(&row["seq"]),
        cell(&row["assignmentId"]),
        cell(&row["approvalId"]),
        cell(&row["runId"]),
        cell(&row["state"]),
        cell(&row["at"]),
        cell(&row["by"]["id"]),
        cell(&row["shown"]["by"]),
        joined(&row["onBehalfOf"], cell),
        joined(&row["votes"], vote),
        cell(&row["byEscalation"]),
        cell(&row["exception"]),
        cell(&row["reason"]),
        cell(&row["related"]),
    ])
}

/// The line of an exception for people, with the row of the population that it is about.
pub fn exception_line(row: &Value, about: &Value) -> String {
    csv::line([
        cell(&row["seq"]),
        cell(&row["assignmentId"]),
        cell(&about["personId"]),
        cell(&about["shown"]["person"]),
        cell(&about["roleName"]),
        cell(&row["kind"]),
        cell(&row["way"]),
        cell(&row["what"]),
        cell(&row["at"]),
        cell(&row["detail"]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_cut_into_files_and_is_there_even_without_a_line() {
        let mut empty = Table::csv("exceptions", EXCEPTIONS);
        assert_eq!(empty.cut(false), None);
        let piece = empty.cut(true).unwrap();
        assert_eq!(piece.name, "exceptions-0001.csv");
        assert!(piece.content.starts_with("\u{feff}seq,".as_bytes()));
        let mut long = Table::json("population");
        long.push(&"x".repeat(PART));
        assert_eq!(long.cut(false).unwrap().name, "population-0001.jsonl");
        assert_eq!((long.cut(true), long.count), (None, 1));
    }

    #[test]
    fn what_people_wrote_is_no_formula() {
        let row = json!({ "seq": 1, "reason": "=1+1", "shown": { "person": "@ada" } });
        let line = population_line(&row);
        assert!(line.starts_with("1,,,'@ada,") && line.contains(",'=1+1,"), "{line}");
        assert_eq!(line.matches(',').count(), POPULATION.len() - 1);
        assert_eq!(decision_line(&row).matches(',').count(), DECISIONS.len() - 1);
        assert_eq!(exception_line(&row, &row).matches(',').count(), EXCEPTIONS.len() - 1);
    }
}
