//! What Active Directory has besides LDAP: accounts that are enabled and disabled, and its way of passwords.
//!
//! # Invariants
//! - One bit of `userAccountControl` is changed, and only while the others are as they were looked at.
//! - A password goes over an encrypted connection only; it is random and nobody learns it, so it stands in no
//!   workflow, log or audit entry. People sign in by their own means or have it reset.

use std::collections::HashSet;

use ldap3::{Mod, Scope};
use serde_json::{Value, json};

use super::super::{CallFailure, CommandSpec};
use super::command;
use super::ldap::{DN, NO_SUCH_OBJECT, Session, changed, refused};
use crate::base::id::Ids;

/// Enables an account.
pub(super) const ENABLE: CommandSpec =
    command("enable_account", true, "Active Directory: lets an account sign in.", &[DN]);
/// Disables an account.
pub(super) const DISABLE: CommandSpec =
    command("disable_account", true, "Active Directory: lets an account sign in no more; one that is gone does not.", &[DN]);
/// Whether an account is enabled.
pub(super) const IS_ENABLED: CommandSpec =
    command("is_enabled", false, "Active Directory: whether there is such an account and it may sign in.", &[DN]);
/// Sets a password that nobody knows.
pub(super) const SET_RANDOM_PASSWORD: CommandSpec =
    command("set_random_password", true, "Active Directory: sets a password that nobody learns; needs TLS.", &[DN]);

const CONTROL: &str = "userAccountControl";
const PASSWORD: &str = "unicodePwd";
/// The bit of an account that may not sign in.
const DISABLED: i64 = 0x2;
const NO_SUCH_ATTRIBUTE: u32 = 16;

impl Session {
    /// The control bits of an account; nothing when it is not there.
    async fn control(&mut self, dn: &str) -> Result<Option<i64>, CallFailure> {
        let found = self.ldap.with_timeout(self.limit).search(dn, Scope::Base, "(objectClass=*)", vec![CONTROL]).await;
        let found = found.map_err(|e| self.failure(&e))?;
        match found.1.rc {
            0 => {}
            NO_SUCH_OBJECT => return Ok(None),
            code => return Err(refused("looking for the account", code)),
        }
        let Some(entry) = found.0.into_iter().next() else { return Ok(None) };
        let entry = super::ldap_list::read(entry)?;
        let values = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTROL)).map(|(_, v)| v.as_slice());
        match values.unwrap_or_default() {
            [one] => one.parse().map(Some).map_err(|_| CallFailure::bad_answer(format!("{CONTROL} is no number"))),
            _ => Err(CallFailure::bad_answer(format!("the entry has no {CONTROL}; it is no account of Active Directory"))),
        }
    }

    pub(super) async fn is_enabled(&mut self, dn: &str) -> Result<Value, CallFailure> {
        let enabled = self.control(dn).await?.is_some_and(|bits| bits & DISABLED == 0);
        Ok(json!({ "present": enabled }))
    }

    pub(super) async fn set_enabled(&mut self, dn: &str, enabled: bool) -> Result<Value, CallFailure> {
        let Some(before) = self.control(dn).await? else {
            return if enabled { Err(CallFailure::lasting("no_account", format!("there is no account {dn}"))) } else { Ok(changed(false)) };
        };
        let after = if enabled { before & !DISABLED } else { before | DISABLED };
        if after == before {
            return Ok(changed(false));
        }
        // Taking the old value away fails when somebody changed another bit in between.
        let one = |bits: i64| HashSet::from([bits.to_string()]);
        let mods = vec![Mod::Delete(CONTROL.to_owned(), one(before)), Mod::Add(CONTROL.to_owned(), one(after))];
        let result = self.ldap.with_timeout(self.limit).modify(dn, mods).await.map_err(|e| self.failure(&e))?;
        match result.rc {
            0 => Ok(changed(true)),
            NO_SUCH_ATTRIBUTE => Err(CallFailure::passing("changed_meanwhile", "somebody changed the account at the same time")),
            code => Err(refused("changing the account", code)),
        }
    }

    pub(super) async fn set_random_password(&mut self, dn: &str, ids: &dyn Ids) -> Result<Value, CallFailure> {
        if self.config.is_plain() {
            return Err(CallFailure::lasting("bad_config", "a password needs an encrypted connection; use ldaps:// or startTls"));
        }
        let value = encoded(&random_password(ids.next_random(), ids.next_random()));
        let mods = vec![Mod::Replace(PASSWORD.as_bytes().to_vec(), HashSet::from([value]))];
        let result = self.ldap.with_timeout(self.limit).modify(dn, mods).await.map_err(|e| self.failure(&e))?;
        match result.rc {
            0 => Ok(changed(true)),
            code => Err(refused("setting the password", code)),
        }
    }
}

/// 160 random bits, with what every rule of a domain asks for.
fn random_password(one: u128, two: u128) -> String {
    let mask = (1_u128 << 80) - 1;
    format!("Aa1-{:020x}-{:020X}", one & mask, two & mask)
}

/// In quotes, as UTF-16.
fn encoded(password: &str) -> Vec<u8> {
    format!("\"{password}\"").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_different_each_time_and_in_the_form_that_the_directory_takes() {
        let password = random_password(7, u128::MAX);
        assert_eq!(password, "Aa1-00000000000000000007-FFFFFFFFFFFFFFFFFFFF");
        assert_ne!(random_password(1, 2), random_password(1, 3));
        assert_eq!(encoded("a"), [b'"', 0, b'a', 0, b'"', 0]);
    }
}
