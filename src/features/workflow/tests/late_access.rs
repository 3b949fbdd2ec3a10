//! Access that is being set up while its run ends.

use super::*;

/// How the access of a run turns out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turns {
    Provisioned,
    Failed,
}

impl Fixture {
    async fn role(&self) {
        let connector = self.connector().await;
        self.store
            .write(move |tx| {
                let by = Principal::system("test");
                let call = |name: &str| Call { command: name.to_owned(), params: json!({}) };
                let new = NewEntitlement {
                    name: "Group".to_owned(),
                    connector_id: connector.clone(),
                    provision: call("add"),
                    deprovision: call("remove"),
                    check: None,
                    list: None,
                    reconcile: Default::default(),
                };
                let entitlement = create_entitlement(tx, &by, new)?.id;
                let new = NewRole {
                    name: "Reader".to_owned(),
                    description: String::new(),
                    owner_id: None,
                    default_duration_days: None,
                    required_document_types: Vec::new(),
                    entitlement_ids: vec![entitlement],
                };
                create_role(tx, &by, new).map(drop)
            })
            .await
            .unwrap();
    }

    async fn assignment(&self) -> Assignment {
        self.store
            .read(|tx| Ok(assignment_store::list_assignments(tx, &Default::default(), None, 1)?.remove(0)))
            .await
            .unwrap()
    }

    /// The connected system answers, and the run's job comes, twice.
    async fn turns_out(&self, run: &Run, how: Turns) {
        let (id, assignment) = (run.id.clone(), self.assignment().await.id);
        self.store
            .write(move |tx| {
                let by = Principal::system("test");
                let row = grants::store::list_rows(tx, &assignment)?.remove(0);
                let job = tx.new_id();
                let grants::ops::Begin::Go(work) = grants::ops::begin(tx, &by, &job, &row.id, Wanted::Present)? else {
                    return Err(Problem::internal("the grant is not open"));
                };
                match how {
                    Turns::Provisioned => grants::ops::confirm(tx, &by, &work)?,
                    Turns::Failed => {
                        let failed =
                            grants::ops::Failed { why: "down".to_owned(), last: true, contradicted: false };
                        grants::ops::note_failure(tx, &by, (&row.id, work.generation, Wanted::Present), &failed)?;
                    }
                }
                go_on(tx, &by, &id)?;
                go_on(tx, &by, &id)
            })
            .await
            .unwrap();
    }
}

fn granting() -> serde_json::Value {
    json!({ "name": "Grant", "steps": [
        { "id": "grant", "name": "Grant", "type": "role_grant", "transitions": [{ "on": "success", "to": "review" }],
          "config": { "role": "Reader", "reason": "for the test" } },
        { "id": "review", "name": "Review", "type": "approval",
          "config": { "title": "Please", "approvers": [{ "group": "reviewers" }] } },
    ] })
}

#[tokio::test]
async fn access_that_turns_out_after_the_run_ended_is_written_down_and_taken_back() {
    for how in [Turns::Provisioned, Turns::Failed] {
        for status in [EndStatus::Failed, EndStatus::Cancelled] {
            let f = fixture().await;
            f.role().await;
            let run = f.started(&f.published(serde_json::from_value(granting()).unwrap()).await).await;
            assert_eq!(f.assignment().await.state, AssignmentState::Provisioning);
            let id = run.id.clone();
            f.store
                .write(move |tx| {
                    let stop = Event::Stop { status, reason: "over".to_owned() };
                    runs::apply(tx, &Principal::system("test"), &id, stop).map(drop)
                })
                .await
                .unwrap();
            f.turns_out(&run, how).await;
            let taken = f.assignment().await;
            assert_eq!(taken.state, AssignmentState::Revoking, "{how:?} {status:?}");
            assert!(taken.end_reason.unwrap().contains(run.id.as_str()));
            let late: Vec<_> = f.events(&run).await.into_iter().filter(|e| e.kind == "effect.late").collect();
            assert_eq!((late.len(), late[0].step_id.as_deref()), (1, Some("grant")), "{how:?} {status:?}");
            assert_eq!(f.run(&run).await.reason.as_deref(), Some("over"));
        }
    }
}

/// What a run had been told of before it ended is no late outcome.
#[tokio::test]
async fn access_that_a_run_knew_of_stays_when_it_is_cancelled_later() {
    let f = fixture().await;
    f.role().await;
    let run = f.started(&f.published(serde_json::from_value(granting()).unwrap()).await).await;
    f.turns_out(&run, Turns::Provisioned).await;
    let (boss, id) = (f.boss.clone(), run.id.clone());
    f.store
        .write(move |tx| {
            runs::cancel(tx, &boss, &id, "not needed")?;
            go_on(tx, &Principal::system("test"), &id)
        })
        .await
        .unwrap();
    assert_eq!(f.assignment().await.state, AssignmentState::Active);
}
