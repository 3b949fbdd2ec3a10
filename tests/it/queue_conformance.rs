//! What every queue promises, asked of each: embedded and in Redis.
//!
//! Where a wait is of the rule, the test's own clock makes it; two tests measure real time.

mod losses;

use std::time::Duration;

use serde_json::json;
use tenure::base::id::JobId;
use tenure::base::problem::Problem;
use tenure::params;
use tenure::platform::faults::{Fault, QUEUE_AFTER_ATTEMPT, QUEUE_BEFORE_ATTEMPT, RELAY_BEFORE_HANDOVER};
use tenure::platform::queue::attempts::{AttemptState, list_attempts};
use tenure::platform::queue::bulk::{self, BulkAction};
use tenure::platform::queue::groups::list_error_groups;
use tenure::platform::queue::views::{self, JobFilter, JobState};
use tenure::platform::queue::{JobDraft, cancel};

use self::losses::*;
use crate::support::queue::{Bench, CALLER, Mode, PROBE, SOON, act, alone};

macro_rules! conformance {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(super::Mode::Embedded).await; })*
        }
        mod in_redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(super::Mode::Redis).await; })*
        }
    };
}

conformance! {
    a_job_that_was_added_runs_once
    a_job_that_was_rolled_back_never_runs
    a_delayed_job_runs_at_its_instant_and_not_before
    a_second_job_with_the_same_key_is_not_made
    a_failing_job_runs_four_times_after_5_10_and_20_seconds
    a_thousand_failing_jobs_keep_their_delays
    the_newest_5000_failed_and_1000_completed_are_kept
    one_more_attempt_is_one_and_starting_over_is_four
    a_delayed_job_can_be_promoted_and_removed
    a_job_that_is_moved_by_hand_as_it_fails_keeps_no_old_instant
    what_is_moved_by_hand_starts_within_100_ms
    a_job_passes_every_fault_point_once
    jobs_that_call_out_do_not_starve_behind_others
    a_bulk_action_changes_all_that_match_and_tells_how_far_it_is
    a_pause_holds_jobs_back_even_over_a_restart
    jobs_are_found_by_state_name_error_and_payload
    attempts_are_listed_newest_first_with_their_reasons
    failed_jobs_are_grouped_by_what_went_wrong
    an_attempt_that_lost_its_job_changes_nothing
    a_crash_loses_no_job_and_counts_no_attempt_that_had_company
    a_job_that_kills_the_process_fails_after_its_attempts
    a_job_that_ran_beside_one_that_kills_the_process_is_not_lost
    a_drain_finishes_what_it_can_and_gives_back_the_rest
    jobs_that_call_out_leave_a_quarter_of_the_slots
    a_job_nobody_knows_fails_with_a_reason
}

async fn a_job_that_was_added_runs_once(mode: Mode) {
    let mut b = Bench::real(mode).await;
    let ids = b.add_many(300, act("ok")).await;
    b.eventually("all are completed", async |b| b.counts().await.completed == 300).await;
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 300);
    let job = b.job(&ids[7]).await;
    assert_eq!((job.state, job.attempts_made, job.failed_reason), (JobState::Completed, 1, None));
    assert!(job.processed_on.is_some() && job.finished_on.is_some());
    let health = b.runtime().health();
    assert!(health.worker.ok && health.scheduler.ok, "{health:?}");
    assert_eq!(b.stop(SOON).await.released, 0);
}

async fn a_job_that_was_rolled_back_never_runs(mode: Mode) {
    let b = Bench::real(mode).await;
    let refused: Result<(), Problem> = b
        .change(|tx| {
            tenure::platform::queue::enqueue(tx, JobDraft::now(PROBE, act("ok")))?;
            Err(Problem::refused("taken back"))
        })
        .await;
    assert!(refused.is_err());
    b.add(act("ok")).await;
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 1);
}

async fn a_delayed_job_runs_at_its_instant_and_not_before(mode: Mode) {
    let b = Bench::manual(mode).await;
    let at = b.clock.now().plus(Duration::from_secs(3600));
    let id = b.enqueue(JobDraft::at(PROBE, act("ok"), at)).await;
    let taken_back = b.enqueue(JobDraft::at(PROBE, act("ok"), at)).await;
    assert_eq!(b.job(&id).await.state, JobState::Delayed);
    assert!(b.change(move |tx| cancel(tx, &taken_back)).await.unwrap());
    b.advance(Duration::from_millis(3_599_999));
    // A job that is due proves that the queue has looked.
    b.add(act("ok")).await;
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 1);
    b.advance(Duration::from_millis(1));
    b.until_seen(2).await;
    b.until_quiet().await;
    let seen = b.diary.seen();
    assert_eq!((seen.len(), &seen[1].id, seen[1].at), (2, &id, at));
}

async fn a_second_job_with_the_same_key_is_not_made(mode: Mode) {
    let b = Bench::real(mode).await;
    let draft = JobDraft::now(PROBE, act("ok")).with_key("once");
    let first = b.enqueue(draft.clone()).await;
    assert_eq!(b.enqueue(draft.clone()).await, first);
    b.until_seen(1).await;
    b.until_quiet().await;
    assert_eq!(b.enqueue(draft).await, first);
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 1);
}

async fn a_failing_job_runs_four_times_after_5_10_and_20_seconds(mode: Mode) {
    let b = Bench::manual(mode).await;
    let id = b.add(act("fail")).await;
    for (n, delay) in [(1_u32, 5_000_u64), (2, 10_000), (3, 20_000)] {
        b.until_seen(n as usize).await;
        b.eventually("it waits for its next attempt", async |b| {
            let queue = b.runtime().counts().await.unwrap();
            b.job(&id).await.state == JobState::Delayed && queue.delayed == 1 && queue.active == 0
        })
        .await;
        let job = b.job(&id).await;
        assert_eq!((job.attempts_made, job.failed_reason.as_deref()), (n, Some("the probe says no")));
        b.advance(Duration::from_millis(delay - 1));
        b.add(act("ok")).await;
        b.eventually("the other job ran", async |b| b.counts().await.completed == u64::from(n)).await;
        let attempts = b.diary.by_job()[&id].len();
        assert_eq!(attempts, n as usize, "not a millisecond early");
        b.advance(Duration::from_millis(1));
        b.eventually("the next attempt", async |b| b.diary.by_job()[&id].len() == n as usize + 1).await;
    }
    b.eventually("it failed", async |b| b.job(&id).await.state == JobState::Failed).await;
    b.until_quiet().await;
    assert_eq!(b.job(&id).await.attempts_made, 4);
    b.advance(Duration::from_secs(3600));
    b.add(act("ok")).await;
    b.until_quiet().await;
    let attempts: Vec<u32> = b.diary.by_job()[&id].iter().map(|s| s.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

/// Real time: never before 5, 10 and 20 s, and 99 of 100 at most 1.5 s after.
async fn a_thousand_failing_jobs_keep_their_delays(mode: Mode) {
    let _alone = alone().await;
    let mut b = Bench::measured(mode).await;
    b.add_many(1000, act("fail")).await;
    crate::support::eventually("all have failed", Duration::from_secs(58), || async {
        (b.counts().await.failed == 1000).then_some(())
    })
    .await;
    let rows: Vec<(i64, i64)> = b
        .store
        .read(|tx| {
            tx.query(
                "SELECT b.started_at - a.ended_at AS wait, a.attempt AS attempt FROM job_attempt a
                 JOIN job_attempt b ON b.job_id = a.job_id AND b.attempt = a.attempt + 1",
                params![],
                |r| Ok((r.get("attempt")?, r.get("wait")?)),
            )
        })
        .await
        .unwrap();
    assert_eq!(rows.len(), 3000);
    for (attempt, delay) in [(1, 5_000), (2, 10_000), (3, 20_000)] {
        let mut late: Vec<i64> = rows.iter().filter(|r| r.0 == attempt).map(|r| r.1 - delay).collect();
        late.sort_unstable();
        assert!(late[0] >= 0, "{} ms early after attempt {attempt}", -late[0]);
        assert!(late[989] <= 1_500, "p99 is {} ms late after attempt {attempt}", late[989]);
    }
    assert!(b.diary.by_job().values().all(|attempts| attempts.len() == 4));
    b.stop(SOON).await;
}

async fn the_newest_5000_failed_and_1000_completed_are_kept(mode: Mode) {
    let mut b = Bench::real(mode).await;
    b.concurrency = 64;
    b.stop(SOON).await;
    b.start().await;
    // Their last attempt, so that one failure is the end.
    let last_chance = |b: &Bench, n: usize, why: &'static str| {
        let store = b.store.clone();
        async move {
            store
                .write(move |tx| {
                    for _ in 0..n {
                        let payload = json!({ "act": "fail", "why": why });
                        let id = tenure::platform::queue::enqueue(tx, JobDraft::now(PROBE, payload))?;
                        tx.execute("UPDATE job SET attempts_made = 3 WHERE id = ?1", params![id])?;
                    }
                    Ok(())
                })
                .await
                .unwrap();
        }
    };
    let state = |state| JobFilter { state: Some(state), ..JobFilter::default() };
    last_chance(&b, 1, "the oldest").await;
    b.eventually("the oldest failed", async |b| b.counts().await.failed == 1).await;
    for _ in 0..5 {
        last_chance(&b, 1000, "a later one").await;
        b.until_quiet().await;
    }
    b.add_many(1200, act("ok")).await;
    crate::support::eventually("the rest is trimmed", Duration::from_secs(50), || async {
        let counts = b.counts().await;
        (counts.failed == 5000 && counts.completed == 1000 && counts.waiting == 0).then_some(())
    })
    .await;
    b.until_quiet().await;
    let failed = b.store.read(move |tx| views::list_jobs(tx, &state(JobState::Failed), None, 6000)).await.unwrap();
    assert!(failed.iter().all(|j| j.failed_reason.as_deref() == Some("a later one")));
    if let Some(redis) = &b.redis {
        let kept: u64 = redis.ask(&["ZCARD", "bull:workflow-scheduler:failed"]).await;
        let completed: u64 = redis.ask(&["ZCARD", "bull:workflow-scheduler:completed"]).await;
        assert_eq!((kept, completed), (5000, 1000));
    }
    b.stop(SOON).await;
}

async fn one_more_attempt_is_one_and_starting_over_is_four(mode: Mode) {
    let b = Bench::manual(mode).await;
    let fail_for_good = async |id: &JobId, from: usize| {
        for n in from.. {
            b.eventually("the attempt", async |b| b.diary.by_job()[id].len() == n).await;
            b.eventually("it is recorded", async |b| {
                b.job(id).await.state != JobState::Active && b.runtime().counts().await.unwrap().active == 0
            })
            .await;
            if b.job(id).await.state == JobState::Failed {
                return n;
            }
            b.advance(Duration::from_secs(21));
        }
        unreachable!("the attempts end")
    };
    let id = b.add(act("fail")).await;
    b.until_seen(1).await;
    assert_eq!(fail_for_good(&id, 1).await, 4);
    let same = id.clone();
    b.change(move |tx| views::retry_once(tx, &same)).await.unwrap();
    assert_eq!(fail_for_good(&id, 5).await, 5);
    assert_eq!(b.job(&id).await.attempts_made, 5);
    let same = id.clone();
    b.change(move |tx| views::retry_job(tx, &same)).await.unwrap();
    assert_eq!(fail_for_good(&id, 6).await, 9);
    assert_eq!(b.job(&id).await.attempts_made, 4);
    let refused = b.add(act("ok")).await;
    b.until_quiet().await;
    let refused = b.change(move |tx| views::retry_job(tx, &refused)).await;
    assert!(matches!(refused, Err(Problem::Conflict(_))), "a completed job is not retried");
}

async fn a_delayed_job_can_be_promoted_and_removed(mode: Mode) {
    let b = Bench::manual(mode).await;
    let later = b.clock.now().plus(Duration::from_secs(3600));
    let one = b.enqueue(JobDraft::at(PROBE, act("ok"), later)).await;
    let two = b.enqueue(JobDraft::at(PROBE, act("ok"), later)).await;
    let failing = b.add(json!({ "act": "fail", "until": 1 })).await;
    b.eventually("one waits between two attempts", async |b| {
        b.job(&failing).await.attempts_made == 1 && b.runtime().counts().await.unwrap().delayed == 1
    })
    .await;
    let (promoted, between, removed) = (one.clone(), failing.clone(), two.clone());
    b.change(move |tx| {
        views::promote_job(tx, &promoted)?;
        views::promote_job(tx, &between)?;
        views::remove_job(tx, &removed)
    })
    .await
    .unwrap();
    b.eventually("both ran", async |b| b.counts().await.completed == 2).await;
    assert_eq!(b.job(&failing).await.attempts_made, 2);
    b.advance(Duration::from_secs(7200));
    b.add(act("ok")).await;
    b.until_quiet().await;
    assert!(!b.diary.by_job().contains_key(&two));
}

/// Between the end of an attempt in the ledger and the queue's hearing of it a person may be quicker. The
/// clock stands still: a job that keeps its old instant, or that the queue forgets, never runs again.
async fn a_job_that_is_moved_by_hand_as_it_fails_keeps_no_old_instant(mode: Mode) {
    let b = Bench::manual(mode).await;
    b.store.faults().arm(QUEUE_AFTER_ATTEMPT, Fault::Hold);
    let between = b.add(json!({ "act": "fail", "until": 1 })).await;
    let ended = b.add_last_chance(json!({ "act": "fail", "until": 4 })).await;
    b.eventually("the ledger has the ends", async |b| {
        b.job(&between).await.state == JobState::Delayed && b.job(&ended).await.state == JobState::Failed
    })
    .await;
    let (promoted, retried) = (between.clone(), ended.clone());
    b.change(move |tx| {
        views::promote_job(tx, &promoted)?;
        views::retry_once(tx, &retried)
    })
    .await
    .unwrap();
    // Jobs are handed over in order: when this one runs, the queue was given the two.
    b.add(act("ok")).await;
    b.until_seen(3).await;
    b.store.faults().disarm(QUEUE_AFTER_ATTEMPT);
    b.eventually("all three are done", async |b| b.counts().await.completed == 3).await;
    b.until_quiet().await;
    let attempts = b.diary.by_job();
    assert_eq!((attempts[&between].len(), attempts[&ended].len()), (2, 2));
}

/// Whatever does not arrive on the way of a job through the queue, its attempt happens once.
async fn a_job_passes_every_fault_point_once(mode: Mode) {
    let mut b = Bench::real(mode).await;
    for (n, point) in [RELAY_BEFORE_HANDOVER, QUEUE_BEFORE_ATTEMPT, QUEUE_AFTER_ATTEMPT].into_iter().enumerate() {
        b.store.faults().arm(point, Fault::Error);
        let id = b.add(act("ok")).await;
        let (same, met) = (id.clone(), if point == QUEUE_AFTER_ATTEMPT { "done" } else { "handed" });
        b.eventually("the point is met", async |b| {
            let id = same.clone();
            let sql = "SELECT state FROM job WHERE id = ?1";
            let state: String = b.store.read(move |tx| tx.scalar(sql, params![id])).await.unwrap();
            // What did not arrive is found missing and given again, perhaps before anybody looks.
            state == met || state == "done"
        })
        .await;
        b.store.faults().disarm(point);
        b.eventually("it is done", async |b| b.job(&id).await.state == JobState::Completed).await;
        b.until_quiet().await;
        assert_eq!((b.diary.count(), b.job(&id).await.attempts_made), (n + 1, 1), "{point}");
    }
    b.stop(SOON).await;
}

/// Real time: nine of ten, on a machine that others use as well.
async fn what_is_moved_by_hand_starts_within_100_ms(mode: Mode) {
    let _alone = alone().await;
    let mut b = Bench::measured(mode).await;
    let mut took = Vec::new();
    for n in 0..20 {
        let failing = n % 2 == 0;
        let id = if failing {
            b.add(json!({ "act": "fail", "until": 1 })).await
        } else {
            b.enqueue(JobDraft::at(PROBE, act("ok"), b.clock.now().plus(Duration::from_secs(3600)))).await
        };
        b.eventually("it waits", async |b| b.job(&id).await.state == JobState::Delayed).await;
        let (same, asked) = (id.clone(), b.clock.now());
        b.change(move |tx| views::promote_job(tx, &same)).await.unwrap();
        b.eventually("it is done", async |b| b.job(&id).await.state == JobState::Completed).await;
        took.push(b.diary.by_job()[&id].last().unwrap().at.since(asked));
    }
    took.sort_unstable();
    assert!(took[17] <= Duration::from_millis(100), "{took:?}");
    b.stop(SOON).await;
}

async fn a_bulk_action_changes_all_that_match_and_tells_how_far_it_is(mode: Mode) {
    let b = Bench::manual(mode).await;
    let later = b.clock.now().plus(Duration::from_secs(3600));
    for n in 0..250 {
        let group = if n % 5 == 0 { "left" } else { "right" };
        b.enqueue(JobDraft::at(PROBE, json!({ "act": "ok", "group": group }), later)).await;
    }
    let filter = JobFilter { payload: Some("\"LEFT\"".into()), state: Some(JobState::Delayed), ..JobFilter::default() };
    let wrong = filter.clone();
    let refused = b.change(move |tx| bulk::start(tx, BulkAction::Promote, &wrong, 49, "test")).await;
    assert!(matches!(refused, Err(Problem::Conflict(_))), "the caller saw another number");
    let right = filter.clone();
    let asked = b.change(move |tx| bulk::start(tx, BulkAction::Promote, &right, 50, "test")).await.unwrap();
    assert_eq!((asked.total, asked.seen), (50, 0));
    b.eventually("the promoted have run", async |b| b.counts().await.completed == 51).await;
    assert_eq!(b.diary.count(), 50);
    let id = asked.id.clone();
    let done = b.store.read(move |tx| bulk::progress(tx, &id)).await.unwrap();
    assert_eq!((done.seen, done.changed, done.finished_at.is_some()), (50, 50, true));
    let rest = JobFilter { state: Some(JobState::Delayed), ..JobFilter::default() };
    let asked = b.change(move |tx| bulk::start(tx, BulkAction::Remove, &rest, 200, "test")).await.unwrap();
    b.eventually("the rest is gone", async |b| b.counts().await.delayed == 0).await;
    b.until_quiet().await;
    let id = asked.id.clone();
    let done = b.store.read(move |tx| bulk::progress(tx, &id)).await.unwrap();
    assert_eq!((done.seen, done.changed), (200, 200));
}

async fn a_pause_holds_jobs_back_even_over_a_restart(mode: Mode) {
    let mut b = Bench::real(mode).await;
    b.runtime().pause().await.unwrap();
    assert!(b.runtime().is_paused().await.unwrap());
    b.add_many(10, act("ok")).await;
    b.eventually("the queue has them", async |b| b.runtime().counts().await.unwrap().waiting == 10).await;
    b.stop(SOON).await;
    b.start().await;
    assert!(b.runtime().is_paused().await.unwrap());
    b.eventually("it still has them", async |b| b.runtime().counts().await.unwrap().waiting == 10).await;
    assert_eq!(b.diary.count(), 0);
    b.runtime().resume().await.unwrap();
    assert!(!b.runtime().is_paused().await.unwrap());
    b.eventually("they ran", async |b| b.counts().await.completed == 10).await;
    b.stop(SOON).await;
}

async fn jobs_are_found_by_state_name_error_and_payload(mode: Mode) {
    let b = Bench::manual(mode).await;
    b.add(json!({ "act": "ok", "who": "Ada" })).await;
    b.add(json!({ "act": "fail", "why": "the Directory says no", "who": "Bob" })).await;
    b.enqueue(JobDraft::now(CALLER, json!({ "act": "fail", "why": "no route", "who": "Ada" }))).await;
    b.until_seen(3).await;
    b.until_quiet().await;
    let found = async |filter: JobFilter| {
        b.store.read(move |tx| Ok((views::list_jobs(tx, &filter, None, 50)?.len(), views::count_matching(tx, &filter)?)))
            .await
            .unwrap()
    };
    let all = JobFilter::default;
    assert_eq!(found(all()).await, (3, 3));
    assert_eq!(found(JobFilter { state: Some(JobState::Delayed), ..all() }).await, (2, 2));
    assert_eq!(found(JobFilter { name: Some(CALLER.into()), ..all() }).await, (1, 1));
    assert_eq!(found(JobFilter { error: Some("directory".into()), ..all() }).await, (1, 1));
    assert_eq!(found(JobFilter { payload: Some("\"who\":\"ada\"".into()), ..all() }).await, (2, 2));
    assert_eq!(found(JobFilter { q: Some("ROUTE".into()), ..all() }).await, (1, 1));
    assert_eq!(found(JobFilter { q: Some("route".into()), payload: Some("bob".into()), ..all() }).await, (0, 0));
    let counts = b.counts().await;
    assert_eq!((counts.completed, counts.delayed, counts.failed), (1, 2, 0));
}

async fn attempts_are_listed_newest_first_with_their_reasons(mode: Mode) {
    let b = Bench::manual(mode).await;
    let id = b.add(json!({ "act": "fail", "until": 2, "why": "not yet" })).await;
    for n in 1..=2 {
        b.until_seen(n).await;
        b.eventually("it waits", async |b| b.runtime().counts().await.unwrap().delayed == 1).await;
        b.advance(Duration::from_secs(11));
    }
    b.eventually("it is done", async |b| b.counts().await.completed == 1).await;
    let attempts = b.store.read(move |tx| list_attempts(tx, &id)).await.unwrap();
    let shown: Vec<_> = attempts.iter().map(|a| (a.attempt, a.state, a.reason.as_deref())).collect();
    assert_eq!(
        shown,
        [
            (3, AttemptState::Completed, None),
            (2, AttemptState::Failed, Some("not yet")),
            (1, AttemptState::Failed, Some("not yet"))
        ]
    );
    assert!(attempts.windows(2).all(|w| w[0].started_at > w[1].started_at));
    assert!(attempts.iter().all(|a| a.ended_at >= a.started_at));
}

async fn failed_jobs_are_grouped_by_what_went_wrong(mode: Mode) {
    let b = Bench::real(mode).await;
    for why in ["code 17 from run_a1", "code 18 from run_b2", "no answer"] {
        let id = b.enqueue(JobDraft::at(PROBE, json!({ "act": "fail", "why": why }), b.clock.now().plus(SOON))).await;
        b.change(move |tx| {
            tx.execute("UPDATE job SET attempts_made = 3 WHERE id = ?1", params![id])?;
            views::promote_job(tx, &id)
        })
        .await
        .unwrap();
    }
    b.eventually("all failed", async |b| b.counts().await.failed == 3).await;
    let groups = b.store.read(list_error_groups).await.unwrap();
    let shown: Vec<_> = groups.iter().map(|g| (g.group.as_str(), g.count)).collect();
    assert_eq!(shown, [("code # from #", 2), ("no answer", 1)]);
    let filter = JobFilter { group: Some("code # from #".into()), ..JobFilter::default() };
    assert_eq!(b.store.read(move |tx| views::count_matching(tx, &filter)).await.unwrap(), 2);
}

async fn jobs_that_call_out_leave_a_quarter_of_the_slots(mode: Mode) {
    let mut b = Bench::real(mode).await;
    for _ in 0..20 {
        b.enqueue(JobDraft::now(CALLER, act("wait"))).await;
    }
    b.until_seen(6).await;
    b.add(act("ok")).await;
    b.eventually("a job that stays inside has run", async |b| b.counts().await.completed == 1).await;
    assert_eq!((b.counts().await.active, b.diary.count()), (6, 7));
    b.diary.gate.add_permits(20);
    b.eventually("all are done", async |b| b.counts().await.completed == 21).await;
    assert_eq!(b.diary.count(), 21);
    b.stop(SOON).await;
}

/// The queue never runs dry of jobs that stay inside, and is worked off more slowly than it fills: those
/// that call out get their share all the same.
async fn jobs_that_call_out_do_not_starve_behind_others(mode: Mode) {
    let mut b = Bench::real(mode).await;
    b.runtime().pause().await.unwrap();
    b.add_many(2000, act("ok")).await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(b.enqueue(JobDraft::now(CALLER, act("ok"))).await);
    }
    b.add_many(2000, act("ok")).await;
    b.eventually("the queue has them", async |b| b.runtime().counts().await.unwrap().waiting == 4020).await;
    b.runtime().resume().await.unwrap();
    let before_calls = async |b: &Bench| {
        let seen = b.diary.seen();
        let called = |s: &&crate::support::queue::Seen| calls.contains(&s.id);
        (seen.iter().filter(called).count() == 20).then(|| seen.iter().rposition(|s| called(&s)).unwrap())
    };
    b.eventually("all calls are made", async |b| before_calls(b).await.is_some()).await;
    let before = before_calls(&b).await.unwrap();
    assert!(before < 3000, "{before} others ran before the last call");
    b.stop(SOON).await;
}

async fn a_job_nobody_knows_fails_with_a_reason(mode: Mode) {
    let b = Bench::manual(mode).await;
    let id = b.enqueue(JobDraft::now("no-such-job", json!({}))).await;
    b.eventually("an attempt failed", async |b| b.job(&id).await.attempts_made == 1).await;
    assert!(b.job(&id).await.failed_reason.unwrap().contains("`no-such-job`"));
}
