//! Paths to attributes (RFC 7644 section 3.5.2): `name.givenName`, `emails[type eq "work"].value`, with or
//! without the URN of the schema before them.

use super::filter::Filter;
use super::schema::{Attr, Resource, find};
use super::{Fault, ScimType};

/// A path, as the schema has it.
#[derive(Debug, Clone)]
pub struct Path {
    /// The extension that the attribute is in.
    pub extension: Option<&'static str>,
    /// The attribute; nothing when the whole extension is meant.
    pub attr: Option<&'static Attr>,
    /// Which of its values.
    pub filter: Option<Filter>,
    /// The attribute inside.
    pub sub: Option<&'static Attr>,
}

impl Path {
    /// Reads a path to an attribute of a resource.
    pub fn parse(resource: &Resource, text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        let unknown = || Fault::new(ScimType::InvalidPath, format!("{} has no attribute {text}", resource.name));
        let (extension, rest) = match split_urn(resource, text) {
            Some(found) => found,
            None if text.to_ascii_lowercase().starts_with("urn:") => return Err(unknown()),
            None => (None, text),
        };
        if rest.is_empty() {
            return match extension {
                Some(urn) => Ok(Self { extension: Some(urn), attr: None, filter: None, sub: None }),
                None => Err(unknown()),
            };
        }
        let (name, filter, sub) = parts(rest)?;
        let (extension, attr) = match extension.zip(resource.extension) {
            Some((urn, (_, attrs))) => (Some(urn), find(attrs, name)),
            None => match (resource.find(name), resource.extension) {
                (Some(attr), _) => (None, Some(attr)),
                // Some clients leave the URN out.
                (None, Some((urn, attrs))) => (Some(urn), find(attrs, name)),
                (None, None) => (None, None),
            },
        };
        let attr = attr.ok_or_else(unknown)?;
        let sub = sub.map(|s| find(attr.inside(), s).ok_or_else(unknown)).transpose()?;
        let filter = filter.map(Filter::parse).transpose()?;
        if filter.is_some() && !attr.multi {
            return Err(Fault::new(ScimType::InvalidPath, format!("{} has one value; it takes no filter", attr.name)));
        }
        Ok(Self { extension, attr: Some(attr), filter, sub })
    }
}

/// The extension and what is behind its URN, or the URN of the resource.
fn split_urn<'t>(resource: &Resource, text: &'t str) -> Option<(Option<&'static str>, &'t str)> {
    let after = |urn: &str| {
        let head = text.get(..urn.len())?;
        let rest = text.get(urn.len()..)?;
        if !head.eq_ignore_ascii_case(urn) {
            return None;
        }
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }
    };
    if let Some((urn, _)) = resource.extension
        && let Some(rest) = after(urn)
    {
        return Some((Some(urn), rest));
    }
    after(resource.urn).map(|rest| (None, rest))
}

/// Name, filter and name inside.
fn parts(text: &str) -> Result<(&str, Option<&str>, Option<&str>), Fault> {
    let bad = || Fault::new(ScimType::InvalidPath, format!("{text} is not a path such as emails[type eq \"work\"].value"));
    let Some((name, rest)) = text.split_once('[') else {
        return match text.split_once('.') {
            Some((name, sub)) if !sub.contains('.') => Ok((name, None, Some(sub))),
            Some(_) => Err(bad()),
            None => Ok((text, None, None)),
        };
    };
    let (filter, behind) = rest.rsplit_once(']').ok_or_else(bad)?;
    match behind {
        "" => Ok((name, Some(filter), None)),
        _ => Ok((name, Some(filter), Some(behind.strip_prefix('.').ok_or_else(bad)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{ENTERPRISE, GROUPS, USERS};
    use super::*;

    type Shape = (Option<&'static str>, Option<&'static str>, bool, Option<&'static str>);

    fn shape(path: &Path) -> Shape {
        (path.extension, path.attr.map(|a| a.name), path.filter.is_some(), path.sub.map(|s| s.name))
    }

    #[test]
    fn every_form_of_a_path_is_read() {
        let of = |text: &str| shape(&Path::parse(&USERS, text).expect(text));
        assert_eq!(of("userName"), (None, Some("userName"), false, None));
        assert_eq!(of("NAME.givenname"), (None, Some("name"), false, Some("givenName")));
        assert_eq!(of("emails[type eq \"work\"].value"), (None, Some("emails"), true, Some("value")));
        assert_eq!(of("emails[type eq \"a]b\"]"), (None, Some("emails"), true, None));
        assert_eq!(of("urn:ietf:params:scim:schemas:core:2.0:User:name.familyName"), (None, Some("name"), false, Some("familyName")));
        assert_eq!(of(&format!("{ENTERPRISE}:department")), (Some(ENTERPRISE), Some("department"), false, None));
        assert_eq!(of(&format!("{}:manager.value", ENTERPRISE.to_lowercase())), (Some(ENTERPRISE), Some("manager"), false, Some("value")));
        assert_eq!(of(ENTERPRISE), (Some(ENTERPRISE), None, false, None));
        assert_eq!(of("department"), (Some(ENTERPRISE), Some("department"), false, None));
        assert_eq!(of("externalId"), (None, Some("externalId"), false, None));
        assert!(Path::parse(&GROUPS, "members[value eq \"per_1\"]").is_ok());
        for bad in ["", "colour", "name.colour", "emails[", "emails[type eq]", "emails[type eq \"a\"]value", "name[a pr]",
            "urn:other:User:userName", "a.b.c", "é", "urn:ietf:params:scim:schemas:core:2.0:Userx"] {
            assert!(Path::parse(&USERS, bad).is_err(), "{bad}");
        }
    }
}
