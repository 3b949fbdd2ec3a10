//! The SCIM driver against scim2-server, and against services that do what they should not.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tenure::base::id::ConnectorId;
use tenure::features::connectors::{CallFailure, Kind, ListRequest};

use crate::support::connectors::Bench;
use crate::support::scim::{ScimServer, TOKEN};

async fn scim(bench: &Bench, server: &ScimServer, token: &str) -> ConnectorId {
    bench.connector(Kind::Scim, json!({ "baseUrl": server.url }), &[("token", token)]).await
}

fn changed(answer: Result<Value, CallFailure>) -> bool {
    answer.expect("done")["changed"].as_bool().expect("a boolean")
}

fn present(answer: Result<Value, CallFailure>) -> bool {
    answer.expect("looked")["present"].as_bool().expect("a boolean")
}

async fn keys(bench: &Bench, id: &ConnectorId, command: &str, params: Value) -> Vec<String> {
    let all = bench.connectors.list_all(id, command, &params, 1000).await.expect("listed");
    let mut keys: Vec<String> = all.into_iter().map(|f| f.key).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn users_and_members_come_and_go_and_every_command_may_be_repeated() {
    let server = ScimServer::start().await;
    let bench = Bench::start(None).await;
    let id = scim(&bench, &server, TOKEN).await;
    assert_eq!(bench.connectors.test(&id).await.expect("tested").output["users"], 0);
    assert_eq!(keys(&bench, &id, "list_users", json!({})).await, Vec::<String>::new());

    let ada = json!({ "userName": "ada" });
    let with = |attributes: Value| json!({ "userName": "ada", "attributes": attributes });
    let create = with(json!({ "displayName": "Ada" }));
    assert!(!present(bench.call(&id, "has_user", &ada).await));
    assert!(changed(bench.call(&id, "create_user", &create).await));
    assert!(!changed(bench.call(&id, "create_user", &create).await));
    assert!(present(bench.call(&id, "has_user", &ada).await) && present(bench.call(&id, "is_active", &ada).await));
    assert!(changed(bench.call(&id, "patch_user", &with(json!({ "title": "Countess" }))).await));
    assert!(changed(bench.call(&id, "replace_user", &with(json!({ "displayName": "A. L.", "active": true }))).await));

    assert!(changed(bench.call(&id, "deactivate_user", &ada).await));
    assert!(!changed(bench.call(&id, "deactivate_user", &ada).await));
    assert!(present(bench.call(&id, "has_user", &ada).await) && !present(bench.call(&id, "is_active", &ada).await));
    // Whoever is created anew is let in again.
    assert!(changed(bench.call(&id, "create_user", &with(json!({}))).await));
    assert!(present(bench.call(&id, "is_active", &ada).await));

    let group = json!({ "group": "Genome \"readers\"" });
    let member = json!({ "userName": "ada", "group": "Genome \"readers\"" });
    assert!(!present(bench.call(&id, "has_member", &member).await));
    assert_eq!(bench.call(&id, "add_member", &member).await.expect_err("no group").code, "no_group");
    assert!(changed(bench.call(&id, "create_group", &group).await));
    assert!(!changed(bench.call(&id, "create_group", &group).await));
    assert!(changed(bench.call(&id, "add_member", &member).await));
    assert!(!changed(bench.call(&id, "add_member", &member).await));
    assert!(present(bench.call(&id, "has_member", &member).await));
    assert_eq!(keys(&bench, &id, "list_members", group.clone()).await, ["ada"]);
    assert!(changed(bench.call(&id, "remove_member", &member).await));
    assert!(!changed(bench.call(&id, "remove_member", &member).await));
    assert!(!present(bench.call(&id, "has_member", &member).await));
    assert_eq!(keys(&bench, &id, "list_members", group.clone()).await, Vec::<String>::new());

    assert!(changed(bench.call(&id, "delete_user", &ada).await));
    assert!(!changed(bench.call(&id, "delete_user", &ada).await));
    assert!(!changed(bench.call(&id, "deactivate_user", &ada).await), "gone is inactive");
    assert!(!changed(bench.call(&id, "remove_member", &member).await), "gone is no member");
    for (command, code) in [("activate_user", "no_account"), ("add_member", "no_account")] {
        let params = if command == "add_member" { &member } else { &ada };
        assert_eq!(bench.call(&id, command, params).await.expect_err(command).code, code);
    }
    assert!(changed(bench.call(&id, "delete_group", &group).await));
}

#[tokio::test]
async fn users_are_listed_in_pages_and_counted() {
    let server = ScimServer::start().await;
    let bench = Bench::start(None).await;
    let id = scim(&bench, &server, TOKEN).await;
    for n in 0..7 {
        let user = json!({ "userName": format!("user{n}"), "attributes": { "active": n != 3 } });
        bench.call(&id, "create_user", &user).await.expect("created");
    }
    let mut request = ListRequest { command: "list_users".to_owned(), params: json!({}), cursor: None, limit: 3 };
    let mut pages = Vec::new();
    loop {
        let page = bench.connectors.list(&id, &request).await.expect("a page");
        pages.push(page.items.len());
        assert_eq!(page.complete, page.next.is_none());
        request.cursor = page.next;
        if request.cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [3, 3, 1]);
    let active = keys(&bench, &id, "list_users", json!({ "filter": "active eq true" })).await;
    assert_eq!(active, ["user0", "user1", "user2", "user4", "user5", "user6"]);
    let ids = keys(&bench, &id, "list_users", json!({ "keyAttribute": "id" })).await;
    assert!(ids.len() == 7 && !ids.contains(&"user0".to_owned()));
}

#[tokio::test]
async fn a_failure_says_what_to_mend_and_holds_no_token() {
    let server = ScimServer::start().await;
    let bench = Bench::start(None).await;
    let id = scim(&bench, &server, "wrong-t0ken").await;
    let failure = bench.call(&id, "has_user", &json!({ "userName": "ada" })).await.expect_err("refused");
    assert_eq!((failure.code.as_str(), failure.retryable), ("http_401", false));
    assert!(!failure.message.contains("wrong-t0ken"), "{failure:?}");
    let id = scim(&bench, &server, TOKEN).await;
    let odd = json!({ "filter": "this is no filter" });
    assert_eq!(bench.connectors.list_all(&id, "list_users", &odd, 9).await.expect_err("refused").code, "http_400");
    drop(server);
    let failure = bench.call(&id, "has_user", &json!({ "userName": "ada" })).await.expect_err("gone");
    assert_eq!((failure.code.as_str(), failure.retryable), ("unreachable", true));
}

/// What services should not do, each below a path of its own.
async fn odd_service(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if request.method() != Method::GET {
        return (StatusCode::INTERNAL_SERVER_ERROR, "nothing is to be changed here").into_response();
    }
    let later = !request.uri().query().unwrap_or_default().contains("startIndex=1&");
    let user = |n: u32| json!({ "id": format!("u{n}"), "userName": format!("user{n}") });
    axum::Json(match path.as_str() {
        "/unfiltered/Users" | "/unfiltered/Groups" => {
            json!({ "totalResults": 1, "Resources": [{ "id": "e", "userName": "eve", "displayName": "admins" }] })
        }
        "/text/Users" => json!({ "totalResults": 1, "Resources": [{ "id": "a", "userName": "ADA", "active": "false" }] }),
        // One of the first two went while the list was read: user 3 moved up.
        "/shrinking/Users" if later => json!({ "totalResults": 4, "Resources": [user(4), user(5)] }),
        "/shrinking/Users" => json!({ "totalResults": 5, "Resources": [user(1), user(2)] }),
        "/endless/Users" => json!({ "totalResults": 1_000_000_000, "Resources": [user(1)] }),
        "/endless/Groups" | "/shrinking/Groups" => {
            json!({ "totalResults": 1, "Resources": [{ "id": "g", "displayName": "lab" }] })
        }
        _ => json!({ "id": "g", "displayName": "lab", "members": [{ "value": "u1" }] }),
    })
    .into_response()
}

#[tokio::test]
async fn a_service_that_gives_somebody_else_or_half_of_its_users_is_not_believed() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, Router::new().fallback(odd_service)).into_future());
    let bench = Bench::start(None).await;
    let at = async |path: &str| {
        bench.connector(Kind::Scim, json!({ "baseUrl": format!("{base}/{path}"), "auth": "none" }), &[]).await
    };
    let ada = json!({ "userName": "ada" });
    let unfiltered = at("unfiltered").await;
    for command in ["delete_user", "deactivate_user", "has_user", "is_active", "create_user"] {
        let failure = bench.call(&unfiltered, command, &ada).await.expect_err(command);
        assert_eq!(failure.code, "bad_answer", "{command}: {failure:?}");
    }
    let failure = bench.call(&unfiltered, "delete_group", &json!({ "group": "lab" })).await.expect_err("another group");
    assert_eq!(failure.code, "bad_answer", "{failure:?}");

    let text = at("text").await;
    assert!(present(bench.call(&text, "has_user", &ada).await), "capitals make no difference");
    for command in ["is_active", "deactivate_user", "activate_user"] {
        assert_eq!(bench.call(&text, command, &ada).await.expect_err(command).code, "bad_answer");
    }

    let shrinking = at("shrinking").await;
    for (command, params) in [("list_users", json!({})), ("list_members", json!({ "group": "lab" }))] {
        let listed = bench.connectors.list_all(&shrinking, command, &params, 99).await;
        assert_eq!(listed.expect_err(command).code, "incomplete");
    }
    let endless = at("endless").await;
    let params = json!({ "group": "lab" });
    let asked = bench.connectors.list_all(&endless, "list_members", &params, 99);
    let listed = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it ends");
    assert_eq!(listed.expect_err("no end").code, "too_many");
}
