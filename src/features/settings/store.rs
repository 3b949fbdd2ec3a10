//! SQL of settings.

use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// A saved value with who saved it and when.
#[derive(Debug, Clone)]
pub struct Saved {
    /// As text.
    pub value: String,
    /// The actor's id.
    pub changed_by: String,
    /// The instant.
    pub changed_at: Timestamp,
}

/// The saved value, if there is one.
pub fn find(tx: &Tx<'_>, name: &str) -> Result<Option<Saved>, Problem> {
    tx.query_opt("SELECT value, changed_by, changed_at FROM setting WHERE name = ?1", params![name], |r| {
        Ok(Saved { value: r.get("value")?, changed_by: r.get("changed_by")?, changed_at: r.get("changed_at")? })
    })
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
