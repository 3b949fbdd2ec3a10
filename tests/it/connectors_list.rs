//! What connected systems say is there: everything, nothing, or not all of it, which is a failure.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure::base::id::ConnectorId;
use tenure::features::connectors::{CallFailure, Kind, ListRequest};

use crate::support::connectors::Bench;
use crate::support::slapd::{ADMIN_DN, ADMIN_PASSWORD, BASE_DN, Slapd};

async fn keys(bench: &Bench, id: &ConnectorId, command: &str, params: &Value) -> Result<Vec<String>, CallFailure> {
    let all = bench.connectors.list_all(id, command, params, 1000).await?;
    Ok(all.into_iter().map(|found| found.key).collect())
}

fn code(answer: Result<Vec<String>, CallFailure>) -> String {
    answer.expect_err("a failure").code
}

#[tokio::test]
async fn the_directory_lists_accounts_and_members_page_by_page() {
    let bench = Bench::start(None).await;
    let id = bench.connector(Kind::Directory, json!({}), &[]).await;
    let group = json!({ "group": "readers" });
    assert_eq!(keys(&bench, &id, "list_members", &group).await, Ok(Vec::new()));
    for account in ["eve", "ada", "bob"] {
        bench.call(&id, "add_member", &json!({ "account": account, "group": "readers" })).await.expect("added");
    }
    bench.call(&id, "create_account", &json!({ "account": "zoe", "attributes": { "mail": "z" } })).await.expect("made");
    assert_eq!(keys(&bench, &id, "list_members", &group).await.expect("listed"), ["ada", "bob", "eve"]);
    assert_eq!(keys(&bench, &id, "list_accounts", &json!({})).await.expect("listed"), ["ada", "bob", "eve", "zoe"]);

    let mut request =
        ListRequest { command: "list_accounts".to_owned(), params: json!({}), cursor: None, limit: 3 };
    let first = bench.connectors.list(&id, &request).await.expect("a page");
    assert_eq!((first.items.len(), first.next.as_deref(), first.complete), (3, Some("eve"), false));
    request.cursor = first.next;
    let last = bench.connectors.list(&id, &request).await.expect("a page");
    assert_eq!((last.items[0].attributes["mail"].as_str(), last.next, last.complete), (Some("z"), None, true));

    let too_many = bench.connectors.list_all(&id, "list_accounts", &json!({}), 3).await;
    assert_eq!(too_many.expect_err("a failure").code, "too_many");
    let strict = bench.connector(Kind::Directory, json!({ "createMissing": false }), &[]).await;
    assert_eq!(code(keys(&bench, &strict, "list_members", &group).await), "no_group");
    // Commands that list and commands that act are not mistaken for each other.
    assert_eq!(bench.call(&id, "list_members", &group).await.expect_err("a list").code, "unknown_command");
    assert_eq!(code(keys(&bench, &id, "has_group", &group).await), "unknown_command");
}

/// Seven users in pages of three, told in each way; `/half` breaks off after the first page.
async fn answer(State(base): State<String>, request: Request) -> Response {
    let query: Vec<(String, String)> = url::form_urlencoded::parse(request.uri().query().unwrap_or("").as_bytes())
        .into_owned()
        .collect();
    let number = |name: &str| query.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.parse::<usize>().ok());
    let users = |from: usize| -> Vec<Value> { (from..7.min(from + 3)).map(|n| json!({ "id": format!("u{n}") })).collect() };
    let from = number("from").unwrap_or(0);
    let next = (from + 3 < 7).then_some(from + 3);
    match request.uri().path() {
        "/api/cursor" => axum::Json(json!({ "users": users(from), "next": next })).into_response(),
        "/api/link" => {
            let next = next.map(|n| format!("{base}/api/link?from={n}"));
            axum::Json(json!({ "users": users(from), "next": next })).into_response()
        }
        "/api/page" => axum::Json(users(number("page").unwrap_or(1).saturating_sub(1) * 3)).into_response(),
        "/api/none" => axum::Json(json!({ "users": [], "next": null })).into_response(),
        "/api/loop" => axum::Json(json!({ "users": [], "next": "0" })).into_response(),
        "/api/twice" => axum::Json(json!([{ "id": "a" }, { "id": "a" }])).into_response(),
        "/api/half" if from > 0 => (StatusCode::BAD_GATEWAY, "gone").into_response(),
        "/api/half" => axum::Json(json!({ "users": users(0), "next": 3 })).into_response(),
        "/api/text" => "<html>please sign in</html>".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_one_that_has_nothing_and_one_that_breaks_off_are_three_answers() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(axum::serve(listener, Router::new().fallback(answer).with_state(base.clone())).into_future());
    let bench = Bench::start(None).await;
    let id = bench.connector(Kind::Http, json!({ "baseUrl": format!("{base}/api") }), &[]).await;
    let by = |path: &str, param: Option<&str>| {
        json!({ "path": path, "itemsPath": "/users", "nextPath": "/next", "cursorParam": param })
    };
    let all: Vec<String> = (0..7).map(|n| format!("u{n}")).collect();
    for params in [by("cursor", Some("from")), by("link", None), json!({ "path": "page", "pageParam": "page" })] {
        assert_eq!(keys(&bench, &id, "list", &params).await.as_ref(), Ok(&all), "{params}");
    }
    assert_eq!(keys(&bench, &id, "list", &by("none", Some("from"))).await, Ok(Vec::new()));
    assert_eq!(code(keys(&bench, &id, "list", &by("half", Some("from"))).await), "http_502");
    assert_eq!(code(keys(&bench, &id, "list", &by("loop", Some("from"))).await), "incomplete");
    assert_eq!(code(keys(&bench, &id, "list", &json!({ "path": "twice" })).await), "incomplete");
    let twice = ListRequest { command: "list".to_owned(), params: json!({ "path": "twice" }), cursor: None, limit: 9 };
    assert_eq!(bench.connectors.list(&id, &twice).await.expect_err("one page alone").code, "incomplete");
    assert_eq!(code(keys(&bench, &id, "list", &json!({ "path": "text" })).await), "bad_answer");
    assert_eq!(code(keys(&bench, &id, "list", &by("nowhere", None)).await), "http_404");
    serving.abort();
    // Ended for good once its task is.
    let _ = serving.await;
    assert_eq!(code(keys(&bench, &id, "list", &by("cursor", Some("from"))).await), "unreachable");
}

#[tokio::test]
async fn a_directory_server_is_read_in_pages_to_its_end() {
    let slapd = Slapd::start().await;
    let bench = Bench::start(None).await;
    let config = json!({ "url": slapd.url, "bindDn": ADMIN_DN });
    let id = bench.connector(Kind::Ldap, config, &[("password", ADMIN_PASSWORD)]).await;
    let people = format!("ou=people,{BASE_DN}");
    let group = format!("cn=researchers,ou=groups,{BASE_DN}");
    for name in ["a", "b", "c", "d", "e"] {
        let dn = format!("uid={name},{people}");
        let attributes = json!({ "objectClass": "inetOrgPerson", "uid": name, "cn": name, "sn": name });
        bench.call(&id, "add_entry", &json!({ "dn": dn, "attributes": attributes })).await.expect("added");
        bench.call(&id, "add_member", &json!({ "groupDn": group, "memberDn": dn })).await.expect("added");
    }
    let params = json!({ "baseDn": people, "filter": "(objectClass=inetOrgPerson)", "keyAttribute": "uid", "attributes": ["cn"] });
    let request = ListRequest { command: "list_entries".to_owned(), params, cursor: None, limit: 2 };
    let page = bench.connectors.list(&id, &request).await.expect("listed");
    let found: Vec<&str> = page.items.iter().map(|f| f.key.as_str()).collect();
    assert_eq!((found.as_slice(), page.complete), (["a", "b", "c", "d", "e"].as_slice(), true));
    assert_eq!(page.items[0].attributes["cn"], json!(["a"]));

    let mut members = keys(&bench, &id, "list_members", &json!({ "groupDn": group })).await.expect("listed");
    members.sort();
    assert_eq!((members.len(), members[0].as_str()), (6, ADMIN_DN));
    let nobody = json!({ "baseDn": people, "filter": "(uid=nobody)" });
    assert_eq!(keys(&bench, &id, "list_entries", &nobody).await, Ok(Vec::new()));
    for (command, params, expected) in [
        ("list_members", json!({ "groupDn": format!("cn=none,{BASE_DN}") }), "ldap_32"),
        ("list_entries", json!({ "baseDn": people, "keyAttribute": "mail" }), "bad_answer"),
        ("list_entries", json!({ "baseDn": people, "filter": "(" }), "bad_params"),
    ] {
        assert_eq!(code(keys(&bench, &id, command, &params).await), expected, "{params}");
    }
}

/// A server that gives no more than three at once, whoever asks for more.
#[tokio::test]
async fn a_directory_server_that_stops_at_its_own_limit_gives_no_list() {
    let slapd = Slapd::start_limited(3).await;
    let bench = Bench::start(None).await;
    let config = json!({ "url": slapd.url });
    let id = bench.connector(Kind::Ldap, config, &[]).await;
    let below = |base: &str| json!({ "baseDn": base });
    assert_eq!(keys(&bench, &id, "list_entries", &below(&format!("ou=people,{BASE_DN}"))).await.expect("one").len(), 1);
    assert_eq!(code(keys(&bench, &id, "list_entries", &below(BASE_DN)).await), "incomplete");
}
