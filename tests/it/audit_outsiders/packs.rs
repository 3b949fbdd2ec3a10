//! Evidence packs: who held what, checked by a verifier that shares no code with us, and what is left out is noticed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, ROSA};
use tenure::base::access::Principal;
use tenure::base::id::{AssignmentId, PersonId, RoleId};
use tenure::features::access::assignments::EndReason;
use tenure::features::access::assignments::ops::{NewAssignment, grant, revoke};
use tenure::features::access::roles::ops::{NewRole, create_role};
use tenure::features::identity::people;
use tenure::platform::store::{Store, Tx};

use super::{assert_faulty, assert_sound, copy, fetch, rewrite, unpack, verify_py};
use crate::support::office::{Office, UMA, Who};
use crate::support::stage::{LIA, Stage};
use crate::support::{eventually, http};

/// The lines of a table, over all its files.
fn lines(folder: &Path, table: &str) -> Vec<Value> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    names.retain(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.starts_with(&format!("{table}-")) && name.ends_with(".jsonl")
    });
    names.sort();
    let text: String = names.iter().map(|path| std::fs::read_to_string(path).expect("a table")).collect();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn ids(of: &[Value], key: &str) -> Vec<String> {
    of.iter().map(|row| row[key].as_str().unwrap_or("–").to_owned()).collect()
}

/// Roles and people by the dozen, all of them granted outside a run; every tenth is revoked again.
async fn many(store: &Store, people_count: usize, roles_count: usize) -> Vec<RoleId> {
    let by = || Principal::system("test");
    let add = move |tx: &Tx<'_>| {
        let mut roles = Vec::new();
        for number in 0..roles_count {
            let new = NewRole {
                name: format!("Reader {number}"),
                description: String::new(),
                owner_id: None,
                default_duration_days: Some(30),
                required_document_types: Vec::new(),
                entitlement_ids: Vec::new(),
            };
            roles.push(create_role(tx, &by(), new)?.id);
        }
        Ok(roles)
    };
    let roles = store.write(add).await.expect("roles");
    for from in (0..people_count).step_by(20) {
        let roles = roles.clone();
        let give = move |tx: &Tx<'_>| {
            for number in from..(from + 20).min(people_count) {
                let new = people::NewPerson {
                    display_name: format!("Person {number}"),
                    email: format!("person{number}@example.org"),
                    manager_id: None,
                    attributes: json!({}),
                };
                let person = people::ops::create_person(tx, &by(), new)?.id;
                for (place, role) in roles.iter().enumerate() {
                    let id = give_one(tx, &person, role)?;
                    if (number + place) % 10 == 0 {
                        revoke(tx, &by(), &id, EndReason::Revoked("not needed".to_owned()))?;
                    }
                }
            }
            Ok(())
        };
        store.write(give).await.expect("assignments");
    }
    roles
}

fn give_one(tx: &Tx<'_>, person: &PersonId, role: &RoleId) -> Result<AssignmentId, tenure::base::problem::Problem> {
    let new = NewAssignment {
        person: person.clone(),
        role: role.clone(),
        reason: "=needed, \"for\" the project".to_owned(),
        run: None,
        starts_at: tx.now(),
        expires_at: None,
        documents: Vec::new(),
    };
    grant(tx, &Principal::system("test"), new)
}

/// Takes a pack and unpacks it.
async fn take(office: &Office, who: &Who, body: Value, into: &Path) -> PathBuf {
    let (status, name, tar) = fetch(office, who, "POST", "/api/evidence-packs", &body).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&tar));
    assert!(name.contains("evidence-") && name.contains(".tar"), "{name}");
    unpack(&tar, into)
}

fn now(office: &Office) -> String {
    office.running.app.clock.now().to_string()
}

/// Without the line of `table` that `out` chooses; the manifest says so as well.
fn without(folder: &Path, table: &str, out: impl Fn(&Value) -> bool) {
    let mut left = 0;
    for number in 1.. {
        let name = format!("{table}-{number:04}.jsonl");
        let Ok(text) = std::fs::read_to_string(folder.join(&name)) else { break };
        let kept: String = text
            .split_inclusive('\n')
            .filter(|line| {
                let gone = out(&serde_json::from_str(line).expect("JSON"));
                left += usize::from(gone);
                !gone
            })
            .collect();
        rewrite(folder, &name, kept.as_bytes());
    }
    assert!(left > 0, "something is left out of {table}");
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).expect("a manifest")).expect("JSON");
    if let Some(count) = manifest["pack"][table].as_u64() {
        manifest["pack"][table] = json!(count - left as u64);
    }
    std::fs::write(&path, manifest.to_string()).expect("is written");
}

/// Checked by us and by Python; then a row is left out, an opening, an entry, and each is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_over_10_000_assignments_is_checked_without_tenure_and_what_is_left_out_is_noticed() {
    let office = Office::open().await;
    let begin = now(&office);
    many(&office.running.app.store, 500, 20).await;
    let (auditor, _) = office.sign_in(UMA).await;
    let auditor = office.own_token(&auditor).await;
    let dir = tempfile::tempdir().expect("a folder");
    let began = Instant::now();
    let folder = take(&office, &auditor, json!({ "from": begin, "to": now(&office) }), &dir.path().join("pack")).await;
    let made = began.elapsed();
    let began = Instant::now();
    let verdict = assert_sound(&folder);
    println!("made in {made:?}, checked twice in {:?}: {verdict:?}", began.elapsed());
    assert!(made < Duration::from_secs(60), "{made:?}");
    let population = lines(&folder, "population");
    assert_eq!(population.len(), 10_000);
    assert_eq!(population.iter().filter(|row| row["state"] == "revoked").count(), 1_000);
    // Nobody was asked: every one of them is an exception.
    assert_eq!(verdict.rows, 20_000);
    assert!(lines(&folder, "exceptions").iter().all(|row| row["kind"] == "outside_a_run" && row["way"] == "alone"));
    assert_eq!(population[0]["shown"]["person"], "Person 0");
    let table = std::fs::read_to_string(folder.join("population-0001.csv")).expect("a table");
    assert!(table.contains("\"'=needed, \"\"for\"\" the project\""), "no cell is a formula");

    let victim = population[6_000].clone();
    let (id, seq) = (victim["assignmentId"].as_str().expect("an id"), victim["seq"].as_u64().expect("a number"));
    let touched = copy(&folder, &dir.path().join("touched"));
    without(&touched, "population", |row| row["assignmentId"] == id);
    without(&touched, "exceptions", |row| row["assignmentId"] == id);
    assert_faulty(&touched, "an assignment left out", seq, "left_out");
    // Also with what would have shown it.
    without(&touched, "openings", |line| line["seq"] == seq && line["part"] == "new");
    assert_faulty(&touched, "its opening left out as well", seq, "closed");
    std::fs::remove_dir_all(&touched).expect("goes");
}

fn assert_noticed(folder: &Path, dir: &Path, what: &str, kind: &str, touch: impl Fn(&Path)) {
    let touched = copy(folder, &dir.join("touched"));
    touch(&touched);
    let verdict = super::ours(&touched);
    let fault = verdict.fault.unwrap_or_else(|| panic!("{what} is noticed"));
    assert_eq!(fault.kind, kind, "{what}: {fault:?}");
    let (code, told) = verify_py(&touched, &[]);
    assert_eq!(code, 1, "{what}: {told}");
    std::fs::remove_dir_all(&touched).expect("goes");
}

/// Changes the first line of a table.
fn change(folder: &Path, table: &str, touch: impl Fn(&mut Value)) {
    let name = format!("{table}-0001.jsonl");
    let text = std::fs::read_to_string(folder.join(&name)).expect("a table");
    let (first, rest) = text.split_once('\n').expect("a line");
    let mut row: Value = serde_json::from_str(first).expect("JSON");
    touch(&mut row);
    rewrite(folder, &name, format!("{row}\n{rest}").as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_is_narrowed_and_says_what_nobody_can_account_for() {
    let office = Office::open().await;
    let begin = now(&office);
    let roles = many(&office.running.app.store, 6, 3).await;
    let (auditor, _) = office.sign_in(UMA).await;
    let auditor = office.own_token(&auditor).await;
    let dir = tempfile::tempdir().expect("a folder");
    let asked = json!({ "from": begin, "to": now(&office), "scope": { "roleIds": [roles[1]] } });
    let folder = take(&office, &auditor, asked.clone(), &dir.path().join("role")).await;
    let verdict = assert_sound(&folder);
    let population = lines(&folder, "population");
    assert_eq!(population.len(), 6);
    assert!(population.iter().all(|row| row["roleId"] == roles[1].to_string()));
    assert_eq!(verdict.warnings.len(), 1, "only the key is to be compared: {:?}", verdict.warnings);

    for (what, kind, table) in [("a row", "row", "population"), ("an exception", "row", "exceptions")] {
        assert_noticed(&folder, dir.path(), what, kind, |f| change(f, table, |row| row["at"] = json!("2020-01-01T00:00:00.000Z")));
    }
    assert_noticed(&folder, dir.path(), "the holder", "row", |f| change(f, "population", |row| row["personId"] = json!("per_0")));
    assert_noticed(&folder, dir.path(), "a proof", "proof", |f| {
        change(f, "population", |row| row["proof"]["path"][0] = row["proof"]["leafHash"].clone());
    });
    assert_noticed(&folder, dir.path(), "what is opened", "state", |f| {
        change(f, "openings", |line| line["state"] = json!(line["state"].as_str().unwrap_or_default().replace('e', "f")));
    });
    assert_noticed(&folder, dir.path(), "an exception left out", "left_out", |f| {
        without(f, "exceptions", |row| row["assignmentId"] == population[2]["assignmentId"]);
    });
    // A grant that was not asked for is opened, so that this can be seen; hidden, it might be one that was.
    let others: Vec<u64> = lines(&folder, "openings").iter().filter(|line| {
        line["part"] == "new" && line["state"].as_str().is_some_and(|s| s.contains(roles[0].to_string().as_str()) && s.contains("personId"))
    }).filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(others.len(), 6);
    assert_noticed(&folder, dir.path(), "another grant", "closed", |f| without(f, "openings", |line| line["seq"] == others[3]));
    assert_noticed(&folder, dir.path(), "a file", "file", |f| std::fs::remove_file(f.join("openings-0001.jsonl")).expect("goes"));

    let mut closed = asked;
    closed["openOthers"] = json!(false);
    let folder = take(&office, &auditor, closed, &dir.path().join("closed")).await;
    let verdict = assert_sound(&folder);
    assert!(verdict.warnings.iter().any(|w| w.starts_with("12 grants in the period were left closed")), "{:?}", verdict.warnings);
    assert!(!lines(&folder, "openings").iter().any(|line| line["seq"] == others[3]));

    // One person; and that a pack was taken is in the log.
    let person = &population[2]["personId"];
    let asked = json!({ "from": begin, "to": now(&office), "scope": { "personIds": [person] } });
    let folder = take(&office, &auditor, asked, &dir.path().join("person")).await;
    assert_sound(&folder);
    assert_eq!(ids(&lines(&folder, "population"), "personId"), vec![person.as_str().expect("an id"); 3]);
    let taken = office.does(&auditor, "GET", "/api/audit?entity=evidence_pack", Value::Null).await;
    let items = taken["items"].as_array().expect("items");
    assert_eq!(items.len(), 3);
    assert_eq!((&items[0]["action"], &items[0]["newState"]["personIds"]), (&json!("evidence_pack.taken"), &json!([person])));

    let refused = fetch(&office, &auditor, "POST", "/api/evidence-packs", &json!({ "from": "2020-01-01", "to": "2999-01-01" })).await;
    assert_eq!(refused.0, 422, "{}", String::from_utf8_lossy(&refused.2));
    // A token that reads the log alone does not get assignments by this way.
    let (uma, _) = office.sign_in(UMA).await;
    let made = office.does(&uma, "POST", "/api/auth/tokens", json!({ "name": "log", "scope": ["audit:read"] })).await;
    let narrow = Who::Token(made["token"].as_str().expect("a token").to_owned());
    let refused = fetch(&office, &narrow, "POST", "/api/evidence-packs", &json!({ "from": "2020-01-01", "to": "2020-01-02" })).await;
    assert_eq!(refused.0, 403, "{}", String::from_utf8_lossy(&refused.2));
}

/// Two owners agree on 1 March for thirty days, an administrator lets it last until May and ends it on 12 April; in
/// May somebody gets a role without being asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_tells_who_decided_and_what_was_out_of_the_ordinary() {
    const DAY: Duration = Duration::from_secs(86_400);
    let stage = Stage::start().await;
    let workflow = stage.publish("access-request.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "project": "Rare variants", "days": 30 })).await;
    stage.decide(ROSA, &run, "approve").await;
    stage.decide(LIA, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    let held = stage.held_by("Research Workspace", 1).await;
    let id = held[0]["id"].as_str().expect("an id").to_owned();
    stage.pass(2 * DAY);
    let admin = stage.sign_in(ADMIN).await;
    let extend = json!({ "expiresAt": "2031-05-01T00:00:00Z", "reason": "the project goes on" });
    admin.post(&format!("/api/assignments/{id}/extend"), extend).await.expect("is extended");
    stage.pass(40 * DAY);
    let admin = stage.sign_in(ADMIN).await;
    admin.post(&format!("/api/assignments/{id}/revoke"), json!({ "reason": "over" })).await.expect("is revoked");
    eventually("it is revoked", Duration::from_secs(20), || async {
        (admin.get(&format!("/api/assignments/{id}")).await.ok()?["state"] == "revoked").then_some(())
    })
    .await;
    stage.pass(20 * DAY);
    let admin = stage.sign_in(ADMIN).await;
    let other = json!({ "personId": ada.person, "roleId": held[0]["role"]["id"], "reason": "in a hurry" });
    let other = admin.post("/api/assignments", other).await.expect("is given")["id"].as_str().expect("an id").to_owned();
    stage.pass(DAY);
    let admin = stage.sign_in(ADMIN).await;

    let dir = tempfile::tempdir().expect("a folder");
    let take = async |body: Value, name: &str| {
        let made = admin.post("/api/auth/tokens", json!({ "name": name })).await.expect("a token");
        let request = http().post(format!("{}/api/evidence-packs", stage.running.base));
        let answer = request.bearer_auth(made["token"].as_str().expect("a token")).json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let folder = unpack(&answer.bytes().await.expect("the whole of it"), &dir.path().join(name));
        assert_sound(&folder);
        folder
    };
    let march = take(json!({ "from": "2031-03-01", "to": "2031-03-31" }), "march").await;
    let rows = lines(&march, "population");
    assert_eq!(ids(&rows, "assignmentId"), [id.as_str()]);
    assert_eq!((&rows[0]["state"], &rows[0]["expiresAt"], &rows[0]["endedAt"]),
        (&json!("active"), &json!("2031-05-01T00:00:00.000Z"), &Value::Null));
    let decisions = lines(&march, "decisions");
    assert_eq!((decisions.len(), &decisions[0]["state"], &decisions[0]["runId"]), (1, &json!("approved"), &json!(run)));
    assert_eq!(decisions[0]["votes"].as_array().map(Vec::len), Some(2));
    assert_eq!(decisions[0]["reason"], "Looked at it.");
    let exceptions = lines(&march, "exceptions");
    assert_eq!(ids(&exceptions, "kind"), ["extended"]);

    // What was gone before belongs no more; what was given without a request does, and is told.
    let may = take(json!({ "from": "2031-05-01", "to": "2031-05-02" }), "may").await;
    assert_eq!(ids(&lines(&may, "population"), "assignmentId"), [other]);
    assert_eq!(ids(&lines(&may, "exceptions"), "kind"), ["outside_a_run"]);
    assert_eq!(lines(&may, "decisions").len(), 0);
    let april = take(json!({ "from": "2031-04-12", "to": "2031-04-12" }), "april").await;
    assert_eq!(lines(&april, "population")[0]["state"], "revoked");
    let before = take(json!({ "from": "2031-02-01", "to": "2031-02-28" }), "before").await;
    assert_eq!(lines(&before, "population"), Vec::<Value>::new());

    // A decision that is left out, with its opening, is noticed.
    let seq = decisions[0]["seq"].as_u64().expect("a number");
    assert_noticed(&march, dir.path(), "a decision", "left_out", |f| without(f, "decisions", |row| row["seq"] == seq));
    assert_noticed(&march, dir.path(), "its opening", "closed", |f| {
        without(f, "decisions", |row| row["seq"] == seq);
        without(f, "openings", |line| line["seq"] == seq);
    });
    stage.running.stop().await;
}
