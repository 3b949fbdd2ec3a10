//! What outsiders say of our checkpoints, proofs and exports: the packages of the Go checksum database, and a verifier
//! in Python that shares no code with us. They accept what we accept and refuse what we refuse.

mod cases;
mod exports;
mod packs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tenure::features::audit::export::bundle::{BundleVerdict, Given};

use crate::support::http;
use crate::support::office::{Office, Who};

/// The program in Go, built once.
pub fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go/audit");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/go-peers.sh");
        let built = Command::new(script).arg(&program).output().expect("bash");
        let told = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "go builds it from golang-golang-x-mod-dev; run scripts/need.sh go: {told}");
        program
    })
}

/// A program of ours in Python, with the packages that the tests pin.
fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("tests/python/venv/bin/python");
    assert!(program.exists(), "{} is not there; run scripts/python-peers.sh", program.display());
    let mut command = Command::new(program);
    command.arg("-B").arg(root.join(script));
    command
}

/// What the verifier in Python says of a folder: its exit code and its words.
pub fn verify_py(folder: &Path, more: &[&str]) -> (i32, Value) {
    let output = python("docs/verify/verify.py").arg(folder).arg("--json").args(more).output().expect("python runs");
    let told = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().expect("it ends by itself"), told)
}

/// What we say of a folder.
pub fn ours(folder: &Path) -> BundleVerdict {
    tenure::features::evidence::bundle::check(folder, &Given::default()).expect("a verdict")
}

/// Both find the folder sound.
pub fn assert_sound(folder: &Path) -> BundleVerdict {
    let verdict = ours(folder);
    assert_eq!(verdict.fault, None);
    let (code, told) = verify_py(folder, &[]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(told["entries"], verdict.entries, "{told}");
    verdict
}

/// Both find a fault: ours is of this kind, at this entry.
pub fn assert_faulty(folder: &Path, what: &str, seq: u64, kind: &str) {
    let verdict = ours(folder);
    let fault = verdict.fault.unwrap_or_else(|| panic!("{what} is noticed"));
    assert_eq!((fault.seq, fault.kind), (seq, kind), "{what}: {}", fault.detail);
    let (code, told) = verify_py(folder, &[]);
    assert_eq!(code, 1, "{what}: {told}");
}

/// A file, as somebody gets it.
pub async fn fetch(office: &Office, who: &Who, method: &str, path: &str, body: &Value) -> (u16, String, Vec<u8>) {
    let Who::Token(token) = who else { panic!("a token") };
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = http().request(method, format!("{}{path}", office.running.base)).bearer_auth(token);
    request = request.timeout(std::time::Duration::from_secs(120));
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let name = format!("{:?}", answer.headers().get("content-disposition"));
    (status, name, answer.bytes().await.expect("the whole of it").to_vec())
}

/// Unpacks a tar; answers its one folder.
pub fn unpack(bytes: &[u8], into: &Path) -> PathBuf {
    tar::Archive::new(bytes).unpack(into).expect("a tar");
    let mut inside = std::fs::read_dir(into).expect("a folder").map(|e| e.expect("an entry").path());
    let folder = inside.next().expect("a folder in it");
    assert_eq!(inside.next(), None, "everything stands below one folder");
    folder
}

/// A copy that can be tampered with.
pub fn copy(from: &Path, to: &Path) -> PathBuf {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
    to.to_owned()
}

/// Writes a file anew, and has the manifest say so: whoever changes evidence does that as well.
pub fn rewrite(folder: &Path, name: &str, content: &[u8]) {
    use sha2::Digest as _;
    std::fs::write(folder.join(name), content).expect("is written");
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).expect("a manifest")).expect("JSON");
    if !manifest["files"][name].is_null() {
        manifest["files"][name] =
            serde_json::json!({ "size": content.len(), "sha256": hex::encode(sha2::Sha256::digest(content)) });
        std::fs::write(&path, serde_json::to_vec(&manifest).expect("JSON")).expect("is written");
    }
}
