//! SQL of readings of the whole log.

use std::time::Duration;

use super::{Finding, Outcome, Paused, Remembered};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::verify::{Fault, Position, Verdict};
use crate::params;
use crate::platform::store::{Json, Row, Tx};

/// Remembers what was found last.
pub fn put(tx: &Tx<'_>, finding: &Finding) -> Result<(), Problem> {
    let Verdict { rows, erased, checkpoints_checked, left_behind, fault } = &finding.verdict;
    let detail = fault.as_ref().map(|fault| fault.detail.as_str()).or(finding.unknown.as_deref());
    tx.execute(
        "INSERT OR REPLACE INTO audit_verification
             (one, outcome, at, duration_ms, rows, erased, checkpoints_checked, left_behind, seq, kind, detail, silent)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            finding.outcome().as_str(), tx.now(), millis(finding.duration), *rows, *erased, *checkpoints_checked,
            *left_behind,
            fault.as_ref().map(|fault| fault.seq), fault.as_ref().map(|fault| fault.kind), detail,
            finding.silent.join(",")
        ],
    )?;
    Ok(())
}

/// What was found last.
pub fn find(tx: &Tx<'_>) -> Result<Option<Remembered>, Problem> {
    tx.query_opt("SELECT * FROM audit_verification", params![], |r| {
        let (seq, kind, detail): (Option<u64>, Option<String>, Option<String>) = (r.get("seq")?, r.get("kind")?, r.get("detail")?);
        let (outcome, silent): (String, String) = (r.get("outcome")?, r.get("silent")?);
        let fault = seq.zip(kind).map(|(seq, kind)| Fault::stored(seq, &kind, detail.clone().unwrap_or_default()));
        let unknown = (Outcome::parse(&outcome) == Some(Outcome::Unknown)).then(|| detail.unwrap_or_default());
        Ok(Remembered {
            finding: Finding {
                verdict: Verdict {
                    rows: r.get("rows")?,
                    erased: r.get("erased")?,
                    checkpoints_checked: r.get("checkpoints_checked")?,
                    left_behind: r.get("left_behind")?,
                    fault,
                },
                unknown,
                silent: silent.split(',').filter(|place| !place.is_empty()).map(str::to_owned).collect(),
                duration: Duration::from_millis(r.get("duration_ms")?),
            },
            at: r.get("at")?,
        })
    })
}

/// The fault that stands, and since when.
pub fn find_fault(tx: &Tx<'_>) -> Result<Option<(Fault, Timestamp)>, Problem> {
    tx.query_opt("SELECT seq, kind, detail, at FROM audit_fault", params![], |r| {
        let kind: String = r.get("kind")?;
        Ok((Fault::stored(r.get("seq")?, &kind, r.get("detail")?), r.get("at")?))
    })
}

/// Remembers a fault, since when it stands.
pub fn put_fault(tx: &Tx<'_>, fault: &Fault) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO audit_fault (one, seq, kind, detail, at) VALUES (1, ?1, ?2, ?3, ?4)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, kind = excluded.kind, detail = excluded.detail",
        params![fault.seq, fault.kind, fault.detail, tx.now()],
    )?;
    Ok(())
}

/// Forgets it.
pub fn delete_fault(tx: &Tx<'_>) -> Result<(), Problem> {
    tx.execute("DELETE FROM audit_fault", params![])?;
    Ok(())
}

/// Where a reading was stopped.
pub fn find_paused(tx: &Tx<'_>) -> Result<Option<Paused>, Problem> {
    tx.query_opt("SELECT position, begun_at, duration_ms FROM audit_walk", params![], paused)
}

fn paused(r: &Row<'_>) -> Result<Paused, Problem> {
    Ok(Paused {
        position: r.get::<Json<Position>>("position")?.0,
        begun_at: r.get("begun_at")?,
        duration: Duration::from_millis(r.get("duration_ms")?),
    })
}

/// Notes how far a reading came.
pub fn put_paused(tx: &Tx<'_>, paused: &Paused) -> Result<(), Problem> {
    tx.execute(
        "INSERT OR REPLACE INTO audit_walk (one, position, begun_at, duration_ms) VALUES (1, ?1, ?2, ?3)",
        params![Json(&paused.position), paused.begun_at, millis(paused.duration)],
    )?;
    Ok(())
}

/// No reading is under way any more.
pub fn delete_paused(tx: &Tx<'_>) -> Result<(), Problem> {
    tx.execute("DELETE FROM audit_walk", params![])?;
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
