//! People and the access that they have already, from files.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA};
use tenure::base::access::SystemRole;

use crate::support::eventually;
use crate::support::office::{MILO, Office, Who, id_of};
use crate::support::slapd::{ADMIN_DN, ADMIN_PASSWORD, BASE_DN, Slapd};

async fn rows(office: &Office, who: &Who, import: &str, query: &str) -> Vec<Value> {
    let found = office.does(who, "GET", &format!("/api/imports/{import}/rows?limit=200&{query}"), Value::Null).await;
    found["items"].as_array().expect("items").clone()
}

async fn applied(office: &Office, who: &Who, import: &str) -> Value {
    let path = format!("/api/imports/{import}");
    eventually("it is applied", Duration::from_secs(60), || async {
        Some(office.does(who, "GET", &path, Value::Null).await).filter(|i| i["state"] == "applied")
    })
    .await
}

fn people(csv: &str) -> Value {
    json!({ "kind": "people", "name": "hr.csv", "csv": csv })
}

/// Nothing changes by the review; each row says what it would do, by line and column.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_people_is_reviewed_matched_and_applied() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let schema = json!({ "attributes": [{ "name": "uid" }, { "name": "floor", "type": "number" }] });
    office.does(&admin, "PUT", "/api/settings/profile", schema).await;
    let csv = "E-Mail;Name;External ID;Manager;floor;Groups;Active\n\
               new@example.org;Nia New;7;boss@example.org;3;genome-reviewers;\n\
               ADA@example.org;Ada L.;8;;;;\n\
               boss@example.org;\"Boss; the\";9;;;;yes\n\
               rosa@example.org;;;;;;\n\
               milo@example.org;Milo;;;third;nobody;maybe\n\
               ;Nobody;;;;;\n\
               new@example.org;Again;;;;;\n\
               gone@example.org;Gone;10;nowhere@example.org;;;\n";
    let before = office.does(&admin, "GET", "/api/people?limit=200", Value::Null).await;
    let import = office.does(&admin, "POST", "/api/imports", people(csv)).await;
    assert_eq!(import["state"], "reviewed");
    assert_eq!(import["counts"], json!({ "new": 2, "changed": 1, "unchanged": 1, "conflict": 0, "fault": 4 }), "{import}");
    assert_eq!(office.does(&admin, "GET", "/api/people?limit=200", Value::Null).await, before, "a review changes nothing");
    let id = id_of(&import);
    let all = rows(&office, &admin, &id, "").await;
    assert_eq!(all.iter().map(|r| r["line"].as_u64().expect("a line")).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(all[1]["matchedBy"], "email");
    let changes: Vec<&str> = all[1]["changes"].as_array().expect("changes").iter().map(|c| c["field"].as_str().expect("text")).collect();
    assert_eq!(changes, ["displayName", "externalId"], "the case of an address is no change");
    let columns = |row: &Value| -> Vec<String> {
        row["faults"].as_array().expect("faults").iter().map(|f| f["column"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(columns(&all[4]), ["active", "attributes.floor", "groups"]);
    assert_eq!((columns(&all[5]), columns(&all[6]), columns(&all[7])), (vec!["email".to_owned()], vec!["email".to_owned()], vec!["manager".to_owned()]));
    assert!(all[6]["faults"][0]["message"].as_str().expect("text").contains("line 2"));

    office.does(&admin, "POST", &format!("/api/imports/{id}/apply"), Value::Null).await;
    let done = applied(&office, &admin, &id).await;
    assert_eq!((&done["done"], &done["failed"]), (&json!(3), &json!(0)), "{done}");
    let nia = office.does(&admin, "GET", "/api/people?q=nia", Value::Null).await["items"][0].clone();
    let boss = office.does(&admin, "GET", "/api/people?q=boss", Value::Null).await["items"][0].clone();
    assert_eq!((&nia["managerId"], &nia["attributes"]["floor"], &nia["externalId"]), (&boss["id"], &json!(3), &json!("7")));
    assert_eq!(boss["displayName"], "Boss; the");
    let relations = office.does(&admin, "GET", &format!("/api/people/{}/relations", id_of(&nia)), Value::Null).await;
    assert_eq!(relations["groups"][0]["name"], "genome-reviewers");
    assert_eq!(office.ask(&admin, "POST", &format!("/api/imports/{id}/apply"), Value::Null).await.0, 409, "once");
    // The same file again: everybody is known by the id of the source, whatever their address.
    let again = "externalId,email,name\n7,nia@example.org,Nia New\n8,boss@example.org,Ada L.\n";
    let again = office.does(&admin, "POST", "/api/imports", people(again)).await;
    let all = rows(&office, &admin, &id_of(&again), "").await;
    assert_eq!((&all[0]["matchedBy"], &all[0]["changes"][0]["field"]), (&json!("externalId"), &json!("email")));
    assert_eq!((&all[1]["verdict"], all[1]["changes"].as_array().map(Vec::len)), (&json!("conflict"), Some(0)), "{}", all[1]);
    office.does(&admin, "POST", &format!("/api/imports/{}/cancel", id_of(&again)), Value::Null).await;
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_told_by_line_and_column() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (mona, _) = office.sign_in(MONA).await;
    for (csv, part) in [
        ("", "line 1"), ("email\n", "rows below"), ("email,name\n\"a", "line 2, column 1"), ("email,a b!\nx@y.z,1", "a b!"),
        ("name\nAda", "email or externalId"), ("email,mail\na,b", "twice"), ("email\na,b", "2 values for 1 columns"),
    ] {
        let (status, why) = office.ask(&admin, "POST", "/api/imports", people(csv)).await;
        assert_eq!(status, 422, "{csv:?}: {why}");
        assert!(why.to_string().contains(part), "{csv:?}: {why}");
    }
    assert_eq!(office.ask(&mona, "POST", "/api/imports", people("email\na@b.c")).await.0, 403, "people are the administrators'");
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_people_come_in_within_seconds() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let mut csv = "externalId,email,name,manager,department\n".to_owned();
    for i in 0..5000 {
        let manager = if i == 0 { String::new() } else { format!("p{}@example.net", i / 10) };
        writeln!(csv, "e{i},p{i}@example.net,Person {i},{manager},D{}", i % 40).expect("text");
    }
    let began = Instant::now();
    let import = office.does(&admin, "POST", "/api/imports", people(&csv)).await;
    assert_eq!(import["counts"]["new"], 5000, "{import}");
    let id = id_of(&import);
    office.does(&admin, "POST", &format!("/api/imports/{id}/apply"), Value::Null).await;
    let done = applied(&office, &admin, &id).await;
    assert_eq!((&done["done"], &done["failed"]), (&json!(5000), &json!(0)));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(40), "{took:?}, in a build for tests");
    let last = office.does(&admin, "GET", "/api/people?q=p4999@", Value::Null).await["items"][0].clone();
    assert!(last["managerId"].is_string() && last["attributes"]["department"] == "D39", "{last}");
    office.running.stop().await;
}

/// People whom a file closes are counted together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_closes_very_many_is_held_whole() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let list = |active: &str| {
        (0..8).fold("email,name,active\n".to_owned(), |all, i| format!("{all}q{i}@example.net,Q{i},{active}\n"))
    };
    for (active, expected) in [("yes", 0), ("no", 8)] {
        let import = id_of(&office.does(&admin, "POST", "/api/imports", people(&list(active))).await);
        office.does(&admin, "POST", &format!("/api/imports/{import}/apply"), Value::Null).await;
        applied(&office, &admin, &import).await;
        let held = office.does(&admin, "GET", "/api/leavers?state=held", Value::Null).await;
        assert_eq!(held["items"].as_array().expect("items").len(), expected, "{held}");
    }
    let there = office.does(&admin, "GET", "/api/people?q=@example.net&active=true", Value::Null).await;
    assert_eq!(there["items"].as_array().expect("items").len(), 8);
    office.running.stop().await;
}

/// Access comes in by two people, and provisioning finds what is there already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_that_people_have_already_comes_in_by_two_people() {
    let office = Office::open().await;
    office.add("Iris", "iris@example.org", SystemRole::Admin).await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (iris, iris_id) = office.sign_in("iris@example.org").await;
    let (ada, ada_id) = office.sign_in(ADA).await;
    office.role(&admin, "reader").await;
    office.four_eyes(&admin).await;
    let csv = "person,role,expires at,reason\n\
               ada@example.org,reader,2099-01-01,she had it\n\
               milo@example.org,reader,,by hand\n\
               rosa@example.org,writer,2099-01-01,x\n\
               nobody@example.org,reader,2099-01-01,x\n\
               mona@example.org,reader,2001-01-01,\n\
               ada@example.org,reader,2099-01-01,twice\n";
    let body = json!({ "kind": "assignments", "csv": csv });
    assert_eq!(office.ask(&ada, "POST", "/api/imports", body.clone()).await.0, 403);
    let import = office.does(&admin, "POST", "/api/imports", body).await;
    assert_eq!(import["counts"], json!({ "new": 2, "changed": 0, "unchanged": 0, "conflict": 0, "fault": 4 }), "{import}");
    let id = id_of(&import);
    let all = rows(&office, &admin, &id, "verdict=fault").await;
    let columns: Vec<String> = all.iter().map(|r| r["faults"].as_array().expect("faults").iter().map(|f| f["column"].as_str().expect("text")).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(columns, ["role", "person", "expiresAt reason", "role"]);
    let apply = format!("/api/imports/{id}/apply");
    let own = office.own_token(&admin).await;
    let foreign = office.foreign_token(&admin, MILO).await;
    for who in [&admin, &own, &foreign, &Who::Machine] {
        let (status, why) = office.ask(who, "POST", &apply, Value::Null).await;
        assert_eq!(status, 403, "{why}");
    }
    office.does(&iris, "POST", &apply, Value::Null).await;
    let done = applied(&office, &admin, &id).await;
    assert_eq!((&done["done"], &done["failed"], &done["appliedBy"]["id"]), (&json!(2), &json!(0), &json!(iris_id)));
    let held = office.does(&admin, "GET", &format!("/api/assignments?personId={ada_id}"), Value::Null).await;
    assert_eq!(held["items"][0]["expiresAt"], "2099-01-02T00:00:00.000Z", "the day itself is whole");
    let again = "person,role,expires at,reason\nada@example.org,reader,2099-01-01,x\nmilo@example.org,reader,2098-01-01,x\n";
    let again = office.does(&admin, "POST", "/api/imports", json!({ "kind": "assignments", "csv": again })).await;
    assert_eq!((&again["counts"]["unchanged"], &again["counts"]["conflict"]), (&json!(1), &json!(1)), "{again}");
    office.running.stop().await;
}

/// A directory server says who there is: each entry is a row, matched, looked at and applied like one of a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_people_of_a_directory_server_are_reviewed_matched_and_applied() {
    let slapd = Slapd::start().await;
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let connector = json!({ "name": "HR directory", "kind": "ldap", "config": { "url": slapd.url, "bindDn": ADMIN_DN },
                            "secrets": { "password": ADMIN_PASSWORD } });
    let connector = id_of(&office.does(&admin, "POST", "/api/connectors", connector).await);
    let execute = format!("/api/connectors/{connector}/execute");
    for (uid, name, mail) in [("nia", "Nia New", Some("nia@example.org")), ("ada", "Ada Marchetti", Some(ADA)), ("temp", "Nobody", None)] {
        let mut attributes = json!({ "objectClass": "inetOrgPerson", "uid": uid, "cn": name, "sn": name });
        if let Some(mail) = mail {
            attributes["mail"] = json!(mail);
        }
        let params = json!({ "dn": format!("uid={uid},ou=people,{BASE_DN}"), "attributes": attributes });
        office.does(&admin, "POST", &execute, json!({ "command": "add_entry", "params": params })).await;
    }
    let listed = |columns: Value| {
        json!({ "kind": "people", "connectorId": connector, "command": "list_entries", "columns": columns, "params": {
            "baseDn": format!("ou=people,{BASE_DN}"), "filter": "(objectClass=inetOrgPerson)", "keyAttribute": "uid",
            "attributes": ["cn", "mail"] } })
    };
    let columns = json!({ "externalId": "{{ key }}", "displayName": "{{ attributes.cn[0] }}", "email": "{{ attributes.mail[0] }}" });
    let import = office.does(&admin, "POST", "/api/imports/from-connector", listed(columns)).await;
    assert_eq!((&import["name"], &import["origin"]), (&json!("HR directory"), &json!(connector)));
    assert_eq!(import["counts"], json!({ "new": 1, "changed": 1, "unchanged": 0, "conflict": 0, "fault": 1 }), "{import}");
    let id = id_of(&import);
    let all = rows(&office, &admin, &id, "").await;
    let of = |uid: &str| all.iter().find(|r| r["given"]["externalId"] == uid).expect("a row").clone();
    assert_eq!((&of("ada")["matchedBy"], &of("ada")["verdict"]), (&json!("email"), &json!("changed")));
    assert_eq!(of("temp")["faults"][0]["column"], "email", "who has no address is told, not guessed");
    office.does(&admin, "POST", &format!("/api/imports/{id}/apply"), json!({})).await;
    assert_eq!(applied(&office, &admin, &id).await["done"], 2);
    let nia = office.does(&admin, "GET", "/api/people?q=nia", Value::Null).await;
    assert_eq!(nia["items"][0]["email"], "nia@example.org", "{nia}");

    for (columns, field) in [
        (json!({ "displayName": "{{ key }}" }), "columns"),
        (json!({ "email": "{{ key" }), "columns.email"),
        (json!({ "email": "{{ key }}", "mail": "{{ key }}" }), "columns.mail"),
    ] {
        let (status, problem) = office.ask(&admin, "POST", "/api/imports/from-connector", listed(columns)).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    drop(slapd);
    let columns = json!({ "email": "{{ attributes.mail[0] }}" });
    let (status, problem) = office.ask(&admin, "POST", "/api/imports/from-connector", listed(columns)).await;
    assert_eq!(status, 503, "{problem}");
}
