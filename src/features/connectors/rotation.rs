//! Sealing every stored secret anew under the present key, while Tenure runs.
//!
//! # Invariants
//! - Each page is a transaction of its own: what a stop leaves undone is done by the next rotation, which
//!   skips what is done.
//! - A secret that no key opens is counted and named, and keeps none of the others from being rotated.
//!
//! # Not here
//! That it takes two people where the rule says so: that is `workflow::exceptions`, the only way to this.

use serde::Serialize;
use serde_json::json;

use super::{ops, store};
use crate::base::access::Principal;
use crate::base::id::TypedId;
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::second_factor::{self, ops::Resealed};
use crate::features::notifications::{self, Message};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::secrets::SecretBox;
use crate::platform::store::{Store, Tx};

/// The job that seals them once two people agreed.
pub const ROTATE_KEYS: &str = "rotate-connector-keys";

/// Secrets that are sealed in one transaction.
const PAGE: u32 = 50;
/// Failures that are named.
const NAMED: usize = 100;

/// What a rotation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rotation {
    /// Secrets that there are.
    pub total: u32,
    /// Sealed anew.
    pub rotated: u32,
    /// Under the present key already.
    pub skipped: u32,
    /// Opened by neither the present nor the previous key.
    pub failed: u32,
    /// Those, as `connector id/name of the secret`; the first hundred.
    pub failures: Vec<String>,
}

impl Rotation {
    /// Adds what another page did.
    pub(super) fn add(&mut self, page: Self) {
        self.total += page.total;
        self.rotated += page.rotated;
        self.skipped += page.skipped;
        self.failed += page.failed;
        let room = NAMED.saturating_sub(self.failures.len());
        self.failures.extend(page.failures.into_iter().take(room));
    }
}

/// Seals every secret of every connector under the present key.
pub async fn rotate_keys(store: &Store, secrets: &SecretBox, by: &Principal) -> Result<Rotation, Problem> {
    let (mut all, mut after) = (Rotation::default(), (String::new(), String::new()));
    loop {
        let (sealer, actor, from) = (secrets.clone(), by.clone(), after.clone());
        let (page, next) = store.write(move |tx| rotate_page(tx, &actor, &sealer, &from)).await?;
        all.add(page);
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    let (actor, done, key) = (by.clone(), all.clone(), secrets.key_id());
    store.write(move |tx| record(tx, &actor, "connector.keys_rotated", &done, &key)).await?;
    Ok(all)
}

/// Has the secrets sealed anew by a job, in the name of whoever stands behind it.
pub fn begin(tx: &Tx<'_>, by: &Principal) -> Result<(), Problem> {
    enqueue(tx, JobDraft::now(ROTATE_KEYS, json!({ "mark": by.exception }))).map(drop)
}

/// Writes down what the job did, and tells whoever stands behind it.
pub(super) fn end(tx: &Tx<'_>, by: &Principal, done: &Rotation, key: &str) -> Result<(), Problem> {
    record(tx, by, "connector.keys_rotated", done, key)?;
    let people = by.exception.iter().flat_map(|mark| [mark.requested_by.clone(), mark.decided_by.clone()]);
    let people: Vec<_> = people.flatten().collect();
    notifications::ops::notify(tx, &people, message(done))
}

fn message(done: &Rotation) -> Message {
    let Rotation { total, rotated, skipped, failed, failures } = done;
    let counts = format!("{total} secrets: {rotated} sealed anew, {skipped} under the present key already.");
    let (subject, body) = match failed {
        0 => (
            "The secrets of the connectors are sealed under the present key".to_owned(),
            format!("{counts} From the next start on CONNECTOR_ENCRYPTION_KEY_PREVIOUS is not needed any more."),
        ),
        _ => (
            format!("{failed} secrets of connectors could not be sealed anew"),
            format!(
                "{counts} {failed} were opened by neither key: {}. Give the key they were stored under as \
                 CONNECTOR_ENCRYPTION_KEY_PREVIOUS and ask again, or enter them again.",
                failures.join(", ")
            ),
        ),
    };
    Message { subject, body, link: Some("/connectors".to_owned()), kind: "connector" }
}

/// A connector and the name of a secret; or [`FACTORS`] and an account.
pub(super) type Place = (String, String);

/// The part of a rotation that comes after the connectors: second factors of accounts. No id begins so.
const FACTORS: &str = "~second-factor";

/// One page; where the next one begins, when there may be one.
pub(super) fn rotate_page(
    tx: &Tx<'_>,
    by: &Principal,
    secrets: &SecretBox,
    after: &Place,
) -> Result<(Rotation, Option<Place>), Problem> {
    if after.0 == FACTORS {
        return rotate_factors(tx, by, secrets, &after.1);
    }
    let found = store::list_all_secrets(tx, after, PAGE)?;
    let last = found.last().filter(|_| found.len() == PAGE as usize);
    let next = last.map_or_else(|| (FACTORS.to_owned(), String::new()), |(id, name, _)| (id.to_string(), name.clone()));
    let mut page = Rotation::default();
    for (id, name, sealed) in found {
        page.total += 1;
        if secrets.is_current(&sealed) && secrets.open(ops::place(&id, &name), &sealed).is_ok() {
            page.skipped += 1;
        } else if let Ok(plain) = secrets.open(ops::place(&id, &name), &sealed) {
            ops::put_secret(tx, &id, &name, &plain, secrets)?;
            page.rotated += 1;
        } else {
            page.failed += 1;
            page.failures.push(format!("{}/{name}", id.as_str()));
        }
    }
    if page.rotated > 0 {
        record(tx, by, "connector.secrets_resealed", &page, &secrets.key_id())?;
    }
    Ok((page, Some(next)))
}

fn rotate_factors(
    tx: &Tx<'_>,
    by: &Principal,
    secrets: &SecretBox,
    after: &str,
) -> Result<(Rotation, Option<Place>), Problem> {
    let done = second_factor::ops::reseal_page(tx, secrets, after, PAGE)?;
    let last = done.last().filter(|_| done.len() == PAGE as usize);
    let next = last.map(|(account, _)| (FACTORS.to_owned(), account.to_string()));
    let mut page = Rotation::default();
    for (account, outcome) in done {
        page.total += 1;
        match outcome {
            Resealed::Done => page.rotated += 1,
            Resealed::Skipped => page.skipped += 1,
            Resealed::Failed => {
                page.failed += 1;
                page.failures.push(format!("{}/second factor", account.as_str()));
            }
        }
    }
    if page.rotated > 0 {
        record(tx, by, "connector.secrets_resealed", &page, &secrets.key_id())?;
    }
    Ok((page, next))
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, done: &Rotation, key: &str) -> Result<(), Problem> {
    audit::append(tx, by, Entry {
        action,
        entity: "connector_keys",
        entity_id: key.to_owned(),
        reason: None,
        prev: None,
        new: Some(json!(done)),
    })
}
