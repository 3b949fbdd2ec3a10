//! `log-retention`: the nightly purge.

use serde_json::Value;

use super::ops;
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::features::settings::{self, LOG_RETENTION, Started};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};
use crate::platform::store::{Store, Tx};

/// Purges what is older than the retention in force, every night at three.
#[derive(Debug, Clone)]
pub struct LogRetention {
    /// `logs.db`.
    pub logs: Store,
    /// `LOG_RETENTION_DAYS` as the process was started with.
    pub started: Started<u32>,
}

impl JobHandler for LogRetention {
    fn name(&self) -> &'static str {
        names::LOG_RETENTION
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(Schedule::utc("0 3 * * *").expect("a constant expression"))
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(self.purge(cx))
    }
}

impl LogRetention {
    async fn purge(&self, cx: &JobCx) -> Result<(), Problem> {
        let started = self.started.clone();
        let older_than = cx
            .store()
            .read(move |tx| {
                let days = settings::ops::number(tx, LOG_RETENTION, &started)?.value;
                Ok(ops::cutoff(tx.now(), days))
            })
            .await?;
        let progress = ops::purge(&self.logs, older_than, || cx.stopping()).await?;
        let record = move |tx: &Tx<'_>| match progress.purged {
            0 => Ok(()),
            n => ops::record_purge(tx, &Principal::system("log-retention"), older_than, n),
        };
        if progress.done {
            return cx.complete(record).await;
        }
        // Tenure is shutting down: what is gone is told, and the next start goes on with the rest.
        cx.page(record).await?;
        cx.snooze(cx.store().clock().now()).await
    }
}
