//! Passwords: which ones are taken, how fast they are guessed, and what a guess tells.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD};

use super::local::Local;
use crate::support::http;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_fails_again_and_again_waits_and_nobody_else_does() {
    let local = Local::start().await;
    let mut ada = local.browser(ADA).await;
    for who in [ADA, "nobody@example.org"] {
        for _ in 0..5 {
            assert_eq!(local.try_sign_in(who, "not the password", None).await.0, 401, "{who}");
        }
        let (status, refused) = local.try_sign_in(who, "not the password", None).await;
        assert_eq!(status, 429, "{who}: {refused}");
    }
    // Not even the right password counts before the time is over; somebody else at the same place is free.
    assert_eq!(local.try_sign_in(&ADA.to_uppercase(), PASSWORD, None).await.0, 429);
    assert_eq!(local.try_sign_in(MONA, PASSWORD, None).await.0, 200);
    assert!(ada.me(&local.base).await.is_ok(), "who is in stays in");
    // Elsewhere Ada signs in at once.
    let elsewhere = local.running.app.identity.sign_in(
        tenure::features::identity::sessions::ops::Given { email: ADA.to_owned(), password: PASSWORD.to_owned(), code: None },
        tenure::features::identity::sessions::ops::Arrival { address: Some("192.0.2.7".to_owned()), ..Default::default() },
    );
    assert!(elsewhere.await.is_ok());
    local.pass(2);
    assert_eq!(local.try_sign_in(ADA, PASSWORD, None).await.0, 200);
    for _ in 0..5 {
        assert_eq!(local.try_sign_in(ADA, "not the password", None).await.0, 401, "it began anew");
    }
    let many = (0..20).map(|_| local.try_sign_in(MONA, "not the password", None));
    let answers = futures::future::join_all(many).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 401).count(), 5, "many at once are many");
    local.running.stop().await;
}

/// Without the work for nothing, an unknown address is answered in a tenth of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_address_takes_as_long_as_a_known_one() {
    let local = Local::start().await;
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for round in 0..9 {
        for (kind, email) in [ADA.to_owned(), format!("nobody{round}@example.org")].iter().enumerate() {
            let began = Instant::now();
            assert_eq!(local.try_sign_in(email, "not the password", None).await.0, 401);
            times[kind].push(began.elapsed());
        }
        local.pass(3600);
    }
    let [known, unknown] = times.map(|mut all| {
        all.sort();
        all[all.len() / 2]
    });
    assert!(known < unknown * 3 && unknown < known * 3, "{known:?} and {unknown:?}");
    local.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_are_guessed_no_faster_than_passwords() {
    let local = Local::start().await;
    let mut ada = local.browser(ADA).await;
    super::second_factor::enrol(&local, &mut ada).await;
    for _ in 0..5 {
        assert_eq!(local.try_sign_in(ADA, PASSWORD, Some("000000x")).await.0, 422);
    }
    assert_eq!(local.try_sign_in(ADA, PASSWORD, Some("000000x")).await.0, 429);
    // From ever other addresses: the account is guarded as a whole.
    let from = async |n: u32| {
        let given = tenure::features::identity::sessions::ops::Given {
            email: ADA.to_owned(), password: PASSWORD.to_owned(), code: Some("000000x".to_owned()),
        };
        let arrival = tenure::features::identity::sessions::ops::Arrival { address: Some(format!("198.51.100.{n}")), ..Default::default() };
        local.running.app.identity.sign_in(given, arrival).await.expect_err("wrong").status()
    };
    for n in 0..30 {
        assert_eq!(from(n).await, 422, "{n}");
    }
    assert_eq!(from(31).await, 429);
    local.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_long_uncommon_and_changed_by_whoever_knows_it() {
    let local = Local::start().await;
    let (mut ada, mut other) = (local.browser(ADA).await, local.browser(ADA).await);
    let path = "/api/auth/password";
    let new = "a quiet harbour at noon";
    let fault = |answer: &(u16, Value)| (answer.0, answer.1["errors"][0]["field"].as_str().unwrap_or_default().to_owned());
    let wrong = ada.call("POST", &local.base, path, json!({ "current": "not it", "password": new })).await;
    assert_eq!(fault(&wrong), (422, "current".to_owned()));
    for bad in ["short", "Password2026!", "qwertyqwerty", "Ada-20262026!", "ada@example.org", "111111111111111"] {
        let refused = ada.call("POST", &local.base, path, json!({ "current": PASSWORD, "password": bad })).await;
        assert_eq!(fault(&refused), (422, "password".to_owned()), "{bad}");
    }
    let mut admin = local.browser(ADMIN).await;
    let settings = "/api/settings/sign-in";
    assert_eq!(admin.call("PUT", &local.base, settings, json!({ "passwordMinLength": 11 })).await.0, 422);
    assert_eq!(admin.call("PUT", &local.base, settings, json!({ "passwordMinLength": 24 })).await.0, 200);
    let refused = ada.call("POST", &local.base, path, json!({ "current": PASSWORD, "password": new })).await;
    assert!(refused.1["detail"].as_str().is_some_and(|d| d.contains("at least 24")), "{}", refused.1);
    assert_eq!(admin.call("PUT", &local.base, settings, json!({ "passwordMinLength": null })).await.0, 200);

    assert_eq!(ada.call("POST", &local.base, path, json!({ "current": PASSWORD, "password": new })).await.0, 200);
    assert!(ada.me(&local.base).await.is_ok(), "this browser goes on");
    assert_eq!(other.me(&local.base).await, Err(401), "the others do not");
    assert_eq!((local.try_sign_in(ADA, PASSWORD, None).await.0, local.try_sign_in(ADA, new, None).await.0), (401, 200));
    assert_eq!(local.entries("account.password_changed").await, 1);
    // A token is no browser.
    let (_, token) = ada.call("POST", &local.base, "/api/auth/tokens", json!({ "name": "script" })).await;
    let answer = http()
        .post(format!("{}{path}", local.base))
        .bearer_auth(token["token"].as_str().expect("a token"))
        .json(&json!({ "current": new, "password": PASSWORD }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 403);
    local.running.stop().await;
}
