//! The schema of profile attributes: reading and saving it, judging attributes by it.

use serde_json::Value;

use super::{PROFILE_SCHEMA, ProfileSchema};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::features::settings;
use crate::platform::store::Tx;

/// The schema in force; an open one without attributes until somebody saves one.
pub fn schema(tx: &Tx<'_>) -> Result<ProfileSchema, Problem> {
    let Some(saved) = settings::store::find(tx, PROFILE_SCHEMA)? else { return Ok(ProfileSchema::default()) };
    serde_json::from_str(&saved.value).map_err(Problem::internal)
}

/// Saves a schema. People who have other attributes keep them until somebody changes their attributes.
pub fn set_schema(tx: &Tx<'_>, by: &Principal, schema: &ProfileSchema) -> Result<ProfileSchema, Problem> {
    Problem::from_fields(schema.faults())?;
    let text = serde_json::to_string(schema).map_err(Problem::internal)?;
    settings::ops::set(tx, by, PROFILE_SCHEMA, Some(&text))?;
    self::schema(tx)
}

/// Refuses attributes that do not fit the schema.
pub fn check(tx: &Tx<'_>, attributes: &Value) -> Result<(), Problem> {
    if attributes.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(());
    }
    Problem::from_fields(schema(tx)?.check(attributes))
}
