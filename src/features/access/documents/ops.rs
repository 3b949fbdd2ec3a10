//! Use cases around documents: handing in, reviewing, taking back, expiring.

use serde_json::{Value, json};

use super::{Document, DocumentState, is_type, store};
use crate::base::access::{ActorKind, Principal};
use crate::base::id::{DocumentId, PersonId, RunId, TypedId};
use crate::base::problem::{FieldError, Problem};
use crate::base::time::Timestamp;
use crate::features::access::assignments::{self, EndReason, store::list_resting_on};
use crate::features::access::names;
use crate::features::access::reminders::{self, Ending};
use crate::features::audit::{self, Entry};
use crate::features::identity::people::store::find_person;
use crate::platform::queue::{JobDraft, enqueue, names as jobs};
use crate::platform::store::Tx;

/// A document that is handed in.
#[derive(Debug, Clone)]
pub struct NewDocument {
    /// What it is.
    pub kind: String,
    /// Whose it is.
    pub person: PersonId,
    /// From when it counts.
    pub valid_from: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// The run it is handed in for.
    pub run: Option<RunId>,
}

/// Hands a document in.
pub fn submit(tx: &Tx<'_>, by: &Principal, new: NewDocument) -> Result<Document, Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: String| faults.push(FieldError { field: field.to_owned(), message });
    if !is_type(&new.kind) {
        fault("type", "expected lower-case words such as training-certificate".to_owned());
    }
    if new.expires_at <= new.valid_from {
        fault("expiresAt", "expected an instant after validFrom".to_owned());
    } else if assignments::is_over(new.expires_at, tx.now()) {
        fault("expiresAt", "expected an instant after now".to_owned());
    }
    let person = find_person(tx, &new.person)?;
    if person.is_none() {
        fault("personId", format!("there is no person {}", new.person));
    }
    Problem::from_fields(faults)?;
    let person = person.ok_or_else(|| Problem::missing("person", &new.person))?;
    let document = Document {
        id: tx.new_id(),
        kind: new.kind,
        person: person.to_ref(),
        state: DocumentState::Submitted,
        valid_from: new.valid_from,
        expires_at: new.expires_at,
        run_id: new.run,
        file: None,
        submitted_by: by.person.clone(),
        created_at: tx.now(),
    };
    store::insert_document(tx, &document)?;
    reminders::ops::set(tx, Ending::Document, document.id.as_str(), document.valid_from, Some(document.expires_at))?;
    note_token_maker(tx, by, &document.id)?;
    let payload = json!({ "documentId": document.id });
    enqueue(tx, JobDraft::at(names::EXPIRE_DOCUMENT, payload, document.expires_at))?;
    record(tx, by, "document.submitted", None, &document, None)?;
    wake(tx, &document)?;
    Ok(document)
}

/// Whoever made the token that a document or its file comes by may be the one who hands it in.
pub(super) fn note_token_maker(tx: &Tx<'_>, by: &Principal, id: &DocumentId) -> Result<(), Problem> {
    by.token_maker.as_ref().map_or(Ok(()), |maker| store::set_token_maker(tx, id, maker))
}

/// Accepts a document; from here on assignments may rest on it.
pub fn approve(tx: &Tx<'_>, by: &Principal, id: &DocumentId, reason: Option<String>) -> Result<Document, Problem> {
    review(tx, by, id, DocumentState::Approved, reason)
}

/// Turns a document down.
pub fn reject(tx: &Tx<'_>, by: &Principal, id: &DocumentId, reason: String) -> Result<Document, Problem> {
    if reason.trim().is_empty() {
        return Err(Problem::field("reason", "expected why the document is turned down"));
    }
    review(tx, by, id, DocumentState::Rejected, Some(reason))
}

fn review(
    tx: &Tx<'_>,
    by: &Principal,
    id: &DocumentId,
    to: DocumentState,
    reason: Option<String>,
) -> Result<Document, Problem> {
    let document = store::get_document(tx, id)?;
    if by.is_person(&document.person.id) {
        return Err(Problem::Forbidden("Nobody reviews their own document. Ask another reviewer.".to_owned()));
    }
    if document.submitted_by.as_ref().is_some_and(|p| by.is_person(p)) {
        return Err(Problem::Forbidden(
            "You handed this document in; somebody else reviews it. Ask another reviewer.".to_owned(),
        ));
    }
    if store::find_token_maker(tx, id)?.is_some_and(|p| by.is_person(&p)) {
        return Err(Problem::Forbidden(
            "This document was handed in with a token that you made; somebody else reviews it.".to_owned(),
        ));
    }
    // A job and the demo act for Tenure itself; a command or somebody else's token may act for anybody.
    if !by.may_decide && !matches!(by.kind, ActorKind::System(_)) {
        return Err(Problem::Forbidden(
            "You may not review with this sign-in. Sign in yourself, or use a token that you made.".to_owned(),
        ));
    }
    if document.state != DocumentState::Submitted {
        return Err(wrong_state(&document, "reviewed"));
    }
    if document.is_expired(tx.now()) {
        return Err(Problem::Conflict(format!("The document {id} expired at {}.", document.expires_at)));
    }
    store::mark_reviewed(tx, id, by.person.as_ref())?;
    let action = if to == DocumentState::Approved { "document.approved" } else { "document.rejected" };
    move_to(tx, by, document, to, action, reason)
}

/// Takes a document back; every assignment that rests on it ends.
pub fn withdraw(tx: &Tx<'_>, by: &Principal, id: &DocumentId, reason: Option<String>) -> Result<Document, Problem> {
    let document = store::get_document(tx, id)?;
    if !document.is_open() {
        return Err(wrong_state(&document, "withdrawn"));
    }
    let document = move_to(tx, by, document, DocumentState::Withdrawn, "document.withdrawn", reason)?;
    end_resting(tx, by, &document, EndReason::DocumentWithdrawn(document.id.clone()))?;
    Ok(document)
}

/// Expires one document if its time is over. The instant until which to wait when it is not.
pub fn expire_if_over(tx: &Tx<'_>, by: &Principal, id: &DocumentId) -> Result<Option<Timestamp>, Problem> {
    let document = store::get_document(tx, id)?;
    if !document.is_open() {
        return Ok(None);
    }
    if !document.is_expired(tx.now()) {
        return Ok(Some(document.expires_at));
    }
    expire(tx, by, document)?;
    Ok(None)
}

/// Where a page of expired documents ended.
pub type Cursor = (Timestamp, DocumentId);

/// Expires a page of documents and ends what rests on them; the last of the page, if there may be more.
pub fn revoke_expired(
    tx: &Tx<'_>,
    by: &Principal,
    after: Option<&Cursor>,
    limit: u32,
) -> Result<Option<Cursor>, Problem> {
    let page = store::list_expired_live(tx, after, limit)?;
    let last = page.last().map(|d| (d.expires_at, d.id.clone()));
    let full = page.len() >= limit as usize;
    for document in page {
        if document.is_expired(tx.now()) {
            expire(tx, by, document)?;
        }
    }
    Ok(if full { last } else { None })
}

fn expire(tx: &Tx<'_>, by: &Principal, document: Document) -> Result<(), Problem> {
    let reason = Some("expired".to_owned());
    let document = move_to(tx, by, document, DocumentState::Expired, "document.expired", reason)?;
    end_resting(tx, by, &document, EndReason::DocumentExpired(document.id.clone()))
}

/// Lets a run be carried on whenever a document of this type of this person changes.
pub fn wait_for(tx: &Tx<'_>, run: &RunId, person: &PersonId, kind: &str) -> Result<(), Problem> {
    store::insert_wait(tx, run, person, kind)
}

/// Ends the wait of a run for one document.
pub fn stop_waiting_for(tx: &Tx<'_>, run: &RunId, person: &PersonId, kind: &str) -> Result<(), Problem> {
    store::delete_wait(tx, run, person, kind)
}

/// Ends every wait of a run.
pub fn stop_waiting(tx: &Tx<'_>, run: &RunId) -> Result<(), Problem> {
    store::delete_waits(tx, run)
}

fn move_to(
    tx: &Tx<'_>,
    by: &Principal,
    mut document: Document,
    to: DocumentState,
    action: &'static str,
    reason: Option<String>,
) -> Result<Document, Problem> {
    let before = state_of(&document);
    document.state = to;
    store::update_state(tx, &document.id, to)?;
    record(tx, by, action, Some(before), &document, reason)?;
    wake(tx, &document)?;
    Ok(document)
}

fn end_resting(tx: &Tx<'_>, by: &Principal, document: &Document, reason: EndReason) -> Result<(), Problem> {
    for id in list_resting_on(tx, &document.id)? {
        assignments::ops::revoke(tx, by, &id, reason.clone())?;
    }
    Ok(())
}

fn wake(tx: &Tx<'_>, document: &Document) -> Result<(), Problem> {
    for run in store::list_waiting_runs(tx, &document.person.id, &document.kind)? {
        enqueue(tx, JobDraft::now(jobs::ADVANCE_RUN, json!({ "runId": run })))?;
    }
    Ok(())
}

pub(super) fn wrong_state(document: &Document, what: &str) -> Problem {
    Problem::Conflict(format!(
        "The document {} is {} already and cannot be {what} any more.",
        document.id,
        document.state.as_str()
    ))
}

pub(super) fn state_of(d: &Document) -> Value {
    json!({
        "type": d.kind, "personId": d.person.id, "state": d.state, "validFrom": d.valid_from,
        "expiresAt": d.expires_at, "runId": d.run_id, "file": d.file,
        "submittedBy": d.submitted_by,
    })
}

pub(super) fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    before: Option<Value>,
    d: &Document,
    reason: Option<String>,
) -> Result<(), Problem> {
    let entry = Entry {
        action,
        entity: "document",
        entity_id: d.id.to_string(),
        reason,
        prev: before,
        new: Some(state_of(d)),
    };
    audit::append(tx, by, entry)
}
