//! The list of one's own tasks, among many of others.

use super::*;
use crate::features::identity::accounts::store::{LIST_ABLE, list_able};
use crate::features::workflow::tasks::store::{TaskFilter, list_sql, list_tasks};
use crate::platform::store::{Json, Value as Bound};

/// Ten thousand tasks in one run; a hundred of them for Rosa, half of those done.
async fn many_tasks(f: &Fixture) {
    let run = f.started(&f.published(review("reviewers")).await).await;
    let (rosa, ada) = (f.rosa.person.clone(), f.ada.person.clone());
    f.store
        .write(move |tx| {
            tx.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                 INSERT INTO task (id, kind, run_id, visit, step_name, title, description, form, outputs, state, created_at)
                 SELECT printf('tsk_%026d', i), 'task', ?1, i + 10, 's', printf('Task %d', i), '', '[]', '[]',
                        CASE WHEN i % 200 = 0 THEN 'done' ELSE 'open' END, i FROM n",
                params![run.id],
            )?;
            tx.execute(
                "INSERT INTO task_candidate (task_id, person_id)
                 SELECT id, CASE WHEN visit % 100 = 10 THEN ?1 ELSE ?2 END FROM task",
                params![rosa, ada],
            )
            .map(drop)
        })
        .await
        .unwrap();
}

impl Fixture {
    async fn plan(&self, sql: String, values: Vec<Bound>) -> Vec<String> {
        self.store
            .read(move |tx| tx.query(&format!("EXPLAIN QUERY PLAN {sql}"), &values, |r| r.get("detail")))
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn ones_own_tasks_are_found_by_an_index_among_ten_thousand() {
    let f = fixture().await;
    many_tasks(&f).await;
    let rosa = f.rosa.person.clone().unwrap();
    let mine = TaskFilter { over: Some(false), mine: Some(rosa.clone()), visible_to: Some(rosa.clone()), which: None };
    let before = format!("tsk_{:026}", 9_000);
    let wanted = mine.clone();
    let page = f.store.read(move |tx| list_tasks(tx, &wanted, Some(&before), 20)).await.unwrap();
    let numbers: Vec<String> = page.iter().map(|t| t.title.clone()).collect();
    assert_eq!((page.len(), numbers[0].as_str(), numbers[19].as_str()), (20, "Task 8900", "Task 5100"));
    assert!(page.iter().all(|t| t.candidates == [rosa.clone()]), "with those who can do them");
    let (sql, values) = list_sql(&mine, Some("tsk_9"), 51, crate::base::Clock::now(&*f.clock));
    let plan = f.plan(sql, values).await;
    assert!(plan[0].starts_with("SEARCH c USING COVERING INDEX task_candidate_by_person (person_id=?"), "{plan:#?}");
    assert!(plan[1].starts_with("SEARCH task USING INDEX sqlite_autoindex_task_1 (id=?"), "{plan:#?}");
    assert!(!plan.iter().any(|l| l.contains("SCAN") || l.contains("TEMP B-TREE")), "{plan:#?}");
    // What one may know of: no more than the runs that one sees is looked at.
    let known = TaskFilter { over: None, mine: None, visible_to: Some(rosa.clone()), which: None };
    let (sql, values) = list_sql(&known, None, 51, crate::base::Clock::now(&*f.clock));
    let plan = f.plan(sql, values).await;
    assert!(plan[0].starts_with("SEARCH v USING PRIMARY KEY (person_id=?"), "{plan:#?}");
    assert!(plan[1].starts_with("SEARCH task USING INDEX sqlite_autoindex_task_2 (run_id=?"), "{plan:#?}");
    let found = f.store.read(move |tx| list_tasks(tx, &known, None, 200)).await.unwrap();
    assert_eq!(found.len(), 100);
}

#[tokio::test]
async fn who_can_do_a_task_is_asked_once_for_all() {
    let f = fixture().await;
    let people: Vec<PersonId> = [&f.ada, &f.rosa, &f.boss].iter().filter_map(|p| p.person.clone()).collect();
    let (asked, roles) = (people.clone(), [SystemRole::Approver, SystemRole::Requestor]);
    let mut expected = people[..2].to_vec();
    expected.sort();
    assert_eq!(f.store.read(move |tx| list_able(tx, &asked, &roles)).await.unwrap(), expected);
    let values = params![Json(&people), Json(["approver"])].to_vec();
    let plan = f.plan(LIST_ABLE.to_owned(), values).await;
    assert!(plan.iter().any(|l| l.starts_with("SEARCH a USING INDEX sqlite_autoindex_account_2 (person_id=?)")), "{plan:#?}");
    assert!(plan.iter().any(|l| l.contains("sqlite_autoindex_person_1 (id=?)")), "{plan:#?}");
    assert!(!plan.iter().any(|l| l.starts_with("SCAN") && !l.contains("VIRTUAL TABLE")), "{plan:#?}");
}
