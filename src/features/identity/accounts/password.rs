//! Passwords: argon2id with m = 19 MiB, t = 2, p = 1, the parameters OWASP's Password Storage Cheat
//! Sheet recommends.
//!
//! At most two hashes are computed at a time, so that a flood of sign-ins cannot eat the machine.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::common::why_common;
use crate::base::problem::{FieldError, Problem};

/// The fewest characters of a password, unless a setting asks for more.
pub const MIN_CHARS: u32 = 12;
/// The most bytes of a password; more is a way to waste time.
const MAX_BYTES: usize = 1024;

/// Hashes and compares passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    slots: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(2)) }
    }
}

impl Passwords {
    /// The hash to store, in PHC string format.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        self.blocking(move || {
            let hash: PasswordHash = argon2()?.hash_password(password.as_bytes()).map_err(Problem::internal)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether the password is the one behind `hash`. Without a hash the same work is done for
    /// nothing, so that an unknown address takes as long as a known one.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Problem> {
        self.blocking(move || {
            let argon2 = argon2()?;
            let Some(hash) = hash else {
                let decoy: Result<PasswordHash, _> = argon2.hash_password(password.as_bytes());
                drop(decoy);
                return Ok(false);
            };
            let stored = PasswordHash::new(&hash).map_err(Problem::internal)?;
            Ok(argon2.verify_password(password.as_bytes(), &stored).is_ok())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let _slot = self.slots.acquire().await.map_err(Problem::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
    }
}

fn argon2() -> Result<Argon2<'static>, Problem> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(Problem::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The faults of a new password of at least `least` characters.
pub fn faults(field: &str, password: &str, email: &str, least: u32) -> Vec<FieldError> {
    let chars = password.chars().count();
    let local = email.split('@').next().unwrap_or_default().to_lowercase();
    let core = password.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    let message = if chars < least as usize {
        format!("has {chars} characters; expected at least {least}")
    } else if password.len() > MAX_BYTES {
        format!("expected at most {MAX_BYTES} bytes")
    } else if password.eq_ignore_ascii_case(email) || (!local.is_empty() && core == local) {
        "expected something else than the address".to_owned()
    } else if let Some(why) = why_common(password) {
        format!("{why}; expected something else, such as a few words that have nothing to do with each other")
    } else if password.chars().collect::<std::collections::BTreeSet<_>>().len() < 4 {
        "expected more than three different characters".to_owned()
    } else {
        return Vec::new();
    };
    vec![FieldError { field: field.to_owned(), message }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits_its_hash() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery".to_owned()).await.expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = |p: &str, h: Option<String>| passwords.verify(p.to_owned(), h);
        assert!(verify("correct horse battery", Some(hash.clone())).await.expect("compares"));
        assert!(!verify("correct horse batterx", Some(hash)).await.expect("compares"));
        assert!(!verify("correct horse battery", None).await.expect("compares"));
    }

    #[test]
    fn short_monotonous_and_common_passwords_are_refused() {
        for (bad, word) in [
            ("elevenchars", "at least 12"),
            ("xyxyxyxyxyxyxyxyx", "three different"),
            ("Password2026!", "tried first"),
            ("lovelace.a@b.example", "the address"),
            ("Lovelace.A-2026", "the address"),
        ] {
            let faults = faults("password", bad, "lovelace.a@b.example", 12);
            assert!(faults.first().is_some_and(|f| f.message.contains(word)), "{bad}: {faults:?}");
        }
        assert!(faults("password", "twelve chars!", "a@b.c", 12).is_empty());
        assert!(!faults("password", "twelve chars!", "a@b.c", 14).is_empty());
    }
}
