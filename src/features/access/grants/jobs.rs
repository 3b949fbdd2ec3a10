//! The jobs that call connected systems: look first, act, look again.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::ops::{self, Begin, Failed};
use super::{Wanted, Work};
use crate::base::access::Principal;
use crate::base::id::GrantId;
use crate::base::problem::Problem;
use crate::features::access::entitlements::{SharedCalls, presence};
use crate::features::access::names;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names as jobs, retry};

/// The handlers of this file.
pub fn handlers(calls: SharedCalls) -> Vec<Arc<dyn JobHandler>> {
    vec![
        Arc::new(CarryGrant { calls: Arc::clone(&calls), wanted: Wanted::Present }),
        Arc::new(CarryGrant { calls, wanted: Wanted::Absent }),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    grant_id: GrantId,
}

/// `provision-grant` and `deprovision-grant`: the same steps in two directions.
pub struct CarryGrant {
    calls: SharedCalls,
    wanted: Wanted,
}

impl JobHandler for CarryGrant {
    fn name(&self) -> &'static str {
        match self.wanted {
            Wanted::Present => jobs::PROVISION_GRANT,
            Wanted::Absent => names::DEPROVISION_GRANT,
        }
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let payload: Payload = serde_json::from_value(payload).map_err(|e| {
                Problem::refused(format!("{}: payload {e}; expected {{\"grantId\": \"grt_…\"}}", self.name()))
            })?;
            self.carry(cx, payload.grant_id).await
        })
    }
}

/// Why the connected system does not stand as wanted.
struct Obstacle {
    problem: Problem,
    contradicted: bool,
}

impl From<Problem> for Obstacle {
    fn from(problem: Problem) -> Self {
        Self { problem, contradicted: false }
    }
}

impl CarryGrant {
    async fn carry(&self, cx: &JobCx, grant: GrantId) -> Result<(), Problem> {
        let (by, wanted) = (Principal::system(self.name()), self.wanted);
        let (as_whom, job, id) = (by.clone(), cx.id().clone(), grant.clone());
        let begun = cx.page(move |tx| ops::begin(tx, &as_whom, &job, &id, wanted)).await?;
        let (generation, obstacle) = match begun {
            Begin::Done => return Ok(()),
            Begin::Busy(until) => return cx.snooze(until).await,
            Begin::Cannot { generation, why } => (generation, Obstacle::from(why)),
            Begin::Go(work) => match self.reach(&work).await {
                Ok(()) => return cx.complete(move |tx| ops::confirm(tx, &by, &work)).await,
                Err(obstacle) => (work.generation, obstacle),
            },
        };
        let failed = Failed {
            why: obstacle.problem.to_string(),
            last: retry::delay_after(cx.attempt()).is_none(),
            contradicted: obstacle.contradicted,
        };
        cx.page(move |tx| ops::note_failure(tx, &by, (&grant, generation, wanted), &failed)).await?;
        Err(obstacle.problem)
    }

    /// Makes the connected system stand as wanted. What stands so is left, unless it was given with an earlier end.
    /// No transaction is open.
    async fn reach(&self, work: &Work) -> Result<(), Obstacle> {
        if !work.is_again() && self.stands(work).await? == Some(true) {
            return Ok(());
        }
        self.calls.call(&work.calls.connector_id, work.act(), &work.key()).await?;
        if self.stands(work).await? == Some(false) {
            let problem = Problem::refused(format!(
                "The connected system took the command {} and its check says it had no effect.",
                work.act().command
            ));
            return Err(Obstacle { problem, contradicted: true });
        }
        Ok(())
    }

    /// Whether it stands as wanted; nothing when it cannot be asked.
    async fn stands(&self, work: &Work) -> Result<Option<bool>, Problem> {
        let Some(check) = &work.calls.check else { return Ok(None) };
        // A check changes nothing; its key differs so that no stored answer is taken for a look.
        let key = format!("{}-check", work.key());
        let output = self.calls.call(&work.calls.connector_id, check, &key).await?;
        Ok(Some(presence(&output)? == (work.wanted == Wanted::Present)))
    }
}
