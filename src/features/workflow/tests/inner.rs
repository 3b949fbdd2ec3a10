//! Runs inside runs: what the outer one undoes, the inner ones undo.

use super::*;

/// A connected system that does what it is told at once and writes it down; `fail` it refuses.
#[derive(Debug, Default)]
struct Scribe {
    done: Mutex<Vec<String>>,
}

impl Calls for Scribe {
    fn call<'a>(&'a self, _: &'a ConnectorId, command: &'a str, params: &'a Value, _: &'a str) -> CallOut<'a> {
        Box::pin(async move {
            let told = params["of"].as_str().map_or_else(|| command.to_owned(), |of| format!("{command} {of}"));
            self.done.lock().unwrap().push(told);
            match command {
                "fail" => Err(CallFailure::lasting("no", "it said no")),
                // A value that looks like the mark of a step that was passed over.
                _ => Ok(CallAnswer { output: json!({ "skipped": true, "assignmentId": "none" }) }),
            }
        })
    }

    fn http<'a>(&'a self, _: PlainCall, _: &'a str) -> CallOut<'a> {
        Box::pin(async { Err(CallFailure::lasting("no_http", "this system speaks no HTTP")) })
    }
}

fn call(command: &str, of: &str) -> Value {
    json!({ "connector": "x", "command": command, "params": { "of": of } })
}

/// A step that calls, and one that takes it back.
fn step(id: &str, of: &str, to: &str) -> Value {
    let mut step = json!({ "id": id, "name": id, "type": "connector", "config": call(id, of),
        "compensation": { "type": "connector", "config": call(&format!("undo-{id}"), of) } });
    if !to.is_empty() {
        step["transitions"] = json!([{ "on": "success", "to": to }]);
    }
    step
}

struct Bench {
    f: Fixture,
    system: Arc<Scribe>,
    queue: InlineQueue,
}

impl Bench {
    /// With a workflow Inner that does `a`, then `b`, and can undo both.
    async fn start() -> Self {
        let f = fixture().await;
        f.connector().await;
        let system = Arc::new(Scribe::default());
        let handler: Arc<dyn JobHandler> = Arc::new(AdvanceRun::new(system.clone()));
        let queue = InlineQueue::start(f.store.clone(), Registry::new([handler])).await.unwrap();
        let bench = Self { f, system, queue };
        let of = "{{ vars.of }}";
        let variables = json!([{ "name": "of", "type": "string" }]);
        let inner = json!({ "name": "Inner", "variables": variables, "steps": [step("a", of, "b"), step("b", of, "")] });
        bench.publish(inner).await;
        bench
    }

    async fn publish(&self, definition: Value) -> WorkflowId {
        self.f.published(serde_json::from_value(definition).unwrap()).await
    }

    /// Runs an outer workflow of these steps to its end; answers what the connected system was told.
    async fn run(&self, steps: Value) -> (Run, Vec<String>) {
        self.system.done.lock().unwrap().clear();
        let outer = self.publish(json!({ "name": "Outer", "onError": "compensate", "steps": steps })).await;
        let run = self.f.started(&outer).await;
        for _ in 0..6 {
            self.queue.run_due().await.unwrap();
            self.f.clock.advance(Duration::from_secs(5));
        }
        let told = self.system.done.lock().unwrap().clone();
        (self.f.run(&run).await, told)
    }

    async fn inner_runs(&self, of: &Run) -> Vec<Run> {
        let all = self.f.store.read(|tx| run_store::list_runs(tx, &Default::default(), None, 50)).await.unwrap();
        all.into_iter().filter(|r| r.parent_run_id.as_ref() == Some(&of.id)).collect()
    }
}

fn inner(id: &str, of: &str, to: &str) -> Value {
    let mut step = json!({ "id": id, "name": id, "type": "subworkflow",
                           "config": { "workflow": "Inner", "input": { "of": of } } });
    if !to.is_empty() {
        step["transitions"] = json!([{ "on": "success", "to": to }]);
    }
    step
}

#[tokio::test]
async fn what_a_complete_run_inside_did_is_undone_in_reverse() {
    let b = Bench::start().await;
    let fail = json!({ "id": "fail", "name": "fail", "type": "connector", "config": call("fail", "it") });
    let (run, told) = b.run(json!([step("first", "o", "inner"), inner("inner", "i", "last"), step("last", "o", "fail"), fail])).await;
    assert_eq!(told, ["first o", "a i", "b i", "last o", "fail it", "undo-last o", "undo-b i", "undo-a i", "undo-first o"]);
    assert_eq!(run.status, RunStatus::Failed);
    assert!(run.reason.as_deref().is_some_and(|r| r.ends_with("What had succeeded was undone.")), "{:?}", run.reason);
    let inside = b.inner_runs(&run).await;
    assert_eq!(inside.len(), 1);
    assert_eq!(inside[0].status, RunStatus::Cancelled);
    assert_eq!(
        inside[0].reason.as_deref(),
        Some("What the run that it is part of did is undone. What had succeeded was undone.")
    );
}

/// Each item and each branch has a run of its own, and one of them a run inside that.
#[tokio::test]
async fn the_runs_of_items_and_branches_are_undone_too() {
    let b = Bench::start().await;
    b.publish(json!({ "name": "Middle", "steps": [inner("inner", "m", "")] })).await;
    let fail = json!({ "id": "fail", "name": "fail", "type": "connector", "config": call("fail", "it") });
    let each = json!({ "id": "each", "name": "each", "type": "foreach", "config": { "items": "['1', '2']", "body": "item" },
                       "transitions": [{ "on": "success", "to": "fork" }] });
    let fork = json!({ "id": "fork", "name": "fork", "type": "parallel", "config": { "branches": ["left", "right"] } });
    let right = json!({ "id": "right", "name": "right", "type": "subworkflow", "config": { "workflow": "Middle" },
                        "transitions": [{ "on": "success", "to": "meet" }] });
    let meet = json!({ "id": "meet", "name": "meet", "type": "join", "config": {},
                       "transitions": [{ "on": "success", "to": "fail" }] });
    let steps = json!([each, inner("item", "{{ item }}", ""), fork, inner("left", "l", "meet"), right, meet, fail]);
    let (run, told) = b.run(steps).await;
    assert_eq!(run.status, RunStatus::Failed, "{told:?}");
    let (done, undone) = told.split_at(told.iter().position(|t| t == "fail it").expect("it failed") + 1);
    assert_eq!(undone.len(), 8, "{told:?}");
    for of in ["1", "2", "l", "m"] {
        let place = |all: &[String], what: &str| all.iter().position(|t| *t == format!("{what} {of}")).expect("is there");
        assert!(place(done, "a") < place(done, "b") && place(undone, "undo-b") < place(undone, "undo-a"), "{told:?}");
    }
    assert!(undone.ends_with(&["undo-b 1".to_owned(), "undo-a 1".to_owned()]), "the first is undone last: {told:?}");
}

/// What the connected system answers says nothing about how the step was left.
#[tokio::test]
async fn a_step_that_was_done_is_not_shown_as_skipped_whatever_it_gave() {
    let b = Bench::start().await;
    let (run, _) = b.run(json!([step("only", "o", "")])).await;
    let id = run.id.clone();
    let steps = b.f.store.read(move |tx| run_store::list_steps(tx, &id)).await.unwrap();
    assert_eq!(steps[0].output.as_ref().map(|o| &o["skipped"]), Some(&json!(true)));
    assert_eq!(steps[0].status, "completed");
}
