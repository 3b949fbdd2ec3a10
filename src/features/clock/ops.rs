//! Telling administrators, and asking for what a check would have done meanwhile.

use serde_json::json;

use super::message;
use crate::base::access::SystemRole;
use crate::base::problem::Problem;
use crate::features::identity::accounts::store::people_with_role;
use crate::features::notifications;
use crate::features::timekeeping;
use crate::platform::queue::{JobDraft, enqueue, names};
use crate::platform::store::Tx;

/// Tells every administrator of the doubt, unless it was settled meanwhile.
pub fn tell(tx: &Tx<'_>) -> Result<(), Problem> {
    match timekeeping::ops::find_doubt(tx)? {
        Some(doubt) => notifications::ops::notify(tx, &people_with_role(tx, SystemRole::Admin)?, message(&doubt)),
        None => Ok(()),
    }
}

/// Asks for the two checks that find what no job of its own ends: they did nothing while the clock was in doubt.
pub fn check_now(tx: &Tx<'_>) -> Result<(), Problem> {
    for name in [names::DOCUMENT_EXPIRY_CHECK, names::ROLE_EXPIRY_CHECK] {
        enqueue(tx, JobDraft::now(name, json!({})))?;
    }
    Ok(())
}
