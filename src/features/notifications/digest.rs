//! One mail for many messages: whoever got many mails lately gets the next messages together.
//!
//! # Invariants
//! - A message that waits for a digest has a job that will mail it; a job that failed for good gives way to
//!   another one with the next message.

use std::time::Duration;

use serde_json::{Value, json};

use super::jobs::SEND_DIGEST;
use super::{MailChoice, Message, Notification, store};
use crate::base::id::{NotificationId, PersonId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::Person;
use crate::features::settings::{self, Effective, NumberSetting, Source, Started};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// Mails within the time of [`DIGEST_MINUTES`] after which messages wait for a digest.
pub const DIGEST_AFTER: NumberSetting =
    NumberSetting { field: "digestAfter", name: "notifications.digest_after", min: 1, max: 1_000_000 };
/// Minutes that are looked back on, and from one digest to the next.
pub const DIGEST_MINUTES: NumberSetting =
    NumberSetting { field: "digestMinutes", name: "notifications.digest_minutes", min: 1, max: 1_440 };
/// The most messages that one digest names.
const LISTED: usize = 100;

/// The two settings in force.
pub fn in_force(tx: &Tx<'_>) -> Result<(Effective<u32>, Effective<u32>), Problem> {
    let started = |value| Started { value, source: Source::Default };
    Ok((
        settings::ops::number(tx, DIGEST_AFTER, &started(5))?,
        settings::ops::number(tx, DIGEST_MINUTES, &started(15))?,
    ))
}

/// Stores a message that waits for a digest, if the person got many mails lately; false otherwise.
pub(super) fn join(tx: &Tx<'_>, id: &NotificationId, person: &PersonId, message: &Message) -> Result<bool, Problem> {
    let choice = store::mail_choice(tx, person)?;
    let (after, minutes) = in_force(tx)?;
    let span = Duration::from_secs(60 * u64::from(minutes.value));
    let first = store::oldest_for_digest(tx, person)?;
    let (mails, oldest) = store::count_mails_since(tx, person, tx.now().minus(span))?;
    let at = match (&first, oldest) {
        // What waits already goes together; what comes after this choice does not.
        _ if choice == MailChoice::Each => return Ok(false),
        (Some(_), _) => tx.now().plus(span),
        (None, _) if choice == MailChoice::Together => tx.now().plus(span),
        (None, Some(oldest)) if mails >= after.value => oldest.plus(span),
        (None, _) => return Ok(false),
    };
    store::insert_notification(tx, id, person, message, true)?;
    ask(tx, person, first.as_ref().unwrap_or(id), at)?;
    Ok(true)
}

/// Asks for the digest that begins with the message `first`; one that is on its way is enough.
fn ask(tx: &Tx<'_>, person: &PersonId, first: &NotificationId, at: Timestamp) -> Result<(), Problem> {
    let draft = JobDraft::at(SEND_DIGEST, json!({ "personId": person }), at);
    enqueue(tx, draft.with_key(format!("digest-{}", first.as_str()))).map(drop)
}

/// Stores that messages were mailed together, and asks for another digest when more came meanwhile.
pub(super) fn mark_mailed(tx: &Tx<'_>, person: &PersonId, ids: &[NotificationId]) -> Result<(), Problem> {
    for id in ids {
        store::mark_mailed(tx, id)?;
    }
    let Some(first) = store::oldest_for_digest(tx, person)? else { return Ok(()) };
    let minutes = in_force(tx)?.1.value;
    ask(tx, person, &first, tx.now().plus(Duration::from_secs(60 * u64::from(minutes))))
}

/// What the wording of a digest can use.
pub(super) fn values(person: &Person, messages: &[Notification], base: &str) -> Value {
    let line = |n: &Notification| match &n.link {
        Some(link) => format!("- {}\n  {base}{link}", n.subject),
        None => format!("- {}", n.subject),
    };
    let mut lines: Vec<String> = messages.iter().take(LISTED).map(line).collect();
    if messages.len() > LISTED {
        lines.push(format!("and {} more", messages.len() - LISTED));
    }
    json!({
        "count": messages.len(), "messages": lines.join("\n"), "link": format!("{base}/inbox"),
        "displayName": person.display_name, "email": person.email,
    })
}
