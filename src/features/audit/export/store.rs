//! SQL of exports: the log in its order.

use super::Selection;
use crate::base::problem::Problem;
use crate::features::audit::store::{StoredLeaf, narrow, stored_leaf};
use crate::platform::store::{ToValue as _, Tx};

/// Selected rows after `after` up to `to`, oldest first.
pub fn list(tx: &Tx<'_>, selection: &Selection, after: u64, to: u64, limit: u32) -> Result<Vec<StoredLeaf>, Problem> {
    let mut sql = String::from("SELECT * FROM audit_log WHERE seq > ?1 AND seq <= ?2");
    let mut values = vec![after.to_value(), to.to_value(), limit.to_value()];
    narrow(&mut sql, &mut values, selection);
    sql.push_str(" ORDER BY seq LIMIT ?3");
    tx.query(&sql, &values, stored_leaf)
}
