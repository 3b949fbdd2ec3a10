//! Removing content that no document refers to.
//!
//! # Invariants
//! - Content goes once nothing has referred to it for [`KEPT`]; exactly that long ago is long enough.
//! - Whether it goes is decided in a write transaction, which forgets its row and writes the audit
//!   entry. The file goes after that, when no row has come back; a second time does nothing.
//! - A file without a row goes once it is [`KEPT`] old: what an upload that failed, or a crash between
//!   a row and its file, left behind.

use std::time::Duration;

use serde_json::json;

use super::store;
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::platform::blobs::{BlobHash, BlobStore};
use crate::platform::queue::JobCx;
use crate::platform::store::Tx;

/// How long content is kept that nothing refers to.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Contents that one transaction forgets, and files that are removed under one hold of the gate.
const PAGE: u32 = 100;

/// How far a removal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// Nothing is left.
    Whole,
    /// Tenure is shutting down.
    Stopped,
}

/// Forgets content that nothing refers to, then removes every file without a row; `now` is an instant at or
/// after which the clock was found to be right.
pub async fn sweep(cx: &JobCx, by: &Principal, blobs: &BlobStore, now: Timestamp) -> Result<Swept, Problem> {
    let until = now.minus(KEPT);
    match forget_unreferenced(cx, by, blobs, until).await? {
        Swept::Whole => remove_strays(cx, by, blobs, until).await,
        Swept::Stopped => Ok(Swept::Stopped),
    }
}

async fn forget_unreferenced(
    cx: &JobCx,
    by: &Principal,
    blobs: &BlobStore,
    until: Timestamp,
) -> Result<Swept, Problem> {
    let mut after = None;
    loop {
        if cx.stopping() {
            return Ok(Swept::Stopped);
        }
        let from = after.clone();
        // Most content is old and referred to: it is passed over without keeping writers waiting.
        let page = cx.store().read(move |tx| store::list_old_blobs(tx, until, from.as_ref(), PAGE)).await?;
        let Some((last, _)) = page.last() else { return Ok(Swept::Whole) };
        after = Some(last.clone());
        let unused: Vec<_> =
            page.iter().filter(|(_, used)| !used).filter_map(|((_, hash), _)| BlobHash::parse(hash)).collect();
        if unused.is_empty() {
            continue;
        }
        let who = by.clone();
        let gone = cx.page(move |tx| forget(tx, &who, &unused, until)).await?;
        blobs.pass("blobs:before_removal")?;
        remove_without_row(cx, blobs, gone).await?;
    }
}

async fn remove_strays(cx: &JobCx, by: &Principal, blobs: &BlobStore, until: Timestamp) -> Result<Swept, Problem> {
    for prefix in 0..=u8::MAX {
        let old = blobs.list(prefix, until).await?;
        for page in old.chunks(PAGE as usize) {
            if cx.stopping() {
                return Ok(Swept::Stopped);
            }
            let strays = without_row(cx, page.to_vec()).await?;
            if strays.is_empty() {
                continue;
            }
            // Audited before it is done: a file and a transaction cannot commit together.
            let (who, told) = (by.clone(), strays.clone());
            cx.page(move |tx| record(tx, &who, "blob.stray_removed", &told)).await?;
            remove_without_row(cx, blobs, strays).await?;
        }
    }
    Ok(Swept::Whole)
}

/// Looks again, in the transaction that decides; answers what is forgotten.
fn forget(tx: &Tx<'_>, by: &Principal, unused: &[BlobHash], until: Timestamp) -> Result<Vec<BlobHash>, Problem> {
    let mut gone = Vec::new();
    for hash in unused {
        if store::delete_unreferenced_blob(tx, hash.as_str(), until)? {
            gone.push(hash.clone());
        }
    }
    if !gone.is_empty() {
        record(tx, by, "blob.removed", &gone)?;
    }
    Ok(gone)
}

async fn without_row(cx: &JobCx, hashes: Vec<BlobHash>) -> Result<Vec<BlobHash>, Problem> {
    cx.store()
        .read(move |tx| {
            let mut strays = Vec::new();
            for hash in &hashes {
                if !store::has_blob(tx, hash.as_str())? {
                    strays.push(hash.clone());
                }
            }
            Ok(strays)
        })
        .await
}

/// Looks again while nothing can be placed: the same content may have come back since.
async fn remove_without_row(cx: &JobCx, blobs: &BlobStore, hashes: Vec<BlobHash>) -> Result<(), Problem> {
    if hashes.is_empty() {
        return Ok(());
    }
    let sweep = blobs.sweep().await;
    for hash in without_row(cx, hashes).await? {
        sweep.remove(&hash).await?;
    }
    Ok(())
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, gone: &[BlobHash]) -> Result<(), Problem> {
    let hashes: Vec<_> = gone.iter().map(BlobHash::as_str).collect();
    audit::append(
        tx,
        by,
        Entry {
            action,
            entity: "blob",
            entity_id: "blobs".to_owned(),
            reason: None,
            prev: Some(json!({ "sha256": hashes })),
            new: None,
        },
    )
}
