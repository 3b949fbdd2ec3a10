//! The engine as a pure function: tables, and properties over generated definitions and events.

use proptest::prelude::*;
use serde_json::json;

use super::*;

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
    advance(definition, &RunState { vars, ..RunState::default() }, Event::Start, &scope(0))
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
    let (once, effects) = advance(&d, &waiting, done.clone(), &scope(0));
    assert!(effects.contains(&Effect::WakeAt(Timestamp::from_millis(60_000))));
    let (twice, effects) = advance(&d, &once, done, &scope(1));
    assert_eq!((twice, effects), (once, Vec::new()));
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
        (state, _) = advance(&d, &state, fail(true), &scope(0));
        assert!(matches!(state.at.as_ref().and_then(|a| a.wait.clone()), Some(Wait::Retry { .. })));
        let (early, _) = advance(&d, &state, Event::Tick, &scope(9_999));
        assert_eq!(early.at.as_ref().map(|a| a.attempt), Some(attempt));
        let (next, effects) = advance(&d, &state, Event::Tick, &scope(10_000));
        assert!(effects.iter().any(|e| matches!(e, Effect::Do { attempt: a, .. } if *a == attempt + 1)));
        state = next;
    }
    let (state, _) = advance(&d, &state, fail(true), &scope(0));
    assert_eq!(state.ended.and_then(|e| e.reason).as_deref(), Some("gave up"));
}

#[test]
fn without_an_error_edge_the_run_fails_and_names_the_step() {
    let d = definition(json!([
        { "id": "a", "name": "Add account", "type": "set", "config": { "values": { "text": "{{ vars.missing.deep }}" } } },
    ]));
    let (state, _) = start(&d, json!({}));
    let ended = state.ended.expect("ended");
    assert_eq!(ended.status, EndStatus::Failed);
    assert!(ended.reason.expect("a reason").starts_with("Add account: values.text"));
}

#[test]
fn a_failed_approval_fails_the_run_even_where_errors_are_passed_over() {
    let mut d = definition(json!([
        { "id": "a", "name": "Review", "type": "approval", "config": { "title": "t", "approvers": [{ "group": "g" }] } },
    ]));
    d.on_error = OnError::Continue;
    let (state, _) = start(&d, json!({}));
    let error = StepError { message: "Nobody can decide.".to_owned(), code: "refused".to_owned() };
    let (state, _) = advance(&d, &state, Event::Failed { visit: 1, error, retryable: false }, &scope(0));
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
    let (waiting, _) = advance(&d, &state, fail.clone(), &scope(0));
    assert_eq!(advance(&d, &waiting, fail, &scope(1)), (waiting, Vec::new()));
}

#[test]
fn a_long_loop_yields_after_a_burst() {
    let d = definition(json!([
        { "id": "a", "name": "A", "type": "condition", "config": { "cases": [], "default": "again" },
          "transitions": [{ "on": "again", "to": "a" }] },
    ]));
    let (state, effects) = start(&d, json!({}));
    assert_eq!(effects.last(), Some(&Effect::GoOnLater));
    assert!(state.at.is_some_and(|a| a.wait.is_none()));
}

fn any_step(index: usize, count: usize) -> impl Strategy<Value = Value> {
    let to = (0..count).prop_map(|i| format!("s{i}"));
    (0..6_u8, proptest::option::of(to.clone()), proptest::option::of(to)).prop_map(move |(kind, ok, error)| {
        let (kind, config, good) = match kind {
            0 => ("condition", json!({ "cases": [{ "when": "vars.n > 3", "outcome": "big" }], "default": "small" }), "small"),
            1 => ("set", json!({ "values": { "n": 4 } }), "success"),
            2 => ("connector", json!({ "connector": "c", "command": "x" }), "success"),
            3 => ("delay", json!({ "seconds": 5 }), "success"),
            4 => ("approval", json!({ "title": "t", "approvers": [{ "group": "g" }] }), "approved"),
            _ => ("end", json!({}), ""),
        };
        let mut transitions = Vec::new();
        if kind != "end" {
            transitions.extend(ok.map(|to| json!({ "on": good, "to": to })));
            transitions.extend(error.map(|to| json!({ "on": "error", "to": to })));
        }
        json!({ "id": format!("s{index}"), "name": "S", "type": kind, "config": config, "transitions": transitions })
    })
}

fn any_definition() -> impl Strategy<Value = Definition> {
    (1..8_usize)
        .prop_flat_map(|count| (0..count).map(|i| any_step(i, count)).collect::<Vec<_>>())
        .prop_map(|steps| definition(Value::Array(steps)))
}

fn any_event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![Just("success"), Just("approved"), Just("rejected")];
    prop_oneof![
        Just(Event::Tick),
        Just(Event::GoOn),
        Just(Event::Start),
        (1..12_u32, outcome).prop_map(|(visit, outcome)| Event::Finished {
            visit,
            outcome: outcome.to_owned(),
            output: Value::Null
        }),
        (1..12_u32, any::<bool>()).prop_map(|(visit, retryable)| Event::Failed {
            visit,
            error: StepError { message: "m".to_owned(), code: "c".to_owned() },
            retryable
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No token is lost: after every event a started run has ended, waits for something named, or has
    /// asked to go on; entered and left visits pair up; nothing follows the end.
    #[test]
    fn every_run_ends_or_waits_for_something_named(d in any_definition(), events in proptest::collection::vec(any_event(), 0..30)) {
        let (mut state, mut effects) = start(&d, json!({ "n": 1 }));
        let (mut entered, mut left) = (0_u32, 0_u32);
        let mut now = 0;
        let mut events = events.into_iter();
        loop {
            entered += effects.iter().filter(|e| matches!(e, Effect::Entered { .. })).count() as u32;
            left += effects.iter().filter(|e| matches!(e, Effect::Left { .. })).count() as u32;
            match (&state.at, &state.ended) {
                (None, Some(_)) => prop_assert_eq!(entered, left),
                (Some(at), None) => {
                    prop_assert!(at.wait.is_some() || effects.contains(&Effect::GoOnLater) || effects.is_empty());
                    prop_assert_eq!(entered, left + 1);
                }
                other => prop_assert!(false, "neither here nor there: {:?}", other),
            }
            let Some(event) = events.next() else { break };
            now += 3_000;
            let was_ended = state.ended.is_some();
            (state, effects) = advance(&d, &state, event, &scope(now));
            prop_assert!(!was_ended || effects.is_empty());
        }
    }
}
