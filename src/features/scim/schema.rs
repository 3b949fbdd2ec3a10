//! The attributes that Tenure keeps, and how `/Schemas`, `/ResourceTypes` and `/ServiceProviderConfig` tell
//! of them.

use serde_json::{Value, json};

/// The URN of users.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The URN of what enterprises know of users.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// The URN of groups.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
/// Resources that one page has at most.
pub const MAX_RESULTS: u32 = 200;

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text.
    Text,
    /// True or false.
    Bool,
    /// A URI, or the address of a resource of these types.
    Reference(&'static [&'static str]),
    /// An instant.
    Instant,
    /// Attributes inside.
    Complex(&'static [Attr]),
}

/// Who changes an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// The source.
    ReadWrite,
    /// Tenure alone.
    ReadOnly,
    /// The source, when it adds the value.
    Immutable,
}

/// An attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attr {
    /// How it is called; compared without regard to case.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether it has several values.
    pub multi: bool,
    /// Whether it must be there.
    pub required: bool,
    /// Who changes it.
    pub mutability: Mutability,
    /// Whether no two resources have the same.
    pub unique: bool,
    /// Values that are known.
    pub canonical: &'static [&'static str],
    /// What it means.
    pub about: &'static str,
}

const fn attr(name: &'static str, kind: Kind, about: &'static str) -> Attr {
    Attr {
        name,
        kind,
        multi: false,
        required: false,
        mutability: Mutability::ReadWrite,
        unique: false,
        canonical: &[],
        about,
    }
}

const fn text(name: &'static str, about: &'static str) -> Attr {
    attr(name, Kind::Text, about)
}

const fn required(a: Attr) -> Attr {
    Attr { required: true, ..a }
}

const fn multi(a: Attr) -> Attr {
    Attr { multi: true, ..a }
}

const fn unique(a: Attr) -> Attr {
    Attr { unique: true, ..a }
}

const fn read_only(a: Attr) -> Attr {
    Attr { mutability: Mutability::ReadOnly, ..a }
}

const fn immutable(a: Attr) -> Attr {
    Attr { mutability: Mutability::Immutable, ..a }
}

const fn one_of(a: Attr, canonical: &'static [&'static str]) -> Attr {
    Attr { canonical, ..a }
}

const PRIMARY: Attr = attr("primary", Kind::Bool, "Whether it is the preferred one; at most one is.");
const DISPLAY: Attr = text("display", "How it is shown.");

const NAME: &[Attr] = &[
    text("formatted", "The whole name."),
    text("familyName", "The family name."),
    text("givenName", "The given name."),
    text("middleName", "The middle names."),
    text("honorificPrefix", "What stands before the name."),
    text("honorificSuffix", "What stands behind the name."),
];

const EMAIL: &[Attr] = &[
    required(text("value", "The address.")),
    DISPLAY,
    one_of(text("type", "What it is used for."), &["work", "home", "other"]),
    PRIMARY,
];

const PHONE: &[Attr] = &[
    text("value", "The number."),
    DISPLAY,
    one_of(text("type", "What it is used for."), &["work", "home", "mobile", "fax", "pager", "other"]),
    PRIMARY,
];

const ADDRESS: &[Attr] = &[
    text("formatted", "The whole address."),
    text("streetAddress", "Street and number."),
    text("locality", "City."),
    text("region", "State or region."),
    text("postalCode", "Postal code."),
    text("country", "Country."),
    one_of(text("type", "What it is used for."), &["work", "home", "other"]),
    PRIMARY,
];

const USER_GROUP: &[Attr] = &[
    read_only(text("value", "The id of the group.")),
    read_only(attr("$ref", Kind::Reference(&["Group"]), "The address of the group.")),
    read_only(DISPLAY),
];

const META: &[Attr] = &[
    read_only(text("resourceType", "The type of the resource.")),
    read_only(attr("created", Kind::Instant, "Since when it is there.")),
    read_only(attr("lastModified", Kind::Instant, "When it changed last.")),
    read_only(attr("location", Kind::Reference(&["uri"]), "Its address.")),
];

/// What every resource has; not a part of its schema.
pub const COMMON: &[Attr] = &[
    read_only(multi(text("schemas", "The URNs of what is in it."))),
    read_only(unique(text("id", "The id, given by Tenure."))),
    text("externalId", "The id, given by the source."),
    read_only(attr("meta", Kind::Complex(META), "What Tenure knows of the resource itself.")),
];

/// The attributes of users.
pub const USER_ATTRS: &[Attr] = &[
    unique(required(text("userName", "The name that the source knows the person by; unique."))),
    attr("name", Kind::Complex(NAME), "The parts of the name."),
    text("displayName", "How the person is called; made from the name when it is missing."),
    text("nickName", "How friends call them."),
    attr("profileUrl", Kind::Reference(&["external"]), "A page about the person."),
    text("title", "The job title; the attribute title of the person."),
    text("userType", "Such as Employee or Contractor; the attribute userType of the person."),
    text("preferredLanguage", "Such as en-GB."),
    text("locale", "Such as de-CH."),
    text("timezone", "Such as Europe/Zurich."),
    attr("active", Kind::Bool, "False when the person has left: everything that they hold ends."),
    required(multi(attr(
        "emails",
        Kind::Complex(EMAIL),
        "Addresses; mail goes to the primary one. May be left out when userName is an address.",
    ))),
    multi(attr("phoneNumbers", Kind::Complex(PHONE), "Phone numbers.")),
    multi(attr("addresses", Kind::Complex(ADDRESS), "Postal addresses.")),
    read_only(multi(attr("groups", Kind::Complex(USER_GROUP), "Groups that the person is in."))),
];

const MANAGER: &[Attr] = &[
    text("value", "The id of the manager's user; userName and externalId are understood, too."),
    attr("$ref", Kind::Reference(&["User"]), "The address of the manager's user."),
];

/// The attributes of the enterprise extension.
pub const ENTERPRISE_ATTRS: &[Attr] = &[
    text("employeeNumber", "The attribute employeeNumber of the person."),
    text("costCenter", "The attribute costCenter of the person."),
    text("organization", "The attribute organization of the person."),
    text("division", "The attribute division of the person."),
    text("department", "The attribute department of the person."),
    attr("manager", Kind::Complex(MANAGER), "Whom the person reports to."),
];

const MEMBER: &[Attr] = &[
    immutable(text("value", "The id of the user.")),
    immutable(attr("$ref", Kind::Reference(&["User"]), "The address of the user.")),
    immutable(one_of(text("type", "Always User."), &["User"])),
];

/// The attributes of groups.
pub const GROUP_ATTRS: &[Attr] = &[
    unique(required(text("displayName", "How the group is called; unique."))),
    multi(attr("members", Kind::Complex(MEMBER), "Who is in it.")),
];

/// A type of resources.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// Its name.
    pub name: &'static str,
    /// Where they are.
    pub endpoint: &'static str,
    /// The URN of its schema.
    pub urn: &'static str,
    /// The attributes of that.
    pub attrs: &'static [Attr],
    /// Its extension: URN and attributes.
    pub extension: Option<(&'static str, &'static [Attr])>,
}

/// Users.
pub const USERS: Resource = Resource {
    name: "User",
    endpoint: "/Users",
    urn: USER,
    attrs: USER_ATTRS,
    extension: Some((ENTERPRISE, ENTERPRISE_ATTRS)),
};

/// Groups.
pub const GROUPS: Resource =
    Resource { name: "Group", endpoint: "/Groups", urn: GROUP, attrs: GROUP_ATTRS, extension: None };

impl Resource {
    /// The attribute with this name, whatever its case: of the schema, or one that every resource has.
    pub fn find(&self, name: &str) -> Option<&'static Attr> {
        find(self.attrs, name).or_else(|| find(COMMON, name))
    }
}

/// The attribute with this name, whatever its case.
pub fn find(attrs: &'static [Attr], name: &str) -> Option<&'static Attr> {
    attrs.iter().find(|a| a.name.eq_ignore_ascii_case(name))
}

impl Attr {
    /// The attributes inside.
    pub fn inside(&self) -> &'static [Attr] {
        match self.kind {
            Kind::Complex(attrs) => attrs,
            _ => &[],
        }
    }

    fn description(&self) -> Value {
        let mut shown = json!({
            "name": self.name, "multiValued": self.multi, "description": self.about, "required": self.required,
            "mutability": match self.mutability {
                Mutability::ReadWrite => "readWrite",
                Mutability::ReadOnly => "readOnly",
                Mutability::Immutable => "immutable",
            },
            "returned": "default",
            "type": match self.kind {
                Kind::Text => "string",
                Kind::Bool => "boolean",
                Kind::Reference(_) => "reference",
                Kind::Instant => "dateTime",
                Kind::Complex(_) => "complex",
            },
        });
        match self.kind {
            Kind::Text => {
                shown["caseExact"] = json!(false);
                shown["uniqueness"] = json!(if self.unique { "server" } else { "none" });
            }
            Kind::Reference(types) => {
                shown["referenceTypes"] = json!(types);
                shown["caseExact"] = json!(true);
                shown["uniqueness"] = json!("none");
            }
            Kind::Complex(attrs) => {
                shown["subAttributes"] = attrs.iter().map(Self::description).collect();
            }
            Kind::Bool | Kind::Instant => {}
        }
        if !self.canonical.is_empty() {
            shown["canonicalValues"] = json!(self.canonical);
        }
        shown
    }
}

/// What the discovery endpoints themselves look like, as `/Schemas` must tell as well.
const NAMED: &[Attr] = &[
    read_only(required(text("name", "How it is called."))),
    read_only(text("description", "What it is for.")),
];

fn schema(base: &str, id: &str, name: &str, about: &str, attrs: &[Attr]) -> Value {
    json!({
        "schemas": [SCHEMA], "id": id, "name": name, "description": about,
        "attributes": attrs.iter().map(Attr::description).collect::<Value>(),
        "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
    })
}

/// Everything at `/Schemas`.
pub fn schemas(base: &str) -> Vec<Value> {
    vec![
        schema(base, USER, "User", "A person.", USER_ATTRS),
        schema(base, ENTERPRISE, "EnterpriseUser", "What enterprises know of a person.", ENTERPRISE_ATTRS),
        schema(base, GROUP, "Group", "A group of people.", GROUP_ATTRS),
        schema(base, SCHEMA, "Schema", "The attributes of a resource.", NAMED),
        schema(base, RESOURCE_TYPE, "ResourceType", "A type of resources.", NAMED),
        schema(base, CONFIG, "ServiceProviderConfig", "What the service provider can do.", &NAMED[1..]),
    ]
}

/// Everything at `/ResourceTypes`.
pub fn resource_types(base: &str) -> Vec<Value> {
    [USERS, GROUPS]
        .into_iter()
        .map(|r| {
            let mut shown = json!({
                "schemas": [RESOURCE_TYPE], "id": r.name, "name": r.name, "endpoint": r.endpoint, "schema": r.urn,
                "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", r.name) },
            });
            if let Some((urn, _)) = r.extension {
                shown["schemaExtensions"] = json!([{ "schema": urn, "required": false }]);
            }
            shown
        })
        .collect()
}

/// `/ServiceProviderConfig`.
pub fn config(base: &str) -> Value {
    json!({
        "schemas": [CONFIG],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MAX_RESULTS },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": false },
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "primary": true,
            "description": "A SCIM token that an administrator makes in Tenure, sent as Authorization: Bearer.",
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}
