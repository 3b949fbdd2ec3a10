//! A month of overdue approvals by a clock that the test sets.

use super::*;

/// What happens to an approval, in minutes after the first day began.
struct Plan {
    opened: u64,
    decided: Option<u64>,
    last: &'static str,
    /// Managers of those who have not decided, or named people.
    named: bool,
}

const REMINDERS: [u64; 3] = [60, 1_440, 4_320];
const REASSIGN: u64 = 5_760;
const LAST: u64 = 8_640;
const MONTH: u64 = 31 * 1_440;

/// Sixty approvals over three weeks; two of three are decided, sooner or later.
fn plans() -> Vec<Plan> {
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    (0..60)
        .map(|i| {
            let opened = random(21 * 1_440);
            let decided = (i % 3 != 0).then(|| opened + random(LAST));
            Plan { opened, decided, last: ["approve", "reject", "fail"][(i / 3) % 3], named: i % 2 == 0 }
        })
        .collect()
}

/// What is to happen: the minute, the number of the approval, what.
fn expected(plans: &[Plan]) -> Vec<(u64, usize, String)> {
    let mut all = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let end = plan.decided.unwrap_or(plan.opened + LAST);
        // A decision comes half a minute after its minute: what is due in that minute has happened.
        let happens = |minute: u64| minute <= end;
        for after in REMINDERS.into_iter().filter(|m| happens(plan.opened + m)) {
            all.push((plan.opened + after, n, "approval.reminded".to_owned()));
        }
        if happens(plan.opened + REASSIGN) {
            all.push((plan.opened + REASSIGN, n, "approval.escalated".to_owned()));
        }
        if plan.decided.is_none() {
            let ended = if plan.last == "fail" { "approval.failed" } else { "approval.decided" };
            all.push((end, n, ended.to_owned()));
        }
    }
    all.sort();
    all
}

fn config(plan: &Plan) -> Value {
    let to = if plan.named { persons(&["uli", "kim"]) } else { json!([]) };
    json!({ "approvers": persons(&["rosa", "mona"]), "escalation": {
        "remindAfterMinutes": REMINDERS, "reassign": { "afterMinutes": REASSIGN, "to": to },
        "last": { "afterMinutes": LAST, "then": plan.last } } })
}

/// Moves the clock from one thing that happens to the next until `until`.
async fn pass(f: &Bench, queue: &InlineQueue, until: Timestamp) {
    queue.run_due().await.unwrap();
    while let Some(next) = queue.next_instant().await.unwrap().filter(|next| *next <= until) {
        f.clock.set(next);
        queue.run_due().await.unwrap();
    }
    f.clock.set(until);
}

#[tokio::test]
async fn every_rung_comes_at_its_minute_and_none_after_a_decision() {
    let f = Bench::start().await;
    let queue = f.queue().await;
    let began = at("2031-04-01T00:00:00Z");
    let minute = |m: u64| began.plus(MINUTE * u32::try_from(m).unwrap());
    let plans = plans();
    // What people do, in order: open at the minute, decide half a minute after it.
    let mut script: Vec<(Timestamp, usize, bool)> = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        script.push((minute(plan.opened), n, true));
        script.extend(plan.decided.map(|m| (minute(m).plus(Duration::from_secs(30)), n, false)));
    }
    script.sort();
    let mut runs: BTreeMap<usize, Run> = BTreeMap::new();
    for (when, n, opens) in script {
        pass(&f, &queue, when).await;
        if opens {
            runs.insert(n, f.ask(config(&plans[n])).await);
        } else {
            let person = f.approval(&runs[&n]).await.open_seats().next().expect("somebody").person.clone();
            let name = f.name(&person);
            f.vote(&runs[&n], &name, true, None).await.unwrap();
        }
    }
    pass(&f, &queue, minute(MONTH)).await;
    let mut found = Vec::new();
    for (n, run) in &runs {
        for kind in ["approval.reminded", "approval.escalated", "approval.failed", "approval.decided"] {
            for event in f.events(run, kind).await {
                if kind == "approval.decided" && event.data["byEscalation"] != json!(true) {
                    continue;
                }
                let after = event.at.since(began);
                assert_eq!(after.as_millis() % 60_000, 0, "{kind} at {}", event.at);
                found.push((after.as_secs() / 60, *n, event.kind));
            }
        }
    }
    found.sort();
    let expected = expected(&plans);
    assert!(expected.len() > 120, "{}", expected.len());
    assert_eq!(found, expected);
    assert_eq!(f.waiting_jobs().await, 0);
    assert_ends(&f, &plans, &runs).await;
}

async fn assert_ends(f: &Bench, plans: &[Plan], runs: &BTreeMap<usize, Run>) {
    for (n, run) in runs {
        let (plan, approval) = (&plans[*n], f.approval(run).await);
        let expected = match (plan.decided, plan.last) {
            (Some(_), _) | (None, "approve") => ApprovalState::Approved,
            (None, "reject") => ApprovalState::Rejected,
            (None, _) => ApprovalState::Failed,
        };
        assert_eq!(approval.state, expected, "{n}");
        assert_eq!(approval.by_escalation, plan.decided.is_none(), "{n}");
        assert_eq!(approval.exception, plan.decided.is_none() && plan.last == "approve", "{n}");
        if plan.decided.is_none_or(|m| m >= plan.opened + REASSIGN) {
            let mut holders: Vec<String> =
                approval.seats.iter().filter(|s| s.left_at.is_none()).map(|s| f.name(&s.person)).collect();
            holders.sort();
            let wanted: &[&str] = if plan.named { &["kim", "uli"] } else { &["eve"] };
            assert_eq!(holders, wanted, "{n}");
        }
    }
    let sql = "SELECT count(*) FROM audit_log WHERE action IN ('approval.decided', 'approval.failed')
               AND actor_id = 'escalation-reassignment'";
    let by_system: u32 = f.read(move |tx| tx.scalar(sql, params![])).await;
    assert_eq!(by_system as usize, plans.iter().filter(|p| p.decided.is_none()).count());
}

/// A job that comes late, twice or before its instant does nothing that it should not.
#[tokio::test]
async fn a_job_of_the_escalation_that_comes_early_or_late_is_harmless() {
    let f = Bench::start().await;
    let last = json!({ "approvers": persons(&["rosa"]), "escalation": {
        "remindAfterMinutes": [30], "last": { "afterMinutes": 60, "then": "approve" } } });
    let run = f.ask(last.clone()).await;
    let queue = f.queue().await;
    // Somebody promotes all of them.
    f.write(|tx| {
        tx.execute("UPDATE job SET run_at = ?1 WHERE name LIKE 'escalation-%'", params![tx.now()]).map(drop)
    })
    .await
    .unwrap();
    queue.run_due().await.unwrap();
    assert_eq!(f.run(&run).await.status, RunStatus::Waiting, "an approval is not forced before its time");
    assert_eq!(f.told("rosa").await.len(), 1);
    f.clock.advance(MINUTE * 30);
    queue.run_due().await.unwrap();
    assert_eq!(f.told("rosa").await.len(), 2);
    f.vote(&run, "rosa", false, Some("no")).await.unwrap();
    // As if the jobs had been taken up just before the decision.
    let id = f.approval(&run).await.id;
    f.clock.advance(MINUTE * 60);
    f.write(move |tx| {
        let by = Principal::system("test");
        for (level, job) in [(1, names::ESCALATION_REMINDER), (2, names::ESCALATION_REASSIGNMENT)] {
            super::super::escalation::carry_out(tx, &by, &id, level, job)?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let approval = f.approval(&run).await;
    assert_eq!((approval.state, approval.exception), (ApprovalState::Rejected, false));
    assert_eq!(f.told("rosa").await.len(), 2);
    assert_eq!(f.events(&run, "approval.reminded").await.len(), 1);
}

/// A last rung that approves passes the stage that it stands in, no more.
#[tokio::test]
async fn a_last_rung_passes_its_own_stage_and_marks_it() {
    let f = Bench::start().await;
    let stages = json!({ "pattern": "sequential",
        "stages": [{ "approvers": persons(&["rosa"]) }, { "approvers": persons(&["mona"]) }],
        "escalation": { "last": { "afterMinutes": 60, "then": "approve" } } });
    let run = f.ask(stages).await;
    let queue = f.queue().await;
    f.clock.advance(MINUTE * 60);
    queue.run_due().await.unwrap();
    let approval = f.approval(&run).await;
    assert_eq!((approval.state, approval.stage, approval.exception), (ApprovalState::Pending, 2, true));
    assert_eq!(f.seats(&run).await, ["mona"]);
    // The times of the second stage count from its opening.
    f.clock.advance(MINUTE * 59);
    queue.run_due().await.unwrap();
    assert_eq!(f.run(&run).await.status, RunStatus::Waiting);
    f.vote(&run, "mona", true, None).await.unwrap();
    assert_eq!(f.run(&run).await.status, RunStatus::Completed);
    assert_eq!(f.waiting_jobs().await, 0);
    let decided = f.events(&run, "approval.decided").await;
    assert_eq!(decided[0].data["exception"], json!(true), "evidence shows what nobody approved");
}

/// Managers take over from those who have not decided; whose manager cannot, keeps it.
#[tokio::test]
async fn overdue_goes_to_managers_who_can_and_a_quorum_stays_reachable() {
    let f = Bench::start().await;
    let all = json!({ "pattern": "parallel", "rule": "all", "approvers": persons(&["rosa", "mona", "uli", "kim"]),
        "escalation": { "reassign": { "afterMinutes": 10 } } });
    let run = f.ask(all).await;
    f.vote(&run, "rosa", true, None).await.unwrap();
    let queue = f.queue().await;
    f.clock.advance(MINUTE * 10);
    queue.run_due().await.unwrap();
    // Uli reports to Ada, who asked; Kim to Rosa, who has decided.
    assert_eq!(f.seats(&run).await, ["eve", "kim", "uli"]);
    assert!(f.told("mona").await.contains(&"Passed on: Access to the archive".to_owned()));
    // One manager for two approvers would be too few for two votes: those who have it keep it.
    let two = json!({ "pattern": "parallel", "rule": { "quorum": 2 }, "approvers": persons(&["rosa", "mona"]),
        "escalation": { "reassign": { "afterMinutes": 10 } } });
    let run = f.ask(two).await;
    f.clock.advance(MINUTE * 10);
    queue.run_due().await.unwrap();
    assert_eq!(f.seats(&run).await, ["eve", "mona", "rosa"]);
    // Nobody else there is: it stays, and the administrators are told.
    let run = f
        .ask(json!({ "approvers": persons(&["uli"]), "escalation": { "reassign": { "afterMinutes": 10 } } }))
        .await;
    f.clock.advance(MINUTE * 10);
    queue.run_due().await.unwrap();
    assert_eq!(f.seats(&run).await, ["uli"]);
    assert!(f.told("chief").await.contains(&"It cannot be decided: Access to the archive".to_owned()));
}
