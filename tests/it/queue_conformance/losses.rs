//! Attempts that lose their job or their process, and what a stop makes of them.

use super::*;

/// The first attempt is taken for dead; when it ends after all, the second has the job.
pub(super) async fn an_attempt_that_lost_its_job_changes_nothing(mode: Mode) {
    let mut b = Bench::real(mode).await;
    let id = b.add(act("effect")).await;
    b.until_seen(1).await;
    // Another start of the same installation, while the first one's attempt still runs.
    let first = std::mem::replace(&mut b.diary, crate::support::queue::Diary::new());
    let gate = first.gate.clone();
    b.start().await;
    b.eventually("the second attempt runs", async |b| {
        b.diary.count() + first.count() == 2
    })
    .await;
    assert_eq!(b.job(&id).await.attempts_made, 1);
    gate.add_permits(10);
    b.diary.gate.add_permits(10);
    b.eventually("it is done", async |b| b.job(&id).await.state == JobState::Completed).await;
    let effects: i64 = b.store.read(|tx| tx.scalar("SELECT count(*) FROM effect", params![])).await.unwrap();
    assert_eq!(effects, 1);
    assert_eq!(b.job(&id).await.attempts_made, 2);
}

pub(super) async fn a_crash_loses_no_job_and_counts_no_attempt_that_had_company(mode: Mode) {
    let mut b = Bench::real(mode).await;
    b.concurrency = 2;
    b.stop(SOON).await;
    b.start().await;
    b.add_many(5, act("wait")).await;
    b.until_seen(2).await;
    b.crash().await;
    b.diary = crate::support::queue::Diary::new();
    b.diary.gate.add_permits(5);
    b.start().await;
    crate::support::eventually("all five are done", Duration::from_secs(2), || async {
        (b.counts().await.completed == 5).then_some(())
    })
    .await;
    let attempts: Vec<u32> = b.diary.seen().iter().map(|s| s.attempt).collect();
    assert_eq!(attempts, [1; 5], "two ran: neither is known to have ended the process");
    b.until_quiet().await;
    b.stop(SOON).await;
}

pub(super) async fn a_job_that_kills_the_process_fails_after_its_attempts(mode: Mode) {
    let mut b = Bench::real(mode).await;
    let id = b.add(act("hang")).await;
    for n in 1..=4 {
        b.until_seen(n).await;
        b.crash().await;
        b.start().await;
    }
    b.eventually("it has failed", async |b| b.job(&id).await.state == JobState::Failed).await;
    b.until_quiet().await;
    let job = b.job(&id).await;
    assert_eq!((b.diary.count(), job.attempts_made), (4, 4));
    assert!(job.failed_reason.unwrap().contains("process ended"));
    let attempts = b.store.read(move |tx| list_attempts(tx, &id)).await.unwrap();
    assert_eq!(attempts.len(), 4);
    b.stop(SOON).await;
}

/// Three times nobody knows who it was; then each of them runs alone, and it shows.
pub(super) async fn a_job_that_ran_beside_one_that_kills_the_process_is_not_lost(mode: Mode) {
    let mut b = Bench::real(mode).await;
    let poison = b.add(act("hang")).await;
    let others = b.add_many(4, act("wait")).await;
    for n in 1..=3 {
        b.until_seen(5 * n).await;
        b.crash().await;
        b.start().await;
    }
    // From now on the others would end at once.
    b.diary.gate.add_permits(4);
    for n in 4..=7 {
        b.eventually("it runs again", async |b| b.diary.by_job()[&poison].len() == n).await;
        b.eventually("it alone", async |b| b.counts().await.active == 1).await;
        assert_eq!(b.job(&poison).await.state, JobState::Active);
        b.crash().await;
        b.start().await;
    }
    b.eventually("the others are done", async |b| b.counts().await.completed == 4).await;
    b.until_quiet().await;
    let job = b.job(&poison).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Failed, 4));
    assert_eq!(b.diary.by_job()[&poison].len(), 7);
    for id in &others {
        let job = b.job(id).await;
        assert_eq!((job.state, job.attempts_made, job.failed_reason), (JobState::Completed, 1, None));
    }
    let attempts = b.store.read(move |tx| list_attempts(tx, &poison)).await.unwrap();
    let excused = attempts.iter().filter(|a| a.reason.as_deref().is_some_and(|r| r.contains("does not count")));
    assert_eq!((attempts.len(), excused.count()), (7, 3));
    b.stop(SOON).await;
}

pub(super) async fn a_drain_finishes_what_it_can_and_gives_back_the_rest(mode: Mode) {
    let mut b = Bench::real(mode).await;
    let hangs = b.add(act("hang")).await;
    b.add_many(3, act("wait")).await;
    b.until_seen(4).await;
    b.diary.gate.add_permits(3);
    let drained = b.stop(Duration::from_millis(500)).await;
    assert_eq!(drained.released, 1);
    let counts = b.counts().await;
    assert_eq!((counts.completed, counts.waiting, counts.active), (3, 1, 0));
    assert_eq!(b.job(&hangs).await.attempts_made, 0);
    b.start().await;
    b.until_seen(5).await;
    assert_eq!(b.diary.by_job()[&hangs].iter().map(|s| s.attempt).collect::<Vec<_>>(), [1, 1]);
    b.stop(Duration::from_millis(10)).await;
}
