//! How far the log goes, told after each COMMIT that lengthened it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::base::problem::Problem;
use crate::features::audit::{AuditJournal, store};
use crate::platform::store::{Draft, Journal, Tx};

/// Knows how far the log goes. Clones share it.
#[derive(Debug, Clone)]
pub struct Head(Arc<watch::Sender<u64>>);

impl Default for Head {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Head {
    /// Wakes when the log grew.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// The audit journal, and the news of what it appended.
#[derive(Debug)]
pub struct LiveJournal {
    journal: AuditJournal,
    head: Head,
}

impl LiveJournal {
    /// A journal that tells `head`.
    pub fn new(head: Head) -> Self {
        Self { journal: AuditJournal, head }
    }
}

impl Journal for LiveJournal {
    fn append(&self, tx: &Tx<'_>, drafts: Vec<Draft>) -> Result<(), Problem> {
        self.journal.append(tx, drafts)?;
        let seq = store::head(tx)?.map_or(0, |(seq, _)| seq);
        let head = self.head.clone();
        tx.after_commit(move || {
            head.0.send_replace(seq);
        });
        Ok(())
    }
}
