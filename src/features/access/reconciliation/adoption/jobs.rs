//! The job that adopts many accounts, page by page.

use serde::Deserialize;
use serde_json::Value;

use super::ops;
use crate::base::id::AdoptionId;
use crate::base::problem::Problem;
use crate::features::access::names;
use crate::platform::queue::{JobCx, JobFuture, JobHandler};

/// Accounts that one transaction adopts.
const PAGE: u32 = 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    adoption_id: AdoptionId,
}

/// `adopt-accounts`.
#[derive(Debug)]
pub struct AdoptAccounts;

impl JobHandler for AdoptAccounts {
    fn name(&self) -> &'static str {
        names::ADOPT_ACCOUNTS
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let Payload { adoption_id } = serde_json::from_value(payload).map_err(|e| {
                Problem::refused(format!("{}: payload {e}; expected {{\"adoptionId\": \"ado_…\"}}", self.name()))
            })?;
            loop {
                let id = adoption_id.clone();
                if !cx.page(move |tx| ops::adopt_page(tx, &id, PAGE)).await? {
                    return Ok(());
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
        })
    }
}
