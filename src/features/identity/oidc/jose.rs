//! Signed tokens: RFC 7515 (JWS, compact form), RFC 7517 (JWK) and RFC 7518 (JWA), as far as ID tokens need them.
//!
//! # Invariants
//! - Only signatures by a public key count: neither `none` nor a shared secret is ever taken, whatever a header says.
//! - The key decides which algorithms fit it; the header only chooses among those.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The most bytes of a token that is read.
const MOST: usize = 64 * 1024;

/// A public key of the provider.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Jwk {
    /// `RSA`, `EC` or `OKP`.
    #[serde(default)]
    kty: String,
    /// Its name.
    #[serde(default)]
    kid: Option<String>,
    /// `sig` or `enc`.
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    /// The only algorithm it is for.
    #[serde(default)]
    alg: Option<String>,
    /// Modulus.
    #[serde(default)]
    n: Option<String>,
    /// Exponent.
    #[serde(default)]
    e: Option<String>,
    /// Curve.
    #[serde(default)]
    crv: Option<String>,
    /// First coordinate, or the whole key.
    #[serde(default)]
    x: Option<String>,
    /// Second coordinate.
    #[serde(default)]
    y: Option<String>,
}

/// The keys of the provider. One that cannot be read is left out: it may be of a kind that we do not know.
#[derive(Debug, Clone, Default)]
pub struct Jwks(Vec<Jwk>);

impl Jwks {
    /// Reads the document behind `jwks_uri`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(bytes).ok()?;
        Some(Self(document.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect()))
    }
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoseFault {
    /// Not the compact form of a signed token.
    #[error("the token is not a signed token in compact form")]
    Malformed,
    /// An algorithm that is not taken.
    #[error("the token is signed with {0}; RS, PS, ES and EdDSA are taken, and no shared secret")]
    Algorithm(String),
    /// No key has that name.
    #[error("none of the provider's keys is called {0} and fits the algorithm")]
    NoKey(String),
    /// The signature is not of the key.
    #[error("the signature does not fit the provider's key")]
    Signature,
}

/// The claims of a token, once its signature was found to be of one of these keys.
pub fn verify(token: &str, keys: &Jwks) -> Result<Map<String, Value>, JoseFault> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        #[serde(default)]
        kid: Option<String>,
        #[serde(default)]
        crit: Option<Value>,
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(seal), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(JoseFault::Malformed);
    };
    if token.len() > MOST {
        return Err(JoseFault::Malformed);
    }
    let head: Header = decode(header).and_then(|b| serde_json::from_slice(&b).ok()).ok_or(JoseFault::Malformed)?;
    // An extension that must be understood is not understood here.
    if head.crit.is_some() {
        return Err(JoseFault::Malformed);
    }
    if algorithm(&head.alg).is_none() {
        return Err(JoseFault::Algorithm(head.alg.chars().take(20).collect()));
    }
    let seal = decode(seal).ok_or(JoseFault::Malformed)?;
    let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
    let mut fitting = keys.0.iter().filter(|key| fits(key, &head.alg, head.kid.as_deref())).peekable();
    if fitting.peek().is_none() {
        return Err(JoseFault::NoKey(head.kid.unwrap_or_else(|| "(no name)".to_owned())));
    }
    if !fitting.any(|key| is_signed(key, &head.alg, signed, &seal)) {
        return Err(JoseFault::Signature);
    }
    decode(payload).and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or(JoseFault::Malformed)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// How an algorithm of a token is checked, by kind and curve of its key.
enum Check {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm, &'static str),
}

fn algorithm(name: &str) -> Option<Check> {
    Some(match name {
        "RS256" => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        "ES256" => Check::Other(&signature::ECDSA_P256_SHA256_FIXED, "P-256"),
        "ES384" => Check::Other(&signature::ECDSA_P384_SHA384_FIXED, "P-384"),
        "EdDSA" => Check::Other(&signature::ED25519, "Ed25519"),
        _ => return None,
    })
}

fn fits(key: &Jwk, alg: &str, kid: Option<&str>) -> bool {
    let kind = match algorithm(alg) {
        Some(Check::Rsa(_)) => key.kty == "RSA",
        Some(Check::Other(_, "Ed25519")) => key.kty == "OKP" && key.crv.as_deref() == Some("Ed25519"),
        Some(Check::Other(_, curve)) => key.kty == "EC" && key.crv.as_deref() == Some(curve),
        None => false,
    };
    kind && key.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
        && key.alg.as_deref().is_none_or(|only| only == alg)
        && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
}

fn is_signed(key: &Jwk, alg: &str, message: &[u8], seal: &[u8]) -> bool {
    let part = |text: &Option<String>| text.as_deref().and_then(decode);
    match algorithm(alg) {
        Some(Check::Rsa(parameters)) => {
            let (Some(n), Some(e)) = (part(&key.n), part(&key.e)) else { return false };
            RsaPublicKeyComponents { n, e }.verify(parameters, message, seal).is_ok()
        }
        Some(Check::Other(algorithm, "Ed25519")) => {
            let Some(x) = part(&key.x) else { return false };
            UnparsedPublicKey::new(algorithm, x).verify(message, seal).is_ok()
        }
        Some(Check::Other(algorithm, _)) => {
            let (Some(x), Some(y)) = (part(&key.x), part(&key.y)) else { return false };
            // The uncompressed point of SEC 1.
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            UnparsedPublicKey::new(algorithm, point).verify(message, seal).is_ok()
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A: a key and a token of Ed25519.
    const KEY: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":5}]}"#;
    const HEAD: &str = "eyJhbGciOiJFZERTQSJ9";
    const BODY: &str = "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const SEAL: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn keys() -> Jwks {
        Jwks::parse(KEY.as_bytes()).expect("keys")
    }

    #[test]
    fn the_example_of_the_rfc_has_its_signature() {
        let key = &keys().0[0];
        let message = format!("{HEAD}.{BODY}");
        let seal = decode(SEAL).expect("text");
        assert!(is_signed(key, "EdDSA", message.as_bytes(), &seal));
        for at in 0..seal.len() {
            let mut changed = seal.clone();
            changed[at] ^= 1;
            assert!(!is_signed(key, "EdDSA", message.as_bytes(), &changed), "byte {at}");
        }
        // Its payload is a sentence and not claims.
        assert_eq!(verify(&format!("{HEAD}.{BODY}.{SEAL}"), &keys()), Err(JoseFault::Malformed));
    }

    #[test]
    fn a_header_chooses_no_algorithm_that_does_not_fit_the_key() {
        let token = |header: &str, seal: &str| {
            format!("{}.{}.{seal}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(r#"{"sub":"x"}"#))
        };
        for alg in ["none", "HS256", "hs256", "ES512", ""] {
            let refused = verify(&token(&format!(r#"{{"alg":"{alg}"}}"#), ""), &keys());
            assert_eq!(refused, Err(JoseFault::Algorithm(alg.to_owned())));
        }
        for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"ES256"}"#, r#"{"alg":"EdDSA","kid":"other"}"#] {
            assert!(matches!(verify(&token(header, "AAAA"), &keys()), Err(JoseFault::NoKey(_))), "{header}");
        }
        assert_eq!(verify(&token(r#"{"alg":"EdDSA"}"#, SEAL), &keys()), Err(JoseFault::Signature));
        assert_eq!(verify(&token(r#"{"alg":"EdDSA","crit":["b64"]}"#, SEAL), &keys()), Err(JoseFault::Malformed));
        for text in ["", ".", "..", "a.b.c", "....", "e30.e30.", &"a".repeat(70_000)] {
            assert_eq!(verify(text, &keys()), Err(JoseFault::Malformed), "{}", &text[..text.len().min(20)]);
        }
    }
}
