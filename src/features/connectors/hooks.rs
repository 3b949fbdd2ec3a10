//! Hooks: what a connected system tells Tenure on its own, and how it shows that it is the one.
//!
//! The system sends `X-Tenure-Timestamp`, seconds since 1970, and `X-Tenure-Signature`,
//! `sha256=` and the hexadecimal HMAC-SHA-256 of `TIMESTAMP.BODY` under the connector's secret `hook`.
//!
//! # Invariants
//! - Without the secret nobody learns whether there is such a connector, or whether it has a hook.
//! - What comes twice is refused, and what is older than the window as well, so that what is remembered
//!   has an end.
//! - A hook brings the events that its connector's policy names, and no others.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Connector, ops, store};
use crate::base::id::ConnectorId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::secrets::SecretBox;
use crate::platform::store::Tx;

/// The name of the secret that hooks are signed with.
pub const SECRET: &str = "hook";
/// How far the clock of a connected system may be from ours, either way.
pub const WINDOW: Duration = Duration::from_secs(300);

/// A hook as it came.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `X-Tenure-Timestamp`.
    pub timestamp: &'a str,
    /// `X-Tenure-Signature`.
    pub signature: &'a str,
    /// The body, byte by byte.
    pub body: &'a [u8],
}

/// A signature that was found right.
pub type Signature = [u8; 32];

/// Whether a hook was signed with `secret` a short while ago; without a secret none was.
pub fn check(secret: Option<&[u8]>, signed: &Signed<'_>, now: Timestamp) -> Result<Signature, Problem> {
    let given: Option<Signature> = signed
        .signature
        .strip_prefix("sha256=")
        .and_then(|text| hex::decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok());
    // The same work whether there is a secret or not.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.unwrap_or(b"nobody")).map_err(Problem::internal)?;
    mac.update(signed.timestamp.as_bytes());
    mac.update(b".");
    mac.update(signed.body);
    let good = mac.verify_slice(&given.unwrap_or_default()).is_ok();
    let (Some(given), true, true) = (given, good, secret.is_some()) else { return Err(unsigned()) };
    let seconds: i64 = signed.timestamp.parse().map_err(|_| unsigned())?;
    let apart = now.as_millis().abs_diff(seconds.saturating_mul(1000));
    if u128::from(apart) > WINDOW.as_millis() {
        return Err(Problem::Unauthenticated(format!(
            "This hook was signed {} s away from Tenure's time; expected at most {}. Set the clock of the system \
             that sent it, and sign each hook when it is sent.",
            apart / 1000,
            WINDOW.as_secs()
        )));
    }
    Ok(given)
}

/// What everybody is told whose hook is not signed as it should be, whether there is such a connector or not.
pub fn unsigned() -> Problem {
    Problem::Unauthenticated(
        "This hook is not signed as expected: X-Tenure-Signature is sha256= and the hexadecimal HMAC-SHA-256 of \
         the timestamp, a full stop and the body, under the secret \"hook\" of the connector."
            .to_owned(),
    )
}

/// The connector of a hook with the secret it is signed with; neither where one of them is missing.
pub fn sender(
    tx: &Tx<'_>,
    id: &ConnectorId,
    secrets: &SecretBox,
) -> Result<Option<(Connector, Vec<u8>)>, Problem> {
    let Some(connector) = store::find_connector(tx, id)? else { return Ok(None) };
    let secret = ops::open_secret(tx, id, SECRET, secrets)?;
    Ok(secret.map(|secret| (connector, secret.to_vec())))
}

/// Takes a hook once: one that came before is a conflict. In the transaction of what it brings.
pub fn take(tx: &Tx<'_>, connector: &Connector, signature: &Signature, event: &str) -> Result<(), Problem> {
    if !connector.policy.may_bring(event) {
        return Err(Problem::field(
            "event",
            format!("the hook of this connector may not bring {event}; add it to policy.hookEvents of the connector"),
        ));
    }
    // One whose window is over is refused by its timestamp.
    store::delete_hooks_before(tx, &connector.id, tx.now().minus(WINDOW * 2))?;
    if !store::insert_hook(tx, &connector.id, signature)? {
        return Err(Problem::Conflict("This hook came before and was taken. Each is sent once, with a timestamp of its own.".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(format!("{timestamp}.").as_bytes());
        mac.update(body);
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }

    /// Secret, timestamp, signature, body.
    type Case<'a> = (Option<&'a [u8]>, &'a str, &'a str, &'a [u8]);

    #[test]
    fn only_what_the_secret_signed_within_the_window_is_taken() {
        let now = Timestamp::from_millis(1_900_000_000_000);
        let signature = sign(b"s3cret", "1900000000", b"{}");
        let with = |secret: Option<&[u8]>, timestamp: &str, signature: &str, body: &[u8], now: Timestamp| {
            check(secret, &Signed { timestamp, signature, body }, now).map(drop).map_err(|p| p.status())
        };
        let secret = Some(&b"s3cret"[..]);
        assert_eq!(with(secret, "1900000000", &signature, b"{}", now), Ok(()));
        assert_eq!(with(secret, "1900000000", &signature, b"{}", now.plus(WINDOW)), Ok(()));
        for late in [now.plus(WINDOW + Duration::from_millis(1)), now.minus(WINDOW + Duration::from_millis(1))] {
            assert_eq!(with(secret, "1900000000", &signature, b"{}", late), Err(401));
        }
        let upper = signature.replace("sha256=", "SHA256=");
        let cases: [Case<'_>; 8] = [
            (None, "1900000000", &signature, b"{}"), (Some(&b"other"[..]), "1900000000", &signature, b"{}"),
            (secret, "1900000001", &signature, b"{}"), (secret, "1900000000", &signature, b"{ }"),
            (secret, "1900000000", &signature[..70], b"{}"), (secret, "1900000000", "", b"{}"),
            (secret, "1900000000", &upper, b"{}"), (secret, "", "sha256=", b""),
        ];
        for (secret, timestamp, signature, body) in cases {
            assert_eq!(with(secret, timestamp, signature, body, now), Err(401), "{timestamp} {signature}");
        }
        // What nobody signed with "nobody" either.
        assert_eq!(with(None, "1900000000", &sign(b"nobody", "1900000000", b"{}"), b"{}", now), Err(401));
        let odd = sign(b"s3cret", "now", b"{}");
        assert_eq!(with(secret, "now", &odd, b"{}", now), Err(401));
    }
}
