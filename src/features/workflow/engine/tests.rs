//! The engine as a pure function: tables, and properties over generated definitions and events.

use serde_json::json;

use super::*;
use crate::features::workflow::definitions::OnError;

fn scope(now_ms: i64) -> Scope {
    Scope { values: json!({ "subject": { "displayName": "Ada" } }), now: Timestamp::from_millis(now_ms) }
}

fn definition(steps: Value) -> Definition {
    serde_json::from_value(json!({
        "name": "Test",
        "variables": [{ "name": "n", "type": "number" }, { "name": "text", "type": "string" }],
        "steps": steps,
    }))
    .expect("reads")
}

fn start(definition: &Definition, vars: Value) -> (RunState, Vec<Effect>) {
    let vars = vars.as_object().cloned().unwrap_or_default();
    advance(definition, RunState { vars, ..RunState::default() }, Event::Start, &scope(0))
}

#[test]
fn computing_steps_run_to_the_end_in_one_burst() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "set", "config": { "values": { "text": "{{ subject.displayName }} {{ vars.n }}" } },
          "transitions": [{ "on": "success", "to": "b" }] },
        { "id": "b", "name": "B", "type": "condition",
          "config": { "cases": [{ "when": "vars.n > 5", "outcome": "big" }], "default": "small" },
          "transitions": [{ "on": "big", "to": "c" }] },
        { "id": "c", "name": "C", "type": "end", "config": {} },
    ]));
    let (state, _) = start(&d, json!({ "n": 7 }));
    assert_eq!(state.ended, Some(Ended { status: EndStatus::Completed, reason: None }));
    assert_eq!(state.vars["text"], "Ada 7");
    assert_eq!(state.visits, 3);
}

#[test]
fn a_late_or_repeated_outcome_changes_nothing() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "connector", "config": { "connector": "x", "command": "y" },
          "transitions": [{ "on": "success", "to": "b" }] },
        { "id": "b", "name": "B", "type": "delay", "config": { "seconds": 60 } },
    ]));
    let (waiting, _) = start(&d, json!({}));
    let done = Event::Finished { visit: 1, outcome: "success".to_owned(), output: json!({}) };
    let (once, effects) = advance(&d, waiting.clone(), done.clone(), &scope(0));
    assert!(effects.contains(&Effect::WakeAt { at: Timestamp::from_millis(60_000) }));
    let (twice, effects) = advance(&d, once.clone(), done, &scope(1));
    assert_eq!((twice, effects), (once, Vec::new()));
}

/// What people fill in goes into variables with the outcome, once; the event reads back as it was stored.
#[test]
fn what_people_answer_sets_variables_once_and_replays() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "task", "config": { "title": "T", "assignees": [{ "person": "x" }] },
          "transitions": [{ "on": "success", "to": "b" }] },
        { "id": "b", "name": "B", "type": "delay", "config": { "seconds": 60 } },
    ]));
    let (asked, _) = start(&d, json!({ "n": 1 }));
    let wait = Wait::Task { id: "tsk".to_owned() };
    let (waiting, _) = advance(&d, asked, Event::Waits { visit: 1, wait }, &scope(0));
    let answer = |n: u32| Event::Answered {
        visit: 1,
        outcome: "success".to_owned(),
        output: json!({ "n": n }),
        values: serde_json::Map::from_iter([("n".to_owned(), json!(n))]),
    };
    let stored = serde_json::to_string(&answer(7)).expect("writes");
    let read: Event = serde_json::from_str(&stored).expect("reads");
    let (once, _) = advance(&d, waiting.clone(), answer(7), &scope(0));
    assert_eq!((&once.vars["n"], &once.outputs["a"]["output"]), (&json!(7), &json!({ "n": 7 })));
    assert_eq!(advance(&d, waiting, read, &scope(0)).0, once);
    let (late, effects) = advance(&d, once.clone(), answer(8), &scope(1));
    assert_eq!((late, effects), (once, Vec::new()), "a late answer changes nothing");
}

#[test]
fn a_step_is_tried_again_as_often_as_it_says_then_follows_its_error_edge() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "connector", "config": { "connector": "x", "command": "y" },
          "retry": { "count": 2, "backoffSeconds": 10 },
          "transitions": [{ "on": "error", "to": "b" }] },
        { "id": "b", "name": "B", "type": "end", "config": { "failed": true, "reason": "gave up" } },
    ]));
    let fail = |retryable| Event::Failed {
        visit: 1,
        error: StepError { message: "no".to_owned(), code: "no".to_owned() },
        retryable,
    };
    let (mut state, _) = start(&d, json!({}));
    for attempt in 1..=2 {
        (state, _) = advance(&d, state.clone(), fail(true), &scope(0));
        assert!(matches!(state.tokens[0].wait.clone(), Some(Wait::Retry { .. })));
        let (early, _) = advance(&d, state.clone(), Event::Tick, &scope(9_999));
        assert_eq!(early.tokens.first().map(|a| a.attempt), Some(attempt));
        let (next, effects) = advance(&d, state.clone(), Event::Tick, &scope(10_000));
        assert!(effects.iter().any(|e| matches!(e, Effect::Do { attempt: a, .. } if *a == attempt + 1)));
        state = next;
    }
    let (state, _) = advance(&d, state.clone(), fail(true), &scope(0));
    assert_eq!(state.ended.and_then(|e| e.reason).as_deref(), Some("gave up"));
}

/// It was to be in seconds, not when the clock comes there again.
#[test]
fn a_retry_that_a_wrong_future_put_off_comes_once_the_clock_is_set_back() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "connector", "config": { "connector": "x", "command": "y" },
          "retry": { "count": 1, "backoffSeconds": 10 } },
    ]));
    let (state, _) = start(&d, json!({}));
    let error = StepError { message: "no".to_owned(), code: "no".to_owned() };
    let failed = Event::Failed { visit: 1, error, retryable: true };
    let (state, _) = advance(&d, state, failed, &scope(4_000_000_000_000));
    let attempt = |now: i64| advance(&d, state.clone(), Event::Tick, &scope(now)).0.tokens[0].attempt;
    assert_eq!(attempt(4_000_000_000_000), 1, "its instant has not come");
    assert_eq!(attempt(1_900_000_000_000), 2);
}

#[test]
fn without_an_error_edge_the_run_fails_and_names_the_step() {
    let d = definition(json!([
        { "id": "a", "name": "Add account", "type": "set", "config": { "values": { "text": "{{ vars.missing.deep }}" } } },
    ]));
    let (state, _) = start(&d, json!({}));
    let ended = state.ended.expect("ended");
    assert_eq!(ended.status, EndStatus::Failed);
    assert!(ended.reason.expect("a reason").starts_with("Add account: config.values.text: line 1, column "));
}

#[test]
fn a_failed_approval_fails_the_run_even_where_errors_are_passed_over() {
    let mut d = definition(json!([
        { "id": "a", "name": "Review", "type": "approval", "config": { "title": "t", "approvers": [{ "group": "g" }] } },
    ]));
    d.on_error = OnError::Continue;
    let (state, _) = start(&d, json!({}));
    let error = StepError { message: "Nobody can decide.".to_owned(), code: "refused".to_owned() };
    let (state, _) = advance(&d, state.clone(), Event::Failed { visit: 1, error, retryable: false }, &scope(0));
    assert_eq!(state.ended.map(|e| e.status), Some(EndStatus::Failed));
}

#[test]
fn a_failure_of_an_earlier_try_is_ignored_while_the_next_is_waited_for() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "connector", "config": { "connector": "x", "command": "y" },
          "retry": { "count": 1, "backoffSeconds": 10 } },
    ]));
    let fail = Event::Failed {
        visit: 1,
        error: StepError { message: "no".to_owned(), code: "no".to_owned() },
        retryable: true,
    };
    let (state, _) = start(&d, json!({}));
    let (waiting, _) = advance(&d, state.clone(), fail.clone(), &scope(0));
    assert_eq!(advance(&d, waiting.clone(), fail, &scope(1)), (waiting, Vec::new()));
}

#[test]
fn a_long_loop_yields_after_a_burst() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "condition", "config": { "cases": [], "default": "again" },
          "transitions": [{ "on": "again", "to": "a" }] },
    ]));
    let (state, effects) = start(&d, json!({}));
    assert_eq!(effects.last(), Some(&Effect::GoOnLater));
    assert!(state.tokens[0].wait.is_none());
}


/// Id, type, settings and transitions of a step.
type Written<'a> = (&'a str, &'a str, Value, &'a [(&'a str, &'a str)]);

fn steps(list: &[Written<'_>]) -> Definition {
    let steps = list.iter().map(|(id, kind, config, to)| {
        let transitions: Vec<Value> = to.iter().map(|(on, to)| json!({ "on": on, "to": to })).collect();
        json!({ "id": id, "name": id, "type": kind, "config": config, "transitions": transitions })
    });
    definition(Value::Array(steps.collect()))
}

fn call() -> Value {
    json!({ "connector": "c", "command": "x" })
}

fn finished(visit: u32, output: Value) -> Event {
    Event::Finished { visit, outcome: "success".to_owned(), output }
}

fn broken(visit: u32) -> Event {
    Event::Failed { visit, error: StepError::new("no", "It said no."), retryable: false }
}

fn visit_of(state: &RunState, step: &str) -> u32 {
    let found = state.tokens.iter().find(|t| t.step == step);
    found.unwrap_or_else(|| panic!("the run is not at {step}: {:?}", state.tokens)).visit
}

fn fork(rule: Value) -> Definition {
    steps(&[
        ("fork", "parallel", json!({ "branches": ["a", "b", "c"] }), &[]),
        ("a", "connector", call(), &[("success", "meet")]),
        ("b", "connector", call(), &[("success", "meet")]),
        ("c", "connector", call(), &[("success", "meet")]),
        ("meet", "join", json!({ "rule": rule }), &[("success", "after")]),
        ("after", "connector", call(), &[]),
    ])
}

#[test]
fn branches_run_side_by_side_and_meet_when_the_rule_says() {
    for (rule, needed) in [(json!("all"), 3), (json!("any"), 1), (json!({ "quorum": 2 }), 2)] {
        let d = fork(rule.clone());
        let (mut state, effects) = start(&d, json!({}));
        assert_eq!(effects.iter().filter(|e| matches!(e, Effect::Do { .. })).count(), 3, "{rule}");
        for (n, step) in ["b", "c", "a"].into_iter().enumerate().take(needed) {
            assert!(!state.tokens.iter().any(|t| t.step == "after"), "{rule}: met after {n}");
            let visit = visit_of(&state, step);
            let (next, effects) = advance(&d, state, finished(visit, Value::Null), &scope(0));
            state = next;
            if n + 1 == needed {
                let withdrawn = effects.iter().filter(|e| matches!(e, Effect::Withdrawn { .. })).count();
                assert_eq!(withdrawn, 3 - needed, "{rule}: who is not needed is told so");
            }
        }
        assert_eq!(state.tokens.iter().map(|t| t.step.as_str()).collect::<Vec<_>>(), ["after"], "{rule}");
        assert!(state.frames.is_empty());
    }
}

#[test]
fn a_quorum_that_cannot_be_reached_fails_the_step_that_forked() {
    let mut d = fork(json!({ "quorum": 3 }));
    // Branch c ends by itself.
    d.steps[3].transitions.clear();
    let (mut state, _) = start(&d, json!({}));
    for step in ["a", "b", "c"] {
        let visit = visit_of(&state, step);
        (state, _) = advance(&d, state, finished(visit, Value::Null), &scope(0));
    }
    let reason = state.ended.and_then(|e| e.reason).expect("it failed");
    assert_eq!(reason, "fork: 2 of the 3 branches that are needed came to the meeting.");
}

#[test]
fn items_are_gone_through_so_many_at_a_time_and_what_they_gave_keeps_its_place() {
    let d = steps(&[
        ("each", "foreach", json!({ "items": "vars.list", "body": "one", "maxParallel": 2 }), &[("success", "end")]),
        ("one", "connector", json!({ "connector": "c", "command": "x", "params": { "who": "{{ item }}", "n": "{{ index }}" } }), &[]),
        ("end", "end", json!({}), &[]),
    ]);
    let (mut state, effects) = start(&d, json!({ "list": ["ada", "rosa", "kim"] }));
    let asked: Vec<Value> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::Do { action, .. } => match &**action {
                Action::Connector(c) => Some(c.params.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(asked, [json!({ "who": "ada", "n": 0 }), json!({ "who": "rosa", "n": 1 })]);
    let (first, second) = (state.tokens[1].visit, state.tokens[2].visit);
    (state, _) = advance(&d, state, finished(second, json!("r")), &scope(0));
    let third = state.tokens.iter().find(|t| t.branch == 2).expect("the third began").visit;
    (state, _) = advance(&d, state, finished(third, json!("k")), &scope(0));
    (state, _) = advance(&d, state, finished(first, json!("a")), &scope(0));
    assert_eq!(state.ended.map(|e| e.status), Some(EndStatus::Completed));
    assert_eq!(state.outputs["each"]["output"], json!({ "count": 3, "failed": 0, "results": ["a", "r", "k"] }));
}

#[test]
fn an_item_that_fails_may_leave_the_others_alone() {
    let each = |on_error: bool| {
        steps(&[
            ("each", "foreach", json!({ "items": "[1, 2]", "body": "one", "continueOnError": on_error }), &[]),
            ("one", "connector", call(), &[]),
        ])
    };
    let d = each(true);
    let (state, _) = start(&d, json!({}));
    let (state, _) = advance(&d, state.clone(), broken(visit_of(&state, "one")), &scope(0));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "one"), json!(7)), &scope(0));
    assert_eq!(state.outputs["each"]["output"]["failed"], 1);
    assert_eq!(state.outputs["each"]["output"]["results"][1], 7);
    let d = each(false);
    let (state, _) = start(&d, json!({}));
    let (state, _) = advance(&d, state.clone(), broken(visit_of(&state, "one")), &scope(0));
    assert_eq!(state.ended.map(|e| e.status), Some(EndStatus::Failed));
}

#[test]
fn a_step_that_takes_too_long_follows_its_timeout_and_takes_its_branches_along() {
    let mut d = fork(json!("all"));
    d.steps[0].timeout = serde_json::from_value(json!({ "seconds": 60 })).expect("reads");
    d.steps[0].transitions = serde_json::from_value(json!([{ "on": "timeout", "to": "after" }])).expect("reads");
    let (state, effects) = start(&d, json!({}));
    assert!(effects.contains(&Effect::WakeAt { at: Timestamp::from_millis(60_000) }));
    let (early, _) = advance(&d, state.clone(), Event::Tick, &scope(59_999));
    assert_eq!(early, state);
    let (late, effects) = advance(&d, state, Event::Tick, &scope(60_000));
    assert_eq!(late.tokens.iter().map(|t| t.step.as_str()).collect::<Vec<_>>(), ["after"]);
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::Withdrawn { .. })).count(), 4);
}

#[test]
fn what_succeeded_is_undone_in_reverse_and_the_run_fails_with_its_first_reason() {
    let mut d = steps(&[
        ("a", "connector", call(), &[("success", "b")]),
        ("grant", "role_grant", json!({ "role": "r" }), &[("success", "c")]),
        ("b", "connector", call(), &[("success", "grant")]),
        ("c", "connector", call(), &[]),
    ]);
    d.on_error = OnError::Compensate;
    let undo = json!({ "type": "connector", "config": { "connector": "c", "command": "undo", "params": "{{ steps.a.output }}" } });
    d.steps[0].compensation = serde_json::from_value(undo).expect("reads");
    let (state, _) = start(&d, json!({}));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), json!({ "id": 7 })), &scope(0));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "b"), Value::Null), &scope(0));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "grant"), json!({ "assignmentId": "asg" })), &scope(0));
    let (state, effects) = advance(&d, state.clone(), broken(visit_of(&state, "c")), &scope(0));
    assert!(effects.iter().any(|e| matches!(e, Effect::RevokeAssignment { id, .. } if id == "asg")), "{effects:?}");
    let (state, effects) = advance(&d, state.clone(), finished(visit_of(&state, "grant"), Value::Null), &scope(0));
    let undone = effects.iter().find_map(|e| match e {
        Effect::Do { action, .. } => Some((**action).clone()),
        _ => None,
    });
    let Some(Action::Connector(undone)) = undone else { panic!("a is undone: {effects:?}") };
    assert_eq!((undone.command.as_str(), undone.params), ("undo", json!({ "id": 7 })));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), Value::Null), &scope(0));
    let reason = state.ended.and_then(|e| e.reason).expect("it failed");
    assert_eq!(reason, "c: It said no. What had succeeded was undone.");
}

#[test]
fn what_cannot_be_undone_is_tried_again_then_named() {
    let mut d = steps(&[("a", "connector", call(), &[("success", "b")]), ("b", "connector", call(), &[])]);
    d.on_error = OnError::Compensate;
    d.steps[0].compensation =
        serde_json::from_value(json!({ "type": "connector", "config": call() })).expect("reads");
    let (state, _) = start(&d, json!({}));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), Value::Null), &scope(0));
    let (mut state, _) = advance(&d, state.clone(), broken(visit_of(&state, "b")), &scope(0));
    for n in 1..=3 {
        let again = Event::Failed { visit: visit_of(&state, "a"), error: StepError::new("no", "no"), retryable: true };
        (state, _) = advance(&d, state, again, &scope(n * 5_000));
        assert!(state.ended.is_none(), "try {n}");
        (state, _) = advance(&d, state, Event::Tick, &scope((n + 1) * 5_000));
    }
    let (state, _) = advance(&d, state.clone(), broken(visit_of(&state, "a")), &scope(60_000));
    assert!(state.ended.and_then(|e| e.reason).is_some_and(|r| r.ends_with("Not undone: a.")));
}

/// Whatever `onError` says; what was skipped is left alone, and a second wish to stop changes nothing.
#[test]
fn a_run_that_is_cancelled_may_be_undone() {
    let mut d = steps(&[
        ("a", "connector", call(), &[("success", "grant")]),
        ("grant", "role_grant", json!({ "role": "r" }), &[("success", "skipped")]),
        ("skipped", "connector", call(), &[("success", "c")]),
        ("c", "connector", call(), &[]),
    ]);
    for i in [0, 2] {
        d.steps[i].compensation =
            serde_json::from_value(json!({ "type": "connector", "config": call() })).expect("reads");
    }
    let (state, _) = start(&d, json!({}));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), Value::Null), &scope(0));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "grant"), json!({ "assignmentId": "asg" })), &scope(0));
    let skip = Event::Skip { visit: visit_of(&state, "skipped"), outcome: "success".to_owned(), reason: "r".to_owned() };
    let (state, _) = advance(&d, state, skip, &scope(0));
    let (state, effects) = advance(&d, state, Event::Undo { reason: "Not needed.".to_owned() }, &scope(0));
    assert!(effects.contains(&Effect::Undoing { reason: "Not needed.".to_owned(), steps: 2 }), "{effects:?}");
    let stop = Event::Stop { status: EndStatus::Failed, reason: "again".to_owned() };
    assert_eq!(advance(&d, state.clone(), stop, &scope(0)), (state.clone(), Vec::new()));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "grant"), Value::Null), &scope(0));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), Value::Null), &scope(0));
    let reason = Some("Not needed. What had succeeded was undone.".to_owned());
    assert_eq!(state.ended, Some(Ended { status: EndStatus::Cancelled, reason }));
}

/// A run that is to compensate and has nothing to undo yet stays where it failed.
#[test]
fn a_run_with_nothing_to_undo_can_be_taken_up() {
    let mut d = steps(&[("a", "connector", call(), &[])]);
    d.on_error = OnError::Compensate;
    let (state, _) = start(&d, json!({}));
    let (failed, _) = advance(&d, state.clone(), broken(visit_of(&state, "a")), &scope(0));
    assert_eq!(failed.ended.as_ref().and_then(|e| e.reason.as_deref()), Some("a: It said no."));
    let (again, _) = advance(&d, failed, Event::TakeUp, &scope(0));
    assert_eq!((again.ended, again.tokens.len()), (None, 1));
}

#[test]
fn a_failed_run_is_taken_up_where_it_failed() {
    let d = fork(json!("all"));
    let (state, _) = start(&d, json!({}));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), Value::Null), &scope(0));
    let (failed, _) = advance(&d, state.clone(), broken(visit_of(&state, "b")), &scope(0));
    assert_eq!(failed.ended.as_ref().map(|e| e.status), Some(EndStatus::Failed));
    let (mut state, effects) = advance(&d, failed.clone(), Event::TakeUp, &scope(0));
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::Do { .. })).count(), 2, "b and c begin again, a does not");
    for step in ["b", "c"] {
        (state, _) = advance(&d, state.clone(), finished(visit_of(&state, step), Value::Null), &scope(0));
    }
    assert_eq!(visit_of(&state, "after"), state.visits);
    let skip = Event::Skip { visit: visit_of(&failed, "b"), outcome: "success".to_owned(), reason: "by hand".to_owned() };
    let (state, _) = advance(&d, failed, skip, &scope(0));
    let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "c"), Value::Null), &scope(0));
    assert_eq!(state.outputs["b"]["output"]["reason"], "by hand");
    assert_eq!(visit_of(&state, "after"), state.visits);
}

#[test]
fn values_are_compared_as_json_and_lists_mean_any_of_them() {
    let d = steps(&[("a", "case", json!({ "value": "vars.n", "cases": [
        { "equals": [1, 2], "outcome": "few" }, { "equals": 7, "outcome": "many" } ], "default": "other" }), &[])]);
    for (n, outcome) in [(json!(2), "few"), (json!(7.0), "many"), (json!("7"), "other"), (Value::Null, "other")] {
        let (state, _) = start(&d, json!({ "n": n }));
        assert_eq!(state.outputs["a"]["outcome"], outcome, "{n}");
    }
}

/// The mark stands in the state beside what a step gave: a value that looks like it marks nothing.
#[test]
fn no_value_says_of_its_step_that_it_was_skipped() {
    let mut d = steps(&[("a", "connector", call(), &[("success", "b")]), ("b", "connector", call(), &[])]);
    for step in &mut d.steps {
        step.compensation =
            serde_json::from_value(json!({ "type": "connector", "config": call() })).expect("reads");
    }
    let skipped = |effects: &[Effect]| {
        effects.iter().find_map(|e| match e {
            Effect::Left { skipped, .. } => Some(*skipped),
            _ => None,
        })
    };
    let (state, _) = start(&d, json!({}));
    let forged = json!({ "skipped": true, "reason": "not at all" });
    let (state, effects) = advance(&d, state.clone(), finished(visit_of(&state, "a"), forged), &scope(0));
    assert_eq!((skipped(&effects), state.undo.len()), (Some(false), 1), "it was done, and can be undone");
    assert_eq!(state.outputs["a"].get("skipped"), None);
    let skip = Event::Skip { visit: visit_of(&state, "b"), outcome: "success".to_owned(), reason: "r".to_owned() };
    let (state, effects) = advance(&d, state, skip, &scope(0));
    assert_eq!((skipped(&effects), state.undo.len()), (Some(true), 1), "nothing undoes what was not done");
    assert_eq!(state.outputs["b"], json!({ "outcome": "success", "output": { "reason": "r" }, "skipped": true }));
}

#[test]
fn a_transform_gives_values_of_the_types_of_its_variables() {
    let d: Definition = serde_json::from_value(json!({
        "name": "Test",
        "variables": [{ "name": "n", "type": "number", "required": true }, { "name": "day", "type": "date" },
                      { "name": "list", "type": "array" }],
        "steps": [{ "id": "a", "name": "Sum", "type": "transform",
                    "config": { "script": "return {}", "outputs": ["n", "day", "list"] } }],
    }))
    .expect("reads");
    let rows = [
        (json!({ "n": "7" }), Some("script: n is a string; expected a number")),
        (json!({ "n": null }), Some("script: n is null; expected a number")),
        (json!({ "n": 7, "day": "tomorrow" }), Some("script: day is a string; expected a date such as 2031-03-01")),
        (json!({ "list": {} }), Some("script: list is an object; expected an array")),
        (json!({ "n": 7, "day": null, "list": [] }), None),
        (json!({ "day": "2031-03-01" }), None),
    ];
    for (values, fault) in rows {
        let (state, _) = start(&d, json!({ "n": 1 }));
        let values = values.as_object().cloned().expect("an object");
        let (state, _) = advance(&d, state, Event::Computed { visit: 1, values: values.clone() }, &scope(0));
        let reason = state.ended.and_then(|e| e.reason);
        assert_eq!(reason, fault.map(|f| format!("Sum: {f}")), "{values:?}");
        assert_eq!(state.vars["n"] == json!(1), fault.is_some() || !values.contains_key("n"), "{values:?}");
    }
}

/// Whoever mends it sees which of many texts it is, and where in it.
#[test]
fn a_fault_in_a_template_names_its_path_and_its_column() {
    let mail = json!({ "connector": "c", "command": "x",
                       "params": { "mail": { "to": ["a", "to {{ vars.nobody.at }}"] } } });
    let rows = [
        ("connector", mail, "config.params.mail.to[1]: line 1, column "),
        ("connector", json!({ "connector": "c", "command": "x", "params": { "a": "one\n  {{ vars.absent.x }}" } }),
            "config.params.a: line 2, column "),
        ("set", json!({ "values": { "text": { "deep": ["{{ nothing }}"] } } }), "config.values.text.deep[0]: line 1, column 4: "),
        ("delay", json!({ "seconds": "{{ vars.absent.x }}" }), "config.seconds: line 1, column "),
        ("wait_until", json!({ "until": "{{ vars.n }}" }), "config.until: got \"7\""),
        ("condition", json!({ "cases": [{ "when": "vars.text.length > 1", "outcome": "a" }] }), "config.cases[0].when: "),
        ("foreach", json!({ "items": "vars.n", "body": "a" }), "config.items: expected a list"),
    ];
    for (kind, config, fault) in rows {
        let d = steps(&[("a", kind, config, &[])]);
        let (state, _) = start(&d, json!({ "n": 7, "text": "x" }));
        let reason = state.ended.and_then(|e| e.reason).unwrap_or_default();
        assert!(reason.starts_with(&format!("a: {fault}")), "{kind}: {reason}");
    }
}

/// A run inside another one is undone in its place: after what came later, before what came earlier.
#[test]
fn a_run_inside_is_undone_in_its_turn_also_when_it_failed() {
    let undo = json!({ "type": "connector", "config": call() });
    for fails in [false, true] {
        let mut d = steps(&[
            ("a", "connector", call(), &[("success", "inner")]),
            ("inner", "subworkflow", json!({ "workflow": "w" }), &[("success", "b"), ("error", "b")]),
            ("b", "connector", call(), &[]),
        ]);
        d.on_error = OnError::Compensate;
        d.steps[0].compensation = serde_json::from_value(undo.clone()).expect("reads");
        let (state, _) = start(&d, json!({}));
        let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), Value::Null), &scope(0));
        let visit = visit_of(&state, "inner");
        let waits = Event::Waits { visit, wait: Wait::Run { id: "run_1".to_owned() } };
        let (state, _) = advance(&d, state, waits, &scope(0));
        let over = if fails { broken(visit) } else { finished(visit, json!({ "runId": "run_1" })) };
        let (state, _) = advance(&d, state, over, &scope(0));
        let (state, effects) = advance(&d, state.clone(), broken(visit_of(&state, "b")), &scope(0));
        let undone = effects.iter().find(|e| matches!(e, Effect::UndoRun { id, .. } if id == "run_1"));
        assert!(undone.is_some(), "{effects:?}");
        let (state, effects) = advance(&d, state.clone(), finished(visit_of(&state, "inner"), Value::Null), &scope(0));
        assert!(effects.iter().any(|e| matches!(e, Effect::Do { .. })), "then what came before it: {effects:?}");
        let (state, _) = advance(&d, state.clone(), finished(visit_of(&state, "a"), Value::Null), &scope(0));
        assert_eq!(state.undoing.map(|u| u.undone), Some(2));
    }
}

#[test]
fn a_complete_run_is_undone_once_and_one_with_nothing_to_undo_stays() {
    let mut d = steps(&[("a", "connector", call(), &[])]);
    let undo = Event::Undo { reason: "the run around it is undone".to_owned() };
    let (state, _) = start(&d, json!({}));
    let (complete, _) = advance(&d, state, finished(1, Value::Null), &scope(0));
    assert_eq!(advance(&d, complete.clone(), undo.clone(), &scope(0)), (complete, Vec::new()));
    d.steps[0].compensation = serde_json::from_value(json!({ "type": "connector", "config": call() })).expect("reads");
    let (state, _) = start(&d, json!({}));
    let (complete, _) = advance(&d, state, finished(1, Value::Null), &scope(0));
    let (state, effects) = advance(&d, complete, undo.clone(), &scope(0));
    assert!(state.ended.is_none() && effects.iter().any(|e| matches!(e, Effect::Do { visit: 2, .. })), "{effects:?}");
    let (over, _) = advance(&d, state, finished(2, Value::Null), &scope(0));
    assert_eq!(over.ended.as_ref().map(|e| e.status), Some(EndStatus::Cancelled));
    assert_eq!(advance(&d, over.clone(), undo, &scope(0)), (over, Vec::new()));
}

pub mod properties;
