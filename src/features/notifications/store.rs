//! SQL of notifications.

use super::templates::{Changed, Wording};
use super::{MailChoice, Message, Notification};
use crate::base::id::{NotificationId, PersonId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
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
    in_digest: bool,
) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO notification (id, person_id, kind, subject, body, link, created_at, in_digest) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![id, person, message.kind, message.subject, message.body, message.link, tx.now(), in_digest],
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

/// Marks all of a person's messages as read; answers how many that were.
pub(super) fn mark_all_read(tx: &Tx<'_>, person: &PersonId) -> Result<usize, Problem> {
    tx.execute("UPDATE notification SET read_at = ?2 WHERE person_id = ?1 AND read_at IS NULL", params![person, tx.now()])
}

/// How a person wants their mails.
pub fn mail_choice(tx: &Tx<'_>, person: &PersonId) -> Result<MailChoice, Problem> {
    let found: Option<String> =
        tx.query_opt("SELECT mail FROM notification_choice WHERE person_id = ?1", params![person], |r| r.get("mail"))?;
    Ok(found.as_deref().and_then(MailChoice::parse).unwrap_or_default())
}

pub(super) fn save_mail_choice(tx: &Tx<'_>, person: &PersonId, choice: MailChoice) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO notification_choice (person_id, mail) VALUES (?1, ?2)
         ON CONFLICT (person_id) DO UPDATE SET mail = ?2",
        params![person, choice.as_str()],
    )
    .map(drop)
}

pub(super) fn mark_mailed(tx: &Tx<'_>, id: &NotificationId) -> Result<(), Problem> {
    tx.execute("UPDATE notification SET mailed_at = coalesce(mailed_at, ?2) WHERE id = ?1", params![id, tx.now()])
        .map(drop)
}

/// The wording that an administrator gave a kind of mail.
pub fn find_template(tx: &Tx<'_>, key: &str) -> Result<Option<Changed>, Problem> {
    tx.query_opt(
        "SELECT subject, body, changed_by, changed_at FROM notification_template WHERE key = ?1",
        params![key],
        |row| {
            let wording = Wording { subject: row.get("subject")?, body: row.get("body")? };
            Ok(Changed { wording, by: row.get("changed_by")?, at: row.get("changed_at")? })
        },
    )
}

pub(super) fn save_template(tx: &Tx<'_>, key: &str, wording: &Wording, by: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO notification_template (key, subject, body, changed_by, changed_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key) DO UPDATE SET subject = ?2, body = ?3, changed_by = ?4, changed_at = ?5",
        params![key, wording.subject, wording.body, by, tx.now()],
    )
    .map(drop)
}

pub(super) fn delete_template(tx: &Tx<'_>, key: &str) -> Result<(), Problem> {
    tx.execute("DELETE FROM notification_template WHERE key = ?1", params![key]).map(drop)
}

/// How many messages were written to a person since then that have a mail of their own, and the first of them.
pub(super) fn count_mails_since(
    tx: &Tx<'_>,
    person: &PersonId,
    since: Timestamp,
) -> Result<(u32, Option<Timestamp>), Problem> {
    let found = tx.query_opt(
        "SELECT count(*) AS mails, min(created_at) AS oldest FROM notification
         WHERE person_id = ?1 AND created_at > ?2 AND in_digest = 0",
        params![person, since],
        |row| Ok((row.get("mails")?, row.get("oldest")?)),
    )?;
    Ok(found.unwrap_or_default())
}

/// The first message that waits for the next digest.
pub(super) fn oldest_for_digest(tx: &Tx<'_>, person: &PersonId) -> Result<Option<NotificationId>, Problem> {
    tx.query_opt(
        // Ids of one millisecond come in any order, rows in that of their writing.
        "SELECT id FROM notification WHERE person_id = ?1 AND in_digest = 1 AND mailed_at IS NULL ORDER BY rowid LIMIT 1",
        params![person],
        |row| row.get("id"),
    )
}

/// The messages that wait for the next digest, at most `limit` of the oldest.
pub fn list_for_digest(tx: &Tx<'_>, person: &PersonId, limit: u32) -> Result<Vec<Notification>, Problem> {
    tx.query(
        &format!("{COLUMNS} WHERE person_id = ?1 AND in_digest = 1 AND mailed_at IS NULL ORDER BY rowid LIMIT ?2"),
        params![person, limit],
        notification,
    )
}

/// Lets nothing of a person wait for a digest any more.
pub(super) fn drop_digest(tx: &Tx<'_>, person: &PersonId) -> Result<(), Problem> {
    tx.execute(
        "UPDATE notification SET in_digest = 0 WHERE person_id = ?1 AND in_digest = 1 AND mailed_at IS NULL",
        params![person],
    )
    .map(drop)
}
