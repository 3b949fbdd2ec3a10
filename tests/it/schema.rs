//! `migrations/schema.sql` is what all migrations give, so that one can read it in one place.

use std::path::Path;
use std::sync::Arc;

use tenure::platform::clock::{SeededIds, SystemClock};
use tenure::platform::store::{MigrationSet, Options, Store};

/// The statements that SQLite stored for a fresh database, in a stable order.
async fn dump(name: &str, set: MigrationSet) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options::small(dir.path().join(name));
    let store =
        Store::open(&options, &set, Arc::new(SystemClock), Arc::new(SeededIds::new(1)), None).expect("migrates");
    let statements: Vec<String> = store
        .read(|tx| {
            tx.query(
                "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
                 ORDER BY tbl_name, type <> 'table', name",
                &[],
                |row| row.get("sql"),
            )
        })
        .await
        .expect("reads");
    store.close().await;
    format!("-- {name}\n\n{};\n", statements.join(";\n\n"))
}

/// `UPDATE_SCHEMA=1 cargo test --test it schema` writes it anew.
#[tokio::test]
async fn the_schema_file_is_what_the_migrations_give() {
    let mut found = String::from("-- The result of all migrations. Do not edit: `UPDATE_SCHEMA=1 cargo test --test it schema`.\n\n");
    for (name, set) in
        [("tenure.db", MigrationSet::tenure()), ("queue.db", MigrationSet::queue()), ("logs.db", MigrationSet::logs())]
    {
        found.push_str(&dump(name, set).await);
        found.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/schema.sql");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &found).expect("writes");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == found, "migrations/schema.sql is not the result of the migrations; write it anew");
}
