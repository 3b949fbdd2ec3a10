//! Passkeys: Web Authentication Level 2 (<https://www.w3.org/TR/webauthn-2/>), for signing in without a password.
//!
//! # Invariants
//! - A challenge is answered once, within [`CHALLENGE_LIFE`], for this host and from our own origin.
//! - The authenticator has to say that it verified who holds it: a passkey is two factors in one.
//! - A counter that does not grow is refused: somebody has a copy of the key.
//!
//! # Not here
//! Attestation: which make an authenticator is of is not asked for, so nothing is learned about people's devices.

pub mod api;
pub mod cbor;
pub mod ops;
pub mod store;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use cbor::Value;

/// How long somebody may take to answer a challenge.
pub const CHALLENGE_LIFE: Duration = Duration::from_secs(5 * 60);
/// The most passkeys of an account.
pub const MOST: usize = 20;
/// The longest id of a credential (Level 2, 4: credential id).
const LONGEST_ID: usize = 1023;
/// The algorithms that are taken, the best first (IANA COSE Algorithms): ES256, EdDSA, RS256.
pub const ALGORITHMS: [i64; 3] = [-7, -8, -257];

/// Somebody is there.
const USER_PRESENT: u8 = 1;
/// The authenticator verified who it is.
const USER_VERIFIED: u8 = 1 << 2;
/// A new credential is told of.
const HAS_CREDENTIAL: u8 = 1 << 6;

/// Where passkeys are for.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    /// The host of `PUBLIC_URL`.
    pub id: String,
    /// The origin of `PUBLIC_URL`.
    pub origin: String,
}

impl RelyingParty {
    /// The party of an address; `None` for an IP address, for which browsers make no passkeys.
    pub fn of(url: &url::Url) -> Option<Self> {
        let id = url.domain()?.to_owned();
        Some(Self { id, origin: url.origin().ascii_serialization() })
    }
}

/// What an authenticator says about a request (Level 2, 6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How often the key was used; 0 where nobody counts.
    pub sign_count: u32,
    /// A new credential.
    pub made: Option<Made>,
}

/// A new credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: Vec<u8>,
    /// Its public key, a COSE_Key.
    pub public_key: Vec<u8>,
}

/// The challenge that a browser answered, if what it says is of the right kind and from our origin (Level 2, 7.1 and
/// 7.2); what is wrong otherwise.
pub fn challenge_of(client_data: &[u8], kind: &str, party: &RelyingParty) -> Result<Vec<u8>, &'static str> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ClientData {
        #[serde(rename = "type")]
        kind: String,
        challenge: String,
        origin: String,
        #[serde(default)]
        cross_origin: bool,
    }
    let told: ClientData = serde_json::from_slice(client_data).map_err(|_| "the client data cannot be read")?;
    if told.kind != kind {
        return Err("the client data is of another kind");
    }
    if told.origin != party.origin || told.cross_origin {
        return Err("the answer is from another site than PUBLIC_URL");
    }
    URL_SAFE_NO_PAD.decode(told.challenge).map_err(|_| "the challenge cannot be read")
}

/// Reads what an authenticator says, if it is for this host and verified who holds it.
pub fn read_said(bytes: &[u8], party: &RelyingParty) -> Result<Said, &'static str> {
    const SHORT: &str = "the authenticator's data is cut";
    let (host, rest) = bytes.split_at_checked(32).ok_or(SHORT)?;
    let (flags, rest) = rest.split_first().ok_or(SHORT)?;
    let (count, rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
    if host != Sha256::digest(party.id.as_bytes()).as_slice() {
        return Err("the passkey is of another host than that of PUBLIC_URL");
    }
    if flags & USER_PRESENT == 0 || flags & USER_VERIFIED == 0 {
        return Err("the authenticator did not verify who holds it");
    }
    let made = if flags & HAS_CREDENTIAL == 0 { None } else { Some(read_made(rest).ok_or(SHORT)?) };
    Ok(Said { sign_count: u32::from_be_bytes(*count), made })
}

fn read_made(bytes: &[u8]) -> Option<Made> {
    let (_model, rest) = bytes.split_at_checked(16)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (id, rest) = rest.split_at_checked(length).filter(|_| (1..=LONGEST_ID).contains(&length))?;
    let (_, after) = cbor::read(rest)?;
    Some(Made { id: id.to_vec(), public_key: rest[..rest.len() - after.len()].to_vec() })
}

/// What an authenticator says in an attestation (Level 2, 6.5.4); its statement is not looked at.
pub fn said_in(attestation: &[u8]) -> Option<Vec<u8>> {
    let (object, rest) = cbor::read(attestation)?;
    object.named("authData").and_then(Value::bytes).filter(|_| rest.is_empty()).map(<[u8]>::to_vec)
}

/// Whether a key is of a kind that signatures are checked with here.
pub fn is_known_key(public_key: &[u8]) -> bool {
    key_of(public_key).is_some()
}

enum Key {
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// COSE_Key (RFC 9053, 7; RFC 8230, 4): the algorithm, the kind and the curve have to fit each other.
fn key_of(public_key: &[u8]) -> Option<Key> {
    let (key, rest) = cbor::read(public_key)?;
    if !rest.is_empty() {
        return None;
    }
    let int = |at: i64| key.at(at).and_then(Value::int);
    let bytes = |at: i64| key.at(at).and_then(Value::bytes);
    match (int(3)?, int(1)?) {
        (-7, 2) if int(-1) == Some(1) => {
            let (x, y) = (bytes(-2).filter(|b| b.len() == 32)?, bytes(-3).filter(|b| b.len() == 32)?);
            Some(Key::P256([&[4], x, y].concat()))
        }
        (-8, 1) if int(-1) == Some(6) => Some(Key::Ed25519(bytes(-2).filter(|b| b.len() == 32)?.to_vec())),
        (-257, 3) => Some(Key::Rsa { n: bytes(-1)?.to_vec(), e: bytes(-2)?.to_vec() }),
        _ => None,
    }
}

/// Whether the key signed what the authenticator said and the browser passed on (Level 2, 7.2, steps 19 and 20).
pub fn is_signed(public_key: &[u8], said: &[u8], client_data: &[u8], seal: &[u8]) -> bool {
    let message = [said, Sha256::digest(client_data).as_slice()].concat();
    match key_of(public_key) {
        Some(Key::P256(point)) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point).verify(&message, seal).is_ok(),
        Some(Key::Ed25519(key)) => UnparsedPublicKey::new(&signature::ED25519, key).verify(&message, seal).is_ok(),
        Some(Key::Rsa { n, e }) => {
            RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, &message, seal).is_ok()
        }
        None => false,
    }
}

/// Whether a counter may follow the stored one (Level 2, 7.2, step 21).
pub fn counts_on(stored: u32, told: u32) -> bool {
    (stored == 0 && told == 0) || told > stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party() -> RelyingParty {
        RelyingParty::of(&"https://tenure.example.org".parse().expect("a URL")).expect("a name")
    }

    fn said(flags: u8, more: &[u8]) -> Vec<u8> {
        [Sha256::digest(b"tenure.example.org").as_slice(), &[flags, 0, 0, 0, 7], more].concat()
    }

    #[test]
    fn an_authenticator_is_heard_for_this_host_and_when_it_verified_who_holds_it() {
        assert_eq!(read_said(&said(5, &[]), &party()), Ok(Said { sign_count: 7, made: None }));
        for flags in [0, 1, 4, 0x40] {
            assert!(read_said(&said(flags, &[]), &party()).is_err(), "{flags}");
        }
        let other = RelyingParty { id: "example.org".to_owned(), ..party() };
        assert!(read_said(&said(5, &[]), &other).is_err());
        let key = hex::decode("a201020326").expect("hexadecimal");
        let made = [&[0; 16], &[0, 2, 8, 9][..], &key].concat();
        let whole = said(0x45, &made);
        assert_eq!(read_said(&whole, &party()).expect("reads").made, Some(Made { id: vec![8, 9], public_key: key }));
        for cut in 0..whole.len() {
            assert!(read_said(&whole[..cut], &party()).is_err(), "{cut}");
        }
        assert_eq!(RelyingParty::of(&"http://127.0.0.1:7070".parse().expect("a URL")).map(|p| p.id), None);
    }

    #[test]
    fn only_our_own_origin_and_the_right_kind_count() {
        let data = |kind: &str, origin: &str, more: &str| format!(r#"{{"type":"{kind}","challenge":"AQI","origin":"{origin}"{more}}}"#);
        let ours = "https://tenure.example.org";
        assert_eq!(challenge_of(data("webauthn.get", ours, "").as_bytes(), "webauthn.get", &party()), Ok(vec![1, 2]));
        for (kind, origin, more) in [
            ("webauthn.create", ours, ""),
            ("webauthn.get", "https://evil.example", ""),
            ("webauthn.get", "https://tenure.example.org:8443", ""),
            ("webauthn.get", ours, r#","crossOrigin":true"#),
        ] {
            assert!(challenge_of(data(kind, origin, more).as_bytes(), "webauthn.get", &party()).is_err(), "{kind} {origin}");
        }
        assert!(challenge_of(b"{", "webauthn.get", &party()).is_err());
    }

    #[test]
    fn a_counter_grows_or_is_not_kept() {
        assert!(counts_on(0, 0) && counts_on(0, 1) && counts_on(7, 8));
        assert!(!counts_on(7, 7) && !counts_on(7, 6) && !counts_on(7, 0));
    }
}
