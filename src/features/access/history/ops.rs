//! Putting together how something stood at an instant.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::store::{self, Entity, Stood};
use super::{Approver, AssignmentRecord, By, Change, Decisions, RestsOn, Way, ends_before};
use crate::base::access::ExceptionMark;
use crate::base::id::{AssignmentId, DocumentId, PersonId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::store::{
    AssignmentFilter, find_document_end, get_assignment, list_documents_of,
};
use crate::features::access::assignments::{Assignment, AssignmentState};
use crate::features::access::documents::store::{DocumentFilter, get_document};
use crate::features::access::documents::{Document, DocumentFile, DocumentState};
use crate::features::access::grants::store::list_grants;
use crate::features::access::grants::{Grant, GrantState};
use crate::features::audit;
use crate::features::audit::ops::Told;
use crate::features::identity::people::{PersonRef, store as people};
use crate::platform::store::Tx;

/// What an entry about an assignment says beside its state.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AssignmentThen {
    end_reason: Option<String>,
    expires_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

/// What an entry about a grant says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GrantThen {
    state: GrantState,
    last_error: Option<String>,
    confirmed_at: Option<Timestamp>,
}

/// What an entry about a document says beside its state.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DocumentThen {
    file: Option<DocumentFile>,
}

/// What an entry of the audit log says of its object; nothing when that was erased.
fn told<T: DeserializeOwned>(tx: &Tx<'_>, seq: u64) -> Result<Option<T>, Problem> {
    let state: Option<Value> = audit::ops::state_of(tx, seq, "new")?;
    state.map(|s| serde_json::from_value(s).map_err(Problem::internal)).transpose()
}

/// How assignments stood at `at`, newest first, older than the one with the id `before`.
pub fn list_assignments(
    tx: &Tx<'_>,
    decisions: &Decisions,
    filter: &AssignmentFilter,
    at: Timestamp,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<AssignmentRecord>, Problem> {
    let found = store::list_assignments(tx, filter, at, before, limit)?;
    found.iter().map(|stood| assignment_then(tx, decisions, stood, at)).collect()
}

/// How one assignment stood at `at`; nothing when it was not there yet.
pub fn find_assignment(
    tx: &Tx<'_>,
    decisions: &Decisions,
    id: &AssignmentId,
    at: Timestamp,
) -> Result<Option<AssignmentRecord>, Problem> {
    let stood = store::find_stood(tx, Entity::Assignment, id.as_str(), at)?;
    stood.map(|stood| assignment_then(tx, decisions, &stood, at)).transpose()
}

/// How an assignment stands now.
pub fn record_now(tx: &Tx<'_>, decisions: &Decisions, assignment: Assignment) -> Result<AssignmentRecord, Problem> {
    let mut documents = Vec::new();
    for id in list_documents_of(tx, &assignment.id)? {
        documents.push(rests_on(get_document(tx, &id)?));
    }
    finish(tx, decisions, assignment, documents, tx.now())
}

fn assignment_then(
    tx: &Tx<'_>,
    decisions: &Decisions,
    stood: &Stood,
    at: Timestamp,
) -> Result<AssignmentRecord, Problem> {
    let mut assignment = get_assignment(tx, &AssignmentId::from_stored(stood.id.clone()))?;
    assignment.state = AssignmentState::stored(&stood.state)?;
    if let Some(then) = told::<AssignmentThen>(tx, stood.seq)? {
        assignment.expires_at = then.expires_at;
        assignment.end_reason = then.end_reason;
        assignment.ended_at = then.ended_at;
    }
    for grant in &mut assignment.grants {
        grant_then(tx, grant, at)?;
    }
    let mut documents = Vec::new();
    for id in list_documents_of(tx, &assignment.id)? {
        if let Some(stood) = store::find_stood(tx, Entity::Document, id.as_str(), at)? {
            documents.push(rests_on(document_then(tx, &stood)?));
        }
    }
    finish(tx, decisions, assignment, documents, at)
}

/// A grant has its first entry when it was given, or was not: before that it was pending.
fn grant_then(tx: &Tx<'_>, grant: &mut Grant, at: Timestamp) -> Result<(), Problem> {
    let entry = audit::store::find_last(tx, ("grant", grant.id.as_str()), at)?;
    let then = match entry {
        Some(seq) => told::<GrantThen>(tx, seq)?,
        None => Some(GrantThen { state: GrantState::Pending, last_error: None, confirmed_at: None }),
    };
    if let Some(then) = then {
        grant.state = then.state;
        grant.last_error = then.last_error;
        grant.confirmed_at = then.confirmed_at;
    }
    Ok(())
}

fn rests_on(document: Document) -> RestsOn {
    let Document { id, kind, state, expires_at, .. } = document;
    RestsOn { id, kind, state, expires_at }
}

fn finish(
    tx: &Tx<'_>,
    decisions: &Decisions,
    assignment: Assignment,
    documents: Vec<RestsOn>,
    at: Timestamp,
) -> Result<AssignmentRecord, Problem> {
    let counting = documents.iter().filter(|d| d.state == DocumentState::Approved);
    let document_end = counting.map(|d| d.expires_at).min().filter(|_| assignment.state.is_live());
    let (granted, approved_by) = agreed(tx, decisions, &assignment, at)?;
    Ok(AssignmentRecord {
        as_of: at,
        granted_at: granted.as_ref().map(|entry| entry.at),
        granted_by: granted.map(|entry| by(tx, &entry)).transpose()?,
        documents,
        document_ends_at: ends_before(document_end, assignment.expires_at),
        approved_by,
        assignment,
    })
}

/// The entry that granted an assignment, and everybody who agreed to it up to `at`.
fn agreed(
    tx: &Tx<'_>,
    decisions: &Decisions,
    assignment: &Assignment,
    at: Timestamp,
) -> Result<(Option<Told>, Vec<Approver>), Problem> {
    let (mut granted, mut approvers) = (None, Vec::new());
    for entry in audit::ops::list_of(tx, ("assignment", assignment.id.as_str()), ["role.granted", "role.extended"], at)? {
        let extended = entry.action == "role.extended";
        match (&assignment.run_id, &entry.exception) {
            (_, Some(mark)) if extended => approvers.push(approver(tx, &entry, mark, Way::Extension)?),
            // In a run its decisions count; the mark may be that of a step which was passed over.
            (Some(run), _) if !extended => {
                for decision in decisions.of(tx, run, entry.at)? {
                    approvers.push(Approver {
                        person: person_of(tx, decision.person.as_ref())?,
                        way: decision.way,
                        at: decision.at,
                        reason: decision.reason,
                        step: Some(decision.step),
                        on_behalf_of: people_of(tx, &decision.on_behalf_of)?,
                        asked_by: person_of(tx, decision.asked_by.as_ref())?,
                    });
                }
            }
            (None, Some(mark)) => approvers.push(approver(tx, &entry, mark, Way::of(mark))?),
            _ => {}
        }
        if !extended && granted.is_none() {
            granted = Some(entry);
        }
    }
    Ok((granted, approvers))
}

/// Whoever stands behind an exception from the rules: who agreed, or who did it alone.
fn approver(tx: &Tx<'_>, entry: &Told, mark: &ExceptionMark, way: Way) -> Result<Approver, Problem> {
    let asked_by = if mark.decided_by.is_some() { mark.requested_by.as_ref() } else { None };
    Ok(Approver {
        person: person_of(tx, mark.decided_by.as_ref().or(mark.requested_by.as_ref()))?,
        way,
        at: entry.at,
        reason: entry.reason.clone(),
        step: None,
        on_behalf_of: Vec::new(),
        asked_by: person_of(tx, asked_by)?,
    })
}

fn person_of(tx: &Tx<'_>, id: Option<&PersonId>) -> Result<Option<PersonRef>, Problem> {
    id.map_or(Ok(None), |id| people::person_ref(tx, id))
}

fn people_of(tx: &Tx<'_>, ids: &[PersonId]) -> Result<Vec<PersonRef>, Problem> {
    let found: Result<Vec<_>, _> = ids.iter().map(|id| people::person_ref(tx, id)).collect();
    Ok(found?.into_iter().flatten().collect())
}

/// Whoever made an entry, by the name they had then.
fn by(tx: &Tx<'_>, entry: &Told) -> Result<By, Problem> {
    let (kind, id) = (entry.actor.kind.clone(), entry.actor.id.clone());
    let name = match (&entry.name, kind.as_str()) {
        (Some(name), _) => name.clone(),
        (None, "person") => {
            let person = people::person_ref(tx, &PersonId::from_stored(id.clone()))?;
            person.map_or_else(|| id.clone(), |p| p.display_name)
        }
        (None, _) => id.clone(),
    };
    Ok(By { kind, id, name })
}

/// How documents stood at `at`, newest first, older than the one with the id `before`.
pub fn list_documents(
    tx: &Tx<'_>,
    filter: &DocumentFilter,
    at: Timestamp,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Document>, Problem> {
    let found = store::list_documents(tx, filter, at, before, limit)?;
    found.iter().map(|stood| document_then(tx, stood)).collect()
}

fn document_then(tx: &Tx<'_>, stood: &Stood) -> Result<Document, Problem> {
    let mut document = get_document(tx, &DocumentId::from_stored(stood.id.clone()))?;
    document.state = DocumentState::stored(&stood.state)?;
    if let Some(then) = told::<DocumentThen>(tx, stood.seq)? {
        document.file = then.file;
    }
    Ok(document)
}

/// The changes of an assignment and of its grants behind `after` in the audit log, oldest first.
pub fn list_changes(tx: &Tx<'_>, id: &AssignmentId, after: u64, limit: u32) -> Result<Vec<Change>, Problem> {
    let grants = list_grants(tx, id)?;
    let mut things = vec![("assignment", id.as_str())];
    things.extend(grants.iter().map(|grant| ("grant", grant.id.as_str())));
    let rows = audit::store::list_about(tx, &things, after, limit)?;
    rows.into_iter().map(|row| change(tx, audit::ops::tell(tx, row)?, &grants)).collect()
}

fn change(tx: &Tx<'_>, entry: Told, grants: &[Grant]) -> Result<Change, Problem> {
    let text = |key: &str| entry.new.as_ref()?.get(key)?.as_str().map(str::to_owned);
    let mark = entry.exception.as_ref();
    Ok(Change {
        by: by(tx, &entry)?,
        asked_by: person_of(tx, mark.and_then(|m| m.requested_by.as_ref()))?,
        agreed_by: person_of(tx, mark.and_then(|m| m.decided_by.as_ref()))?,
        state: text("state"),
        expires_at: text("expiresAt").and_then(|t| t.parse().ok()),
        entitlement: grants.iter().find(|g| g.id.as_str() == entry.entity_id).map(|g| g.entitlement_name.clone()),
        seq: entry.seq,
        at: entry.at,
        action: entry.action,
        reason: entry.reason,
    })
}

/// When a document would end an assignment that lasts until `expires_at`, if that is earlier.
pub fn document_end_before(
    tx: &Tx<'_>,
    id: &AssignmentId,
    expires_at: Option<Timestamp>,
) -> Result<Option<Timestamp>, Problem> {
    Ok(ends_before(find_document_end(tx, id)?, expires_at))
}
