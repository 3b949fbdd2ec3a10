//! Use cases around reminders: setting them, and telling people.

use std::collections::BTreeSet;

use serde_json::json;

use super::store::{self, Setting};
use super::{Due, Ending, in_zone, next, set_again};
use crate::base::access::Principal;
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::is_over;
use crate::features::access::documents::title;
use crate::features::audit::{self, Entry};
use crate::features::notifications::{Message, ops::notify};
use crate::features::settings::{self, ReminderDays};
use crate::features::timekeeping::ops::is_held;
use crate::platform::store::Tx;

/// The most ends that one message tells of and one person is handled with at a time.
const TOGETHER: usize = 500;
/// The most ends that a message names.
const NAMED: usize = 20;

/// Sets the reminder of something whose end was just set, by the days that hold for everything of its kind.
pub fn set(
    tx: &Tx<'_>,
    of: Ending,
    id: &str,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
) -> Result<(), Problem> {
    let days = days_of(&store::get_setting(tx, of)?)?;
    let at = ends_at.and_then(|end| next(starts_at, end, &days, tx.now()));
    store::update_reminder(tx, of, id, at)
}

fn days_of(setting: &Setting) -> Result<ReminderDays, Problem> {
    ReminderDays::parse(&setting.days)
        .ok_or_else(|| Problem::internal(format!("expiry_reminder.days is {:?}", setting.days)))
}

/// Sets a page of reminders anew where other days are in force than before; whether there may be more.
pub fn follow_setting(tx: &Tx<'_>, of: Ending, limit: u32) -> Result<bool, Problem> {
    let days = settings::ops::reminder_days(tx)?.value;
    let mut setting = store::get_setting(tx, of)?;
    if setting.days != days.to_string() {
        let first = (Timestamp::from_millis(i64::MIN), String::new());
        setting = Setting { days: days.to_string(), cursor: Some(first) };
    }
    let Some(after) = &setting.cursor else { return Ok(false) };
    let page = store::list_ends(tx, of, after, limit)?;
    for due in &page {
        let at = set_again(due, &days, tx.now());
        if at != due.remind_at {
            store::update_reminder(tx, of, &due.id, at)?;
        }
    }
    let full = page.len() >= limit as usize;
    setting.cursor = page.into_iter().next_back().filter(|_| full).map(|due| (due.ends_at, due.id));
    store::update_setting(tx, of, &setting)?;
    Ok(full)
}

/// Tells people of a page of ends whose reminders are due, each person once of all of theirs, and sets the
/// next reminders; whether there may be more. While the clock is in doubt nobody is told.
pub fn remind(
    tx: &Tx<'_>,
    by: &Principal,
    of: Ending,
    zone: &jiff::tz::TimeZone,
    limit: u32,
) -> Result<bool, Problem> {
    if is_held(tx)? {
        return Ok(false);
    }
    let page = store::list_due(tx, of, limit)?;
    let full = page.len() >= limit as usize;
    if page.is_empty() {
        return Ok(false);
    }
    let days = days_of(&store::get_setting(tx, of)?)?;
    for told in page.into_iter().map(|due| due.told).collect::<BTreeSet<_>>() {
        let mut all = all_due(tx, of, &told)?;
        // What is beyond that waits for the next page.
        all.truncate(TOGETHER);
        let (tell, pass): (Vec<Due>, Vec<Due>) =
            all.into_iter().partition(|due| due.active && !is_over(due.ends_at, tx.now()));
        for due in &pass {
            store::update_reminder(tx, of, &due.id, next(due.starts_at, due.ends_at, &days, tx.now()))?;
        }
        if tell.is_empty() {
            continue;
        }
        for due in &tell {
            let later = next(due.starts_at, due.ends_at, &days, tx.now());
            store::update_reminder(tx, of, &due.id, later)?;
            record(tx, by, of, due, later)?;
        }
        notify(tx, std::slice::from_ref(&told), message(of, &told, &tell, zone))?;
    }
    Ok(full)
}

/// Everything with a reminder that is due and of which this person is told.
fn all_due(tx: &Tx<'_>, of: Ending, told: &PersonId) -> Result<Vec<Due>, Problem> {
    let mut all = store::list_due_of(tx, of, told)?;
    if of == Ending::Document {
        for person in store::list_managed(tx, told)? {
            all.extend(store::list_due_of(tx, of, &person)?);
        }
    }
    all.retain(|due| due.told == *told);
    all.sort_by(|a, b| (a.ends_at, &a.id).cmp(&(b.ends_at, &b.id)));
    Ok(all)
}

fn record(tx: &Tx<'_>, by: &Principal, of: Ending, due: &Due, later: Option<Timestamp>) -> Result<(), Problem> {
    let entry = Entry {
        action: of.action(),
        entity: of.as_str(),
        entity_id: due.id.clone(),
        reason: None,
        prev: Some(json!({ "expiresAt": due.ends_at, "remindAt": due.remind_at })),
        new: Some(json!({ "expiresAt": due.ends_at, "remindAt": later, "toldId": due.told })),
    };
    audit::append(tx, by, entry)
}

/// What somebody is told of these ends, of which there is at least one.
pub(super) fn message(of: Ending, told: &PersonId, ends: &[Due], zone: &jiff::tz::TimeZone) -> Message {
    let called = |due: &Due| {
        let what = if of == Ending::Document { title(&due.what) } else { due.what.clone() };
        if due.person.id == *told { what } else { format!("{what} of {}", due.person.display_name) }
    };
    let subject = match (of, ends) {
        (_, [one]) => format!("{} ends on {}", called(one), in_zone(one.ends_at, zone)),
        (Ending::Assignment, many) => format!("{} of your roles end soon", many.len()),
        (Ending::Document, many) => format!("{} documents end soon", many.len()),
    };
    // Of one role under two assignments, each end is named.
    let mut lines: Vec<String> =
        ends.iter().take(NAMED).map(|due| format!("- {}: {}", called(due), in_zone(due.ends_at, zone))).collect();
    if ends.len() > NAMED {
        lines.push(format!("- and {} more", ends.len() - NAMED));
    }
    let (what, then, link) = match of {
        Ending::Assignment => (
            "These roles of yours end then, and the access that they give is taken away:",
            "If you still need one, have it extended before it ends, or ask for it again.",
            "/access",
        ),
        Ending::Document => (
            "These documents end then, and the roles that rest on them end with them:",
            "If one is still needed, hand in a new one in time for somebody to review it.",
            "/documents",
        ),
    };
    Message {
        subject,
        body: format!("{what}\n\n{}\n\n{then}", lines.join("\n")),
        link: Some(link.to_owned()),
        kind: "expiry_reminder",
    }
}
