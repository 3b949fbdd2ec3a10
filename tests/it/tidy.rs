//! Rules about the sources themselves, each with its reason.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
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

fn is_test_file(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == "tests.rs" || n == "testing.rs")
}

/// Lines of code: comments may speak of anything.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim_start().starts_with("//"))
}

fn report(rule: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

/// Who may name a library: its word, where it may stand.
const WALLS: [(&str, &[&str]); 8] = [
    ("rusqlite::", &["src/platform/store/", "src/platform/queue/"]),
    ("r2d2", &["src/platform/store/"]),
    ("axum::", &["src/platform/http/", "src/app/", "/api.rs"]),
    ("sqlx::", &["src/platform/queue/"]),
    ("apalis", &["src/platform/queue/"]),
    ("reqwest::", &["src/platform/outbound/", "src/app/demo/"]),
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
                if code.contains(&format!("crate::{higher}::")) {
                    faults.push(format!("{shown}:{line} uses {higher}"));
                }
            }
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
                if code.contains(&format!("crate::features::{higher}")) {
                    faults.push(format!("{shown}:{line} uses {higher}"));
                }
            }
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

#[test]
fn files_and_functions_can_be_read_in_one_sitting() {
    let mut faults = Vec::new();
    for (path, text) in sources("src") {
        let lines = product(&text).lines().count();
        if lines > 600 && !is_test_file(&path) {
            faults.push(format!("{} has {lines} lines; at most 600", path.display()));
        }
        if is_test_file(&path) {
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

/// A released migration is frozen: a database that ran it must find the same text for ever.
#[test]
fn released_migrations_are_frozen() {
    use sha2::{Digest, Sha256};
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("migrations/frozen.txt")).expect("migrations/frozen.txt");
    let mut faults = Vec::new();
    for line in list.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let (sum, file) = line.split_once("  ").expect("sum, two blanks, file");
        let text = fs::read(root.join("migrations").join(file)).unwrap_or_default();
        if hex::encode(Sha256::digest(&text)) != sum {
            faults.push(format!("migrations/{file} is not what was released; add a new migration instead"));
        }
    }
    report("Migrations go forward only.", faults);
}
