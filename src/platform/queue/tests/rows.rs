//! The rows of `queue.db`, by the manual clock.

use super::ledger::{Ticket, ulid_of};
use super::queue_db::{self, Settle};
use super::slots::Free;
use super::*;

const WORKER: &str = "tenure:test";

async fn rows() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, "queue.db", &MigrationSet::queue(), Arc::new(ManualClock::at(start_of_2031())));
    apalis::prepare_tables(store.path()).await.unwrap();
    store.write(|tx| queue_db::take_over(tx, WORKER)).await.unwrap();
    (dir, store)
}

fn ticket(tx: &Tx<'_>, run_at: Timestamp) -> Ticket {
    Ticket {
        id: tx.new_id(),
        run_at,
        calls_out: false,
        name: PROBE.to_owned(),
        payload: "{}".to_owned(),
        created_at: tx.now(),
        attempts_made: 0,
        fence: 0,
        foreign_id: None,
    }
}

/// How many a claim gives out now, and when it is the next one's turn.
fn claim(tx: &Tx<'_>) -> Result<(usize, Option<Timestamp>), Problem> {
    let free = Free { all: 8, calling: 8 };
    Ok((queue_db::claim(tx, WORKER, free)?.len(), queue_db::next_due(tx, free)?))
}

#[tokio::test]
async fn an_instant_is_kept_to_the_millisecond() {
    let (_dir, store) = rows().await;
    let at = start_of_2031().plus(Duration::from_millis(1));
    let found = store.write(move |tx| {
        queue_db::add(tx, &ticket(tx, at))?;
        claim(tx)
    });
    assert_eq!(found.await.unwrap(), (0, Some(at)));
}

/// However the attempt ended: what the ledger said meanwhile holds.
#[tokio::test]
async fn a_row_that_is_handed_over_while_it_is_locked_waits_as_the_ledger_says() {
    let (_dir, store) = rows().await;
    let later = start_of_2031().plus(Duration::from_secs(5));
    for what in [Settle::Forget, Settle::Again(later), Settle::Release] {
        let found = store.write(move |tx| {
            let ticket = ticket(tx, tx.now());
            queue_db::add(tx, &ticket)?;
            assert_eq!(claim(tx)?.0, 1);
            queue_db::add(tx, &ticket)?;
            assert_eq!(claim(tx)?.0, 0, "it is locked");
            queue_db::settle(tx, &ulid_of(&ticket.id), WORKER, what)?;
            let again = claim(tx)?.0;
            // The next end is the end: it was handed over once.
            queue_db::settle(tx, &ulid_of(&ticket.id), WORKER, Settle::Forget)?;
            Ok((again, queue_db::counts(tx)?))
        });
        assert_eq!(found.await.unwrap(), (1, Default::default()), "{what:?}");
    }
}

#[tokio::test]
async fn rows_that_count_seconds_are_read_as_such() {
    let (_dir, store) = rows().await;
    let at = start_of_2031().plus(Duration::from_secs(5));
    let found = store.write(move |tx| {
        queue_db::add(tx, &ticket(tx, at))?;
        tx.execute("UPDATE Jobs SET run_at = run_at / 1000", params![])?;
        queue_db::take_over(tx, WORKER)?;
        queue_db::take_over(tx, WORKER)?;
        claim(tx)
    });
    assert_eq!(found.await.unwrap(), (0, Some(at)));
}
