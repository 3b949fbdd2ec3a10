//! The wording of mails.

use std::time::Duration;

use serde_json::json;

use super::World;

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
    let all = super::mails_in(&w.dir.path().join("data/outbox"));
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
