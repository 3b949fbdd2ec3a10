//! What a running job may do: read, write while the job is still its own, finish, put off.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use super::ledger::{self, Claim};
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::{Store, Tx};

/// How an attempt stands, as far as the handler told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nothing = 0,
    Completed = 1,
    Snoozed = 2,
}

/// The context of one attempt.
///
/// Its transactions are refused once the job is no longer this attempt's, so that a result which
/// comes too late changes nothing.
#[derive(Debug)]
pub struct JobCx {
    claim: Claim,
    store: Store,
    stopping: CancellationToken,
    told: AtomicU8,
}

impl JobCx {
    pub(super) fn new(claim: Claim, store: Store, stopping: CancellationToken) -> Self {
        Self { claim, store, stopping, told: AtomicU8::new(Told::Nothing as u8) }
    }

    pub(super) fn told(&self) -> Told {
        match self.told.load(Ordering::Acquire) {
            1 => Told::Completed,
            2 => Told::Snoozed,
            _ => Told::Nothing,
        }
    }

    /// The job's id; an idempotency key for outside calls, the same in every attempt.
    pub fn id(&self) -> &JobId {
        &self.claim.id
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.claim.attempt
    }

    /// The business database, for reading; changes go through [`JobCx::page`] and [`JobCx::complete`].
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The last transaction: does `f` and marks the job done, both or neither.
    pub async fn complete<T, F>(&self, f: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let claim = self.claim.clone();
        let value = self
            .store
            .write_in_background(move |tx| {
                ledger::mark_done(tx, &claim)?;
                f(tx)
            })
            .await?;
        self.told.store(Told::Completed as u8, Ordering::Release);
        Ok(value)
    }

    /// The last transaction for now: does `f`, and marks the job done, or puts it off until the instant that
    /// `f` answers, without counting an attempt; both or neither. Return `Ok` right after it.
    pub async fn complete_or_wait<F>(&self, f: F) -> Result<(), Problem>
    where
        F: Fn(&Tx<'_>) -> Result<Option<Timestamp>, Problem> + Send + 'static,
    {
        let claim = self.claim.clone();
        let put_off = self
            .store
            .write_in_background(move |tx| {
                ledger::check_claim(tx, &claim)?;
                let until = f(tx)?;
                match until {
                    Some(until) => ledger::snooze(tx, &claim, until)?,
                    None => ledger::mark_done(tx, &claim)?,
                }
                Ok(until.is_some())
            })
            .await?;
        let told = if put_off { Told::Snoozed } else { Told::Completed };
        self.told.store(told as u8, Ordering::Release);
        Ok(())
    }

    /// A transaction on the way; store a cursor in it, so that the next attempt goes on from there.
    pub async fn page<T, F>(&self, f: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let claim = self.claim.clone();
        self.store
            .write_in_background(move |tx| {
                ledger::check_claim(tx, &claim)?;
                f(tx)
            })
            .await
    }

    /// Whether Tenure is shutting down: finish the page at hand and return an error or snooze.
    pub fn stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Puts the job off until `until` without counting an attempt. Return `Ok` right after it.
    pub async fn snooze(&self, until: Timestamp) -> Result<(), Problem> {
        let claim = self.claim.clone();
        self.store.write_in_background(move |tx| ledger::snooze(tx, &claim, until)).await?;
        self.told.store(Told::Snoozed as u8, Ordering::Release);
        Ok(())
    }
}
