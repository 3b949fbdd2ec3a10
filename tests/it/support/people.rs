//! The first administrator of a server under test.

use std::path::Path;

use serde_json::{Value, json};

use super::{Server, http};

/// The password of everybody the tests make.
pub const PASSWORD: &str = "a long enough password 1";

/// Makes the first administrator; answers a bearer token.
pub async fn set_up(server: &Server, data: &Path) -> String {
    let token = std::fs::read_to_string(data.join("setup-token")).expect("the setup token");
    let body = json!({ "token": token.trim(), "email": "admin@example.org", "displayName": "Admin", "password": PASSWORD });
    let answer = http().post(format!("{}/api/setup", server.base)).json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let me: Value = answer.json().await.expect("JSON");
    let made: Value = http()
        .post(format!("{}/api/auth/tokens", server.base))
        .header("cookie", cookie)
        .header("x-csrf-token", me["csrfToken"].as_str().expect("a token"))
        .json(&json!({ "name": "tests" }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    made["token"].as_str().expect("a token").to_owned()
}
