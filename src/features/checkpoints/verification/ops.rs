//! Beginning a reading, or going on with one; what follows from what it found.

use std::time::Duration;

use super::{Finding, Outcome, Paused, settles, store};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::keys::Opened;
use crate::features::audit::verify::{Fault, Walk};
use crate::features::checkpoints::ops::{self as checkpoints, Kept};
use crate::features::checkpoints::{Refusal, RefusalKind, store as checkpoint_store};
use crate::platform::store::Tx;

/// A reading that is under way.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Where it stands.
    pub walk: Walk,
    /// Checkpoints of entries that were left behind when the log was put back.
    pub left_behind: u64,
    /// When it began.
    pub begun_at: Timestamp,
    /// How long it took before it was stopped.
    pub before: Duration,
}

/// A reading from the beginning, compared with what the places hold and with what was signed; a note that the log did
/// not sign is a fault at once.
pub fn begin(tx: &Tx<'_>, kept: &[Kept]) -> Result<Result<Reading, Fault>, Problem> {
    let opened = checkpoints::expected(tx, kept)?;
    Ok(opened.map(|Opened { expected, left_behind }| {
        Reading { walk: Walk::new(expected), left_behind, begun_at: tx.now(), before: Duration::ZERO }
    }))
}

/// The reading that was stopped, where it stood; one from the beginning when there is none that can be gone on with.
pub fn go_on(tx: &Tx<'_>, kept: &[Kept]) -> Result<Result<Reading, Fault>, Problem> {
    if let Some(paused) = store::find_paused(tx)?.filter(|paused| !paused.is_stale(tx.now())) {
        let Opened { expected, left_behind } = match checkpoints::expected(tx, kept)? {
            Ok(opened) => opened,
            Err(fault) => return Ok(Err(fault)),
        };
        let Paused { position, begun_at, duration: before } = paused;
        if let Some(walk) = Walk::resume(tx, position, expected)? {
            return Ok(Ok(Reading { walk, left_behind, begun_at, before }));
        }
    }
    begin(tx, kept)
}

/// Notes how far a reading came.
pub fn pause(tx: &Tx<'_>, paused: &Paused) -> Result<(), Problem> {
    store::put_paused(tx, paused)
}

/// Ends the reading that the job does: the next one begins from the beginning.
pub fn end(tx: &Tx<'_>, finding: &Finding) -> Result<(), Problem> {
    store::delete_paused(tx)?;
    conclude(tx, finding)
}

/// Remembers what was found. A fault stops signing and raises the alarm; a sound log lifts that, if it could have told.
pub fn conclude(tx: &Tx<'_>, finding: &Finding) -> Result<(), Problem> {
    store::put(tx, finding)?;
    match finding.outcome() {
        Outcome::Tampered => {
            let Some(fault) = &finding.verdict.fault else { return Ok(()) };
            tracing::error!(seq = fault.seq, kind = fault.kind, "the audit log was tampered with: {}", fault.detail);
            store::put_fault(tx, fault)?;
            checkpoints::refuse(tx, &refusal(fault))
        }
        Outcome::Unknown => {
            let why = finding.unknown.as_deref().unwrap_or_default();
            tracing::warn!("the audit log could not be read to its end: {why}");
            Ok(())
        }
        Outcome::Sound => clear(tx, finding),
    }
}

fn clear(tx: &Tx<'_>, sound: &Finding) -> Result<(), Problem> {
    let Some((fault, _)) = store::find_fault(tx)?.filter(|(fault, _)| settles(sound, fault)) else { return Ok(()) };
    tracing::warn!(seq = fault.seq, kind = fault.kind, "the audit log is sound again; checkpoints are signed");
    store::delete_fault(tx)?;
    match checkpoint_store::find_refusal(tx)? {
        Some((refusal, _)) if refusal.kind == RefusalKind::Tampered => checkpoint_store::delete_refusal(tx),
        _ => Ok(()),
    }
}

/// Why nothing is signed while a fault stands.
pub fn refusal(fault: &Fault) -> Refusal {
    let detail = match fault.seq {
        0 => format!("What stands for a checkpoint was tampered with ({}): {}.", fault.kind, fault.detail),
        seq => format!("The log was tampered with at entry {seq} ({}): {}.", fault.kind, fault.detail),
    };
    Refusal { kind: RefusalKind::Tampered, detail }
}
