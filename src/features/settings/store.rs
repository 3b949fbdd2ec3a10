//! SQL of settings.

use super::SavedBy;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// A saved value with who saved it and when.
#[derive(Debug, Clone)]
pub struct Saved {
    /// As text.
    pub value: String,
    /// Who saved it.
    pub changed_by: SavedBy,
    /// The instant.
    pub changed_at: Timestamp,
}

/// The saved value, if there is one.
pub fn find(tx: &Tx<'_>, name: &str) -> Result<Option<Saved>, Problem> {
    tx.query_opt(
        "SELECT s.value, s.changed_by, s.changed_at, coalesce(p.display_name, s.changed_by) AS name
         FROM setting s LEFT JOIN person p ON p.id = s.changed_by WHERE s.name = ?1",
        params![name],
        |r| {
            Ok(Saved {
                value: r.get("value")?,
                changed_by: SavedBy { id: r.get("changed_by")?, name: r.get("name")? },
                changed_at: r.get("changed_at")?,
            })
        },
    )
}

/// Saves a value over the one before.
pub fn save(tx: &Tx<'_>, name: &str, value: &str, by: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO setting (name, value, changed_by, changed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_by = excluded.changed_by,
                                          changed_at = excluded.changed_at",
        params![name, value, by, tx.now()],
    )?;
    Ok(())
}

/// Forgets the saved value.
pub fn clear(tx: &Tx<'_>, name: &str) -> Result<(), Problem> {
    tx.execute("DELETE FROM setting WHERE name = ?1", params![name])?;
    Ok(())
}
