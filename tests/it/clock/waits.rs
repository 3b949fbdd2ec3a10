//! Timers of runs, escalations and schedules of workflows while the clock is in doubt.

use tenure::app::demo::story::{MONA, ROSA};

use super::*;

impl World {
    /// Publishes a workflow; answers its id.
    async fn published(&self, definition: Value) -> String {
        let mona = Client::sign_in(&http(), &self.running.base, MONA, PASSWORD).await.expect("signs in");
        let made = mona.post("/api/workflows", json!({ "definition": definition })).await.expect("a workflow");
        let id = made["id"].as_str().expect("an id").to_owned();
        mona.post(&format!("/api/workflows/{id}/publish"), json!({})).await.expect("is published");
        id
    }

    async fn started(&self, workflow: &str) -> String {
        let ada = Client::sign_in(&http(), &self.running.base, ADA, PASSWORD).await.expect("signs in");
        let run = ada.post(&format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await.expect("starts");
        run["id"].as_str().expect("an id").to_owned()
    }

    async fn run_is(&self, run: &str, status: &str) {
        let there = || async {
            let id = run.to_owned();
            let now: String = self.read(move |tx| tx.scalar("SELECT status FROM run WHERE id = ?1", params![id])).await;
            (now == status).then_some(())
        };
        eventually(&format!("{run} is {status}"), SOON, there).await;
    }
}

fn delay() -> Value {
    json!({ "name": "Waits", "steps": [
        { "id": "wait", "name": "Wait", "type": "delay", "config": { "seconds": 3600 }, "transitions": [{ "on": "success", "to": "end" }] },
        { "id": "end", "name": "End", "type": "end", "config": {} },
    ] })
}

fn decision() -> Value {
    json!({ "name": "Decides", "steps": [
        { "id": "ask", "name": "Ask", "type": "approval",
          "config": { "title": "Please", "approvers": [{ "person": ROSA }],
            "escalation": { "remindAfterMinutes": [60], "last": { "afterMinutes": 120, "then": "reject" } } },
          "transitions": [{ "on": "approved", "to": "end" }, { "on": "rejected", "to": "end" }] },
        { "id": "end", "name": "End", "type": "end", "config": {} },
    ] })
}

/// A run whose instant came by the wrong time waits, and goes on at the right one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_and_deadlines_do_not_come_by_a_clock_in_doubt() {
    let world = World::start(None).await;
    let (delay, decision) = (world.published(delay()).await, world.published(decision()).await);
    let (waits, asks) = (world.started(&delay).await, world.started(&decision).await);
    world.run_is(&waits, "waiting").await;
    world.run_is(&asks, "waiting").await;
    world.clock.jump(at("2099-01-01T00:00:00Z"));
    world.counts("jobs stand back: the timer, the reminder and the last word", STANDING_BACK, 3).await;
    for run in [&waits, &asks] {
        world.run_is(run, "waiting").await;
    }
    world.clock.jump(at("2031-03-01T12:30:00Z"));
    world.confirm().await;
    world.counts("jobs stand back", STANDING_BACK, 0).await;
    world.run_is(&waits, "waiting").await;
    world.clock.set(at("2031-03-01T13:05:00Z"));
    world.run_is(&waits, "completed").await;
    eventually("Rosa was reminded", SOON, || async { (world.audited("approval.reminded").await == 1).then_some(()) }).await;
    world.run_is(&asks, "waiting").await;
    world.clock.set(at("2031-03-01T14:05:00Z"));
    world.run_is(&asks, "completed").await;
    world.running.stop().await;
}

/// Seventy years of slots do not pour out: none of them comes, and afterwards the next one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_of_workflows_rest_while_the_clock_is_in_doubt() {
    let world = World::start(None).await;
    let workflow = world.published(delay()).await;
    let body = json!({ "name": "Hourly", "workflowId": workflow, "cron": "0 * * * *", "timezone": "UTC" });
    let mona = Client::sign_in(&http(), &world.running.base, MONA, PASSWORD).await.expect("signs in");
    mona.post("/api/schedules", body).await.expect("a schedule");
    let runs = "SELECT count(*) FROM run";
    // The scheduler looks again within a minute, and the minute is soon over.
    world.clock.jump(at("2099-01-01T00:30:50Z"));
    // The system's own schedules go on meanwhile: that one fired says that the scheduler looked.
    let fired = "SELECT count(*) FROM job_schedule_fired WHERE name = 'role-expiry-check' AND from_slot > 4000000000000";
    world.counts("slot of 2099 fired", fired, 1).await;
    assert_eq!(world.count(runs).await, 0);
    assert_eq!(world.count("SELECT count(*) FROM job WHERE name = 'trigger-workflow'").await, 0);
    world.clock.jump(at("2031-03-01T12:40:00Z"));
    world.confirm().await;
    world.clock.set(at("2031-03-01T12:59:59Z"));
    world.counts("run began", runs, 1).await;
    let began: Timestamp = world.read(|tx| tx.scalar("SELECT created_at FROM run", params![])).await;
    assert!(began >= at("2031-03-01T13:00:00Z"), "{began}");
    world.running.stop().await;
}
