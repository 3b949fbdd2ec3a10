//! Metrics for Prometheus: how things stand, beside what the process counted itself.
//!
//! # Invariants
//! - Nothing in the text is about a person, and no label has values that people make up without end.
//! - What needs the database is counted at most once in [`api::SHARED`], however many ask; without the
//!   database the rest is told all the same.

pub mod api;
pub mod process;
pub mod store;

use std::collections::BTreeMap;

use crate::base::id::ConnectorId;
use crate::base::time::Timestamp;
use crate::features::checkpoints::verification::{Outcome, Remembered};
use crate::features::connectors::BreakerState;
use crate::platform::metrics::Figure;
use crate::platform::queue::views::JobState;
use crate::platform::store::{PoolStats, WriterStats};

/// How things stand in the database.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Jobs by name and state.
    pub jobs: Vec<(String, JobState, u64)>,
    /// Runs by status.
    pub runs: Vec<(String, u64)>,
    /// Assignments by state.
    pub assignments: Vec<(String, u64)>,
    /// Access that is over and still there, counted to 1,000.
    pub still_present: u64,
    /// Entitlements whose newest reconciliation failed.
    pub reconciliations_failed: u64,
    /// Entitlements whose newest reconciliation waits for a decision.
    pub reconciliations_held: u64,
    /// Number and instant of the newest audit entry.
    pub audit: Option<(u64, Timestamp)>,
    /// What was found when the whole audit log was read last, and when.
    pub verification: Option<Remembered>,
    /// Whether a fault of the audit log stands.
    pub audit_fault: bool,
    /// Every connector.
    pub connectors: Vec<ConnectorId>,
    /// The instant of all that.
    pub at: Timestamp,
}

fn amount(n: u64) -> f64 {
    n as f64
}

/// The figures of what the database says. A job without a handler here counts as `other`.
pub fn standing(of: &Standing, known: impl Fn(&str) -> bool) -> Vec<Figure> {
    let mut jobs: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    let mut states: BTreeMap<&'static str, u64> = JobState::ALL.iter().map(|s| (s.as_str(), 0)).collect();
    for (name, state, count) in &of.jobs {
        let name = if known(name) { name.as_str() } else { "other" };
        *jobs.entry((name, state.as_str())).or_default() += count;
        *states.entry(state.as_str()).or_default() += count;
    }
    let by_name = jobs.into_iter().map(|((name, state), count)| {
        (vec![("name", name.to_owned()), ("state", state.to_owned())], amount(count))
    });
    let counts = |all: &[(String, u64)]| all.iter().map(|(of, n)| (of.clone(), amount(*n))).collect::<Vec<_>>();
    let mut figures = vec![
        Figure::by("tenure_jobs", "Jobs that the ledger has, by state.", "state", states.into_iter().map(|(s, n)| (s, amount(n)))),
        Figure {
            samples: by_name.collect(),
            ..Figure::gauge("tenure_jobs_by_name", "Jobs that the ledger has, by name and state.", 0.0)
        },
        Figure::by("tenure_runs", "Runs of workflows, by status.", "status", counts(&of.runs)),
        Figure::by("tenure_assignments", "Assignments of roles, by state.", "state", counts(&of.assignments)),
        Figure::gauge(
            "tenure_access_still_present",
            "Access that is over and that a connected system still has, counted to 1000.",
            amount(of.still_present),
        ),
        Figure::by(
            "tenure_reconciliations_troubled",
            "Entitlements whose newest reconciliation failed or is held for a decision.",
            "status",
            [("failed", amount(of.reconciliations_failed)), ("held", amount(of.reconciliations_held))],
        ),
    ];
    if let Some((seq, at)) = of.audit {
        figures.push(Figure::gauge("tenure_audit_sequence", "Number of the newest entry of the audit log.", amount(seq)));
        figures.push(Figure::gauge(
            "tenure_audit_last_entry_age_seconds",
            "Time since the newest entry of the audit log, when it was last looked at.",
            of.at.since(at).as_secs_f64(),
        ));
    }
    figures.extend(verification(of));
    figures
}

/// What is known of the audit log from reading it as a whole.
fn verification(of: &Standing) -> Vec<Figure> {
    let fault = u64::from(of.audit_fault);
    let mut figures = vec![Figure::gauge(
        "tenure_audit_fault",
        "1 while a fault of the audit log stands, so that no checkpoint is signed.",
        amount(fault),
    )];
    if let Some(last) = &of.verification {
        let outcome = last.finding.outcome();
        let all = [Outcome::Sound, Outcome::Tampered, Outcome::Unknown];
        figures.push(Figure::by(
            "tenure_audit_verification",
            "What was found when the whole audit log was read last: 1 for the outcome that it had.",
            "outcome",
            all.map(|one| (one.as_str(), amount(u64::from(one == outcome)))),
        ));
        figures.push(Figure::gauge(
            "tenure_audit_verification_age_seconds",
            "Time since the whole audit log was read last, when it was last looked at.",
            of.at.since(last.at).as_secs_f64(),
        ));
    }
    figures
}

/// The figures of the database's connections and of its writer.
pub fn database(pool: PoolStats, writer: WriterStats) -> Vec<Figure> {
    let states = [
        ("max", pool.max),
        ("min", pool.min),
        ("active", pool.active),
        ("idle", pool.idle),
        ("waiting", pool.waiting),
    ];
    vec![
        Figure::by(
            "tenure_db_connections",
            "Connections to tenure.db: allowed, kept, in use and free; waiting are callers without one.",
            "state",
            states.map(|(state, n)| (state, f64::from(n))),
        ),
        Figure::counter(
            "tenure_db_wait_timeouts",
            "Callers that gave up waiting for a connection or for the writer.",
            amount(pool.timeouts),
        ),
        Figure::counter("tenure_db_commits", "Commits of the writer.", amount(writer.batches)),
        Figure::counter("tenure_db_writes", "Changes that were committed; several share a commit.", amount(writer.writes)),
        Figure::gauge("tenure_db_largest_batch", "Most changes in one commit since the start.", amount(writer.largest_batch)),
        Figure::gauge("tenure_db_writes_queued", "Changes that wait for the writer.", f64::from(writer.queued)),
    ]
}

/// The figure of the breakers of connectors.
pub fn circuits(states: impl IntoIterator<Item = BreakerState>) -> Figure {
    let mut counts = BTreeMap::from([("closed", 0_u64), ("half_open", 0), ("open", 0)]);
    for state in states {
        let name = match state {
            BreakerState::Closed => "closed",
            BreakerState::HalfOpen => "half_open",
            BreakerState::Open => "open",
        };
        *counts.entry(name).or_default() += 1;
    }
    let values = counts.into_iter().map(|(state, n)| (state, amount(n)));
    Figure::by("tenure_connectors", "Connectors by their circuit: nobody calls one that is open.", "circuit", values)
}
