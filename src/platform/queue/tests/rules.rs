//! What a job is promised, inline and by the manual clock.

use super::*;

/// The wait counts from the failure, and one millisecond before its end nothing runs.
#[tokio::test]
async fn four_attempts_after_5_10_and_20_seconds_then_failed() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::FailFirst(9));
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    for (n, delay) in [5, 10, 20].into_iter().enumerate() {
        assert_eq!(queue.run_due().await.unwrap(), 1);
        let job = b.job(&id).await;
        assert_eq!((job.state, job.attempts_made), (JobState::Delayed, n as u32 + 1));
        assert_eq!(job.failed_reason.as_deref(), Some("the probe says no"));
        b.clock.advance(Duration::from_millis(delay * 1000 - 1));
        assert_eq!(queue.run_due().await.unwrap(), 0);
        b.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(queue.run_due().await.unwrap(), 1);
    let job = b.job(&id).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Failed, 4));
    b.clock.advance(Duration::from_secs(3600));
    assert_eq!(queue.run_due().await.unwrap(), 0);
    let attempts: Vec<u32> = seen.attempts().into_iter().map(|(n, _)| n).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_panic_and_an_unknown_name_are_failures_with_a_reason() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::Panic);
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let panics = b.enqueue(probe_job()).await;
    let unknown = b.enqueue(JobDraft::now("no-such-job", json!({}))).await;
    queue.run_due().await.unwrap();
    assert!(b.job(&panics).await.failed_reason.unwrap().contains("panicked"));
    let job = b.job(&unknown).await;
    assert_eq!(job.attempts_made, 1);
    assert!(job.failed_reason.unwrap().contains("`no-such-job`"));
}

/// Open and done jobs hold their key; a failed one gives it away; a rolled-back one never was.
#[tokio::test]
async fn a_key_makes_one_job() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::Succeed);
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let draft = probe_job().with_key("once");
    let refused: Result<(), Problem> = b
        .store
        .write(|tx| {
            enqueue(tx, probe_job().with_key("once"))?;
            Err(Problem::refused("taken back"))
        })
        .await;
    assert!(refused.is_err());
    let first = b.enqueue(draft.clone()).await;
    assert_eq!(b.enqueue(draft.clone()).await, first);
    queue.run_due().await.unwrap();
    assert_eq!(b.enqueue(draft.clone()).await, first);
    assert_eq!(queue.run_due().await.unwrap(), 0);
    assert_eq!(seen.attempts().len(), 1);
    let id = first.clone();
    b.store
        .write(move |tx| tx.execute("UPDATE job SET state = 'failed' WHERE id = ?1", params![id]))
        .await
        .unwrap();
    assert_ne!(b.enqueue(draft).await, first);
}

#[tokio::test]
async fn a_job_waits_for_its_instant_and_can_be_cancelled_before() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::Succeed);
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let at = b.clock.now().plus(Duration::from_secs(60));
    let one = b.enqueue(JobDraft::at(PROBE, json!({}), at)).await;
    let two = b.enqueue(JobDraft::at(PROBE, json!({}), at)).await;
    assert_eq!(b.job(&one).await.state, JobState::Delayed);
    assert_eq!(queue.next_instant().await.unwrap(), Some(at));
    assert_eq!(queue.run_due().await.unwrap(), 0);
    assert!(b.store.write(move |tx| cancel(tx, &two)).await.unwrap());
    b.clock.set(at);
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!(b.job(&one).await.state, JobState::Completed);
    assert!(!b.store.write(move |tx| cancel(tx, &one)).await.unwrap());
}

#[tokio::test]
async fn a_snooze_counts_no_attempt() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::SnoozeOnce(Duration::from_secs(300)));
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    queue.run_due().await.unwrap();
    let job = b.job(&id).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Delayed, 0));
    b.clock.advance(Duration::from_secs(300));
    queue.run_due().await.unwrap();
    assert_eq!(b.job(&id).await.state, JobState::Completed);
    assert_eq!(seen.attempts().iter().map(|a| a.0).collect::<Vec<_>>(), [1, 1]);
}

/// A restart or a second look makes no second job; what was missed fires once, the latest, late.
#[tokio::test]
async fn a_slot_fires_once_and_missed_slots_fire_once_together() {
    let b = Bench::new();
    let scheduled = || {
        let (mut probe, seen) = Probe::new(Act::Succeed);
        probe.cron = Some("0 * * * *");
        (registry(probe), seen)
    };
    let (handlers, seen) = scheduled();
    let queue = InlineQueue::start(b.store.clone(), handlers).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 0, "a new schedule starts with its next slot");
    b.clock.set("2031-03-01T12:00:00Z".parse().unwrap());
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!(queue.run_due().await.unwrap(), 0);
    drop(queue);
    let (handlers, again) = scheduled();
    b.clock.set("2031-03-08T09:20:00Z".parse().unwrap());
    let queue = InlineQueue::start(b.store.clone(), handlers).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!((seen.attempts().len(), again.attempts().len()), (1, 1));
    let keys: Vec<(String, bool)> = b
        .store
        .read(|tx| {
            tx.query("SELECT key, late FROM job ORDER BY id", params![], |r| {
                Ok((r.get("key")?, r.get("late")?))
            })
        })
        .await
        .unwrap();
    assert_eq!(
        keys,
        [("probe@20310301T120000Z".to_owned(), false), ("probe@20310308T090000Z".to_owned(), true)]
    );
    let row = b.store.read(list_schedules).await.unwrap().remove(0);
    assert_eq!(row.last_slot_at, Some("2031-03-08T09:00:00Z".parse().unwrap()));
    assert_eq!(row.next_slot_at, Some("2031-03-08T10:00:00Z".parse().unwrap()));
    assert_eq!(row.last_state.as_deref(), Some("completed"));
}

#[tokio::test]
async fn the_newest_thousand_completed_jobs_are_kept() {
    let b = Bench::new();
    b.store
        .write(|tx| {
            for n in 0..1010_i64 {
                let id: JobId = tx.new_id();
                tx.execute(
                    "INSERT INTO job (id, name, payload, state, run_at, created_at, finished_on)
                     VALUES (?1, 'x', '{}', 'done', 0, 0, ?2)",
                    params![id, n],
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(b.store.write(ledger::trim).await.unwrap(), 10);
    let oldest: i64 =
        b.store.read(|tx| tx.scalar("SELECT min(finished_on) FROM job", params![])).await.unwrap();
    assert_eq!(oldest, 10);
}

#[tokio::test]
async fn by_hand_a_failed_job_starts_over_and_a_delayed_one_runs_now() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::FailFirst(1));
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    queue.run_due().await.unwrap();
    let same = id.clone();
    assert!(b.store.write(move |tx| views::retry_job(tx, &same)).await.is_err());
    let same = id.clone();
    b.store.write(move |tx| views::promote_job(tx, &same)).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!(b.job(&id).await.state, JobState::Completed);
    let counts = b.store.read(views::count_jobs).await.unwrap();
    assert_eq!(counts, views::JobCounts { completed: 1, ..Default::default() });
    let filter = views::JobFilter { state: Some(JobState::Completed), q: Some("PROBE".into()), ..Default::default() };
    let listed = b.store.read(move |tx| views::list_jobs(tx, &filter, None, 10)).await.unwrap();
    assert_eq!(listed.len(), 1);
    b.store.write(move |tx| views::remove_job(tx, &id)).await.unwrap();
}
