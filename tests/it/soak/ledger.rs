//! What a process left in `tenure.db`, looked at while none runs.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// The business database, opened read-only: nothing in it changes before the next start.
pub fn open(data: &Path) -> Connection {
    let file = data.join("tenure.db");
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database opens")
}

/// One number.
pub fn number(db: &Connection, sql: &str) -> u64 {
    db.query_row(sql, [], |row| row.get::<_, i64>(0))
        .map(|n| u64::try_from(n).expect("a count"))
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// A column of texts.
pub fn texts(db: &Connection, sql: &str) -> Vec<String> {
    let mut found = db.prepare(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let rows = found.query_map([], |row| row.get(0)).expect("it is asked");
    rows.collect::<Result<_, _>>().expect("texts")
}

/// Every number is one run, every run went its way to the end once, and nothing is left to do.
///
/// What is counted is what stands in the database: the events of each run, its audit entries, its
/// message. A doubled effect would be two of them.
pub fn assert_everything_happened_once(db: &Connection, runs: u64) {
    assert_eq!(number(db, "SELECT count(*) FROM run"), runs);
    let twice = "SELECT json_extract(state, '$.vars.number') || ' is several runs' FROM run GROUP BY 1 HAVING count(*) > 1";
    assert_eq!(texts(db, twice), [""; 0]);
    let unfinished = "SELECT id || ' is ' || status || coalesce(': ' || reason, '') FROM run WHERE status <> 'completed'";
    assert_eq!(texts(db, unfinished), [""; 0]);
    for kind in ["run.started", "effect.requested", "effect.completed", "run.completed"] {
        let wrong = format!(
            "SELECT id || ' has {kind} ' || n || ' times' FROM
                 (SELECT id, (SELECT count(*) FROM run_event e WHERE e.run_id = run.id AND e.kind = '{kind}') AS n FROM run)
             WHERE n <> 1"
        );
        assert_eq!(texts(db, &wrong), [""; 0]);
    }
    for action in ["run.started", "connector.called", "run.completed"] {
        let sql = format!("SELECT count(*) FROM audit_log WHERE action = '{action}'");
        assert_eq!(number(db, &sql), runs, "{action} in the audit log");
        let sql = format!("SELECT count(DISTINCT entity_id) FROM audit_log WHERE action = '{action}'");
        assert_eq!(number(db, &sql), runs, "{action} in the audit log, by run");
    }
    assert_eq!(number(db, "SELECT count(*) FROM notification"), runs, "messages");
    assert_eq!(number(db, "SELECT count(DISTINCT link) FROM notification"), runs, "messages, by run");
    assert_eq!(number(db, "SELECT count(*) FROM notification WHERE mailed_at IS NULL"), 0, "messages not mailed");
    let left = "SELECT name || ' ' || id || ' is ' || state || coalesce(': ' || failed_reason, '') FROM job WHERE state <> 'done'";
    assert_eq!(texts(db, left), [""; 0]);
}
