//! The second factor: one-time codes by time (TOTP, RFC 6238) and codes for whoever lost their device.
//!
//! # Invariants
//! - A code counts once: neither the same step nor an earlier one is taken again, and a recovery code goes as it is used.
//! - The secret is sealed at rest; of recovery codes only hashes are kept. Both are shown once.
//! - Whoever has to have a second factor and has none can do nothing with a password but set one up.
//!
//! # Not here
//! People whom the OpenID provider signs in: how many factors there are is its matter.

pub mod api;
pub mod ops;
pub mod store;

use ring::hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::access::SystemRole;
use crate::base::id::{AccountId, Ids};
use crate::base::time::Timestamp;

/// Seconds that a code is for.
const STEP: i64 = 30;
/// Steps before and after the present one that are taken: clocks of telephones are off.
const DRIFT: i64 = 1;
/// Bytes of a secret, as RFC 4226, 4 recommends.
pub const SECRET_BYTES: usize = 20;
/// How many recovery codes somebody gets.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a recovery code, without its dashes: 80 bits.
const RECOVERY_CHARS: usize = 16;
/// RFC 4648, 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The name of the setting who has to have a second factor.
pub const REQUIRED: (&str, &str) = ("secondFactor", "sign_in.second_factor");

/// Who has to have a second factor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Required {
    /// Nobody; whoever wants one has one.
    #[default]
    Nobody,
    /// Whoever has the system role of an administrator.
    Administrators,
    /// Everybody who signs in with a password.
    Everybody,
}

impl Required {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Administrators => "administrators",
            Self::Everybody => "everybody",
        }
    }

    /// The rule with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Nobody, Self::Administrators, Self::Everybody].into_iter().find(|r| r.as_str() == text)
    }

    /// Whether somebody with these system roles has to have one.
    pub fn asks(self, roles: &[SystemRole]) -> bool {
        match self {
            Self::Nobody => false,
            Self::Administrators => roles.contains(&SystemRole::Admin),
            Self::Everybody => true,
        }
    }
}

/// The time step of an instant.
pub fn step_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000).div_euclid(STEP)
}

/// The six digits of a step (RFC 4226, 5.3).
pub fn code_of(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let at = bytes.last().map_or(0, |b| usize::from(b & 15));
    let part = bytes.get(at..at + 4).map_or(0, |p| p.iter().fold(0_u32, |all, b| (all << 8) | u32::from(*b)));
    format!("{:06}", (part & 0x7fff_ffff) % 1_000_000)
}

/// The step whose code this is, if it is near `now` and later than the last one that was used.
pub fn fitting_step(secret: &[u8], code: &str, now: Timestamp, last_step: i64) -> Option<i64> {
    use subtle::ConstantTimeEq as _;
    let present = step_of(now);
    (present - DRIFT..=present + DRIFT)
        .filter(|step| *step > last_step)
        .find(|step| bool::from(code_of(secret, *step).as_bytes().ct_eq(code.as_bytes())))
}

/// A code as it is compared: people type blanks and dashes, and either case.
pub fn plain(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).take(64).collect()
}

/// Bytes as the text that authenticator apps take, without padding.
pub fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(BASE32[(held >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        out.push(char::from(BASE32[(held << (5 - bits)) as usize & 31]));
    }
    out
}

/// What authenticator apps read: <https://github.com/google/google-authenticator/wiki/Key-Uri-Format>.
pub fn uri(secret: &[u8], address: &str, host: &str) -> String {
    // The label is a path, where a blank is no plus.
    let part = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let issuer = part(&format!("Tenure {host}"));
    format!("otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period={STEP}", part(address), base32(secret))
}

/// A new secret.
pub fn new_secret(ids: &dyn Ids) -> [u8; SECRET_BYTES] {
    let mut secret = [0; SECRET_BYTES];
    for part in secret.chunks_mut(16) {
        let random = ids.next_random().to_be_bytes();
        part.copy_from_slice(&random[..part.len()]);
    }
    secret
}

/// New recovery codes, as they are shown.
pub fn new_recovery_codes(ids: &dyn Ids) -> Vec<String> {
    let one = || {
        let text = base32(&ids.next_random().to_be_bytes()).to_ascii_lowercase();
        let groups: Vec<String> = text.as_bytes()[..RECOVERY_CHARS].chunks(4).map(|g| String::from_utf8_lossy(g).into_owned()).collect();
        groups.join("-")
    };
    (0..RECOVERY_CODES).map(|_| one()).collect()
}

/// Under what a recovery code is kept. It has 80 random bits, so that a fast hash is enough.
pub fn recovery_hash(account: &AccountId, code: &str) -> [u8; 32] {
    Sha256::new().chain_update(account.to_string()).chain_update([0]).chain_update(plain(code)).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::clock::SystemIds;

    /// RFC 6238, appendix B, whose codes have eight digits; the last six of them.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_of(secret, step_of(Timestamp::from_millis(seconds * 1000))), code, "{seconds}");
        }
        assert_eq!(base32(secret), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(base32(b"foob"), "MZXW6YQ");
    }

    #[test]
    fn a_code_counts_in_its_step_the_one_before_and_after_and_never_again() {
        let (secret, now) = (b"12345678901234567890", Timestamp::from_millis(3_000_000));
        let step = step_of(now);
        for near in [step - 1, step, step + 1] {
            assert_eq!(fitting_step(secret, &code_of(secret, near), now, 0), Some(near));
            assert_eq!(fitting_step(secret, &code_of(secret, near), now, near), None, "used");
        }
        assert_eq!(fitting_step(secret, &code_of(secret, step - 1), now, step), None, "before one that was used");
        for far in [step - 2, step + 2] {
            assert_eq!(fitting_step(secret, &code_of(secret, far), now, 0), None);
        }
        assert_eq!(fitting_step(secret, "", now, 0), None);
    }

    #[test]
    fn recovery_codes_are_many_different_and_read_as_they_are_typed() {
        let codes = new_recovery_codes(&SystemIds);
        assert_eq!(codes.iter().collect::<std::collections::BTreeSet<_>>().len(), RECOVERY_CODES);
        let account: AccountId = crate::base::id::TypedId::from_stored("acc_1".to_owned());
        let other: AccountId = crate::base::id::TypedId::from_stored("acc_2".to_owned());
        for code in &codes {
            assert_eq!(code.len(), RECOVERY_CHARS + 3);
            let typed = format!(" {} ", code.to_uppercase().replace('-', " "));
            assert_eq!(recovery_hash(&account, &typed), recovery_hash(&account, code));
            assert_ne!(recovery_hash(&other, code), recovery_hash(&account, code));
        }
    }

    #[test]
    fn an_app_reads_whose_code_it_is() {
        let uri = uri(b"12345678901234567890", "ada+x@example.org", "tenure.example.org");
        assert_eq!(
            uri,
            "otpauth://totp/Tenure%20tenure.example.org:ada%2Bx%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Tenure%20tenure.example.org&algorithm=SHA1&digits=6&period=30"
        );
    }
}
