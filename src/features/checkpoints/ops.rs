//! Signing, or saying why not; noting what each place has.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    DOWN_AFTER, KEEP_CHECKPOINT, Reason, Record, Refusal, RefusalKind, TELL_REFUSAL, Trouble, is_overdue, judge, store,
    verification,
};
use crate::base::access::{Principal, SystemRole};
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::merkle;
use crate::features::audit::note::{Checkpoint, NoteFault, Signer, open_note};
use crate::features::audit::store::StoredNodes;
use crate::features::audit::keys::{Newest, Opened, Standing};
use crate::features::audit::verify::Fault;
use crate::features::audit::{Hash, keys, store as audit_store};
use crate::features::identity::accounts::store::people_with_role;
use crate::features::notifications::{self, Message};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// How many checkpoints are read at once.
const PAGE: u32 = 1_000;

/// A note that a place holds.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Which place.
    pub place: &'static str,
    /// The note.
    pub note: String,
}

/// Signs for the log as it is, to be kept in `places`, unless it contradicts what is kept already.
///
/// Both outcomes are written down: the transaction is to be committed either way.
pub fn sign(
    tx: &Tx<'_>,
    seed: &[u8; 32],
    kept: &[Kept],
    reason: Reason,
    places: &[&'static str],
) -> Result<Result<Record, Refusal>, Problem> {
    let (size, _) = audit_store::head(tx)?.ok_or_else(|| Problem::internal("the audit log is empty"))?;
    if let Some((fault, _)) = verification::store::find_fault(tx)? {
        let refusal = verification::ops::refusal(&fault);
        refuse(tx, &refusal)?;
        return Ok(Err(refusal));
    }
    let known = keys::list(tx)?;
    if let Err(refusal) = compare(tx, &known, kept, size)? {
        refuse(tx, &refusal)?;
        return Ok(Err(refusal));
    }
    let origin = known.origin.clone();
    let checkpoint = Checkpoint { root: merkle::root(size, &StoredNodes(tx))?, origin, size };
    let note = Signer::new(&checkpoint.origin, seed).sign(&checkpoint);
    let number = store::insert(tx, &checkpoint, &note, reason)?;
    for place in places {
        store::insert_copy(tx, number, place)?;
    }
    store::delete_refusal(tx)?;
    Ok(Ok(Record { number, checkpoint, note, reason, made_at: tx.now() }))
}

/// Has a checkpoint put into every place where it is to be, and with it what a place lacks since it was not named for
/// a while.
pub fn ask_to_keep(tx: &Tx<'_>, record: &Record, places: &[&'static str]) -> Result<(), Problem> {
    for place in places {
        for number in store::list_dropped(tx, place)? {
            store::mark_taken_up(tx, number, place)?;
            keep_one(tx, number, place)?;
        }
        keep_one(tx, record.number, place)?;
    }
    Ok(())
}

fn keep_one(tx: &Tx<'_>, number: u64, place: &str) -> Result<(), Problem> {
    enqueue(tx, JobDraft::now(KEEP_CHECKPOINT, json!({ "number": number, "place": place }))).map(drop)
}

/// Gives a copy up whose place `AUDIT_CHECKPOINT_STORE` does not name any more. It stays in the history.
pub fn drop_copy(tx: &Tx<'_>, number: u64, place: &str) -> Result<(), Problem> {
    store::mark_dropped(tx, number, place, "AUDIT_CHECKPOINT_STORE does not name this place any more.")
}

/// Notes a failed attempt; answers when the next one is.
pub fn put_off(tx: &Tx<'_>, number: u64, place: &str, error: &str) -> Result<Timestamp, Problem> {
    let attempts = store::mark_failed(tx, number, place, error)?;
    let next = tx.now().plus(super::wait_after(attempts));
    store::set_next_attempt(tx, number, place, next)?;
    Ok(next)
}

/// Compares the log with every checkpoint that is known: those that places hold, and our newest.
fn compare(tx: &Tx<'_>, known: &keys::Known, kept: &[Kept], size: u64) -> Result<Result<(), Refusal>, Problem> {
    if let Some(fault) = known.fault() {
        let detail = format!("Entry {} {}.", fault.seq, fault.detail);
        return Ok(Err(Refusal { kind: RefusalKind::Unsigned, detail }));
    }
    let mut earlier = Vec::new();
    for Kept { place, note } in kept {
        match open_note(note, &known.keys) {
            Ok(checkpoint) => match known.standing(&checkpoint) {
                Standing::Ours => earlier.push((checkpoint, *place)),
                // Of entries that a restore left behind; the key signed for that.
                Standing::LeftBehind => {}
                Standing::Stranger => return Ok(Err(strange(place, &checkpoint.origin))),
            },
            Err(fault) => return Ok(Err(unsigned(place, &fault))),
        }
    }
    if let Some(own) = store::find_newest(tx)?
        && known.standing(&own.checkpoint) == Standing::Ours
    {
        earlier.push((own.checkpoint, "the database"));
    }
    for (checkpoint, place) in earlier {
        let root = root_of(tx, checkpoint.size, size)?;
        if let Err(refusal) = judge(&checkpoint, place, size, root) {
            return Ok(Err(refusal));
        }
    }
    Ok(Ok(()))
}

/// The root of the log's first `wanted` entries, if it has so many.
pub fn root_of(tx: &Tx<'_>, wanted: u64, size: u64) -> Result<Option<Hash>, Problem> {
    (wanted <= size).then(|| merkle::root(wanted, &StoredNodes(tx))).transpose()
}

fn unsigned(place: &str, fault: &NoteFault) -> Refusal {
    Refusal {
        kind: RefusalKind::Unsigned,
        detail: format!("What stands for the newest checkpoint in {place} is not ours: {fault}."),
    }
}

fn strange(place: &str, origin: &str) -> Refusal {
    let detail = format!("What stands for the newest checkpoint in {place} is of {origin}, and this log never had that name.");
    Refusal { kind: RefusalKind::Unsigned, detail }
}

/// What it takes to go on under another name: the seed of the key, and what the places hold.
pub struct Renewal {
    /// The seed of `AUDIT_SIGNING_KEY`.
    pub seed: Zeroizing<[u8; 32]>,
    /// The newest note of each place that answered.
    pub kept: Vec<Kept>,
}

impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewal").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// Has the log go on under another name. The entry names the newest checkpoint of the log that is left behind: of what
/// the places hold and what is in the database.
pub fn renew_origin(tx: &Tx<'_>, by: &Principal, renewal: &Renewal) -> Result<(), Problem> {
    let known = keys::list(tx)?;
    let own = store::find_newest(tx)?.map(|record| record.note);
    let notes = renewal.kept.iter().map(|kept| kept.note.clone()).chain(own);
    let signed = notes.filter_map(|note| {
        let checkpoint = open_note(&note, &known.keys).ok().filter(|checkpoint| checkpoint.origin == known.origin)?;
        Some(Newest { checkpoint, note_sha256: hex::encode(Sha256::digest(note.as_bytes())) })
    });
    let newest = signed.max_by_key(|newest| newest.checkpoint.size);
    keys::renew_origin(tx, by, &renewal.seed, newest.as_ref())
}

/// Remembers a refusal and raises the alarm, once for each.
pub fn refuse(tx: &Tx<'_>, refusal: &Refusal) -> Result<(), Problem> {
    tracing::error!(kind = refusal.kind.as_str(), "no checkpoint is signed: {}", refusal.detail);
    let known = store::find_refusal(tx)?;
    store::insert_refusal(tx, refusal)?;
    if known.is_none_or(|(known, _)| known.kind != refusal.kind) {
        enqueue(tx, JobDraft::now(TELL_REFUSAL, json!({})))?;
    }
    Ok(())
}

/// Tells every administrator that nothing is signed any more, unless that changed meanwhile.
pub fn tell(tx: &Tx<'_>) -> Result<(), Problem> {
    let Some((refusal, _)) = store::find_refusal(tx)? else { return Ok(()) };
    let subject = match refusal.kind {
        RefusalKind::Tampered => "The audit log was tampered with",
        _ => "The audit log is not what its checkpoint says",
    };
    let message = Message {
        kind: "audit",
        subject: subject.to_owned(),
        body: format!(
            "{} Nothing is signed any more until that is cleared up. Keep the database and the checkpoints as they are, \
             find out who could write them, and compare by tenure audit verify --checkpoints.",
            refusal.detail
        ),
        link: Some("/checkpoints".to_owned()),
    };
    notifications::ops::notify(tx, &people_with_role(tx, SystemRole::Admin)?, message)
}

/// What somebody should look at, the worst first; of the places only those that are named now.
pub fn trouble(tx: &Tx<'_>, schedule: &Schedule, places: &[&str]) -> Result<Option<Trouble>, Problem> {
    if let Some((refusal, _)) = store::find_refusal(tx)? {
        return Ok(Some(Trouble::Refused(format!("No checkpoint is signed. {}", refusal.detail))));
    }
    if let Some(why) = verification::store::find(tx)?.and_then(|last| last.finding.unknown) {
        let detail = format!("nobody can tell whether the log is what was written: it could not be read to its end: {why}");
        return Ok(Some(Trouble::Late(detail)));
    }
    if is_overdue(store::find_newest(tx)?.as_ref(), schedule, tx.now()) {
        return Ok(Some(Trouble::Late("no checkpoint was made when its time had come".to_owned())));
    }
    Ok(store::find_failing(tx, places, DOWN_AFTER)?
        .map(|(place, error)| Trouble::Late(format!("checkpoints do not come to {place}: {error}"))))
}

/// Every checkpoint that the log is compared with: those in the database, and those that places hold. One that the log
/// did not sign is a fault at once.
pub fn expected(tx: &Tx<'_>, kept: &[Kept]) -> Result<Result<Opened, Fault>, Problem> {
    // Of a log that does not say its name any more, the walk over it says why.
    let Ok(known) = keys::list(tx) else { return Ok(Ok(Opened::default())) };
    let mut notes: Vec<(String, String)> = kept.iter().map(|k| (k.place.to_owned(), k.note.clone())).collect();
    notes.extend(list_notes(tx)?);
    Ok(known.open_all(notes))
}

/// The notes in the database, and that they are from there.
pub fn list_notes(tx: &Tx<'_>) -> Result<Vec<(String, String)>, Problem> {
    let (mut notes, mut before) = (Vec::new(), None);
    loop {
        let page = store::list(tx, before, PAGE)?;
        let Some(last) = page.last() else { return Ok(notes) };
        before = Some(last.number);
        notes.extend(page.into_iter().map(|record| ("the database".to_owned(), record.note)));
    }
}
