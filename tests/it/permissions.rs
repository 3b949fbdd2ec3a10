//! Every route of the OpenAPI document, as every system role, against verdicts written by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::base::access::{Principal, SystemRole};
use tenure::config::{Config, Reader};
use tenure::features::identity::{accounts, people};
use tenure::platform::clock::SystemClock;
use tenure::platform::http::middleware::MAX_BODY;

use crate::support::{free_port, http};

/// `*` needs no sign-in; otherwise the roles that may: Admin, resource Manager, aPprover,
/// requestor (Q), aUditor.
const VERDICTS: &str = "
GET    /api/accounts                       AU
POST   /api/accounts                       A
POST   /api/accounts/{id}/disable          A
POST   /api/accounts/{id}/end-sessions     A
GET    /api/accounts/{id}/sessions         AU
POST   /api/accounts/{id}/enable           A
POST   /api/accounts/{id}/reset-password   A
POST   /api/accounts/{id}/reset-second-factor A
POST   /api/accounts/{id}/tokens           A
GET    /api/approvals                      AMPQU
GET    /api/approvals/{id}                 AMPQU
POST   /api/approvals/{id}/answer          AMPQU
POST   /api/approvals/{id}/ask             AMP
POST   /api/approvals/{id}/decide          AMPQU
POST   /api/approvals/{id}/delegate        AMP
POST   /api/approvals/{id}/reassign        A
GET    /api/assignments                    AMPQU
GET    /api/assignments/export             AMPQU
GET    /api/assignments/{id}               AMPQU
GET    /api/assignments/{id}/history       AMPQU
POST   /api/assignments                    AM
POST   /api/assignments/{id}/extend        AM
POST   /api/assignments/{id}/revoke        AM
GET    /api/audit                          AU
GET    /api/audit/checkpoints              AU
POST   /api/audit/checkpoints              A
GET    /api/audit/checkpoints/state        AU
GET    /api/audit/checkpoints/{size}       AU
POST   /api/audit/erase                    A
GET    /api/audit/export                   AU
GET    /api/audit/key                      AU
POST   /api/audit/verify                   AU
GET    /api/audit/{seq}/proof              AU
GET    /api/audit/{seq}                    AU
POST   /api/auth/login                     *
POST   /api/auth/logout                    AMPQU
GET    /api/auth/methods                   *
GET    /api/auth/oidc/callback             *
GET    /api/auth/oidc/login                *
GET    /api/auth/me                        AMPQU
GET    /api/auth/passkeys                  AMPQU
POST   /api/auth/passkeys                  AMPQU
POST   /api/auth/passkeys/begin            AMPQU
POST   /api/auth/passkeys/challenge        *
POST   /api/auth/passkeys/login            *
DELETE /api/auth/passkeys/{id}             AMPQU
POST   /api/auth/password                  AMPQU
GET    /api/auth/second-factor             AMPQU
POST   /api/auth/second-factor             AMPQU
POST   /api/auth/second-factor/confirm     AMPQU
POST   /api/auth/second-factor/recovery-codes AMPQU
POST   /api/auth/second-factor/remove      AMPQU
GET    /api/auth/sessions                  AMPQU
DELETE /api/auth/sessions                  AMPQU
DELETE /api/auth/sessions/{id}             AMPQU
GET    /api/auth/tokens                    AMPQU
POST   /api/auth/tokens                    AMPQU
DELETE /api/auth/tokens/{id}               AMPQU
GET    /api/break-glass                    AMU
POST   /api/break-glass                    AM
POST   /api/break-glass/{id}/review        AM
GET    /api/break-glass/{id}               AMU
GET    /api/clock                          AU
POST   /api/clock/confirm                  A
GET    /api/connectors                     AMU
POST   /api/connectors                     AM
GET    /api/connectors/{id}                AMU
PATCH  /api/connectors/{id}                AM
POST   /api/connectors/{id}/execute        AM
POST   /api/connectors/{id}/list           AM
POST   /api/connectors/{id}/test           AM
POST   /api/connectors/rotate-keys         A
GET    /api/deciders                       AMP
GET    /api/delegations                    AMPQU
POST   /api/delegations                    AMP
DELETE /api/delegations/{id}               AMP
GET    /api/documents                      AMPQU
POST   /api/documents                      AMPQ
GET    /api/documents/{id}                 AMPQU
POST   /api/documents/{id}/approve         AM
GET    /api/documents/{id}/content         AMPQU
PUT    /api/documents/{id}/content         AMPQ
POST   /api/documents/{id}/reject          AM
POST   /api/documents/{id}/withdraw        AMPQ
GET    /api/entitlements                   AMU
POST   /api/entitlements                   AM
GET    /api/entitlements/{id}              AMU
PUT    /api/entitlements/{id}              AM
POST   /api/entitlements/{id}/retire       AM
GET    /api/events                         AMPQU
POST   /api/evidence-packs                 AU
GET    /api/exceptions                     AMPQU
POST   /api/exceptions                     A
GET    /api/exceptions/{id}                AMPQU
POST   /api/exceptions/{id}/decide         AM
GET    /api/groups                         AMU
POST   /api/groups                         A
GET    /api/groups/{id}                    AMU
PATCH  /api/groups/{id}                    A
DELETE /api/groups/{id}                    A
GET    /api/groups/{id}/members            AMU
POST   /api/groups/{id}/members            A
GET    /api/health                         *
GET    /api/health/live                    *
GET    /api/health/ready                   *
POST   /api/hooks/{connectorId}            *
GET    /api/imports                        AMU
POST   /api/imports                        AM
POST   /api/imports/from-connector         AM
GET    /api/imports/{id}                   AMU
POST   /api/imports/{id}/apply             AM
POST   /api/imports/{id}/cancel            AM
GET    /api/imports/{id}/rows              AMU
GET    /api/jobs                           AMU
POST   /api/jobs/bulk                      A
GET    /api/jobs/bulk/{id}                 AMU
GET    /api/jobs/counts                    AMU
GET    /api/jobs/errors                    AMU
GET    /api/jobs/{id}                      AMU
GET    /api/jobs/{id}/attempts             AMU
POST   /api/jobs/{id}/promote              A
POST   /api/jobs/{id}/remove               A
POST   /api/jobs/{id}/retry                A
GET    /api/leavers                        AMU
POST   /api/leavers/decide                 A
GET    /api/leavers/{id}                   AMU
GET    /api/links/{token}                  *
POST   /api/links/{token}/accept           *
GET    /api/logs                           AU
POST   /api/logs/purge                     A
GET    /api/logs/purge-preview             A
GET    /api/notifications                  AMPQU
GET    /api/notifications/choice           AMPQU
PUT    /api/notifications/choice           AMPQU
GET    /api/notifications/failed           AU
POST   /api/notifications/read-all         AMPQU
GET    /api/notifications/templates        AU
GET    /api/notifications/templates/{key}  AU
PUT    /api/notifications/templates/{key}  A
DELETE /api/notifications/templates/{key}  A
POST   /api/notifications/templates/{key}/preview AU
POST   /api/notifications/{id}/read        AMPQU
GET    /api/people                         AMU
POST   /api/people                         A
GET    /api/people/{id}                    AMU
PATCH  /api/people/{id}                    A
POST   /api/people/{id}/deactivate         A
POST   /api/people/{id}/reactivate         A
GET    /api/people/{id}/relations          AMU
GET    /api/queue                          AMU
POST   /api/queue/pause                    A
POST   /api/queue/resume                   A
GET    /api/reconciliations                AMU
POST   /api/reconciliations                AM
GET    /api/reconciliations/still-present  AMU
GET    /api/reconciliations/{id}           AMU
POST   /api/reconciliations/{id}/items/{itemId}/adopt     AM
POST   /api/reconciliations/{id}/plans/{planId}/adopt     AM
POST   /api/reconciliations/{id}/plans/{planId}/approve   A
GET    /api/reconciliations/{id}/plans/{planId}/items     AMU
POST   /api/reconciliations/{id}/plans/{planId}/reject    A
GET    /api/role-conflicts                 AMPQU
POST   /api/role-conflicts                 AM
GET    /api/role-conflicts/violations      AMU
POST   /api/role-conflicts/{id}/remove     AM
GET    /api/roles                          AMPQU
POST   /api/roles                          AM
GET    /api/roles/{id}                     AMPQU
PUT    /api/roles/{id}                     AM
POST   /api/roles/{id}/retire              AM
GET    /api/runs                           AMPQU
GET    /api/runs/{id}                      AMPQU
POST   /api/runs/{id}/cancel               AMPQU
GET    /api/runs/{id}/diagnose             AMPQU
GET    /api/runs/{id}/events               AMPQU
POST   /api/runs/{id}/retry                AM
POST   /api/runs/{id}/skip-step            AM
POST   /api/runs/{id}/start-again          AMPQ
GET    /api/runs/{id}/steps                AMPQU
PUT    /api/runs/{id}/variables            AM
GET    /api/schedules                      AMU
POST   /api/schedules                      AM
GET    /api/schedules/preview              AMU
GET    /api/schedules/{id}                 AMU
PUT    /api/schedules/{id}                 AM
DELETE /api/schedules/{id}                 AM
POST   /api/schedules/{id}/pause           AM
POST   /api/schedules/{id}/resume          AM
POST   /api/schedules/{id}/run             AM
GET    /api/scim-tokens                    AU
POST   /api/scim-tokens                    A
DELETE /api/scim-tokens/{id}               A
GET    /api/settings/leavers               AU
PUT    /api/settings/leavers               A
GET    /api/settings/logging               AU
PUT    /api/settings/logging               A
GET    /api/settings/notifications         AU
PUT    /api/settings/notifications         A
GET    /api/settings/profile               AMU
PUT    /api/settings/profile               A
GET    /api/settings/security              AU
PUT    /api/settings/security              A
GET    /api/settings/sign-in               AU
PUT    /api/settings/sign-in               A
GET    /metrics                            AU
GET    /api/setup                          *
POST   /api/setup                          *
GET    /api/system                         AU
GET    /api/tasks                          AMPQU
GET    /api/tasks/counts                   AMPQU
GET    /api/tasks/{id}                     AMPQU
POST   /api/tasks/{id}/answer              AMPQ
POST   /api/tasks/{id}/assign              AM
POST   /api/tasks/{id}/claim               AMPQ
POST   /api/tasks/{id}/comment             AMPQ
POST   /api/tasks/{id}/complete            AMPQ
POST   /api/tasks/{id}/hold                AMPQ
POST   /api/tasks/{id}/release             AMPQ
POST   /api/tasks/{id}/resume              AMPQ
POST   /api/workflow-events                AM
GET    /api/workflows                      AMPQU
POST   /api/workflows                      AM
POST   /api/workflows/import               AM
POST   /api/workflows/validate             AMPQU
GET    /api/workflows/{id}                 AMPQU
PUT    /api/workflows/{id}                 AM
DELETE /api/workflows/{id}                 AM
POST   /api/workflows/{id}/create-version  AM
POST   /api/workflows/{id}/deprecate       AM
GET    /api/workflows/{id}/diff            AMPQU
POST   /api/workflows/{id}/duplicate       AM
GET    /api/workflows/{id}/export          AMPQU
POST   /api/workflows/{id}/publish         AM
POST   /api/workflows/{id}/start           AMPQ
GET    /api/workflows/{id}/form            AMPQU
GET    /api/workflows/{id}/versions        AMPQU
";

/// A body that is well-formed, so that the verdict is about the role and not about the body.
fn body(route: &str, own: &str) -> Value {
    let definition = json!({ "name": "T", "steps": [{ "id": "a", "name": "A", "type": "end", "config": {} }] });
    match route {
        r if r.ends_with("/tasks/{id}/answer") => json!({ "agree": true }),
        r if r.ends_with("/tasks/{id}/assign") => json!({ "personId": own }),
        r if r.ends_with("/tasks/{id}/comment") => json!({ "text": "words" }),
        r if r.ends_with("/tasks/{id}/hold") => json!({ "reason": "because" }),
        "POST /api/leavers/decide" => json!({ "ids": [], "decision": "dismiss", "reason": "because" }),
        "POST /api/groups" => json!({ "name": "" }),
        "POST /api/imports/from-connector" => json!({
            "kind": "assignments", "connectorId": "con_00000000000000000000000000", "command": "list",
            "columns": { "person": "{{ key }}", "role": "r", "reason": "r" } }),
        "POST /api/evidence-packs" => json!({ "from": "2020-01-01", "to": "2020-01-02" }),
        "POST /api/clock/confirm" => json!({ "reason": "because" }),
        "POST /api/imports" => json!({ "kind": "assignments", "csv": "" }),
        "POST /api/scim-tokens" => json!({ "name": "" }),
        "PUT /api/settings/profile" => json!({ "attributes": [] }),
        r if r.ends_with("/deactivate") || r.ends_with("/reactivate") => json!({ "reason": "because" }),
        r if r.ends_with("/decide") => json!({ "decision": "approve" }),
        r if r.ends_with("/answer") => json!({ "text": "t" }),
        r if r.ends_with("/ask") => json!({ "question": "q" }),
        r if r.ends_with("/delegate") => json!({ "to": own, "reason": "because" }),
        r if r.ends_with("/reassign") => json!({ "to": [own], "reason": "because" }),
        "POST /api/delegations" => json!({ "delegateId": own, "reason": "r",
            "from": "2031-01-01T00:00:00Z", "to": "2031-01-02T00:00:00Z" }),
        r if r.ends_with("/execute") => json!({ "command": "has_account", "params": {} }),
        "POST /api/connectors/{id}/list" => json!({ "command": "list_accounts" }),
        "POST /api/jobs/bulk" => json!({ "action": "retry", "filter": { "state": "failed" }, "dryRun": true }),
        "POST /api/accounts" => json!({ "email": "", "displayName": "", "password": "" }),
        r if r.ends_with("/reset-password") => json!({ "password": "" }),
        "POST /api/auth/passkeys" => json!({ "name": "n", "clientData": "", "attestation": "" }),
        "POST /api/auth/password" => json!({ "current": "", "password": "" }),
        r if r.contains("/second-factor/") => json!({ "code": "0" }),
        r if r.ends_with("/tokens") => json!({ "name": "t" }),
        "POST /api/connectors" => json!({ "name": "c", "kind": "directory", "config": {} }),
        "POST /api/documents" => json!({ "type": "t", "personId": own,
            "validFrom": "2031-01-01T00:00:00Z", "expiresAt": "2032-01-01T00:00:00Z" }),
        "POST /api/entitlements" | "PUT /api/entitlements/{id}" => {
            let call = json!({ "command": "create_account", "params": {} });
            json!({ "name": "e", "connectorId": "con_00000000000000000000000000", "provision": call, "deprovision": call })
        }
        "POST /api/people" => json!({ "displayName": "", "email": "" }),
        "POST /api/schedules" | "PUT /api/schedules/{id}" => {
            json!({ "name": "s", "workflowId": "wfl_00000000000000000000000000", "cron": "0 0 * * *" })
        }
        "POST /api/roles" | "PUT /api/roles/{id}" => json!({ "name": "", "description": "", "entitlementIds": [], "requiredDocumentTypes": [] }),
        r if r.contains("/api/workflows") && (r.starts_with("PUT") || r.ends_with("/api/workflows") || r.ends_with("/validate")) => {
            json!({ "definition": definition })
        }
        r if r.contains("/api/reconciliations/") && r.ends_with("/adopt") => json!({
            "personId": own, "roleId": "rol_00000000000000000000000000", "expiresAt": "2032-01-01T00:00:00Z", "reason": "r" }),
        "PUT /api/notifications/choice" => json!({ "mail": "each" }),
        "PUT /api/notifications/templates/{key}" | "POST /api/notifications/templates/{key}/preview" => json!({ "subject": "s", "body": "b" }),
        "POST /api/role-conflicts" => json!({ "roleIds": [], "reason": "r" }),
        "POST /api/role-conflicts/{id}/remove" => json!({ "reason": "r" }),
        r if ["/cancel", "/revoke", "/approve", "/reject", "/withdraw"].iter().any(|e| r.ends_with(e)) => {
            json!({ "reason": "because" })
        }
        _ => json!({}),
    }
}

/// An address with ids of the right shape that nothing has.
fn address(path: &str) -> String {
    let prefixes = [
        ("accounts", "acc"), ("approvals", "apr"), ("assignments", "asg"), ("sessions", "ses"), ("passkeys", "pky"), ("tokens", "tok"), ("connectors", "con"),
        ("delegations", "dlg"),
        ("exceptions", "exc"), ("break-glass", "brk"), ("groups", "grp"), ("imports", "imp"), ("leavers", "lve"),
        ("scim-tokens", "sct"), ("reconciliations", "rcn"),
        ("documents", "doc"), ("entitlements", "ent"), ("jobs", "job"), ("notifications", "ntf"), ("people", "per"),
        ("role-conflicts", "rcf"), ("roles", "rol"), ("runs", "run"), ("schedules", "sch"), ("tasks", "tsk"), ("workflows", "wfl"),
    ];
    let prefix = prefixes.iter().find(|(word, _)| path.contains(&format!("/{word}/"))).map_or("", |(_, p)| *p);
    let nobodys = |prefix: &str| format!("{prefix}_00000000000000000000000000");
    path.replace("{id}", &nobodys(prefix))
        .replace("{planId}", &nobodys("rcp"))
        .replace("{itemId}", &nobodys("rci"))
        .replace("{seq}", "999999")
}

struct Person {
    letter: char,
    cookie: String,
    csrf: String,
    id: String,
}

async fn sign_in(base: &str, letter: char, email: &str) -> Person {
    let answer = http()
        .post(format!("{base}/api/auth/login"))
        .json(&json!({ "email": email, "password": PASSWORD }))
        .send()
        .await
        .expect("an answer");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let me: Value = answer.json().await.expect("JSON");
    let text = |pointer: &str| me.pointer(pointer).and_then(Value::as_str).expect("text").to_owned();
    Person { letter, cookie, csrf: text("/csrfToken"), id: text("/person/id") }
}

/// What a request carries: whoever may not do a thing is told so whatever it is.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    /// A body that the route takes.
    Good,
    /// No body at all.
    Nothing,
    /// Something else than JSON.
    Garbage,
    /// JSON that no route takes.
    Wrong,
    /// More than any route takes.
    Large,
}

async fn ask(base: &str, method: &str, path: &str, who: Option<&Person>, sent: Sent) -> u16 {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let route = format!("{method} {path}");
    let mut request = http().request(method.clone(), format!("{base}{}", address(path)));
    if let Some(who) = who {
        request = request.header("cookie", &who.cookie).header("x-csrf-token", &who.csrf);
    }
    if method != reqwest::Method::GET && method != reqwest::Method::DELETE {
        request = match sent {
            Sent::Good => request.json(&body(&route, who.map_or("", |w| &w.id))),
            Sent::Nothing => request,
            Sent::Garbage => request.header("content-type", "application/json").body("{"),
            Sent::Wrong => request.json(&json!({ "no such field": true })),
            Sent::Large => request.header("content-type", "application/json").body(vec![b' '; 2 * MAX_BODY]),
        };
    }
    request.send().await.expect("an answer").status().as_u16()
}

/// Whoever may not is told so before the body is looked at: nobody, somebody without the permission,
/// and an administrator's browser that lacks the CSRF token.
async fn refused_whatever_is_sent(base: &str, method: &str, path: &str, who: Option<&Person>, expected: u16) -> Vec<String> {
    let mut faults = Vec::new();
    let bodies = [
        (Sent::Nothing, "no body"),
        (Sent::Garbage, "a bad body"),
        (Sent::Wrong, "a body with a wrong field"),
        (Sent::Large, "a body that is too large"),
    ];
    for (sent, shown) in bodies {
        let status = ask(base, method, path, who, sent).await;
        if status != expected {
            faults.push(format!("{method} {path} answers {status} to {shown}; expected {expected}"));
        }
    }
    faults
}

async fn add_auditor(running: &tenure::app::Running) {
    let hash = running.app.identity.passwords.hash(PASSWORD.to_owned()).await.expect("hashes");
    running
        .app
        .store
        .write(move |tx| {
            let by = Principal::system("test");
            let person = people::ops::create_person(
                tx,
                &by,
                people::NewPerson {
                    display_name: "Uma".to_owned(),
                    email: "uma@example.org".to_owned(),
                    manager_id: None,
                    attributes: json!({}),
                },
            )?;
            let roles = [SystemRole::Auditor];
            accounts::ops::create_account(tx, &by, &person.id, "uma@example.org", Some(hash.clone()), &roles)
        })
        .await
        .expect("an auditor");
}

/// One person of each role.
async fn signed_in(base: &str) -> Vec<Person> {
    let mut people = Vec::new();
    for (letter, email) in [('A', ADMIN), ('M', MONA), ('P', ROSA), ('Q', ADA), ('U', "uma@example.org")] {
        people.push(sign_in(base, letter, email).await);
    }
    people
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_allows_exactly_the_roles_it_should() {
    let dir = tempfile::tempdir().expect("a folder");
    let vars = [
        ("DATA_DIR", dir.path().join("data").display().to_string()),
        ("PORT", free_port().to_string()),
        ("RATE_LIMIT_ADDRESS_PER_MIN", "0".to_owned()),
        ("RATE_LIMIT_SIGN_IN_PER_MIN", "0".to_owned()),
    ];
    let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
    let config = Config::from_reader(reader).expect("valid").0;
    let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
    create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
    add_auditor(&running).await;
    let base = running.base.clone();

    let document: Value =
        http().get(format!("{base}/api/openapi.json")).send().await.expect("an answer").json().await.expect("JSON");
    let mut faults = Vec::new();
    let mut rows: BTreeMap<(String, String), String> = VERDICTS
        .lines()
        .filter_map(|l| {
            let mut words = l.split_whitespace().map(str::to_owned);
            Some(((words.next()?, words.next()?), words.next()?))
        })
        .collect();
    let mut without = Person { csrf: String::new(), ..sign_in(&base, 'A', ADMIN).await };
    let mut people = signed_in(&base).await;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys().map(|m| m.to_uppercase()) {
            let Some(verdict) = rows.remove(&(method.clone(), path.clone())) else {
                faults.push(format!("{method} {path} has no verdict"));
                continue;
            };
            let nobody = ask(&base, &method, path, None, Sent::Good).await;
            if verdict == "*" {
                continue;
            }
            if nobody != 401 {
                faults.push(format!("{method} {path} answers {nobody} to nobody"));
            }
            faults.extend(refused_whatever_is_sent(&base, &method, path, None, 401).await);
            if method != "GET" {
                faults.extend(refused_whatever_is_sent(&base, &method, path, Some(&without), 403).await);
            }
            for person in &people {
                let letter = person.letter;
                let status = ask(&base, &method, path, Some(person), Sent::Good).await;
                let allowed = verdict.contains(person.letter);
                // An object that nobody can see may be missing before it is forbidden.
                let hidden = path.contains('{') && status == 404;
                let right = if allowed { status != 403 && status != 401 } else { status == 403 || hidden };
                if !right || status >= 500 {
                    faults.push(format!("{method} {path} answers {status} to {letter}"));
                }
                // Whatever the object: without the permission the rest of the request is not looked at.
                if !allowed {
                    faults.extend(refused_whatever_is_sent(&base, &method, path, Some(person), 403).await);
                }
            }
            if path.ends_with("/logout") || path.ends_with("/auth/sessions") {
                people = signed_in(&base).await;
                without = Person { csrf: String::new(), ..sign_in(&base, 'A', ADMIN).await };
            }
        }
    }
    faults.extend(rows.keys().map(|(method, path)| format!("{method} {path} is not in the document")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    running.stop().await;
}
