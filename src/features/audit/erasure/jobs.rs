//! The job that erases.

use serde_json::Value;

use super::ops::{self, Wish};
use super::ERASE_STATES;
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::platform::queue::{JobCx, JobFuture, JobHandler};

/// `erase-audit-states`. An attempt that was cut begins again, and finds only what is not erased yet.
#[derive(Debug)]
pub struct EraseStates;

impl JobHandler for EraseStates {
    fn name(&self) -> &'static str {
        ERASE_STATES
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let wish: Wish = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("{ERASE_STATES}: payload {e}; expected what a wish to erase has")))?;
            erase(cx, wish).await
        })
    }
}

async fn erase(cx: &JobCx, wish: Wish) -> Result<(), Problem> {
    let by = Principal { exception: wish.mark.clone(), ..Principal::system(ERASE_STATES) };
    for scope in wish.scopes.clone() {
        let mut after = Some(0);
        while let Some(from) = after {
            let (actor, wish, scope) = (by.clone(), wish.clone(), scope.clone());
            after = cx.page(move |tx| ops::erase_page(tx, &actor, &wish, &scope, from)).await?;
            if cx.stopping() {
                return cx.snooze(cx.store().clock().now()).await;
            }
        }
    }
    Ok(())
}
