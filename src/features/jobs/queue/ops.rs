//! Recording what is done to the queue.

use serde_json::json;

use crate::base::access::{Permission, Principal};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::platform::queue::names::QUEUE;
use crate::platform::store::Tx;

/// Records that the queue is held back, or goes on.
pub fn record_pause(tx: &Tx<'_>, by: &Principal, paused: bool) -> Result<(), Problem> {
    by.require(Permission::JobManage)?;
    audit::append(
        tx,
        by,
        Entry {
            action: if paused { "queue.paused" } else { "queue.resumed" },
            entity: "queue",
            entity_id: QUEUE.to_owned(),
            reason: None,
            prev: Some(json!({ "paused": !paused })),
            new: Some(json!({ "paused": paused })),
        },
    )
}
