//! Tampering with the audit log by whoever can write its file: each is noticed, at the first row, by its kind.
//!
//! Every change is made in the database itself, read by the verifier of `tenure audit verify`, and taken back.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tenure::base::access::Principal;
use tenure::base::problem::Problem;
use tenure::features::audit::merkle::{self, MemoryNodes};
use tenure::features::audit::note::Checkpoint;
use tenure::features::audit::ops::ensure_genesis;
use tenure::features::audit::verify::{Expected, Fault, Walk};
use tenure::features::audit::{AuditJournal, Entry, Hash, append, encode_hash, leaf_hash, store as log};
use tenure::params;
use tenure::platform::clock::{SystemClock, SystemIds};
use tenure::platform::store::{MigrationSet, Options, Store, Tx, Value};

const ACTIONS: [&str; 4] = ["role.granted", "role.revoked", "document.approved", "setting.changed"];

/// A log of so many rows, without its guard rails.
pub async fn a_log(rows: u64) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options::small(dir.path().join("tenure.db"));
    let journal = Some(Arc::new(AuditJournal) as Arc<_>);
    let store = Store::open(&options, &MigrationSet::tenure(), Arc::new(SystemClock), Arc::new(SystemIds), journal);
    let store = store.expect("opens");
    store
        .write(move |tx| {
            ensure_genesis(tx, "tenure.example/audit/00", "key", "1")?;
            let by = Principal::system("tests");
            for n in 2..=rows {
                let state = |what: &str| Some(json!({ "id": format!("thing-{n}"), "what": what, "häufig": n % 3 == 0 }));
                append(tx, &by, Entry {
                    action: ACTIONS[usize::try_from(n % 4).expect("small")],
                    entity: "thing",
                    entity_id: format!("thing-{n}"),
                    reason: (n % 5 == 0).then(|| "because \"it\" had to be".to_owned()),
                    prev: (n % 2 == 0).then(|| state("before")).flatten(),
                    new: (n % 7 != 0).then(|| state("after")).flatten(),
                })?;
            }
            Ok(())
        })
        .await
        .expect("appends");
    // Whoever can write the file can remove the triggers.
    store
        .write(|tx| {
            let all = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit_%'";
            for name in tx.query(all, params![], |r| r.at::<String>(0))? {
                tx.execute(&format!("DROP TRIGGER {name}"), params![])?;
            }
            Ok(())
        })
        .await
        .expect("drops");
    (dir, store)
}

/// What is told after `tamper`, which is taken back again.
fn told(tx: &Tx<'_>, mut walk: Walk, (limit, pages): (u32, u32), tamper: impl FnOnce(&Tx<'_>)) -> Option<Fault> {
    let mut found = None;
    let back = tx.savepoint(|tx| {
        tamper(tx);
        for _ in 0..pages {
            if !walk.page(tx, limit)? {
                break;
            }
        }
        found = walk.verdict().fault;
        Err::<(), _>(Problem::refused("taken back"))
    });
    let problem = back.expect("the transaction goes on").expect_err("it is taken back");
    assert_eq!(problem.to_string(), "taken back");
    found
}

fn run(tx: &Tx<'_>, sql: &str, values: &[Value]) {
    tx.execute(sql, values).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// A walk that stands before each row.
fn walks(tx: &Tx<'_>) -> Vec<Walk> {
    let (mut all, mut walk) = (vec![Walk::default()], Walk::default());
    while walk.page(tx, 1).expect("reads") {
        all.push(walk.clone());
    }
    assert_eq!(walk.verdict().fault, None);
    all.pop();
    all
}

/// A byte string in the database, where it is, and what is told when it changes.
struct Cell {
    table: &'static str,
    column: &'static str,
    /// Which row of the table.
    key: String,
    bytes: Vec<u8>,
    text: bool,
    /// The row and the kind that are to be told.
    row: u64,
    kind: &'static str,
}

fn cells(tx: &Tx<'_>) -> Vec<Cell> {
    let mut all = Vec::new();
    for (column, kind, text) in [("leaf", "hash", false), ("leaf_hash", "hash", false), ("actor_id", "copy", true),
        ("action", "copy", true), ("entity", "copy", true), ("entity_id", "copy", true)]
    {
        let sql = format!("SELECT seq, CAST({column} AS BLOB) FROM audit_log ORDER BY seq");
        let rows = tx.query(&sql, params![], |r| Ok((r.at::<u64>(0)?, r.at::<Vec<u8>>(1)?))).expect("reads");
        all.extend(rows.into_iter().map(|(seq, bytes)| Cell {
            table: "audit_log", column, key: format!("seq = {seq}"), bytes, text, row: seq, kind,
        }));
    }
    for column in ["salt", "state"] {
        let sql = format!("SELECT seq, part, {column} FROM audit_state");
        let rows = tx.query(&sql, params![], |r| Ok((r.at::<u64>(0)?, r.at::<String>(1)?, r.at::<Vec<u8>>(2)?)));
        all.extend(rows.expect("reads").into_iter().map(|(seq, part, bytes)| Cell {
            table: "audit_state", column, key: format!("seq = {seq} AND part = '{part}'"), bytes, text: false, row: seq, kind: "state",
        }));
    }
    let rows = tx.query("SELECT level, idx, hash FROM audit_node", params![], |r| Ok((r.at::<u32>(0)?, r.at::<u64>(1)?, r.at::<Vec<u8>>(2)?)));
    all.extend(rows.expect("reads").into_iter().map(|(level, index, bytes)| Cell {
        table: "audit_node", column: "hash", key: format!("level = {level} AND idx = {index}"), bytes, text: false,
        row: (index + 1) << level, kind: "node",
    }));
    all
}

impl Cell {
    /// Flips one bit and asks; `None` when what comes out could not be stored.
    fn flip(&self, tx: &Tx<'_>, walks: &[Walk], byte: usize, bit: u32) {
        let mut bytes = self.bytes.clone();
        bytes[byte] ^= 1 << bit;
        let value = match self.text {
            false => Value::Blob(bytes),
            true => match String::from_utf8(bytes) {
                Ok(text) => Value::Text(text),
                Err(_) => return,
            },
        };
        let Self { table, column, key, row, kind, .. } = self;
        let start = walks[usize::try_from(row - 1).expect("small")].clone();
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {key}");
        let found = told(tx, start, (1, 1), |tx| run(tx, &sql, &[value]));
        let found = found.unwrap_or_else(|| panic!("bit {bit} of byte {byte} of {table}.{column} where {key} goes unnoticed"));
        assert_eq!((found.seq, found.kind), (*row, *kind), "bit {bit} of byte {byte} of {table}.{column} where {key}: {found:?}");
    }
}

/// Whether the long runs are asked for: every bit instead of some.
fn all_of_it() -> bool {
    std::env::var("TENURE_SOAK").is_ok_and(|v| v == "full")
}

#[tokio::test]
async fn every_bit_of_leaf_hash_copy_state_and_node_of_a_small_log_counts() {
    let (_dir, store) = a_log(40).await;
    let flipped = store
        .write(|tx| {
            let (walks, mut flipped) = (walks(tx), 0_u32);
            for cell in cells(tx) {
                for bit in 0..cell.bytes.len() * 8 {
                    cell.flip(tx, &walks, bit / 8, (bit % 8) as u32);
                    flipped += 1;
                }
            }
            for seq in 1..=40_u64 {
                for bit in [0, 1, 9, 20, 33, 40] {
                    let start = walks[usize::try_from(seq - 1).expect("small")].clone();
                    let sql = "UPDATE audit_log SET at = (at | ?2) - (at & ?2) WHERE seq = ?1";
                    let found = told(tx, start, (1, 1), |tx| run(tx, sql, params![seq, 1_i64 << bit]));
                    assert_eq!(found.map(|f| (f.seq, f.kind)), Some((seq, "copy")), "bit {bit} of the instant of row {seq}");
                }
            }
            Ok(flipped)
        })
        .await
        .expect("flips");
    assert!(flipped > 200_000, "{flipped}");
}

/// A seeded sequence, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).expect("small")
    }
}

#[tokio::test]
async fn twenty_thousand_flipped_bits_of_a_thousand_rows_are_all_noticed() {
    let (_dir, store) = a_log(1_000).await;
    store
        .write(|tx| {
            let (walks, cells) = (walks(tx), cells(tx));
            if all_of_it() {
                for cell in &cells {
                    (0..cell.bytes.len() * 8).for_each(|bit| cell.flip(tx, &walks, bit / 8, (bit % 8) as u32));
                }
                return Ok(());
            }
            let ends: Vec<usize> = cells.iter().scan(0, |sum, cell| { *sum += cell.bytes.len(); Some(*sum) }).collect();
            let mut dice = Dice(2031);
            for _ in 0..20_000 {
                let place = dice.below(ends[ends.len() - 1]);
                let at = ends.partition_point(|end| *end <= place);
                let byte = place - (ends[at] - cells[at].bytes.len());
                cells[at].flip(tx, &walks, byte, dice.below(8) as u32);
            }
            Ok(())
        })
        .await
        .expect("flips");
}

/// Roots that somebody kept elsewhere.
pub fn kept(tx: &Tx<'_>, sizes: &[u64]) -> Vec<Expected> {
    let hashes = log::list_hashes(tx, 0, 10_000).expect("reads").into_iter().map(|(_, hash)| hash).collect::<Vec<Hash>>();
    let nodes = MemoryNodes::from(hashes);
    let one = |size: &u64| Expected {
        place: "a drawer".to_owned(),
        checkpoint: Checkpoint { origin: "log".to_owned(), size: *size, root: merkle::root(*size, &nodes).expect("a root") },
    };
    sizes.iter().map(one).collect()
}

/// Writes rows anew from `first` on, each link and each hash made to fit, and the tree if wanted.
fn rewrite(tx: &Tx<'_>, first: u64, tree: bool, change: impl Fn(&mut Json)) {
    let mut prev: Option<Hash> = None;
    let rows = log::list_from(tx, first - 1, 10_000).expect("reads");
    for (n, row) in rows.into_iter().enumerate() {
        let mut leaf: Json = serde_json::from_slice(&row.leaf).expect("JSON");
        if n == 0 {
            change(&mut leaf);
        }
        if let Some(prev) = prev {
            leaf["prev"] = json!(encode_hash(&prev));
        }
        let bytes = serde_json::to_vec(&leaf).expect("JSON");
        let hash = leaf_hash(&bytes);
        run(tx, "UPDATE audit_log SET leaf = ?2, leaf_hash = ?3 WHERE seq = ?1", params![row.seq, bytes, hash]);
        prev = Some(hash);
    }
    if !tree {
        return;
    }
    run(tx, "DELETE FROM audit_node", params![]);
    let hashes = log::list_hashes(tx, 0, 10_000).expect("reads");
    let mut frontier = merkle::Frontier::default();
    for (_, hash) in hashes {
        let mut made = Vec::new();
        frontier.push_each(&hash, |level, index, hash| made.push((level, index, *hash)));
        made.into_iter().for_each(|node| log::insert_node(tx, node).expect("inserts"));
    }
}

/// Changes one row and its hash, as somebody does who knows how the hash is made.
fn rehash(tx: &Tx<'_>, seq: u64) {
    let row = log::find_leaf(tx, seq).expect("reads").expect("a row");
    let mut leaf: Json = serde_json::from_slice(&row.leaf).expect("JSON");
    leaf["requestId"] = json!("another");
    let bytes = serde_json::to_vec(&leaf).expect("JSON");
    let hash = leaf_hash(&bytes);
    run(tx, "UPDATE audit_log SET leaf = ?2, leaf_hash = ?3 WHERE seq = ?1", params![seq, bytes, hash]);
}

fn move_rows(tx: &Tx<'_>, from: u64, by: i64) {
    for table in ["audit_log", "audit_state"] {
        run(tx, &format!("UPDATE {table} SET seq = -(seq + ?2) WHERE seq >= ?1"), params![from, by]);
        run(tx, &format!("UPDATE {table} SET seq = -seq WHERE seq < 0"), params![]);
    }
}

fn remove(tx: &Tx<'_>, rows: &str) {
    run(tx, &format!("DELETE FROM audit_state WHERE {rows}"), params![]);
    run(tx, &format!("DELETE FROM audit_log WHERE {rows}"), params![]);
}

/// Cuts the log behind `last`, and leaves nothing behind.
fn cut(tx: &Tx<'_>, last: u64) {
    remove(tx, &format!("seq > {last}"));
    run(tx, "DELETE FROM audit_node WHERE ((idx + 1) << level) > ?1", params![last]);
}

/// Puts in a row that fits the one before it.
fn put_in(tx: &Tx<'_>, seq: u64) {
    move_rows(tx, seq, 1);
    let before = log::find_leaf(tx, seq - 1).expect("reads").expect("a row");
    let mut leaf: Json = serde_json::from_slice(&before.leaf).expect("JSON");
    leaf["seq"] = json!(seq);
    leaf["prev"] = json!(encode_hash(&before.leaf_hash));
    for part in ["context", "prevState", "newState"] {
        leaf[part] = Json::Null;
    }
    let bytes = serde_json::to_vec(&leaf).expect("JSON");
    let hash = leaf_hash(&bytes);
    run(tx, "INSERT INTO audit_log SELECT ?1, ?2, ?3, at, actor_id, action, entity, entity_id FROM audit_log WHERE seq = ?1 - 1",
        params![seq, bytes, hash]);
}

type Tamper = (&'static str, fn(&Tx<'_>), Option<(u64, &'static str)>, Option<(u64, &'static str)>);

/// What is done, and what is told of it without any checkpoint, and with those of 8, 20 and 40 entries.
const TAMPERS: [Tamper; 24] = [
    ("nothing", |_| {}, None, None),
    ("a row is gone", |tx| remove(tx, "seq = 17"), Some((17, "gap")), Some((17, "gap"))),
    ("a row is gone, the others move up", |tx| { remove(tx, "seq = 17"); move_rows(tx, 18, -1); }, Some((17, "gap")), Some((17, "gap"))),
    ("many rows are gone", |tx| remove(tx, "seq BETWEEN 5 AND 30"), Some((5, "gap")), Some((5, "gap"))),
    ("the first row is gone", |tx| remove(tx, "seq = 1"), Some((1, "gap")), Some((1, "gap"))),
    ("every row is gone", |tx| { remove(tx, "1"); run(tx, "DELETE FROM audit_node", params![]); }, Some((1, "gap")), Some((1, "gap"))),
    ("two rows change places", |tx| {
        for (from, to) in [(10, 99), (11, 10), (99, 11)] {
            run(tx, "UPDATE audit_log SET seq = ?2 WHERE seq = ?1", params![from, to]);
        }
    }, Some((10, "gap")), Some((10, "gap"))),
    ("a row that fits is put in", |tx| put_in(tx, 15), Some((15, "gap")), Some((15, "gap"))),
    ("a row is put in before the first", |tx| run(tx,
        "INSERT INTO audit_log SELECT 0, leaf, leaf_hash, at, actor_id, action, entity, entity_id FROM audit_log WHERE seq = 1", params![]),
        Some((1, "gap")), Some((1, "gap"))),
    ("a row is copied behind the last", |tx| run(tx,
        "INSERT INTO audit_log SELECT 41, leaf, leaf_hash, at, actor_id, action, entity, entity_id FROM audit_log WHERE seq = 40", params![]),
        Some((41, "gap")), Some((41, "gap"))),
    ("the end is cut off", |tx| cut(tx, 35), None, Some((36, "short"))),
    ("the end is cut off, the tree is not", |tx| remove(tx, "seq > 35"), Some((36, "node")), Some((36, "short"))),
    ("the end is cut off, the states are not", |tx| {
        run(tx, "DELETE FROM audit_log WHERE seq > 35", params![]);
        run(tx, "DELETE FROM audit_node WHERE ((idx + 1) << level) > 35", params![]);
    }, Some((36, "state")), Some((36, "short"))),
    ("an even row is changed with its hash", |tx| rehash(tx, 12), Some((12, "node")), Some((12, "node"))),
    ("an odd row is changed with its hash", |tx| rehash(tx, 13), Some((13, "link")), Some((13, "link"))),
    ("the row before the last is changed with its hash", |tx| rehash(tx, 39), Some((39, "link")), Some((39, "link"))),
    ("the last row is changed with its hash", |tx| rehash(tx, 40), Some((40, "node")), Some((40, "node"))),
    ("the link of a row is changed with its hash", |tx| {
        let row = log::find_leaf(tx, 22).expect("reads").expect("a row");
        let mut leaf: Json = serde_json::from_slice(&row.leaf).expect("JSON");
        leaf["prev"] = json!(encode_hash(&[9; 32]));
        let bytes = serde_json::to_vec(&leaf).expect("JSON");
        let hash = leaf_hash(&bytes);
        run(tx, "UPDATE audit_log SET leaf = ?2, leaf_hash = ?3 WHERE seq = ?1", params![22, bytes, hash]);
    }, Some((22, "link")), Some((22, "link"))),
    ("all rows from one on are written anew, but the tree", |tx| rewrite(tx, 30, false, |leaf| leaf["requestId"] = json!("x")),
        Some((30, "node")), Some((30, "node"))),
    ("all rows from one on are written anew, with the tree", |tx| rewrite(tx, 30, true, |leaf| leaf["requestId"] = json!("x")),
        None, Some((21, "root"))),
    ("a node is gone", |tx| run(tx, "DELETE FROM audit_node WHERE level = 2 AND idx = 4", params![]), Some((20, "node")), Some((20, "node"))),
    ("a state is gone", |tx| run(tx, "DELETE FROM audit_state WHERE seq = 9 AND part = 'new'", params![]), Some((9, "state")), Some((9, "state"))),
    ("a state is put where none was", |tx| run(tx, "INSERT INTO audit_state VALUES (9, 'prev', x'00', x'7b7d')", params![]),
        Some((9, "state")), Some((9, "state"))),
    ("a state is erased", |tx| run(tx, "UPDATE audit_state SET state = NULL, salt = x'' WHERE seq = 9", params![]),
        Some((9, "erased")), Some((9, "erased"))),
];

#[tokio::test]
async fn what_is_removed_moved_put_in_or_written_anew_is_told_with_its_first_row() {
    let (_dir, store) = a_log(40).await;
    store
        .write(|tx| {
            run(tx, "PRAGMA defer_foreign_keys = ON", params![]);
            let expected = kept(tx, &[8, 20, 40]);
            for (what, tamper, alone, with) in TAMPERS {
                for (walk, told_of) in [(Walk::default(), alone), (Walk::new(expected.clone()), with)] {
                    // Pages of any size tell the same.
                    for limit in [1, 2, 7, 16, 1_024] {
                        let found = told(tx, walk.clone(), (limit, 100), tamper);
                        let short = found.as_ref().map(|f| (f.seq, f.kind));
                        assert_eq!(short, told_of, "{what}, pages of {limit}: {found:?}");
                    }
                }
            }
            Ok(())
        })
        .await
        .expect("tampers");
}
