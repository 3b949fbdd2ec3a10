//! Reading what is exported, a page at a time.

use super::{Newest, Selection, Signed, store};
use crate::base::problem::Problem;
use crate::features::audit::note::open_note;
use crate::features::audit::store::{StoredLeaf, StoredState};
use crate::features::audit::keys::{Earlier, Known};
use crate::features::audit::{self, erasure, keys};
use crate::platform::store::Tx;

/// How many numbers of the log one read looks at, so that a narrow selection does not hold a reader for long.
const WINDOW: u64 = 32_768;

/// The newest checkpoint, if there is one, with the keys that the log names.
pub fn signed(tx: &Tx<'_>, newest: &Newest) -> Result<Option<Signed>, Problem> {
    (newest.0)(tx)?.map(|note| open(tx, note)).transpose()
}

/// A note of this log.
pub fn open(tx: &Tx<'_>, note: String) -> Result<Signed, Problem> {
    let Known { keys, earlier, .. } = keys::list(tx)?;
    let checkpoint = open_note(&note, &keys)
        .map_err(|fault| Problem::Conflict(format!("The newest checkpoint was not signed by this log: {fault}.")))?;
    let name = |e: Earlier| (format!("checkpoints/{:020}-continued-{}.note", e.until, e.seq), e.note);
    let continued = earlier.into_iter().filter(|e| e.seq <= checkpoint.size).map(name).collect();
    Ok(Signed { checkpoint, note, keys, continued })
}

/// Why tiles cannot be exported yet.
pub fn unsigned() -> Problem {
    Problem::Conflict("There is no checkpoint yet that the entries could be proved by. Make one first.".to_owned())
}

/// A row with what its commitments stand for.
pub type Row = (StoredLeaf, Vec<StoredState>);

/// Selected rows after `after` up to `up_to`, oldest first, and where to go on.
pub fn rows(
    tx: &Tx<'_>,
    selection: &Selection,
    after: u64,
    up_to: u64,
    limit: u32,
) -> Result<(Vec<Row>, u64), Problem> {
    let to = after.saturating_add(WINDOW).min(up_to);
    let leaves = store::list(tx, selection, after, to, limit)?;
    let next = match leaves.last() {
        Some(last) if leaves.len() == limit as usize => last.seq,
        _ => to,
    };
    let with_states = |leaf: StoredLeaf| Ok((audit::store::list_states(tx, leaf.seq)?, leaf));
    let rows: Result<Vec<_>, Problem> = leaves.into_iter().map(with_states).collect();
    let rows: Vec<Row> = rows?.into_iter().map(|(states, leaf)| (leaf, states)).collect();
    let gone = |(leaf, states): &Row| -> Vec<(u64, String)> {
        states.iter().filter(|(_, _, state)| state.is_none()).map(|(part, ..)| (leaf.seq, part.clone())).collect()
    };
    erasure::ops::refuse_later(tx, up_to, &rows.iter().flat_map(gone).collect::<Vec<_>>())?;
    Ok((rows, next))
}
