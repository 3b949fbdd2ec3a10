//! Typed identifiers: a three-letter prefix, an underscore, 26 characters of Crockford base 32.
//!
//! The first ten characters are the instant in milliseconds (48 bits), the rest is random (80 bits),
//! so ids of one type sort by the time they were made. The layout of the 128 bits is ULID's
//! (<https://github.com/ulid/spec>), in lower case.

use std::sync::Arc;

use super::time::Timestamp;

/// Where the random part of an id comes from.
pub trait Ids: Send + Sync + std::fmt::Debug + 'static {
    /// 80 fresh bits in the low end of the value.
    fn next_random(&self) -> u128;
}

/// An id source that many parts share.
pub type SharedIds = Arc<dyn Ids>;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The 26 characters for an instant and 80 random bits.
pub fn encode(at: Timestamp, random: u128) -> String {
    let millis = u128::from(u64::try_from(at.as_millis()).unwrap_or(0) & 0xffff_ffff_ffff);
    let bits = (millis << 80) | (random & ((1 << 80) - 1));
    (0..26)
        .map(|i| ALPHABET[((bits >> (5 * (25 - i))) & 31) as usize] as char)
        .collect()
}

/// The text is not an id of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that starts with {prefix}_ and has 26 more characters")]
pub struct NotAnId {
    /// The prefix of the wanted type.
    pub prefix: &'static str,
}

/// Checks prefix, length and alphabet.
pub fn check(prefix: &'static str, text: &str) -> Result<(), NotAnId> {
    let rest = text.strip_prefix(prefix).and_then(|r| r.strip_prefix('_'));
    match rest {
        Some(r) if r.len() == 26 && r.bytes().all(|b| ALPHABET.contains(&b)) => Ok(()),
        _ => Err(NotAnId { prefix }),
    }
}

/// What all typed ids have in common.
pub trait TypedId: Sized + Clone + Send + Sync + 'static {
    /// The three letters before the underscore.
    const PREFIX: &'static str;

    /// Wraps text that was checked or comes from the database.
    fn from_stored(text: String) -> Self;

    /// The whole id.
    fn as_str(&self) -> &str;

    /// A new id for the instant `at`.
    fn generate(at: Timestamp, ids: &dyn Ids) -> Self {
        Self::from_stored(format!("{}_{}", Self::PREFIX, encode(at, ids.next_random())))
    }
}

/// Defines typed ids, each with its prefix.
#[macro_export]
macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $crate::base::id::TypedId for $name {
            const PREFIX: &'static str = $prefix;
            fn from_stored(text: String) -> Self { Self(text) }
            fn as_str(&self) -> &str { &self.0 }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::base::id::NotAnId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::base::id::check($prefix, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "_[0-9a-hjkmnp-tv-z]{26}$")))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    )*};
}

typed_ids! {
    /// A person: asks, decides, holds access.
    PersonId = "per";
    /// An account: signs in, belongs to one person.
    AccountId = "acc";
    /// A business role.
    RoleId = "rol";
    /// Two roles that nobody holds at the same time.
    RoleConflictId = "rcf";
    /// A group of people.
    GroupId = "grp";
    /// A passkey of an account.
    PasskeyId = "pky";
    /// A time when somebody left.
    LeaveId = "lve";
    /// A token for SCIM.
    ScimTokenId = "sct";
    /// A list of people or assignments that is taken in.
    ImportId = "imp";
    /// What a role gives in one connected system.
    EntitlementId = "ent";
    /// A role held by a person for a time.
    AssignmentId = "asg";
    /// One entitlement of an assignment, as provisioned.
    GrantId = "grt";
    /// Evidence that a role rests on.
    DocumentId = "doc";
    /// One version of a workflow definition.
    WorkflowId = "wfl";
    /// One execution of a workflow version.
    RunId = "run";
    /// One execution of a step in a run.
    StepId = "stp";
    /// A decision that somebody owes.
    ApprovalId = "apr";
    /// Somebody decides instead of somebody else for a while.
    DelegationId = "dlg";
    /// A piece of work that somebody owes.
    TaskId = "tsk";
    /// A link that can be followed once.
    LinkId = "lnk";
    /// A comment of somebody.
    CommentId = "cmt";
    /// Something that nobody does alone, and that somebody asked for.
    ExceptionId = "exc";
    /// Evidence that was taken away for somebody who checks it.
    EvidencePackId = "evp";
    /// A time when somebody broke the glass.
    BreakGlassId = "brk";
    /// A comparison of connected systems with what should be there.
    ReconciliationId = "rcn";
    /// One entitlement of a reconciliation.
    PlanId = "rcp";
    /// A difference that a reconciliation found.
    DifferenceId = "rci";
    /// Making assignments of accounts that were found.
    AdoptionId = "ado";
    /// A connected system.
    ConnectorId = "con";
    /// A schedule.
    ScheduleId = "sch";
    /// A queued piece of background work.
    JobId = "job";
    /// An audit entry.
    AuditId = "aud";
    /// A signed-in browser.
    SessionId = "ses";
    /// An API token.
    TokenId = "tok";
    /// A message to a person.
    NotificationId = "ntf";
    /// One HTTP request, echoed as `X-Request-Id` and written beside what it changed.
    RequestId = "req";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u128);
    impl Ids for Fixed {
        fn next_random(&self) -> u128 {
            self.0
        }
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let early = RunId::generate(Timestamp::from_millis(1_000), &Fixed(u128::MAX));
        let late = RunId::generate(Timestamp::from_millis(1_001), &Fixed(0));
        assert!(early < late);
        assert_eq!(early.as_str().len(), 30);
    }

    #[test]
    fn an_id_of_another_type_is_refused() {
        let run = RunId::generate(Timestamp::from_millis(1), &Fixed(7));
        assert!(run.as_str().parse::<RunId>().is_ok());
        assert_eq!(run.as_str().parse::<PersonId>(), Err(NotAnId { prefix: "per" }));
        assert!("run_short".parse::<RunId>().is_err());
    }
}
