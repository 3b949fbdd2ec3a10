//! Making links, following them, and what happens when nobody does.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::jobs::SEND_LINK;
use super::{Link, LinkKind, LinkState, store, token_hash};
use crate::base::access::Principal;
use crate::base::id::{LinkId, PersonId, TypedId as _};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::people::{self, NewPerson, is_email};
use crate::features::workflow::definitions::{InvitationConfig, VerifyContactConfig};
use crate::features::workflow::engine::{Event, StepError, Wait};
use crate::features::workflow::runs::ops::{self as runs, log, person_of};
use crate::features::workflow::runs::people::{become_subject, find_or_create};
use crate::features::workflow::runs::{Run, forms};
use crate::platform::queue::{JobDraft, enqueue, is_due_at, names};
use crate::platform::store::Tx;

/// Invites somebody by a link to their address.
pub fn invite(
    tx: &Tx<'_>,
    by: &Principal,
    run: &mut Run,
    visit: u32,
    config: &InvitationConfig,
) -> Result<Event, Problem> {
    let email = address(&config.email)?;
    if config.becomes_subject && people::store::find_by_email(tx, &email)?.is_some_and(|p| !p.active) {
        return Err(Problem::refused(format!("{email} left; make them active before they are invited.")));
    }
    let link = Link {
        display_name: config.display_name.trim().to_owned(),
        message: config.message.clone(),
        form: config.form.clone(),
        becomes_subject: config.becomes_subject,
        ..blank(tx, run, visit, LinkKind::Invitation, email, config.valid_hours)
    };
    make(tx, by, run, &link, "is invited")
}

/// Asks for a proof that an address is somebody's, by a link to it.
pub fn verify(
    tx: &Tx<'_>,
    by: &Principal,
    run: &mut Run,
    visit: u32,
    config: &VerifyContactConfig,
) -> Result<Event, Problem> {
    let person = people::store::get_person(tx, &person_of(run, config.person)?)?;
    let email = address(config.email.as_deref().unwrap_or(&person.email))?;
    let link = Link {
        display_name: person.display_name,
        person_id: Some(person.id),
        ..blank(tx, run, visit, LinkKind::VerifyContact, email, config.valid_hours)
    };
    make(tx, by, run, &link, "is asked to prove that the address is theirs")
}

fn address(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if is_email(text) {
        return Ok(text.to_owned());
    }
    Err(Problem::refused(format!("email: got {text:?}; expected an address such as ada@example.org.")))
}

fn blank(tx: &Tx<'_>, run: &Run, visit: u32, kind: LinkKind, email: String, hours: u32) -> Link {
    Link {
        id: tx.new_id(),
        kind,
        run_id: run.id.clone(),
        visit,
        email,
        display_name: String::new(),
        message: String::new(),
        person_id: None,
        form: Vec::new(),
        becomes_subject: false,
        state: LinkState::Open,
        created_at: tx.now(),
        expires_at: tx.now().plus(Duration::from_secs(3600 * u64::from(hours))),
        mailed_at: None,
        used_at: None,
    }
}

fn make(tx: &Tx<'_>, by: &Principal, run: &mut Run, link: &Link, what: &str) -> Result<Event, Problem> {
    store::insert_link(tx, link)?;
    enqueue(tx, JobDraft::now(SEND_LINK, json!({ "linkId": link.id })))?;
    // Whatever else the run waits for, it looks at this link when it expires.
    let wake = JobDraft::at(names::ADVANCE_RUN, json!({ "runId": run.id }), link.expires_at);
    enqueue(tx, wake.with_key(format!("{}-{}", run.id, link.id)))?;
    let data = json!({ "linkId": link.id, "email": link.email, "expiresAt": link.expires_at });
    log(tx, run, link.visit, "link.made", &format!("{} {what}", link.email), &data)?;
    let new = json!({ "run": run.id, "kind": link.kind, "email": link.email, "expiresAt": link.expires_at });
    record(tx, by, "link.made", link, new)?;
    Ok(Event::Waits { visit: link.visit, wait: Wait::Link { id: link.id.to_string() } })
}

/// A new token for the mail of a link, and the link; nothing when it is over, or mailed already.
pub fn new_token(tx: &Tx<'_>, id: &LinkId) -> Result<Option<(Link, String)>, Problem> {
    let link = store::get_link(tx, id)?;
    if link.state_at(tx.now()) != LinkState::Open || link.mailed_at.is_some() {
        return Ok(None);
    }
    let token = format!("{:032x}{:032x}", tx.random(), tx.random());
    let sha256 = token_hash(&token).ok_or_else(|| Problem::internal("a token of another shape"))?;
    store::insert_token(tx, id, &sha256)?;
    Ok(Some((link, token)))
}

/// Lets the step fail whose mail is refused for good.
pub fn refused(tx: &Tx<'_>, by: &Principal, id: &LinkId, why: &str) -> Result<(), Problem> {
    let link = store::get_link(tx, id)?;
    if !store::close(tx, id, LinkState::Cancelled)? {
        return Ok(());
    }
    record(tx, by, "link.cancelled", &link, json!({ "state": "cancelled", "reason": why }))?;
    let error = StepError::new("not_mailed", why);
    runs::apply(tx, by, &link.run_id, Event::Failed { visit: link.visit, error, retryable: false }).map(drop)
}

/// The link of a token; one that there is not is missing, in words that do not repeat the token.
pub fn of_token(tx: &Tx<'_>, token: &str) -> Result<Link, Problem> {
    let found = token_hash(token).map_or(Ok(None), |sha256| store::find_by_token(tx, &sha256))?;
    found.ok_or_else(|| Problem::missing("link", "at this address"))
}

/// Follows a link: what was asked for is there, and the run goes on, in one transaction.
pub fn accept(tx: &Tx<'_>, by: &Principal, token: &str, values: Map<String, Value>) -> Result<Link, Problem> {
    let link = of_token(tx, token)?;
    match link.state_at(tx.now()) {
        LinkState::Open => {}
        LinkState::Used => return Err(Problem::Conflict("This link was used already.".to_owned())),
        LinkState::Expired => {
            return Err(Problem::Conflict("This link has expired. Ask whoever sent it for another one.".to_owned()));
        }
        LinkState::Cancelled => return Err(Problem::Conflict("This link is not needed any more.".to_owned())),
    }
    let values = forms::filled("values", &link.form, values)?;
    if !store::mark_used(tx, &link.id)? {
        return Err(Problem::Conflict("This link was used already.".to_owned()));
    }
    let person = match (&link.person_id, link.becomes_subject) {
        (Some(person), _) => Some(person.clone()),
        (None, true) => Some(invited(tx, by, &link)?),
        (None, false) => None,
    };
    let given = Value::Object(values);
    let new = json!({ "state": "used", "run": link.run_id, "email": link.email, "person": person, "values": given });
    record(tx, by, "link.used", &link, new)?;
    let output = match link.kind {
        LinkKind::Invitation => given,
        LinkKind::VerifyContact => json!({ "email": link.email, "person": person, "verifiedAt": tx.now() }),
    };
    let event = Event::Finished { visit: link.visit, outcome: "success".to_owned(), output };
    runs::answer(tx, by, &link.run_id, event, |run| {
        let verb = match link.kind {
            LinkKind::Invitation => "accepted the invitation",
            LinkKind::VerifyContact => "proved that the address is theirs",
        };
        let data = json!({ "linkId": link.id, "personId": person });
        log(tx, run, link.visit, "link.used", &format!("{} {verb}", link.email), &data)?;
        match &person {
            Some(person) if link.becomes_subject => become_subject(tx, run, link.visit, person),
            _ => Ok(()),
        }
    })?;
    store::get_link(tx, &link.id)
}

/// The person who was invited, added when nobody has the address.
fn invited(tx: &Tx<'_>, by: &Principal, link: &Link) -> Result<PersonId, Problem> {
    let display_name = if link.display_name.is_empty() { link.email.clone() } else { link.display_name.clone() };
    let new = NewPerson { display_name, email: link.email.clone(), manager_id: None, attributes: json!({}) };
    find_or_create(tx, by, new).map(|(id, _)| id)
}

/// The event for a link that nobody followed in time, if it is one.
pub fn expired(tx: &Tx<'_>, by: &Principal, visit: u32, id: &LinkId) -> Result<Option<Event>, Problem> {
    let link = store::get_link(tx, id)?;
    if link.state_at(tx.now()) == LinkState::Open {
        return wake_again(tx, &link).map(|()| None);
    }
    if !store::close(tx, id, LinkState::Expired)? {
        return Ok(None);
    }
    record(tx, by, "link.expired", &link, json!({ "state": "expired", "run": link.run_id }))?;
    let output = json!({ "linkId": id, "email": link.email, "expiredAt": link.expires_at });
    Ok(Some(Event::Finished { visit, outcome: "expired".to_owned(), output }))
}

/// Has the run looked at when its link expires: a clock that was set back came too early.
fn wake_again(tx: &Tx<'_>, link: &Link) -> Result<(), Problem> {
    if is_due_at(tx, link.run_id.as_str(), link.expires_at)? {
        return Ok(());
    }
    let draft = JobDraft::at(names::ADVANCE_RUN, json!({ "runId": link.run_id }), link.expires_at);
    enqueue(tx, draft.with_key(format!("{}-{}-{}", link.run_id, link.id, tx.now().as_millis()))).map(drop)
}

/// Closes a link whose step is over without it.
pub fn withdraw(tx: &Tx<'_>, by: &Principal, id: &LinkId) -> Result<(), Problem> {
    if !store::close(tx, id, LinkState::Cancelled)? {
        return Ok(());
    }
    let link = store::get_link(tx, id)?;
    record(tx, by, "link.cancelled", &link, json!({ "state": "cancelled", "run": link.run_id }))
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, link: &Link, new: Value) -> Result<(), Problem> {
    let entry =
        Entry { action, entity: "link", entity_id: link.id.to_string(), reason: None, prev: None, new: Some(new) };
    audit::append(tx, by, entry)
}
