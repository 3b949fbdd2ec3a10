//! Doubting the clock, standing back meanwhile, and settling the doubt.

use serde_json::{Value, json};

use super::{Doubt, RESUME_EXPIRY, TELL_DOUBT, judge_drift, judge_start, store};
use crate::base::access::Principal;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::platform::queue::{JobDraft, doubt, enqueue};
use crate::platform::store::Tx;

/// The doubt about the clock, if there is one: a stored one, or what its drift says now. Changes nothing.
pub fn find_doubt(tx: &Tx<'_>) -> Result<Option<Doubt>, Problem> {
    match store::find_hold(tx)? {
        Some(doubt) => Ok(Some(doubt)),
        None => Ok(judge_drift(tx.now(), tx.drift_ms())),
    }
}

/// Whether the clock is in doubt, noticed or not. Changes nothing.
pub fn is_in_doubt(tx: &Tx<'_>) -> Result<bool, Problem> {
    Ok(find_doubt(tx)?.is_some())
}

/// Whether the clock is in doubt. Whoever notices it first writes it down, has it audited and told of.
///
/// To be asked in the transaction that does what time asks for.
pub fn is_held(tx: &Tx<'_>) -> Result<bool, Problem> {
    if store::find_hold(tx)?.is_some() {
        return Ok(true);
    }
    match judge_drift(tx.now(), tx.drift_ms()) {
        Some(doubt) => hold(tx, doubt).map(|()| true),
        None => Ok(false),
    }
}

/// Compares the clock of a start with the newest audit entry; to be called before the start writes one.
pub fn check_start(tx: &Tx<'_>) -> Result<(), Problem> {
    if store::find_hold(tx)?.is_some() {
        return Ok(());
    }
    let newest = match newest_entry(tx)? {
        Some((_, at)) => judge_start(tx.now(), at),
        None => None,
    };
    newest.map_or(Ok(()), |doubt| hold(tx, doubt))
}

/// Number and instant of the newest audit entry.
pub fn newest_entry(tx: &Tx<'_>) -> Result<Option<(u64, Timestamp)>, Problem> {
    let Some((seq, _)) = audit::store::head(tx)? else { return Ok(None) };
    Ok(audit::store::find_leaf(tx, seq)?.map(|leaf| (leaf.seq, leaf.at)))
}

fn hold(tx: &Tx<'_>, doubt: Doubt) -> Result<(), Problem> {
    tracing::error!(
        kind = doubt.kind.as_str(), shown = %doubt.shown_at, expected = %doubt.expected_at,
        "the clock is in doubt; nothing ends by itself until an administrator confirms the time"
    );
    store::insert_hold(tx, &doubt)?;
    enqueue(tx, JobDraft::now(TELL_DOUBT, json!({})))?;
    record(tx, &Principal::system("timekeeping"), "clock.doubted", Some(doubt.why()), (None, Some(state_of(&doubt))))
}

/// Does what time asks for in a job, unless the clock is in doubt: then the job stands back. Answers until when
/// the job is to wait; what `f` answers otherwise.
pub fn in_time(
    tx: &Tx<'_>,
    job: &JobId,
    f: impl FnOnce(&Tx<'_>) -> Result<Option<Timestamp>, Problem>,
) -> Result<Option<Timestamp>, Problem> {
    if is_held(tx)? { stand_back(tx, job).map(Some) } else { f(tx) }
}

/// Notes that a job came while the clock is in doubt; answers until when it is to be put off.
pub fn stand_back(tx: &Tx<'_>, job: &JobId) -> Result<Timestamp, Problem> {
    tracing::info!(%job, "the clock is in doubt: this job stands back until an administrator confirms the time");
    doubt::stand_back(tx, job)
}

/// Settles the stored doubt: the clock is right as it is now, in the word of an administrator.
pub fn confirm(tx: &Tx<'_>, by: &Principal, reason: &str) -> Result<(), Problem> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Problem::field("reason", "expected how you know that the time is right"));
    }
    let drift_ms = tx.drift_ms();
    let Some(doubt) = store::find_hold(tx)? else {
        return Err(Problem::Conflict("The clock is not in doubt; there is nothing to confirm.".to_owned()));
    };
    store::delete_hold(tx)?;
    // Before anybody else asks. If this does not commit, the stored doubt stays all the same.
    tx.accept_drift(drift_ms);
    let brought = doubt::bring_back(tx)?;
    enqueue(tx, JobDraft::now(RESUME_EXPIRY, json!({})))?;
    let after = json!({ "now": tx.now(), "driftAcceptedMs": drift_ms, "jobsBroughtBack": brought });
    record(tx, by, "clock.confirmed", Some(reason.to_owned()), (Some(state_of(&doubt)), Some(after)))
}

/// Lets up to `limit` jobs go that stand back; answers how many those were: none while the clock is in doubt.
pub fn let_go(tx: &Tx<'_>, limit: u32) -> Result<usize, Problem> {
    if is_held(tx)? { Ok(0) } else { doubt::let_go(tx, limit) }
}

fn state_of(doubt: &Doubt) -> Value {
    json!({ "kind": doubt.kind, "shownAt": doubt.shown_at, "expectedAt": doubt.expected_at })
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    reason: Option<String>,
    (prev, new): (Option<Value>, Option<Value>),
) -> Result<(), Problem> {
    audit::append(tx, by, Entry { action, entity: "clock", entity_id: "clock".to_owned(), reason, prev, new })
}
