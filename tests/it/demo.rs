//! The sample story, as a person on a fresh machine sees it.

use crate::support::command;

#[test]
fn the_demo_goes_to_its_end_against_real_systems() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = command(&["demo", "--check", "--data-dir"])
        .arg(dir.path().join("data"))
        .env("PORT", crate::support::free_port().to_string())
        .output()
        .expect("the demo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for fact in ["ldapsearch finds uid=ada", "no access in any system after", "provisioned once, removed once", "every link holds"] {
        assert!(text.contains(fact), "{fact:?} is missing in:\n{text}");
    }
    let verify = command(&["audit", "verify", "--db"]).arg(dir.path().join("data/tenure.db")).output().expect("runs");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}
