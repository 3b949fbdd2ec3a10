//! Every example workflow, published and run through the public API: to its end, or through its branches.

mod access;
mod exceptions;
mod people;
mod steps;
mod systems;

use std::collections::BTreeSet;

use tenure::features::workflow::definitions::text;
use tenure::features::workflow::definitions::validate::validate;

use crate::support::stage::{example_text, examples, format_of};

/// Each example with the tests that run it.
const RUN: &[(&str, &[&str])] = &[
    ("access-request.yaml", &[
        "two_of_three_owners_agree_and_the_role_comes_for_a_time",
        "two_owners_reject_and_nothing_is_granted",
        "owners_are_reminded_then_administrators_decide_then_it_is_rejected",
        "a_request_that_cannot_be_decided_or_carried_out_is_told_to_administrators",
    ]),
    ("break-glass.yaml", &[
        "emergency_access_has_a_reason_ends_after_eight_hours_and_is_reviewed",
        "a_missing_review_is_reminded_of_every_day_and_comes_to_administrators",
        "emergency_access_that_cannot_be_granted_fails",
    ]),
    ("consent.json", &["a_consent_is_given_or_declined_by_the_person_alone_and_its_text_is_kept"]),
    ("contractor-extension.yaml", &[
        "a_contract_that_goes_on_extends_the_access_and_doubles_nothing",
        "a_contract_is_not_extended_when_somebody_or_a_rule_says_no",
    ]),
    ("genome-access.json", &[
        "access_on_two_documents_ends_with_the_first_of_them",
        "a_rejection_and_a_system_that_refuses_are_told",
    ]),
    ("invitation.json", &[
        "an_invitation_is_accepted_once_and_the_guest_becomes_the_subject",
        "a_link_expires_on_its_instant_and_the_run_goes_on",
    ]),
    ("offboarding.yaml", &["somebody_joins_and_leaves", "what_cannot_be_taken_away_is_told_to_administrators"]),
    ("onboarding.yaml", &[
        "somebody_joins_and_leaves",
        "somebody_who_is_rejected_gets_nothing",
        "what_was_set_up_is_taken_back_when_an_account_is_somebody_elses",
    ]),
    ("provisioning.yaml", &[
        "two_systems_are_set_up_one_after_the_other",
        "a_second_system_that_refuses_undoes_the_first_the_last_of_it_first",
        "a_system_that_is_busy_is_asked_again_with_the_same_key",
    ]),
    ("steps/approval.yaml", &["a_decision_leads_where_its_outcome_says"]),
    ("steps/case.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/condition.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/connector.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/consent.yaml", &["a_decision_leads_where_its_outcome_says"]),
    ("steps/delay.yaml", &["steps_that_wait_go_on_at_their_instant_or_event"]),
    ("steps/document-request.yaml", &["a_run_waits_for_a_document_that_is_approved"]),
    ("steps/end.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/foreach.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/http.yaml", &[
        "an_http_step_calls_below_the_base_url_of_a_connector_and_nowhere_else",
        "each_type_of_step_does_what_its_example_says",
    ]),
    ("steps/identity-link.yaml", &[
        "each_type_of_step_does_what_its_example_says",
        "what_was_set_up_is_taken_back_when_an_account_is_somebody_elses",
    ]),
    ("steps/invitation.yaml", &["a_guest_comes_by_a_link_that_looking_does_not_use_up"]),
    ("steps/notification.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/parallel-join.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/profile-update.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/role-grant.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/role-revoke.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/set.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/subworkflow.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/task.yaml", &["somebody_of_a_group_fills_in_a_form"]),
    ("steps/transform.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/user-create.yaml", &["each_type_of_step_does_what_its_example_says"]),
    ("steps/verify-contact.yaml", &["an_address_is_proven_by_its_link_or_counts_as_not_proven"]),
    ("steps/wait-until.yaml", &["steps_that_wait_go_on_at_their_instant_or_event"]),
    ("steps/webhook-wait.yaml", &["steps_that_wait_go_on_at_their_instant_or_event"]),
    ("task.json", &["the_example_of_a_task_runs_to_its_end", "a_task_that_nobody_may_do_ends_its_run"]),
    ("verify-contact.json", &[
        "an_address_is_proven_by_its_link_and_by_no_other",
        "an_address_is_proven_by_its_link_or_counts_as_not_proven",
    ]),
];

/// The bodies of the tests of this binary, by name.
fn test_body<'a>(sources: &'a [String], name: &str) -> Option<&'a str> {
    let head = format!("fn {name}()");
    sources.iter().find_map(|text| {
        let (before, after) = text.split_once(&head)?;
        // A test, and one that runs.
        let attributes = before.rsplit("\n\n").next()?;
        (attributes.contains("test") && !attributes.contains("ignore")).then_some(())?;
        after.split("\n}\n").next()
    })
}

fn sources_of_tests() -> Vec<String> {
    let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(std::fs::read_to_string(path).expect("a source"));
            }
        }
    }
    found
}

/// An example that nobody runs may be wrong for years; a new one needs a row above, and its test names it.
#[test]
fn every_example_is_run_by_a_test_that_names_it() {
    let rows: Vec<&str> = RUN.iter().map(|(file, _)| *file).collect();
    assert_eq!(examples(), rows, "an example has no row in the table, or a row no example");
    let sources = sources_of_tests();
    for (file, tests) in RUN {
        assert!(!tests.is_empty(), "{file} is run by no test");
        let stem = file.rsplit('/').next().and_then(|n| n.split('.').next()).expect("a name");
        for test in *tests {
            let body = test_body(&sources, test).unwrap_or_else(|| panic!("there is no test {test} for {file}"));
            assert!(body.contains(file) || body.contains(&format!("\"{stem}\"")), "{test} does not name {file}");
        }
    }
}

/// The examples show every type of step, and nothing in them needs looking at.
#[test]
fn every_type_of_step_has_an_example_without_a_fault() {
    let mut kinds = BTreeSet::new();
    for example in examples() {
        let document =
            text::read(&example_text(&example), format_of(&example)).unwrap_or_else(|f| panic!("{example}: {f:?}"));
        let found = validate(&document.definition);
        assert_eq!((found.errors, found.warnings), (Vec::new(), Vec::new()), "{example}");
        assert!(document.key.is_some() || example.ends_with(".json"), "{example} has a key");
        kinds.extend(document.definition.steps.iter().map(|s| s.action.kind()));
    }
    let all = [
        "approval", "task", "consent", "invitation", "document_request", "verify_contact", "role_grant", "role_revoke",
        "user_create", "profile_update", "identity_link", "connector", "http", "notification", "webhook_wait", "set",
        "transform", "condition", "case", "parallel", "join", "foreach", "subworkflow", "delay", "wait_until", "end",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), { let mut all = all.to_vec(); all.sort_unstable(); all });
}
