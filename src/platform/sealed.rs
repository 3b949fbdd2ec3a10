//! Bytes sealed under a passphrase, in the age format (<https://age-encryption.org/v1>), armoured, so
//! that the `age` tool can open them without Tenure.

use std::io::{Read as _, Write as _};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::base::problem::Problem;

/// The shortest passphrase that is taken, in characters.
pub const SHORTEST: usize = 12;

fn checked(passphrase: &str) -> Result<SecretString, Problem> {
    if passphrase.chars().count() < SHORTEST {
        return Err(Problem::refused(format!("The passphrase is too short; expected at least {SHORTEST} characters.")));
    }
    Ok(SecretString::from(passphrase.to_owned()))
}

/// Seals; deriving the key takes about a second, on purpose.
pub fn seal(plain: &[u8], passphrase: &str) -> Result<Vec<u8>, Problem> {
    let encryptor = age::Encryptor::with_user_passphrase(checked(passphrase)?);
    let write = || -> std::io::Result<Vec<u8>> {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut sealed = encryptor.wrap_output(armor)?;
        sealed.write_all(plain)?;
        sealed.finish()?.finish()
    };
    write().map_err(Problem::internal)
}

/// Opens what [`seal`] made.
pub fn open(sealed: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let cannot = |why: String| Problem::refused(format!("The sealed keys cannot be opened: {why}. Check the passphrase and the file."));
    let decryptor = age::Decryptor::new(ArmoredReader::new(sealed)).map_err(|e| cannot(e.to_string()))?;
    let identity = age::scrypt::Identity::new(checked(passphrase)?);
    let mut reader =
        decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|e| cannot(e.to_string()))?;
    let mut plain = Zeroizing::new(Vec::new());
    reader.read_to_end(&mut plain).map_err(|e| cannot(e.to_string()))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_only() {
        let sealed = seal(b"the keys", "correct horse battery").unwrap();
        assert!(sealed.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----"));
        assert!(!sealed.windows(8).any(|w| w == b"the keys"));
        assert_eq!(open(&sealed, "correct horse battery").unwrap().as_slice(), b"the keys");
        assert!(open(&sealed, "another horse battery").is_err());
        assert!(open(b"nothing of the kind", "correct horse battery").is_err());
        assert!(seal(b"x", "short").is_err());
    }
}
