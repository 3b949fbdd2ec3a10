//! Writing and reading messages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::jobs::SEND_DIGEST;
use super::{MailChoice, Message, Notification, digest, store};
use crate::base::access::Principal;
use crate::base::id::{NotificationId, PersonId, TypedId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::people::{self, PersonRef};
use crate::platform::queue::views::{self, JobFilter, JobState, JobView};
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

/// Marks all messages of the caller as read; answers how many that were.
pub fn mark_all_read(tx: &Tx<'_>, person: &PersonId) -> Result<usize, Problem> {
    store::mark_all_read(tx, person)
}

/// Stores how the caller wants their mails.
pub fn choose_mail(tx: &Tx<'_>, by: &Principal, person: &PersonId, choice: MailChoice) -> Result<(), Problem> {
    let before = store::mail_choice(tx, person)?;
    if before == choice {
        return Ok(());
    }
    store::save_mail_choice(tx, person, choice)?;
    let entry = Entry {
        action: "notification_choice.changed",
        entity: "person",
        entity_id: person.to_string(),
        reason: None,
        prev: Some(json!({ "mail": before })),
        new: Some(json!({ "mail": choice })),
    };
    audit::append(tx, by, entry)
}

/// A mail that could not be sent.
#[derive(Debug)]
pub struct FailedMail {
    /// Its job.
    pub job: JobView,
    /// To whom; absent when it is not known any more.
    pub person: Option<PersonRef>,
    /// What it said; absent for many messages together.
    pub subject: Option<String>,
}

/// The newest mails that could not be sent, and whether there are more.
pub fn failed_mails(tx: &Tx<'_>, limit: u32) -> Result<(Vec<FailedMail>, bool), Problem> {
    let mut jobs = Vec::new();
    for name in [names::SEND_MAIL, SEND_DIGEST] {
        let filter =
            JobFilter { state: Some(JobState::Failed), name: Some(name.to_owned()), ..JobFilter::default() };
        jobs.extend(views::list_jobs(tx, &filter, None, limit + 1)?);
    }
    jobs.sort_by(|a, b| b.id.as_str().cmp(a.id.as_str()));
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = jobs.len() > most;
    jobs.truncate(most);
    let found = jobs.into_iter().map(|job| -> Result<FailedMail, Problem> {
        let id = |key: &str| job.payload.get(key).and_then(Value::as_str);
        let message = match id("notificationId").and_then(|id| id.parse().ok()) {
            Some(id) => store::find_notification(tx, &id)?,
            None => None,
        };
        let to = message.as_ref().map(|m| m.person.clone()).or_else(|| id("personId").and_then(|id| id.parse().ok()));
        let person = to.map_or(Ok(None), |to| people::store::person_ref(tx, &to))?;
        Ok(FailedMail { person, subject: message.map(|m| m.subject), job })
    });
    Ok((found.collect::<Result<_, _>>()?, more))
}

/// Marks a message as handed to the mail system.
pub fn mark_mailed(tx: &Tx<'_>, id: &NotificationId) -> Result<(), Problem> {
    store::mark_mailed(tx, id)
}
