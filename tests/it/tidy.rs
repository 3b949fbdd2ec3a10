//! Rules about the sources themselves, each with its reason.

use std::fs;
use std::path::{Path, PathBuf};

pub fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((path.strip_prefix(root).expect("below the root").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The part of a file that is the product: without its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

/// `tests.rs`, and what it is made of beside it.
fn is_test_file(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("tests"))
        || path.file_name().is_some_and(|n| n == "tests.rs" || n == "testing.rs")
}

/// Lines of code: comments may speak of anything.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim_start().starts_with("//"))
}

fn report(rule: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

/// Who may name a library: its word, where it may stand.
const WALLS: [(&str, &[&str]); 14] = [
    ("prometheus_client", &["src/platform/metrics.rs"]),
    ("jsonschema::", &["src/features/workflow/definitions/fields.rs"]),
    ("rusqlite::", &["src/platform/store/", "src/platform/queue/", "src/features/connectors/drivers/sql/"]),
    ("tokio_postgres::", &["src/features/connectors/drivers/sql/"]),
    ("mysql_async::", &["src/features/connectors/drivers/sql/"]),
    ("r2d2", &["src/platform/store/"]),
    ("axum::", &["src/platform/http/", "src/app/", "/api.rs"]),
    ("sqlx::", &["src/platform/queue/"]),
    ("apalis", &["src/platform/queue/"]),
    ("use redis::", &["src/platform/redis/"]),
    ("reqwest::", &["src/platform/outbound/", "src/app/demo/"]),
    ("rusty_s3::", &["src/platform/outbound/s3.rs"]),
    ("ldap3::", &["src/features/connectors/drivers/"]),
    ("lettre::", &["src/platform/mail", "src/config/mail.rs"]),
];

#[test]
fn libraries_stay_behind_their_walls() {
    let mut faults = Vec::new();
    for (path, text) in sources("src") {
        let shown = path.display().to_string();
        if is_test_file(&path) {
            continue;
        }
        for (word, allowed) in WALLS {
            if allowed.iter().any(|a| shown.contains(a)) {
                continue;
            }
            for (line, code) in code_lines(product(&text)).filter(|(_, l)| l.contains(word)) {
                if code.contains(&format!("_{word}")) || code.contains("r2d2_sqlite") && word == "r2d2" {
                    continue;
                }
                faults.push(format!("{shown}:{line} names {word}; it may stand in {}", allowed.join(", ")));
            }
        }
    }
    report("A library is named in one place, so that it can be replaced there.", faults);
}

#[test]
fn only_config_reads_the_environment() {
    let mut faults = Vec::new();
    for (path, text) in sources("src") {
        let shown = path.display().to_string();
        if shown.starts_with("src/config/") {
            continue;
        }
        for (line, code) in code_lines(product(&text)) {
            if code.contains("env::var") {
                faults.push(format!("{shown}:{line}"));
            }
        }
    }
    report("Only config reads the environment: one place knows every variable.", faults);
}

/// Whether the code names this path, and not a longer word that begins like it.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let next = code[at + path.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The first words of what is imported together behind `head`, with their lines: `{a, b::{c}}` has a and b.
fn listed<'a>(text: &'a str, head: &'static str) -> impl Iterator<Item = (usize, &'a str)> {
    text.match_indices(head).flat_map(move |(at, _)| {
        let line = text[..at].lines().count().max(1);
        let (mut depth, mut first, mut found) = (1, true, Vec::new());
        for word in text[at + head.len()..].split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
            let name = word.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
            if depth == 1 && first && !name.is_empty() {
                found.push((line, name));
                first = false;
            }
            match word.chars().last() {
                Some('{') => depth += 1,
                Some('}') => depth -= 1,
                Some(',') => first = true,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        found
    })
}

#[test]
fn imports_that_stand_together_are_told_apart() {
    let text = "use crate::features::{access, audit::{self, ops},\n    health};\nuse crate::features::{jobs};\n";
    let found: Vec<_> = listed(text, "crate::features::{").collect();
    assert_eq!(found, [(1, "access"), (1, "audit"), (1, "health"), (3, "jobs")]);
    assert!(names("use crate::app;", "crate::app") && !names("use crate::apples;", "crate::app"));
}

/// Layers from low to high; each may use those before it.
const LAYERS: [&str; 6] = ["base", "config", "platform", "features", "app", "cli"];

#[test]
fn layers_use_only_lower_ones() {
    let mut faults = Vec::new();
    for (path, text) in sources("src") {
        let shown = path.display().to_string();
        let Some(own) = LAYERS.iter().position(|l| shown.starts_with(&format!("src/{l}/"))) else { continue };
        for (line, code) in code_lines(product(&text)) {
            for higher in &LAYERS[own + 1..] {
                // What a fault point is stands in platform, and config hands it over.
                if shown == "src/config/operation.rs" && code.contains("crate::platform::faults") {
                    continue;
                }
                if names(code, &format!("crate::{higher}")) {
                    faults.push(format!("{shown}:{line} uses {higher}"));
                }
            }
        }
        for (line, higher) in listed(product(&text), "crate::{").filter(|(_, l)| LAYERS[own + 1..].contains(l)) {
            faults.push(format!("{shown}:{line} uses {higher}"));
        }
    }
    report("base ← config ← platform ← features ← app ← cli; nothing uses what stands above it.", faults);
}

#[test]
fn features_use_only_lower_features() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("src/features/mod.rs")).expect("the list of features");
    let order: Vec<&str> =
        list.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut faults = Vec::new();
    for (path, text) in sources("src/features").into_iter().filter(|(path, _)| !is_test_file(path)) {
        let shown = path.display().to_string();
        let Some(own) = order.iter().position(|f| shown.starts_with(&format!("src/features/{f}/"))) else { continue };
        for (line, code) in code_lines(product(&text)) {
            for higher in &order[own + 1..] {
                if names(code, &format!("crate::features::{higher}")) {
                    faults.push(format!("{shown}:{line} uses {higher}"));
                }
            }
        }
        let together = listed(product(&text), "crate::features::{");
        for (line, higher) in together.filter(|(_, f)| order[own + 1..].contains(f)) {
            faults.push(format!("{shown}:{line} uses {higher}"));
        }
    }
    report("A feature uses only those above it in src/features/mod.rs; what flows upwards is a job.", faults);
}

#[test]
fn rules_are_pure() {
    let mut faults = Vec::new();
    for (path, text) in sources("src/base") {
        for (line, code) in code_lines(product(&text)) {
            if ["tokio::", "std::fs", "std::net", "SystemTime::now", "Instant::now"].iter().any(|w| code.contains(w)) {
                faults.push(format!("{}:{line}", path.display()));
            }
        }
    }
    report("base has no I/O, no clock of its own and no tasks.", faults);
}

/// What a file in a feature may not name, by the file's name.
const FILES: [(&str, &[&str]); 4] = [
    ("mod.rs", &["rusqlite", "axum", "tokio::", "std::fs", "std::net", "apalis", "Instant::now", "SystemTime"]),
    ("store.rs", &["axum", "apalis", "tokio::", "Clock"]),
    ("ops.rs", &["axum", "apalis", "rusqlite"]),
    ("jobs.rs", &["axum", "rusqlite"]),
];

#[test]
fn a_file_in_a_feature_holds_what_its_name_says() {
    let mut faults = Vec::new();
    for (path, text) in sources("src/features") {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let banned = FILES.iter().find(|(file, _)| *file == name).map_or(&[][..], |(_, words)| words);
        for (line, code) in code_lines(product(&text)) {
            for word in banned.iter().filter(|w| code.contains(**w)) {
                faults.push(format!("{}:{line} names {word}", path.display()));
            }
        }
    }
    report("mod.rs has rules, store.rs SQL, ops.rs use cases, jobs.rs jobs: each can be read and tested alone.", faults);
}

#[test]
fn sql_stands_in_store_files() {
    let mut faults = Vec::new();
    for (path, text) in sources("src/features").into_iter().filter(|(path, _)| !is_test_file(path)) {
        // Health asks the database whether it is there; that is no business of a store.
        if path.ends_with("store.rs") || path.starts_with("src/features/health") {
            continue;
        }
        for (line, code) in code_lines(product(&text)) {
            if ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "].iter().any(|w| code.contains(&format!("\"{w}"))) {
                faults.push(format!("{}:{line}", path.display()));
            }
        }
    }
    report("SQL stands in store.rs, so that another database is one file per feature.", faults);
}

/// A page that names a test which is gone promises what nobody holds.
#[test]
fn the_architecture_page_tells_the_truth() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let (_, rest) = page.split_once("## Invariants").expect("the invariants");
    let invariants = rest.split("\n## ").next().expect("their section");
    let all: String = ["src", "tests"].iter().flat_map(|f| sources(f)).map(|(_, text)| text).collect();
    let mut faults = Vec::new();
    for name in invariants.split('`').skip(1).step_by(2).filter(|n| n.contains('_') && !n.contains(['/', ' ', '.'])) {
        if !all.contains(&format!("fn {name}(")) {
            faults.push(format!("no test is called {name}"));
        }
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let (_, tables) = page.split_once("## Dependencies").expect("the dependencies");
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|(n, _)| inside && !n.starts_with('#')) {
            let named = tables.lines().filter_map(|l| l.strip_prefix("| ")?.split('|').next());
            if !named.flat_map(|cell| cell.split([',', ' '])).any(|word| word == name) {
                faults.push(format!("{name} is a dependency without a reason"));
            }
        }
    }
    report("ARCHITECTURE.md names a test for each invariant and a reason for each dependency.", faults);
}

#[test]
fn files_and_functions_can_be_read_in_one_sitting() {
    let mut faults = Vec::new();
    for (path, text) in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        let lines = text.lines().count();
        if lines > 600 {
            faults.push(format!("{} has {lines} lines; at most 600", path.display()));
        }
        if is_test_file(&path) || !path.starts_with("src") {
            continue;
        }
        let mut open: Option<(usize, usize)> = None;
        for (i, line) in product(&text).lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            let begins = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(super) fn ", "pub(crate) fn ", "pub(super) async fn "]
                .iter()
                .any(|p| code.starts_with(p));
            if begins && open.is_none() {
                open = Some((i, indent));
            } else if let Some((from, at)) = open
                && indent == at
                && code.starts_with('}')
            {
                if i - from > 80 {
                    faults.push(format!("{}:{} has {} lines; at most 80", path.display(), from + 1, i - from));
                }
                open = None;
            }
        }
    }
    report("A file has at most 600 lines, a function 80; cut along a seam that has a name.", faults);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut faults = Vec::new();
    for (path, text) in sources("src") {
        if is_test_file(&path) {
            continue;
        }
        for (line, code) in code_lines(product(&text)) {
            for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "unsafe {"] {
                if code.contains(word) {
                    faults.push(format!("{}:{line} has {word}", path.display()));
                }
            }
        }
    }
    report("No unwrap, no stub, no debugging left behind; an expect says why it cannot fail.", faults);
}

/// What a list of released migrations minds; `read` gives a file's bytes.
fn thawed(list: &str, read: impl Fn(&str) -> Vec<u8>) -> Vec<String> {
    use sha2::{Digest, Sha256};
    let mut faults = Vec::new();
    for line in list.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let (sum, file) = line.split_once("  ").expect("sum, two blanks, file");
        if hex::encode(Sha256::digest(read(file))) != sum {
            faults.push(format!("migrations/{file} is not what was released; add a new migration instead"));
        }
    }
    faults
}

/// A released migration is frozen: a database that ran it must find the same text for ever.
#[test]
fn released_migrations_are_frozen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let list = fs::read_to_string(folder.join("frozen.txt")).expect("migrations/frozen.txt");
    report("Migrations go forward only.", thawed(&list, |file| fs::read(folder.join(file)).unwrap_or_default()));
}

#[test]
fn a_released_migration_that_changed_or_went_is_noticed() {
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let list = format!("# sha256, file\n\n{sum}  0001_a.sql\n{sum}  0002_b.sql\n");
    let read = |file: &str| if file == "0001_a.sql" { b"abc".to_vec() } else { Vec::new() };
    assert_eq!(thawed(&list, read), ["migrations/0002_b.sql is not what was released; add a new migration instead"]);
}

/// A link in a message that leads nowhere is found by whoever follows it.
#[test]
fn links_in_messages_lead_to_pages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let routes = fs::read_to_string(root.join("web/src/routes.ts")).expect("the pages of the UI");
    let pages: Vec<&str> = routes.split("path: '").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    assert!(pages.contains(&"/inbox") && pages.contains(&"/runs/:id"), "{pages:?}");
    let mut faults = Vec::new();
    let mut links = 0;
    for (path, text) in sources("src").into_iter().filter(|(p, _)| !is_test_file(p)) {
        for (line, code) in code_lines(product(&text)).filter(|(_, l)| l.contains("link: Some(") || l.contains("link = Some(")) {
            let Some(link) = code.split('"').nth(1).filter(|l| l.starts_with('/')) else { continue };
            links += 1;
            let page = link.split('?').next().unwrap_or(link).replace("{}", ":id");
            if !pages.contains(&page.as_str()) {
                faults.push(format!("{}:{line} links to {link}", path.display()));
            }
        }
    }
    assert!(links >= 5, "only {links} links were found");
    report("A link in a message leads to a page of the UI.", faults);
}
