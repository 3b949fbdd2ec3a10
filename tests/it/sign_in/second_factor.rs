//! Codes of an authenticator app, recovery codes, and who has to have them.

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD};
use tenure::base::access::Principal;
use tenure::base::clock::Clock as _;
use tenure::features::connectors::rotation::rotate_keys;
use tenure::features::identity::second_factor::{code_of, step_of, store};
use tenure::platform::secrets::SecretBox;

use super::browser::Browser;
use super::local::Local;
use crate::support::http;

const PATH: &str = "/api/auth/second-factor";

/// An authenticator app.
pub struct App(Vec<u8>);

impl App {
    /// Takes a secret in as people type it: RFC 4648, 6.
    fn of(text: &str) -> Self {
        let bits: Vec<u8> = text
            .bytes()
            .map(|b| if b.is_ascii_uppercase() { b - b'A' } else { b - b'2' + 26 })
            .flat_map(|value| (0..5).rev().map(move |bit| (value >> bit) & 1))
            .collect();
        Self(bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit)).collect())
    }

    /// What it shows now.
    fn code(&self, local: &Local) -> String {
        code_of(&self.0, step_of(local.clock.now()))
    }
}

/// Sets a second factor up; the app and the recovery codes.
pub async fn enrol(local: &Local, browser: &mut Browser) -> (App, Vec<String>) {
    let (status, made) = browser.call("POST", &local.base, PATH, json!({})).await;
    assert_eq!(status, 201, "{made}");
    let text = made["secret"].as_str().expect("a secret");
    assert!(made["uri"].as_str().expect("a link").contains(&format!("secret={text}&")));
    assert!(made["qrSvg"].as_str().expect("a picture").contains("<svg"));
    let app = App::of(text);
    let (status, refused) = browser.call("POST", &local.base, &format!("{PATH}/confirm"), json!({ "code": "000000x" })).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("code")));
    let (status, done) = browser.call("POST", &local.base, &format!("{PATH}/confirm"), json!({ "code": app.code(local) })).await;
    assert_eq!(status, 200, "{done}");
    let codes: Vec<String> = done["recoveryCodes"].as_array().expect("codes").iter().map(|c| c.as_str().expect("text").to_owned()).collect();
    assert_eq!(codes.len(), 10);
    local.pass(30);
    (app, codes)
}

fn field(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["errors"][0]["field"].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_second_factor_the_password_alone_signs_nobody_in_and_each_code_counts_once() {
    let local = Local::start().await;
    let mut ada = local.browser(ADA).await;
    // Until it is confirmed it asks nobody.
    assert_eq!(ada.call("POST", &local.base, PATH, json!({})).await.0, 201);
    assert_eq!(local.try_sign_in(ADA, PASSWORD, None).await.0, 200);
    let (app, recovery) = enrol(&local, &mut ada).await;
    assert_eq!(ada.call("POST", &local.base, PATH, json!({})).await.0, 409);

    assert_eq!(field(&local.try_sign_in(ADA, PASSWORD, None).await), (422, "code"));
    assert_eq!(field(&local.try_sign_in(ADA, PASSWORD, Some("")).await), (422, "code"));
    let code = app.code(&local);
    let wrong_password = local.try_sign_in(ADA, "not the password", Some(&code)).await;
    assert_eq!((wrong_password.0, wrong_password.1["errors"].is_array()), (401, false), "nobody learns that there is a code");
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    assert_eq!(local.try_sign_in(ADA, PASSWORD, Some(&spaced)).await.0, 200);
    assert_eq!(field(&local.try_sign_in(ADA, PASSWORD, Some(&code)).await), (422, "code"), "used");
    local.pass(30);
    assert_eq!(local.try_sign_in(ADA, PASSWORD, Some(&app.code(&local))).await.0, 200);

    assert_eq!(local.try_sign_in(ADA, PASSWORD, Some(&recovery[3].to_uppercase())).await.0, 200);
    assert_eq!(field(&local.try_sign_in(ADA, PASSWORD, Some(&recovery[3])).await), (422, "code"), "used");
    let (_, state) = ada.call("GET", &local.base, PATH, Value::Null).await;
    assert_eq!((&state["recoveryCodesLeft"], state["confirmedAt"].is_string()), (&json!(9), true));

    // New recovery codes end the old ones, and take the app, not one of them.
    let renew = format!("{PATH}/recovery-codes");
    assert_eq!(ada.call("POST", &local.base, &renew, json!({ "code": recovery[4] })).await.0, 422);
    local.pass(30);
    assert_eq!(ada.call("POST", &local.base, &renew, json!({ "code": app.code(&local) })).await.0, 200);
    assert_eq!(field(&local.try_sign_in(ADA, PASSWORD, Some(&recovery[5])).await), (422, "code"));

    // Nothing of it is readable at rest.
    let text = |sql: &'static str| local.running.app.store.read(move |tx| tx.query(sql, &[], |r| r.at::<Vec<u8>>(0)));
    let kept = text("SELECT secret FROM second_factor").await.expect("reads");
    assert!(kept.len() == 1 && !kept[0].windows(app.0.len()).any(|part| part == app.0));
    assert!(text("SELECT hash FROM recovery_code").await.expect("reads").iter().all(|hash| hash.len() == 32));

    local.pass(30);
    let remove = format!("{PATH}/remove");
    assert_eq!(ada.call("POST", &local.base, &remove, json!({ "code": "123" })).await.0, 422);
    assert_eq!(ada.call("POST", &local.base, &remove, json!({ "code": app.code(&local) })).await.0, 204);
    assert_eq!(local.try_sign_in(ADA, PASSWORD, None).await.0, 200);
    for action in ["added", "removed"] {
        let action = if action == "added" { "account.second_factor_added" } else { "account.second_factor_removed" };
        assert_eq!(local.entries(action).await, 1, "{action}");
    }
    assert_eq!(local.entries("account.recovery_code_used").await, 1);
    local.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_to_have_a_second_factor_can_only_set_one_up_before() {
    let local = Local::start().await;
    let mut admin = local.browser(ADMIN).await;
    let mut ada = local.browser(ADA).await;
    let (_, token) = ada.call("POST", &local.base, "/api/auth/tokens", json!({ "name": "script" })).await;
    let policy = "/api/settings/sign-in";
    let (status, answer) = admin.call("PUT", &local.base, policy, json!({ "secondFactor": "administrators" })).await;
    assert_eq!((status, &answer["secondFactor"]["value"]), (200, &json!("administrators")));

    // From the next request on, for who is signed in already as well.
    for (method, path) in [("GET", "/api/people"), ("PUT", policy), ("GET", "/api/notifications"), ("POST", "/api/runs/x/cancel")] {
        let (status, refused) = admin.call(method, &local.base, path, json!({})).await;
        assert_eq!(status, 403, "{method} {path}");
        assert!(refused["detail"].as_str().is_some_and(|d| d.starts_with("Set up a second factor first")), "{refused}");
    }
    assert_eq!(admin.call("POST", &local.base, "/api/auth/tokens", json!({ "name": "way around" })).await.0, 403);
    assert_eq!(admin.me(&local.base).await.expect("signed in")["secondFactorMissing"], true);
    assert_eq!(ada.call("GET", &local.base, "/api/notifications", Value::Null).await.0, 200);
    enrol(&local, &mut admin).await;
    assert_eq!(admin.call("GET", &local.base, "/api/people", Value::Null).await.0, 200);
    assert_eq!(admin.me(&local.base).await.expect("signed in")["secondFactorMissing"], false);

    assert_eq!(admin.call("PUT", &local.base, policy, json!({ "secondFactor": "everybody" })).await.0, 200);
    assert_eq!(ada.call("GET", &local.base, "/api/notifications", Value::Null).await.0, 403);
    assert_eq!(ada.me(&local.base).await.expect("signed in")["permissions"], json!([]));
    // A token is no way to sign in, nor to change how one does.
    let bearer = async |method: reqwest::Method, path: &str| {
        let request = http().request(method, format!("{}{path}", local.base)).bearer_auth(token["token"].as_str().expect("a token"));
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(bearer(reqwest::Method::GET, "/api/notifications").await, 200);
    assert_eq!(bearer(reqwest::Method::POST, PATH).await, 403);
    assert_eq!(admin.call("PUT", &local.base, policy, json!({ "secondFactor": "sometimes" })).await.0, 422);
    local.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_takes_the_second_factor_of_somebody_away_who_lost_it() {
    let local = Local::start().await;
    let (mut admin, mut ada, mut mona) = (local.browser(ADMIN).await, local.browser(ADA).await, local.browser(MONA).await);
    let id = local.account(&mut admin, ADA).await;
    let reset = format!("/api/accounts/{id}/reset-second-factor");
    assert_eq!(admin.call("POST", &local.base, &reset, json!({})).await.0, 409, "there is none");
    enrol(&local, &mut ada).await;
    assert_eq!(mona.call("POST", &local.base, &reset, json!({})).await.0, 403);
    assert_eq!(admin.call("POST", &local.base, &reset, json!({})).await.0, 204);
    assert_eq!(ada.me(&local.base).await, Err(401), "sessions ended");
    assert_eq!(local.try_sign_in(ADA, PASSWORD, None).await.0, 200);
    assert_eq!(local.entries("account.second_factor_reset").await, 1);
    local.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_with_their_browser_and_ended_one_by_one_or_all_at_once() {
    let local = Local::start().await;
    let (mut here, mut there, mut third) = (local.browser(ADA).await, local.browser(ADA).await, local.browser(ADA).await);
    let own = "/api/auth/sessions";
    let (_, list) = here.call("GET", &local.base, own, Value::Null).await;
    let items = list["items"].as_array().expect("sessions");
    let current: Vec<bool> = items.iter().map(|s| s["current"].as_bool().expect("a flag")).collect();
    assert_eq!(current, [true, false, false]);
    assert_eq!((&items[0]["method"], items[0]["address"].as_str()), (&json!("password"), Some("127.0.0.1")));
    let id = items[1]["id"].as_str().expect("an id");
    assert_eq!(here.call("DELETE", &local.base, &format!("{own}/{id}"), Value::Null).await.0, 204);
    assert_eq!((there.me(&local.base).await, third.me(&local.base).await.is_ok()), (Err(401), true));
    assert_eq!(here.call("DELETE", &local.base, own, Value::Null).await.0, 204);
    assert_eq!((third.me(&local.base).await, here.me(&local.base).await.is_ok()), (Err(401), true));

    let mut admin = local.browser(ADMIN).await;
    let account = local.account(&mut admin, ADA).await;
    let of_ada = format!("/api/accounts/{account}/sessions");
    let (_, list) = admin.call("GET", &local.base, &of_ada, Value::Null).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["items"][0]["current"], false, "it is not the one of the administrator");
    assert_eq!(admin.call("POST", &local.base, &format!("/api/accounts/{account}/end-sessions"), json!({})).await.0, 204);
    assert_eq!(here.me(&local.base).await, Err(401));
    assert_eq!(admin.call("GET", &local.base, &of_ada, Value::Null).await.1["items"], json!([]), "what is over is not listed");
    assert_eq!((local.entries("session.ended").await, local.entries("account.sessions_ended").await), (2, 1));
    local.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_second_factors_are_sealed_anew_with_those_of_the_connectors() {
    let local = Local::start().await;
    let mut ada = local.browser(ADA).await;
    enrol(&local, &mut ada).await;
    let app = &local.running.app;
    let old = hex::decode(app.config.keys.connector.as_ref().expect("a key").expose()).expect("hexadecimal");
    let old: [u8; 32] = old.try_into().expect("32 bytes");
    let rotated = SecretBox::new("connector secrets", &[9; 32], Some(&old));
    let by = Principal::system("test");
    let done = rotate_keys(&app.store, &rotated, &by).await.expect("rotates");
    assert_eq!((done.total, done.rotated, done.skipped, done.failed), (1, 1, 0, 0));
    let again = rotate_keys(&app.store, &rotated, &by).await.expect("rotates");
    assert_eq!((again.total, again.rotated, again.skipped, again.failed), (1, 0, 1, 0));
    let kept = app.store.read(|tx| store::list_factors(tx, "", 10)).await.expect("reads");
    assert!(rotated.is_current(&kept[0].1));
    let lost = SecretBox::new("connector secrets", &[8; 32], None);
    let failed = rotate_keys(&app.store, &lost, &by).await.expect("goes on");
    assert_eq!((failed.failed, failed.failures[0].ends_with("/second factor")), (1, true));
    local.running.stop().await;
}
