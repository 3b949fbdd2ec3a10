//! Attempts that lost their job or their process, in the ledger.

use super::*;

/// Two attempts of one job: the one that lost the job changes nothing, whatever it does.
#[tokio::test]
async fn a_result_that_comes_too_late_is_discarded() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::Succeed);
    let _queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    let same = id.clone();
    let claim = b
        .store
        .write(move |tx| {
            ledger::hand_over_one(tx, &same)?;
            Ok(begin(tx, &same)?.claim)
        })
        .await
        .unwrap();
    // The process "ends"; the next one takes over and starts the second attempt.
    b.store.write(ledger::recover).await.unwrap();
    let same = id.clone();
    let second = b.store.write(move |tx| Ok(begin(tx, &same)?.claim)).await.unwrap();
    assert_eq!(second.attempt, 2);
    let old = JobCx::new(claim, b.store.clone(), tokio_util::sync::CancellationToken::new());
    let late = old.complete(|tx| tx.execute("DELETE FROM job", params![])).await;
    assert!(matches!(late, Err(Problem::Conflict(_))));
    assert!(old.page(|tx| tx.execute("DELETE FROM job", params![])).await.is_err());
    assert!(old.snooze(b.clock.now()).await.is_err());
    assert_eq!(b.job(&id).await.state, JobState::Active);
    let new = JobCx::new(second, b.store.clone(), tokio_util::sync::CancellationToken::new());
    new.complete(|_| Ok(())).await.unwrap();
    assert_eq!(b.job(&id).await.state, JobState::Completed);
}

/// Handed rows of a former process run again; one in the middle of an attempt has used that attempt, if
/// it ran alone.
#[tokio::test]
async fn a_restart_hands_over_again_and_counts_the_attempt_that_was_cut() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::Succeed);
    let waiting = b.enqueue(probe_job()).await;
    let running = b.enqueue(probe_job()).await;
    let ids = [waiting.clone(), running.clone()];
    b.store
        .write(move |tx| {
            ids.iter().try_for_each(|id| ledger::hand_over_one(tx, id))?;
            begin(tx, &ids[1]).map(drop)
        })
        .await
        .unwrap();
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 2);
    assert_eq!(b.job(&waiting).await.attempts_made, 1);
    let job = b.job(&running).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Completed, 2));
    assert_eq!(seen.attempts().len(), 2);
}

/// Three cuts beside others do not count, the fourth does; a job on its last attempt is lost by that one.
#[tokio::test]
async fn attempts_that_were_cut_beside_others_count_from_the_fourth_on() {
    let b = Bench::new();
    let ids = [b.enqueue(probe_job()).await, b.enqueue(probe_job()).await];
    let (fresh, last) = (ids[0].clone(), ids[1].clone());
    b.store
        .write(move |tx| {
            tx.execute("UPDATE job SET attempts_made = 3 WHERE id = ?1", params![ids[1]])?;
            ids.iter().try_for_each(|id| ledger::hand_over_one(tx, id))?;
            for _ in 0..3 {
                ids.iter().try_for_each(|id| begin(tx, id).map(drop))?;
                assert_eq!(ledger::recover(tx)?, ledger::Recovered { again: 2, failed: 0 });
            }
            for id in &ids {
                assert!(matches!(ledger::start(tx, id, false)?, ledger::Start::Alone));
                assert!(matches!(ledger::start(tx, id, true)?, ledger::Start::Begun(_)));
            }
            assert_eq!(ledger::recover(tx)?, ledger::Recovered { again: 1, failed: 1 });
            Ok(())
        })
        .await
        .unwrap();
    let job = b.job(&fresh).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Waiting, 1));
    let job = b.job(&last).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Failed, 4));
}

/// Whether a job is on its way is what the restart then makes of it: an excused cut goes on, a last attempt does not.
#[tokio::test]
async fn what_was_cut_is_on_its_way_unless_it_is_dead() {
    let b = Bench::new();
    let (ours, other) = (b.enqueue(probe_job().with_key("a-1".to_owned())).await, b.enqueue(probe_job()).await);
    let mut told = Vec::new();
    for (company, attempts, cuts) in (0..2_u32).flat_map(|o| (0..4_u32).flat_map(move |a| (0..5_u32).map(move |c| (o, a, c)))) {
        let (ours, other) = (ours.clone(), other.clone());
        let (said, state): (bool, String) = b
            .store
            .write(move |tx| {
                let cut = "UPDATE job SET state = 'handed', active = ?2, attempts_made = ?3, cuts = ?4 WHERE id = ?1";
                tx.execute(cut, params![ours, true, attempts, cuts])?;
                tx.execute(cut, params![other, company == 1, 0, 0])?;
                let said = is_on_its_way(tx, "a")?;
                ledger::recover(tx)?;
                assert_eq!(is_on_its_way(tx, "a")?, said, "and after it: {company} {attempts} {cuts}");
                Ok((said, tx.scalar("SELECT state FROM job WHERE id = ?1", params![ours])?))
            })
            .await
            .unwrap();
        assert_eq!(said, state == "handed", "beside {company} others, {attempts} attempts, {cuts} cuts: {state}");
        told.push(said);
    }
    assert!(told.contains(&true) && told.contains(&false));
}

/// A queue that forgot when a retry is due gives the job out too early: the ledger knows better.
#[tokio::test]
async fn a_job_that_is_given_out_too_early_is_not_started() {
    let b = Bench::new();
    let id = b.enqueue(probe_job()).await;
    let later = b.clock.now().plus(Duration::from_secs(5));
    let found = b
        .store
        .write(move |tx| {
            ledger::hand_over_one(tx, &id)?;
            let claim = begin(tx, &id)?.claim;
            ledger::mark_attempt_failed(tx, &claim, "no")?;
            ledger::start(tx, &id, false)
        })
        .await
        .unwrap();
    assert!(matches!(found, ledger::Start::NotBefore(at) if at == later), "{found:?}");
}
