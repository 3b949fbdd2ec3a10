//! What connectors may use of the machine.

use super::{Files, assert_accepted, assert_refused, check};

/// What connectors may use of this machine is there, is named, and is none of Tenure's own.
#[test]
fn connectors_may_use_what_is_named_and_there() {
    let files = Files::new();
    let (program, plain) = (files.with("program", "#!/bin/sh\n", 0o755), files.with("plain", "x", 0o644));
    let open = files.with("open", "#!/bin/sh\n", 0o777);
    let list = "a comma list of name=/absolute/path, each name of up to 40 letters, digits, hyphens and underscores";
    let long = format!("{}={program}", "n".repeat(41));
    let twice = format!("a={program},a={plain}");
    for name in ["CONNECTOR_EXEC_PROGRAMS", "CONNECTOR_SQLITE_FILES"] {
        for value in [" ", "a", "=/x", "a=", "a=x", "a b=/x", "ä=/x", ",", &long, &twice] {
            assert_refused(&[(name, value)], &[&format!("{name}: got {value:?}; expected {list}")]);
        }
        assert_accepted(&[(name, &format!("a={program}, b-2_C={program}"))]);
    }
    for missing in [files.path("none"), files.path("")] {
        let value = format!("a={missing}");
        assert_refused(&[("CONNECTOR_EXEC_PROGRAMS", &value)], &[&format!("CONNECTOR_EXEC_PROGRAMS: expected that {missing} is a program")]);
        assert_refused(&[("CONNECTOR_SQLITE_FILES", &value)], &[&format!("CONNECTOR_SQLITE_FILES: expected that {missing} is a file")]);
    }
    let value = format!("a={plain}");
    assert_refused(&[("CONNECTOR_EXEC_PROGRAMS", &value)], &[&format!("CONNECTOR_EXEC_PROGRAMS: expected that {plain} is a program")]);
    let value = format!("a={open}");
    assert_accepted(&[("CONNECTOR_EXEC_PROGRAMS", &value)]);
    let verdict = check(&[("APP_ENV", "production"), ("CONNECTOR_EXEC_PROGRAMS", &value)]);
    let fault = format!("CONNECTOR_EXEC_PROGRAMS: expected a program that only its owner can change: chmod go-w {open}");
    assert!(verdict.faults.contains(&fault), "{:?}", verdict.faults);
    let data = files.path("data");
    std::fs::create_dir(&data).expect("a folder");
    let own = files.with("data/tenure.db", "x", 0o600);
    assert_refused(
        &[("DATA_DIR", &data), ("CONNECTOR_SQLITE_FILES", &format!("a={own}"))],
        &[&format!("CONNECTOR_SQLITE_FILES: expected no file of Tenure itself, as {own} is")],
    );
}
