//! Failed jobs by what went wrong: reasons that differ in ids, numbers and quoted words are one group.

use std::collections::BTreeMap;

use serde::Serialize;

use super::views::{JobFilter, JobView};
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// Failed jobs of one name with the same kind of reason.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorGroup {
    /// Which handler ran them.
    pub name: String,
    /// The reason without what differs; goes into [`JobFilter::group`].
    pub group: String,
    /// How many.
    pub count: u64,
    /// The reason of the newest, as it is.
    pub sample: String,
    /// The newest.
    pub newest: JobId,
    /// When the oldest failed.
    pub first_at: Option<Timestamp>,
    /// When the newest failed.
    pub last_at: Option<Timestamp>,
}

/// The groups, the largest first.
///
/// Reads the failed jobs that are kept, at most 5000, by the index `job_finished`.
pub fn list_error_groups(tx: &Tx<'_>) -> Result<Vec<ErrorGroup>, Problem> {
    let rows: Vec<(JobId, String, String, Option<Timestamp>)> = tx.query(
        "SELECT id, name, coalesce(failed_reason, '') AS reason, finished_on FROM job
         WHERE state = 'failed' AND state IN ('done', 'failed') ORDER BY finished_on DESC, id DESC",
        params![],
        |r| Ok((r.get("id")?, r.get("name")?, r.get("reason")?, r.get("finished_on")?)),
    )?;
    let mut groups: BTreeMap<(String, String), ErrorGroup> = BTreeMap::new();
    for (id, name, reason, at) in rows {
        let group = group_of(&reason);
        let entry = groups.entry((name.clone(), group.clone())).or_insert_with(|| ErrorGroup {
            name,
            group,
            count: 0,
            sample: reason,
            newest: id,
            first_at: at,
            last_at: at,
        });
        entry.count += 1;
        entry.first_at = at;
    }
    let mut groups: Vec<ErrorGroup> = groups.into_values().collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| b.last_at.cmp(&a.last_at)));
    Ok(groups)
}

/// Whether a job is of the filter's group.
pub(super) fn is_of(job: &JobView, filter: &JobFilter) -> bool {
    match (&filter.group, &job.failed_reason) {
        (Some(group), Some(reason)) => group_of(reason) == *group,
        (Some(group), None) => group.is_empty(),
        (None, _) => true,
    }
}

/// A reason without what differs from one job to the next: words that hold a digit become `#`, what
/// stands in quotes becomes `…`.
pub fn group_of(reason: &str) -> String {
    let mut out = String::with_capacity(reason.len());
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let flush = |word: &mut String, out: &mut String| {
        let differs = word.chars().any(|c| c.is_ascii_digit());
        out.push_str(if differs { "#" } else { word });
        word.clear();
    };
    for c in reason.chars() {
        match quote {
            Some(end) if c == end => {
                out.push('…');
                out.push(c);
                quote = None;
            }
            Some(_) => {}
            None if matches!(c, '"' | '`') => {
                flush(&mut word, &mut out);
                out.push(c);
                quote = Some(c);
            }
            None if c.is_alphanumeric() || c == '_' || c == '-' => word.push(c),
            None => {
                flush(&mut word, &mut out);
                out.push(c);
            }
        }
    }
    flush(&mut word, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_ids_numbers_and_quotes_are_one_group() {
        let one = group_of("Run run_01j9 got 503 from \"a.example\" after 12 ms.");
        assert_eq!(one, "Run # got # from \"…\" after # ms.");
        assert_eq!(one, group_of("Run run_02xx got 502 from \"b.example\" after 9 ms."));
        assert_ne!(one, group_of("Run run_01j9 got no answer."));
    }
}
