//! SQL of one-time links.

use super::{Link, LinkKind, LinkState};
use crate::base::id::LinkId;
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "l.id, l.kind, l.run_id, l.visit, l.email, l.display_name, l.message, l.person_id, l.form, \
l.becomes_subject, l.state, l.created_at, l.expires_at, l.mailed_at, l.used_at";

fn link(r: &Row<'_>) -> Result<Link, Problem> {
    let (kind, state): (String, String) = (r.get("kind")?, r.get("state")?);
    Ok(Link {
        id: r.get("id")?,
        kind: LinkKind::parse(&kind).ok_or_else(|| Problem::internal(format!("link kind {kind}")))?,
        run_id: r.get("run_id")?,
        visit: r.get("visit")?,
        email: r.get("email")?,
        display_name: r.get("display_name")?,
        message: r.get("message")?,
        person_id: r.get("person_id")?,
        form: r.get::<Json<_>>("form")?.0,
        becomes_subject: r.get("becomes_subject")?,
        state: LinkState::parse(&state).ok_or_else(|| Problem::internal(format!("link state {state}")))?,
        created_at: r.get("created_at")?,
        expires_at: r.get("expires_at")?,
        mailed_at: r.get("mailed_at")?,
        used_at: r.get("used_at")?,
    })
}

/// The link with this id; missing is a problem.
pub fn get_link(tx: &Tx<'_>, id: &LinkId) -> Result<Link, Problem> {
    let found = tx.query_opt(&format!("SELECT {COLUMNS} FROM link l WHERE l.id = ?1"), params![id], link)?;
    found.ok_or_else(|| Problem::missing("link", id))
}

/// The link that has a token with this hash.
pub fn find_by_token(tx: &Tx<'_>, sha256: &[u8; 32]) -> Result<Option<Link>, Problem> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM link_token t JOIN link l ON l.id = t.link_id WHERE t.sha256 = ?1"),
        params![sha256],
        link,
    )
}

/// Stores a new link.
pub fn insert_link(tx: &Tx<'_>, l: &Link) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO link (id, kind, run_id, visit, email, display_name, message, person_id, form, becomes_subject,
                           state, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            l.id, l.kind.as_str(), l.run_id, l.visit, l.email, l.display_name, l.message, l.person_id,
            Json(&l.form), l.becomes_subject, l.state.as_str(), l.created_at, l.expires_at
        ],
    )?;
    Ok(())
}

/// Stores the hash of a token of a link.
pub fn insert_token(tx: &Tx<'_>, link: &LinkId, sha256: &[u8; 32]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO link_token (sha256, link_id, made_at) VALUES (?1, ?2, ?3)",
        params![sha256, link, tx.now()],
    )?;
    Ok(())
}

/// Stores that a link was handed to the mail system.
pub fn mark_mailed(tx: &Tx<'_>, id: &LinkId) -> Result<(), Problem> {
    tx.execute("UPDATE link SET mailed_at = coalesce(mailed_at, ?2) WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}

/// Stores that a link was followed; false when it cannot be any more.
pub fn mark_used(tx: &Tx<'_>, id: &LinkId) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE link SET state = 'used', used_at = ?2 WHERE id = ?1 AND state = 'open' AND expires_at > ?2",
        params![id, tx.now()],
    )?;
    Ok(changed == 1)
}

/// Closes a link that nobody followed; false when it was over before.
pub fn close(tx: &Tx<'_>, id: &LinkId, state: LinkState) -> Result<bool, Problem> {
    let changed =
        tx.execute("UPDATE link SET state = ?2 WHERE id = ?1 AND state = 'open'", params![id, state.as_str()])?;
    Ok(changed == 1)
}
