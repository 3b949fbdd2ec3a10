//! Signed checkpoints: C2SP `signed-note` around C2SP `tlog-checkpoint`, with Ed25519.
//!
//! A note is text, an empty line, and signature lines `— <name> <base64(key id ‖ signature)>`. The text of a checkpoint
//! is the log's origin, its size and its root, a line each. Other programs read the same: nobody has to trust Tenure to
//! check Tenure.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::Hash;

/// What C2SP calls the signature type of Ed25519.
const ED25519: u8 = 0x01;

/// The longest note that is read, in bytes; one of ours has about 250.
pub const MAX_NOTE: usize = 1_000_000;

/// The most signatures that a note is read with.
const MAX_SIGNATURES: usize = 100;

/// Why a note is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// It has not the form of a note or of a checkpoint.
    #[error("this is no signed checkpoint: {0}")]
    Malformed(&'static str),
    /// None of its signatures is by a key that was given.
    #[error("no signature is by a key that is known here")]
    UnknownKey,
    /// A signature by a known key does not hold.
    #[error("the signature of {0} does not hold")]
    BadSignature(String),
}

/// Whom to believe: `<name>+<key id, 8 hex digits>+<base64(0x01 ‖ public key)>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, key: VerifyingKey) -> Self {
        Self { name: name.to_owned(), id: key_id(name, &key), key }
    }

    /// The same key under another name.
    pub fn named(&self, name: &str) -> Self {
        Self::new(name, self.key)
    }

    /// The key's name; for a log of ours its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of `SHA-256(name ‖ "\n" ‖ 0x01 ‖ public key)`.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(typed(&self.key)))
    }
}

impl FromStr for VerifierKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("got \"{text}\"; expected a verifier key: name+8 hex digits+base64 of an Ed25519 key");
        // Base64 may hold a plus of its own.
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(expected());
        };
        let bytes = STANDARD.decode(key).map_err(|_| expected())?;
        let (Some((&ED25519, public)), true, 8) = (bytes.split_first(), is_name(name), id.len()) else {
            return Err(expected());
        };
        let public: &[u8; 32] = public.try_into().map_err(|_| expected())?;
        let key = VerifyingKey::from_bytes(public).map_err(|_| expected())?;
        if key.is_weak() {
            return Err(format!("the verifier key of {name} is weak: anybody could sign for it"));
        }
        let found = Self::new(name, key);
        if u32::from_str_radix(id, 16) != Ok(found.id) {
            return Err(format!("the verifier key of {name} was changed: its number should be {:08x}", found.id));
        }
        Ok(found)
    }
}

fn typed(key: &VerifyingKey) -> Vec<u8> {
    [&[ED25519][..], key.as_bytes()].concat()
}

fn key_id(name: &str, key: &VerifyingKey) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update(b"\n");
    hasher.update(typed(key));
    let digest = hasher.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// A name holds no space and no plus.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// What a log was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it had.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the text of a checkpoint; ours have nothing after the root, and what others add there is passed over.
    pub fn parse(text: &str) -> Result<Self, NoteFault> {
        let malformed = NoteFault::Malformed;
        let body = text.strip_suffix('\n').ok_or(malformed("its text does not end with a line"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(malformed("it names no log"))?;
        let size = lines.next().ok_or(malformed("it has no size"))?;
        // Digits alone, and none too many: another spelling of the same number would be another text.
        let plain = size == "0" || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()));
        let size = size.parse().ok().filter(|_| plain).ok_or(malformed("its size is not a number"))?;
        let root = lines.next().ok_or(malformed("it has no root"))?;
        let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let root = root.ok_or(malformed("its root is not a hash in base64"))?;
        if lines.any(str::is_empty) {
            return Err(malformed("it has an empty line"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// Who signs for a log.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer from the 32 bytes of `AUDIT_SIGNING_KEY`, under the log's origin.
    pub fn new(origin: &str, seed: &[u8; 32]) -> Self {
        Self { name: origin.to_owned(), key: SigningKey::from_bytes(seed) }
    }

    /// What others need to believe it.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey::new(&self.name, self.key.verifying_key())
    }

    /// The whole note of a checkpoint.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        self.sign_text(checkpoint.text())
    }

    /// The same, and that the log goes on under another name from there: a line behind the root, which C2SP
    /// `tlog-checkpoint` calls an extension and other verifiers pass over.
    pub fn sign_continued(&self, checkpoint: &Checkpoint, origin: &str) -> String {
        self.sign_text(format!("{}{CONTINUED}{origin}\n", checkpoint.text()))
    }

    fn sign_text(&self, text: String) -> String {
        let verifier = self.verifier();
        let signature = self.key.sign(text.as_bytes());
        let line = [&verifier.id.to_be_bytes()[..], &signature.to_bytes()].concat();
        format!("{text}\n\u{2014} {} {}\n", self.name, STANDARD.encode(line))
    }
}

/// What a line begins with that says under which name the log goes on.
const CONTINUED: &str = "continued as ";

/// Under which name the log goes on, if the note says so. Whether it is signed is [`open_note`]'s to say.
pub fn continued_as(note: &str) -> Option<&str> {
    let (text, _) = note.rsplit_once("\n\n")?;
    text.lines().skip(3).find_map(|line| line.strip_prefix(CONTINUED))
}

/// Reads a note: a signature by one of `keys` has to be there and to hold, those of others are passed over.
pub fn open_note(note: &str, keys: &[VerifierKey]) -> Result<Checkpoint, NoteFault> {
    let malformed = NoteFault::Malformed;
    if note.len() > MAX_NOTE {
        return Err(malformed("it is too long"));
    }
    if note.chars().any(|c| c < ' ' && c != '\n') {
        return Err(malformed("it has characters that cannot be seen"));
    }
    let place = note.rfind("\n\n").ok_or(malformed("it has no signature"))?;
    let (text, signatures) = (&note[..=place], &note[place + 2..]);
    let signatures = signatures.strip_suffix('\n').filter(|s| !s.is_empty()).ok_or(malformed("it has no signature"))?;
    let mut known = false;
    for (number, line) in signatures.split('\n').enumerate() {
        if number >= MAX_SIGNATURES {
            return Err(malformed("it has too many signatures"));
        }
        let parts = line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' '));
        let (name, bytes) = parts.filter(|(name, _)| is_name(name)).ok_or(malformed("a signature has no name"))?;
        let bytes = STANDARD.decode(bytes).map_err(|_| malformed("a signature is not base64"))?;
        let (id, signature) = bytes.split_first_chunk::<4>().ok_or(malformed("a signature is too short"))?;
        if signature.is_empty() {
            return Err(malformed("a signature is too short"));
        }
        let id = u32::from_be_bytes(*id);
        let Some(key) = keys.iter().find(|key| key.name == name && key.id == id) else { continue };
        let bad = || NoteFault::BadSignature(name.to_owned());
        let signature = Signature::from_slice(signature).map_err(|_| bad())?;
        key.key.verify_strict(text.as_bytes(), &signature).map_err(|_| bad())?;
        known = true;
    }
    if known { Checkpoint::parse(text) } else { Err(NoteFault::UnknownKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the C2SP specification of signed notes.
    const EXAMPLE_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const EXAMPLE_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your \
        problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> Signer {
        Signer::new("tenure.example/audit/00000000000000aa", &[7; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "tenure.example/audit/00000000000000aa".into(), size: 12, root: [3; 32] }
    }

    /// The signature holds; the text is no checkpoint.
    #[test]
    fn the_published_example_is_accepted_as_a_note() {
        let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
        assert_eq!(key.to_string(), EXAMPLE_KEY);
        assert_eq!(open_note(EXAMPLE_NOTE, std::slice::from_ref(&key)), Err(NoteFault::Malformed("its size is not a number")));
        let touched = EXAMPLE_NOTE.replace("answer", "Answer");
        assert_eq!(open_note(&touched, &[key]), Err(NoteFault::BadSignature("PeterNeumann".into())));
    }

    #[test]
    fn what_was_signed_is_read_again() {
        let (signer, checkpoint) = (signer(), checkpoint());
        let note = signer.sign(&checkpoint);
        assert_eq!(open_note(&note, &[signer.verifier()]), Ok(checkpoint));
        let again: VerifierKey = signer.verifier().to_string().parse().unwrap();
        assert_eq!(again, signer.verifier());
    }

    /// Of a signed note every byte counts.
    #[test]
    fn a_note_with_any_bit_changed_is_refused() {
        let (signer, checkpoint) = (signer(), checkpoint());
        let note = signer.sign(&checkpoint).into_bytes();
        for place in 0..note.len() {
            for bit in 0..8 {
                let mut touched = note.clone();
                touched[place] ^= 1 << bit;
                let Ok(text) = String::from_utf8(touched) else { continue };
                let opened = open_note(&text, &[signer.verifier()]);
                assert!(opened.is_err(), "bit {bit} of byte {place}: {text:?}");
            }
        }
    }

    #[test]
    fn signatures_of_others_stand_beside_ours() {
        let (signer, checkpoint) = (signer(), checkpoint());
        let mut note = signer.sign(&checkpoint);
        let witness = Signer::new("witness.example", &[9; 32]).sign(&checkpoint);
        note.push_str(witness.lines().last().unwrap());
        note.push('\n');
        assert_eq!(open_note(&note, &[signer.verifier()]), Ok(checkpoint));
        assert_eq!(open_note(&witness, &[signer.verifier()]), Err(NoteFault::UnknownKey));
    }

    #[test]
    fn a_key_that_is_not_one_is_refused_with_what_was_expected() {
        let good = signer().verifier().to_string();
        let (name, rest) = good.split_once('+').unwrap();
        for bad in ["", "a", "a+b", "a+00000000+", &format!("{name}+00000000+{}", rest.split_once('+').unwrap().1)] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
        // The neutral element: every signature would hold.
        let mut weak = [0; 33];
        (weak[0], weak[1]) = (1, 1);
        let id = key_id("weak", &VerifyingKey::from_bytes(weak[1..].try_into().unwrap()).unwrap());
        let fault = format!("weak+{id:08x}+{}", STANDARD.encode(weak)).parse::<VerifierKey>().unwrap_err();
        assert!(fault.contains("weak"), "{fault}");
    }

    #[test]
    fn another_spelling_of_the_same_numbers_is_no_checkpoint() {
        let good = checkpoint().text();
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        for bad in [good.replace("\n12\n", "\n012\n"), good.replace("\n12\n", "\n+12\n"), good.replace("\n12\n", "\n\n"),
            good.trim_end().to_owned(), good.replace("Aw", "A"), "\n1\n".to_owned()]
        {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
