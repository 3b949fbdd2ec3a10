//! Invitations and proofs of an address, by one-time links.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, World};
use crate::support::http;

/// Somebody who is not signed in.
async fn visit(w: &World, token: &str) -> Answer {
    let answer = http().get(format!("{}/api/links/{token}", w.running.base)).send().await.expect("an answer");
    assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    Answer { status: answer.status().as_u16(), body: answer.json().await.expect("JSON") }
}

async fn accept(w: &World, token: &str, body: Value) -> Answer {
    let answer = http().post(format!("{}/api/links/{token}/accept", w.running.base)).json(&body).send().await.expect("an answer");
    Answer { status: answer.status().as_u16(), body: answer.json().await.expect("JSON") }
}

fn guest() -> Value {
    json!({ "email": "guest@elsewhere.example", "guest": "Gil Guest" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_accepted_once_and_the_guest_becomes_the_subject() {
    let w = World::new().await;
    let run = w.ada.start(&w.example("invitation.json").await, guest()).await;
    let token = w.token_for("guest@elsewhere.example").await;
    assert_eq!(token.len(), 64);

    // A mail filter that follows links, and one that sends what it finds, use nothing up.
    for _ in 0..3 {
        let page = http().get(format!("{}/i/{token}", w.running.base)).send().await.expect("an answer");
        assert_eq!((page.status().as_u16(), page.headers()["referrer-policy"].to_str().ok()), (200, Some("no-referrer")));
        assert_eq!(visit(&w, &token).await.ok(200)["state"], "open");
        assert_eq!(accept(&w, &token, json!({})).await.status, 422, "the token is not in the body");
    }
    let shown = visit(&w, &token).await.ok(200);
    assert_eq!(shown["message"], "Ada Marchetti invites you to a project.");
    assert_eq!(shown["form"]["schema"]["required"], json!(["institution", "until"]));

    let bad = accept(&w, &token, json!({ "token": token, "values": { "until": "soon" } })).await.faults();
    assert_eq!(bad, ["values.institution: is required", "values.until: expected a day such as 2031-03-01"]);
    let values = json!({ "institution": "Museum", "until": "2031-12-31" });
    let body = json!({ "token": token, "values": values });
    // Two browsers at once: one is first.
    let (one, two) = tokio::join!(accept(&w, &token, body.clone()), accept(&w, &token, body.clone()));
    let mut both = [one.status, two.status];
    both.sort_unstable();
    assert_eq!(both, [200, 409]);
    assert_eq!(visit(&w, &token).await.ok(200)["state"], "used");

    let done = w.run_is(&run, "completed").await;
    let subject = done["subject"]["id"].as_str().expect("a subject").to_owned();
    let person = w.admin.get(&format!("/api/people/{subject}")).await.ok(200);
    assert_eq!((person["email"].as_str(), person["displayName"].as_str()), (Some("guest@elsewhere.example"), Some("Gil Guest")));
    assert_eq!(person["attributes"], json!({ "institution": "Museum", "guestUntil": "2031-12-31" }));
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_expires_on_its_instant_and_the_run_goes_on() {
    let w = World::new().await;
    let run = w.ada.start(&w.example("invitation.json").await, guest()).await;
    let token = w.token_for("guest@elsewhere.example").await;
    w.pass(Duration::from_secs(168 * 3600));
    assert_eq!(visit(&w, &token).await.ok(200)["state"], "expired");
    let body = json!({ "token": token, "values": { "institution": "Museum", "until": "2031-12-31" } });
    let refused = accept(&w, &token, body).await;
    assert!(refused.status == 409 && refused.body["detail"].as_str().is_some_and(|d| d.contains("expired")), "{}", refused.body);
    // Whoever was signed in for a week has to sign in again.
    let store = w.running.app.store.clone();
    let ended = crate::support::eventually("the run ended", super::PATIENCE, || {
        let (store, id) = (store.clone(), run.clone());
        async move {
            let read = store.read(move |tx| tx.scalar("SELECT coalesce(reason, '') FROM run WHERE id = ?1", tenure::params![id]));
            read.await.ok().filter(|reason: &String| !reason.is_empty())
        }
    });
    assert_eq!(ended.await, "The invitation was not accepted.");
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_proven_by_its_link_and_by_no_other() {
    let w = World::new().await;
    let run = w.ada.start(&w.example("verify-contact.json").await, json!({})).await;
    let token = w.token_for("ada@example.org").await;
    let other = format!("{}{}", &token[..63], if token.ends_with('0') { '1' } else { '0' });
    for wrong in [other.as_str(), "x", &token[..32], &token.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")] {
        assert_eq!(visit(&w, wrong).await.status, 404, "{wrong}");
        assert_eq!(accept(&w, wrong, json!({ "token": wrong })).await.status, 404, "{wrong}");
    }
    assert_eq!(accept(&w, &token, json!({ "token": other })).await.status, 422);
    assert_eq!(accept(&w, &token, json!({ "token": token })).await.ok(200)["state"], "used");
    w.run_is(&run, "completed").await;
    let step = &w.steps(&run).await[0];
    assert_eq!((step["output"]["email"].as_str(), step["output"]["person"].as_str()), (Some("ada@example.org"), Some(w.ada.id.as_str())));
    w.stop().await;
}

/// Whoever gets hold of database, queue or log can follow no link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_stands_in_its_mail_and_nowhere_else() {
    let w = World::with(&[("LOG_LEVEL", "debug")]).await;
    let run = w.ada.start(&w.example("invitation.json").await, guest()).await;
    let token = w.token_for("guest@elsewhere.example").await;
    visit(&w, &token).await.ok(200);
    // What cannot be served is logged, with its address.
    let strange = http().delete(format!("{}/api/links/{token}", w.running.base)).send().await.expect("an answer");
    assert_eq!(strange.status(), 405);
    assert!(!strange.text().await.expect("text").contains(&token));
    let body = json!({ "token": token, "values": { "institution": "Museum", "until": "2031-12-31" } });
    accept(&w, &token, body).await.ok(200);
    w.run_is(&run, "completed").await;
    let data = w.dir.path().join("data");
    w.running.stop().await;
    let mut looked_at = 0;
    for entry in std::fs::read_dir(&data).expect("the data directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(".db") {
            let bytes = std::fs::read(entry.path()).expect("a file");
            let found = bytes.windows(token.len()).any(|part| part == token.as_bytes());
            assert!(!found, "{name} holds a link");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 3, "tenure.db, queue.db and logs.db are looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_closed_with_their_run_and_guessing_is_slowed_down() {
    let w = World::with(&[("RATE_LIMIT_SIGN_IN_PER_MIN", "6")]).await;
    let run = w.ada.start(&w.example("invitation.json").await, guest()).await;
    let token = w.token_for("guest@elsewhere.example").await;
    w.ada.post(&format!("/api/runs/{run}/cancel"), json!({ "reason": "not needed" })).await.ok(200);
    assert_eq!(visit(&w, &token).await.ok(200)["state"], "cancelled");
    let body = json!({ "token": token, "values": { "institution": "Museum", "until": "2031-12-31" } });
    // Four people signed in before: the minute is over with the next request.
    assert_eq!(accept(&w, &token, body).await.status, 409);
    assert_eq!(visit(&w, &token).await.status, 429);
    w.stop().await;
}
