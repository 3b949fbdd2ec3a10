//! SQL of documents and of the runs that wait for them.

use super::{Document, DocumentFile, DocumentState};
use crate::base::id::{DocumentId, PersonId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Row, ToValue as _, Tx, Value};

const SELECT: &str = "SELECT d.id, d.type, d.person_id, p.display_name, d.state, d.valid_from, d.expires_at, d.run_id,
                             d.file_name, d.media_type, d.sha256, b.size_bytes, d.submitted_by, d.created_at
                      FROM document d JOIN person p ON p.id = d.person_id LEFT JOIN blob b ON b.sha256 = d.sha256";

fn document(r: &Row<'_>) -> Result<Document, Problem> {
    Ok(Document {
        id: r.get("id")?,
        kind: r.get("type")?,
        person: PersonRef { id: r.get("person_id")?, display_name: r.get("display_name")? },
        state: DocumentState::stored(&r.get::<String>("state")?)?,
        valid_from: r.get("valid_from")?,
        expires_at: r.get("expires_at")?,
        run_id: r.get("run_id")?,
        file: file(r)?,
        submitted_by: r.get("submitted_by")?,
        created_at: r.get("created_at")?,
    })
}

fn file(r: &Row<'_>) -> Result<Option<DocumentFile>, Problem> {
    let Some(sha256) = r.get("sha256")? else { return Ok(None) };
    let (name, size, media_type) = (r.get("file_name")?, r.get("size_bytes")?, r.get("media_type")?);
    Ok(Some(DocumentFile { name, size, sha256, media_type }))
}

/// The document with this id.
pub fn find_document(tx: &Tx<'_>, id: &DocumentId) -> Result<Option<Document>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE d.id = ?1"), params![id], document)
}

/// The document with this id; missing is a problem.
pub fn get_document(tx: &Tx<'_>, id: &DocumentId) -> Result<Document, Problem> {
    find_document(tx, id)?.ok_or_else(|| Problem::missing("document", id))
}

/// The person's document of this type that counts at `now`; of several, the one that lasts longest.
pub fn find_live_document(
    tx: &Tx<'_>,
    person: &PersonId,
    kind: &str,
    now: Timestamp,
) -> Result<Option<Document>, Problem> {
    let candidates = tx.query(
        &format!(
            "{SELECT} WHERE d.person_id = ?1 AND d.type = ?2 AND d.state = 'approved'
             ORDER BY d.expires_at DESC, d.id"
        ),
        params![person, kind],
        document,
    )?;
    Ok(candidates.into_iter().find(|d| d.is_live(now)))
}

/// Which documents to list.
#[derive(Debug, Clone, Default)]
pub struct DocumentFilter {
    /// Only of this person.
    pub person: Option<PersonId>,
    /// Only in this state.
    pub state: Option<DocumentState>,
}

/// Documents, newest first, older than the one with the id `before`.
pub fn list_documents(
    tx: &Tx<'_>,
    filter: &DocumentFilter,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Document>, Problem> {
    // What is not asked for is not in the statement: else no index could be used.
    let mut sql = format!("{SELECT} WHERE 1");
    let mut values = vec![limit.to_value()];
    let mut narrow = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(person) = &filter.person {
        narrow("d.person_id =", person.to_value());
    }
    if let Some(state) = filter.state {
        narrow("d.state =", state.as_str().to_value());
    }
    if let Some(id) = before {
        narrow("d.id <", id.to_value());
    }
    sql.push_str(" ORDER BY d.id DESC LIMIT ?1");
    tx.query(&sql, &values, document)
}

/// Open documents that may be expired, after `after` in order of their end.
pub fn list_expired_live(
    tx: &Tx<'_>,
    after: Option<&(Timestamp, DocumentId)>,
    limit: u32,
) -> Result<Vec<Document>, Problem> {
    tx.query(
        &format!(
            "{SELECT} WHERE d.state IN ('submitted', 'approved') AND d.expires_at <= ?1
               AND (d.expires_at, d.id) > (?2, ?3)
             ORDER BY d.expires_at, d.id LIMIT ?4"
        ),
        params![
            tx.now(),
            after.map_or(i64::MIN, |a| a.0.as_millis()),
            after.map_or("", |a| a.1.as_str()),
            limit
        ],
        document,
    )
}

/// Stores a new document, which has no file yet.
pub fn insert_document(tx: &Tx<'_>, d: &Document) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO document (id, type, person_id, state, valid_from, expires_at, run_id, submitted_by, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            d.id,
            d.kind,
            d.person.id,
            d.state.as_str(),
            d.valid_from,
            d.expires_at,
            d.run_id,
            d.submitted_by,
            d.created_at
        ],
    )?;
    Ok(())
}

/// Stores which file a document has.
pub fn update_file(tx: &Tx<'_>, id: &DocumentId, file: &DocumentFile) -> Result<(), Problem> {
    tx.execute(
        "UPDATE document SET sha256 = ?2, file_name = ?3, media_type = ?4 WHERE id = ?1",
        params![id, file.sha256, file.name, file.media_type],
    )?;
    Ok(())
}

/// Stores that content is kept, and that something begins to refer to it.
pub fn keep_blob(tx: &Tx<'_>, sha256: &str, size: u64) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO blob (sha256, size_bytes, created_at, touched_at) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (sha256) DO UPDATE SET touched_at = excluded.touched_at",
        params![sha256, size, tx.now()],
    )?;
    Ok(())
}

/// Stores that something ceases to refer to content.
pub fn touch_blob(tx: &Tx<'_>, sha256: &str) -> Result<(), Problem> {
    tx.execute("UPDATE blob SET touched_at = ?2 WHERE sha256 = ?1", params![sha256, tx.now()])?;
    Ok(())
}

/// Content that is kept, with the instant it counts from.
pub type OldBlob = (Timestamp, String);

/// At most `limit` contents that nothing began or ceased to refer to after `until`, the oldest first,
/// after `after`; and whether something refers to each.
pub fn list_old_blobs(
    tx: &Tx<'_>,
    until: Timestamp,
    after: Option<&OldBlob>,
    limit: u32,
) -> Result<Vec<(OldBlob, bool)>, Problem> {
    tx.query(
        "SELECT b.touched_at, b.sha256, EXISTS (SELECT 1 FROM document d WHERE d.sha256 = b.sha256) AS used FROM blob b
         WHERE b.touched_at <= ?1 AND (b.touched_at, b.sha256) > (?2, ?3)
         ORDER BY b.touched_at, b.sha256 LIMIT ?4",
        params![until, after.map_or(i64::MIN, |a| a.0.as_millis()), after.map_or("", |a| a.1.as_str()), limit],
        |r| Ok(((r.get("touched_at")?, r.get("sha256")?), r.get("used")?)),
    )
}

/// Forgets content unless something refers to it, or began or ceased to after `until`; whether it did.
pub fn delete_unreferenced_blob(tx: &Tx<'_>, sha256: &str, until: Timestamp) -> Result<bool, Problem> {
    let changed = tx.execute(
        "DELETE FROM blob WHERE sha256 = ?1 AND touched_at <= ?2
           AND NOT EXISTS (SELECT 1 FROM document d WHERE d.sha256 = blob.sha256)",
        params![sha256, until],
    )?;
    Ok(changed > 0)
}

/// Whether content with this hash is known.
pub fn has_blob(tx: &Tx<'_>, sha256: &str) -> Result<bool, Problem> {
    tx.scalar("SELECT EXISTS (SELECT 1 FROM blob WHERE sha256 = ?1)", params![sha256])
}

/// Stores where a document stands; one that counts no more has no reminder left.
pub fn update_state(tx: &Tx<'_>, id: &DocumentId, state: DocumentState) -> Result<(), Problem> {
    tx.execute(
        "UPDATE document SET state = ?2, remind_at = iif(?3, remind_at, NULL) WHERE id = ?1",
        params![id, state.as_str(), state.is_open()],
    )?;
    Ok(())
}

/// Stores who made the token that a document came by.
pub fn set_token_maker(tx: &Tx<'_>, id: &DocumentId, maker: &PersonId) -> Result<(), Problem> {
    tx.execute("UPDATE document SET token_made_by = ?2 WHERE id = ?1", params![id, maker])?;
    Ok(())
}

/// Who made the token that a document came by, if it was not its owner.
pub fn find_token_maker(tx: &Tx<'_>, id: &DocumentId) -> Result<Option<PersonId>, Problem> {
    let sql = "SELECT token_made_by FROM document WHERE id = ?1";
    Ok(tx.query_opt(sql, params![id], |r| r.get("token_made_by"))?.flatten())
}

/// Stores who reviewed a document.
pub fn mark_reviewed(tx: &Tx<'_>, id: &DocumentId, reviewer: Option<&PersonId>) -> Result<(), Problem> {
    tx.execute(
        "UPDATE document SET reviewed_by = ?2, reviewed_at = ?3 WHERE id = ?1",
        params![id, reviewer.cloned(), tx.now()],
    )?;
    Ok(())
}

/// Runs that wait for a document of this type of this person.
pub fn list_waiting_runs(tx: &Tx<'_>, person: &PersonId, kind: &str) -> Result<Vec<RunId>, Problem> {
    tx.query(
        "SELECT run_id FROM document_wait WHERE person_id = ?1 AND type = ?2 ORDER BY run_id",
        params![person, kind],
        |r| r.get("run_id"),
    )
}

/// Stores that a run waits.
pub fn insert_wait(tx: &Tx<'_>, run: &RunId, person: &PersonId, kind: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO document_wait (run_id, person_id, type) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![run, person, kind],
    )?;
    Ok(())
}

/// Forgets that a run waits for a document of a person.
pub fn delete_wait(tx: &Tx<'_>, run: &RunId, person: &PersonId, kind: &str) -> Result<(), Problem> {
    tx.execute(
        "DELETE FROM document_wait WHERE person_id = ?1 AND type = ?2 AND run_id = ?3",
        params![person, kind, run],
    )?;
    Ok(())
}

/// Forgets that a run waits.
pub fn delete_waits(tx: &Tx<'_>, run: &RunId) -> Result<(), Problem> {
    tx.execute("DELETE FROM document_wait WHERE run_id = ?1", params![run])?;
    Ok(())
}
