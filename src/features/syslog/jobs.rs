//! `log-retention`: the nightly purge.

use serde_json::Value;

use super::ops;
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::features::settings::Started;
use crate::features::timekeeping::ops::is_held;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};
use crate::platform::store::Store;

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
        let plan = ops::plan(cx.store(), &self.logs, &self.started, None).await?;
        // After the plan, whose instant is the clock's. By one in doubt everything may look old: the next night
        // purges what is to go.
        if cx.page(is_held).await? {
            return Ok(());
        }
        let record = cx.page(move |tx| ops::record_purge(tx, &Principal::system(names::LOG_RETENTION), plan));
        if ops::purge(&self.logs, plan, record, || cx.stopping()).await?.done {
            return Ok(());
        }
        // Tenure is shutting down: the next start goes on with the rest.
        cx.snooze(cx.store().clock().now()).await
    }
}
