//! What an administrator does to a job by hand.

use serde_json::{Value, json};

use crate::base::access::{Permission, Principal};
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::platform::queue::views::{self, JobView};
use crate::platform::store::Tx;

/// A failed job starts over, with all its attempts.
pub fn retry(tx: &Tx<'_>, by: &Principal, id: &JobId) -> Result<JobView, Problem> {
    by.require(Permission::JobManage)?;
    let before = views::get_job(tx, id)?;
    let after = views::retry_job(tx, id)?;
    record(tx, by, "job.retried", &before, Some(&after))?;
    Ok(after)
}

/// A failed job gets one more attempt; its count goes on.
pub fn retry_once(tx: &Tx<'_>, by: &Principal, id: &JobId) -> Result<JobView, Problem> {
    by.require(Permission::JobManage)?;
    let before = views::get_job(tx, id)?;
    let after = views::retry_once(tx, id)?;
    record(tx, by, "job.retried", &before, Some(&after))?;
    Ok(after)
}

/// A delayed job runs now.
pub fn promote(tx: &Tx<'_>, by: &Principal, id: &JobId) -> Result<JobView, Problem> {
    by.require(Permission::JobManage)?;
    let before = views::get_job(tx, id)?;
    let after = views::promote_job(tx, id)?;
    record(tx, by, "job.promoted", &before, Some(&after))?;
    Ok(after)
}

/// A job that does not run goes away.
pub fn remove(tx: &Tx<'_>, by: &Principal, id: &JobId) -> Result<JobView, Problem> {
    by.require(Permission::JobManage)?;
    let before = views::remove_job(tx, id)?;
    record(tx, by, "job.removed", &before, None)?;
    Ok(before)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    before: &JobView,
    after: Option<&JobView>,
) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action,
            entity: "job",
            entity_id: before.id.as_str().to_owned(),
            reason: None,
            prev: Some(state(before)),
            new: after.map(state),
        },
    )
}

fn state(job: &JobView) -> Value {
    json!({
        "name": job.name,
        "state": job.state,
        "attemptsMade": job.attempts_made,
        "runAt": job.run_at,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::access::SystemRole;
    use crate::features::audit::AuditJournal;
    use crate::params;
    use crate::platform::clock::{ManualClock, SeededIds};
    use crate::platform::queue::{JobDraft, enqueue};
    use crate::platform::store::{MigrationSet, Options, Store};

    fn store(dir: &tempfile::TempDir) -> Store {
        let clock = Arc::new(ManualClock::at("2031-03-01T12:00:00Z".parse().unwrap()));
        Store::open(
            &Options::small(dir.path().join("tenure.db")),
            &MigrationSet::tenure(),
            clock,
            Arc::new(SeededIds::new(1)),
            Some(Arc::new(AuditJournal)),
        )
        .unwrap()
    }

    /// Who may only read is refused; what was done by hand is in the audit log.
    #[tokio::test]
    async fn a_job_is_removed_by_who_may_and_with_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let id = store.write(|tx| enqueue(tx, JobDraft::now("x", json!({})))).await.unwrap();
        let auditor = Principal { roles: vec![SystemRole::Auditor], ..Principal::system("test") };
        let same = id.clone();
        let refused = store.write(move |tx| remove(tx, &auditor, &same)).await;
        assert!(matches!(refused, Err(Problem::Forbidden(_))));
        let same = id.clone();
        let failed = store.write(move |tx| retry(tx, &Principal::system("test"), &same)).await;
        assert!(matches!(failed, Err(Problem::Conflict(_))), "only a failed job is retried");
        let same = id.clone();
        store.write(move |tx| remove(tx, &Principal::system("test"), &same)).await.unwrap();
        let entries: i64 =
            store.read(|tx| tx.scalar("SELECT count(*) FROM audit_log", params![])).await.unwrap();
        assert_eq!(entries, 1);
        let gone = store.read(move |tx| views::get_job(tx, &id)).await;
        assert!(matches!(gone, Err(Problem::Missing { .. })));
    }
}
