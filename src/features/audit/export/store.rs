//! SQL of exports: the log in its order.

use super::Selection;
use crate::base::problem::Problem;
use crate::features::audit::store::{StoredLeaf, stored_leaf};
use crate::platform::store::{ToValue as _, Tx, Value};

/// Selected rows after `after` up to `to`, oldest first.
pub fn list(tx: &Tx<'_>, selection: &Selection, after: u64, to: u64, limit: u32) -> Result<Vec<StoredLeaf>, Problem> {
    let mut sql = String::from("SELECT * FROM audit_log WHERE seq > ?1 AND seq <= ?2");
    let mut values = vec![after.to_value(), to.to_value(), limit.to_value()];
    let mut narrow = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ?{}", values.len()));
        }
    };
    let text = |value: &Option<String>| value.clone().map(Value::Text);
    narrow("entity =", text(&selection.entity));
    narrow("entity_id =", text(&selection.entity_id));
    narrow("action =", text(&selection.action));
    narrow("actor_id =", text(&selection.actor_id));
    narrow("at >=", selection.from.map(|at| at.to_value()));
    narrow("at <", selection.to.map(|at| at.to_value()));
    sql.push_str(" ORDER BY seq LIMIT ?3");
    tx.query(&sql, &values, stored_leaf)
}
