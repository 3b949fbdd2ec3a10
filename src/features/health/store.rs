//! SQL of the health check: the same table in `tenure.db` and `queue.db`.

use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// Writes the probe row.
pub fn write_probe(tx: &Tx<'_>) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO health_probe (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        params![tx.now()],
    )
    .map(drop)
}

/// Reads the probe row.
pub fn read_probe(tx: &Tx<'_>) -> Result<Timestamp, Problem> {
    tx.scalar("SELECT at FROM health_probe WHERE id = 1", params![])
}
