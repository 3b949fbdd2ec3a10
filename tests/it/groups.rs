//! Groups, managers and profile attributes.

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, ROSA};

use crate::support::office::{Office, Who, id_of};

async fn person(office: &Office, admin: &Who, email: &str) -> String {
    let found = office.does(admin, "GET", &format!("/api/people?q={email}"), Value::Null).await;
    id_of(&found["items"][0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_made_renamed_filled_and_deleted() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (mona, _) = office.sign_in(MONA).await;
    let (ada, rosa) = (person(&office, &admin, ADA).await, person(&office, &admin, ROSA).await);
    let body = json!({ "name": "night-watch", "description": "Answers at night.", "ownerId": rosa, "memberIds": [ada] });
    let made = office.does(&admin, "POST", "/api/groups", body.clone()).await;
    let id = id_of(&made);
    assert_eq!((&made["owner"]["id"], &made["members"]), (&json!(rosa), &json!(1)));
    assert_eq!(office.ask(&admin, "POST", "/api/groups", body).await.0, 409, "the name is taken");
    let nobody = json!({ "name": "x", "memberIds": ["per_00000000000000000000000000"] });
    let (status, fault) = office.ask(&admin, "POST", "/api/groups", nobody).await;
    assert_eq!((status, &fault["errors"][0]["field"]), (422, &json!("memberIds[0]")));
    assert_eq!(office.ask(&mona, "PATCH", &format!("/api/groups/{id}"), json!({ "name": "y" })).await.0, 403);

    let path = format!("/api/groups/{id}/members");
    let changed = office.does(&admin, "POST", &path, json!({ "add": [rosa, ada], "remove": [] })).await;
    assert_eq!(changed["changed"], 1, "who is in it already does not come again");
    office.does(&admin, "POST", &path, json!({ "remove": [ada] })).await;
    let members = office.does(&mona, "GET", &path, Value::Null).await;
    assert_eq!(members["items"].as_array().expect("people").len(), 1);
    let relations = office.does(&admin, "GET", &format!("/api/people/{rosa}/relations"), Value::Null).await;
    assert!(relations["groups"].to_string().contains("night-watch"), "{relations}");

    let renamed = office.does(&admin, "PATCH", &format!("/api/groups/{id}"), json!({ "name": "day-watch", "ownerId": null })).await;
    assert_eq!((&renamed["name"], &renamed["owner"]), (&json!("day-watch"), &Value::Null));
    // Nothing used the old name: it is free.
    office.does(&admin, "POST", "/api/groups", json!({ "name": "night-watch" })).await;
    assert_eq!(office.ask(&admin, "DELETE", &format!("/api/groups/{id}"), Value::Null).await.0, 204);
    assert_eq!(office.ask(&admin, "GET", &format!("/api/groups/{id}"), Value::Null).await.0, 404);
    let told = office.does(&admin, "GET", "/api/audit?entity=group&limit=200", Value::Null).await.to_string();
    for action in ["group.created", "group.changed", "group.member_added", "group.member_removed", "group.deleted"] {
        assert!(told.contains(action), "{action}");
    }
    office.running.stop().await;
}

/// The workflow that named the group before still finds its people, and nobody else's group takes the name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_group_still_answers_to_the_name_that_workflows_use() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (ada, _) = office.sign_in(ADA).await;
    let definition = json!({
        "name": "Asking", "steps": [{ "id": "ask", "name": "Ask", "type": "approval",
            "config": { "title": "Yes?", "approvers": [{ "group": "genome-reviewers" }] } }],
    });
    let workflow = office.workflow(&admin, definition).await;
    let groups = office.does(&admin, "GET", "/api/groups?q=genome", Value::Null).await;
    let id = id_of(&groups["items"][0]);
    let detail = office.does(&admin, "GET", &format!("/api/groups/{id}"), Value::Null).await;
    assert_eq!(detail["usedBy"], json!(["Asking"]));
    let (status, why) = office.ask(&admin, "DELETE", &format!("/api/groups/{id}"), Value::Null).await;
    assert_eq!(status, 409, "{why}");
    assert!(why["detail"].as_str().expect("text").contains("Asking"), "{why}");
    office.does(&admin, "PATCH", &format!("/api/groups/{id}"), json!({ "name": "gene-readers" })).await;
    let (status, why) = office.ask(&admin, "POST", "/api/groups", json!({ "name": "genome-reviewers" })).await;
    assert_eq!(status, 409, "{why}");
    let detail = office.does(&admin, "GET", &format!("/api/groups/{id}"), Value::Null).await;
    assert_eq!((&detail["formerNames"], &detail["usedBy"]), (&json!(["genome-reviewers"]), &json!(["Asking"])));
    let run = id_of(&office.does(&ada, "POST", &format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await);
    let waiting = office.run_that_is(&ada, &run, "waiting").await;
    assert_eq!(waiting["waitingFor"][0]["kind"], "approval", "{waiting}");
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reports_to_themselves_not_even_through_others() {
    let office = Office::open().await;
    let (admin, admin_id) = office.sign_in(ADMIN).await;
    let (ada, rosa, mona) =
        (person(&office, &admin, ADA).await, person(&office, &admin, ROSA).await, person(&office, &admin, MONA).await);
    let give = async |of: &str, manager: &str| office.ask(&admin, "PATCH", &format!("/api/people/{of}"), json!({ "managerId": manager })).await;
    assert_eq!(give(&ada, &rosa).await.0, 200);
    assert_eq!(give(&rosa, &mona).await.0, 200);
    assert_eq!(give(&mona, &admin_id).await.0, 200);
    for (of, manager) in [(&admin_id, &ada), (&mona, &ada), (&rosa, &ada), (&ada, &ada)] {
        let (status, why) = give(of, manager).await;
        assert_eq!((status, &why["errors"][0]["field"]), (422, &json!("managerId")), "{why}");
    }
    let relations = office.does(&admin, "GET", &format!("/api/people/{ada}/relations"), Value::Null).await;
    assert_eq!(relations["manager"]["id"], rosa.as_str());
    assert_eq!(relations["above"].as_array().expect("people").len(), 2, "{relations}");
    let relations = office.does(&admin, "GET", &format!("/api/people/{rosa}/relations"), Value::Null).await;
    assert_eq!(relations["reports"][0]["id"], ada.as_str());
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profile_attributes_follow_the_schema_that_was_saved() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let ada = person(&office, &admin, ADA).await;
    let wrong = json!({ "attributes": [{ "name": "kind", "type": "choice" }] });
    assert_eq!(office.ask(&admin, "PUT", "/api/settings/profile", wrong).await.0, 422);
    let schema = json!({ "closed": true, "attributes": [
        { "name": "uid" }, { "name": "department", "label": "Department", "type": "choice", "values": ["Research", "IT"] },
    ] });
    office.does(&admin, "PUT", "/api/settings/profile", schema.clone()).await;
    assert_eq!(office.does(&admin, "GET", "/api/settings/profile", Value::Null).await["closed"], true);
    let path = format!("/api/people/{ada}");
    let (status, why) = office.ask(&admin, "PATCH", &path, json!({ "attributes": { "uid": "ada", "department": "Sales", "x": 1 } })).await;
    assert_eq!((status, why["errors"].as_array().expect("faults").len()), (422, 2), "{why}");
    office.does(&admin, "PATCH", &path, json!({ "attributes": { "uid": "ada", "department": "IT" } })).await;
    office.running.stop().await;
}
