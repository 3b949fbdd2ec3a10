//! Reading the audit log over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, StoredLeaf};
use super::{Leaf, Selection, encode_hash, erasure};
use crate::base::access::may;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::http::{Allowed, Failure, Params, Routes};
use crate::platform::store::{Store, Tx};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct AuditApi {
    /// The business database.
    pub store: Store,
}

/// The routes of the audit log.
pub fn routes(state: AuditApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_entries))
        .routes(routes!(get_entry))
        .with_state(state)
}

/// An entry with what its commitments stand for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Place in the log, counted from 1.
    seq: u64,
    /// The entry's id.
    id: String,
    /// When.
    at: Timestamp,
    /// Who.
    actor: EntryActor,
    /// What, `<entity>.<verb>`.
    action: String,
    /// To what kind of thing.
    entity: String,
    /// To which one.
    entity_id: String,
    /// With which request.
    request_id: Option<String>,
    /// Why, in the actor's words.
    reason: Option<String>,
    /// The object before.
    #[schema(value_type = Option<Object>)]
    prev_state: Option<Value>,
    /// The object after.
    #[schema(value_type = Option<Object>)]
    new_state: Option<Value>,
    /// What of it was erased: `context` (name, address and reason), `prevState`, `newState`.
    erased: Vec<&'static str>,
    /// Base64 of the leaf's hash.
    leaf_hash: String,
}

/// Who made an entry.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EntryActor {
    /// `person`, `cli` or `system`.
    #[serde(rename = "type")]
    kind: String,
    /// The id.
    id: String,
    /// The name at that time, unless it was erased.
    name: Option<String>,
}

/// What a list is narrowed by.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// Kind of thing, such as `assignment`.
    entity: Option<String>,
    /// Which one.
    entity_id: Option<String>,
    /// Such as `assignment.revoked`.
    action: Option<String>,
    /// Who did it, as an id.
    actor_id: Option<String>,
    /// From this instant on.
    from: Option<Timestamp>,
    /// Before this instant.
    to: Option<Timestamp>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Entries, newest first.
#[utoipa::path(get, path = "/api/audit", tag = "audit", params(ListParams),
    responses((status = 200, body = Page<AuditEntry>)))]
async fn list_entries(
    _: Allowed<may::AuditRead>,
    State(api): State<AuditApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<AuditEntry>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let before = params.cursor.as_deref().map(parse_cursor).transpose()?;
    let selection = Selection {
        entity: params.entity,
        entity_id: params.entity_id,
        action: params.action,
        actor_id: params.actor_id,
        from: params.from,
        to: params.to,
    };
    let page = api
        .store
        .read(move |tx| {
            let rows = store::list_newest(tx, &selection, before, limit + 1)?;
            let page = Page::cut(rows, limit, |row| row.seq.to_string());
            let next_cursor = page.next_cursor;
            let items = page.items.into_iter().map(|row| open(tx, row)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(page))
}

/// One entry.
#[utoipa::path(get, path = "/api/audit/{seq}", tag = "audit", params(("seq" = u64, Path)),
    responses((status = 200, body = AuditEntry), (status = 404)))]
async fn get_entry(
    _: Allowed<may::AuditRead>,
    State(api): State<AuditApi>,
    Path(seq): Path<String>,
) -> Result<Json<AuditEntry>, Failure> {
    let missing = || Problem::missing("audit entry", &seq);
    let number: u64 = seq.parse().map_err(|_| missing())?;
    let found = api
        .store
        .read(move |tx| store::find_leaf(tx, number)?.map(|row| open(tx, row)).transpose())
        .await?;
    Ok(Json(found.ok_or_else(missing)?))
}

fn parse_cursor(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::field("cursor", "expected nextCursor of the page before"))
}

fn open(tx: &Tx<'_>, row: StoredLeaf) -> Result<AuditEntry, Problem> {
    let leaf: Leaf = serde_json::from_slice(&row.leaf).map_err(Problem::internal)?;
    let states = store::list_states(tx, row.seq)?;
    let state = |part: &str| -> Option<Value> {
        let (_, _, bytes) = states.iter().find(|(p, ..)| p == part)?;
        serde_json::from_slice(bytes.as_ref()?).ok()
    };
    let is_gone = |part: &str| states.iter().any(|(p, _, bytes)| p == part && bytes.is_none());
    let erased = erasure::PARTS.into_iter().filter(|(part, _)| is_gone(part)).map(|(_, name)| name).collect();
    let context = state("context");
    let told = |key: &str| context.as_ref()?.get(key)?.as_str().map(str::to_owned);
    Ok(AuditEntry {
        seq: row.seq,
        id: leaf.id,
        at: row.at,
        actor: EntryActor { kind: leaf.actor.kind, id: leaf.actor.id, name: told("name") },
        action: leaf.action,
        entity: leaf.entity,
        entity_id: leaf.entity_id,
        request_id: leaf.request_id,
        reason: told("reason"),
        prev_state: state("prev"),
        new_state: state("new"),
        erased,
        leaf_hash: encode_hash(&row.leaf_hash),
    })
}
