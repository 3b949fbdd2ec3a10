//! Writing and reading messages.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Message, Notification, digest, store};
use crate::base::access::Principal;
use crate::base::id::{NotificationId, PersonId};
use crate::base::problem::Problem;
use crate::platform::queue::{JobDraft, enqueue, names};
use crate::platform::store::Tx;

/// Writes `message` to each of `to`, once per person, and has it mailed, alone or with others.
pub fn notify(tx: &Tx<'_>, to: &[PersonId], message: Message) -> Result<(), Problem> {
    for person in to.iter().collect::<BTreeSet<_>>() {
        let id: NotificationId = tx.new_id();
        if digest::join(tx, &id, person, &message)? {
            continue;
        }
        store::insert_notification(tx, &id, person, &message, false)?;
        enqueue(tx, JobDraft::now(names::SEND_MAIL, json!({ "notificationId": id })))?;
    }
    Ok(())
}

/// Marks a message of the caller's own as read; another's is not there for them.
pub fn mark_read(tx: &Tx<'_>, by: &Principal, id: &NotificationId) -> Result<Notification, Problem> {
    let found = store::find_notification(tx, id)?.filter(|n| by.is_person(&n.person));
    if found.is_none() {
        return Err(Problem::missing("notification", id));
    }
    store::mark_read(tx, id)?;
    store::find_notification(tx, id)?.ok_or_else(|| Problem::missing("notification", id))
}

/// Marks a message as handed to the mail system.
pub fn mark_mailed(tx: &Tx<'_>, id: &NotificationId) -> Result<(), Problem> {
    store::mark_mailed(tx, id)
}
