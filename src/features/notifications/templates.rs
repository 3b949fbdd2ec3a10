//! The wording of mails: built in, and editable by administrators.
//!
//! # Invariants
//! - A wording is stored only if it can be filled in; a mail whose wording fails later goes out in the
//!   built-in one: no mail is lost to a typo.

use serde_json::{Value, json};

use super::store;
use crate::base::access::Principal;
use crate::base::problem::{FieldError, Problem};
use crate::base::template;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::platform::store::Tx;

/// The longest subject and text.
const MAX_SUBJECT: usize = 500;
const MAX_BODY: usize = 20_000;

/// Subject and text of a mail, with `{{ … }}` or filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

/// A kind of mail.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its key: of a message to people, what the message is about.
    pub key: &'static str,
    /// When it is sent.
    pub about: &'static str,
    /// Names of the values that its wording can use.
    pub values: &'static [&'static str],
    subject: &'static str,
    body: &'static str,
}

impl Kind {
    /// The built-in wording.
    pub fn wording(&self) -> Wording {
        Wording { subject: self.subject.to_owned(), body: self.body.to_owned() }
    }
}

const MESSAGE: [&str; 5] = ["subject", "body", "link", "displayName", "email"];
const LINK: [&str; 6] = ["displayName", "email", "workflow", "message", "link", "expiresAt"];

const fn message(key: &'static str, about: &'static str) -> Kind {
    let body = "{{ body }}\n{% if link %}\n{{ link }}\n{% endif %}";
    Kind { key, about, values: &MESSAGE, subject: "{{ subject }}", body }
}

/// Every kind of mail; the first is for messages that have none of their own.
pub const KINDS: [Kind; 9] = [
    message("message", "Everything that has no wording of its own"),
    message("approval", "Somebody is to decide, or learns of a decision"),
    message("task", "Somebody is to do something, or learns how it stands"),
    message("consent", "Somebody is asked for their consent"),
    message("document_request", "A document is needed"),
    message("expiry_reminder", "A role or a document is about to end"),
    Kind {
        key: "digest",
        about: "Many messages to one person, together",
        values: &["count", "messages", "link", "displayName", "email"],
        subject: "{{ count }} messages for you",
        body: "Hello {{ displayName }},\n\nthis is new:\n\n{{ messages }}\n\n{{ link }}\n",
    },
    Kind {
        key: "invitation",
        about: "Somebody is invited by a one-time link",
        values: &LINK,
        subject: "You are invited: {{ workflow }}",
        body: "Hello {{ displayName }},\n\n{% if message %}{{ message }}\n\n{% endif %}\
               Follow this link to accept. It works once, until {{ expiresAt }}.\n\n{{ link }}\n\n\
               If you did not expect this mail, you need not do anything.\n",
    },
    Kind {
        key: "verify_contact",
        about: "Somebody is to prove that an address is theirs",
        values: &LINK,
        subject: "Confirm your address",
        body: "Hello {{ displayName }},\n\nplease confirm that {{ email }} is your address. \
               The link works once, until {{ expiresAt }}.\n\n{{ link }}\n\n\
               If you did not expect this mail, you need not do anything.\n",
    },
];

/// The kind of mail with this key.
pub fn find_kind(key: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.key == key)
}

fn get_kind(key: &str) -> Result<&'static Kind, Problem> {
    find_kind(key).ok_or_else(|| Problem::missing("template", key))
}

/// A wording that was changed.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What it says.
    pub wording: Wording,
    /// Who changed it, as the audit log calls them.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Values that every kind of mail has, for trying a wording.
fn sample(kind: &Kind) -> Value {
    let all = json!({
        "subject": "Please decide: access", "body": "Ada asks for access.", "link": "https://tenure.example.org/inbox",
        "displayName": "Ada", "email": "ada@example.org", "workflow": "Guest access", "message": "Welcome.",
        "expiresAt": "2031-03-01T12:00:00.000Z", "count": 7, "messages": "- Please decide: access",
    });
    let values = kind.values.iter().map(|name| ((*name).to_owned(), all[*name].clone()));
    Value::Object(values.collect())
}

/// What is wrong with a wording, by its part and line.
pub fn check(kind: &Kind, wording: &Wording) -> Result<(), Problem> {
    let mut faults = Vec::new();
    for (part, text, most) in [("subject", &wording.subject, MAX_SUBJECT), ("body", &wording.body, MAX_BODY)] {
        let message = if text.trim().is_empty() || text.chars().count() > most {
            Some(format!("expected 1 to {most} characters"))
        } else if part == "subject" && text.contains(['\n', '\r']) {
            Some("expected one line".to_owned())
        } else {
            template::fault_of(text, &sample(kind)).map(|(line, why)| format!("line {line}: {why}"))
        };
        faults.extend(message.map(|message| FieldError { field: part.to_owned(), message }));
    }
    Problem::from_fields(faults)
}

/// A wording filled in with example values; one that cannot be is refused as when it is stored.
pub fn preview(key: &str, wording: &Wording) -> Result<Wording, Problem> {
    let kind = get_kind(key)?;
    check(kind, wording)?;
    fill(wording, &sample(kind))
}

/// Stores a wording.
pub fn change(tx: &Tx<'_>, by: &Principal, key: &str, wording: &Wording) -> Result<(), Problem> {
    let kind = get_kind(key)?;
    check(kind, wording)?;
    let before = store::find_template(tx, key)?.map(|c| c.wording);
    if before.as_ref() == Some(wording) {
        return Ok(());
    }
    store::save_template(tx, key, wording, &by.actor().1)?;
    record(tx, by, "notification_template.changed", key, before, Some(wording))
}

/// Goes back to the built-in wording.
pub fn restore(tx: &Tx<'_>, by: &Principal, key: &str) -> Result<(), Problem> {
    get_kind(key)?;
    let Some(before) = store::find_template(tx, key)? else { return Ok(()) };
    store::delete_template(tx, key)?;
    record(tx, by, "notification_template.restored", key, Some(before.wording), None)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    key: &str,
    before: Option<Wording>,
    after: Option<&Wording>,
) -> Result<(), Problem> {
    let shown = |w: &Wording| json!({ "subject": w.subject, "body": w.body });
    let entry = Entry {
        action,
        entity: "notification_template",
        entity_id: key.to_owned(),
        reason: None,
        prev: before.as_ref().map(shown),
        new: after.map(shown),
    };
    audit::append(tx, by, entry)
}

/// The mail of a kind, filled in; a kind without a wording of its own has that of `message`.
pub fn compose(tx: &Tx<'_>, key: &str, values: &Value) -> Result<Wording, Problem> {
    let kind = find_kind(key).unwrap_or(&KINDS[0]);
    if let Some(changed) = store::find_template(tx, kind.key)? {
        match fill(&changed.wording, values) {
            Ok(found) => return Ok(found),
            Err(problem) => tracing::warn!(key = kind.key, %problem, "a mail goes out in its built-in wording"),
        }
    }
    fill(&kind.wording(), values)
}

fn fill(wording: &Wording, values: &Value) -> Result<Wording, Problem> {
    let fill = |text: &str| template::render_text(text, values).map_err(|e| Problem::refused(e.to_string()));
    // A subject is one line, whatever the values hold.
    let subject = fill(&wording.subject)?.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Wording { subject, body: fill(&wording.body)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_wording_can_be_filled_in() {
        for kind in &KINDS {
            check(kind, &kind.wording()).unwrap_or_else(|e| panic!("{}: {e}", kind.key));
        }
    }

    #[test]
    fn a_bad_wording_is_refused_with_its_part_and_line() {
        let kind = find_kind("invitation").expect("there is one");
        let bad = Wording { subject: "Hello\nyou".to_owned(), body: "One\n\n{{ nothing }}\n".to_owned() };
        let Err(Problem::Invalid { errors, .. }) = check(kind, &bad) else { panic!("it is refused") };
        assert_eq!(errors[0].field, "subject");
        assert!(errors[1].field == "body" && errors[1].message.starts_with("line 3: "), "{errors:?}");
        let open = Wording { subject: "{{ workflow".to_owned(), body: "x".to_owned() };
        assert!(matches!(check(kind, &open), Err(Problem::Invalid { errors, .. }) if errors[0].field == "subject"));
    }
}
