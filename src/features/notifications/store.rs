//! SQL of notifications.

use super::{Message, Notification};
use crate::base::id::{NotificationId, PersonId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Row, Tx};

const COLUMNS: &str =
    "SELECT id, person_id, kind, subject, body, link, created_at, read_at, mailed_at FROM notification ";

fn notification(row: &Row<'_>) -> Result<Notification, Problem> {
    Ok(Notification {
        id: row.get("id")?,
        person: row.get("person_id")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        body: row.get("body")?,
        link: row.get("link")?,
        created_at: row.get("created_at")?,
        read_at: row.get("read_at")?,
        mailed_at: row.get("mailed_at")?,
    })
}

pub(super) fn insert_notification(
    tx: &Tx<'_>,
    id: &NotificationId,
    person: &PersonId,
    message: &Message,
) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO notification (id, person_id, kind, subject, body, link, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id, person, message.kind, message.subject, message.body, message.link, tx.now()],
    )
    .map(drop)
}

/// The message with this id.
pub fn find_notification(tx: &Tx<'_>, id: &NotificationId) -> Result<Option<Notification>, Problem> {
    tx.query_opt(&format!("{COLUMNS} WHERE id = ?1"), params![id], notification)
}

/// A page of one person's messages, the newest first.
pub fn list_notifications(tx: &Tx<'_>, person: &PersonId, page: &PageRequest) -> Result<Page<Notification>, Problem> {
    let limit = page.limit()?;
    let rows = tx.query(
        &format!("{COLUMNS} WHERE person_id = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3"),
        params![person, page.cursor, limit + 1],
        notification,
    )?;
    Ok(Page::cut(rows, limit, |n| n.id.to_string()))
}

/// How many messages a person has not read.
pub fn count_unread(tx: &Tx<'_>, person: &PersonId) -> Result<u32, Problem> {
    tx.scalar("SELECT count(*) FROM notification WHERE person_id = ?1 AND read_at IS NULL", params![person])
}

/// The first reading counts.
pub(super) fn mark_read(tx: &Tx<'_>, id: &NotificationId) -> Result<(), Problem> {
    tx.execute("UPDATE notification SET read_at = coalesce(read_at, ?2) WHERE id = ?1", params![id, tx.now()]).map(drop)
}

pub(super) fn mark_mailed(tx: &Tx<'_>, id: &NotificationId) -> Result<(), Problem> {
    tx.execute("UPDATE notification SET mailed_at = coalesce(mailed_at, ?2) WHERE id = ?1", params![id, tx.now()])
        .map(drop)
}
