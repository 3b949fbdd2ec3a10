//! The door to erasing what the audit log keeps of somebody: it takes two.

pub mod api;

use crate::base::id::{PersonId, TypedId as _};
use crate::base::problem::Problem;
use crate::features::audit::erasure::{MAX_RANGES, Ranges, Scope};
use crate::features::identity::accounts::store::find_by_person;
use crate::platform::store::Tx;

/// Where what is to be erased stands. Of a person: everything in the entries about them and about their account, and
/// name, address and reasons in the entries that they made. Other entries that speak of them are named by number.
pub fn scopes(tx: &Tx<'_>, person: Option<&PersonId>, entries: &Ranges) -> Result<Vec<Scope>, Problem> {
    if entries.list().len() > MAX_RANGES {
        return Err(Problem::field("entries", format!("expected at most {MAX_RANGES} ranges; erase the rest after these")));
    }
    let mut scopes = Vec::new();
    if let Some(person) = person {
        scopes.push(Scope::Actor { id: person.to_string() });
        scopes.push(Scope::Thing { entity: "person".to_owned(), id: person.to_string() });
        if let Some(account) = find_by_person(tx, person)? {
            scopes.push(Scope::Thing { entity: "account".to_owned(), id: account.id.as_str().to_owned() });
        }
    }
    scopes.extend(entries.list().iter().map(|(first, last)| Scope::Entries { first: *first, last: *last }));
    if scopes.is_empty() {
        return Err(Problem::field("personId", "expected a person, or numbers of entries in entries"));
    }
    Ok(scopes)
}
