//! Reviewing, applying and cancelling imports.

use std::collections::BTreeMap;

use serde_json::json;

use super::people::Leavers;
use super::{Import, ImportKind, ImportRow, ImportState, RowState, Verdict, assignments, csv, people, store};
use super::{MAX_COLUMNS, MAX_ROWS};
use crate::base::access::{ActorKind, ExceptionMark, Permission, Principal};
use crate::base::id::{ImportId, TypedId};
use crate::base::problem::{FieldError, Problem};
use crate::base::time::Timestamp;
use crate::base::template;
use crate::features::audit::{self, Entry};
use crate::features::connectors::Found;
use crate::features::identity::people::store as person_store;
use crate::features::notifications::{self, Message};
use crate::features::settings::{self, FOUR_EYES, Started};
use crate::features::workflow::exceptions;
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// The job that applies an import.
pub const APPLY_IMPORT: &str = "apply-import";
/// Rows that one transaction applies.
const PAGE: u32 = 50;

/// What somebody needs to bring this in, and to apply it.
pub fn require(by: &Principal, kind: ImportKind) -> Result<(), Problem> {
    by.require(match kind {
        ImportKind::People => Permission::PersonWrite,
        ImportKind::Assignments => Permission::AssignmentWrite,
    })
}

/// Reads a file; what is wrong with it as a whole is told by line and column.
pub fn rows_of(kind: ImportKind, text: &str) -> Result<Vec<ImportRow>, Problem> {
    let table = csv::read(text, MAX_ROWS, MAX_COLUMNS).map_err(|fault| {
        Problem::field("csv", format!("line {}, column {}: {}", fault.line, fault.column, fault.message))
    })?;
    let named = table.columns.iter().enumerate().map(|(i, name)| (format!("csv: line 1, value {}", i + 1), name.as_str()));
    let columns = columns_of(kind, "csv: line 1", named)?;
    if table.rows.is_empty() {
        return Err(Problem::field("csv", "expected rows below the names of the columns"));
    }
    let rows = table.rows.into_iter().map(|(line, values)| {
        ImportRow::of(line, columns.iter().cloned().zip(values).collect::<BTreeMap<_, _>>())
    });
    Ok(rows.collect())
}

/// Rows from what a connected system lists: each column is a template over `key` and `attributes` of an item. A cell whose
/// template needs what an item does not have is empty.
pub fn rows_of_list(kind: ImportKind, columns: &BTreeMap<String, String>, found: &[Found]) -> Result<Vec<ImportRow>, Problem> {
    let named = columns.keys().map(|name| (format!("columns.{name}"), name.as_str()));
    let known = columns_of(kind, "columns", named)?;
    for (name, text) in columns {
        template::check_value(&json!(text)).map_err(|e| Problem::field(format!("columns.{name}"), e.to_string()))?;
    }
    let row = |(i, item): (usize, &Found)| {
        let context = json!({ "key": item.key, "attributes": item.attributes });
        let cell = |text: &String| template::render_text(text, &context).unwrap_or_default();
        let given = known.iter().cloned().zip(columns.values().map(cell)).collect();
        ImportRow::of(u32::try_from(i + 1).unwrap_or(u32::MAX), given)
    };
    Ok(found.iter().enumerate().map(row).collect())
}

/// What columns mean, by their names, each with the place where it stands; `whole` is where all of them do.
fn columns_of<'a>(
    kind: ImportKind,
    whole: &str,
    named: impl Iterator<Item = (String, &'a str)>,
) -> Result<Vec<String>, Problem> {
    let mut faults = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    for (place, name) in named {
        let found = match kind {
            ImportKind::People => people::column(name),
            ImportKind::Assignments => assignments::column(name),
        };
        let known = found.unwrap_or_else(|| {
            let message = format!("the column “{name}” is not known; see the list of columns");
            faults.push(FieldError { field: place.clone(), message });
            String::new()
        });
        if !known.is_empty() && columns.contains(&known) {
            faults.push(FieldError { field: place, message: format!("the column {known} stands there twice") });
        }
        columns.push(known);
    }
    let needed: &[&[&str]] = match kind {
        ImportKind::People => &[&["email", "externalId"]],
        ImportKind::Assignments => &[&["person"], &["role"], &["reason"]],
    };
    for one_of in needed {
        if !one_of.iter().any(|n| columns.iter().any(|c| c == n)) {
            let message = format!("expected a column {}", one_of.join(" or "));
            faults.push(FieldError { field: whole.to_owned(), message });
        }
    }
    Problem::from_fields(faults).map(|()| columns)
}

/// Judges the rows of a file; nothing is changed.
pub fn review(
    tx: &Tx<'_>,
    kind: ImportKind,
    mut rows: Vec<ImportRow>,
    end_of_day: &dyn Fn(&str) -> Option<Timestamp>,
) -> Result<Vec<ImportRow>, Problem> {
    match kind {
        ImportKind::People => people::review(tx, &mut rows)?,
        ImportKind::Assignments => assignments::review(tx, &mut rows, end_of_day)?,
    }
    for row in &mut rows {
        row.state = if row.verdict.applies() { RowState::Open } else { RowState::Skipped };
    }
    Ok(rows)
}

/// Keeps a reviewed import; `origin` is `csv`, or the id of the connector whose list it was.
pub fn keep(
    tx: &Tx<'_>,
    by: &Principal,
    kind: ImportKind,
    (name, origin): (&str, &str),
    rows: &[ImportRow],
) -> Result<Import, Problem> {
    let mut counts: BTreeMap<String, u32> = Verdict::ALL.iter().map(|v| (v.as_str().to_owned(), 0)).collect();
    for row in rows {
        *counts.entry(row.verdict.as_str().to_owned()).or_default() += 1;
    }
    let creator = by.person.as_ref().map(|p| person_store::get_person(tx, p)).transpose()?;
    let import = Import {
        id: tx.new_id(),
        kind,
        name: name.to_owned(),
        origin: origin.to_owned(),
        state: ImportState::Reviewed,
        created_by: creator.map(|p| p.to_ref()),
        created_by_name: by.name.clone(),
        created_at: tx.now(),
        applied_by: None,
        applied_at: None,
        finished_at: None,
        counts,
        done: 0,
        failed: 0,
        job_id: None,
    };
    store::insert_import(tx, &import, rows)?;
    record(tx, by, "import.reviewed", &import)?;
    Ok(import)
}

/// Begins to apply an import.
pub fn apply(tx: &Tx<'_>, by: &Principal, id: &ImportId, four_eyes: &Started<bool>) -> Result<Import, Problem> {
    let import = store::get_import(tx, id)?;
    require(by, import.kind)?;
    if import.state != ImportState::Reviewed {
        return Err(Problem::Conflict(format!("It is {} already.", import.state.as_str())));
    }
    if import.total() == 0 {
        return Err(Problem::Conflict("There is nothing to apply: no row adds or changes anything.".to_owned()));
    }
    if import.kind == ImportKind::Assignments {
        second_person(tx, by, &import, four_eyes)?;
    }
    let job = enqueue(tx, JobDraft::now(APPLY_IMPORT, json!({ "importId": id })))?;
    if !store::begin(tx, id, by.person.as_ref(), &job)? {
        return Err(Problem::Conflict("Somebody else began first.".to_owned()));
    }
    record(tx, by, "import.applied", &import)?;
    store::get_import(tx, id)
}

/// Access that comes in without an approval is what two people say, as with every other way around one.
fn second_person(tx: &Tx<'_>, by: &Principal, import: &Import, four_eyes: &Started<bool>) -> Result<(), Problem> {
    if !settings::ops::flag(tx, FOUR_EYES, four_eyes)?.value {
        return Ok(());
    }
    let refused = |why: &str| Err(Problem::Forbidden(why.to_owned()));
    let Some(person) = by.person.as_ref().filter(|_| by.may_decide) else {
        return refused("Somebody who signed in themselves applies it: it gives access without an approval.");
    };
    match &import.created_by {
        Some(creator) if creator.id == *person => {
            refused("You brought it in; somebody else applies it, for it gives access without an approval.")
        }
        Some(creator) if exceptions::ops::may_be_one_person(tx, &creator.id, person)? => {
            refused("Whoever brought it in made your account or gave you a password lately; somebody else applies it.")
        }
        _ => Ok(()),
    }
}

/// Drops an import that nobody applies.
pub fn cancel(tx: &Tx<'_>, by: &Principal, id: &ImportId) -> Result<Import, Problem> {
    let import = store::get_import(tx, id)?;
    require(by, import.kind)?;
    if !store::cancel(tx, id)? {
        return Err(Problem::Conflict(format!("It is {} already.", import.state.as_str())));
    }
    record(tx, by, "import.cancelled", &import)?;
    store::get_import(tx, id)
}

/// In whose name an import changes things: who applied it, with who brought it.
fn acting(import: &Import) -> Principal {
    let Some(person) = &import.applied_by else { return Principal::system(APPLY_IMPORT) };
    Principal {
        kind: ActorKind::Person,
        person: Some(person.id.clone()),
        name: format!("{} (import {})", person.display_name, import.name),
        exception: Some(ExceptionMark {
            id: Some(import.id.to_string()),
            requested_by: import.created_by.as_ref().map(|p| p.id.clone()),
            decided_by: Some(person.id.clone()),
        }),
        ..Principal::system(APPLY_IMPORT)
    }
}

/// Applies the next rows; false when all is done. A row that cannot be applied keeps no other from it.
pub fn apply_page(tx: &Tx<'_>, id: &ImportId) -> Result<bool, Problem> {
    let import = store::get_import(tx, id)?;
    if import.state != ImportState::Applying {
        return Ok(false);
    }
    let by = acting(&import);
    let page = store::list_open(tx, id, PAGE)?;
    if page.is_empty() {
        return managers(tx, &by, &import);
    }
    let leaves = |row: &ImportRow| row.changes.iter().any(|c| c.field == "active" && c.after == false);
    let together = if page.iter().any(leaves) { store::count_leaving(tx, id)? } else { 1 };
    let leavers = Leavers { import: id.clone(), name: import.name.clone(), together };
    for row in &page {
        let done = tx.savepoint(|tx| match import.kind {
            ImportKind::People => people::apply(tx, &by, row, &leavers),
            ImportKind::Assignments => assignments::apply(tx, &by, row),
        })?;
        match done {
            Ok(person) => store::end_row(tx, id, row.line, RowState::Done, Some(&person), None)?,
            Err(problem) => store::end_row(tx, id, row.line, RowState::Failed, None, Some(&told(problem)))?,
        }
    }
    store::count(tx, id, false)?;
    Ok(true)
}

/// What a problem says, in one line.
fn told(problem: Problem) -> String {
    match problem {
        Problem::Invalid { detail, errors } if errors.len() > 1 => {
            let all: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
            format!("{detail} {}", all.join("; "))
        }
        other => other.to_string(),
    }
}

/// Once everybody is there, the managers are set; false when all is done.
fn managers(tx: &Tx<'_>, by: &Principal, import: &Import) -> Result<bool, Problem> {
    let id = &import.id;
    let page = match import.kind {
        ImportKind::People => store::list_managed(tx, id, store::cursor(tx, id)?, PAGE)?,
        ImportKind::Assignments => Vec::new(),
    };
    for row in &page {
        if let Err(problem) = tx.savepoint(|tx| people::set_manager(tx, by, row))? {
            store::end_row(tx, id, row.line, RowState::Failed, None, Some(&told(problem)))?;
        }
        store::set_cursor(tx, id, row.line)?;
    }
    if !page.is_empty() {
        store::count(tx, id, false)?;
        return Ok(true);
    }
    store::count(tx, id, true)?;
    let after = store::get_import(tx, id)?;
    record(tx, by, "import.finished", &after)?;
    let mut to: Vec<_> = [&after.created_by, &after.applied_by].into_iter().flatten().map(|p| p.id.clone()).collect();
    to.dedup();
    let message = Message {
        subject: format!("The import {} is done", after.name),
        body: format!("{} rows were applied, {} could not be.", after.done, after.failed),
        link: Some(format!("/imports/{}", after.id)),
        kind: "import",
    };
    notifications::ops::notify(tx, &to, message)?;
    Ok(false)
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, import: &Import) -> Result<(), Problem> {
    let new = json!({ "kind": import.kind, "name": import.name, "counts": import.counts, "done": import.done,
                      "failed": import.failed });
    let entry = Entry {
        action,
        entity: "import",
        entity_id: import.id.as_str().to_owned(),
        reason: None,
        prev: None,
        new: Some(new),
    };
    audit::append(tx, by, entry)
}
