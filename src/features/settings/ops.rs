//! Reading the value in force and saving a new one.

use serde_json::json;

use super::{
    BuiltIn, EXPIRY_REMINDER_DAYS, Effective, FOUR_EYES, FOUR_EYES_STARTED, NumberSetting, REASON_POLICY, ReasonPolicy,
    ReminderDays, Source, Started, store,
};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::platform::store::Tx;

/// The number in force.
pub fn number(tx: &Tx<'_>, setting: NumberSetting, started: &Started<u32>) -> Result<Effective<u32>, Problem> {
    let saved = store::find(tx, setting.name)?;
    let parsed = saved.as_ref().and_then(|s| s.value.parse().ok());
    Ok(match (saved, parsed) {
        (Some(saved), Some(value)) => Effective {
            value,
            source: Source::Saved,
            changed_by: Some(saved.changed_by),
            changed_at: Some(saved.changed_at),
        },
        _ => Effective { value: started.value, source: started.source, changed_by: None, changed_at: None },
    })
}

/// The number in force of a setting whose default is built in.
pub fn built_in_number(tx: &Tx<'_>, of: BuiltIn) -> Result<Effective<u32>, Problem> {
    number(tx, of.setting, &Started { value: of.default, source: Source::Default })
}

/// The switch in force.
pub fn flag(tx: &Tx<'_>, name: &str, started: &Started<bool>) -> Result<Effective<bool>, Problem> {
    let started = Started { value: started.value.to_string(), source: started.source };
    let text = text(tx, name, &started)?;
    let Effective { value, source, changed_by, changed_at } = text;
    Ok(Effective { value: value == "true", source, changed_by, changed_at })
}

/// Keeps what the process was started with where rules see it that are far from any door: [`four_eyes`].
pub fn remember_four_eyes(tx: &Tx<'_>, started: bool) -> Result<(), Problem> {
    let known = store::find(tx, FOUR_EYES_STARTED)?.is_some_and(|s| s.value == started.to_string());
    if known { Ok(()) } else { store::save(tx, FOUR_EYES_STARTED, &started.to_string(), "start") }
}

/// Whether the rule of the second person is on: as it was saved, else as the process was started.
pub fn four_eyes(tx: &Tx<'_>) -> Result<bool, Problem> {
    let saved = store::find(tx, FOUR_EYES)?;
    let value = if saved.is_some() { saved } else { store::find(tx, FOUR_EYES_STARTED)? };
    Ok(value.is_some_and(|s| s.value == "true"))
}

/// Switches the rule of the second person on or off. Nobody switches it off alone: that would open every
/// way that it closes.
pub fn set_four_eyes(tx: &Tx<'_>, by: &Principal, value: Option<bool>, started: &Started<bool>) -> Result<(), Problem> {
    let now = flag(tx, FOUR_EYES, started)?.value;
    if now && !value.unwrap_or(started.value) {
        return Err(Problem::Conflict(
            "Nobody switches the rule of the second person off alone. Ask for it with POST /api/exceptions \
             {\"kind\": \"four_eyes_off\", \"reason\": …}; another administrator agrees."
                .to_owned(),
        ));
    }
    set(tx, by, FOUR_EYES, value.map(|v| v.to_string()).as_deref())
}

/// The text in force.
pub fn text(tx: &Tx<'_>, name: &str, started: &Started<String>) -> Result<Effective<String>, Problem> {
    Ok(match store::find(tx, name)? {
        Some(saved) => Effective {
            value: saved.value,
            source: Source::Saved,
            changed_by: Some(saved.changed_by),
            changed_at: Some(saved.changed_at),
        },
        None => Effective {
            value: started.value.clone(),
            source: started.source,
            changed_by: None,
            changed_at: None,
        },
    })
}

/// When a decision needs a reason.
pub fn reason_policy(tx: &Tx<'_>) -> Result<Effective<ReasonPolicy>, Problem> {
    parsed(tx, REASON_POLICY, ReasonPolicy::parse)
}

/// How many days before an end people are reminded of it.
pub fn reminder_days(tx: &Tx<'_>) -> Result<Effective<ReminderDays>, Problem> {
    parsed(tx, EXPIRY_REMINDER_DAYS.1, ReminderDays::parse)
}

/// Saves how many days before an end people are reminded of it, or with `None` goes back to the default.
pub fn set_reminder_days(tx: &Tx<'_>, by: &Principal, days: Option<Vec<u32>>) -> Result<(), Problem> {
    let (field, name) = EXPIRY_REMINDER_DAYS;
    let days = days.map(ReminderDays::new).transpose().map_err(|why| Problem::field(field, why))?;
    set(tx, by, name, days.map(|d| d.to_string()).as_deref())
}

/// What was saved, as `parse` reads it; else the default.
fn parsed<T: Default>(tx: &Tx<'_>, name: &str, parse: fn(&str) -> Option<T>) -> Result<Effective<T>, Problem> {
    let saved = store::find(tx, name)?;
    let value = saved.as_ref().and_then(|s| parse(&s.value));
    Ok(match (saved, value) {
        (Some(saved), Some(value)) => Effective {
            value,
            source: Source::Saved,
            changed_by: Some(saved.changed_by),
            changed_at: Some(saved.changed_at),
        },
        _ => Effective { value: T::default(), source: Source::Default, changed_by: None, changed_at: None },
    })
}

/// Saves a number, or with `None` goes back to what the process was started with.
pub fn set_number(
    tx: &Tx<'_>,
    by: &Principal,
    setting: NumberSetting,
    value: Option<u32>,
) -> Result<(), Problem> {
    if let Some(v) = value
        && !(setting.min..=setting.max).contains(&v)
    {
        return Err(Problem::field(
            setting.field,
            format!("got {v}; expected {} to {}", setting.min, setting.max),
        ));
    }
    set(tx, by, setting.name, value.map(|v| v.to_string()).as_deref())
}

/// Saves a text, or with `None` goes back to what the process was started with.
pub fn set(tx: &Tx<'_>, by: &Principal, name: &'static str, value: Option<&str>) -> Result<(), Problem> {
    let before = store::find(tx, name)?.map(|s| s.value);
    if before.as_deref() == value {
        return Ok(());
    }
    match value {
        Some(value) => store::save(tx, name, value, &by.actor().1)?,
        None => store::clear(tx, name)?,
    }
    audit::append(
        tx,
        by,
        Entry {
            action: "setting.changed",
            entity: "setting",
            entity_id: name.to_owned(),
            reason: None,
            prev: before.map(|v| json!({ "value": v })),
            new: value.map(|v| json!({ "value": v })),
        },
    )
}
