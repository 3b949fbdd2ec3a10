//! The job that reads the whole log again.

use std::time::Duration;

use serde_json::Value;

use super::ops::{self, Reading};
use super::{AUDIT_VERIFY, Finding, Paused};
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::features::audit::verify::{PAGE, Verdict, Walk};
use crate::features::checkpoints::ops::Kept;
use crate::features::checkpoints::service::{Asked, Checkpoints, shown};
use crate::platform::metrics::Stopwatch;
use crate::platform::queue::{JobCx, JobFuture, JobHandler};

/// After so many pages it is noted how far the reading came: some seconds' work is lost in a crash.
const NOTED_AFTER: u32 = 128;

/// `audit-verify`: reads the log page by page, each in a short transaction of its own; one that is stopped goes on
/// where it was.
#[derive(Debug)]
pub struct AuditVerify {
    /// Who knows the places.
    pub checkpoints: Checkpoints,
    /// `AUDIT_VERIFY_SCHEDULE`.
    pub schedule: Schedule,
}

impl JobHandler for AuditVerify {
    fn name(&self) -> &'static str {
        AUDIT_VERIFY
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(self.schedule.clone())
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(self.verify(cx))
    }
}

/// How a reading ended.
enum Ended {
    /// At the end of the log, or at a fault.
    With(Verdict, Duration),
    /// Tenure goes down; it goes on where it was.
    Stopped,
}

impl AuditVerify {
    async fn verify(&self, cx: &JobCx) -> Result<(), Problem> {
        let Asked { kept, silent } = self.checkpoints.ask().await;
        match read(cx, kept).await {
            Ok(Ended::Stopped) => cx.snooze(cx.store().clock().now()).await,
            Ok(Ended::With(verdict, duration)) => {
                let finding = Finding { verdict, unknown: None, silent, duration };
                cx.complete(move |tx| ops::end(tx, &finding)).await
            }
            Err(problem) => {
                let finding = Finding { verdict: Verdict::default(), unknown: Some(shown(&problem)), silent, duration: Duration::ZERO };
                cx.page(move |tx| ops::conclude(tx, &finding)).await?;
                Err(problem)
            }
        }
    }
}

async fn read(cx: &JobCx, kept: Vec<Kept>) -> Result<Ended, Problem> {
    let watch = Stopwatch::start();
    let reading = match cx.store().read(move |tx| ops::go_on(tx, &kept)).await? {
        Ok(reading) => reading,
        Err(fault) => return Ok(Ended::With(Verdict::of(fault), Duration::ZERO)),
    };
    let Reading { mut walk, left_behind, begun_at, before } = reading;
    let taken = || before + Duration::from_secs_f64(watch.seconds());
    let mut pages = 0_u32;
    loop {
        let (walked, more) = page(cx, walk).await?;
        walk = walked;
        if !more {
            return Ok(Ended::With(Verdict { left_behind, ..walk.verdict() }, taken()));
        }
        pages += 1;
        if (pages.is_multiple_of(NOTED_AFTER) || cx.stopping())
            && let Some(position) = walk.position()
        {
            let paused = Paused { position, begun_at, duration: taken() };
            cx.page(move |tx| ops::pause(tx, &paused)).await?;
        }
        if cx.stopping() {
            return Ok(Ended::Stopped);
        }
    }
}

async fn page(cx: &JobCx, mut walk: Walk) -> Result<(Walk, bool), Problem> {
    let read = cx.store().read(move |tx| {
        let more = walk.page(tx, PAGE)?;
        Ok((walk, more))
    });
    read.await
}
