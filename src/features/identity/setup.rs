//! First start: whoever holds the one-time token makes the first administrator.

use std::path::PathBuf;

use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::accounts::{self, Account, password};
use super::people::{self, NewPerson};
use super::sessions::ops::{Arrival, Begun, Identity, Proof, new_secret};
use crate::base::access::{Principal, SystemRole};
use crate::base::problem::Problem;

/// The one-time token's file and the door it opens.
#[derive(Debug, Clone)]
pub struct Setup {
    identity: Identity,
    file: PathBuf,
}

/// The first administrator.
#[derive(Debug, Clone)]
pub struct FirstAdmin {
    /// What was printed at first start.
    pub token: String,
    /// Address to sign in with.
    pub email: String,
    /// How they are called.
    pub display_name: String,
    /// Their password.
    pub password: String,
}

impl Setup {
    /// Keeps the token in `file`.
    pub fn new(identity: Identity, file: PathBuf) -> Self {
        Self { identity, file }
    }

    /// Whether nobody can sign in yet.
    pub async fn is_needed(&self) -> Result<bool, Problem> {
        self.identity.store.read(|tx| Ok(!accounts::store::any_account(tx)?)).await
    }

    /// The token to print, made on the first start and kept until it is used, or until an account is
    /// made in another way.
    pub async fn token(&self) -> Result<Option<String>, Problem> {
        if !self.is_needed().await? {
            self.forget().await;
            return Ok(None);
        }
        if let Ok(kept) = tokio::fs::read_to_string(&self.file).await
            && !kept.trim().is_empty()
        {
            return Ok(Some(kept.trim().to_owned()));
        }
        let token = new_secret(self.identity.ids.as_ref());
        let (file, text) = (self.file.clone(), token.clone());
        tokio::task::spawn_blocking(move || write_private(&file, &text))
            .await
            .map_err(Problem::internal)?
            .map_err(|e| Problem::internal(format!("{}: {e}", self.file.display())))?;
        Ok(Some(token))
    }

    /// Makes the first administrator and signs them in; the token is used up.
    pub async fn complete(&self, first: FirstAdmin, arrival: Arrival) -> Result<Begun, Problem> {
        if !self.is_needed().await? {
            return Err(Problem::Conflict("Tenure is set up already. Sign in instead.".to_owned()));
        }
        let token = self.token().await?.unwrap_or_default();
        if !bool::from(token.as_bytes().ct_eq(first.token.trim().as_bytes())) {
            return Err(Problem::Forbidden(
                "The setup token is wrong. It was printed at the first start and stands in DATA_DIR/setup-token.".to_owned(),
            ));
        }
        let new = NewPerson {
            display_name: first.display_name,
            email: first.email.clone(),
            manager_id: None,
            attributes: json!({}),
        };
        let mut faults = new.faults();
        faults.extend(password::faults("password", &first.password, &first.email, password::MIN_CHARS));
        Problem::from_fields(faults)?;
        let hash = self.identity.passwords.hash(first.password).await?;
        let account = self.identity.store.write(move |tx| first_admin(tx, &new, &hash)).await?;
        self.forget().await;
        self.identity.begin(account, arrival, Proof::default()).await
    }

    /// Removes the token. One that stays behind opens nothing any more: an account exists.
    async fn forget(&self) {
        match tokio::fs::remove_file(&self.file).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(error = %e, file = %self.file.display(), "the used setup token was not removed");
            }
            _ => {}
        }
    }
}

fn first_admin(tx: &crate::platform::store::Tx<'_>, new: &NewPerson, hash: &str) -> Result<Account, Problem> {
    if accounts::store::any_account(tx)? {
        return Err(Problem::Conflict("Tenure is set up already. Sign in instead.".to_owned()));
    }
    let by = Principal::system("setup");
    let person = people::ops::create_person(tx, &by, new.clone())?;
    let roles = [SystemRole::Admin];
    let id = accounts::ops::create_account(tx, &by, &person.id, &new.email, Some(hash.to_owned()), &roles)?;
    accounts::store::find_account(tx, &id)?.ok_or_else(|| Problem::missing("account", &id))
}

/// Writes a file that only its owner may read.
fn write_private(file: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}
