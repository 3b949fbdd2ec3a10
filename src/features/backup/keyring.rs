//! The keys as one sealed file.

use std::collections::BTreeMap;

use crate::base::problem::Problem;
use crate::config::keys::FILES;
use crate::config::{Keys, Secret};
use crate::platform::sealed;

/// The variable of the key before a rotation; it has no file of its own.
const PREVIOUS: &str = "CONNECTOR_ENCRYPTION_KEY_PREVIOUS";

/// All keys there are, as JSON by variable, sealed under the passphrase.
pub fn seal_keys(keys: &Keys, passphrase: &str) -> Result<Vec<u8>, Problem> {
    let slots = [
        (FILES[0].0, &keys.session),
        (FILES[1].0, &keys.connector),
        (FILES[2].0, &keys.signing),
        (PREVIOUS, &keys.connector_previous),
    ];
    let all: BTreeMap<_, _> =
        slots.into_iter().filter_map(|(name, key)| Some((name, key.as_ref()?.expose()))).collect();
    if all.is_empty() {
        return Err(Problem::refused("There are no keys yet. Run tenure init first."));
    }
    sealed::seal(&zeroize::Zeroizing::new(serde_json::to_vec(&all).map_err(Problem::internal)?), passphrase)
}

/// The keys in a sealed file, by variable.
pub fn open_keys(bytes: &[u8], passphrase: &str) -> Result<BTreeMap<String, Secret>, Problem> {
    let plain = sealed::open(bytes, passphrase)?;
    let all: BTreeMap<String, String> = serde_json::from_slice(&plain)
        .map_err(|_| Problem::refused("The sealed file holds no keys of Tenure. Give what tenure keys export made."))?;
    let known = |name: &str| name == PREVIOUS || FILES.iter().any(|(n, _)| *n == name);
    match all.keys().find(|name| !known(name)) {
        Some(name) => Err(Problem::refused(format!("The sealed file holds {name}, which this version does not know."))),
        None => Ok(all.into_iter().map(|(name, text)| (name, Secret::new(text))).collect()),
    }
}

/// Whether a key has no file below `DATA_DIR/keys` and must be put into the environment.
pub fn is_for_the_environment(name: &str) -> bool {
    name == PREVIOUS
}
