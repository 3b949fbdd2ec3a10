//! The wording of mails.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, World};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_are_worded_anew_and_back_and_a_bad_wording_is_refused_with_its_line() {
    let w = World::new().await;
    let path = "/api/notifications/templates/consent";
    let built_in = w.admin.get(path).await.ok(200);
    assert_eq!((built_in["isDefault"].as_bool(), built_in["subject"].as_str()), (Some(true), Some("{{ subject }}")));
    let bad = json!({ "subject": "{{ subject", "body": "Dear\n\n{{ nobody }}" });
    let faults = w.admin.ask("PUT", path, Some(bad)).await.faults();
    assert!(faults[0].starts_with("subject: line 1: ") && faults[1].starts_with("body: line 3: "), "{faults:?}");
    assert_eq!(w.admin.get("/api/notifications/templates/nothing").await.status, 404);

    let worded = json!({ "subject": "[Lab] {{ subject }}", "body": "Dear {{ displayName }}, see {{ link }}" });
    let changed = w.admin.ask("PUT", path, Some(worded)).await.ok(200);
    assert_eq!(changed["isDefault"], false);
    let workflow = w.example("consent.json").await;
    w.ada.start(&workflow, json!({})).await;
    w.mail(&["[Lab] Your consent is needed", "Dear Ada Marchetti, see http"]).await;

    assert_eq!(w.admin.ask("DELETE", path, None).await.ok(200)["isDefault"], true);
    w.mona.start(&workflow, json!({})).await;
    w.mail(&["Subject: Your consent is needed", "Mona Okafor"]).await;
    w.stop().await;
}

/// In the window of a quarter of an hour five mails go out; the rest comes in one, when it closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_would_get_many_mails_gets_one() {
    let mut w = World::new().await;
    let range = json!({ "digestAfter": 0 });
    assert_eq!(w.admin.ask("PUT", "/api/settings/notifications", Some(range)).await.faults(), ["digestAfter: got 0; expected 1 to 1000000"]);
    let set = w.admin.ask("PUT", "/api/settings/notifications", Some(json!({ "digestAfter": 2, "digestMinutes": 10 }))).await.ok(200);
    assert_eq!((set["digestAfter"]["value"].as_u64(), set["digestMinutes"]["value"].as_u64()), (Some(2), Some(10)));
    let steps: Vec<_> = (1..=6)
        .map(|n| {
            json!({ "id": format!("s{n}"), "name": "Tell", "type": "notification",
                    "transitions": if n < 6 { json!([{ "on": "success", "to": format!("s{}", n + 1) }]) } else { json!([]) },
                    "config": { "to": [{ "who": "subject" }], "subject": format!("Number {n} for you"), "body": "Text." } })
        })
        .collect();
    let run = w.ada.start(&w.published(json!({ "name": "Many", "steps": steps })).await, json!({})).await;
    w.run_is(&run, "completed").await;
    assert_eq!(w.ada.told().await.len(), 6, "each is there at once");
    w.mail(&["Subject: Number 1 for you"]).await;
    w.mail(&["Subject: Number 2 for you"]).await;
    w.pass(Duration::from_secs(600));
    let digest = w.mail(&["Subject: 4 messages for you"]).await;
    for n in 3..=6 {
        assert!(digest.contains(&format!("- Number {n} for you")), "{digest}");
    }
    let all = crate::support::outbox::mails_in(&w.dir.path().join("data/outbox"));
    let mut subjects: Vec<&str> = all.iter().filter_map(|m| m.lines().find_map(|l| l.strip_prefix("Subject: "))).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["4 messages for you", "Number 1 for you", "Number 2 for you"], "two mails and the digest");
    // Some time later mails are single again.
    w.pass_and_sign_in(Duration::from_secs(1200)).await;
    let run = w.ada.start(&w.example("consent.json").await, json!({})).await;
    w.mail(&["Subject: Your consent is needed"]).await;
    w.ada.post(&format!("/api/runs/{run}/cancel"), json!({ "reason": "over" })).await.ok(200);
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wording_is_seen_filled_in_before_it_is_stored() {
    let w = World::new().await;
    let path = "/api/notifications/templates/invitation/preview";
    let wording = json!({ "subject": "Come to {{ workflow }}", "body": "Dear {{ displayName }}, until {{ expiresAt }}." });
    let seen = w.admin.post(path, wording).await.ok(200);
    assert_eq!(seen, json!({ "subject": "Come to Guest access", "body": "Dear Ada, until 2031-03-01T12:00:00.000Z." }));
    assert_eq!(w.admin.get("/api/notifications/templates/invitation").await.ok(200)["isDefault"], true, "nothing is stored");
    let bad = json!({ "subject": "Come", "body": "{{ nobody }}" });
    let faults = w.admin.post(path, bad).await.faults();
    assert!(faults[0].starts_with("body: line 1: "), "{faults:?}");
    w.stop().await;
}

/// Each person chooses whether their messages come alone or together; other people's mails are as they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_chooses_how_their_mails_come() {
    let w = World::new().await;
    let path = "/api/notifications/choice";
    assert_eq!(w.ada.get(path).await.ok(200), json!({ "mail": "usual", "digestAfter": 5, "digestMinutes": 15 }));
    assert_eq!(w.ada.ask("PUT", path, Some(json!({ "mail": "never" }))).await.status, 422);
    assert_eq!(w.ada.ask("PUT", path, Some(json!({ "mail": "together" }))).await.ok(200)["mail"], "together");
    w.admin.ask("PUT", "/api/settings/notifications", Some(json!({ "digestAfter": 1 }))).await.ok(200);
    assert_eq!(w.mona.ask("PUT", path, Some(json!({ "mail": "each" }))).await.ok(200)["mail"], "each");
    let tell = |n: u32, next: Value| {
        json!({ "id": format!("s{n}"), "name": "Tell", "type": "notification", "transitions": next,
                "config": { "to": [{ "who": "subject" }], "subject": format!("Number {n} for you"), "body": "Text." } })
    };
    let steps = json!([tell(1, json!([{ "on": "success", "to": "s2" }])), tell(2, json!([]))]);
    let workflow = w.published(json!({ "name": "Twice", "steps": steps })).await;
    for who in [&w.ada, &w.mona] {
        let run = who.start(&workflow, json!({})).await;
        w.run_is(&run, "completed").await;
    }
    w.mail(&["Number 1 for you", "Mona Okafor"]).await;
    w.mail(&["Number 2 for you", "Mona Okafor"]).await;
    let to_ada = |all: &[String]| all.iter().filter(|m| m.contains("ada@example.org")).count();
    let folder = w.dir.path().join("data/outbox");
    assert_eq!(to_ada(&crate::support::outbox::mails_in(&folder)), 0, "hers wait");
    w.pass(Duration::from_secs(900));
    w.mail(&["Subject: 2 messages for you", "ada@example.org"]).await;

    assert_eq!(w.ada.get("/api/notifications").await.ok(200)["unread"], 2);
    assert_eq!(w.ada.post("/api/notifications/read-all", json!({})).await.ok(200)["read"], 2);
    assert_eq!(w.ada.get("/api/notifications").await.ok(200)["unread"], 0);
    assert_ne!(w.mona.get("/api/notifications").await.ok(200)["unread"], 0, "those of others stay");
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_could_not_be_sent_is_seen_with_its_reason() {
    let w = World::with(&[("SMTP_URL", "smtp://127.0.0.1:9")]).await;
    assert_eq!(w.admin.get("/api/notifications/failed").await.ok(200), json!({ "items": [], "more": false }));
    let step = json!({ "id": "s", "name": "Tell", "type": "notification", "transitions": [],
        "config": { "to": [{ "who": "subject" }], "subject": "For you", "body": "Text." } });
    let run = w.ada.start(&w.published(json!({ "name": "Once", "steps": [step] })).await, json!({})).await;
    w.run_is(&run, "completed").await;
    let asked = &w;
    let failed = eventually("the mail is given up", PATIENCE, || async move {
        // Each attempt waits for longer than the one before.
        asked.pass(Duration::from_secs(21));
        let all = asked.admin.get("/api/notifications/failed").await.ok(200);
        all["items"].as_array().and_then(|i| i.first().cloned())
    })
    .await;
    assert_eq!((&failed["person"]["id"], &failed["subject"]), (&json!(w.ada.id), &json!("For you")));
    assert_eq!(failed["attempts"], 4);
    assert!(failed["reason"].as_str().is_some_and(|r| !r.is_empty()), "{failed}");
    w.stop().await;
}
