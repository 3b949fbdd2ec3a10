//! Secrets at rest: AES-256-GCM with a key per purpose, bound to the place where the value is kept.
//!
//! A sealed value is `version (1) ‖ key id (8) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`.
//!
//! # Invariants
//! - A sealed value opens only at its own table, row and column.
//! - The key of one purpose opens nothing of another.
//! - New values use the current key; the previous one only opens.
//! - No `Debug`, error or log of this module holds a key or a secret.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::problem::Problem;

const VERSION: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const HEAD: usize = 1 + ID_BYTES + NONCE_BYTES;

/// Where a sealed value is kept; a value moved elsewhere does not open.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The id of the row.
    pub row: &'a str,
    /// The column, or the name of the value in a table of values.
    pub column: &'a str,
}

impl Place<'_> {
    /// Each part with its length before it, so that no two places look alike.
    fn bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in [self.table, self.row, self.column] {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

#[derive(Clone)]
struct PurposeKey {
    id: [u8; ID_BYTES],
    cipher: Aes256Gcm,
}

impl PurposeKey {
    fn derive(purpose: &str, master: &[u8; 32]) -> Self {
        let source = Hkdf::<Sha256>::new(Some(b"tenure secrets v1"), master);
        let mut key = Zeroizing::new([0_u8; 32]);
        let mut id = [0_u8; ID_BYTES];
        source
            .expand_multi_info(&[b"key:", purpose.as_bytes()], key.as_mut())
            .expect("32 bytes are within what HKDF-SHA-256 gives");
        source
            .expand_multi_info(&[b"id:", purpose.as_bytes()], &mut id)
            .expect("8 bytes are within what HKDF-SHA-256 gives");
        Self { id, cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)) }
    }
}

/// Seals and opens the secrets of one purpose.
#[derive(Clone)]
pub struct SecretBox {
    current: PurposeKey,
    previous: Option<PurposeKey>,
}

impl fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretBox").field("key", &hex::encode(self.current.id)).finish_non_exhaustive()
    }
}

impl SecretBox {
    /// A box for `purpose` under a master key; `previous` is the master key before the last rotation.
    pub fn new(purpose: &str, current: &[u8; 32], previous: Option<&[u8; 32]>) -> Self {
        Self {
            current: PurposeKey::derive(purpose, current),
            previous: previous.map(|key| PurposeKey::derive(purpose, key)),
        }
    }

    /// The sealed bytes of `secret`. `nonce` is random and used once.
    pub fn seal(&self, place: Place<'_>, secret: &[u8], nonce: [u8; NONCE_BYTES]) -> Result<Vec<u8>, Problem> {
        let aad = place.bytes();
        let sealed = self
            .current
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: &aad })
            .map_err(|_| Problem::internal("a secret could not be sealed"))?;
        let mut out = Vec::with_capacity(HEAD + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&self.current.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// The secret behind sealed bytes.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let (key, nonce, body) = self.parts(sealed).ok_or_else(|| cannot_open(place))?;
        let aad = place.bytes();
        key.cipher
            .decrypt(&Nonce::from(nonce), Payload { msg: body, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| cannot_open(place))
    }

    /// Whether sealed bytes use the current key, so that a rotation may skip them.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..=ID_BYTES) == Some(&self.current.id[..])
    }

    /// The id of the present key; says nothing about the key itself.
    pub fn key_id(&self) -> String {
        hex::encode(self.current.id)
    }

    fn parts<'s>(&self, sealed: &'s [u8]) -> Option<(&PurposeKey, [u8; NONCE_BYTES], &'s [u8])> {
        let (head, body) = sealed.split_at_checked(HEAD)?;
        let (version, rest) = head.split_first()?;
        let (id, nonce) = rest.split_at(ID_BYTES);
        let keys = [Some(&self.current), self.previous.as_ref()];
        let key = keys.into_iter().flatten().find(|k| k.id == id)?;
        (*version == VERSION).then_some((key, nonce.try_into().ok()?, body))
    }
}

fn cannot_open(place: Place<'_>) -> Problem {
    tracing::error!(table = place.table, row = place.row, column = place.column, "a stored secret does not open");
    Problem::unavailable(
        format!(
            "The stored secret \"{}\" cannot be opened with the present encryption key. Give the key it was \
             stored under as CONNECTOR_ENCRYPTION_KEY_PREVIOUS, or enter the secret again.",
            place.column
        ),
        60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { table: "connector_secret", row: "con_1", column: "password" };

    fn sealed(with: &SecretBox) -> Vec<u8> {
        with.seal(PLACE, b"open sesame", [7; 12]).expect("seals")
    }

    #[test]
    fn a_secret_opens_at_its_own_place_only() {
        let secrets = SecretBox::new("connector secrets", &[1; 32], None);
        let value = sealed(&secrets);
        assert_eq!(secrets.open(PLACE, &value).expect("opens").as_slice(), b"open sesame");
        for place in [
            Place { table: "other", ..PLACE },
            Place { row: "con_2", ..PLACE },
            Place { column: "token", ..PLACE },
            Place { table: "connector_secretc", row: "on_1", ..PLACE },
        ] {
            assert!(secrets.open(place, &value).is_err(), "{place:?}");
        }
    }

    #[test]
    fn the_previous_key_opens_and_the_current_one_seals() {
        let old = sealed(&SecretBox::new("p", &[1; 32], None));
        let rotated = SecretBox::new("p", &[2; 32], Some(&[1; 32]));
        assert_eq!(rotated.open(PLACE, &old).expect("opens").as_slice(), b"open sesame");
        assert!(!rotated.is_current(&old));
        assert!(rotated.is_current(&sealed(&rotated)));
        assert!(SecretBox::new("p", &[2; 32], None).open(PLACE, &old).is_err());
        assert!(SecretBox::new("q", &[1; 32], None).open(PLACE, &old).is_err());
    }

    #[test]
    fn any_changed_byte_is_noticed_and_nothing_shows_the_secret() {
        let secrets = SecretBox::new("p", &[1; 32], None);
        let value = sealed(&secrets);
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1;
            assert!(secrets.open(PLACE, &changed).is_err(), "byte {at}");
        }
        assert!(secrets.open(PLACE, &value[..10]).is_err());
        assert!(!format!("{secrets:?}").contains("010101"));
    }
}
