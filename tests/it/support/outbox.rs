//! The mails that Tenure sent to a folder, and the links in them.

use std::path::Path;
use std::time::Duration;

use super::eventually;

/// The mails of an outbox, decoded as far as the tests need it.
pub fn mails_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "eml"));
    files.filter_map(|e| std::fs::read_to_string(e.path()).ok()).map(|t| t.replace("=\r\n", "").replace("=3D", "=")).collect()
}

/// The mail whose decoded text has all these words, once it is there.
pub async fn mail(folder: &Path, words: &[&str]) -> String {
    eventually(&format!("there is a mail with {words:?}"), Duration::from_secs(15), || {
        let found = mails_in(folder).into_iter().find(|text| words.iter().all(|w| text.contains(w)));
        async move { found }
    })
    .await
}

/// The token of the link in a mail to this address.
pub async fn token_for(folder: &Path, address: &str) -> String {
    let mail = mail(folder, &[address, "/i/"]).await;
    let (_, rest) = mail.split_once("/i/").expect("a link");
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}
