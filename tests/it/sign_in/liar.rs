//! A provider of the test's own that signs whatever it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Browser, IN, Office, SECRET, person, port_and_server, refused, roles};
use crate::support::eventually;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD};

type Twist = Arc<dyn Fn(&mut Map<String, Value>) + Send + Sync>;

/// How tokens are signed.
#[derive(Clone, Copy, PartialEq)]
enum Seal {
    Right,
    /// By a key that is not in the set, under the name of one that is.
    Foreign,
    /// `alg: none`.
    None,
    /// HMAC with the public key as the secret.
    Shared,
}

struct Inner {
    issuer: String,
    keys: Vec<EcdsaKeyPair>,
    current: usize,
    person: Value,
    twist: Twist,
    seal: Seal,
    codes: HashMap<String, (String, String)>,
    userinfo: Option<Value>,
    down: bool,
    described: usize,
}

/// The provider. Clones share it.
#[derive(Clone)]
struct Liar(Arc<Mutex<Inner>>);

impl Liar {
    async fn start(port: u16) -> Self {
        let random = SystemRandom::new();
        let key = || {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key")
        };
        let liar = Self(Arc::new(Mutex::new(Inner {
            issuer: format!("http://127.0.0.1:{port}"),
            keys: vec![key(), key(), key()],
            current: 0,
            person: Value::Null,
            twist: Arc::new(|_| {}),
            seal: Seal::Right,
            codes: HashMap::new(),
            userinfo: None,
            down: false,
            described: 0,
        })));
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(liar.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        liar
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().expect("nobody panicked"))
    }

    fn is(&self, person: Value) {
        self.with(|l| l.person = person);
    }

    fn twists(&self, twist: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static) {
        self.with(|l| l.twist = Arc::new(twist));
    }
}

async fn describe(State(liar): State<Liar>) -> Response {
    liar.with(|l| {
        l.described += 1;
        if l.down {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let at = |path: &str| format!("{}/{path}", l.issuer);
        Json(json!({
            "issuer": l.issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
            "jwks_uri": at("keys"), "userinfo_endpoint": at("userinfo"), "scopes_supported": ["openid", "email"],
        }))
        .into_response()
    })
}

/// The set has the present key and, as real ones do, one for encryption and one of a kind that is not known.
async fn keys(State(liar): State<Liar>) -> Json<Value> {
    liar.with(|l| {
        let point = l.keys[l.current].public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": format!("key {}", l.current), "x": part(1..33), "y": part(33..65) });
        Json(json!({ "keys": [{ "kty": "XYZ", "kid": "x" }, { "kty": "EC", "use": "enc", "crv": "P-256", "kid": "e" }, key] }))
    })
}

async fn authorize(State(liar): State<Liar>, Query(asked): Query<HashMap<String, String>>) -> Redirect {
    assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
    assert_eq!(asked["scope"], "openid email", "nothing is asked for that the provider does not know");
    let code = format!("code+{}", asked["state"]);
    liar.with(|l| l.codes.insert(code.clone(), (asked["nonce"].clone(), asked["code_challenge"].clone())));
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("code", &code).append_pair("state", &asked["state"]).finish();
    Redirect::to(&format!("{}?{query}", asked["redirect_uri"]))
}

async fn token(State(liar): State<Liar>, headers: HeaderMap, Form(asked): Form<HashMap<String, String>>) -> Response {
    // RFC 6749, 2.3.1: both parts as in a form.
    let wanted = format!("Basic {}", STANDARD.encode(format!("tenure:{}", form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>())));
    assert_eq!(headers["authorization"].to_str().expect("text"), wanted);
    liar.with(|l| {
        let Some((nonce, challenge)) = l.codes.remove(&asked["code"]) else {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
        };
        assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(&asked["code_verifier"])), challenge, "PKCE");
        Json(json!({ "token_type": "Bearer", "access_token": "access", "id_token": id_token(l, &nonce) })).into_response()
    })
}

fn id_token(l: &Inner, nonce: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    let mut claims = json!({ "iss": l.issuer, "aud": "tenure", "nonce": nonce, "iat": now, "exp": now + 300 });
    let claims = claims.as_object_mut().expect("an object");
    claims.extend(l.person.as_object().cloned().unwrap_or_default());
    (l.twist)(claims);
    let alg = match l.seal {
        Seal::Right | Seal::Foreign => "ES256",
        Seal::None => "none",
        Seal::Shared => "HS256",
    };
    let head = json!({ "alg": alg, "kid": format!("key {}", l.current) });
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", text(&head), text(&Value::Object(claims.clone())));
    let by = |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), signed.as_bytes()).expect("signs").as_ref().to_vec();
    let seal = match l.seal {
        Seal::Right => by(&l.keys[l.current]),
        Seal::Foreign => by(&l.keys[2]),
        Seal::None => Vec::new(),
        Seal::Shared => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, l.keys[l.current].public_key().as_ref());
            ring::hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
        }
    };
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(seal))
}

async fn userinfo(State(liar): State<Liar>, headers: HeaderMap) -> Json<Value> {
    assert_eq!(headers["authorization"], "Bearer access");
    liar.with(|l| Json(l.userinfo.clone().unwrap_or_else(|| l.person.clone())))
}

async fn office() -> (Liar, Office) {
    let (port, tenure) = port_and_server();
    let liar = Liar::start(port).await;
    let office = Office::start(tenure, &format!("http://127.0.0.1:{port}")).await;
    (liar, office)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_wrong_in_any_way_signs_nobody_in() {
    let (liar, office) = office().await;
    liar.is(person("n-1", "nora@example.org", json!(true), &[]));
    let wrong: [(&str, Value); 9] = [
        ("iss", json!("http://127.0.0.1:1")),
        ("aud", json!("another client")),
        ("aud", json!(["tenure", "another client"])),
        ("azp", json!("another client")),
        ("exp", json!(1_700_000_000)),
        ("iat", json!(4_000_000_000_u64)),
        ("nonce", json!("of another attempt")),
        ("nonce", Value::Null),
        ("sub", json!("")),
    ];
    for (name, value) in wrong {
        let shown = format!("{name} {value}");
        liar.twists(move |claims| drop(claims.insert(name.to_owned(), value.clone())));
        let mut browser = Browser::new();
        assert_eq!(office.come_in(&mut browser).await, refused("provider"), "{shown}");
        assert_eq!(browser.me(&office.base).await, Err(401), "{shown}");
    }
    liar.twists(|_| {});
    for seal in [Seal::Foreign, Seal::None, Seal::Shared] {
        liar.with(|l| l.seal = seal);
        let mut browser = Browser::new();
        assert_eq!(office.come_in(&mut browser).await, refused("provider"));
        assert_eq!(browser.me(&office.base).await, Err(401));
    }
    liar.with(|l| l.seal = Seal::Right);
    // What is told beside the token is about somebody else.
    liar.is(json!({ "sub": "n-1" }));
    liar.with(|l| l.userinfo = Some(json!({ "sub": "n-2", "email": "nora@example.org" })));
    assert_eq!(office.come_in(&mut Browser::new()).await, refused("provider"));
    assert_eq!(office.entries("account.linked").await, 0);
    liar.with(|l| l.userinfo = Some(json!({ "sub": "n-1", "email": "nora@example.org" })));
    let mut nora = Browser::new();
    assert_eq!(office.come_in(&mut nora).await, IN);
    assert_eq!(nora.me(&office.base).await.expect("signed in")["person"]["displayName"], "nora");
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_changes_its_keys_without_a_word_and_may_be_away() {
    let (liar, office) = office().await;
    liar.with(|l| l.down = true);
    liar.is(person("n-1", "nora@example.org", json!(true), &[]));
    let mut nora = Browser::new();
    assert_eq!(office.come_in(&mut nora).await, "/sign-in?failed=unavailable&next=%2Fruns%3Fstatus%3Dwaiting");
    assert_eq!(Browser::new().sign_in(&office.base, ADMIN, PASSWORD).await, 200, "local accounts go on");
    liar.with(|l| l.down = false);
    assert_eq!(office.come_in(&mut nora).await, IN);
    assert_eq!(office.come_in(&mut nora).await, IN);
    assert_eq!(liar.with(|l| l.described), 2, "what was read is kept");
    liar.with(|l| l.current = 1);
    assert_eq!(office.come_in(&mut nora).await, IN);
    assert_eq!(liar.with(|l| l.described), 3);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_is_their_subject_and_their_address_only_where_that_is_allowed() {
    let (liar, office) = office().await;
    let comes = async |who: Value| {
        liar.is(who);
        let mut browser = Browser::new();
        let place = office.come_in(&mut browser).await;
        (place, browser.me(&office.base).await.map(|me| me["person"]["email"].as_str().expect("text").to_owned()))
    };
    let no = (refused("refused"), Err(401));
    assert_eq!(comes(person("a-1", ADA, json!(true), &[])).await, no, "an address alone makes nobody Ada");
    office.set(json!({ "matchByMail": true })).await;
    for verified in [json!(false), Value::Null, json!("false")] {
        assert_eq!(comes(person("a-1", ADA, verified, &[])).await, no, "an address that nobody verified");
    }
    assert_eq!(comes(person("a-1", &ADA.to_uppercase(), json!(true), &[])).await, (IN.to_owned(), Ok(ADA.to_owned())));
    assert_eq!(comes(person("a-2", ADA, json!(true), &[])).await, no, "Ada is another subject already");
    // Whatever address comes later: the subject is known.
    assert_eq!(comes(person("a-1", MONA, json!(true), &[])).await, (IN.to_owned(), Ok(ADA.to_owned())));

    assert_eq!(comes(person("n-1", "nora@example.org", json!(false), &[])).await, no);
    assert_eq!(comes(json!({ "sub": "n-1" })).await, no, "nobody without an address");
    office.set(json!({ "createPeople": false })).await;
    assert_eq!(comes(person("n-1", "nora@example.org", json!(true), &[])).await, no);
    office.set(json!({ "createPeople": null })).await;
    assert_eq!(comes(person("n-1", "nora@example.org", json!(true), &[])).await.0, IN);
    assert_eq!(office.entries("account.linked").await, 2);

    // An account that was switched off stays so.
    let mut admin = Browser::new();
    admin.sign_in(&office.base, ADMIN, PASSWORD).await;
    let (_, found) = admin.call("GET", &office.base, &format!("/api/accounts?email={ADA}"), Value::Null).await;
    let id = found["items"][0]["id"].as_str().expect("an account").to_owned();
    assert_eq!(admin.call("POST", &office.base, &format!("/api/accounts/{id}/disable"), json!({})).await.0, 204);
    assert_eq!(comes(person("a-1", ADA, json!(true), &[])).await, no);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_roles_follow_the_groups_and_the_last_administrator_stays_one() {
    let (liar, office) = office().await;
    let map = |pairs: &[(&str, &str)]| {
        let rows: Vec<Value> = pairs.iter().map(|(group, role)| json!({ "group": group, "role": role })).collect();
        json!({ "roleMapping": rows, "matchByMail": true })
    };
    let comes = async |who: Value| {
        liar.is(who);
        let mut browser = Browser::new();
        assert_eq!(office.come_in(&mut browser).await, IN);
        roles(&browser.me(&office.base).await.expect("signed in")).join(" ")
    };
    office.set(map(&[("*", "requestor"), ("deciders", "approver"), ("root", "admin")])).await;
    assert_eq!(comes(person("n-1", "nora@example.org", json!(true), &["deciders"])).await, "approver requestor");
    assert_eq!(comes(person("n-1", "nora@example.org", json!(true), &["root"])).await, "admin requestor");
    // The other administrator is in no group that makes one, and is not the last.
    assert_eq!(comes(person("ad-1", ADMIN, json!(true), &[])).await, "requestor");
    assert_eq!(comes(person("n-1", "nora@example.org", json!(true), &[])).await, "admin requestor", "the last one stays");
    let entries = eventually("the entries are there", std::time::Duration::from_secs(5), async || {
        Some(office.entries("account.roles_changed").await).filter(|n| *n >= 3)
    });
    assert_eq!(entries.await, 3);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_people_sign_in_is_judged_before_it_is_saved() {
    let (_, office) = office().await;
    let mut admin = Browser::new();
    admin.sign_in(&office.base, ADMIN, PASSWORD).await;
    let path = "/api/settings/sign-in";
    let (_, now) = admin.call("GET", &office.base, path, Value::Null).await;
    assert_eq!((&now["createPeople"]["value"], &now["matchByMail"]["value"], &now["groupsClaim"]["value"]), (&json!(true), &json!(false), &json!("groups")));
    assert_eq!(now["provider"]["name"], "Example SSO");
    for (bad, field) in [
        (json!({ "groupsClaim": "" }), "groupsClaim"),
        (json!({ "groupsClaim": "two words" }), "groupsClaim"),
        (json!({ "roleMapping": [{ "group": "", "role": "admin" }] }), "roleMapping"),
        (json!({ "roleMapping": [{ "group": "a", "role": "king" }] }), "roleMapping[0].role"),
        (json!({ "createPeople": "yes" }), "createPeople"),
    ] {
        let (status, answer) = admin.call("PUT", &office.base, path, bad.clone()).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!(field)), "{bad}: {answer}");
    }
    office.running.stop().await;
}
