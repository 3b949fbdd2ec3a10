//! The relay: hands due jobs of the ledger to the queue, and keeps the two in step.
//!
//! It wakes by the store's doorbell after a commit, at the instant the next held job is due, and once
//! a minute to reconcile.
//!
//! # Invariants
//! - A row is marked handed before the queue gets it: a crash in between is mended by
//!   [`Relay::reconcile`], while the other order would let a worker meet a row that is not its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ledger::{self, Ticket, Wanted};
use super::port::{Condition, Queue, Trouble};
use super::registry::Registry;
use super::runner::PAUSE;
use crate::base::clock::SharedClock;
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::faults::RELAY_BEFORE_HANDOVER;
use crate::platform::store::Store;

/// Rows per transaction.
const BATCH: u32 = 500;
/// How often ledger and queue are compared and finished rows trimmed.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);

/// After this many jobs finished rows are trimmed at once.
const TRIM_AFTER: usize = 1000;
/// After any job they are trimmed within this time.
const TRIM_WITHIN: Duration = Duration::from_secs(5);

async fn rung(bell: Option<&Notify>) {
    match bell {
        Some(bell) => bell.notified().await,
        None => std::future::pending().await,
    }
}

/// What the relay sees to now and then.
struct Care {
    reconcile_at: Timestamp,
    trim_at: Option<Timestamp>,
    handed: usize,
}

impl Care {
    fn next(&self) -> Timestamp {
        self.trim_at.map_or(self.reconcile_at, |at| at.min(self.reconcile_at))
    }

    /// Nothing is further away than its own interval, unless the clock was set back since: then it is due.
    fn heed_clock(&mut self, now: Timestamp) {
        if self.reconcile_at > now.plus(RECONCILE_EVERY) {
            self.reconcile_at = now;
        }
        self.trim_at = self.trim_at.map(|at| if at > now.plus(TRIM_WITHIN) { now } else { at });
    }
}

/// Moves due jobs from the ledger to the queue.
pub(super) struct Relay {
    pub(super) store: Store,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) registry: Registry,
    pub(super) clock: SharedClock,
    pub(super) stopping: CancellationToken,
    pub(super) trouble: Trouble,
}

impl Relay {
    /// Works until told to stop.
    pub(super) async fn run(&self) {
        let doorbell = self.store.doorbell();
        let forgot = self.queue.forgot();
        let mut care = Care { reconcile_at: self.clock.now().plus(RECONCILE_EVERY), trim_at: None, handed: 0 };
        while !self.stopping.is_cancelled() {
            let result = self.turn(&mut care).await;
            let wake_at = match result {
                Ok(next) => {
                    self.trouble.clear();
                    next.map_or(care.next(), |n| n.min(care.next()))
                }
                Err(problem) => {
                    tracing::warn!(?problem, "due jobs could not be handed to the queue; trying again");
                    let now = self.clock.now();
                    self.trouble.note(now, format!("Jobs are not handed to the queue: {problem}"));
                    // What was marked as handed over and did not arrive is found by comparing.
                    care.reconcile_at = now;
                    now.plus(PAUSE)
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = doorbell.notified() => {}
                () = rung(forgot.as_deref()) => care.reconcile_at = self.clock.now(),
                () = self.clock.sleep_until(wake_at) => {}
            }
        }
    }

    async fn turn(&self, care: &mut Care) -> Result<Option<Timestamp>, Problem> {
        let (handed, next) = self.hand_over_due().await?;
        care.handed += handed;
        let now = self.clock.now();
        care.heed_clock(now);
        let reconcile = now >= care.reconcile_at;
        if reconcile {
            self.reconcile().await?;
            care.reconcile_at = now.plus(RECONCILE_EVERY);
        }
        if care.handed > 0 && care.trim_at.is_none() {
            care.trim_at = Some(now.plus(TRIM_WITHIN));
        }
        if care.handed >= TRIM_AFTER || care.trim_at.is_some_and(|at| at <= now) {
            self.trim().await?;
            // What was handed over just now ends later; one more look follows.
            care.trim_at = (care.handed > 0).then(|| now.plus(TRIM_WITHIN));
            care.handed = 0;
        }
        Ok(next)
    }

    /// Hands over what is due now; answers how many, and when the next is due.
    pub(super) async fn hand_over_due(&self) -> Result<(usize, Option<Timestamp>), Problem> {
        let mut count = 0;
        loop {
            let registry = self.registry.clone();
            // Most wake-ups find nothing; a transaction that changes nothing costs no fsync.
            let (tickets, next) = self
                .store
                .write_in_background(move |tx| {
                    let due = ledger::hand_over_due(tx, BATCH, |name| registry.calls_out(name))?;
                    Ok((due, ledger::next_due(tx)?))
                })
                .await?;
            let handed = tickets.len();
            if handed > 0 {
                self.store.faults().pass(RELAY_BEFORE_HANDOVER).await?;
                self.queue.add(tickets).await?;
                count += handed;
            }
            if handed < BATCH as usize {
                return Ok((count, next));
            }
        }
    }

    /// Gives the queue what it does not know or would start later than the ledger says, and makes it
    /// forget what is over.
    pub(super) async fn reconcile(&self) -> Result<(), Problem> {
        let known = self.queue.list_known().await?;
        let mut over = 0;
        for page in known.chunks(BATCH as usize) {
            let ids: Vec<JobId> = page.iter().filter_map(|known| known.id.parse().ok()).collect();
            let wanted = self.store.read(move |tx| Ok((ledger::wanted(tx, &ids)?, ids))).await?;
            for (id, wanted) in wanted.1.into_iter().zip(wanted.0) {
                if wanted == Wanted::No || wanted == Wanted::Ended && !self.queue.may_reopen() {
                    over += u32::from(self.queue.remove(id).await?);
                }
            }
        }
        let known: HashMap<String, Option<Timestamp>> = known.into_iter().map(|k| (k.id, k.not_before)).collect();
        let in_step = |ticket: &Ticket| match known.get(ticket.foreign_id.as_deref().unwrap_or(ticket.id.as_str())) {
            None => false,
            // One that somebody else put in cannot be moved: it would be there twice.
            Some(_) if ticket.foreign_id.is_some() => true,
            Some(not_before) => not_before.is_none_or(|at| at <= ticket.run_at),
        };
        let mut again = 0;
        let mut after = String::new();
        loop {
            let registry = self.registry.clone();
            let from = after.clone();
            let page = self
                .store
                .read(move |tx| ledger::list_handed(tx, &from, BATCH, |n| registry.calls_out(n)))
                .await?;
            let Some(last) = page.last() else { break };
            after = last.id.as_str().to_owned();
            let missing: Vec<Ticket> = page.into_iter().filter(|t| !in_step(t)).collect();
            again += missing.len();
            let foreign: Vec<JobId> =
                missing.iter().filter(|t| t.foreign_id.is_some()).map(|t| t.id.clone()).collect();
            if !foreign.is_empty() {
                self.store.write_in_background(move |tx| ledger::forget_foreign_ids(tx, &foreign)).await?;
            }
            if !missing.is_empty() {
                self.queue.add(missing).await?;
            }
        }
        if over > 0 || again > 0 {
            tracing::info!(again, over, "the queue was brought in step with the ledger");
        }
        Ok(())
    }

    /// Removes finished rows beyond what is kept.
    pub(super) async fn trim(&self) -> Result<(), Problem> {
        while self.store.write_in_background(ledger::trim).await? >= 2000 {}
        Ok(())
    }

    /// Whether jobs are handed over.
    pub(super) fn condition(&self) -> Condition {
        self.trouble.condition(self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_puts_nothing_off() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let care = |now: i64| {
            let mut care = Care { reconcile_at: at(7_260), trim_at: Some(at(7_205)), handed: 1 };
            care.heed_clock(at(now));
            (care.reconcile_at, care.trim_at, care.next())
        };
        assert_eq!(care(7_200), (at(7_260), Some(at(7_205)), at(7_205)), "a clock that goes on changes nothing");
        assert_eq!(care(3_600), (at(3_600), Some(at(3_600)), at(3_600)), "an hour back: both are due");
        assert_eq!(care(9_000), (at(7_260), Some(at(7_205)), at(7_205)), "a clock that went ahead makes them due anyhow");
    }
}
