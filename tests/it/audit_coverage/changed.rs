//! The audited objects as the database has them, so that a change that wrote no entry is noticed.

use std::collections::BTreeMap;

use tenure::base::problem::Problem;
use tenure::params;
use tenure::platform::store::Tx;

/// The kind of object in the log, its table, the column with its id there, and the columns that are no part of what is
/// audited: when it was used last, and what only the engine counts by.
const TABLES: [(&str, &str, &str, &[&str]); 22] = [
    ("person", "person", "id", &[]),
    ("account", "account", "id", &[]),
    ("account", "account_role", "account_id", &[]),
    ("api_token", "api_token", "id", &["last_used_at"]),
    ("group", "person_group", "id", &[]),
    ("group", "group_member", "group_id", &[]),
    ("role", "role", "id", &[]),
    ("role", "role_entitlement", "role_id", &[]),
    ("entitlement", "entitlement", "id", &[]),
    ("role_conflict", "role_conflict", "id", &[]),
    ("assignment", "assignment", "id", &["remind_at"]),
    ("document", "document", "id", &["remind_at"]),
    ("connector", "connector", "id", &[]),
    ("schedule", "workflow_schedule", "id", &["fired_at"]),
    ("workflow", "workflow", "id", &[]),
    ("exception", "exception", "id", &[]),
    ("break_glass", "break_glass", "id", &[]),
    ("delegation", "delegation", "id", &[]),
    ("import", "import", "id", &["cursor", "done", "failed", "job_id"]),
    ("scim_token", "scim_token", "id", &["last_used_at"]),
    ("setting", "setting", "name", &[]),
    ("notification_template", "notification_template", "key", &[]),
];

/// What each object is, by kind and id.
#[derive(Debug, Default, PartialEq)]
pub struct Objects(BTreeMap<(String, String), String>);

impl Objects {
    /// The objects that are not what they were, or are new, or gone.
    pub fn changed(&self, after: &Self) -> Vec<(String, String)> {
        let all = self.0.keys().chain(after.0.keys().filter(|key| !self.0.contains_key(*key)));
        all.filter(|key| self.0.get(*key) != after.0.get(*key)).cloned().collect()
    }
}

/// Reads them.
pub fn objects(tx: &Tx<'_>) -> Result<Objects, Problem> {
    let mut all = BTreeMap::new();
    for (entity, table, id, ignored) in TABLES {
        let columns: Vec<String> =
            tx.query("SELECT name FROM pragma_table_info(?1) ORDER BY cid", params![table], |r| r.at(0))?;
        assert!(columns.iter().any(|c| c == id), "{table} has {id}");
        let shown: Vec<String> = columns
            .into_iter()
            .filter(|c| !ignored.contains(&c.as_str()))
            .map(|c| format!("quote(\"{c}\")"))
            .collect();
        let sql = format!("SELECT \"{id}\", {} FROM {table} ORDER BY 1, 2", shown.join(" || ',' || "));
        let rows: Vec<(String, String)> = tx.query(&sql, params![], |r| Ok((r.at(0)?, r.at(1)?)))?;
        for (id, row) in rows {
            let known: &mut String = all.entry((entity.to_owned(), id)).or_default();
            known.push_str(&format!("{table}: {row}\n"));
        }
    }
    Ok(Objects(all))
}
