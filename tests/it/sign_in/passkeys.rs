//! Passkeys, with an authenticator of the test's own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tenure::app::demo::story::{ADA, ADMIN, MONA};

use super::browser::Browser;
use super::local::Local;
use crate::support::http;

const PATH: &str = "/api/auth/passkeys";

/// An authenticator with one key.
struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    count: u32,
    flags: u8,
    host: &'static str,
    origin: String,
}

impl Authenticator {
    fn new(local: &Local) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).expect("a key");
        let id = Sha256::digest(key.public_key().as_ref()).to_vec();
        // Present and verified.
        Self { key, id, count: 0, flags: 5, host: "localhost", origin: local.origin() }
    }

    fn client_data(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false }).to_string().into_bytes()
    }

    fn says(&self, flags: u8, more: &[u8]) -> Vec<u8> {
        [Sha256::digest(self.host.as_bytes()).as_slice(), &[flags], &self.count.to_be_bytes(), more].concat()
    }

    /// COSE_Key and attestation, written by hand: RFC 8949.
    fn registers(&self, challenge: &Value) -> Value {
        let point = self.key.public_key().as_ref();
        let key = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat();
        let made = [&[7; 16][..], &[0, 32], &self.id, &key].concat();
        let said = self.says(self.flags | 0x40, &made);
        let head = [&[0xa3, 0x63][..], b"fmt", &[0x64], b"none", &[0x67], b"attStmt", &[0xa0, 0x68], b"authData", &[0x58]].concat();
        let attestation = [&head[..], &[u8::try_from(said.len()).expect("short")], &said].concat();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "name": "My key", "clientData": text(&self.client_data("webauthn.create", challenge)), "attestation": text(&attestation) })
    }

    fn signs(&self, challenge: &Value) -> Value {
        let (data, said) = (self.client_data("webauthn.get", challenge), self.says(self.flags, &[]));
        let message = [&said[..], &Sha256::digest(&data)].concat();
        let seal = self.key.sign(&SystemRandom::new(), &message).expect("signs");
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "id": text(&self.id), "clientData": text(&data), "authenticatorData": text(&said), "signature": text(seal.as_ref()) })
    }
}

async fn add(local: &Local, browser: &mut Browser, with: &Authenticator) -> (u16, Value) {
    let (status, wanted) = browser.call("POST", &local.base, &format!("{PATH}/begin"), json!({})).await;
    assert_eq!((status, &wanted["rpId"]), (200, &json!("localhost")), "{wanted}");
    browser.call("POST", &local.base, PATH, with.registers(&wanted["challenge"])).await
}

async fn challenge(local: &Local) -> Value {
    let answer = http().post(format!("{}{PATH}/challenge", local.base)).json(&json!({})).send().await.expect("an answer");
    answer.json::<Value>().await.expect("JSON")["challenge"].clone()
}

async fn send(local: &Local, body: &Value) -> u16 {
    http().post(format!("{}{PATH}/login", local.base)).json(body).send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passkey_signs_in_once_per_challenge_and_only_when_everything_fits() {
    let local = Local::named().await;
    let mut ada = local.browser(ADA).await;
    let mut key = Authenticator::new(&local);
    assert_eq!(add(&local, &mut ada, &key).await.0, 201);
    assert_eq!(add(&local, &mut ada, &key).await.0, 409, "it is known already");

    key.count = 1;
    let right = key.signs(&challenge(&local).await);
    assert_eq!(send(&local, &right).await, 200);
    assert_eq!(send(&local, &right).await, 401, "used");
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 401, "the counter did not grow");

    // Each of these is wrong in one way.
    key.count = 2;
    let given = challenge(&local).await;
    local.pass(300);
    assert_eq!(send(&local, &key.signs(&given)).await, 401, "too late");
    assert_eq!(send(&local, &key.signs(&json!(URL_SAFE_NO_PAD.encode([1; 32])))).await, 401, "of nobody");
    let mut wrong = Authenticator { origin: "https://evil.example".to_owned(), ..Authenticator::new(&local) };
    assert_eq!(send(&local, &wrong.signs(&challenge(&local).await)).await, 401, "another site");
    wrong.origin = local.origin();
    assert_eq!(send(&local, &wrong.signs(&challenge(&local).await)).await, 401, "an unknown key");
    wrong.id.clone_from(&key.id);
    assert_eq!(send(&local, &wrong.signs(&challenge(&local).await)).await, 401, "the signature of another key");
    key.flags = 1;
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 401, "nobody was verified");
    (key.flags, key.host) = (5, "example.org");
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 401, "another host");
    key.host = "localhost";
    assert_eq!(send(&local, &json!({ "id": "!", "clientData": "", "authenticatorData": "", "signature": "" })).await, 422);
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 200, "and the right one still does");

    // A challenge to add one is for its account, and is none to sign in with.
    let mut mona = local.browser(MONA).await;
    let (_, of_ada) = ada.call("POST", &local.base, &format!("{PATH}/begin"), json!({})).await;
    assert_eq!(mona.call("POST", &local.base, PATH, Authenticator::new(&local).registers(&of_ada["challenge"])).await.0, 422);
    let (_, of_ada) = ada.call("POST", &local.base, &format!("{PATH}/begin"), json!({})).await;
    key.count = 9;
    assert_eq!(send(&local, &key.signs(&of_ada["challenge"])).await, 401);
    let unverified = Authenticator { flags: 1, ..Authenticator::new(&local) };
    assert_eq!(add(&local, &mut ada, &unverified).await.0, 422);

    // Whoever removes it has none; nobody else can.
    let (_, list) = ada.call("GET", &local.base, PATH, Value::Null).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let one = format!("{PATH}/{}", list["items"][0]["id"].as_str().expect("an id"));
    assert_eq!(mona.call("DELETE", &local.base, &one, Value::Null).await.0, 404);
    assert_eq!(ada.call("DELETE", &local.base, &one, Value::Null).await.0, 204);
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 401);
    assert_eq!((local.entries("account.passkey_added").await, local.entries("account.passkey_removed").await), (1, 1));
    local.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passkey_is_two_factors_and_goes_with_the_account() {
    let local = Local::named().await;
    let (mut admin, mut ada) = (local.browser(ADMIN).await, local.browser(ADA).await);
    let mut key = Authenticator::new(&local);
    assert_eq!(add(&local, &mut ada, &key).await.0, 201);
    let mut own = Authenticator::new(&local);
    assert_eq!(add(&local, &mut admin, &own).await.0, 201);
    assert_eq!(admin.call("PUT", &local.base, "/api/settings/sign-in", json!({ "secondFactor": "everybody" })).await.0, 200);
    assert_eq!(ada.call("GET", &local.base, "/api/notifications", Value::Null).await.0, 403, "by password alone");
    own.count = 1;
    let mut signed_in = Browser::new();
    assert_eq!(signed_in.post_json(&local.base, &format!("{PATH}/login"), own.signs(&challenge(&local).await)).await, 200);
    let me = signed_in.me(&local.base).await.expect("signed in");
    assert_eq!((&me["secondFactorMissing"], me["person"]["email"].as_str()), (&json!(false), Some(ADMIN)));
    assert_eq!(signed_in.call("GET", &local.base, "/api/people", Value::Null).await.0, 200);

    // An administrator takes it away from whoever lost it, and a disabled account has no way in.
    let id = local.account(&mut signed_in, ADA).await;
    key.count = 1;
    assert_eq!(signed_in.call("POST", &local.base, &format!("/api/accounts/{id}/disable"), json!({})).await.0, 204);
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 401);
    assert_eq!(signed_in.call("POST", &local.base, &format!("/api/accounts/{id}/enable"), json!({ "roles": ["requestor"] })).await.0, 200);
    key.count = 2;
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 200);
    assert_eq!(signed_in.call("POST", &local.base, &format!("/api/accounts/{id}/reset-second-factor"), json!({})).await.0, 204);
    key.count = 3;
    assert_eq!(send(&local, &key.signs(&challenge(&local).await)).await, 401);
    local.running.stop().await;
}
