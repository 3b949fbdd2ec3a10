//! Checkpoints and proofs over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::service::Checkpoints;
use super::store::{self, Copy};
use super::verification::{self, Finding, Outcome, Remembered};
use super::{DOWN_AFTER, Reason, Record, RefusalKind};
use crate::base::access::may;
use crate::base::cron::Schedule;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::store::StoredNodes;
use crate::features::audit::verify::Fault;
use crate::features::audit::{self, encode_hash, keys, merkle, proof};
use crate::platform::http::{Allowed, Failure, Params, Routes};
use crate::platform::store::{Store, Tx};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct CheckpointsApi {
    /// The business database.
    pub store: Store,
    /// Who makes them.
    pub checkpoints: Checkpoints,
    /// `AUDIT_CHECKPOINT_SCHEDULE`.
    pub schedule: Schedule,
    /// `AUDIT_VERIFY_SCHEDULE`.
    pub verify_schedule: Schedule,
}

/// The routes of checkpoints.
pub fn routes(state: CheckpointsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_checkpoints, make_checkpoint))
        .routes(routes!(get_state))
        .routes(routes!(get_checkpoint))
        .routes(routes!(get_key))
        .routes(routes!(get_proof))
        .routes(routes!(verify))
        .with_state(state)
}

/// A signed statement of how far the audit log went.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct CheckpointBody {
    /// How many entries the log had.
    size: u64,
    /// Base64 of the root of the tree over them.
    root: String,
    /// When it was made.
    at: Timestamp,
    /// The name of the log.
    origin: String,
    /// It as it is signed, in the form of C2SP `tlog-checkpoint`.
    note: String,
    /// Why it was made.
    reason: Reason,
    /// Where it is kept, or is to be.
    stores: Vec<CopyBody>,
}

/// A checkpoint in one place.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct CopyBody {
    /// `file`, `s3` or `siem`.
    store: String,
    /// Whether it is there.
    state: CopyState,
    /// How often it was tried.
    attempts: u32,
    /// Since when it is there.
    stored_at: Option<Timestamp>,
    /// Why the last attempt failed.
    error: Option<String>,
    /// When the next attempt is.
    next_attempt_at: Option<Timestamp>,
}

/// Whether a checkpoint is in its place.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum CopyState {
    /// It is there.
    Stored,
    /// It is on its way.
    Pending,
    /// Nobody tries to bring it there: `AUDIT_CHECKPOINT_STORE` does not name the place any more.
    Dropped,
}

impl CopyBody {
    fn new(copy: Copy, places: &[&str]) -> Self {
        Self {
            state: match copy.stored_at {
                Some(_) => CopyState::Stored,
                None if places.contains(&copy.place.as_str()) => CopyState::Pending,
                None => CopyState::Dropped,
            },
            store: copy.place,
            attempts: copy.attempts,
            stored_at: copy.stored_at,
            error: copy.error,
            next_attempt_at: copy.next_attempt_at,
        }
    }
}

fn body(tx: &Tx<'_>, record: Record, places: &[&str]) -> Result<CheckpointBody, Problem> {
    let copies = store::list_copies(tx, record.number)?;
    let stores = copies.into_iter().map(|copy| CopyBody::new(copy, places)).collect();
    Ok(CheckpointBody {
        size: record.checkpoint.size,
        root: encode_hash(&record.checkpoint.root),
        at: record.made_at,
        origin: record.checkpoint.origin,
        note: record.note,
        reason: record.reason,
        stores,
    })
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Checkpoints, newest first.
#[utoipa::path(get, path = "/api/audit/checkpoints", tag = "audit", params(ListParams),
    responses((status = 200, body = Page<CheckpointBody>)))]
async fn list_checkpoints(
    _: Allowed<may::AuditRead>,
    State(api): State<CheckpointsApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<CheckpointBody>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let expected = || Problem::field("cursor", "expected nextCursor of the page before");
    let before = params.cursor.as_deref().map(|text| text.parse().map_err(|_| expected())).transpose()?;
    let places = api.checkpoints.places();
    let page = api.store.read(move |tx| {
        let page = Page::cut(store::list(tx, before, limit + 1)?, limit, |record| record.number.to_string());
        let items = page.items.into_iter().map(|record| body(tx, record, &places)).collect::<Result<_, _>>()?;
        Ok(Page { items, next_cursor: page.next_cursor })
    });
    Ok(Json(page.await?))
}

/// Signs for the log as it is now. A log that is not what a kept checkpoint says is not signed for: 409 with why.
#[utoipa::path(post, path = "/api/audit/checkpoints", tag = "audit",
    responses((status = 200, body = CheckpointBody), (status = 409)))]
async fn make_checkpoint(
    _: Allowed<may::SettingsWrite>,
    State(api): State<CheckpointsApi>,
) -> Result<Json<CheckpointBody>, Failure> {
    let record = api.checkpoints.make(Reason::Manual).await?;
    let places = api.checkpoints.places();
    Ok(Json(api.store.read(move |tx| body(tx, record, &places)).await?))
}

/// The newest checkpoint of just so many entries.
#[utoipa::path(get, path = "/api/audit/checkpoints/{size}", tag = "audit", params(("size" = u64, Path)),
    responses((status = 200, body = CheckpointBody), (status = 404)))]
async fn get_checkpoint(
    _: Allowed<may::AuditRead>,
    State(api): State<CheckpointsApi>,
    Path(size): Path<String>,
) -> Result<Json<CheckpointBody>, Failure> {
    let missing = || Problem::missing("checkpoint", &size);
    let number: u64 = size.parse().map_err(|_| missing())?;
    let places = api.checkpoints.places();
    let found = api.store.read(move |tx| {
        store::find_of_size(tx, number)?.map(|record| body(tx, record, &places)).transpose()
    });
    Ok(Json(found.await?.ok_or_else(missing)?))
}

/// How the checkpoints are: how old, and what each place has.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct CheckpointState {
    /// The schedule, in cron's form, UTC.
    schedule: String,
    /// When the next one is made.
    next_at: Option<Timestamp>,
    /// The newest one.
    newest: Option<NewestBody>,
    /// How many entries it does not cover.
    entries_since: u64,
    /// Whether one should have been made already.
    overdue: bool,
    /// Why nothing is signed.
    refused: Option<RefusedBody>,
    /// The places.
    stores: Vec<PlaceBody>,
    /// What was found when the whole log was read last.
    last_verification: Option<RememberedBody>,
    /// When it is read next.
    next_verification_at: Option<Timestamp>,
}

/// What was found when the whole log was read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct FindingBody {
    /// What can be said.
    outcome: Outcome,
    /// Why nobody can tell, if so.
    detail: Option<String>,
    /// Rows read.
    rows: u64,
    /// States that were erased; the proof of their rows holds.
    erased: u64,
    /// Signed checkpoints that the rows were compared with.
    checkpoints_checked: u64,
    /// Checkpoints of entries that were left behind when the log was put back from a backup.
    left_behind: u64,
    /// The first fault, if there is one.
    fault: Option<Fault>,
    /// Places that did not answer when they were asked for their newest checkpoint.
    silent: Vec<String>,
    /// How long it took.
    duration_ms: u64,
}

impl From<Finding> for FindingBody {
    fn from(finding: Finding) -> Self {
        Self {
            outcome: finding.outcome(),
            detail: finding.unknown,
            rows: finding.verdict.rows,
            erased: finding.verdict.erased,
            checkpoints_checked: finding.verdict.checkpoints_checked,
            left_behind: finding.verdict.left_behind,
            fault: finding.verdict.fault,
            silent: finding.silent,
            duration_ms: u64::try_from(finding.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The same, and when it was.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RememberedBody {
    /// When the reading ended.
    at: Timestamp,
    /// What was found.
    #[serde(flatten)]
    finding: FindingBody,
}

impl From<Remembered> for RememberedBody {
    fn from(Remembered { finding, at }: Remembered) -> Self {
        Self { at, finding: finding.into() }
    }
}

/// The newest checkpoint.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct NewestBody {
    /// How many entries it covers.
    size: u64,
    /// When it was made.
    at: Timestamp,
}

/// Why nothing is signed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RefusedBody {
    /// Since when.
    at: Timestamp,
    /// What is wrong.
    kind: RefusalKind,
    /// In words.
    detail: String,
}

/// A place that checkpoints are kept in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlaceBody {
    /// `file`, `s3` or `siem`.
    store: &'static str,
    /// Where that is.
    place: String,
    /// How it is.
    state: PlaceState,
    /// Why the last attempt failed.
    detail: Option<String>,
    /// Entries of the newest checkpoint that it has.
    newest_size: Option<u64>,
    /// How many checkpoints it still lacks.
    pending: u64,
}

/// How a place is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum PlaceState {
    /// It has everything, or is about to.
    Ok,
    /// The last attempts failed.
    Retrying,
    /// So many failed that somebody should look.
    Down,
}

fn place(tx: &Tx<'_>, name: &'static str, place: String) -> Result<PlaceBody, Problem> {
    let oldest = store::find_pending(tx, name)?;
    let failed = oldest.as_ref().map_or(0, |copy| copy.attempts);
    Ok(PlaceBody {
        store: name,
        place,
        state: match failed {
            0 => PlaceState::Ok,
            n if n < DOWN_AFTER => PlaceState::Retrying,
            _ => PlaceState::Down,
        },
        detail: oldest.and_then(|copy| copy.error),
        newest_size: store::find_newest_size(tx, name)?,
        pending: store::count_pending(tx, name)?,
    })
}

/// How the checkpoints are: how old, and what each place has.
#[utoipa::path(get, path = "/api/audit/checkpoints/state", tag = "audit", responses((status = 200, body = CheckpointState)))]
async fn get_state(_: Allowed<may::AuditRead>, State(api): State<CheckpointsApi>) -> Result<Json<CheckpointState>, Failure> {
    let keeps: Vec<_> = api.checkpoints.keeps().iter().map(|keep| (keep.name(), keep.place())).collect();
    let (schedule, verify) = (api.schedule.clone(), api.verify_schedule.clone());
    let state = api.store.read(move |tx| {
        let newest = store::find_newest(tx)?;
        let covered = newest.as_ref().map_or(0, |record| record.checkpoint.size);
        let head = audit::store::head(tx)?.map_or(0, |(size, _)| size);
        Ok(CheckpointState {
            schedule: schedule.text().to_owned(),
            next_at: schedule.next_after(tx.now()),
            overdue: super::is_overdue(newest.as_ref(), &schedule, tx.now()),
            newest: newest.map(|record| NewestBody { size: record.checkpoint.size, at: record.made_at }),
            entries_since: head.saturating_sub(covered),
            refused: store::find_refusal(tx)?
                .map(|(refusal, at)| RefusedBody { at, kind: refusal.kind, detail: refusal.detail }),
            stores: keeps.into_iter().map(|(name, at)| place(tx, name, at)).collect::<Result<_, _>>()?,
            last_verification: verification::store::find(tx)?.map(Into::into),
            next_verification_at: verify.next_after(tx.now()),
        })
    });
    Ok(Json(state.await?))
}

/// Whom to believe about the log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    /// The key in the form of C2SP `signed-note`.
    verifier_key: String,
    /// Its name, which is the log's.
    name: String,
    /// Its number, 8 hexadecimal digits.
    key_id: String,
    /// Keys that signed before it.
    earlier: Vec<String>,
}

/// The key that an outsider checks checkpoints with.
#[utoipa::path(get, path = "/api/audit/key", tag = "audit", responses((status = 200, body = KeyBody)))]
async fn get_key(_: Allowed<may::AuditRead>, State(api): State<CheckpointsApi>) -> Result<Json<KeyBody>, Failure> {
    let mut known = api.store.read(keys::list).await?;
    let key = known.keys.pop().ok_or_else(|| Problem::internal("the audit log has no key"))?;
    Ok(Json(KeyBody {
        verifier_key: key.to_string(),
        name: key.name().to_owned(),
        key_id: format!("{:08x}", key.id()),
        earlier: known.keys.iter().map(ToString::to_string).collect(),
    }))
}

/// The proof that an entry is in the log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProofBody {
    /// Which entry.
    seq: u64,
    /// The same, counted from 0.
    index: u64,
    /// Entries of the checkpoint that it leads to.
    size: u64,
    /// Base64 of the entry as it was hashed.
    leaf: String,
    /// Base64 of its hash.
    leaf_hash: String,
    /// Base64 of the root.
    root: String,
    /// Base64 of the hashes from the entry to the root.
    path: Vec<String>,
    /// The signed checkpoint.
    checkpoint: String,
    /// All of it as a text, in the form of C2SP `tlog-proof`.
    proof: String,
}

/// The proof that an entry is in the log that the newest checkpoint is of; 409 while no checkpoint covers it.
#[utoipa::path(get, path = "/api/audit/{seq}/proof", tag = "audit", params(("seq" = u64, Path)),
    responses((status = 200, body = ProofBody), (status = 404), (status = 409)))]
async fn get_proof(
    _: Allowed<may::AuditRead>,
    State(api): State<CheckpointsApi>,
    Path(seq): Path<String>,
) -> Result<Json<ProofBody>, Failure> {
    let missing = || Problem::missing("audit entry", &seq);
    let number: u64 = seq.parse().map_err(|_| missing())?;
    let found = api.store.read(move |tx| {
        audit::store::find_leaf(tx, number)?.map(|row| prove(tx, row)).transpose()
    });
    Ok(Json(found.await?.ok_or_else(missing)?))
}

fn prove(tx: &Tx<'_>, row: audit::store::StoredLeaf) -> Result<ProofBody, Problem> {
    let uncovered = || {
        Problem::Conflict(format!(
            "No checkpoint covers entry {} yet. Make one now, or wait for the next by schedule.",
            row.seq
        ))
    };
    let record = store::find_newest(tx)?.filter(|record| record.checkpoint.size >= row.seq).ok_or_else(uncovered)?;
    let (index, size) = (row.seq - 1, record.checkpoint.size);
    let path = merkle::inclusion(index, size, &StoredNodes(tx))?;
    Ok(ProofBody {
        seq: row.seq,
        index,
        size,
        leaf: STANDARD.encode(&row.leaf),
        leaf_hash: encode_hash(&row.leaf_hash),
        root: encode_hash(&record.checkpoint.root),
        proof: proof::text(index, &path, &record.note),
        path: path.iter().map(|hash| encode_hash(hash)).collect(),
        checkpoint: record.note,
    })
}

/// Reads the whole log again and says whether it is what was written, and what was signed: compared with every
/// checkpoint that was made, and with the newest of each place. What is found is remembered; while a fault stands,
/// nothing is signed.
#[utoipa::path(post, path = "/api/audit/verify", tag = "audit", responses((status = 200, body = FindingBody)))]
async fn verify(_: Allowed<may::AuditRead>, State(api): State<CheckpointsApi>) -> Result<Json<FindingBody>, Failure> {
    Ok(Json(api.checkpoints.verify().await?.into()))
}
