//! Properties over generated definitions and events; `PROPTEST_CASES=10000` is their full size.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A step of any kind that leads anywhere.
fn any_step(index: usize, count: usize) -> impl Strategy<Value = Value> {
    let to = (0..count).prop_map(|i| format!("s{i}"));
    let links = (proptest::option::of(to.clone()), proptest::option::of(to.clone()), to.clone(), to);
    (0..13_u8, links, any::<bool>(), 0..3_u8).prop_map(move |(kind, (ok, error, a, b), flag, more)| {
        let call = json!({ "connector": "c", "command": "x" });
        let (kind, config, good) = match kind {
            0 => ("condition", json!({ "cases": [{ "when": "vars.n > 3", "outcome": "big" }], "default": "small" }), "small"),
            1 => ("set", json!({ "values": { "n": 4 } }), "success"),
            2 | 3 => ("connector", call.clone(), "success"),
            4 => ("delay", json!({ "seconds": 5 }), "success"),
            5 => ("approval", json!({ "title": "t", "approvers": [{ "group": "g" }] }), "approved"),
            6 | 7 => ("parallel", json!({ "branches": [a, b] }), "success"),
            8 => ("join", json!({ "rule": if flag { json!("all") } else { json!({ "quorum": 2 }) } }), "success"),
            9 => ("foreach", json!({ "items": "[1, 2, 3]", "body": a, "maxParallel": 2, "continueOnError": flag }), "success"),
            10 => ("role_grant", json!({ "role": "r" }), "success"),
            11 => ("wait_until", json!({ "until": "1970-01-01T00:00:20Z" }), "success"),
            _ => ("end", json!({ "failed": flag }), ""),
        };
        let mut transitions = Vec::new();
        if kind != "end" {
            transitions.extend(ok.map(|to| json!({ "on": good, "to": to })));
            transitions.extend(error.map(|to| json!({ "on": "error", "to": to })));
        }
        let mut step = json!({ "id": format!("s{index}"), "name": "S", "type": kind, "config": config, "transitions": transitions });
        if more == 1 {
            step["timeout"] = json!({ "seconds": 9 });
        }
        if more == 2 && kind == "connector" {
            step["compensation"] = json!({ "type": "connector", "config": call });
            step["retry"] = json!({ "count": 1, "backoffSeconds": 2 });
        }
        step
    })
}

/// A workflow of steps of any kind that lead anywhere.
pub fn any_definition() -> impl Strategy<Value = Definition> {
    let on_error = prop_oneof![Just(OnError::Stop), Just(OnError::Continue), Just(OnError::Compensate)];
    ((1..10_usize).prop_flat_map(|count| (0..count).map(|i| any_step(i, count)).collect::<Vec<_>>()), on_error)
        .prop_map(|(steps, on_error)| Definition { on_error, ..definition(Value::Array(steps)) })
}

/// Events name a place among those where the run is, or one that it has left.
#[derive(Debug, Clone)]
enum Happens {
    Event(Event),
    At(usize, What),
}

#[derive(Debug, Clone)]
enum What {
    Finished(&'static str),
    Answered,
    Failed(bool),
    Waits,
    Skip,
}

fn any_event() -> impl Strategy<Value = Happens> {
    let what = prop_oneof![
        6 => prop_oneof![Just("success"), Just("approved"), Just("rejected")].prop_map(What::Finished),
        2 => Just(What::Answered),
        2 => any::<bool>().prop_map(What::Failed),
        1 => Just(What::Waits),
        1 => Just(What::Skip),
    ];
    prop_oneof![
        12 => (0..6_usize, what).prop_map(|(place, what)| Happens::At(place, what)),
        4 => Just(Happens::Event(Event::Tick)),
        1 => Just(Happens::Event(Event::GoOn)),
        1 => Just(Happens::Event(Event::Start)),
        1 => Just(Happens::Event(Event::TakeUp)),
        1 => Just(Happens::Event(Event::Stuck { reason: "stuck".to_owned() })),
        1 => Just(Happens::Event(Event::Undo { reason: "undo".to_owned() })),
        1 => Just(Happens::Event(Event::Stop { status: EndStatus::Cancelled, reason: "stop".to_owned() })),
        1 => (1..40_u32).prop_map(|visit| Happens::Event(finished(visit, Value::Null))),
    ]
}

fn event_of(happens: Happens, state: &RunState) -> Event {
    let (place, what) = match happens {
        Happens::Event(event) => return event,
        Happens::At(place, what) => (place, what),
    };
    let visit = state.tokens.get(place % state.tokens.len().max(1)).map_or(0, |t| t.visit);
    match what {
        What::Finished(outcome) => {
            Event::Finished { visit, outcome: outcome.to_owned(), output: json!({ "assignmentId": format!("asg{visit}") }) }
        }
        What::Answered => {
            let values = serde_json::Map::from_iter([("n".to_owned(), json!(visit))]);
            Event::Answered { visit, outcome: "success".to_owned(), output: Value::Null, values }
        }
        What::Failed(retryable) => Event::Failed { visit, error: StepError::new("c", "m"), retryable },
        What::Waits => Event::Waits { visit, wait: Wait::Approval { id: "a".to_owned() } },
        What::Skip => Event::Skip { visit, outcome: "success".to_owned(), reason: "r".to_owned() },
    }
}

/// What a run's effects say of it, kept beside the run.
#[derive(Default)]
struct Ledger {
    open: BTreeSet<u32>,
}

impl Ledger {
    fn write(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Entered { visit, .. } => assert!(self.open.insert(*visit), "{visit} is entered once"),
                Effect::TriedAgain { visit, .. } => {
                    self.open.insert(*visit);
                }
                Effect::Left { visit, .. } | Effect::Withdrawn { visit, .. } => {
                    self.open.remove(visit);
                }
                _ => {}
            }
        }
    }
}

fn check(state: &RunState, effects: &[Effect], ledger: &Ledger) {
    let ends = effects.iter().filter(|e| matches!(e, Effect::Ended(_))).count();
    assert!(ends <= 1, "a run ends once");
    if state.ended.is_some() {
        assert_eq!(ledger.open, BTreeSet::new(), "an ended run has no step open");
        assert!(state.undoing.as_ref().is_none_or(|u| u.current.is_none() && state.undo.is_empty()));
        return;
    }
    assert!(!state.tokens.is_empty(), "a token was lost");
    let here: BTreeSet<u32> = state.tokens.iter().map(|t| t.visit).collect();
    assert_eq!(here.len(), state.tokens.len(), "two tokens of one visit");
    assert_eq!(ledger.open, here, "what is entered and not left is where the run is");
    let waits = state.tokens.iter().all(|t| t.wait.is_some());
    assert!(waits || effects.contains(&Effect::GoOnLater) || effects.is_empty(), "it waits or asks to go on");
    for frame in &state.frames {
        let parent = state.token(frame.id).expect("the parent of an open frame is there");
        assert_eq!(parent.wait, Some(Wait::Branches { frame: frame.id }));
        assert!(state.tokens.iter().any(|t| t.frame == Some(frame.id)), "an open frame has tokens");
    }
    for token in &state.tokens {
        assert!(token.frame.is_none_or(|f| state.frame(f).is_some()), "a token's frame is open");
        if let Some(Wait::Branches { frame }) = token.wait {
            assert!(state.frame(frame).is_some(), "a parent's frame is open");
        }
    }
    if state.undoing.is_some() {
        assert!(state.tokens.len() == 1 && state.tokens[0].undoing, "one step at a time is undone");
    }
}

/// What is undone was done, each once, and what succeeded last goes first. Branches need not succeed in the order in
/// which they began, so it is the order of what is kept that counts, not the numbers of visits.
fn check_undo(before: &RunState, after: &RunState) {
    let Some(old) = &before.undoing else {
        let mut kept = after.undo.clone();
        kept.extend(after.undoing.as_ref().and_then(|u| u.current.clone()));
        assert!(kept.starts_with(&before.undo), "what would undo a step is kept, and new things come after it");
        return;
    };
    let new = after.undoing.as_ref().expect("undoing that has begun goes to its end");
    assert_eq!((new.status, &new.reason), (old.status, &old.reason), "undoing keeps how and why the run ends");
    if new.current == old.current {
        assert_eq!(after.undo, before.undo);
        return;
    }
    let mut left = before.undo.clone();
    assert_eq!(new.current, left.pop(), "what succeeded last is undone first");
    assert_eq!(after.undo, left, "one step at a time is undone");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(600), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_or_waits_for_something_named(
        d in any_definition(),
        events in proptest::collection::vec(any_event(), 0..30),
    ) {
        let (mut state, mut effects) = start(&d, json!({ "n": 1 }));
        let mut ledger = Ledger::default();
        let mut now = 0;
        let mut events = events.into_iter();
        loop {
            ledger.write(&effects);
            check(&state, &effects, &ledger);
            let Some(happens) = events.next() else { break };
            now += 3_000;
            let event = event_of(happens, &state);
            let before = state.clone();
            let (next, found) = advance(&d, before.clone(), event.clone(), &scope(now));
            let again = advance(&d, before.clone(), event.clone(), &scope(now));
            prop_assert_eq!(&(next.clone(), found.clone()), &again, "the same event does the same");
            let ended = before.ended.as_ref().map(|e| e.status);
            let is_undone = ended == Some(EndStatus::Completed) && matches!(event, Event::Undo { .. });
            if matches!(ended, Some(EndStatus::Completed | EndStatus::Cancelled)) && !is_undone {
                prop_assert_eq!(&next, &before);
                prop_assert!(found.is_empty(), "nothing follows the end");
            }
            check_undo(&before, &next);
            let text = serde_json::to_string(&next).expect("writes");
            let read: RunState = serde_json::from_str(&text).expect("reads");
            prop_assert_eq!(&read, &next, "what is stored is what was");
            (state, effects) = (next, found);
        }
    }
}
