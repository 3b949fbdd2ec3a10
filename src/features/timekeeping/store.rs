//! SQL of the doubt.

use super::{Doubt, DoubtKind};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::Tx;

/// The doubt that nobody has settled.
pub fn find_hold(tx: &Tx<'_>) -> Result<Option<Doubt>, Problem> {
    tx.query_opt("SELECT kind, shown_at, expected_at FROM clock_hold", params![], |r| {
        let kind: String = r.get("kind")?;
        let kind = DoubtKind::parse(&kind).ok_or_else(|| Problem::internal(format!("{kind:?} is no DoubtKind")))?;
        Ok(Doubt { kind, shown_at: r.get("shown_at")?, expected_at: r.get("expected_at")? })
    })
}

/// Stores a doubt beside which there is no other.
pub fn insert_hold(tx: &Tx<'_>, doubt: &Doubt) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO clock_hold (one, kind, shown_at, expected_at) VALUES (1, ?1, ?2, ?3)",
        params![doubt.kind.as_str(), doubt.shown_at, doubt.expected_at],
    )?;
    Ok(())
}

/// Forgets the doubt.
pub fn delete_hold(tx: &Tx<'_>) -> Result<(), Problem> {
    tx.execute("DELETE FROM clock_hold", params![])?;
    Ok(())
}
