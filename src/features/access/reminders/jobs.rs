//! Reminders within a job: the last part of the two hourly checks.

use super::{Ending, ops};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::platform::queue::JobCx;

/// How many ends one transaction handles.
const PAGE: u32 = 100;

/// Sends every reminder that is due, after it has set them by the days in force. When Tenure is stopping,
/// the job goes on where it stood with the next start.
pub async fn remind_all(
    cx: &JobCx,
    by: &Principal,
    of: Ending,
    zone: &jiff::tz::TimeZone,
) -> Result<(), Problem> {
    while cx.page(move |tx| ops::follow_setting(tx, of, PAGE)).await? {
        if cx.stopping() {
            return cx.snooze(cx.store().clock().now()).await;
        }
    }
    loop {
        let (by, zone) = (by.clone(), zone.clone());
        if !cx.page(move |tx| ops::remind(tx, &by, of, &zone, PAGE)).await? {
            return Ok(());
        }
        if cx.stopping() {
            return cx.snooze(cx.store().clock().now()).await;
        }
    }
}
