//! Jobs: administrators are told of a doubt; what stood back goes on once it is settled.

use std::sync::Arc;

use serde_json::Value;

use super::ops;
use crate::base::problem::Problem;
use crate::features::timekeeping::{self, RESUME_EXPIRY, TELL_DOUBT};
use crate::features::workflow::runs;
use crate::platform::queue::{JobCx, JobFuture, JobHandler};

/// How many jobs one transaction lets go.
const PAGE: u32 = 500;

/// The handlers of this file.
pub fn handlers() -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(TellDoubt), Arc::new(ResumeExpiry)]
}

/// Tells administrators that the clock is in doubt.
#[derive(Debug)]
pub struct TellDoubt;

impl JobHandler for TellDoubt {
    fn name(&self) -> &'static str {
        TELL_DOUBT
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(cx.complete(ops::tell))
    }
}

/// Lets what stood back go on. Each page is a transaction and looks at what is left, so that an attempt which
/// was cut is taken up by the next one; a new doubt ends it, and what is left waits for the next confirmation.
#[derive(Debug)]
pub struct ResumeExpiry;

impl JobHandler for ResumeExpiry {
    fn name(&self) -> &'static str {
        RESUME_EXPIRY
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(resume(cx))
    }
}

async fn resume(cx: &JobCx) -> Result<(), Problem> {
    // Time that was in doubt is no lack of progress: before anything else calls these runs stuck.
    let before = cx.store().clock().now();
    while cx.page(move |tx| runs::ops::take_up_page(tx, before, "Taken up again after the clock was confirmed")).await? > 0 {
        if cx.stopping() {
            return cx.snooze(cx.store().clock().now()).await;
        }
    }
    while cx.page(|tx| timekeeping::ops::let_go(tx, PAGE)).await? > 0 {
        if cx.stopping() {
            return cx.snooze(cx.store().clock().now()).await;
        }
    }
    cx.complete(ops::check_now).await
}
